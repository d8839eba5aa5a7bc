--- history: what was scored, known without asking the bucket.
--
-- An index of all summaries and failure records, built once in the background and kept current by
-- our own writes and by looking at the list of keys now and then (other hosts may write too): only
-- what is new or changed is read. For each batch it holds a few short values; whole summaries and
-- flagged rows only of those that the answers show, which are kept at hand as well.
--
-- Bounded: beyond MOST batches those whose keys sort first are dropped, and keys up to the last
-- dropped one (`floor`) are not looked at any more; their totals stay in the sums. What the index
-- holds between two lists is complete in this sense: whatever was durable when the last list began,
-- and whatever this process wrote since, is in it.
--
-- The state is a plain table that outlives a generation.
local context = require("context")
local csv = require("csv")
local json = require("json")
local keys = require("keys")
local task = require("task")
local together = require("together")

local history = {}

local MOST_RECENT, FILES, READERS = 5, 10, 16
local MOST = 250000      -- batches in the index
local CHUNK = 1000       -- steps of a long loop between two pauses for others
local MOST_SCORED = 1073741824 -- a scored file may be longer than the longest input
local KEPT_TEXT = 1048576 -- scored text kept for its flagged rows, at most so long
local MOST_SUMMARY = 16 * 1024 * 1024

--- A fresh state.
-- @param most batches in the index, at most; nil: 250 000
function history.new(most)
  return { batches = {}, n = 0, most = most or MOST, failures = {}, full = {}, rows = {},
    totals = { files = 0, rows = 0, anomalies = 0 }, ready = false, built = task.signal(), seq = 0,
    newest = {}, last = {} }
end

-- ---- what the answers show: the few newest and the few last, kept as batches come and go ----

local function is_newer(state, a, b)
  local at, bt = state.batches[a].processed_at, state.batches[b].processed_at
  if at ~= bt then return at > bt end
  return a > b
end

local function is_later(_, a, b) return a .. ".csv" > b .. ".csv" end

--- Put a name in its place in a short sorted list of at most `most`.
local function rank(state, list, name, most, before)
  local at = #list + 1
  while at > 1 and before(state, name, list[at - 1]) do at = at - 1 end
  if at > most then return end
  table.insert(list, at, name)
  list[most + 1] = nil
end

local function remove(list, name)
  for i, one in ipairs(list) do
    if one == name then
      table.remove(list, i)
      return true
    end
  end
end

--- Fill the lists again after a member went. Pauses, so that others run.
local function rank_all(state)
  while state.incomplete do
    state.incomplete = false
    local newest, last, steps = {}, {}, 0
    for name in pairs(state.batches) do
      rank(state, newest, name, MOST_RECENT, is_newer)
      rank(state, last, name, FILES, is_later)
      steps = steps + 1
    end
    state.newest, state.last = newest, last
  end
end

local function forget_extras(state)
  local full, rows = {}, {}
  for _, name in ipairs(state.newest) do full[name] = state.full[name] end
  for _, name in ipairs(state.last) do rows[name] = state.rows[name] end
  state.full, state.rows = full, rows
end

-- ---- the index ----

local function take_out(state, name)
  local old = state.batches[name]
  if not old then return end
  local t = state.totals
  t.files, t.rows, t.anomalies = t.files - 1, t.rows - old.rows, t.anomalies - old.anomalies
  state.n = state.n - 1
  local full = #state.newest == MOST_RECENT
  if remove(state.newest, name) and full then state.incomplete = true end
  full = #state.last == FILES
  if remove(state.last, name) and full then state.incomplete = true end
  state.batches[name], state.full[name], state.rows[name] = nil, nil, nil
end

local function whole(value) return math.type(value) == "integer" and value >= 0 end

local function text_or_nil(value) return type(value) == "string" and value or nil end

local function next_seq(state)
  state.seq = state.seq + 1
  return state.seq
end

--- Take in a summary. One that is none (a foreign object) is skipped.
-- @param identity {etag, size, changed} of the summary's object, as far as known, or nil
-- @param text the scored file, when it is at hand
-- @return whether it was one
function history.add(state, name, summary, identity, text)
  if type(summary) ~= "table" or not whole(summary.total_rows) or
    not whole(summary.anomaly_count) or type(summary.processed_at) ~= "string" then
    return false
  end
  take_out(state, name)
  local t = state.totals
  t.files, t.rows, t.anomalies = t.files + 1, t.rows + summary.total_rows,
    t.anomalies + summary.anomaly_count
  state.n = state.n + 1
  identity = identity or {}
  state.batches[name] = { rows = summary.total_rows, anomalies = summary.anomaly_count,
    processed_at = summary.processed_at, etag = text_or_nil(summary.source_etag),
    changed = text_or_nil(summary.source_changed), seq = next_seq(state),
    object_etag = identity.etag, object_size = identity.size, object_changed = identity.changed }
  state.full[name] = summary
  if text and #text <= KEPT_TEXT then state.rows[name] = { text = text } end
  rank(state, state.newest, name, MOST_RECENT, is_newer)
  rank(state, state.last, name, FILES, is_later)
  forget_extras(state)
  return true
end

--- Note a batch that can never be scored.
-- @param source {etag, changed} of the input, as far as known
function history.failed(state, name, source, at)
  state.failures[name] = { etag = source.etag, changed = source.changed, at = at,
    seq = next_seq(state) }
end

--- What is known of this batch, or nil; and false when it may be one that was dropped.
function history.find(state, name)
  local batch = state.batches[name]
  if batch then return batch end
  if state.floor and keys.summary(name) <= state.floor then return nil, false end
  return nil, true
end

--- Is this very content scored?
function history.is_done(state, name, etag)
  local batch = state.batches[name]
  return batch ~= nil and batch.etag ~= nil and batch.etag == etag
end

-- ---- the answers ----

local function wait_until_built(state)
  while not state.ready do state.built:wait(1) end
  if state.incomplete then rank_all(state) end
end

local function full_summary(state, name)
  if not state.full[name] then
    local found = context.store:get(keys.summary(name), { limit = MOST_SUMMARY })
    local summary = found and json.decode(found.body)
    if type(summary) ~= "table" then return nil end
    state.full[name] = summary
  end
  return state.full[name]
end

--- The body of GET /anomalies/summary.
function history.summary(state)
  wait_until_built(state)
  local t = state.totals
  if t.files == 0 then return { message = "No processed files yet." } end
  local recent = {}
  for _, name in ipairs({ table.unpack(state.newest) }) do
    recent[#recent + 1] = full_summary(state, name)
  end
  return json.object({ "files_processed", "total_rows_scored", "total_anomalies",
    "overall_anomaly_rate", "most_recent" }, {
    files_processed = t.files, total_rows_scored = t.rows, total_anomalies = t.anomalies,
    overall_anomaly_rate = t.rows > 0 and context.round4(t.anomalies / t.rows) or 0,
    most_recent = json.array(recent) })
end

--- The flagged rows of one scored file, each an object in the order of its columns.
local function rows_of(state, name)
  local batch = state.batches[name]
  if not batch then return {} end
  local kept = state.rows[name]
  if kept and kept.rows then return kept.rows end
  local rows = {}
  if batch.anomalies > 0 then
    local text = kept and kept.text
    if not text then
      local found, _, code = context.store:get(keys.scored(name))
      if not found and code ~= "NoSuchKey" then return rows end
      text = found and found.body
    end
    local frame, message
    if text then
      frame, message = csv.parse(text, { text_only = true, max_bytes = MOST_SCORED })
    end
    if frame then
      rows = context.flagged_rows(frame, keys.scored(name))
    elseif text then
      context.log("warning", "the flagged rows of a scored file cannot be shown",
        { key = keys.scored(name), reason = message })
    end
  end
  -- Reading waits: the batch may have been scored anew meanwhile.
  if state.batches[name] == batch then state.rows[name] = { rows = rows } end
  return rows
end

--- The flagged rows of the files whose keys sort last, newest key first, at most `limit`.
function history.recent(state, limit)
  wait_until_built(state)
  local list = {}
  for _, name in ipairs({ table.unpack(state.last) }) do
    for _, row in ipairs(rows_of(state, name)) do
      if #list == limit then return list end
      list[#list + 1] = row
    end
  end
  return list
end

-- ---- looking at the bucket ----

--- All keys under a prefix.
-- @return list of {key, etag, last_modified, size, changed}; or nil, message, code
-- @param start_after only keys after this one; nil: all
function history.keys(store, prefix, start_after)
  local all = {}
  local pages, message, code = store:list({ prefix = prefix, start_after = start_after })
  if not pages then return nil, message, code end
  for page, why, why_code in pages do
    if not page then return nil, why, why_code end
    table.move(page, 1, #page, #all + 1, all)
  end
  return all
end

--- Is the object the one we have, as far as the list tells?
local function is_same(have, object)
  if object.changed and have.object_changed then return object.changed == have.object_changed end
  return object.etag ~= nil and object.etag == have.object_etag
end

local function pause_now_and_then(i)
  if i % CHUNK == 0 then task.sleep(0) end
end

--- What changed in the bucket since we last looked, and the names that are there.
local function changes(objects, name_of, known, foreign)
  local new, present = {}, {}
  for i, object in ipairs(objects) do
    local name = name_of(object.key)
    if name then
      present[name] = true
      local have = known[name] or foreign[name]
      if not have or not is_same(have, object) then
        new[#new + 1] = { object = object, name = name }
      end
    end
    pause_now_and_then(i)
  end
  return new, present
end

local function identity_of(object, found)
  return { etag = found.etag or object.etag, size = object.size, changed = object.changed }
end

--- Has this process written it since the look began?
local function is_fresher(entry, began) return entry ~= nil and entry.seq > began end

local function read_summary(state, object, name, began)
  if is_fresher(state.batches[name], began) then return end
  local found, message, code = context.store:get(object.key, { limit = MOST_SUMMARY })
  if not found and code ~= "TooLarge" then
    if code ~= "NoSuchKey" then error(message, 0) end
    return
  end
  if is_fresher(state.batches[name], began) then return end
  local identity = identity_of(object, found or {})
  if found and history.add(state, name, json.decode(found.body), identity) then
    state.foreign[name] = nil
    return
  end
  context.log("warning", "skipped: no summary of a batch", { key = object.key })
  take_out(state, name)
  state.foreign[name] = { object_etag = identity.etag, object_changed = identity.changed }
end

local function read_failure(state, object, name, began)
  if is_fresher(state.failures[name], began) then return end
  local found, message, code = context.store:get(object.key, { limit = MOST_SUMMARY })
  if not found and code ~= "NoSuchKey" and code ~= "TooLarge" then error(message, 0) end
  local record = found and json.decode(found.body)
  if is_fresher(state.failures[name], began) then return end
  if type(record) ~= "table" then record = {} end
  history.failed(state, name, { etag = text_or_nil(record.source_etag),
    changed = text_or_nil(record.source_changed) }, text_or_nil(record.failed_at))
  local entry, identity = state.failures[name], identity_of(object, found or {})
  entry.object_etag, entry.object_changed = identity.etag, identity.changed
end

--- Forget names that are gone from the bucket, but for what was written since the look began.
local function forget_gone(entries, present, began, forget)
  local gone, i = {}, 0
  for name, entry in pairs(entries) do
    if not present[name] and entry.seq <= began then gone[#gone + 1] = name end
  end
  for _, name in ipairs(gone) do
    i = i + 1
    if is_fresher(entries[name], began) == false then forget(name) end
    pause_now_and_then(i)
  end
end

--- Drop the batches that sort first when there are too many.
local function keep_bounded(state, objects)
  local excess = state.n - state.most
  if excess <= 0 then return end
  excess = excess + state.most // 10
  local t = state.totals
  for i, object in ipairs(objects) do
    if excess == 0 then break end
    local name = keys.name_of_summary(object.key)
    local entry = name and state.batches[name]
    if entry then
      take_out(state, name)
      t.files, t.rows, t.anomalies = t.files + 1, t.rows + entry.rows,
        t.anomalies + entry.anomalies
      excess = excess - 1
    end
    state.floor = object.key
    pause_now_and_then(i)
  end
  context.log("info", "the index of summaries is full: the ones that sort first are dropped",
    { kept = state.n, floor = state.floor })
end

local function refresh_summaries(state, began)
  local objects, message, code = history.keys(context.store, keys.processed, state.floor)
  if not objects then return nil, message, code end
  state.foreign = state.foreign or {}
  local new, present = changes(objects, keys.name_of_summary, state.batches, state.foreign)
  forget_gone(state.batches, present, began, function(name) take_out(state, name) end)
  for name in pairs(state.foreign) do
    if not present[name] then state.foreign[name] = nil end
  end
  local ok, problem = together.each(new, READERS, function(one)
    read_summary(state, one.object, one.name, began)
  end)
  if not ok then return nil, problem end
  keep_bounded(state, objects)
  return true
end

local function refresh_failures(state, began)
  local objects, message, code = history.keys(context.store, keys.failed)
  if not objects then return nil, message, code end
  local new, present = changes(objects, keys.name_of_failure, state.failures, {})
  forget_gone(state.failures, present, began, function(name) state.failures[name] = nil end)
  local ok, problem = together.each(new, READERS, function(one)
    read_failure(state, one.object, one.name, began)
  end)
  if not ok then return nil, problem end
  return true
end

--- Have at hand what the answers show, so that no request asks the bucket.
local function prepare_answers(state)
  if state.incomplete then rank_all(state) end
  forget_extras(state)
  for _, name in ipairs({ table.unpack(state.newest) }) do full_summary(state, name) end
  for _, name in ipairs({ table.unpack(state.last) }) do rows_of(state, name) end
end

--- Bring the index up to the bucket: list, then read what is new. Waits.
-- @return true, or nil, message
function history.refresh(state)
  local began = state.seq
  local ok, message, code = refresh_summaries(state, began)
  if not ok then return nil, message, code end
  ok, message, code = refresh_failures(state, began)
  if not ok then return nil, message, code end
  prepare_answers(state)
  state.ready = true
  state.built:fire()
  return true
end

--- For handlers: the flagged rows of the 10 most recent processed files, at most `limit`.
function history.recent_anomalies(limit)
  return history.recent(context.history_state, limit)
end

--- For handlers: totals over all processed files and the most recent summaries.
function history.overview()
  return history.summary(context.history_state)
end

return history
