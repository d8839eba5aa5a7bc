--- history: what was scored, known without asking the bucket.
--
-- An index of all summaries and failure records, built once in the background and kept current by
-- our own writes and by looking at the list of keys now and then (other hosts may write too). For
-- each batch it holds a few numbers; whole summaries and flagged rows only of those that the
-- answers show. The state is a plain table that outlives a generation.
local context = require("context")
local csv = require("csv")
local json = require("json")
local keys = require("keys")
local task = require("task")
local together = require("together")

local history = {}

local MOST_RECENT, FILES, READERS = 5, 10, 16

--- A fresh state.
function history.new()
  return { batches = {}, failures = {}, full = {}, rows = {}, totals = { files = 0, rows = 0,
    anomalies = 0 }, ready = false, built = task.signal(), version = 0 }
end

local function forget(state, name)
  local old = state.batches[name]
  if not old then return end
  local t = state.totals
  t.files, t.rows, t.anomalies = t.files - 1, t.rows - old.rows, t.anomalies - old.anomalies
  state.batches[name], state.full[name], state.rows[name] = nil, nil, nil
end

local function whole(value) return math.type(value) == "integer" and value >= 0 end

--- Take in a summary. One that is none (a foreign object) is skipped.
-- @return whether it was one
function history.add(state, name, summary, object_etag)
  if type(summary) ~= "table" or not whole(summary.total_rows) or
    not whole(summary.anomaly_count) or type(summary.processed_at) ~= "string" then
    return false
  end
  forget(state, name)
  local t = state.totals
  t.files, t.rows, t.anomalies = t.files + 1, t.rows + summary.total_rows,
    t.anomalies + summary.anomaly_count
  state.batches[name] = { rows = summary.total_rows, anomalies = summary.anomaly_count,
    processed_at = summary.processed_at, etag = summary.source_etag, object_etag = object_etag }
  state.full[name] = summary
  state.failures[name] = nil
  state.version = state.version + 1
  return true
end

--- Note a batch that can never be scored.
function history.failed(state, name, etag, at)
  state.failures[name] = { etag = etag, at = at }
end

--- Is this very content scored?
function history.is_done(state, name, etag)
  local batch = state.batches[name]
  return batch ~= nil and batch.etag ~= nil and batch.etag == etag
end

local function better(a, b) return a.processed_at > b.processed_at end

local function newest(state)
  local list = {}
  for name, batch in pairs(state.batches) do
    if #list < MOST_RECENT or better(batch, list[#list]) then
      list[#list + 1] = { name = name, processed_at = batch.processed_at }
      table.sort(list, function(a, b)
        if a.processed_at ~= b.processed_at then return better(a, b) end
        return a.name > b.name
      end)
      list[MOST_RECENT + 1] = nil
    end
  end
  return list
end

local function last_names(state)
  local list = {}
  for name in pairs(state.batches) do
    if #list < FILES or name .. ".csv" > list[#list] .. ".csv" then
      list[#list + 1] = name
      table.sort(list, function(a, b) return a .. ".csv" > b .. ".csv" end)
      list[FILES + 1] = nil
    end
  end
  return list
end

--- What the answers show, worked out once for each change.
local function shown(state)
  if state.shown and state.shown.version == state.version then return state.shown end
  local now = { version = state.version, newest = newest(state), last = last_names(state) }
  local keep_full, keep_rows = {}, {}
  for _, one in ipairs(now.newest) do keep_full[one.name] = state.full[one.name] end
  for _, name in ipairs(now.last) do keep_rows[name] = state.rows[name] end
  state.full, state.rows, state.shown = keep_full, keep_rows, now
  return now
end

local function wait_until_built(state)
  while not state.ready do state.built:wait(1) end
end

local function full_summary(state, name)
  if not state.full[name] then
    local found = context.store:get(keys.summary(name))
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
  for _, one in ipairs(shown(state).newest) do
    recent[#recent + 1] = full_summary(state, one.name)
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
  local cached = state.rows[name]
  if cached and cached.etag == batch.etag and cached.processed_at == batch.processed_at then
    return cached.rows
  end
  local rows = {}
  if batch.anomalies > 0 then
    local found = context.store:get(keys.scored(name))
    local frame = found and csv.parse(found.body, { text_only = true })
    if frame then rows = context.flagged_rows(frame, keys.scored(name)) end
  end
  state.rows[name] = { etag = batch.etag, processed_at = batch.processed_at, rows = rows }
  return rows
end

--- The flagged rows of the files whose keys sort last, newest key first, at most `limit`.
function history.recent(state, limit)
  wait_until_built(state)
  local list = {}
  for _, name in ipairs(shown(state).last) do
    for _, row in ipairs(rows_of(state, name)) do
      if #list == limit then return list end
      list[#list + 1] = row
    end
  end
  return list
end

--- All keys under a prefix: list of {key, etag, last_modified, size}; or nil, message, code.
function history.keys(store, prefix)
  local all = {}
  local pages, message, code = store:list({ prefix = prefix })
  if not pages then return nil, message, code end
  for page, why, why_code in pages do
    if not page then return nil, why, why_code end
    table.move(page, 1, #page, #all + 1, all)
  end
  return all
end

local function read_summary(state, object, name)
  local found, message, code = context.store:get(object.key)
  if not found then
    if code ~= "NoSuchKey" then error(message, 0) end
    return
  end
  if not history.add(state, name, json.decode(found.body), object.etag or found.etag) then
    context.log("warning", "skipped: no summary of a batch", { key = object.key })
  end
end

local function read_failure(state, object, name)
  local found = context.store:get(object.key)
  local record = found and json.decode(found.body)
  if type(record) == "table" then
    history.failed(state, name, record.source_etag, record.failed_at)
    state.failures[name].object_etag = object.etag or found.etag
  end
end

--- What changed in the bucket since we last looked, and names that are gone.
local function changes(objects, name_of, known)
  local new, present = {}, {}
  for _, object in ipairs(objects) do
    local name = name_of(object.key)
    if name then
      present[name] = true
      local have = known[name]
      if not have or (object.etag and have.object_etag ~= object.etag) then
        new[#new + 1] = { object = object, name = name }
      end
    end
  end
  return new, present
end

--- Bring the index up to the bucket: list, then read what is new. Waits.
-- @return true, or nil, message
function history.refresh(state)
  local objects, message = history.keys(context.store, keys.processed)
  if not objects then return nil, message end
  local failures, why = history.keys(context.store, keys.failed)
  if not failures then return nil, why end
  local new, present = changes(objects, keys.name_of_summary, state.batches)
  for name in pairs(state.batches) do
    if not present[name] then
      forget(state, name)
      state.version = state.version + 1
    end
  end
  local ok, problem = together.each(new, READERS, function(one)
    read_summary(state, one.object, one.name)
  end)
  if not ok then return nil, problem end
  local records = changes(failures, keys.name_of_failure, state.failures)
  ok, problem = together.each(records, READERS, function(one)
    read_failure(state, one.object, one.name)
  end)
  if not ok then return nil, problem end
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
