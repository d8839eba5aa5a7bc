-- bench: how long the parts of one batch take, on sample data of several sizes (`make bench`).
--
-- Each figure is the best of several rounds, by the clock on the wall: the forest and long columns
-- use every core.
local column = require("column")
local csv = require("csv")
local iforest = require("iforest")
local clock = require("socket").gettime

local CHANNELS = { "temperature", "humidity", "pressure", "wind_speed" }
local ROUNDS = 5

local function sample(rows)
  local lines = { "timestamp," .. table.concat(CHANNELS, ",") }
  math.randomseed(1)
  for row = 1, rows do
    lines[#lines + 1] = string.format("2026-02-24T%02d:%02d:%02d,%.2f,%.2f,%.2f,%.2f",
      row // 3600 % 24, row // 60 % 60, row % 60, 22 + 3 * math.random(), 55 + 9 * math.random(),
      1013 + 6 * math.random(), 10 + 3 * math.random())
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

--- The least seconds of several calls, and the last result.
local function best(work)
  local least, result = math.huge, nil
  for _ = 1, ROUNDS do
    collectgarbage()
    local started = clock()
    result = work()
    least = math.min(least, clock() - started)
  end
  return least, result
end

local function bench(rows)
  local text = sample(rows)
  local function show(step, seconds)
    print(string.format("%8d  %-28s %10.3f ms %12.0f rows/s", rows, step, seconds * 1000,
      rows / seconds))
  end
  local seconds, frame = best(function() return assert(csv.parse(text)) end)
  show("csv.parse", seconds)
  local columns = {}
  for number, name in ipairs(CHANNELS) do columns[number] = frame:column(name) end
  show("column.moments, 4 channels", (best(function()
    for _, channel in ipairs(columns) do column.moments(channel) end
  end)))
  local scored
  seconds, scored = best(function() return iforest.fit_score(columns) end)
  show("iforest.fit_score, 100 trees", seconds)
  frame:set("if_score", scored.decisions, "fixed4")
  frame:set("if_label", scored.labels, "integer")
  show("frame:format", (best(function() return frame:format() end)))
end

for _, rows in ipairs { 100, 10000, 100000 } do bench(rows) end
