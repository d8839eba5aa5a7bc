--- together: several waits side by side instead of one after the other.
local task = require("task")

local together = {}

--- Call fn(item) for each item, at most `width` at a time, each in a task of its own. Waits for all
-- that were begun; after a failure no further ones are begun.
-- @return true; or nil and the message (with traceback) of the first that raised
function together.each(items, width, fn)
  local next_item, running, failure = 1, 0, nil
  local done = task.signal()
  local function worker()
    while next_item <= #items and not failure do
      local item = items[next_item]
      next_item = next_item + 1
      local ok, message = xpcall(fn, debug.traceback, item)
      if not ok then failure = failure or message end
    end
    running = running - 1
    done:fire()
  end
  for _ = 1, math.min(width, #items) do
    running = running + 1
    task.spawn(worker)
  end
  while running > 0 do done:wait(1) end
  if failure then return nil, failure end
  return true
end

return together
