--- pipeline: the way of one batch through the bucket: get, parse, forest, baseline step, z-scores,
-- scored file, summary.
--
-- process(item, context) -> "done" | "duplicate" | "failed" | "gone", detail; or nil, message, code
-- for a passing failure, after which the whole way is gone again. A batch that can never be scored
-- gets its record under failed/. The order of the writes is the protocol's: baseline, scored file,
-- summary (see baseline_step.lua). Scored file and summary are put on the condition that what they
-- replace is what was seen before the input was last known to hold this content: a slow host cannot
-- lay the result of an old content over a newer one's.
local baseline = require("baseline")
local batch = require("batch")
local content = require("content")
local digest = require("digest")
local earlier = require("earlier")
local json = require("json")
local keys = require("keys")
local learning = require("learning")
local ledger = require("ledger")
local step = require("baseline_step")
local steps = require("steps")

local pipeline = {}

local MOST_SUMMARY = 16 * 1024 * 1024

-- Codes of a text that no second try will make readable.
local HOPELESS = { TooLarge = true, Empty = true, NotText = true, NulByte = true, NotHeader = true,
  NoRowFits = true, UnclosedQuote = true, NoChannel = true, InvalidKey = true,
  KeyTooLongError = true }

-- Codes of a key that no bucket of the kind can hold.
local NO_SUCH_KEY_CAN_BE = { InvalidKey = true, KeyTooLongError = true }

local RECORD = { "source_key", "source_etag", "source_changed", "reason",
  "code", "line", "failed_at", "request_id" }

-- ---- how a batch stands ----

--- Is the input still this content? @return true, false; or nil, message, code
local function is_current(item, context, etag)
  local now, message, code = context.store:head(item.key)
  if now then return now.etag == etag end
  if code == "NoSuchKey" then return false end
  return nil, message, code
end

--- Ask the bucket how the batch stands.
-- @return {kind = "duplicate", summary}: this content is scored; {kind = "superseded"}: the input
--   holds another content by now, or none; {kind = "open", etag, summary, counted}: neither, the
--   summary that is there and its etag, and whether this content was counted before that one; or
--   nil, message, code
local function look(item, context, name, etag, uncertain)
  local found, message, code = context.store:get(keys.summary(name), { limit = MOST_SUMMARY })
  if not found and code ~= "NoSuchKey" and code ~= "TooLarge" then return nil, message, code end
  local summary = found and json.decode(found.body)
  if type(summary) ~= "table" then summary = nil end
  if summary and summary.source_etag == etag then
    return { kind = "duplicate", summary = summary }
  end
  if found or code == "TooLarge" or uncertain then
    local current, why, why_code = is_current(item, context, etag)
    if current == nil then return nil, why, why_code end
    if not current then return { kind = "superseded" } end
  end
  return { kind = "open", etag = found and found.etag, summary = summary,
    counted = earlier.has(summary, etag) }
end

--- The same without a request, from an index that is complete; nil when that does not tell.
local function quick_look(item, context, etag)
  local known, complete = context.history.find(item.key)
  if not known then return complete and { kind = "open" } or nil end
  if known.etag == etag then return { kind = "duplicate" } end
end

--- Write the record of a batch that can never be scored.
-- One that was scored before, under another policy, keeps its result.
local function give_up(item, context, etag, message, code, line)
  -- A key that the bucket cannot hold has no summary and no record; trying again changes nothing.
  local impossible = NO_SUCH_KEY_CAN_BE[code]
  if not impossible then
    local standing, trouble, trouble_code = look(item, context, keys.name(item.key), etag, false)
    if not standing then return nil, trouble, trouble_code end
    if standing.kind == "duplicate" then
      context.history.add(item.key, standing.summary)
      return "duplicate"
    end
    if standing.kind == "superseded" and etag then return "gone" end
  end
  local key = keys.failure(keys.name(item.key))
  local record = json.object(RECORD, { source_key = item.key, source_etag = etag, reason = message,
    source_changed = item.changed, code = code, line = line,
    failed_at = context.utc(), request_id = item.request_id })
  local put, why, why_code = context.store:put(key, json.encode(record, { indent = 2 }),
    { content_type = "application/json" })
  if not put and not impossible then return nil, why, why_code end
  steps.at("failed")
  context.log("error", "batch failed", { key = item.key, reason = message, code = code,
    line = line, record = put and key or "none", request_id = item.request_id })
  context.metrics.count("anomalyd_batches_total", { result = "failed" })
  context.history.failed(item.key, { etag = etag, changed = item.changed })
  return "failed", message
end

-- ---- the writes ----

local CONFLICT = { PreconditionFailed = true, ConditionalRequestConflict = true, NoSuchKey = true }

--- Put an object in the place of the one that was seen there, and of no other: a result of an older
-- content must not end up over a newer one's.
-- @param seen the etag of what is there, nil for nothing
-- @param settled function(there) -> true when what is there by now may stay
-- @return {etag, ...} of what is there; false when the input was replaced meanwhile; or nil,
--   message, code
local function put(item, context, etag, object, seen, settled)
  for _ = 1, 8 do
    local condition = seen and { if_match = seen } or { if_none_match = "*" }
    condition.content_type = object.content_type
    local done, message, code = context.store:put(object.key, object.body, condition)
    if done then return done end
    if not CONFLICT[code] then return nil, message, code end
    -- An answer that was lost, an earlier try of this batch, another host, another content.
    local there, why, why_code = context.store:head(object.key)
    if not there and why_code ~= "NoSuchKey" then return nil, why, why_code end
    seen = there and there.etag
    if there and settled(there) then return there end
    local current, reason, reason_code = is_current(item, context, etag)
    if current == nil then return nil, reason, reason_code end
    if not current then return false end
  end
  return nil, ("%s is written by others all the time"):format(object.key), "Contended"
end

--- Of two hosts that scored the same batch, that one's summary stays whose scored file is there.
-- @param over function(summary): told which one is to be replaced, if it is none of those
local function summary_stays(context, name, etag, scored_etag, over)
  return function()
    local found = context.store:get(keys.summary(name), { limit = MOST_SUMMARY })
    local summary = found and json.decode(found.body)
    if type(summary) == "table" and summary.source_etag == etag then
      local scored = context.store:head(keys.scored(name))
      if scored and scored.etag ~= scored_etag then return true end
    end
    over(summary)
    return false
  end
end

--- Take away what an earlier content of this batch left under failed/.
local function tidy(self, item, context, standing)
  local name = keys.name(item.key)
  if context.history.has_failure(item.key) then
    local gone = context.store:delete(keys.failure(name))
    if gone then context.history.forget_failure(item.key) end
  end
  if standing.summary and standing.summary.rejected_key and self.frame.rejected == 0 then
    context.store:delete(keys.rejected(name))
  end
end

--- Write the scored file, the rejected rows and, when both are durable, the summary.
-- @return summary and the identity of its object; false when the input was replaced; or nil,
--   message, code
local function publish(self, item, context, outcome, text, name, etag)
  local standing, rejected_key = outcome.standing, nil
  local scored_etag = digest.md5(text)
  local done, message, code = put(item, context, etag, { key = keys.scored(name), body = text,
    content_type = "text/csv" }, nil, function(there) return there.etag == scored_etag end)
  if not done then return done, message, code end
  scored_etag = done.etag -- not always the MD5: of an upload in parts, of an encrypted object
  steps.at("scored")
  if self.frame.rejected > 0 then
    rejected_key = keys.rejected(name)
    local rejected = self.frame:rejected_text()
    local rejected_etag = digest.md5(rejected)
    done, message, code = put(item, context, etag, { key = rejected_key, body = rejected,
      content_type = "text/csv" }, nil, function(there) return there.etag == rejected_etag end)
    if not done then return done, message, code end
    steps.at("rejected")
  end
  local summary
  local object = { key = keys.summary(name), content_type = "application/json" }
  local function write_over(previous)
    summary = batch.summary(self, {
      source_key = item.key, output_key = keys.scored(name), processed_at = context.utc(),
      source_etag = etag, source_changed = item.changed,
      counts = baseline.counts(outcome.baseline, self.channels),
      policy = context.policy, unlearned = self.unlearned, learned = self.learned,
      rejected_key = rejected_key, request_id = item.request_id, previous = previous,
      duration_seconds = tonumber(("%.6f"):format(context.now() - item.began)),
    })
    object.body = json.encode(summary, { indent = 2 })
  end
  write_over(standing.summary)
  done, message, code = put(item, context, etag, object, standing.etag,
    summary_stays(context, name, etag, scored_etag, write_over))
  if not done then return done, message, code end
  steps.at("summarized")
  tidy(self, item, context, standing)
  return summary, done
end

local function note_done(self, item, context, summary)
  context.metrics.count("anomalyd_batches_total", { result = "done" })
  context.metrics.count("anomalyd_rows_total", nil, self.frame.rows)
  if self.frame.rejected > 0 then
    context.metrics.count("anomalyd_rows_rejected_total", nil, self.frame.rejected)
  end
  for channel, count in pairs(self.flagged) do
    if count > 0 then
      context.metrics.count("anomalyd_anomalies_total", { channel = channel }, count)
    end
  end
  context.log("info", "batch done", { key = item.key, rows = self.frame.rows,
    anomalies = self.anomaly_count, rejected = self.frame.rejected,
    milliseconds = ("%.1f"):format(summary.duration_seconds * 1000), request_id = item.request_id })
end

--- Everything before the baseline step. @return batch; or nil, message, code, line
local function prepare(context, raw)
  local known, message, code = step.load(context.baseline_state, context)
  if not known then return nil, message, code end
  local began = context.now()
  local self, why, why_code, line = batch.open(raw.body, context.policy, known.object.order,
    context.limits)
  if not self then return nil, why, why_code, line end
  context.metrics.observe("anomalyd_batch_seconds", { step = "parse" }, context.now() - began)
  began = context.now()
  batch.forest(self, context.policy)
  context.metrics.observe("anomalyd_batch_seconds", { step = "forest" }, context.now() - began)
  return self
end

--- Was it counted, its mark stays in the ledger until nobody can hold the old content any more.
local function superseded(item, context)
  context.log("info", "batch replaced or removed before it was scored", { key = item.key,
    request_id = item.request_id })
  return "gone"
end

local function duplicate(item, context, mark, summary)
  if summary then context.history.add(item.key, summary) end
  step.finished(context.baseline_state, mark, context)
  context.metrics.count("anomalyd_batches_total", { result = "duplicate" })
  return "duplicate"
end

--- Wait for the turn and enter the baseline.
local function enter(self, item, context, turn, mark, etag)
  local name = keys.name(item.key)
  local began = context.now()
  turn.taken = true
  local outcome = step.enter(context.baseline_state, {
    turn = turn.number, mark = mark, read_at = item.began,
    quick = function() return quick_look(item, context, etag) end,
    look = function(uncertain) return look(item, context, name, etag, uncertain) end,
    update = function(object, now)
      local after, scoring, unlearned, learned = learning.update(object, self, context.policy, now)
      self.unlearned, self.learned = unlearned, learned
      return after, scoring
    end,
  }, context)
  context.metrics.observe("anomalyd_batch_seconds", { step = "baseline" }, context.now() - began)
  return outcome
end

--- The baseline step and what follows it.
local function finish(self, item, context, turn, etag)
  local state, mark = context.baseline_state, ledger.mark(item.key, etag)
  local _ <close> = setmetatable({}, { __close = function() step.left(state, mark) end })
  local outcome = enter(self, item, context, turn, mark, etag)
  if outcome.kind == "error" then return nil, outcome.message, outcome.code end
  if outcome.kind == "duplicate" then return duplicate(item, context, mark, outcome.summary) end
  if outcome.kind == "superseded" then return superseded(item, context) end
  if outcome.kind == "counted before" then
    -- What was left out of the baseline then is not known any more, but is what would be now.
    local _, _, unlearned, learned = learning.update(outcome.baseline, self, context.policy,
      context.utc())
    self.unlearned, self.learned = unlearned, learned
  end
  local began = context.now()
  batch.score(self, outcome.baseline, context.policy, context.detect)
  local text = self.frame:format()
  steps.at("formatted")
  local summary, message, code = publish(self, item, context, outcome, text, keys.name(item.key),
    etag)
  if summary == nil then return nil, message, code end
  if not summary then return superseded(item, context) end
  context.metrics.observe("anomalyd_batch_seconds", { step = "publish" }, context.now() - began)
  context.history.add(item.key, summary, message, text)
  step.finished(state, mark, context)
  note_done(self, item, context, summary)
  steps.at("finished")
  return "done"
end

--- A turn that is given up on every way out that does not enter the baseline.
local function take_turn(context)
  local turn = { number = step.turn(context.baseline_state) }
  return setmetatable(turn, { __close = function()
    if not turn.taken then step.skip(context.baseline_state, turn.number, context) end
  end })
end

local function known_already(context)
  context.metrics.count("anomalyd_batches_total", { result = "duplicate" })
  return "duplicate"
end

local function note_content(item, object)
  item.etag = object.etag
  item.bytes = object.body and #object.body
  item.changed = content.changed_text(object.changed)
end

--- Process one batch.
-- @param item {key, request_id, attempts, hint = the etag an event told, or nil, after = the
--   etag that was done just before, or nil}; item.etag is set to the content's
function pipeline.process(item, context)
  local turn <close> = take_turn(context)
  item.began = context.now()
  local obstacle = keys.obstacle(keys.name(item.key), context.store.kind)
  if obstacle then return give_up(item, context, nil, obstacle, "InvalidKey") end
  -- An event that tells the content spares a redelivered batch the reading.
  if item.hint and context.history.is_done(item.key, item.hint) then
    item.etag = item.hint
    return known_already(context)
  end
  local raw, message, code = context.store:get(item.key, { limit = context.limits.max_bytes })
  if not raw then
    if code == "NoSuchKey" then
      context.log("info", "batch gone before it was read", { key = item.key,
        request_id = item.request_id })
      return "gone"
    end
    if not HOPELESS[code] then return nil, message, code end
    local head = context.store:head(item.key) or {}
    note_content(item, head)
    return give_up(item, context, head.etag, message, code)
  end
  note_content(item, raw)
  steps.at("read")
  if raw.etag == item.after or context.history.is_done(item.key, raw.etag) then
    return known_already(context)
  end
  local self, why, why_code, line = prepare(context, raw)
  if not self then
    if HOPELESS[why_code] then return give_up(item, context, raw.etag, why, why_code, line) end
    return nil, why, why_code
  end
  steps.at("prepared")
  return finish(self, item, context, turn, raw.etag)
end

return pipeline
