--- baseline_step: the one serial step of the pipeline: batches enter the baseline exactly once, in
-- arrival order, in groups that share one conditional write.
--
-- Every accepted batch has a turn (a number). A batch that is parsed and scored by the forest calls
-- enter() and waits; when all earlier turns are resolved, one task carries out the group of those
-- that are ready together:
--
--   1. the baseline object is at hand with its etag and ledger (read again after a conflict);
--   2. a batch whose summary exists for the same source etag is done; one that stands in the ledger
--      is counted already; the others are folded in, one after the other, and named in the ledger;
--   3. one put with If-Match (If-None-Match for the first); on a conflict again from 1.
--
-- Step 2 looks for the summary after 1, so that a mark which another host dropped from the ledger
-- (because its summary is durable) is found by its summary instead. It needs no request while the
-- object at hand is *verified*: the index of summaries was brought up to the bucket after the
-- object was read, and every write since was ours, so whatever was counted is in the index or the
-- ledger.
--
-- A mark is dropped at a later write, once its summary is durable: by finished() for our own, by
-- settle() for those that an ended process left. A mark that nobody will finish any more (its input
-- was replaced or removed between count and summary) is dropped when it was so for a good while.
-- spec/model/once.pml is a model of all this, which spin checks.
--
-- The state is a plain table that outlives a generation; entries carry the functions of their own.
local baseline = require("baseline")
local keys = require("keys")
local ledger = require("ledger")
local recover = require("recover")
local steps = require("steps")
local task = require("task")
local together = require("together")

local step = {}

local SIDE_BY_SIDE = 32
local PATIENCE = 3        -- attempts before one batch's trouble is its own
local REFUSALS = 5        -- conflicts on an object that nobody changed, before it is said
-- A mark without an input or a summary is kept so long; a batch that was read longer ago than the
-- second time asks the bucket whether its input is still the one that was read. So nobody can count
-- again what such a mark stood for: a request ends well within the difference.
local ORPHAN_SECONDS, FRESH_SECONDS = 900, 300

--- A fresh state.
function step.new()
  return { next_turn = 1, last_turn = 0, waiting = {}, skipped = {}, droppable = {}, inflight = {},
    orphans = {}, epoch = 0 }
end

--- Take the next turn; each must end in enter() or skip().
function step.turn(state)
  state.last_turn = state.last_turn + 1
  return state.last_turn
end

--- Forget the cached object: the next step reads it from the bucket.
function step.forget(state) state.cached = nil end

-- ---- the object ----

local function read(state, context)
  local found, message, code = context.store:get(keys.baseline)
  if not found and code ~= "NoSuchKey" then return nil, message, code end
  if not found then return { object = baseline.empty(), marks = {} } end
  -- Without it nothing could be written in its place alone.
  if not found.etag then
    return nil, ("the answer for %s has no ETag: is this a server of S3's kind?")
      :format(keys.baseline), "NoETag"
  end
  local object, why = baseline.parse(found.body)
  if not object then
    -- Our own that are between their count and their summary are then known by their summary.
    while next(state.inflight) do task.sleep(0.02) end
    return recover(found, why, context)
  end
  return { object = object, etag = found.etag,
    marks = ledger.parse((found.metadata or {})[ledger.metadata]) }
end

--- Read the baseline object, once for all who ask at the same time.
-- @return {object, etag or nil when there is none, marks, epoch}; or nil, message, code
function step.load(state, context)
  while state.loading and not state.cached do state.loading:wait(1) end
  if state.cached then return state.cached end
  local loaded = task.signal()
  state.loading = loaded
  local _ <close> = setmetatable({}, { __close = function()
    state.loading = nil
    loaded:fire()
  end })
  local cached, message, code = read(state, context)
  if not cached then return nil, message, code end
  state.epoch = state.epoch + 1
  cached.epoch = state.epoch
  state.cached = cached
  return cached
end

--- The index of summaries was brought up to the bucket, beginning when `epoch` was at hand.
function step.verify(state, epoch)
  if state.cached and state.cached.epoch == epoch then state.verified = epoch end
end

-- ---- a group ----

--- How many marks the next write would carry.
local function carried(state, marks)
  local n = 0
  for mark in pairs(marks) do
    if not state.droppable[mark] then n = n + 1 end
  end
  return n
end

--- Fill `group` with the entries whose turn has come: all earlier turns are resolved. At most
-- `room` of them.
local function next_group(state, room, group)
  while #group < room do
    local turn = state.next_turn
    if state.skipped[turn] then
      state.skipped[turn] = nil
    elseif state.waiting[turn] then
      group[#group + 1] = state.waiting[turn]
      state.waiting[turn] = nil
    else
      break
    end
    state.next_turn = turn + 1
  end
end

--- Put the entries from `first` on back to where they waited.
local function postpone(state, group, first)
  for turn = group[first].turn, state.next_turn - 1 do state.skipped[turn] = true end
  state.next_turn = group[first].turn
  while #group >= first do
    local entry = table.remove(group)
    state.skipped[entry.turn] = nil
    state.waiting[entry.turn] = entry
  end
end

--- What the bucket says of each entry: entry.found = {standing} or {nil, message, code}.
local function look(state, group, current, context)
  local unknown = {}
  for _, entry in ipairs(group) do
    entry.uncertain = entry.uncertain or context.now() - entry.read_at > FRESH_SECONDS
    local standing = state.verified == current.epoch and not entry.uncertain and entry.quick()
    entry.found = standing and { standing } or nil
    if not standing then unknown[#unknown + 1] = entry end
  end
  if #unknown == 0 then return true end
  local ok, problem = together.each(unknown, SIDE_BY_SIDE, function(entry)
    entry.found = table.pack(entry.look(entry.uncertain))
  end)
  if not ok then return nil, problem end
  return true
end

--- Step 2 for one entry. @return the object after it, and whether it was folded in
local function fold(entry, object, counted, context)
  local standing = entry.found[1]
  if not standing then
    entry.outcome = { kind = "error", message = entry.found[2], code = entry.found[3] }
    return object, false
  end
  if standing.kind ~= "open" then
    entry.outcome = { kind = standing.kind, summary = standing.summary, counted = counted }
    return object, false
  end
  if counted then
    -- Counted before, by a process that ended or by a write whose answer was lost.
    local before = entry.uncertain and entry.outcome
    entry.outcome = before and before.kind == "counted" and before
      or { kind = "counted before", baseline = object }
    entry.outcome.standing = standing
    return object, false
  end
  -- The policy is the user's script: an error in it fails this batch and no other.
  local ok, after, scoring = xpcall(entry.update, debug.traceback, object, context.utc())
  if not ok then
    entry.outcome = { kind = "error", message = after, code = "PolicyError" }
    return object, false
  end
  entry.outcome = { kind = "counted", baseline = scoring, standing = standing }
  return after, true
end

local function write(state, context, current, object, marks)
  local condition = current.etag and { if_match = current.etag } or { if_none_match = "*" }
  condition.metadata = { [ledger.metadata] = ledger.format(marks) }
  condition.content_type = "application/json"
  local put, message, code = context.store:put(keys.baseline, baseline.format(object), condition)
  if not put then return nil, message, code end
  state.cached = { object = object, etag = put.etag, marks = marks, epoch = current.epoch }
  for mark in pairs(state.droppable) do
    if not marks[mark] then state.droppable[mark] = nil end
  end
  return true
end

--- Fold what fits into the ledger; the rest goes back to wait. @return object, marks, folded
local function fold_all(state, group, current, context)
  local object, marks, n, folded = current.object, {}, 0, {}
  for mark in pairs(current.marks) do
    if not state.droppable[mark] then
      marks[mark] = true
      n = n + 1
    end
  end
  for i, entry in ipairs(group) do
    if n >= ledger.limit and not current.marks[entry.mark] and entry.found[1] and
      entry.found[1].kind == "open" and not entry.found[1].counted then
      postpone(state, group, i)
      break
    end
    local standing = entry.found[1]
    local counted = current.marks[entry.mark] or marks[entry.mark] or standing and standing.counted
    local after, is_folded = fold(entry, object, counted, context)
    if is_folded then
      marks[entry.mark] = true
      n = n + 1
      folded[#folded + 1] = entry
    elseif entry.outcome.kind == "counted before" and current.marks[entry.mark] then
      marks[entry.mark], state.droppable[entry.mark] = true, nil
    end
    object = after
  end
  return object, marks, folded
end

--- Is it the bucket that is away, and not one batch's objects?
local function all_failed(group)
  local message, code
  for _, entry in ipairs(group) do
    if entry.found[1] then return false end
    message, code = entry.found[2], entry.found[3]
  end
  return true, message, code
end

local CONFLICT = { PreconditionFailed = true, ConditionalRequestConflict = true, NoSuchKey = true }

--- Carry out one group once. @return true, or nil, message, code
local function attempt(state, group, context, patient)
  local current, message, code = step.load(state, context)
  if not current then return nil, message, code end
  local asked, problem = look(state, group, current, context)
  if not asked then return nil, problem, "ScriptError" end
  local away, why, why_code = all_failed(group)
  if away and patient then return nil, why, why_code end
  local object, marks, folded = fold_all(state, group, current, context)
  steps.at("looked_up")
  if #folded == 0 then return true end
  local ok
  ok, message, code = write(state, context, current, object, marks)
  if ok then
    steps.at("counted")
    return true
  end
  if not CONFLICT[code] then
    for _, entry in ipairs(folded) do entry.uncertain = true end
  end
  return nil, message, code
end

--- What to do about a conflict: nothing, when another host wrote the object. A server that refuses
-- although nobody did has no conditional writes, and would refuse for ever.
-- @param current what the refused write was to replace, or nil when it was not even read
-- @return what is wrong, or nil
local function refusal(refused, current, code)
  -- The last one is said of a write that is still going on: nothing can be seen of it yet.
  if not current or code == "ConditionalRequestConflict" then return nil end
  local etag = current.etag or "none"
  if refused.etag == etag then
    refused.times = refused.times + 1
  else
    refused.etag, refused.times = etag, 0
  end
  if refused.times < REFUSALS then return nil end
  return keys.baseline .. " is refused again and again although nobody else writes it: the server "
    .. "has no conditional writes that work (some have none in a bucket that keeps versions)"
end

--- Carry out one group until it is written, however long the bucket is away.
local function persist(state, group, context)
  local pause, attempts, refused = 0.05, 0, { times = 0 }
  while true do
    attempts = attempts + 1
    local ok, message, code = attempt(state, group, context, attempts < PATIENCE)
    if ok then break end
    local trouble = message
    if CONFLICT[code] then
      trouble = refusal(refused, state.cached, code)
      context.metrics.count("anomalyd_baseline_conflicts_total", { kind = code })
    end
    state.cached = nil
    if trouble then
      context.log("warning", "the baseline cannot be written now; trying again",
        { reason = trouble, code = code or "", seconds = ("%.2f"):format(pause) })
      state.trouble = trouble
      task.sleep(pause * (0.5 + math.random()))
      pause = math.min(pause * 2, 20)
    else
      context.log("debug", "the baseline was written by another host; reading it again")
      task.sleep(math.random() * 0.02)
    end
  end
  state.trouble = nil
end

--- A group always ends with a result for each entry, also when the task that carries it out is
-- cancelled: those batches are tried again, and the ledger tells whether they were counted.
-- @param trouble nil when it was carried out
local function answer(state, group, trouble)
  for _, entry in ipairs(group) do
    if not entry.result then
      entry.result = not trouble and entry.outcome or
        { kind = "error", message = trouble or "no outcome", code = "Cancelled" }
      local kind = entry.result.kind
      if not entry.abandoned and (kind == "counted" or kind == "counted before") then
        state.inflight[entry.mark] = true
      end
      entry.signal:fire()
    end
  end
end

local kick

--- Carry out what is ready. One task at a time is in here, and it is no batch's own.
local function run(state, context)
  local group, done = {}, false
  local _ <close> = setmetatable({}, { __close = function()
    state.busy = false
    answer(state, group, "the baseline step was cut short")
    if not done then kick(state, context) end
  end })
  while true do
    local room = ledger.limit
    if state.cached then room = room - carried(state, state.cached.marks) end
    group = {}
    next_group(state, math.max(room, 0), group)
    if #group == 0 then
      if room <= 0 and state.waiting[state.next_turn] then context.ledger_full() end
      break
    end
    local ok, message = pcall(persist, state, group, context)
    answer(state, group, not ok and tostring(message) or nil)
    if not ok then return end
    local newest = context.current()
    if newest ~= context then
      -- An old generation is not kept by a step that is never idle.
      task.spawn(newest.run_step)
      break
    end
  end
  done = true
end

--- See that somebody carries out what is ready. Does not wait.
function kick(state, context)
  if state.busy or not next(state.waiting) or
    not (state.waiting[state.next_turn] or state.skipped[state.next_turn]) then return end
  state.busy = true
  task.spawn(run, state, context)
end

--- Carry out what is ready, if nobody is at it. Does not wait.
function step.resume(state, context) kick(state, context) end

-- ---- for the pipeline ----

--- Give up a turn: the batch failed, or will be tried again with a later turn. Does not wait.
function step.skip(state, turn, context)
  state.waiting[turn] = nil
  if turn >= state.next_turn then state.skipped[turn] = true end
  -- Nobody waits: the run of skipped turns is passed here, so that it does not grow.
  while not state.busy and state.skipped[state.next_turn] do
    state.skipped[state.next_turn] = nil
    state.next_turn = state.next_turn + 1
  end
  kick(state, context)
end

--- Wait for this batch's turn and enter the baseline. What is counted is in flight until finished()
-- or left() is called.
-- @param entry {turn, mark, read_at, quick, look, update}:
--   read_at: context.now() before the input was read
--   look(uncertain) -> {kind = "open" | "duplicate" | "superseded", ...} | nil, message, code asks
--     the bucket how the batch stands; `uncertain`: it must ask for the input too, since an earlier
--     write may have counted the batch unseen, or it was read long ago
--   quick() -> the same from the verified index, or nil when the bucket must be asked
--   update(object, now) -> object after, object to score with
-- @return {kind = "counted" | "counted before", baseline, standing}, {kind = "duplicate", summary},
--   {kind = "superseded", counted} or {kind = "error", message, code}
function step.enter(state, entry, context)
  entry.signal = task.signal()
  -- Who is cancelled while it waits is not counted any more, or not held for being in flight.
  local _ <close> = setmetatable({}, { __close = function()
    if entry.result then return end
    entry.abandoned = true
    if state.waiting[entry.turn] == entry then step.skip(state, entry.turn, context) end
  end })
  state.waiting[entry.turn] = entry
  kick(state, context)
  while not entry.result do entry.signal:wait(1) end
  return entry.result
end

--- Nothing more is to be written for this batch: its mark may leave the ledger at the next write.
function step.finished(state, mark, context)
  state.inflight[mark] = nil
  if not state.cached or state.cached.marks[mark] then state.droppable[mark] = true end
  kick(state, context)
end

--- The batch is no longer worked on, finished or not.
function step.left(state, mark) state.inflight[mark] = nil end

--- Marks that an ended process left in the ledger, or that belong to another host.
-- @return list of marks that are not ours
function step.foreign(state)
  local list = {}
  for mark in pairs(state.cached and state.cached.marks or {}) do
    if not state.inflight[mark] and not state.droppable[mark] then list[#list + 1] = mark end
  end
  return list
end

--- Tell what is known of foreign marks.
-- @param done {mark = true}: a summary says so
-- @param open {mark = true}: the input is there, and will be scored; nil: not looked for
-- @param now seconds
function step.settle(state, done, open, now, context)
  for _, mark in ipairs(step.foreign(state)) do
    local since = state.orphans[mark]
    if done[mark] then
      state.droppable[mark] = true
    elseif not open or open[mark] then
      state.orphans[mark] = open and nil or since
    elseif not since then
      state.orphans[mark] = now
    elseif now - since >= ORPHAN_SECONDS then
      state.droppable[mark] = true
      context.log("info", "a batch was counted and then replaced or removed before it was scored",
        { mark = mark })
    end
  end
  for mark in pairs(state.orphans) do
    if not state.cached or not state.cached.marks[mark] or state.droppable[mark] then
      state.orphans[mark] = nil
    end
  end
  kick(state, context)
end

return step
