-- bench: whole batches, from a file's text to its scored text (`make bench`).
--
-- A batch of 100 rows goes through the library's own steps (parse, forest, baseline, z-scores,
-- write), as in the service, without its bucket. A batch of 1 000 000 rows goes through `anomalyd
-- score`, a process of its own; its figures are processor time, of all threads and in the kernel,
-- and the most memory that was resident. Beside them what the service that this one replaces took,
-- and the goals, as parts of that.
local clock = require("socket").gettime

local build = os.getenv("ANOMALYD_BUILD") or "build"
local CHANNELS = { "temperature", "humidity", "pressure", "wind_speed" }
local SMALL, LARGE, RUNS = 100, 1000000, arg[1] == "quick" and 5 or 15
local ORIGINAL = { small = 0.146, large = 65.8, memory = 805 }
local GOAL = { small = 120, large = 150, memory = 4 }

local function rows_of(count, emit)
  math.randomseed(1)
  emit("timestamp," .. table.concat(CHANNELS, ",") .. "\n")
  for row = 0, count - 1 do
    emit(("2026-02-24T%02d:%02d:%02d,%.2f,%.2f,%.2f,%.2f\n"):format(row // 3600 % 24,
      row // 60 % 60, row % 60, 22 + 3 * math.random(), 55 + 9 * math.random(),
      1013 + 6 * math.random(), 10 + 3 * math.random()))
  end
end

local function show(what, value, unit, original, part)
  print(("%-44s %8.2f %-4s the original's %7.0f: %6.0fx  (goal %dx: %s)"):format(what, value, unit,
    original, original / value, part, original / value >= part and "reached" or "MISSED"))
end

local function bench_small()
  local batch, learning = require("batch"), require("learning")
  local baseline, policy = require("baseline"), assert(require("policy").check({}))
  package.path = "scripts/?.lua;" .. package.path
  local detect = require("detect")
  local parts = {}
  rows_of(SMALL, function(line) parts[#parts + 1] = line end)
  local text, known = table.concat(parts), baseline.empty()
  local least = math.huge
  for _ = 1, RUNS do
    local began = os.clock()
    for _ = 1, 100 do
      local self = assert(batch.open(text, policy, known.order))
      batch.forest(self, policy)
      local after, scoring = learning.update(known, self, policy, "2026-02-24T00:00:00.000000")
      batch.score(self, scoring, policy, detect)
      self.frame:format()
      baseline.format(after)
      self.frame:close()
    end
    least = math.min(least, (os.clock() - began) / 100)
  end
  show("100 rows x 4, processor (least)", least * 1000, "ms", ORIGINAL.small * 1000, GOAL.small)
end

local function read(path)
  local file = io.open(path, "r")
  local text = file and file:read("a")
  if file then file:close() end
  return text or ""
end

--- Run the program on the file. @return processor seconds, MiB
local function score(input, output)
  os.remove(output)
  local pipe = assert(io.popen(("sh -c '%s/anomalyd score %s --output %s & echo $!; wait; times'")
    :format(build, input, output)))
  local pid, peak = pipe:read("l"), 0
  local ended
  repeat
    local status = read("/proc/" .. pid .. "/status")
    peak = math.max(peak, tonumber(status:match("VmHWM:%s*(%d+)") or 0))
    ended = not status:find("VmHWM")
    require("socket").sleep(0.002)
  until ended
  local _, times = pipe:read("l", "l") -- the shell's own, its children's
  pipe:close()
  local seconds = 0
  for minutes, rest in times:gmatch("(%d+)m([%d.]+)s") do
    seconds = seconds + minutes * 60 + rest
  end
  return seconds, peak / 1024
end

local function bench_large()
  local dir = os.tmpname()
  local input, output = dir .. ".csv", dir .. ".out"
  local file = assert(io.open(input, "w"))
  rows_of(LARGE, function(line) file:write(line) end)
  file:close()
  local seconds, megabytes, began = {}, 0, clock()
  for run = 1, RUNS do
    local peak
    seconds[run], peak = score(input, output)
    megabytes = math.max(megabytes, peak)
  end
  local each = (clock() - began) / RUNS
  table.sort(seconds)
  show("1 000 000 rows x 4, processor (least)", seconds[1], "s", ORIGINAL.large, GOAL.large)
  show("1 000 000 rows x 4, processor (median)", seconds[RUNS // 2 + 1], "s", ORIGINAL.large,
    GOAL.large)
  show("1 000 000 rows x 4, memory (most)", megabytes, "MiB", ORIGINAL.memory, GOAL.memory)
  print(("%-44s %8.2f s"):format("1 000 000 rows x 4, clock (mean)", each))
  for _, path in ipairs({ dir, input, output }) do os.remove(path) end
end

bench_small()
bench_large()
