local json = require "json"
local sns = require "sns"
local sns_flow = require "sns_flow"
local x509 = require "x509"

local ARN = "arn:aws:sns:us-east-1:123456789012:batches"
local OTHER = "arn:aws:sns:us-east-1:123456789012:other"
local CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem"
local EVENT = '{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":'
  .. '{"bucket":{"name":"b"},"object":{"key":"raw/a+b.csv","eTag":"e","size":3}}}]}'
local SENT = "2025-06-15T12:00:00.000Z"

local function subscribe_url(arn)
  return "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" .. arn
    .. "&Token=2336412f"
end

local function policy_file(environment)
  local chunk = assert(loadfile("scripts/sns_handshake.lua", "t", setmetatable({
    os = { getenv = function(name) return (environment or {})[name] end },
  }, { __index = _G })))
  return chunk()
end

describe("sns_flow", function()
  local maker, good, deps, asked, logged, counted, answers, pin

  setup(function()
    maker = x509.open()
    good = maker:certificate { subject = "/CN=sns.amazonaws.com" }
  end)

  teardown(function() maker:close() end)

  before_each(function()
    asked, logged, counted, pin = {}, {}, {}, nil
    answers = {
      [CERTIFICATE_URL] = { status = 200, body = good.pem },
      [subscribe_url(ARN)] = { status = 200, body = "<ConfirmSubscriptionResponse/>" },
    }
    deps = {
      policy = policy_file { SNS_TOPIC_ARNS = ARN },
      now = function() return sns.seconds(SENT) + 1 end,
      http = { request = function(request)
        asked[#asked + 1] = request.url
        assert.equal("GET", request.method)
        assert.is_true(request.timeout <= 5 and request.limit <= 65536)
        local answer = answers[request.url]
        if answer then return answer end
        return nil, "connect to port 1: refused", "ConnectFailed"
      end },
      pinned = {
        get = function() return pin end,
        set = function(arn)
          if arn and pin and pin ~= arn then return nil, "there is one", "Conflict" end
          pin = arn
          return true
        end,
      },
      log = function(level, text) logged[#logged + 1] = level .. " " .. text end,
      count = function(kind, result) counted[#counted + 1] = kind .. " " .. result end,
    }
    deps.policy.chain = "off"
  end)

  local function message(changes)
    local made = {
      Type = "Notification", MessageId = "792cda85-518f-5dd3-9163-81d851212f3a", TopicArn = ARN,
      Subject = "Amazon S3 Notification", Message = EVENT, Timestamp = SENT,
      SigningCertURL = CERTIFICATE_URL, SignatureVersion = "2",
    }
    for name, value in pairs(changes or {}) do made[name] = value or nil end
    return made
  end

  local function sign(made)
    made.Signature = select(2, maker:sign(good, "sha256", sns.string_to_sign(made)))
    return made
  end

  local function confirmation(changes)
    local made = message { Type = "SubscriptionConfirmation", Subject = false, Token = "2336412f",
      Message = "You have chosen to subscribe", SubscribeURL = subscribe_url(ARN) }
    for name, value in pairs(changes or {}) do made[name] = value or nil end
    return made
  end

  local function handle(body, headers)
    if type(body) == "table" then body = json.encode(body) end
    return sns_flow.handle({ headers = headers or {}, body = body, peer = "192.0.2.7" }, deps)
  end

  local function log_has(pattern)
    for _, line in ipairs(logged) do
      if line:find(pattern) then return true end
    end
    error("no such line in the log: " .. pattern .. "\n" .. table.concat(logged, "\n"))
  end

  -- 403 with a reason, counted and logged, and no request made.
  local function refused(pattern, body, headers, allowed)
    asked, counted = {}, {}
    local result = handle(body, headers)
    assert.equal(403, result.status, result.body.detail)
    assert.equal("error", result.body.status)
    assert.matches(pattern, result.body.detail)
    assert.same({}, result.events)
    assert.equal(1, #counted)
    assert.matches(" refused$", counted[1])
    assert.same(allowed or {}, asked)
    log_has("^warn .*refused.*192%.0%.2%.7")
    return result
  end

  describe("a notification", function()
    it("that is proven gives its events", function()
      local result = handle(sign(message()), { ["x-amz-sns-message-type"] = "Notification" })
      assert.equal(200, result.status)
      assert.same({ status = "ok" }, result.body)
      assert.equal(1, #result.events)
      assert.equal("raw/a b.csv", result.events[1].key)
      assert.same({ CERTIFICATE_URL }, asked)
      assert.same({ "Notification ok" }, counted)
    end)

    it("needs the certificate to be fetched only once", function()
      local body = json.encode(sign(message()))
      for _ = 1, 5 do assert.equal(200, handle(body).status) end
      assert.same({ CERTIFICATE_URL }, asked)
    end)

    it("of S3's test is taken and holds nothing", function()
      local result = handle(sign(message { Message = '{"Event":"s3:TestEvent"}' }))
      assert.same({ 200, "ok", {} }, { result.status, result.body.status, result.events })
      assert.same({ "Notification ignored" }, counted)
    end)

    it("that is not proven is refused, the certificate being all that is asked for", function()
      local forged = sign(message())
      forged.Message = EVENT:gsub("a%+b", "x")
      refused("signature", forged, nil, { CERTIFICATE_URL })
      refused("Signature is missing", message())
      refused("Type is missing", {})
      refused("is not on https", sign(message { SigningCertURL = "http://127.0.0.1:1/a.pem" }))
      refused("is more than 3900 s ago", sign(message { Timestamp = "2025-06-15T10:00:00.000Z" }))
      refused("is none that SNS sends", message { Type = "Other" })
    end)

    it("from a topic that is not listed causes no request", function()
      refused("not on the list", sign(message { TopicArn = OTHER }))
      refused("not the ARN", sign(message { TopicArn = "arn:aws:s3:::bucket" }))
    end)

    it("whose headers tell of another message is refused", function()
      local body = sign(message())
      refused("x%-amz%-sns%-message%-type", body,
        { ["x-amz-sns-message-type"] = "SubscriptionConfirmation" })
      refused("x%-amz%-sns%-topic%-arn", body, { ["X-Amz-Sns-Topic-Arn"] = OTHER })
      refused("x%-amz%-sns%-message%-id", body, { ["x-amz-sns-message-id"] = "1" })
    end)

    it("that is proven and no S3 event is 422 and names the field", function()
      local result = handle(sign(message { Message = "Hello" }))
      assert.equal(422, result.status)
      assert.same({ "body", "Message" }, result.body.detail[1].loc)
      assert.same({ "Notification invalid" }, counted)
      result = handle(sign(message { Message = '{"Records":[{}]}' }))
      assert.matches("Records%[0%]%.s3 is missing", result.body.detail[1].msg)
    end)

    it("is to come again when its certificate cannot be had now", function()
      for _, answer in ipairs { false, { status = 503, body = "" }, { status = 429, body = "" } } do
        deps.certificate = nil
        answers[CERTIFICATE_URL] = answer or nil
        local result = handle(sign(message()))
        assert.equal(503, result.status)
        assert.equal('{"status":"error","detail":"cannot be verified now, try again"}',
          json.encode(result.body))
      end
      log_has("connect to port 1: refused")
      for _, answer in ipairs { { status = 404, body = "" }, { status = 302, body = good.pem } } do
        deps.certificate = nil
        answers[CERTIFICATE_URL] = answer
        assert.equal(403, handle(sign(message())).status)
      end
    end)

    it("from the future, and proven, is to come again", function()
      assert.equal(503, handle(sign(message { Timestamp = "2025-06-15T13:00:00.000Z" })).status)
    end)

    it("is checked against the chain that the policy wants", function()
      deps.policy.chain = "require"
      assert.equal(403, handle(sign(message())).status)
      log_has("self%-signed.*BadChain")
    end)
  end)

  it("takes a body that is no JSON object for what it is", function()
    for body, kind in pairs {
      [""] = "missing", ["{"] = "json_invalid", ["5"] = "dict_type", ["[1]"] = "dict_type",
      ['"x"'] = "dict_type", ["null"] = "dict_type", ["[]"] = "dict_type",
    } do
      local result = handle(body)
      assert.equal(422, result.status, body)
      assert.equal(kind, result.body.detail[1].type, body)
      assert.equal("body", result.body.detail[1].loc[1])
    end
    assert.equal(422, sns_flow.handle({ headers = {} }, deps).status)
    assert.same({}, asked)
  end)

  describe("a subscription", function()
    it("is confirmed when proven and listed", function()
      local result = handle(sign(confirmation()))
      assert.same({ 200, { status = "confirmed" }, {} },
        { result.status, result.body, result.events })
      assert.same({ CERTIFICATE_URL, subscribe_url(ARN) }, asked)
      assert.same({ "SubscriptionConfirmation confirmed" }, counted)
      assert.is_nil(pin)
    end)

    it("to another topic, or at another address, is refused", function()
      refused("not on the list", sign(confirmation { TopicArn = OTHER }))
      refused("is not on https", sign(confirmation { SubscribeURL = "http://127.0.0.1:1/" }))
      refused("confirms another topic",
        sign(confirmation { SubscribeURL = subscribe_url(OTHER) }))
      local forged = sign(confirmation())
      forged.Message = "x"
      refused("signature", forged, nil, { CERTIFICATE_URL })
    end)

    it("that cannot be confirmed is to come again, and the answer does not say why", function()
      local bodies = {}
      for _, answer in ipairs { false, { status = 500 }, { status = 404 }, { status = 302 } } do
        answers[subscribe_url(ARN)] = answer or nil
        local result = handle(sign(confirmation()))
        assert.equal(503, result.status)
        bodies[#bodies + 1] = json.encode(result.body)
      end
      for i = 2, #bodies do assert.equal(bodies[1], bodies[i]) end
      log_has("status 302")
      log_has("port 1: refused")
    end)

    it("is left to a person, or refused, as the policy says", function()
      deps.policy.confirm = function() return "later" end
      local result = handle(sign(confirmation()))
      assert.same({ 200, "ok" }, { result.status, result.body.status })
      log_has("to confirm, visit https://sns%.us%-east%-1%.amazonaws%.com/%?Action=Confirm")
      deps.policy.confirm = function() return false, "not on a Sunday" end
      assert.matches("Sunday", handle(sign(confirmation())).body.detail)
      deps.policy.confirm = function() return nil end
      assert.equal(403, handle(sign(confirmation())).status)
      assert.same({ CERTIFICATE_URL }, asked)
    end)

    it("tells the policy what it is asked about", function()
      local told
      deps.policy.confirm = function(asked_about, context)
        told = { asked_about.TopicArn, context.topic.name, context.first, context.insecure,
          context.peer }
        return true
      end
      handle(sign(confirmation()))
      assert.same({ ARN, "batches", false, false, "192.0.2.7" }, told)
    end)

    it("survives a policy that raises", function()
      deps.policy.confirm = function() error("typo") end
      local result = handle(sign(confirmation()))
      assert.equal(503, result.status)
      log_has("typo.*sns_flow_spec")
      assert.is_nil(json.encode(result.body):find("typo"))
    end)
  end)

  describe("without a list of topics", function()
    before_each(function()
      deps.policy = policy_file()
      deps.policy.chain = "off"
    end)

    it("pins the first that is confirmed, loudly, and believes no other", function()
      refused("no topic is confirmed yet", sign(message()))
      assert.equal("confirmed", handle(sign(confirmation())).body.status)
      assert.equal(ARN, pin)
      log_has("^warn .*" .. ARN:gsub("%p", "%%%0") .. " is from now on the only one believed")
      assert.equal(200, handle(sign(message())).status)
      refused("another topic", sign(message { TopicArn = OTHER }))
      local url = subscribe_url(OTHER)
      answers[url] = { status = 200, body = "" }
      refused("another topic", sign(confirmation { TopicArn = OTHER, SubscribeURL = url }))
      assert.equal("confirmed", handle(sign(confirmation())).body.status)
    end)

    it("has the topic pinned before it visits the address", function()
      local request = deps.http.request
      deps.http.request = function(asked_for)
        if asked_for.url == subscribe_url(ARN) then assert.equal(ARN, pin) end
        return request(asked_for)
      end
      assert.equal("confirmed", handle(sign(confirmation())).body.status)
    end)

    it("gives the pin up when the confirmation fails", function()
      answers[subscribe_url(ARN)] = nil
      assert.equal(503, handle(sign(confirmation())).status)
      assert.is_nil(pin)
    end)

    it("says so when the pin cannot be given up", function()
      answers[subscribe_url(ARN)] = nil
      local set = deps.pinned.set
      deps.pinned.set = function(arn)
        if not arn then return nil, "store is gone" end
        return set(arn)
      end
      assert.equal(503, handle(sign(confirmation())).status)
      log_has("pinned and not confirmed: store is gone")
    end)

    it("keeps the pin of a topic that another request gave up meanwhile", function()
      local request = deps.http.request
      deps.http.request = function(asked_for)
        if asked_for.url == subscribe_url(ARN) then pin = nil end
        return request(asked_for)
      end
      assert.equal("confirmed", handle(sign(confirmation())).body.status)
      assert.equal(ARN, pin)
    end)

    it("believes nothing unproven, and pins nothing for it", function()
      local forged = sign(confirmation())
      forged.Message = "x"
      refused("signature", forged, nil, { CERTIFICATE_URL })
      assert.is_nil(pin)
    end)

    it("refuses the second of two that race for the pin", function()
      deps.pinned.set = function() pin = OTHER return nil, "there is one", "Conflict" end
      refused("another topic", sign(confirmation()), nil, { CERTIFICATE_URL })
    end)

    it("wants the message again when the pin cannot be read or written", function()
      deps.pinned.set = function() return nil, "store is gone", "Timeout" end
      assert.equal(503, handle(sign(confirmation())).status)
      deps.pinned.get = function() return nil, "store is gone", "Timeout" end
      assert.equal(503, handle(sign(message())).status)
      assert.same({ CERTIFICATE_URL }, asked)
    end)
  end)

  describe("an unsubscription", function()
    local function farewell(changes)
      local made = confirmation { Type = "UnsubscribeConfirmation" }
      for name, value in pairs(changes or {}) do made[name] = value end
      return made
    end

    it("is only logged", function()
      local result = handle(sign(farewell()))
      assert.same({ 200, "ok" }, { result.status, result.body.status })
      assert.same({ CERTIFICATE_URL }, asked)
      log_has("^warn .*unsubscribed from arn")
    end)

    it("is undone when the policy says so", function()
      deps.policy.on_unsubscribe = function() return "resubscribe" end
      assert.equal("confirmed", handle(sign(farewell())).body.status)
      assert.equal(subscribe_url(ARN), asked[2])
      deps.policy.on_unsubscribe = function() error("typo") end
      assert.equal(503, handle(sign(farewell())).status)
    end)

    it("that is not proven is refused", function()
      refused("Signature is missing", farewell())
    end)
  end)

  describe("raw delivery", function()
    local RAW = { ["x-amz-sns-rawdelivery"] = "true", ["x-amz-sns-topic-arn"] = ARN }

    it("is refused unless it is configured", function()
      refused("raw delivery is not taken", EVENT, RAW)
      refused("raw delivery is not taken", EVENT)
      deps.insecure = true
      refused("raw delivery is not taken", EVENT, RAW)
    end)

    it("gives its events when it is", function()
      deps.policy = policy_file { SNS_RAW_DELIVERY = "1", SNS_TOPIC_ARNS = ARN }
      for _, headers in ipairs { RAW, {} } do
        local result = handle(EVENT, headers)
        assert.same({ 200, "raw/a b.csv" }, { result.status, result.events[1].key })
      end
      assert.same({ "raw ok", "raw ok" }, counted)
      assert.equal(422, handle('{"Records":[{}]}', RAW).status)
      refused("not on the list", EVENT, { ["x-amz-sns-rawdelivery"] = "true",
        ["x-amz-sns-topic-arn"] = OTHER })
      refused("Signature is missing", message())
    end)
  end)

  describe("insecure", function()
    before_each(function()
      deps.insecure = true
      deps.policy = policy_file()
    end)

    it("takes unsigned messages of any topic, and asks nobody", function()
      local result = handle { Type = "Notification", Message = EVENT }
      assert.equal(200, result.status)
      assert.equal("raw/a b.csv", result.events[1].key)
      assert.equal(1, #handle({ Message = EVENT },
        { ["x-amz-sns-message-type"] = "Notification" }).events)
      assert.equal(1, #handle(message { TopicArn = OTHER, Timestamp = "2001-01-01" }).events)
      assert.same({}, asked)
      assert.is_nil(pin)
    end)

    it("ignores what is no kind of message", function()
      for _, body in ipairs { {}, { Type = "Other" }, { Type = 5 }, { Type = json.null } } do
        local result = handle(body)
        assert.same({ 200, { status = "ok" }, {} }, { result.status, result.body, result.events })
      end
    end)

    it("still keeps to the list and to the headers", function()
      deps.policy = policy_file { SNS_TOPIC_ARNS = ARN }
      refused("not on the list", message { TopicArn = OTHER })
      refused("not on the list", { Type = "Notification", Message = EVENT })
      refused("header", message(), { ["x-amz-sns-message-type"] = "UnsubscribeConfirmation" })
      assert.equal(200, handle(message()).status)
    end)

    it("answers a message without its parts with 422 or 403, never worse", function()
      for body, kind in pairs {
        ['{"Type":"Notification"}'] = "missing", ['{"Type":"Notification","Message":5}'] =
          "string_type", ['{"Type":"Notification","Message":"x"}'] = "value_error",
        ['{"Type":"Notification","Message":"{\\"Records\\":null}"}'] = "value_error",
      } do
        local result = handle(body)
        assert.same({ 422, kind }, { result.status, result.body.detail[1].type })
      end
      refused("SubscribeURL is missing", { Type = "SubscriptionConfirmation" })
      refused("SubscribeURL is missing", { Type = "SubscriptionConfirmation",
        SubscribeURL = json.null })
    end)

    it("visits SNS and this machine, and nobody else", function()
      answers["http://127.0.0.1:9/confirm?a=b"] = { status = 200, body = "" }
      local result = handle(confirmation { SubscribeURL = "http://127.0.0.1:9/confirm?a=b" })
      assert.same({ 200, "confirmed" }, { result.status, result.body.status })
      assert.equal("confirmed", handle(confirmation()).body.status)
      for _, url in ipairs { "http://localhost:9/", "https://[::1]:9/x", "http://127.9.9.9" } do
        assert.equal(503, handle(confirmation { SubscribeURL = url }).status)
      end
      for _, url in ipairs {
        "", "x", "file:///etc/passwd", "http://evil.example/", "http://169.254.169.254/latest",
        "http://10.0.0.1/", "http://127.0.0.1@evil.example/", "http://127.0.0.1.evil.example/",
        "http://evil.example/?http://127.0.0.1/", "http://evil.example#127.0.0.1",
        "http://localhost\\@evil.example/", "http://localhost.evil.example/", "ftp://127.0.0.1/",
        "http://localhost:80:90/", "http://[::ffff:10.0.0.1]/", "http://0.0.0.0/",
        "http://127.0.0.1/\r\nX: y", "gopher://localhost/", "http://1270.0.0.1/",
      } do
        refused("SubscribeURL", confirmation { SubscribeURL = url })
        refused("SubscribeURL", confirmation { SubscribeURL = url, TopicArn = false })
      end
    end)

    it("gives one answer for a closed port and for an error", function()
      local url, bodies = "http://127.0.0.1:9/", {}
      for _, answer in ipairs { false, { status = 500 }, { status = 404 }, { status = 301 } } do
        answers[url] = answer or nil
        local result = handle(confirmation { SubscribeURL = url })
        assert.equal(503, result.status)
        bodies[#bodies + 1] = json.encode(result.body)
      end
      for i = 2, #bodies do assert.equal(bodies[1], bodies[i]) end
    end)
  end)

  describe("the policy", function()
    it("as it is shipped is right, and reads its environment", function()
      local policy = policy_file { SNS_TOPIC_ARNS = ARN .. ", " .. OTHER }
      assert.is_true(sns_flow.check(policy))
      assert.same({ ARN, OTHER }, policy.topics)
      assert.is_false(policy.raw)
      assert.is_true(policy.confirm())
      assert.equal("log", policy.on_unsubscribe())
      assert.same({}, policy_file().topics)
    end)

    it("that is broken is told by its field", function()
      for field, value in pairs {
        topics = "x", max_age = -1, clock_skew = "5", chain = "maybe", confirm = true,
        on_unsubscribe = "log",
      } do
        local policy = policy_file()
        policy[field] = value
        local ok, text = sns_flow.check(policy)
        assert.is_nil(ok)
        assert.matches("sns_handshake: " .. field, text)
      end
      local ok, text = sns_flow.check(policy_file { SNS_TOPIC_ARNS = ARN .. ",nonsense" })
      assert.is_nil(ok)
      assert.matches("topics%[2%].*nonsense", text)
      assert.is_nil((sns_flow.check("x")))
      assert.is_true(sns_flow.check {})
    end)
  end)
end)
