--- sns_flow: what becomes of one POST /notify: from its body to believed facts and an answer.
--
-- Verifies (lua/sns.lua), asks the policy (scripts/sns_handshake.lua), confirms subscriptions, and
-- gives the S3 events of a notification to its caller. All that touches the world is injected.
--
-- Answers: 200 {"status": "ok"} or {"status": "confirmed"}; 403 {"status": "error", "detail": why}
-- for what is refused, before any request to anywhere was made for it; 503 {"status": "error",
-- "detail"} for what may succeed when SNS tries again; 422 {"detail": [...]} for a body that is no
-- message. An answer never tells what a request of ours met: a closed port, an error and a time-out
-- give the same words, and the log has the rest.
local json = require "json"
local s3_events = require "s3_events"
local schema = require "schema"
local sns = require "sns"
local sns_chain = require "sns_chain"
local suggest = require "suggest"

local sns_flow = {}

local CERTIFICATE_SECONDS, ISSUER_SECONDS, SUBSCRIBE_SECONDS = 5, 3, 5
local CERTIFICATE_BYTES, SUBSCRIBE_BYTES = 32768, 65536

-- Names and values of a body that nobody has proven yet: an envelope has thirty, an event that
-- comes without one some fifty for each record. Reading that many takes the loop less than 10 ms.
local MOST_VALUES = 20000

local KINDS = {
  Notification = true, SubscriptionConfirmation = true, UnsubscribeConfirmation = true,
}

-- What a policy may set.
local FIELDS = { topics = true, max_age = true, clock_skew = true, raw = true, chain = true,
  confirm = true, on_unsubscribe = true }

-- Refusals that may turn into belief without the message changing.
local TEMPORARY = {
  CertificateUnavailable = true, CertificateNotYetValid = true, ClockBehind = true,
  NoMemory = true, StateUnavailable = true, PolicyFailed = true,
}

local function absent(value)
  return value == nil or value == json.null
end

-- One line, and not long, of a text that may come from a stranger.
local function printable(text)
  text = tostring(text):gsub("[%c\127]", "?")
  return #text > 300 and text:sub(1, 300) .. "..." or text
end

--- Is this table a policy? true, or nil and a message that names the field. For the time the script
-- is loaded, so that a broken one changes nothing.
function sns_flow.check(policy)
  if type(policy) ~= "table" then return nil, "sns_handshake must return a table" end
  for name in pairs(policy) do
    if not FIELDS[name] then
      return nil, ("sns_handshake: unknown field '%s'%s"):format(tostring(name),
        suggest.phrase(tostring(name), FIELDS))
    end
  end
  if policy.topics ~= nil and type(policy.topics) ~= "table" then
    return nil, "sns_handshake: topics must be a list of ARNs"
  end
  for i, arn in ipairs(policy.topics or {}) do
    local topic, message = sns.topic(arn)
    if not topic then return nil, ("sns_handshake: topics[%d]: %s"):format(i, message) end
  end
  for _, name in ipairs { "max_age", "clock_skew" } do
    local value = policy[name]
    if value ~= nil and (math.type(value) == nil or value ~= value or value < 0) then
      return nil, "sns_handshake: " .. name .. " must be a number of seconds"
    end
  end
  for _, name in ipairs { "confirm", "on_unsubscribe" } do
    if policy[name] ~= nil and type(policy[name]) ~= "function" then
      return nil, "sns_handshake: " .. name .. " must be a function"
    end
  end
  local chain = policy.chain
  if chain ~= nil and not sns_chain.POLICIES[chain] then
    return nil, 'sns_handshake: chain must be "when_possible", "require" or "off"'
  end
  return true
end

-- One GET: the body of a 200, or nil, message, code.
local function get(deps, url, seconds, bytes)
  local answer, message = deps.http.request {
    method = "GET", url = url, timeout = seconds, limit = bytes,
  }
  if not answer then return nil, message, "CertificateUnavailable" end
  if answer.status == 200 then return answer.body end
  local again = answer.status >= 500 or answer.status == 408 or answer.status == 429
  return nil, "status " .. answer.status, again and "CertificateUnavailable" or "NoCertificate"
end

--- The function that fetches, checks and keeps signing certificates for `deps` (see
-- sns_flow.handle), for sns.verify. Its state is worth keeping across reloads.
function sns_flow.certificates(deps)
  local check = sns_chain.checker {
    policy = deps.policy.chain, roots = deps.roots, now = deps.now, log = deps.log,
    fetch = function(url) return get(deps, url, ISSUER_SECONDS, CERTIFICATE_BYTES) end,
  }
  return sns.certificates(function(url)
    local pem, message, code = get(deps, url, CERTIFICATE_SECONDS, CERTIFICATE_BYTES)
    if pem then return pem end
    deps.log("warn", "sns: no certificate from " .. printable(url) .. ": " .. printable(message))
    return nil, "the signing certificate cannot be had", code
  end, { now = deps.now, wait = deps.wait, check = check })
end

-- The value of a header, whatever its case.
local function header(request, name)
  local headers = request.headers or {}
  if headers[name] then return headers[name] end
  for key, value in pairs(headers) do
    if type(key) == "string" and key:lower() == name then return value end
  end
  return nil
end

local function answer(status, body, events)
  return { status = status, body = body, events = events or {} }
end

local function failure(status, detail)
  return answer(status, json.object({ "status", "detail" },
    { status = "error", detail = detail }))
end

local function report(flow, level, text)
  flow.deps.log(level, ("sns: %s (from %s)"):format(printable(text),
    printable(flow.request.peer or "unknown")))
end

local function ok(flow, result, events)
  flow.deps.count(flow.kind, result)
  return answer(200, { status = result == "confirmed" and "confirmed" or "ok" }, events)
end

-- 403 for good, or 503 for now.
local function refuse(flow, message, code)
  if TEMPORARY[code] then
    flow.deps.count(flow.kind, "unavailable")
    report(flow, "error", ("not accepted now: %s [%s]"):format(message, code))
    return failure(503, "cannot be verified now, try again")
  end
  flow.deps.count(flow.kind, "refused")
  report(flow, "warn", ("refused: %s [%s]"):format(message, code))
  return failure(403, printable(message))
end

-- 422, in the form that a body of the wrong shape gets everywhere.
local function invalid(flow, fault)
  flow.deps.count(flow.kind, "invalid")
  report(flow, "warn", "not a message: " .. fault.msg)
  return answer(422, { detail = json.array { fault } })
end

-- The hosts a SubscribeURL may name when messages are not verified: this machine's own.
local function is_loopback(url)
  local host = url:match("^https?://([^/?#@]+)")
  if not host or url:find("[%c%s\\]") or url:find("@", 1, true) then return false end
  host = host:gsub(":%d+$", "")
  return host == "localhost" or host == "[::1]"
    or host:find("^127%.%d%d?%d?%.%d%d?%d?%.%d%d?%d?$") ~= nil
end

local function is_listed(topics, arn)
  for _, listed in ipairs(topics) do
    if listed == arn then return true end
  end
  return false
end

-- Is this topic one we believe? true and whether it would be the first, or nil, message, code.
local function believe(flow, message)
  local deps, arn = flow.deps, message.TopicArn
  local topics = deps.policy.topics or {}
  if #topics > 0 then
    if is_listed(topics, arn) then return true end
    return nil, "TopicArn is not on the list of topics (SNS_TOPIC_ARNS)", "TopicNotAllowed"
  end
  if deps.insecure then return true end
  local pinned, text, code = deps.pinned.get()
  if pinned == arn then return true end
  if pinned then return nil, "another topic is the one that is pinned", "TopicNotAllowed" end
  if code then return nil, text, "StateUnavailable" end
  if message.Type == "SubscriptionConfirmation" then return true, true end
  return nil, "no topic is confirmed yet: set SNS_TOPIC_ARNS or subscribe this endpoint",
    "TopicNotAllowed"
end

-- Make the topic the one that is believed. true, or nil, message, code.
local function pin(flow, arn)
  local pinned = flow.deps.pinned
  local done, text = pinned.set(arn)
  if done then
    report(flow, "warn", "topic " .. arn .. " is from now on the only one believed: it was the "
      .. "first to ask, and is pinned in the bucket's state; set SNS_TOPIC_ARNS to choose")
    return true
  end
  local other = pinned.get()
  if other == arn then return true end
  if other then return nil, "another topic is the one that is pinned", "TopicNotAllowed" end
  return nil, "the topic cannot be pinned: " .. tostring(text), "StateUnavailable"
end

-- Give up the pin of a topic whose confirmation failed, so that another one may be the first.
local function unpin(flow, arn)
  local done, text = flow.deps.pinned.set(nil)
  if not done then
    report(flow, "error", "topic " .. arn .. " is pinned and not confirmed: " .. tostring(text))
  end
end

-- After a confirmation: is the pin still there? A second request for the same topic may have
-- failed and given it up meanwhile.
local function keep_pin(flow, arn)
  local deps = flow.deps
  if deps.insecure or #(deps.policy.topics or {}) > 0 or deps.pinned.get() == arn then return end
  local done, text = pin(flow, arn)
  if not done then report(flow, "error", text) end
end

-- May the message's SubscribeURL be visited? true, or nil, message, code.
local function check_subscribe_url(flow, message)
  local url = message.SubscribeURL
  if type(url) ~= "string" then return nil, "SubscribeURL is missing", "MissingField" end
  if flow.deps.insecure and is_loopback(url) then return true end
  local topic = sns.topic(message.TopicArn)
  if not topic then
    return nil, "SubscribeURL is not on the SNS host of a topic's region", "BadSubscribeUrl"
  end
  return sns.check_subscribe_url(message, topic)
end

local function visit(flow, message)
  local reply, text = flow.deps.http.request {
    method = "GET", url = message.SubscribeURL, timeout = SUBSCRIBE_SECONDS,
    limit = SUBSCRIBE_BYTES,
  }
  if reply and reply.status >= 200 and reply.status < 300 then return true end
  return nil, reply and "status " .. reply.status or text
end

-- Visit the SubscribeURL, with the topic pinned before, so that no notification of it comes to one
-- who does not know it yet.
local function confirm(flow, message, first)
  local good, text, code = check_subscribe_url(flow, message)
  if not good then return refuse(flow, text, code) end
  if first then
    good, text, code = pin(flow, message.TopicArn)
    if not good then return refuse(flow, text, code) end
  end
  good, text = visit(flow, message)
  if good then
    keep_pin(flow, message.TopicArn)
    report(flow, "info", "confirmed the subscription to " .. tostring(message.TopicArn))
    return ok(flow, "confirmed")
  end
  if first then unpin(flow, message.TopicArn) end
  flow.deps.count(flow.kind, "unavailable")
  report(flow, "error", "the subscription is not confirmed: " .. tostring(text))
  return failure(503, "the subscription could not be confirmed")
end

-- What the user's policy says; a policy that raises is reported, and SNS may try again.
local function ask(flow, name, message, first)
  local f = flow.deps.policy[name]
  if not f then return nil end
  local context = {
    topic = sns.topic(message.TopicArn), first = first or false, peer = flow.request.peer,
    insecure = flow.deps.insecure or false,
  }
  local fine, verdict, reason = xpcall(f, debug.traceback, message, context)
  if fine then return verdict, reason end
  flow.deps.log("error", "sns_handshake: " .. name .. ": " .. tostring(verdict))
  return false, "the policy failed", "PolicyFailed"
end

local function on_subscription(flow, message, first)
  local verdict, reason, code = ask(flow, "confirm", message, first)
  if verdict == "later" then
    report(flow, "warn", "not confirmed by the policy; to confirm, visit "
      .. tostring(message.SubscribeURL))
    return ok(flow, "ok")
  end
  if not verdict then
    return refuse(flow, reason or "the policy does not confirm it", code or "PolicyRefused")
  end
  return confirm(flow, message, first)
end

local function on_unsubscription(flow, message)
  report(flow, "warn", "this endpoint was unsubscribed from " .. tostring(message.TopicArn))
  local verdict, reason, code = ask(flow, "on_unsubscribe", message)
  if code then return refuse(flow, reason, code) end
  if verdict == "resubscribe" then return confirm(flow, message, false) end
  return ok(flow, "ok")
end

-- The S3 events of a text or table that came from `place` in the body.
local function take_events(flow, document, place)
  local events, text = s3_events.events(document)
  if not events then
    return invalid(flow, schema.error("value_error", place, "Value error, " .. printable(text),
      document))
  end
  if #events == 0 then
    report(flow, "info", text)
    return ok(flow, "ignored")
  end
  return ok(flow, "ok", events)
end

local function on_notification(flow, message)
  local text, place = message.Message, { "body", "Message" }
  if absent(text) then
    return invalid(flow, schema.error("missing", place, "Field required", message))
  end
  if type(text) ~= "string" then
    return invalid(flow, schema.error("string_type", place, "Input should be a valid string",
      text))
  end
  return take_events(flow, text, place)
end

local HANDLERS = {
  Notification = on_notification,
  SubscriptionConfirmation = on_subscription,
  UnsubscribeConfirmation = on_unsubscription,
}

-- Do the headers tell of the same message as the body?
local function check_headers(flow, message)
  local pairs_of = {
    { "x-amz-sns-message-type", "Type" },
    { "x-amz-sns-message-id", "MessageId" },
    { "x-amz-sns-topic-arn", "TopicArn" },
  }
  for _, pair in ipairs(pairs_of) do
    local said, field = header(flow.request, pair[1]), message[pair[2]]
    if said and not absent(field) and said ~= field then
      return nil, ("%s is not what the header %s says"):format(pair[2], pair[1]), "HeaderMismatch"
    end
  end
  return true
end

-- Belief in a message that has to prove itself. true and `first`, or nil, message, code.
local function prove(flow, message)
  local good, text, code = sns.check_form(message)
  if not good then return nil, text, code end
  good, text, code = sns.topic(message.TopicArn)
  if not good then return nil, text, code end
  local first
  good, first, code = believe(flow, message)
  if not good then return nil, first, code end
  local deps = flow.deps
  if not deps.certificate then deps.certificate = sns_flow.certificates(deps) end
  good, text, code = sns.verify(message, {
    certificate = deps.certificate, now = deps.now(), max_age = deps.policy.max_age,
    clock_skew = deps.policy.clock_skew,
  })
  if not good then return nil, text, code end
  return true, first
end

local function handle_message(flow, message)
  local good, first, code = check_headers(flow, message)
  if not good then return refuse(flow, first, code) end
  if flow.deps.insecure then
    if absent(message.Type) then message.Type = header(flow.request, "x-amz-sns-message-type") end
    if not KINDS[message.Type] then
      report(flow, "info", "ignored: no kind of message that SNS sends")
      return ok(flow, "ignored")
    end
    good, first, code = believe(flow, message)
  else
    good, first, code = prove(flow, message)
  end
  if not good then return refuse(flow, first, code) end
  return HANDLERS[message.Type](flow, message, first)
end

-- A bare S3 event, which nobody signed.
local function handle_raw(flow, document)
  flow.kind = "raw"
  local policy, arn = flow.deps.policy, header(flow.request, "x-amz-sns-topic-arn")
  if not policy.raw then
    return refuse(flow, "raw delivery is not taken (raw in sns_handshake, SNS_RAW_DELIVERY=1)",
      "RawDelivery")
  end
  if arn and #(policy.topics or {}) > 0 and not is_listed(policy.topics, arn) then
    return refuse(flow, "the topic is not on the list of topics (SNS_TOPIC_ARNS)",
      "TopicNotAllowed")
  end
  return take_events(flow, document, { "body" })
end

local function is_raw(flow, document)
  if header(flow.request, "x-amz-sns-rawdelivery") == "true" then return true end
  return absent(document.Type) and header(flow.request, "x-amz-sns-message-type") == nil
    and (document.Records ~= nil or document["detail-type"] ~= nil
      or document.Event == "s3:TestEvent")
end

--- Answer one request.
--
-- `request`: {headers = {name = value}, body = text, peer = text}. `deps`:
--   policy       the table of scripts/sns_handshake.lua
--   http         {request = function{method, url, timeout, limit} -> {status, headers, body} | nil,
--                message, code}, which follows no redirect
--   now          function() -> seconds since 1970 UTC
--   insecure     true believes unsigned messages of any topic (of the listed ones, when there is a
--                list), and visits a SubscribeURL on this machine's loopback besides SNS's hosts
--   pinned       {get = function() -> arn | nil [, message, code], set = function(arn | nil) ->
--                true | nil, message, code}: the topic kept in the bucket's state. `get` is called
--                for every message and should answer from memory; `set(arn)` must fail when another
--                topic is there already
--   log          function(level, text)
--   count        function(type, result): type a kind of message, "raw" or "unknown"; result "ok",
--                "confirmed", "ignored", "refused", "invalid" or "unavailable"
--   certificate  as for sns.verify; made with sns_flow.certificates when nil, and kept here
--   wait         function(seconds), for tasks that run side by side; roots, for sns_chain
--
-- Gives {status = number, body = table, events = {...}}: the caller answers that, and if the events
-- cannot be accepted, 503 in its place.
function sns_flow.handle(request, deps)
  local flow = { request = request, deps = deps, kind = "unknown" }
  if (request.body or "") == "" then
    return invalid(flow, schema.error("missing", { "body" }, "Field required"))
  end
  local document, message, _, place = json.decode(request.body, { max_values = MOST_VALUES })
  if message then return invalid(flow, schema.json_invalid(place)) end
  if type(document) ~= "table" or json.is_array(document) then
    return invalid(flow, schema.error("dict_type", { "body" },
      "Input should be a valid dictionary", document))
  end
  if is_raw(flow, document) then return handle_raw(flow, document) end
  local kind = absent(document.Type) and header(request, "x-amz-sns-message-type")
    or document.Type
  if KINDS[kind] then flow.kind = kind end
  return handle_message(flow, document)
end

return sns_flow
