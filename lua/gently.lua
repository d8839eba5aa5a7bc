--- gently: long computations over lists, with pauses in which other tasks run.
local task = require("task")

local gently = {}

local RUN = 1000 -- steps between two pauses

--- Merge list[from..middle] and list[middle+1..to], which are sorted, into `out` at `from`.
local function merge(list, out, from, middle, to, before, pause)
  local i, k = from, middle + 1
  for at = from, to do
    if i <= middle and (k > to or not before(list[k], list[i])) then
      out[at], i = list[i], i + 1
    else
      out[at], k = list[k], k + 1
    end
    if at % RUN == 0 then pause() end
  end
end

--- A sorted copy of a list, in which what is equal may stand in any order. Waits.
-- @param before function(a, b) -> true when a is to stand before b
function gently.sorted(list, before)
  local function pause() task.sleep(0) end
  local n, sorted = #list, {}
  for first = 1, n, RUN do
    local last = math.min(first + RUN - 1, n)
    local run = table.move(list, first, last, 1, {})
    table.sort(run, before)
    table.move(run, 1, #run, first, sorted)
    if last < n then pause() end
  end
  local width = RUN
  while width < n do
    local out = {}
    for from = 1, n, 2 * width do
      merge(sorted, out, from, math.min(from + width - 1, n), math.min(from + 2 * width - 1, n),
        before, pause)
    end
    sorted, width = out, 2 * width
  end
  return sorted
end

return gently
