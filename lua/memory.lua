--- memory: gives back to the system what a large batch needed.
--
-- A batch's texts and columns are garbage when it ends, but the collector, which counts what is
-- alive, would wait until about as much has come again, and the C library keeps freed memory for
-- the next call. On a small machine that is most of its memory, held for nothing.
local host = require("host")
local task = require("task")

local memory = {}

local LARGE = 4 * 1024 * 1024 -- bytes of a batch's file; for less it is not worth the work
local QUIET = 1 -- seconds until it is done: another large batch may come
local STEP = 100 -- KiB of allocation that one step of the collector stands for: about a millisecond

--- Let the collector finish a cycle, in small steps between which others work.
local function collect()
  while not collectgarbage("step", STEP) do task.sleep(0) end
end

--- A batch of so many bytes has ended.
-- @param state a table that outlives generations, where `giving_back` is this module's
function memory.after(bytes, state)
  if not bytes or bytes < LARGE or state.giving_back then return end
  state.giving_back = true
  task.spawn(function()
    local _ <close> = setmetatable({}, { __close = function() state.giving_back = nil end })
    task.sleep(QUIET)
    -- What the cycle under way had already seen alive is found by the next one.
    collect()
    collect()
    host.trim()
  end)
end

return memory
