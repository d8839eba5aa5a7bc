-- csv: reading and writing CSV beside pandas, wc -l and strtod, in one run.
--
--     make so spec-programs
--     LUA_CPATH='build/lua/?.so;;' lua5.4 scripts/bench/csv.lua [ROWS] [ROUNDS]
--
-- A table of one timestamp and four float columns is parsed, and a table of one counter and four
-- computed columns is written. All figures are CPU time on one thread; ours and pandas' rounds
-- alternate, so that other work on the machine falls on both, and a ratio is the median of the
-- rounds' ratios. pandas is asked of $PYTHON (/usr/bin/python3); without it ours are shown alone.
-- Files go to $BENCH_DIR (/tmp); what is written goes to $BENCH_OUT (/dev/null).
local column = require("column")
local csv = require("csv")

local rows = tonumber(arg and arg[1] or ...) or 1000000
local rounds = tonumber(arg and arg[2] or select(2, ...)) or 5
local python = os.getenv("PYTHON") or "/usr/bin/python3"
local dir = os.getenv("BENCH_DIR") or "/tmp"
local out = os.getenv("BENCH_OUT") or "/dev/null"
local CHANNELS = { "temperature", "humidity", "pressure", "wind_speed" }

--- What runs in Python: answers one line of numbers to each command line.
local PEER = [[
import io, resource, subprocess, sys, time
import pandas
frames = {}
def timed(f):
    started = time.process_time()
    f()
    return time.process_time() - started
def wc(path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["wc", "-l", path], stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
def answer(command, path, out):
    if command == "wc":
        return wc(path)
    if command == "read":
        return timed(lambda: pandas.read_csv(path))
    if command == "round_trip":
        return timed(lambda: pandas.read_csv(path, float_precision="round_trip"))
    if path not in frames:
        frame = pandas.read_csv(path, float_precision="round_trip")
        frame["timestamp"] = range(len(frame))
        frames[path] = (frame.round(4), frame)
    return timed(lambda: frames[path][command == "write"].to_csv(out, index=False))
reply = open(sys.argv[1], "w")
for line in sys.stdin:
    print(answer(*line.rstrip("\n").split("\t")), file=reply, flush=True)
]]

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

--- The table as text; `digits` is how many decimals a number has, or nil for all it takes.
local function sample(digits)
  math.randomseed(1)
  local lines = { "timestamp," .. table.concat(CHANNELS, ",") }
  local shape = digits and ("%." .. digits .. "f") or "%.16g"
  local form = "2026-02-24T%02d:%02d:%02d.644244" .. ("," .. shape):rep(4)
  for row = 1, rows do
    lines[#lines + 1] = form:format(row // 3600 % 24, row // 60 % 60, row % 60,
      22 + 3 * math.random(), 55 + 9 * math.random(), 1013 + 6 * math.random(),
      10 + 3 * math.random())
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

--- A running Python with pandas, or nil.
local function start_peer()
  if not os.execute(python .. " -c 'import pandas' 2>/dev/null") then return nil end
  local script, reply = dir .. "/bench_csv_peer.py", dir .. "/bench_csv_reply"
  write_file(script, PEER)
  os.remove(reply)
  os.execute("mkfifo '" .. reply .. "'")
  local pipe = io.popen(("%s '%s' '%s'"):format(python, script, reply), "w")
  local answers = assert(io.open(reply)) -- waits until the other side has opened it too
  return {
    ask = function(command, path)
      pipe:write(command, "\t", path, "\t", out, "\n")
      pipe:flush()
      return assert(answers:read("n"), "the Python beside us gave no answer")
    end,
    stop = function()
      pipe:close()
      answers:close()
      os.remove(script)
      os.remove(reply)
    end,
  }
end

--- CPU seconds of work().
local function timed(work)
  collectgarbage()
  local started = os.clock()
  work()
  return os.clock() - started
end

--- Run our work and the peer's commands in turn; print ours, and the ratio to each of theirs.
local function compare(name, peer, path, work, commands, scale)
  local ours, theirs, ratios = {}, {}, {}
  for round = 1, rounds do
    ours[round] = timed(work)
    for i, command in ipairs(peer and commands or {}) do
      theirs[i], ratios[i] = theirs[i] or {}, ratios[i] or {}
      theirs[i][round] = peer.ask(command, path)
      ratios[i][round] = theirs[i][round] / ours[round]
    end
  end
  local line = ("%-30s %8.1f ms"):format(name, median(ours) * 1e3)
  line = line .. scale(median(ours))
  for i, command in ipairs(peer and commands or {}) do
    line = line .. ("   %s %.1f ms: %.1fx"):format(command, median(theirs[i]) * 1e3,
      median(ratios[i]))
  end
  print(line)
end

local function bench_read(peer, name, path, text)
  compare("parse, " .. name, peer, path, function()
    csv.parse(text):close()
  end, { "read", "round_trip", "wc" }, function(seconds)
    return (" %6.0f MB/s %5.1f ns a number"):format(#text / seconds / 1e6, seconds * 1e9 / rows / 4)
  end)
end

local function bench_write(peer, name, path, text, format, command)
  local full = csv.parse(text)
  local count = {}
  for row = 1, rows do count[row] = row - 1 end
  local frame = csv.parse("row\n" .. table.concat(count, "\n") .. "\n")
  local sink = assert(io.open(out, "w"))
  compare("write, " .. name, peer, path, function()
    for _, channel in ipairs(CHANNELS) do frame:set(channel, full:column(channel), format) end
    assert(frame:save(sink))
  end, { command }, function(seconds)
    return (" %22.1f ns a cell"):format(seconds * 1e9 / rows / 4)
  end)
  sink:close()
end

local function bench_batch()
  local lines = {}
  for line in sample(2):gmatch("[^\n]+") do
    lines[#lines + 1] = line
    if #lines == 101 then break end
  end
  local text = table.concat(lines, "\n") .. "\n"
  local flags = column.constant(100, 0)
  local seconds = timed(function()
    for _ = 1, 1000 do
      local frame = csv.parse(text)
      for _, channel in ipairs(CHANNELS) do
        frame:set(channel .. "_zscore", frame:column(channel), "fixed4")
        frame:set(channel .. "_zscore_flag", flags, "boolean")
      end
      frame:format()
      frame:close()
    end
  end)
  print(("%-30s %8.3f ms"):format("100 rows: parse, set, format", seconds))
end

local peer = start_peer()
for _, case in ipairs { { "2 decimals", 2 }, { "16 digits" } } do
  local path = dir .. "/bench_csv.csv"
  local text = sample(case[2])
  write_file(path, text)
  bench_read(peer, case[1], path, text)
  if not case[2] then
    bench_write(peer, "4 decimals", path, text, "fixed4", "write4")
    bench_write(peer, "shortest", path, text, "shortest", "write")
  end
  os.remove(path)
end
bench_batch()
if peer then peer.stop() end
os.execute((os.getenv("BUILD") or "build") .. "/spec/number_bench")
