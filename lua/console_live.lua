--- console_live: the running service as values in the console: baseline, policy, store, queue,
-- score, whatif, redrive.
--
-- They read the live state. What a line writes into them stays in its session; the few calls that
-- change the service or the bucket (store:put, store:delete, redrive) say so and are logged.
local batch = require("batch")
local column = require("column")
local context = require("context")
local csv = require("csv")
local history = require("history")
local json = require("json")
local keys = require("keys")
local learning = require("learning")
local ledger = require("ledger")
local policy = require("policy")
local queue = require("queue")
local step = require("baseline_step")
local suggest = require("suggest")
local zscore = require("zscore")

local live = {}

local RECENT = 20
local MOST_KEYS = 1000
local SHOWN_ROWS = 5
local MOST_ROWS = 200000 -- rows of a file whose flagged rows are listed

--- Say and log that a session changes something.
function live.note(session, what, fields)
  fields = fields or {}
  fields.session, fields.uid = session.id, session.uid
  context.log("warning", "console: " .. what, fields)
end

local function must_write(session)
  if session.read_only then
    error("this session only reads; start it with --write to let it change the bucket", 3)
  end
end

-- ---- baseline ----

--- The baseline as it is now; waits for the bucket when it is not at hand.
function live.baseline_object()
  local current, message = step.load(context.baseline_state, context)
  if not current then error("the baseline cannot be read: " .. tostring(message), 0) end
  return current.object, current.marks
end

local function channel_of(object, name)
  local channel = object.channels[name]
  if channel then return channel end
  error(("no channel '%s' in the baseline%s"):format(tostring(name),
    #object.order > 0 and suggest.phrase(tostring(name), object.order) or "; it is empty"), 0)
end

--- The newest summaries that are known, newest first, at most n. Waits.
local function recent_summaries(n)
  local state = context.history_state
  if not state.ready then
    local ok, message = history.refresh(state)
    if not ok then error("the bucket cannot be read: " .. tostring(message), 0) end
  end
  local list = {}
  for name, one in pairs(state.batches) do
    list[#list + 1] = { name = name, at = one.processed_at }
  end
  table.sort(list, function(a, b)
    if a.at ~= b.at then return a.at > b.at end
    return a.name > b.name
  end)
  local summaries = {}
  for i = 1, math.min(n, #list) do
    local one = list[i]
    local summary = state.full[one.name] or live.read_summary(one.name, one.at)
    if summary then summaries[#summaries + 1] = summary end
  end
  return summaries
end
live.recent_summaries = recent_summaries

local kept, n_kept = {}, 0

--- A summary from the bucket; those that were read are kept.
function live.read_summary(name, at)
  local key = name .. "\0" .. at
  if kept[key] then return kept[key] end
  local found = context.store:get(keys.summary(name))
  local summary = found and json.decode(found.body)
  if type(summary) ~= "table" then return nil end
  if n_kept > 500 then kept, n_kept = {}, 0 end
  kept[key], n_kept = summary, n_kept + 1
  return summary
end

local HISTORY = { "batch", "processed_at", "count", "mean", "std", "distance", "anomalies" }

--- What recent batches held of a channel, newest first: their own mean and deviation, and how many
-- of the baseline's deviations their mean lies from its mean.
function live.channel_history(name, n)
  local now = channel_of(live.baseline_object(), name)
  local rows = {}
  for _, summary in ipairs(recent_summaries(n or RECENT)) do
    local m = type(summary.batch_moments) == "table" and summary.batch_moments[name]
    if m and m.count > 0 then
      rows[#rows + 1] = json.object(HISTORY, { batch = keys.name(summary.source_key),
        processed_at = summary.processed_at, count = m.count, mean = m.mean,
        std = math.sqrt(m.M2 / m.count), anomalies = summary.anomaly_count,
        distance = now.std > 0 and (m.mean - now.mean) / now.std or 0.0 })
    end
  end
  return rows
end

local function distance_of(session, name, value)
  local channel = channel_of(live.baseline_object(), name)
  if type(value) ~= "number" then error("baseline:zscore(channel, number)", 3) end
  local effective = live.policy_of(session)
  if channel.count < effective.maturity then
    return nil, ("%s has %d observations and is mature from %d"):format(name, channel.count,
      effective.maturity)
  end
  local score, flag = zscore(column.new({ value }), name, channel, effective)
  return score[1], flag[1] == 1
end

local function baseline_methods(session)
  return setmetatable({
    history = function(_, name, n) return live.channel_history(name, n) end,
    zscore = function(_, name, value) return distance_of(session, name, value) end,
    channel = function(self, name) return rawget(self, name) end,
  }, { __index = function(_, name)
    channel_of(live.baseline_object(), name)
  end })
end

local CHANNEL = { "count", "mean", "std", "M2", "mature" }

local function baseline_view(session, object)
  local view = {}
  for _, name in ipairs(object.order) do
    local c = object.channels[name]
    view[name] = json.object(CHANNEL, { count = c.count, mean = c.mean, std = c.std, M2 = c.M2,
      mature = c.count >= live.policy_of(session).maturity })
  end
  return setmetatable(view, { __index = baseline_methods(session) })
end

-- ---- policy ----

--- The policy with the session's own values in it, checked.
function live.policy_of(session)
  if next(session.policy) == nil then return context.policy end
  local merged = {}
  for name, value in pairs(context.policy) do merged[name] = value end
  for name, value in pairs(session.policy) do merged[name] = value end
  local checked, message = policy.check(merged, "policy")
  if not checked then error(message, 0) end
  return checked
end

--- policy.NAME reads; an assignment is the session's alone, and nil takes it back.
local function policy_object(session)
  local effective = live.policy_of(session)
  return setmetatable({}, { __index = effective, __view = effective,
    __newindex = function(_, name, value)
      if value == nil then
        session.policy[name] = nil
        effective[name] = context.policy[name]
        return
      end
      local tried = {}
      for k, v in pairs(effective) do tried[k] = v end
      tried[name] = value
      local checked, message = policy.check(tried, "policy")
      if not checked then error(message, 2) end
      session.policy[name] = value
    end,
    __pairs = function() return next, effective, nil end })
end

-- ---- store ----

local LISTED = { "key", "size", "last_modified", "etag" }

local function list_keys(options)
  if type(options) ~= "table" then options = { prefix = options } end
  local most = options.limit or MOST_KEYS
  local pages, message, code = context.store:list({ prefix = options.prefix or "",
    start_after = options.start_after })
  if not pages then return nil, message, code end
  local rows = {}
  for page, why, why_code in pages do
    if not page then return nil, why, why_code end
    for _, object in ipairs(page) do
      if #rows == most then return rows end
      rows[#rows + 1] = json.object(LISTED, { key = object.key, size = object.size,
        etag = object.etag, last_modified = object.last_modified
          and context.utc(object.last_modified):sub(1, 19) })
    end
  end
  return rows
end

local function store_object(session)
  local methods = {
    list = function(_, options) return list_keys(options) end,
    get = function(_, key, options) return context.store:get(key, options) end,
    head = function(_, key) return context.store:head(key) end,
    put = function(_, key, body, options)
      must_write(session)
      live.note(session, "put into the bucket", { key = key, bytes = #body })
      return context.store:put(key, body, options)
    end,
    delete = function(_, key)
      must_write(session)
      live.note(session, "deleted from the bucket", { key = key })
      return context.store:delete(key)
    end,
  }
  return setmetatable({ kind = context.store.kind, name = context.store.name,
    path = context.store.path, read_only = session.read_only or false }, { __index = methods })
end

-- ---- queue ----

local QUEUED = { "key", "state", "result", "attempts", "accepted", "finished", "source", "detail" }

local function queue_object()
  local state = context.queue_state
  local methods = {
    list = function(_, wanted, limit)
      local rows = queue.list(state, wanted, limit or 100)
      for i, row in ipairs(rows) do
        rows[i] = json.object(QUEUED, { key = row.key, state = row.state, result = row.result,
          attempts = row.attempts, accepted = context.utc(row.accepted):sub(1, 19),
          finished = row.finished and context.utc(row.finished):sub(1, 19), source = row.source,
          detail = row.detail })
      end
      return rows
    end,
  }
  local counts = {}
  for result, n in pairs(state.counts) do counts[result] = n end
  return setmetatable({ waiting = queue.length(state), running = state.running,
    limit = state.limit, width = state.width, finished = counts }, { __index = methods })
end

--- Have a batch looked at again, as an event of the bucket would.
local function redrive(session, key)
  must_write(session)
  if not keys.name(key) then error("redrive: no input's key: " .. tostring(key), 3) end
  live.note(session, "queued again", { key = key })
  return context.accept({ key = key, source = "console" })
end

-- ---- dry runs ----

local function full_key(key)
  if type(key) ~= "string" then error("the key of a batch is a text: \"raw/NAME.csv\"", 3) end
  if keys.name(key) then return key end
  if keys.name("raw/" .. key) then return "raw/" .. key end
  if keys.name("raw/" .. key .. ".csv") then return "raw/" .. key .. ".csv" end
  error("no input's key: " .. key, 3)
end

local function fetch(key)
  local raw, message, code = context.store:get(key)
  if not raw then error(("%s: %s (%s)"):format(key, tostring(message), tostring(code)), 0) end
  return raw
end

--- Score a text as if it had landed now; nothing is written. A content that the baseline has
-- learned already is not learned again.
local function try(key, raw, chosen)
  local object, marks = live.baseline_object()
  local self, why, code, line = batch.open(raw.body, chosen, object.order, context.limits)
  if not self then
    error(("%s%s: %s (%s)"):format(key, line and ":" .. line or "", why, code), 0)
  end
  batch.forest(self, chosen)
  local counted = context.history.is_done(key, raw.etag) or
    marks[ledger.mark(key, raw.etag)] ~= nil
  local scoring = object
  if not counted then
    local _, against = learning.update(object, self, chosen, context.utc())
    scoring = against
  end
  batch.score(self, scoring, chosen, context.detect)
  return self, counted
end

--- Why a row of a scored file is flagged: the channels with their distances, and the forest.
local function reasons(row, channels)
  local list = {}
  for _, name in ipairs(channels) do
    if row[name .. "_zscore_flag"] == true then
      list[#list + 1] = ("%s %.4g"):format(name, row[name .. "_zscore"])
    end
  end
  if row.if_flag == true then list[#list + 1] = "forest" end
  return table.concat(list, ", ")
end

--- The first flagged rows: their cells as they came, and why.
local function flagged_rows(self)
  if self.anomaly_count == 0 or self.frame.rows > MOST_ROWS then return nil end
  local frame = csv.parse(self.frame:format(), { text_only = true })
  local rows, names = frame:select("anomaly", "True", SHOWN_ROWS)
  local inputs, list = {}, {}
  for _, name in ipairs(names) do
    if name == self.channels[1] .. "_zscore" or name == "if_label" then break end
    inputs[#inputs + 1] = name
  end
  for i, cells in ipairs(rows) do
    local row, shown = {}, {}
    for k, name in ipairs(names) do row[name] = cells[k] end
    for _, name in ipairs(inputs) do shown[name] = row[name] end
    shown.why = reasons(row, self.channels)
    list[i] = shown
  end
  inputs[#inputs + 1] = "why"
  for i, row in ipairs(list) do list[i] = json.object(inputs, row) end
  return list
end

local SCORED = { "key", "rows", "anomalies", "rate", "counted", "channels", "flagged", "first" }

--- score("raw/x.csv"): what scoring it now would give.
local function score(session, key)
  key = full_key(key)
  local self, counted = try(key, fetch(key), live.policy_of(session))
  return json.object(SCORED, { key = key, rows = self.frame.rows, anomalies = self.anomaly_count,
    rate = context.round4(self.anomaly_count / self.frame.rows), counted = counted,
    channels = self.channels, flagged = self.flagged, first = flagged_rows(self) })
end

local function anomaly_column(self)
  return self.frame:column("anomaly") or column.constant(self.frame.rows, 0)
end

local function difference(session)
  local rows = {}
  for name, value in pairs(session.policy) do
    rows[name] = { service = context.policy[name], session = value }
  end
  return rows
end

local WHATIF = { "key", "rows", "counted", "anomalies", "flagged", "policy" }

--- whatif("raw/x.csv"): the same batch under the service's policy and under the session's.
local function whatif(session, key)
  key = full_key(key)
  local raw, ours = fetch(key), live.policy_of(session)
  local before, counted = try(key, raw, context.policy)
  local after = try(key, raw, ours)
  local old, new = anomaly_column(before), anomaly_column(after)
  local flagged = {}
  for _, side in ipairs({ before, after }) do
    for name in pairs(side.flagged) do
      flagged[name] = { service = before.flagged[name] or 0, session = after.flagged[name] or 0 }
    end
  end
  return json.object(WHATIF, { key = key, rows = after.frame.rows, counted = counted,
    anomalies = { service = before.anomaly_count, session = after.anomaly_count,
      added = column.count(column.both(new, column.equal(old, 0))),
      removed = column.count(column.both(old, column.equal(new, 0))) },
    flagged = flagged, policy = difference(session) })
end

-- ---- all of them ----

--- The names that live.of resolves.
live.names = { baseline = true, policy = true, store = true, queue = true, score = true,
  whatif = true, redrive = true }

--- A function that gives a session's live value of a name, made at that moment; nil for other
-- names.
function live.of(session)
  local fixed = {
    store = store_object(session),
    score = function(key) return score(session, key) end,
    whatif = function(key) return whatif(session, key) end,
    redrive = function(key) return redrive(session, key) end,
  }
  return function(name)
    if name == "baseline" then return baseline_view(session, live.baseline_object()) end
    if name == "policy" then return policy_object(session) end
    if name == "queue" then return queue_object() end
    return fixed[name]
  end
end

--- The same names without waiting, for completion: what is not at hand is an empty table.
function live.peek(session)
  local cached = context.baseline_state.cached
  local get = live.of(session)
  return { baseline = cached and baseline_view(session, cached.object) or {},
    policy = policy_object(session), queue = queue_object(), store = get("store"),
    score = get("score"), whatif = get("whatif"), redrive = get("redrive") }
end

return live
