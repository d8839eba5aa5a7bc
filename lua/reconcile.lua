--- reconcile: find the inputs that have neither a summary nor a failure record, and queue them; and
-- clear away what ended processes left.
--
-- Run at start and every few minutes: events can be lost, and a crash leaves work behind. An input
-- whose content the list does not tell (see content.lua: a bucket that was restored) is read for
-- its etag, once.
local content = require("content")
local gently = require("gently")
local history = require("history")
local keys = require("keys")
local ledger = require("ledger")
local queue = require("queue")
local step = require("baseline_step")
local task = require("task")
local together = require("together")

local reconcile = {}

local READERS, CHUNK, FEW, MOST_MARKED = 4, 1000, 100, 1000

--- Read what the list does not tell: objects with an etag by then, or gone.
local function read_etags(objects, context, state)
  return together.each(objects, READERS, function(object)
    local head, message, code = context.store:head(object.key)
    if not head then
      if code ~= "NoSuchKey" then error(message, 0) end
      object.gone = true
      return
    end
    object.etag, object.changed = head.etag, head.changed
    local name = keys.name(object.key)
    for _, entry in ipairs({ state.batches[name] or {}, state.failures[name] or {} }) do
      if entry.etag == head.etag then entry.changed = content.changed_text(head.changed) end
    end
  end)
end

--- Is this input neither scored nor recorded as hopeless, as far as we know now?
local function is_open(state, object)
  local name = keys.name(object.key)
  return not content.tells(object, state.batches[name]) and
    not content.tells(object, state.failures[name])
end

--- What is to be done.
-- @return list of {key, etag, last_modified} in the order of their age; or nil, message, code
function reconcile.plan(context)
  local state = context.history_state
  local objects, message, code = history.keys(context.store, keys.raw)
  if not objects then return nil, message, code end
  local open, unsure = {}, {}
  for i, object in ipairs(objects) do
    local name = keys.name(object.key)
    local _, complete = history.find(state, name or "")
    if name and (state.batches[name] or complete) then
      local done = content.tells(object, state.batches[name])
      local failed = content.tells(object, state.failures[name])
      if done == nil or failed == nil then
        unsure[#unsure + 1] = object
      elseif not done and not failed then
        open[#open + 1] = object
      end
    end
    if i % CHUNK == 0 then task.sleep(0) end
  end
  local ok, problem = read_etags(unsure, context, state)
  if not ok then return nil, problem, "Unreadable" end
  for _, object in ipairs(unsure) do
    if not object.gone and is_open(state, object) then open[#open + 1] = object end
  end
  return gently.sorted(open, content.is_older)
end

--- The marks of all batches that have a summary. Pauses.
local function done_marks(state)
  local names, done = {}, {}
  for name in pairs(state.batches) do names[#names + 1] = name end
  for i, name in ipairs(names) do
    local batch = state.batches[name]
    if batch and batch.etag then done[ledger.mark(keys.input(name), batch.etag)] = true end
    if i % CHUNK == 0 then task.sleep(0) end
  end
  return done
end

--- The marks of inputs that will be scored.
local function open_marks(open, context)
  local marks, unknown = {}, {}
  for i, object in ipairs(open) do
    if i > MOST_MARKED then return nil end
    if object.etag then
      marks[ledger.mark(object.key, object.etag)] = true
    else
      unknown[#unknown + 1] = object
    end
  end
  local ok, problem = together.each(unknown, READERS, function(object)
    local head = context.store:head(object.key)
    if head then marks[ledger.mark(object.key, head.etag)] = true end
  end)
  if not ok then return nil, problem end
  return marks
end

--- Marks in the ledger that nobody in this process will drop: see whose they are.
local function settle_ledger(open, context)
  local state = context.baseline_state
  if #step.foreign(state) == 0 then return end
  step.settle(state, done_marks(context.history_state), nil, context.now(), context)
  if #step.foreign(state) == 0 then return end
  local marks = open_marks(open, context)
  if marks then step.settle(state, {}, marks, context.now(), context) end
end

--- Failure records of a content that was scored since, or replaced by one that was, are removed.
local function remove_stale_failures(context)
  local state, stale = context.history_state, {}
  for name, failure in pairs(state.failures) do
    local batch = state.batches[name]
    if batch and failure.etag then stale[#stale + 1] = name end
  end
  for _, name in ipairs(stale) do
    local input = context.store:head(keys.input(name))
    local batch, failure = state.batches[name], state.failures[name]
    if input and batch and failure and batch.etag == input.etag and
      (failure.etag ~= input.etag or (failure.at or "") < batch.processed_at) then
      if context.store:delete(keys.failure(name)) then state.failures[name] = nil end
    end
  end
end

--- Queue open[first..] as far as there is room.
-- @return how many were queued, and the number of the first one that was not, or nil
local function queue_some(open, first, context)
  local queued = 0
  for i = first, #open do
    local object = open[i]
    if i % FEW == 0 then task.sleep(0) end
    -- An event may have brought it to its end since the list was made.
    if context.is_complete(object.key) and is_open(context.history_state, object) then
      if queue.crowded(context.queue_state) then return queued, i end
      local taken = context.accept({ key = object.key, etag = object.etag, size = object.size,
        source = "reconcile" })
      if not taken then return queued, i end
      if taken == "queued" then queued = queued + 1 end
    end
  end
  return queued
end

--- Queue open[first..] as room comes, until all are queued or the service is stopping. Waits.
-- @return how many were queued
local function queue_rest(open, first, context)
  local state, queued = context.queue_state, 0
  while first and not state.draining do
    if queue.crowded(state) then
      state.changed:wait(1)
    else
      local more
      more, first = queue_some(open, first, context)
      queued = queued + more
    end
  end
  return queued
end

--- Look, and queue what is open.
-- @return how many were queued, and where there are more than the queue should hold, a function
--   that queues the others as room comes, waits for that, and returns how many; or nil, message,
--   code
function reconcile.run(context)
  -- The baseline is read first: then the index says of every batch that it counted before.
  local known, why, why_code = step.load(context.baseline_state, context)
  if not known then return nil, why, why_code end
  local ok, message, code = history.refresh(context.history_state)
  if not ok then return nil, message, code end
  step.verify(context.baseline_state, known.epoch)
  local open
  open, message, code = reconcile.plan(context)
  if not open then return nil, message, code end
  local queued, left = queue_some(open, 1, context)
  settle_ledger(open, context)
  remove_stale_failures(context)
  return queued, left and function() return queue_rest(open, left, context) end
end

return reconcile
