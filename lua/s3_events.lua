--- s3_events: what an S3 event notification says happened, as plain facts.
--
-- Reads the document that S3 (and Ceph, MinIO and other servers with its interface) sends, and the
-- EventBridge shape of the same news. It comes from outside: nothing here raises on bad input.
local s3_events = {}

local MAX_RECORDS, MAX_KEY = 10000, 1024

local function bad(format, ...)
  return nil, "not an S3 event: " .. string.format(format, ...), "BadEvent"
end

-- JSON's null comes as nil or as a userdata, according to the decoder.
local function absent(value)
  return value == nil or type(value) == "userdata"
end

--- The text that was form-encoded (application/x-www-form-urlencoded): `+` is a space, `%2B` a plus
-- sign. A `%` that begins no escape stands for itself.
function s3_events.decode_key(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- Which of two sequencers of the same key is the later? -1 when `a` comes before `b`, 0 when they
-- are the same, 1 when it comes after; nil when one is no sequencer, which says nothing. They are
-- hexadecimal, compared as text once the shorter is filled with zeros on its right.
function s3_events.compare_sequencers(a, b)
  if type(a) ~= "string" or type(b) ~= "string" then return nil end
  if not a:find("^%x+$") or not b:find("^%x+$") then return nil end
  local length = math.max(#a, #b)
  a = a:upper() .. ("0"):rep(length - #a)
  b = b:upper() .. ("0"):rep(length - #b)
  if a == b then return 0 end
  return a < b and -1 or 1
end

-- A field that must be a table / a string when it is there.
local function sub_table(parent, name, place)
  local value = parent[name]
  if absent(value) then return bad("%s%s is missing", place, name) end
  if type(value) ~= "table" then return bad("%s%s is a %s", place, name, type(value)) end
  return value
end

local function optional_text(parent, name, place)
  local value = parent[name]
  if absent(value) then return "" end
  if type(value) ~= "string" then return bad("%s%s is a %s", place, name, type(value)) end
  return value
end

local function required_text(parent, name, place)
  local value, message, code = optional_text(parent, name, place)
  if value == "" then return bad("%s%s is missing", place, name) end
  return value, message, code
end

local function optional_size(parent, name, place)
  local value = parent[name]
  if absent(value) then return false end
  local size = math.tointeger(value)
  if type(value) ~= "number" or not size or size < 0 then
    return bad("%s%s is no size", place, name)
  end
  return size
end

local function kind_of(name)
  if name == "" or name:find("^ObjectCreated:") then return "created" end
  if name:find("^ObjectRemoved:") or name:find("^LifecycleExpiration:") then return "removed" end
  return "other"
end

local EVENT_BRIDGE_KINDS = { ["Object Created"] = "created", ["Object Deleted"] = "removed" }

local function check_key(key, place)
  if #key > MAX_KEY then return bad("%skey is longer than %d bytes", place, MAX_KEY) end
  if key:find("\0", 1, true) or not utf8.len(key) then
    return bad("%skey is not UTF-8 text", place)
  end
  return key
end

local function or_nil(text)
  if text ~= "" then return text end
end

-- The facts about one object. `names` tells how this shape spells its fields, `decode` how its key
-- is dressed.
local function facts(bucket, object, names, decode, place)
  local event, message, code = {}, nil, nil
  event.bucket, message, code = required_text(bucket, "name", place .. "bucket.")
  if not event.bucket then return nil, message, code end
  place = place .. "object."
  local key
  key, message, code = required_text(object, "key", place)
  if not key then return nil, message, code end
  event.key, message, code = check_key(decode(key), place)
  if not event.key then return nil, message, code end
  event.size, message, code = optional_size(object, "size", place)
  if event.size == nil then return nil, message, code end
  event.size = event.size or nil
  for field, name in pairs(names) do
    event[field], message, code = optional_text(object, name, place)
    if not event[field] then return nil, message, code end
    event[field] = or_nil(event[field])
  end
  event.etag = event.etag and or_nil(event.etag:match('^"?(.-)"?$'))
  return event
end

local RECORD_NAMES = { etag = "eTag", version_id = "versionId", sequencer = "sequencer" }
local BRIDGE_NAMES = { etag = "etag", version_id = "version-id", sequencer = "sequencer" }

local function same(text)
  return text
end

-- How the keys of a source are dressed: Ceph sends them bare.
local function key_decoder(source)
  return source == "ceph:s3" and same or s3_events.decode_key
end

local function record_source(record, place)
  local source, message, code = optional_text(record, "eventSource", place)
  if not source then return nil, message, code end
  if source ~= "" and not source:find("^[%w-]+:s3$") then
    return bad("%seventSource is not an S3 one", place)
  end
  local version
  version, message, code = optional_text(record, "eventVersion", place)
  if not version then return nil, message, code end
  if version ~= "" and not version:find("^2%.%d+$") then
    return bad("%seventVersion is not 2.x, which is what is understood here", place)
  end
  return source
end

local function read_record(record, place)
  if type(record) ~= "table" then
    return bad("%s is %s", place:sub(1, -2), absent(record) and "null" or "a " .. type(record))
  end
  local source, message, code = record_source(record, place)
  if not source then return nil, message, code end
  local name
  name, message, code = optional_text(record, "eventName", place)
  if not name then return nil, message, code end
  local s3
  s3, message, code = sub_table(record, "s3", place)
  if not s3 then return nil, message, code end
  place = place .. "s3."
  local bucket
  bucket, message, code = sub_table(s3, "bucket", place)
  if not bucket then return nil, message, code end
  local object
  object, message, code = sub_table(s3, "object", place)
  if not object then return nil, message, code end
  local event
  event, message, code = facts(bucket, object, RECORD_NAMES, key_decoder(source), place)
  if not event then return nil, message, code end
  name = name:gsub("^s3:", "")
  event.event_name, event.kind = or_nil(name), kind_of(name)
  return event
end

local function read_records(records)
  if absent(records) then return bad("Records is null") end
  if type(records) ~= "table" then return bad("Records is a %s", type(records)) end
  if #records == 0 and next(records) ~= nil then return bad("Records is an object") end
  if #records > MAX_RECORDS then return bad("Records are more than %d", MAX_RECORDS) end
  local events = {}
  for i = 1, #records do
    local event, message, code = read_record(records[i], "Records[" .. i - 1 .. "].")
    if not event then return nil, message, code end
    events[i] = event
  end
  return events, #events == 0 and "no records" or nil
end

-- {"source": "aws.s3", "detail-type": "Object Created", "detail": {...}}: keys are not encoded.
local function read_event_bridge(document)
  if document.source ~= "aws.s3" then return bad("source is not aws.s3") end
  local name, message, code = required_text(document, "detail-type", "")
  if not name then return nil, message, code end
  local detail
  detail, message, code = sub_table(document, "detail", "")
  if not detail then return nil, message, code end
  local bucket
  bucket, message, code = sub_table(detail, "bucket", "detail.")
  if not bucket then return nil, message, code end
  local object
  object, message, code = sub_table(detail, "object", "detail.")
  if not object then return nil, message, code end
  local event
  event, message, code = facts(bucket, object, BRIDGE_NAMES, same, "detail.")
  if not event then return nil, message, code end
  event.event_name, event.kind = name, EVENT_BRIDGE_KINDS[name] or "other"
  return { event }
end

--- The events that a notification tells of.
--
-- `document` is its JSON text or the decoded table; `decode` (default json.decode) is used for a
-- text. Gives a list of {bucket, key, kind = "created" | "removed" | "other", event_name, etag,
-- size, version_id, sequencer}; the key is decoded, what was not said is nil, an event without a
-- name is a creation. The list is empty, with a note as the second value, for s3:TestEvent and for
-- a document that tells of nothing. Else nil, message, code "BadEvent", the message naming the field.
function s3_events.events(document, decode)
  if type(document) == "string" then
    local value, message = (decode or require("json").decode)(document)
    if type(value) ~= "table" then
      return bad("%s", message and "no JSON: " .. tostring(message) or "no JSON object")
    end
    document = value
  end
  if type(document) ~= "table" then return bad("a %s", type(document)) end
  if document.Records ~= nil then return read_records(document.Records) end
  if document.Event == "s3:TestEvent" then return {}, "a test event" end
  if document["detail-type"] ~= nil then return read_event_bridge(document) end
  if next(document) == nil then return {}, "an empty document" end
  return bad("Records is missing")
end

return s3_events
