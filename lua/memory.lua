--- memory: what batches may need of it, and giving back to the system what a large one needed.
--
-- A batch's texts and columns are garbage when it ends, but the collector, which counts what is
-- alive, would wait until about as much has come again, and the C library keeps freed memory for
-- the next call. On a small machine that is most of its memory, held for nothing.
local host = require("host")
local task = require("task")

local memory = {}

-- A batch needs so many bytes for each of its file: the text, its columns, and the scored text
-- twice. Nine were measured for rows of a time and four channels; shorter ones need more.
local NEED = 12
local MOST_FILE = 512 * 1024 * 1024

local LARGE = 4 * 1024 * 1024 -- bytes of a batch's file; for less it is not worth the work
local QUIET = 1 -- seconds until it is done: another large batch may come
local STEP = 100 -- KiB of allocation that one step of the collector stands for: about a millisecond

--- What the group of processes that this one belongs to may use, or nil: systemd's MemoryMax.
local function group_limit()
  local file = io.open("/proc/self/cgroup", "r")
  local group = file and file:read("a"):match("0::([^\n]+)")
  if file then file:close() end
  file = group and io.open("/sys/fs/cgroup" .. group .. "/memory.max", "r")
  local limit = file and file:read("n")
  if file then file:close() end
  return limit
end

--- Bytes of memory that there are for this process.
function memory.total()
  return math.min(host.stats().physical, group_limit() or math.huge)
end

--- The largest file that a batch should be made of where nothing else was asked for, in bytes.
function memory.largest_file()
  return math.min(MOST_FILE, memory.total() // NEED)
end

--- csv.parse's limits from the options that were given.
function memory.file_limits(given)
  return { max_bytes = given.max_bytes or memory.largest_file(), max_rows = given.max_rows,
    max_columns = given.max_columns, max_row_bytes = given.max_row_bytes }
end

--- How many bytes the files of the batches under way may have together: half of the memory is
-- theirs.
function memory.files_at_once() return memory.total() // 2 // NEED end

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
