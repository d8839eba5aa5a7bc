--- How fast the isolation forest is, beside scikit-learn's in the same run.
--
--   lua5.4 scripts/bench/iforest.lua [quick]          (or: anomalyd -l scripts/bench/iforest.lua)
--
-- For each size: fit_score with the draws of that size still to be made (cold) and kept (warm), fit
-- and score apart, each code path, two threads, and scikit-learn's fit + predict +
-- decision_function on the same kind of data (IsolationForest(contamination=0.05,
-- random_state=42), one thread), where python3 has it. Times are CPU milliseconds, medians; the
-- threads' are of the clock on the wall. Ours is timed before and after scikit-learn and the worse
-- median counts. `quick` leaves out the largest size.
package.cpath = package.cpath .. ";build/lua/?.so"
local column = require "column"
local iforest = require "iforest"

local SIZES = {
  { rows = 100, columns = 4, times = 300 },
  { rows = 10000, columns = 4, times = 41 },
  { rows = 100000, columns = 20, times = 7 },
  { rows = 1000000, columns = 4, times = 5 },
}
local TREES = 100

--- A Python that has scikit-learn, or nil.
local function find_python()
  for _, name in ipairs { os.getenv("PYTHON") or "python3", "/usr/bin/python3" } do
    if os.execute(name .. " -c 'import sklearn' 2>/dev/null") then return name end
  end
end
local python = find_python()

local SKLEARN = [[
import sys, time
import numpy
from sklearn.ensemble import IsolationForest
rows, columns, times = map(int, sys.argv[1:])
x = numpy.random.RandomState(1).normal(20, 3, size=(rows, columns))
took = []
for _ in range(times):
    start = time.process_time()
    forest = IsolationForest(n_estimators=100, contamination=0.05, random_state=42).fit(x)
    forest.predict(x)
    forest.decision_function(x)
    took.append(time.process_time() - start)
print("%.9f" % sorted(took)[len(took) // 2])
]]

local function normal()
  local radius = math.sqrt(-2 * math.log(1 - math.random()))
  return 20 + 3 * radius * math.cos(2 * math.pi * math.random())
end

local function frame(size)
  local columns = {}
  for c = 1, size.columns do
    local cells = {}
    for r = 1, size.rows do cells[r] = normal() end
    columns[c] = column.new(cells)
  end
  return columns
end

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

--- The median of some calls, in CPU milliseconds of this process.
local function cpu(times, call)
  local took = {}
  for i = 1, times do
    local start = os.clock()
    call()
    took[i] = (os.clock() - start) * 1000
    if i % 4 == 0 then collectgarbage() end
  end
  return median(took)
end

--- Seconds on the wall: luasocket's clock, or that of date.
local has_socket, socket = pcall(require, "socket")
local now = has_socket and socket.gettime or function()
  local pipe = assert(io.popen("date +%s.%N"))
  local text = pipe:read("a")
  pipe:close()
  return tonumber(text)
end

--- Milliseconds on the wall for one of many calls.
local function wall(times, call)
  local took = {}
  for i = 1, 5 do
    local start = now()
    for _ = 1, times do call() end
    took[i] = (now() - start) * 1000 / times
    collectgarbage()
  end
  return median(took)
end

local function sklearn(size)
  if not python then return nil end
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(SKLEARN)
  file:close()
  local times = size.rows <= 100 and 9 or size.rows <= 10000 and 3 or 1
  local command = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 %s %s %d %d %d 2>/dev/null"
  local pipe = assert(io.popen(command:format(python, name, size.rows, size.columns, times)))
  local seconds = tonumber(pipe:read("a"))
  pipe:close()
  os.remove(name)
  return seconds and seconds * 1000
end

local function line(text, ms, size, reference)
  local per = ms * 1e6 / size.rows / TREES
  local ratio = reference and ("%8.0fx"):format(reference / ms) or ""
  print(("  %-34s %12.3f ms %9.2f ns per row and tree %s"):format(text, ms, per, ratio))
end

local function bench(size)
  local columns = frame(size)
  local seed = 1000
  local function fit_score() return iforest.fit_score(columns) end
  local warm = (fit_score() and cpu)(size.times, fit_score)
  local reference = sklearn(size)
  warm = math.max(warm, cpu(size.times, fit_score))

  print(("%d rows x %d columns"):format(size.rows, size.columns))
  if reference then line("scikit-learn", reference, size) end
  line("fit_score", warm, size, reference)
  line("fit_score, first of its size", cpu(math.min(size.times, 21), function()
    seed = seed + 1
    return iforest.fit_score(columns, { random_state = seed })
  end), size, reference)
  local forest = iforest.fit(columns, { contamination = "auto" })
  line("fit (contamination auto)", cpu(size.times, function()
    return iforest.fit(columns, { contamination = "auto" })
  end), size)
  line("score_samples", cpu(size.times, function() return forest:score_samples(columns) end), size)
  for _, path in ipairs { "portable", "avx2", "avx512" } do
    local ok, other = pcall(iforest.fit, columns, { contamination = "auto", path = path })
    if ok then
      line("score_samples, " .. path, cpu(math.min(size.times, 5), function()
        return other:score_samples(columns)
      end), size)
    end
  end
  if size.rows > 1000 then
    local times = math.max(1, 200000 // size.rows)
    local one = wall(times, fit_score)
    local two = wall(times, function() return iforest.fit_score(columns, { threads = 2 }) end)
    print(("  two threads: %.2f times as fast as one (%.3f and %.3f ms on the wall)")
      :format(one / two, two, one))
  end
end

for _, size in ipairs(SIZES) do
  if not (arg and arg[1] == "quick" and size.rows > 100000) then bench(size) end
end
