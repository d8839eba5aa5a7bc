--- queue: accepted batches, run side by side in the order in which they came.
--
-- A batch is known by its key. While it waits, further events for the key change nothing (the
-- object is read when its time comes); while it runs, an event for another content of the key makes
-- it run again afterwards. What fails for a passing reason is tried again for as long as it takes,
-- with jittered back-off. The state is a plain table that outlives a generation.
--
-- Large files are not all held in memory at once: while those that run are as large together as
-- they may be, the next batch waits, and with it those behind it.
local task = require("task")

local queue = {}

local RECENT = 500

--- A fresh state.
-- @param options {limit = most batches waiting, width = batches side by side, bytes = how large
--   the files of several that run may be together, or nil: of any size}
function queue.new(options)
  return { limit = options.limit, width = options.width, most_bytes = options.bytes or math.huge,
    waiting = {}, first = 1, last = 0, by_key = {}, running = 0, bytes = 0, recent = {},
    changed = task.signal(), counts = {} }
end

function queue.length(state) return state.last - state.first + 1 end

--- Is half of the room taken? Then what need not be queued now leaves the rest to events.
function queue.crowded(state) return 2 * queue.length(state) >= state.limit end

--- Nothing waits, runs or is to be tried again.
function queue.idle(state) return next(state.by_key) == nil end

local function push(state, item)
  state.last = state.last + 1
  state.waiting[state.last] = item
  item.state = "queued"
end

local function pop(state)
  local item = state.waiting[state.first]
  state.waiting[state.first] = nil
  state.first = state.first + 1
  return item
end

local function remember(state, item, result, detail)
  item.state = result == "failed" and "failed" or "done"
  item.result = result
  item.detail = detail
  table.insert(state.recent, 1, item)
  state.recent[RECENT + 1] = nil
  state.counts[result] = (state.counts[result] or 0) + 1
end

local retry_later, start_ready

--- Go on with the newest generation's code, so that an old one is not kept by a queue that is never
-- empty.
local function go_on(state, context)
  local newest = context.current()
  if newest == context then start_ready(state, context) else newest.start_ready() end
end

local function run(state, item, context, bytes)
  local ok, result, message, code = xpcall(context.process, debug.traceback, item)
  state.running = state.running - 1
  state.bytes = state.bytes - bytes
  if not ok then result, message, code = nil, result, "ScriptError" end
  if result == nil then
    item.attempts = item.attempts + 1
    retry_later(state, item, context, message, code)
  else
    state.by_key[item.key] = nil
    item.finished = context.time()
    remember(state, item, result, message)
    if item.again and not state.draining then
      if result ~= "gone" then item.again.after = item.etag end
      queue.accept(state, item.again, context.current(), true)
    end
  end
  state.changed:fire()
  go_on(state, context)
end

--- May the next one begin? One runs always, however large it is.
local function is_room(state)
  if queue.length(state) == 0 or state.draining then return false end
  local size = state.waiting[state.first].size or 0
  return state.running < state.width
    and (state.running == 0 or state.bytes + size <= state.most_bytes)
end

--- Start waiting batches while there is room. `context` is the current generation's.
function start_ready(state, context)
  while is_room(state) do
    local item = pop(state)
    local bytes = item.size or 0
    item.state = "running"
    item.started = context.time()
    state.running = state.running + 1
    state.bytes = state.bytes + bytes
    task.spawn(run, state, item, context, bytes)
  end
end
queue.start_ready = start_ready

function retry_later(state, item, context, message, code)
  local pause = math.min(0.25 * 2 ^ math.min(item.attempts - 1, 8), 60) * (0.5 + math.random())
  item.state = "retrying"
  item.detail = message
  context.log("warning", "batch not done; it will be tried again",
    { key = item.key, reason = message, code = code or "", seconds = ("%.1f"):format(pause),
      attempts = item.attempts, request_id = item.request_id })
  task.spawn(function()
    task.sleep(pause)
    push(state, item)
    go_on(state, context)
  end)
end

--- Take a batch.
-- @param event {key, etag, size and request_id or nil, source, after = the etag that was just done}
-- @param owed it was taken before, while its key was being worked on: there is always room for it
-- @return "queued" | "known"; or nil, message, "QueueFull" | "Draining"
function queue.accept(state, event, context, owed)
  local item = state.by_key[event.key]
  if item then
    item.size = math.max(item.size or 0, event.size or 0)
    -- What a list of keys shows is no news about content that is being read just now.
    if item.state == "running" and event.source ~= "reconcile" and
      not (event.etag and event.etag == item.etag) then
      item.again = event
    elseif event.etag ~= item.hint then
      item.hint = nil -- two contents were told: the object is read
    end
    return "known"
  end
  if state.draining then return nil, "the service is stopping", "Draining" end
  if not owed and queue.length(state) >= state.limit then
    return nil, ("the queue holds %d batches, its limit"):format(state.limit), "QueueFull"
  end
  item = { key = event.key, request_id = event.request_id, source = event.source,
    hint = event.etag, size = event.size, after = event.after, accepted = context.time(),
    attempts = 0 }
  state.by_key[event.key] = item
  push(state, item)
  start_ready(state, context)
  return "queued"
end

--- Is there room for `n` more batches? An event with many records is taken whole or not at all.
function queue.room(state, n)
  return not state.draining and queue.length(state) + n <= state.limit
end

--- The batches in a state ("queued", "running", "retrying", "done", "failed", or nil: all), newest
-- first; plain tables for a JSON answer.
function queue.list(state, wanted, limit)
  local rows = {}
  local function add(item)
    if (wanted == nil or item.state == wanted) and #rows < limit then
      rows[#rows + 1] = { key = item.key, state = item.state, result = item.result,
        attempts = item.attempts, detail = item.detail, etag = item.etag,
        request_id = item.request_id, source = item.source, accepted = item.accepted,
        finished = item.finished }
    end
  end
  local live = {}
  for _, item in pairs(state.by_key) do live[#live + 1] = item end
  table.sort(live, function(a, b)
    if a.accepted ~= b.accepted then return a.accepted > b.accepted end
    return a.key < b.key
  end)
  for _, item in ipairs(live) do add(item) end
  for _, item in ipairs(state.recent) do add(item) end
  return rows
end

--- Stop starting batches; wait until those that run have ended, at most `seconds`.
-- @return true, or false and how many still run
function queue.drain(state, seconds, now)
  local deadline = now() + seconds
  state.draining = true
  while state.running > 0 and now() < deadline do
    state.changed:wait(math.min(0.5, deadline - now()))
  end
  return state.running == 0, state.running
end

return queue
