--- pipeline: the way of one batch through the bucket: get, parse, forest, baseline step, z-scores,
-- scored file, summary.
--
-- process(item, context) -> "done" | "duplicate" | "failed" | "gone", detail; or nil, message, code
-- for a passing failure, after which the whole way is gone again. A batch that can never be scored
-- gets its record under failed/. The order of the writes is the protocol's: baseline, scored file,
-- summary (see baseline_step.lua).
local baseline = require("baseline")
local batch = require("batch")
local json = require("json")
local keys = require("keys")
local learning = require("learning")
local ledger = require("ledger")
local step = require("baseline_step")

local pipeline = {}

-- Codes of a text that no second try will make readable.
local HOPELESS = { TooLarge = true, Empty = true, NotText = true, NulByte = true, NotHeader = true,
  NoRowFits = true, UnclosedQuote = true, NoChannel = true, InvalidKey = true,
  KeyTooLongError = true }

-- Codes of a key that no bucket of the kind can hold.
local NO_SUCH_KEY_CAN_BE = { InvalidKey = true, KeyTooLongError = true }

local RECORD = { "source_key", "source_etag", "reason", "code", "line", "failed_at", "request_id" }

--- Write the record of a batch that can never be scored.
local function give_up(item, context, etag, message, code, line)
  local key = keys.failure(keys.name(item.key))
  local record = json.object(RECORD, { source_key = item.key, source_etag = etag, reason = message,
    code = code, line = line, failed_at = context.utc(), request_id = item.request_id })
  local put, why, why_code = context.store:put(key, json.encode(record, { indent = 2 }),
    { content_type = "application/json" })
  -- A key that the bucket cannot hold has no record either; trying again would not change that.
  if not put and not NO_SUCH_KEY_CAN_BE[why_code] then return nil, why, why_code end
  context.log("error", "batch failed", { key = item.key, reason = message, code = code,
    line = line, record = put and key or "none", request_id = item.request_id })
  context.metrics.count("anomalyd_batches_total", { result = "failed" })
  context.history.failed(item.key, etag)
  return "failed", message
end

--- The summary of this very content, when the batch is done; false when not; nil, message, code
-- when the bucket does not say.
local function find_summary(context, name, etag)
  local found, message, code = context.store:get(keys.summary(name))
  if not found then
    if code == "NoSuchKey" then return false end
    return nil, message, code
  end
  local summary = json.decode(found.body)
  if type(summary) == "table" and summary.source_etag == etag then return summary end
  return false
end

local function put(context, key, body, content_type)
  return context.store:put(key, body, { content_type = content_type })
end

--- Write the scored file, the rejected rows and, when both are durable, the summary.
local function publish(self, item, context, outcome, name, etag)
  local rejected_key
  local ok, message, code = put(context, keys.scored(name), self.frame:format(), "text/csv")
  if ok and self.frame.rejected > 0 then
    rejected_key = keys.rejected(name)
    ok, message, code = put(context, rejected_key, self.frame:rejected_text(), "text/csv")
  end
  if not ok then return nil, message, code end
  local summary = batch.summary(self, {
    source_key = item.key, output_key = keys.scored(name), processed_at = context.utc(),
    source_etag = etag, counts = baseline.counts(outcome.baseline, self.channels),
    policy = context.policy, unlearned = self.unlearned, rejected_key = rejected_key,
    request_id = item.request_id,
    duration_seconds = tonumber(("%.6f"):format(context.now() - item.began)),
  })
  ok, message, code = put(context, keys.summary(name), json.encode(summary, { indent = 2 }),
    "application/json")
  if not ok then return nil, message, code end
  return summary
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

--- The baseline step and what follows it.
local function finish(self, item, context, turn, etag)
  local name = keys.name(item.key)
  local mark = ledger.mark(item.key, etag)
  local began = context.now()
  turn.taken = true
  local outcome = step.enter(context.baseline_state, {
    turn = turn.number, mark = mark,
    done = function() return find_summary(context, name, etag) end,
    update = function(object, now)
      local after, scoring, unlearned = learning.update(object, self, context.policy, now)
      self.unlearned = unlearned
      return after, scoring
    end,
  }, context)
  context.metrics.observe("anomalyd_batch_seconds", { step = "baseline" }, context.now() - began)
  if outcome.kind == "error" then return nil, outcome.message, outcome.code end
  if outcome.kind == "duplicate" then
    step.finished(context.baseline_state, mark, context)
    context.metrics.count("anomalyd_batches_total", { result = "duplicate" })
    context.history.add(outcome.summary)
    return "duplicate"
  end
  began = context.now()
  batch.score(self, outcome.baseline, context.policy, context.detect)
  local summary, message, code = publish(self, item, context, outcome, name, etag)
  if not summary then return nil, message, code end
  context.metrics.observe("anomalyd_batch_seconds", { step = "publish" }, context.now() - began)
  step.finished(context.baseline_state, mark, context)
  context.history.add(summary, self)
  note_done(self, item, context, summary)
  return "done"
end

--- A turn that is given up on every way out that does not enter the baseline.
local function take_turn(context)
  local turn = { number = step.turn(context.baseline_state) }
  return setmetatable(turn, { __close = function()
    if not turn.taken then step.skip(context.baseline_state, turn.number, context) end
  end })
end

--- Process one batch.
-- @param item {key, request_id, attempts}; item.etag is set to the content's
function pipeline.process(item, context)
  local turn <close> = take_turn(context)
  item.began = context.now()
  local obstacle = keys.obstacle(keys.name(item.key), context.store.kind)
  if obstacle then return give_up(item, context, nil, obstacle, "InvalidKey") end
  local raw, message, code = context.store:get(item.key, { limit = context.max_bytes })
  if not raw then
    if code == "NoSuchKey" then
      context.log("info", "batch gone before it was read", { key = item.key })
      return "gone"
    end
    if HOPELESS[code] then return give_up(item, context, nil, message, code) end
    return nil, message, code
  end
  item.etag = raw.etag
  if context.history.is_done(item.key, raw.etag) then
    context.metrics.count("anomalyd_batches_total", { result = "duplicate" })
    return "duplicate"
  end
  local self, why, why_code, line = prepare(context, raw)
  if not self then
    if HOPELESS[why_code] then return give_up(item, context, raw.etag, why, why_code, line) end
    return nil, why, why_code
  end
  return finish(self, item, context, turn, raw.etag)
end

return pipeline
