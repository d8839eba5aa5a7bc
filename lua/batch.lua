--- batch: one file of rows, from its text to its scored text and its summary; no bucket here.
--
--   open(text, policy, known)      parse it, choose the channels, read their numbers
--   forest(batch, policy)          the isolation forest over all channels
--   score(batch, baseline, policy, detect)  z-scores and flags, as the scripts say
--   summary(batch, facts)          the contract's summary
local column = require("column")
local csv = require("csv")
local earlier = require("earlier")
local iforest = require("iforest")
local json = require("json")
local number = require("number")

local batch = {}

local MOST_NAMES = 256 * 1024 -- bytes of all channels' names

--- Names that are a time or an id, never a channel by guess.
local function is_time_or_id(name)
  local n = name:lower()
  if n == "last_updated" then return true end -- the baseline has this name for its own time
  for _, word in ipairs({ "time", "timestamp", "date", "datetime", "ts", "epoch", "id", "uuid",
    "index", "row" }) do
    if n == word or n:find("[_%-%. ]" .. word .. "$") or n:find("^" .. word .. "[_%-%. ]") then
      return true
    end
  end
  return n:find("timestamp", 1, true) ~= nil or n:find("^unnamed: ") ~= nil
end

--- Columns that this program adds, by their names, given what else is in the header.
local function is_ours(name, present)
  if name == "if_label" or name == "if_score" or name == "if_flag" or name == "anomaly" then
    return present["if_label"] and present["if_score"] and present["if_flag"] and present["anomaly"]
  end
  local channel = name:match("^(.+)_zscore_flag$") or name:match("^(.+)_zscore$")
  return channel ~= nil and present[channel] and present[channel .. "_zscore"] and
    present[channel .. "_zscore_flag"]
end

local function looks_numeric(facts)
  return facts.cells > 0 and facts.finite >= 0.95 * facts.cells
end

local function choose_auto(frame, present, known)
  local chosen, missing, is_known = {}, {}, {}
  for _, name in ipairs(known) do
    is_known[name] = true
    if not present[name] then missing[#missing + 1] = name end
  end
  for _, name in ipairs(frame.names) do
    if is_known[name] then
      chosen[#chosen + 1] = name
    elseif not is_time_or_id(name) and not is_ours(name, present) and
      looks_numeric(frame:numbers(name)) then
      chosen[#chosen + 1] = name
    end
  end
  return chosen, missing
end

local function choose_named(names, present)
  local chosen, missing = {}, {}
  for _, name in ipairs(names) do
    local list = present[name] and chosen or missing
    list[#list + 1] = name
  end
  return chosen, missing
end

--- Do the names fit into summaries and the baseline, each of them several times?
local function names_fit(names)
  local bytes = 0
  for _, name in ipairs(names) do bytes = bytes + #name end
  return bytes <= MOST_NAMES
end

--- Parse a batch.
-- @param text the file's bytes
-- @param policy a checked policy (policy.lua)
-- @param known the baseline's channels, in order
-- @param limits csv.parse's limits
-- @return {frame, channels, missing, columns, bad}; or nil, message, code, line
function batch.open(text, policy, known, limits)
  local frame, message, code, line = csv.parse(text, limits)
  if not frame then return nil, message, code, line end
  local present = {}
  for _, name in ipairs(frame.names) do present[name] = true end
  local channels, missing
  if policy.channels == "auto" then
    channels, missing = choose_auto(frame, present, known)
  else
    channels, missing = choose_named(policy.channels, present)
  end
  if #channels == 0 then
    return nil, ("no channel: the columns are %s, wanted are %s (channels in baseline_policy.lua)")
      :format(table.concat(frame.names, ", ", 1, math.min(#frame.names, 20)),
      policy.channels == "auto" and "numbers" or table.concat(policy.channels, ", ")), "NoChannel"
  end
  if not names_fit(channels) then
    return nil, ("the names of the channels have more than %d bytes together"):format(MOST_NAMES),
      "TooLarge"
  end
  local self = { frame = frame, channels = channels, missing = missing, columns = {}, bad = {} }
  for _, name in ipairs(channels) do
    self.columns[name] = frame:column(name)
    local facts = frame:numbers(name)
    if facts.bad > 0 then self.bad[name] = { count = facts.bad, first = facts.first } end
  end
  return self
end

--- Fit the forest on the batch and score the batch with it. Waits.
function batch.forest(self, policy)
  local columns = {}
  for i, name in ipairs(self.channels) do columns[i] = self.columns[name] end
  self.forest = iforest.fit_score(columns, { n_estimators = policy.n_estimators,
    max_samples = "auto", contamination = policy.contamination,
    random_state = policy.random_state })
end

--- Take the columns of an earlier scoring out, so that they are replaced and not doubled.
local function forget_scores(self)
  local present = {}
  for _, name in ipairs(self.frame.names) do present[name] = true end
  for name in pairs(present) do
    if is_ours(name, present) then self.frame:drop(name) end
  end
end

--- Add the scores to the frame, whose text is then the scored file.
-- @param detect scripts/detect.lua's function
function batch.score(self, baseline, policy, detect)
  forget_scores(self)
  self.flagged = {}
  self.anomaly_count = column.count(detect(self, baseline, policy))
  self.forest = nil
end

local function bad_cells(self)
  local result = {}
  for name, bad in pairs(self.bad) do
    local first = {}
    for i, cell in ipairs(bad.first) do
      first[i] = json.object({ "line", "column", "text" },
        { line = cell.line, column = cell.column, text = cell.text })
    end
    result[name] = json.object({ "count", "first" },
      { count = bad.count, first = json.array(first) })
  end
  return result
end

local function moments_object(m)
  -- Moments that passed the range of a double are no numbers that JSON has.
  local function known(x) return x - x == 0 and x or json.null end
  return json.object({ "count", "mean", "M2" },
    { count = m.count, mean = known(m.mean), M2 = known(m.M2) })
end

local function batch_moments(self)
  local columns, result = {}, {}
  for i, name in ipairs(self.channels) do columns[i] = self.columns[name] end
  for i, moments in ipairs(column.moments_all(columns)) do
    result[self.channels[i]] = moments_object(moments)
  end
  return json.object(self.channels, result)
end

--- The moments of what was learned, of the channels of which not everything was.
local function learned_moments(self, learned)
  local names, result = {}, {}
  for _, name in ipairs(self.channels) do
    if learned[name] then
      names[#names + 1] = name
      result[name] = moments_object(learned[name])
    end
  end
  return json.object(names, result)
end

local ORDER = { "source_key", "output_key", "processed_at", "total_rows", "anomaly_count",
  "anomaly_rate", "baseline_observation_counts", "source_etag", "channels", "policy",
  "duration_seconds" }
local EXTRA = { "source_changed", "missing_channels", "unlearned_channels", "rejected_rows",
  "rejected_key", "bad_cells", "batch_moments", "learned_moments", "counted_earlier", "earlier",
  "request_id" }

local POLICY = { "z_threshold", "maturity", "update", "learn_flagged", "half_life", "direction",
  "minimum_deviation", "contamination", "n_estimators", "random_state" }

--- The summary, as a table that json.encode lays out in the contract's order.
-- @param facts {source_key, output_key, processed_at, source_etag, source_changed, counts, policy,
--   duration_seconds, unlearned, learned, rejected_key, previous = the summary that is replaced,
--   request_id}
function batch.summary(self, facts)
  local rows = self.frame.rows
  local rate = rows > 0 and tonumber(number.fixed4(self.anomaly_count / rows)) or 0.0
  local names = table.move(ORDER, 1, #ORDER, 1, {})
  local value = {
    source_key = facts.source_key, output_key = facts.output_key,
    processed_at = facts.processed_at, total_rows = rows, anomaly_count = self.anomaly_count,
    anomaly_rate = rate, baseline_observation_counts = facts.counts,
    source_etag = facts.source_etag, source_changed = facts.source_changed,
    channels = json.array(self.channels),
    policy = json.object(POLICY, (function()
      local copy = {}
      for _, name in ipairs(POLICY) do copy[name] = facts.policy[name] end
      return copy
    end)()),
    duration_seconds = facts.duration_seconds, batch_moments = batch_moments(self),
    request_id = facts.request_id,
  }
  local was_counted
  value.earlier, was_counted = earlier.of(facts.previous, facts.source_etag)
  if was_counted then value.counted_earlier = true end
  if #self.missing > 0 then value.missing_channels = json.array(self.missing) end
  if facts.unlearned and #facts.unlearned > 0 then
    value.unlearned_channels = json.array(facts.unlearned)
  end
  if facts.learned and next(facts.learned) then
    value.learned_moments = learned_moments(self, facts.learned)
  end
  if self.frame.rejected > 0 then
    value.rejected_rows = self.frame.rejected
    value.rejected_key = facts.rejected_key
  end
  if next(self.bad) then value.bad_cells = bad_cells(self) end
  for _, name in ipairs(EXTRA) do
    if value[name] ~= nil then names[#names + 1] = name end
  end
  return json.object(names, value)
end

return batch
