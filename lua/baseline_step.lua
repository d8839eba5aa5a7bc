--- baseline_step: the one serial step of the pipeline: batches enter the baseline exactly once, in
-- arrival order, in groups that share one conditional write.
--
-- Every accepted batch has a turn (a number). A batch that is parsed and scored by the forest calls
-- step() and waits; when all earlier turns are resolved, one of the waiting tasks carries out the
-- group of those that are ready together:
--
--   1. the baseline object is at hand with its etag and ledger (read again after a conflict);
--   2. a batch whose summary exists for the same source etag is done; one that stands in the ledger
--      is counted already; the others are folded in, one after the other, and named in the ledger;
--   3. one put with If-Match (If-None-Match for the first); on a conflict again from 1.
--
-- Step 2 asks for the summary after 1, so that a mark which another host dropped from the ledger
-- (because its summary is durable) is found by its summary instead. A mark of ours is dropped at a
-- later write, once its summary is durable (finished() was called).
--
-- The state is a plain table that outlives a generation; entries carry the functions of their own.
local baseline = require("baseline")
local keys = require("keys")
local ledger = require("ledger")
local task = require("task")
local together = require("together")

local step = {}

local SIDE_BY_SIDE = 32

--- A fresh state.
function step.new()
  return { next_turn = 1, last_turn = 0, waiting = {}, skipped = {}, droppable = {} }
end

--- Take the next turn; each must end in step() or skip().
function step.turn(state)
  state.last_turn = state.last_turn + 1
  return state.last_turn
end

--- Forget the cached object: the next step reads it from the bucket.
function step.forget(state) state.cached = nil end

local function set_aside(store, object, message, log, utc)
  local key = ("state/baseline_unreadable_%s.json"):format(utc():gsub("[^%d]", ""):sub(1, 14))
  log("error", "the baseline cannot be read; it is set aside and a new one is begun",
    { key = keys.baseline, aside = key, reason = message })
  local put, why, code = store:put(key, object.body, { content_type = "application/json" })
  if not put then return nil, why, code end
  return { object = baseline.empty(), etag = object.etag, marks = {} }
end

--- Read the baseline object. @return {object, etag or nil when there is none, marks}
function step.load(state, context)
  if state.cached then return state.cached end
  local found, message, code = context.store:get(keys.baseline)
  if not found and code ~= "NoSuchKey" then return nil, message, code end
  if not found then
    state.cached = { object = baseline.empty(), marks = {} }
    return state.cached
  end
  local object, why = baseline.parse(found.body)
  if not object then
    return set_aside(context.store, found, why, context.log, context.utc)
  end
  state.cached = { object = object, etag = found.etag,
    marks = ledger.parse((found.metadata or {})[ledger.metadata]) }
  return state.cached
end

--- The entries whose turn has come: all earlier turns are resolved. At most `room` of them.
local function next_group(state, room)
  local group, turn = {}, state.next_turn
  while #group < room do
    if state.skipped[turn] then
      state.skipped[turn] = nil
    elseif state.waiting[turn] then
      group[#group + 1] = state.waiting[turn]
      state.waiting[turn] = nil
    else
      break
    end
    turn = turn + 1
  end
  state.next_turn = turn
  return group
end

local function finish(entry, result)
  entry.result = result
  entry.signal:fire()
end

--- Step 2 for one entry. @return the object after it, and whether it was folded in
local function fold(entry, object, marks, context)
  local done, message, code = table.unpack(entry.found, 1, 3)
  if done == nil and code then return nil, message, code end
  if done then
    entry.outcome = { kind = "duplicate", summary = done }
    return object, false
  end
  if marks[entry.mark] then
    -- Counted before, by a process that ended or by a write whose answer was lost.
    entry.outcome = entry.outcome and entry.outcome.kind == "counted" and entry.outcome
      or { kind = "counted before", baseline = object }
    return object, false
  end
  -- The policy is the user's script: an error in it fails this batch and no other.
  local ok, after, scoring = xpcall(entry.update, debug.traceback, object, context.utc())
  if not ok then
    entry.outcome = { kind = "error", message = after, code = "PolicyError" }
    return object, false
  end
  entry.outcome = { kind = "counted", baseline = scoring, after = after }
  return after, true
end

local function write(state, context, current, object, marks)
  local condition = current.etag and { if_match = current.etag } or { if_none_match = "*" }
  condition.metadata = { [ledger.metadata] = ledger.format(marks) }
  condition.content_type = "application/json"
  local put, message, code = context.store:put(keys.baseline, baseline.format(object), condition)
  if not put then return nil, message, code end
  state.cached = { object = object, etag = put.etag, marks = marks }
  return true
end

--- Carry out one group once. @return true, or nil, message, code
local function attempt(state, group, context)
  local current, message, code = step.load(state, context)
  if not current then return nil, message, code end
  local marks, dropped = {}, {}
  for mark in pairs(current.marks) do
    if state.droppable[mark] then dropped[#dropped + 1] = mark else marks[mark] = true end
  end
  local asked, problem = together.each(group, SIDE_BY_SIDE, function(entry)
    entry.found = { entry.done() }
  end)
  if not asked then return nil, problem, "ScriptError" end
  local object, changed = current.object, false
  for _, entry in ipairs(group) do
    local after, folded, why = fold(entry, object, marks, context)
    if not after then return nil, folded, why end
    if folded then
      marks[entry.mark] = true
      changed = true
    end
    object = after
  end
  if changed then
    local ok
    ok, message, code = write(state, context, current, object, marks)
    if not ok then return nil, message, code end
    for _, mark in ipairs(dropped) do state.droppable[mark] = nil end
  end
  return true
end

local CONFLICT = { PreconditionFailed = true, ConditionalRequestConflict = true, NoSuchKey = true }

--- Carry out one group until it is written, however long the bucket is away.
local function persist(state, group, context)
  local pause = 0.05
  while true do
    local ok, message, code = attempt(state, group, context)
    if ok then break end
    state.cached = nil
    if CONFLICT[code] then
      context.log("debug", "the baseline was written by another host; reading it again")
      task.sleep(math.random() * 0.02)
    else
      context.log("warning", "the baseline cannot be written now; trying again",
        { reason = message, code = code or "", seconds = pause })
      state.trouble = message
      task.sleep(pause * (0.5 + math.random()))
      pause = math.min(pause * 2, 20)
    end
  end
  state.trouble = nil
end

--- A group always ends with a result for each entry, also when the task that carries it out is
-- cancelled: those batches are tried again, and the ledger tells whether they were counted.
local function carry_out(state, group, context)
  local ok, message = pcall(persist, state, group, context)
  for _, entry in ipairs(group) do
    finish(entry, ok and entry.outcome or { kind = "error", message = message, code = "Cancelled" })
  end
end

--- Turns that are resolved but were not carried out, because somebody else was at it, are taken by
-- that somebody: only one task at a time is in here.
local function run(state, context)
  if state.busy then return end
  state.busy = true
  local guard <close> = setmetatable({}, { __close = function() state.busy = false end })
  while true do
    local room = ledger.limit
    if state.cached then
      for mark in pairs(state.cached.marks) do
        if not state.droppable[mark] then room = room - 1 end
      end
    end
    local group = next_group(state, math.max(room, 0))
    if #group == 0 then return guard end
    carry_out(state, group, context)
    local newest = context.current and context.current() or context
    if newest ~= context then
      -- An old generation is not kept by a step that is never idle.
      task.spawn(newest.run_step)
      return guard
    end
  end
end

--- Carry out what is ready, if nobody is at it.
function step.resume(state, context) run(state, context) end

--- Give up a turn: the batch failed, or will be tried again with a later turn. Does not wait.
function step.skip(state, turn, context)
  state.waiting[turn] = nil
  if turn >= state.next_turn then state.skipped[turn] = true end
  if next(state.waiting) then task.spawn(run, state, context) end
end

--- Wait for this batch's turn and enter the baseline.
-- @param entry {turn, mark, done = function() -> summary | false | nil, message, code,
--   update = function(object, now) -> object after, object to score with}
-- @return {kind = "counted" | "counted before", baseline =}, {kind = "duplicate", summary =} or
--   {kind = "error", message =, code =}
function step.enter(state, entry, context)
  entry.signal = task.signal()
  state.waiting[entry.turn] = entry
  run(state, context)
  while not entry.result do entry.signal:wait(1) end
  return entry.result
end

--- The batch's summary is durable: its mark may leave the ledger at the next write.
function step.finished(state, mark, context)
  state.droppable[mark] = true
  if next(state.waiting) then run(state, context) end
end

return step
