--- notify: POST /notify: believe the message (sns_flow), queue the batches it names, answer.
--
-- 200 is said when every record that concerns this bucket is in the queue; 503 when there is no
-- room for all of them or the service is stopping, so that SNS tries again. While the index of
-- summaries is still being built batches are taken already: then the bucket itself is asked whether
-- one is done. Removed objects, other buckets and our own outputs are none of our batches.
local context = require("context")
local host = require("host")
local http = require("http")
local json = require("json")
local keys = require("keys")
local queue = require("queue")
local response = require("response")
local sns_flow = require("sns_flow")
local task = require("task")

local notify = {}

local PIN = "state/sns_topic.json"

--- The topic that was confirmed first, kept in the bucket's state and in memory.
local pinned = {}

function pinned.get()
  local shared = context.shared
  if shared.pinned_topic then return shared.pinned_topic end
  local found, message, code = context.store:get(PIN)
  if not found and code ~= "NoSuchKey" then return nil, message, code end
  local value = found and json.decode(found.body)
  -- Only a pin that is there is remembered: another host may set the first one.
  shared.pinned_topic = type(value) == "table" and value.topic_arn or nil
  return shared.pinned_topic
end

function pinned.set(arn)
  local done, message, code
  if arn == nil then
    done, message, code = context.store:delete(PIN)
  else
    local text = json.encode(json.object({ "topic_arn", "pinned_at" },
      { topic_arn = arn, pinned_at = host.utc() }), { indent = 2 })
    done, message, code = context.store:put(PIN, text,
      { if_none_match = "*", content_type = "application/json" })
  end
  context.shared.pinned_topic = nil
  if not done then return nil, message, code end
  return true
end

--- Gets certificates; those it has fetched are kept as long as this generation lives.
local certificate

local function dependencies(request)
  local deps = {
    policy = context.handshake, http = http, now = host.time, pinned = pinned,
    insecure = context.options.insecure_sns or false, wait = task.sleep,
    log = function(level, text)
      context.log(level == "warn" and "warning" or level, text, { request_id = request.id })
    end,
    count = function(kind, result)
      context.metrics.count("anomalyd_sns_messages_total", { type = kind, result = result })
    end,
  }
  certificate = certificate or sns_flow.certificates(deps)
  deps.certificate = certificate
  return deps
end

--- The events that name an input of this bucket; the others are said and passed over.
local function mine(events, request)
  local list = {}
  for _, event in ipairs(events) do
    if event.bucket ~= context.store.name then
      context.log("info", "event of another bucket ignored",
        { bucket = event.bucket, key = event.key, request_id = request.id })
    elseif event.kind == "created" and keys.name(event.key) then
      list[#list + 1] = event
    end
  end
  return list
end

local function unavailable(reason)
  return response.json(503, json.object({ "status", "detail" },
    { status = "error", detail = reason }), { ["retry-after"] = "20" })
end

--- Queue the batches of some events: all of them, or none with a 503.
local function accept(events, request)
  local shared = context.shared
  if shared.draining then return unavailable("the service is stopping") end
  if not queue.room(shared.queue, #events) then return unavailable("the queue is full") end
  for _, event in ipairs(events) do
    context.accept({ key = event.key, etag = event.etag, size = event.size, request_id = request.id,
      source = "sns" })
  end
end

--- The handler of POST /notify.
function notify.receive(request)
  local peer = request.peer
  local result = sns_flow.handle({ headers = request.headers, body = request.body,
    peer = ("%s:%d"):format(peer.address, peer.port) }, dependencies(request))
  local refusal = #result.events > 0 and accept(mine(result.events, request), request)
  if refusal then return refusal end
  return response.json(result.status, result.body)
end

return notify
