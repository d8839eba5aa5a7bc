--- s3_events: what an S3 event notification says happened, as plain facts.
--
-- Reads the document that S3 (and Ceph, MinIO and other servers with its interface) sends, and the
-- EventBridge shape of the same news. It comes from outside: nothing here raises on bad input.
local json = require "json"
local url = require "url"

local s3_events = {}

local MAX_RECORDS, MAX_KEY = 10000, 1024

-- Inside this file a document that cannot be read raises a table with this metatable, which
-- s3_events.events catches; anything else that is raised is a defect and goes on.
local BAD = {}

local function bad(format, ...)
  error(setmetatable({ message = "not an S3 event: " .. string.format(format, ...) }, BAD))
end

local function absent(value)
  return value == nil or value == json.null
end

-- The table `parent[name]`; `place` says where parent stands, with a dot behind it.
local function sub_table(parent, name, place)
  local value = parent[name]
  if absent(value) then bad("%s%s is missing", place, name) end
  if type(value) ~= "table" then bad("%s%s is a %s", place, name, type(value)) end
  return value
end

-- The string `parent[name]`, or nil when it is not there or empty.
local function optional_text(parent, name, place)
  local value = parent[name]
  if absent(value) or value == "" then return nil end
  if type(value) ~= "string" then bad("%s%s is a %s", place, name, type(value)) end
  return value
end

local function required_text(parent, name, place)
  return optional_text(parent, name, place) or bad("%s%s is missing", place, name)
end

local function optional_size(parent, name, place)
  local value = parent[name]
  if absent(value) then return nil end
  local size = type(value) == "number" and math.tointeger(value)
  if not size or size < 0 then bad("%s%s is no size", place, name) end
  return size
end

local function check_key(key, place)
  if #key > MAX_KEY then bad("%skey is longer than %d bytes", place, MAX_KEY) end
  if key:find("\0", 1, true) or not utf8.len(key) then bad("%skey is not UTF-8 text", place) end
  return key
end

local function unquoted(etag)
  local text = etag and etag:match('^"?(.-)"?$')
  if text ~= "" then return text end
end

-- Reads the two tables both shapes have. `names` tells how this one spells an object's fields,
-- `decode` undresses its key.
local function facts(parent, names, decode, place)
  local bucket = sub_table(parent, "bucket", place)
  local object = sub_table(parent, "object", place)
  local object_place = place .. "object."
  local key = required_text(object, "key", object_place)
  return {
    bucket = required_text(bucket, "name", place .. "bucket."),
    key = check_key(decode(key), object_place),
    size = optional_size(object, "size", object_place),
    etag = unquoted(optional_text(object, names.etag, object_place)),
    version_id = optional_text(object, names.version_id, object_place),
    sequencer = optional_text(object, "sequencer", object_place),
  }
end

local RECORD_NAMES = { etag = "eTag", version_id = "versionId" }
local BRIDGE_NAMES = { etag = "etag", version_id = "version-id" }
local BRIDGE_KINDS = { ["Object Created"] = "created", ["Object Deleted"] = "removed" }

local function as_it_is(text)
  return text
end

local function kind_of(name)
  if name == nil or name:find("^ObjectCreated:") then return "created" end
  if name:find("^ObjectRemoved:") or name:find("^LifecycleExpiration:") then return "removed" end
  return "other"
end

local function read_record(record, place)
  if type(record) ~= "table" then
    bad("%s is %s", place:sub(1, -2), absent(record) and "null" or "a " .. type(record))
  end
  local source = optional_text(record, "eventSource", place)
  if source and not source:find("^[%w-]+:s3$") then bad("%seventSource is not S3's", place) end
  local version = optional_text(record, "eventVersion", place)
  if version and not version:find("^2%.%d+$") then
    bad("%seventVersion is not 2.x, the one that is understood here", place)
  end
  local name = optional_text(record, "eventName", place)
  name = name and name:gsub("^s3:", "")
  -- Ceph sends its keys bare, all others form-encoded.
  local decode = source == "ceph:s3" and as_it_is or url.decode_form
  local event = facts(sub_table(record, "s3", place), RECORD_NAMES, decode, place .. "s3.")
  event.event_name, event.kind = name, kind_of(name)
  return event
end

local function read_records(records)
  if absent(records) then bad("Records is null") end
  if type(records) ~= "table" then bad("Records is a %s", type(records)) end
  if #records == 0 and next(records) ~= nil then bad("Records is an object") end
  if #records > MAX_RECORDS then bad("Records are more than %d", MAX_RECORDS) end
  local events = {}
  for i = 1, #records do
    events[i] = read_record(records[i], ("Records[%d]."):format(i - 1))
  end
  return events, #events == 0 and "no records" or nil
end

-- {"source": "aws.s3", "detail-type": "Object Created", "detail": {...}}: keys are not encoded.
local function read_event_bridge(document)
  if document.source ~= "aws.s3" then bad("source is not aws.s3") end
  local name = required_text(document, "detail-type", "")
  local event = facts(sub_table(document, "detail", ""), BRIDGE_NAMES, as_it_is, "detail.")
  event.event_name, event.kind = name, BRIDGE_KINDS[name] or "other"
  return { event }
end

local function read(document)
  if type(document) == "string" then
    local value, message = json.decode(document)
    if value == nil then bad("no JSON: %s", tostring(message)) end
    document = value
  end
  if type(document) ~= "table" then bad("no JSON object") end
  if document.Records ~= nil then return read_records(document.Records) end
  if document.Event == "s3:TestEvent" then return {}, "a test event" end
  if document["detail-type"] ~= nil then return read_event_bridge(document) end
  if next(document) == nil then return {}, "an empty document" end
  bad("Records is missing")
end

--- The events that a notification tells of.
--
-- `document` is its JSON text or the decoded table. Gives a list of {bucket, key, kind, event_name,
-- etag, size, version_id, sequencer}, kind being "created", "removed" or "other"; the key is
-- decoded, what was not said is nil, an event without a name is a creation. The list is empty, with
-- a note as the second value, for s3:TestEvent and for a document that tells of nothing. Else nil,
-- a message that names the field, and code "BadEvent".
function s3_events.events(document)
  local ok, events, note = pcall(read, document)
  if ok then return events, note end
  if getmetatable(events) == BAD then return nil, events.message, "BadEvent" end
  error(events, 0)
end

return s3_events
