local files = require "files"
local json = require "json"
local shared = require "shared"
local sns = require "sns"
local x509 = require "x509"

local function fixture(name) return files.fixture("sns/" .. name) end

local function copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end
  return c
end

-- The file name at the end of a certificate's address.
local function base(url)
  return url:match("[^/]+$")
end

-- Verify as of the message's own Timestamp, its certificate read from a fixture.
local function verify(message, options)
  options = options or {}
  return sns.verify(message, {
    certificate = options.certificate or function(url) return fixture(base(url)) end,
    now = options.now or sns.seconds(message.Timestamp) + 1,
    max_age = options.max_age, clock_skew = options.clock_skew,
  })
end

local function refused(code, message, options)
  local ok, text, got = verify(message, options)
  assert.is_nil(ok)
  assert.equal(code, got, text)
  assert.is_string(text)
  assert.is_nil(text:find("[%c\127-\255]"))
  return text
end

describe("sns", function()
  local v1 = json.decode(fixture("aws-php-2022-1.json"))
  local v2 = json.decode(fixture("aws-php-2022-4.json"))
  local subscription = json.decode(fixture("keila-subscription.json"))
  local unsubscription = json.decode(fixture("java-unsubscribe-confirmation-v2.json"))

  describe("seconds", function()
    it("reads a Timestamp", function()
      assert.equal(0, sns.seconds("1970-01-01T00:00:00Z"))
      assert.equal(951782400.25, sns.seconds("2000-02-29T00:00:00.250Z"))
      assert.equal(1659043438.317, sns.seconds("2022-07-28T21:23:58.317Z"))
      assert.equal(4102444799, sns.seconds("2099-12-31T23:59:59Z"))
      assert.equal(-86400, sns.seconds("1969-12-31T00:00:00.000Z"))
    end)

    it("takes nothing else for one", function()
      for _, text in ipairs {
        "", "2022-07-28", "2022-07-28T21:23:58", "2022-07-28T21:23:58+00:00",
        "2022-07-28 21:23:58Z", "2022-13-28T21:23:58Z", "2022-00-28T21:23:58Z",
        "2022-02-29T21:23:58Z", "2022-07-32T21:23:58Z", "2022-07-00T21:23:58Z",
        "2022-07-28T24:23:58Z", "2022-07-28T21:60:58Z", "2022-07-28T21:23:61Z",
        "2022-07-28T21:23:58.Z", "2022-07-28T21:23:58.1234567890Z", "x2022-07-28T21:23:58Z",
      } do
        assert.is_nil(sns.seconds(text), text)
      end
    end)
  end)

  describe("topic", function()
    local function arn(partition, region)
      return ("arn:%s:sns:%s:123456789012:a-topic_1"):format(partition, region)
    end

    it("knows the host and the certificate's name of each region", function()
      for _, case in ipairs {
        { "aws", "us-east-1", "sns.us-east-1.amazonaws.com", "sns.amazonaws.com" },
        { "aws", "ap-southeast-2", "sns.ap-southeast-2.amazonaws.com", "sns.amazonaws.com" },
        { "aws", "af-south-1", "sns.af-south-1.amazonaws.com",
          "sns-signing.af-south-1.amazonaws.com" },
        { "aws", "mx-central-1", "sns.mx-central-1.amazonaws.com",
          "sns-signing.mx-central-1.amazonaws.com" },
        { "aws-cn", "cn-north-1", "sns.cn-north-1.amazonaws.com.cn",
          "sns-cn-north-1.amazonaws.com.cn" },
        { "aws-us-gov", "us-gov-east-1", "sns.us-gov-east-1.amazonaws.com",
          "sns-us-gov-west-1.amazonaws.com" },
        { "aws-eusc", "eusc-de-east-1", "sns.eusc-de-east-1.amazonaws.eu",
          "sns-signing.eusc-de-east-1.amazonaws.eu" },
        { "aws-iso-b", "us-isob-east-1", "sns.us-isob-east-1.sc2s.sgov.gov",
          "sns-us-isob-east-1.sc2s.sgov.gov" },
      } do
        local topic = assert(sns.topic(arn(case[1], case[2])))
        assert.equal(case[3], topic.host)
        assert.same({ case[4] }, topic.certificate_names)
      end
    end)

    it("gives both of Amazon's names to a region it does not know", function()
      assert.same({ "sns-signing.ap-east-9.amazonaws.com", "sns.amazonaws.com" },
        sns.topic(arn("aws", "ap-east-9")).certificate_names)
    end)

    it("refuses what is no topic", function()
      for _, text in ipairs {
        "", "arn:aws:sns:us-east-1:123456789012:", "arn:aws:sns:us-east-1:12345:t",
        "arn:aws:s3:us-east-1:123456789012:t", "arn:aws:sns::123456789012:t",
        "arn:evil:sns:us-east-1:123456789012:t", "arn:aws-x:sns:us-east-1:123456789012:t",
        "arn:aws:sns:evil.example/:123456789012:t", "arn:aws:sns:US-EAST-1:123456789012:t",
        "arn:aws:sns:us-east-1:123456789012:t\n", "arn:aws:sns:us-east-1:123456789012:t:sub",
        "arn:aws:sns:cn-north-1:123456789012:t", "arn:aws-cn:sns:us-east-1:123456789012:t",
        "arn:aws:sns:us-gov-west-1:123456789012:t", "arn:aws:sns:evil:123456789012:t",
        arn("aws", ("a"):rep(40) .. "-1"), arn("aws", "us-east-1") .. ("x"):rep(400),
      } do
        local topic, _, code = sns.topic(text)
        assert.is_nil(topic, text)
        assert.equal("BadField", code)
      end
      assert.is_nil((sns.topic(nil)))
      assert.is_nil((sns.topic(5)))
    end)
  end)

  it("builds the string to sign of each kind", function()
    assert.equal("Message\nHello world\nMessageId\n792cda85-518f-5dd3-9163-81d851212f3a\n"
      .. "Timestamp\n2022-07-28T21:23:58.317Z\nTopicArn\n" .. v1.TopicArn
      .. "\nType\nNotification\n", sns.string_to_sign(v1))
    assert.matches("\nSubject\nHello world\nTimestamp\n", sns.string_to_sign(v2))
    local null = copy(v1)
    null.Subject = json.null
    assert.equal(sns.string_to_sign(v1), sns.string_to_sign(null))
    assert.equal("Message\n" .. subscription.Message .. "\nMessageId\n" .. subscription.MessageId
      .. "\nSubscribeURL\n" .. subscription.SubscribeURL .. "\nTimestamp\n"
      .. subscription.Timestamp .. "\nToken\n" .. subscription.Token .. "\nTopicArn\n"
      .. subscription.TopicArn .. "\nType\nSubscriptionConfirmation\n",
      sns.string_to_sign(subscription))
  end)

  it("believes what Amazon signed: both versions, all three kinds", function()
    for _, message in ipairs { v1, v2, subscription, unsubscription } do
      assert.is_true(verify(message))
    end
  end)

  it("takes the text as well, and the spelling of Lambda", function()
    local lambda = copy(v1)
    lambda.SigningCertURL, lambda.SigningCertUrl = nil, v1.SigningCertURL
    assert.is_true(verify(lambda))
    local text = fixture("aws-php-2022-1.json")
    local options = { certificate = function(url) return fixture(base(url)) end,
      now = sns.seconds(v1.Timestamp) }
    assert.is_true(sns.verify(text, options))
    for _, broken in ipairs { "", "{", "null", "5", '"x"' } do
      assert.equal("BadMessage", select(3, sns.verify(broken, options)))
    end
    assert.equal("MissingField", select(3, sns.verify("[]", options)))
  end)

  it("wants its options", function()
    assert.has_error(function() sns.verify(v1) end)
    assert.has_error(function() sns.verify(v1, { now = 0 }) end)
    assert.has_error(function() sns.verify(v1, { certificate = print }) end)
    assert.equal("BadMessage", select(3, sns.verify(5, { now = 0, certificate = print })))
  end)

  describe("refuses before it asks for a certificate", function()
    local asked
    local function certificate(url)
      asked = url
      return fixture(base(url))
    end
    before_each(function() asked = nil end)

    local function change(code, message, changes)
      local changed = copy(message)
      for name, value in pairs(changes) do
        if value == false then value = nil end
        changed[name] = value
      end
      refused(code, changed, { certificate = certificate, now = sns.seconds(message.Timestamp) })
      assert.is_nil(asked)
    end

    it("fields that are missing or not strings", function()
      for _, name in ipairs {
        "Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature",
        "SigningCertURL",
      } do
        local message = copy(v2)
        message[name] = nil
        refused("MissingField", message, { certificate = certificate, now = 1659043438 })
        change("MissingField", v2, { [name] = json.null })
      end
      change("MissingField", subscription, { SubscribeURL = json.null })
      change("MissingField", subscription, { Token = json.null })
      change("BadField", v2, { Message = { 1 } })
      change("BadField", v2, { Subject = 5 })
      change("BadField", v2, { TopicArn = true })
      change("BadField", v2, { SigningCertURL = {} })
      change("UnknownType", v2, { Type = {} })
    end)

    it("fields that could be cut in two ways, or are no such thing", function()
      change("BadField", v1, { MessageId = v1.MessageId .. "\nSubject\nx" })
      change("BadField", v2, { Subject = "x\nTimestamp" })
      change("BadField", v1, { Timestamp = v1.Timestamp .. "\n" })
      change("BadField", v1, { Timestamp = "2022-02-30T00:00:00Z" })
      change("BadField", v1, { TopicArn = "arn:aws:sqs:us-east-2:295079676684:q" })
      change("BadField", subscription, { Token = "a b" })
      change("UnknownType", v1, { Type = "Notify" })
      change("UnknownType", v1, { Type = "" })
      change("BadSignature", v1, { Signature = "" })
      change("BadSignature", v1, { Signature = "!!!!" })
    end)

    it("versions that are not known", function()
      for _, version in ipairs { "0", "3", "", "1 ", "11", 1, 2, {}, true } do
        change("UnknownSignatureVersion", v1, { SignatureVersion = version })
      end
    end)

    it("certificates that are not on the SNS host of the topic's region", function()
      local host = "sns.us-east-2.amazonaws.com"
      for _, url in ipairs {
        "http://" .. host .. "/a.pem", "HTTPS://" .. host .. "/a.pem", "https://" .. host,
        "https://" .. host .. "/", "https://" .. host .. "/.pem", "https://" .. host .. "/a.pem?b",
        "https://" .. host .. "/a.pem?.pem", "https://" .. host .. "/a.pem#.pem",
        "https://" .. host .. "/?a.pem", "https://" .. host .. "/a.pem/", "https:///a.pem",
        "https://" .. host .. "/../a.pem", "https://" .. host .. "/a/..%2f/b.pem",
        "https://" .. host .. "//evil.example/a.pem", "https://" .. host .. ":443/a.pem",
        "https://" .. host .. ":8443/a.pem", "https://" .. host .. "./a.pem",
        "https://user@" .. host .. "/a.pem", "https://user:pw@" .. host .. "/a.pem",
        "https://" .. host .. "@evil.example/a.pem", "https://" .. host .. "\\@evil.example/a.pem",
        "https://evil.example/" .. host .. "/a.pem", "https://" .. host .. ".evil.example/a.pem",
        "https://x" .. host .. "/a.pem", "https://sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-2.amazonaws.com.cn/a.pem", "https://s3.amazonaws.com/b/a.pem",
        "https://b.s3.amazonaws.com/a.pem", "https://SNS.us-east-2.amazonaws.com/a.pem",
        "https://127.0.0.1/a.pem", "file:///etc/ssl/a.pem", "ftp://" .. host .. "/a.pem",
        "//" .. host .. "/a.pem", "a.pem", "https://" .. host .. "/a.PEM",
        "https://" .. host .. "/" .. ("a"):rep(3000) .. ".pem",
        "https://" .. host .. "/a%00.pem", "https://" .. host .. "/a%2epem",
      } do
        change("BadCertificateUrl", v1, { SigningCertURL = url })
      end
      for _, url in ipairs { "https://" .. host .. "/a.pem\n", " https://" .. host .. "/a.pem" } do
        change("BadField", v1, { SigningCertURL = url })
      end
    end)

    it("a SubscribeURL that is not the confirmation of this topic on its host", function()
      local good = subscription.SubscribeURL
      local host = "https://sns.eu-central-1.amazonaws.com"
      for _, url in ipairs {
        "http" .. good:sub(6), (good:gsub("eu%-central%-1%.", "eu-west-1.", 1)),
        (good:gsub("amazonaws%.com", "%0.evil.example")), (good:gsub("https://", "%0x@")),
        (good:gsub("%.com/", ".com:444/")), (good:gsub("%.com/", ".com/path")),
        (good:gsub("ConfirmSubscription", "DeleteTopic")), (good:gsub("Action", "action")),
        good .. "&Action=DeleteTopic", good .. "&action=DeleteTopic",
        good .. "&Token=1", good .. "&", (good:gsub("keila_", "other_")),
        (good:gsub("Token=2", "Token=3")), (good:gsub("&Token=.*", "")),
        host .. "/", host, host .. "/?", host .. "/?Action=ConfirmSubscription",
        "http://127.0.0.1:1/?Action=ConfirmSubscription", "file:///etc/passwd", "x",
      } do
        change("BadSubscribeUrl", subscription, { SubscribeURL = url })
      end
      change("BadSubscribeUrl", unsubscription, { SubscribeURL = good })
    end)

    it("what is too old, by the clock it is given", function()
      local sent = sns.seconds(v1.Timestamp)
      local function at(age, max_age)
        return verify(v1, { now = sent + age, max_age = max_age, certificate = certificate })
      end
      assert.is_true(at(3899))
      assert.is_true(at(50, 60))
      asked = nil
      assert.equal("StaleMessage", select(3, at(3901)))
      assert.equal("StaleMessage", select(3, at(61, 60)))
      assert.equal("StaleMessage", select(3, at(1e9)))
      assert.is_nil(asked)
    end)
  end)

  it("says that our clock is behind only when the message is proven", function()
    local sent = sns.seconds(v1.Timestamp)
    assert.is_true(verify(v1, { now = sent - 299 }))
    assert.equal("ClockBehind", select(3, verify(v1, { now = sent - 301 })))
    assert.is_true(verify(v1, { now = sent - 301, clock_skew = 400 }))
    local forged = copy(v1)
    forged.Message = "x"
    assert.equal("BadSignature", select(3, verify(forged, { now = sent - 301 })))
  end)

  it("passes on why there is no certificate", function()
    local ok, text, code = verify(v1, { certificate = function() return nil, "no way", "Odd" end })
    assert.same({ false, "no way", "Odd" }, { ok or false, text, code })
    refused("CertificateUnavailable", v1, { certificate = function() end })
    refused("CertificateUnavailable", v1, { certificate = function() return 5 end })
    refused("BadCertificate", v1, { certificate = function() return "" end })
    refused("BadCertificate", v1, { certificate = function(url)
      return fixture(base(url)) .. fixture(base(url))
    end })
    refused("BadSignature", v1, { certificate = function()
      return fixture(base(unsubscription.SigningCertURL))
    end })
  end)

  it("refuses the certificate once its time is over", function()
    refused("CertificateExpired", v1, { now = 1660780800, max_age = math.huge })
    refused("CertificateNotYetValid", v1, { now = 1630972799, max_age = math.huge })
  end)

  describe("with a key of our own", function()
    local maker, good, message

    local function signed(by, changes, digest)
      local made = copy(message)
      for name, value in pairs(changes or {}) do made[name] = value end
      made.SignatureVersion = digest == "sha1" and "1" or "2"
      made.Signature = select(2, maker:sign(by, digest or "sha256", sns.string_to_sign(made)))
      return made
    end

    setup(function()
      maker = x509.open()
      good = maker:certificate { subject = "/CN=sns.amazonaws.com" }
      message = {
        Type = "Notification", MessageId = "792cda85-518f-5dd3-9163-81d851212f3a",
        TopicArn = "arn:aws:sns:us-east-1:123456789012:t", Subject = "Amazon S3 Notification",
        Message = '{"Records": []}\n\tü\0end', Timestamp = "2025-06-15T12:00:00.000Z",
        SigningCertURL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
      }
    end)

    teardown(function() maker:close() end)

    local function try(made, by)
      return verify(made, { certificate = function() return by.pem end })
    end

    it("believes SHA256 and SHA1, and 1024 bits", function()
      assert.is_true(try(signed(good), good))
      assert.is_true(try(signed(good, nil, "sha1"), good))
      local old = maker:certificate { subject = "/CN=sns.amazonaws.com", bits = 1024 }
      assert.is_true(try(signed(old, nil, "sha1"), old))
    end)

    it("believes a certificate only under the name of the topic's region", function()
      local cape = maker:certificate { subject = "/CN=sns-signing.af-south-1.amazonaws.com" }
      local there = {
        TopicArn = "arn:aws:sns:af-south-1:123456789012:t",
        SigningCertURL = "https://sns.af-south-1.amazonaws.com/a.pem",
      }
      assert.is_true(try(signed(cape, there), cape))
      assert.equal("CertificateName", select(3, try(signed(good, there), good)))
      assert.equal("CertificateName", select(3, try(signed(cape), cape)))
      local evil = maker:certificate { subject = "/CN=sns.amazonaws.com",
        extensions = "subjectAltName=DNS:evil.example\n" }
      local _, text, code = try(signed(evil), evil)
      assert.equal("CertificateName", code)
      assert.matches('for "evil.example", not for sns.amazonaws.com', text)
    end)

    it("believes no certificate whose key is not RSA", function()
      local curve = maker:certificate { subject = "/CN=sns.amazonaws.com", key = "ec" }
      assert.equal("BadCertificate", select(3, try(signed(good), curve)))
    end)

    -- One change of each class at each place of a field: a bit, a case, a letter left out, put in,
    -- doubled, swapped with its neighbour, a line break, a NUL, an overlong or foreign letter.
    local function mutants(text)
      local list, seen = {}, { [text] = true }
      local function add(mutant)
        if not seen[mutant] then
          seen[mutant] = true
          list[#list + 1] = mutant
        end
      end
      for i = 1, #text do
        local before, byte, after = text:sub(1, i - 1), text:sub(i, i), text:sub(i + 1)
        for bit = 0, 7 do add(before .. string.char(text:byte(i) ~ (1 << bit)) .. after) end
        add(before .. after)
        for _, put in ipairs { byte, " ", "\n", "\r", "\0", "\xc0\x80", "é", "a", "=" } do
          add(before .. put .. byte .. after)
        end
        add(before .. byte:upper() .. after)
        add(before .. byte:lower() .. after)
        add(before .. after:sub(1, 1) .. byte .. after:sub(2))
      end
      for _, put in ipairs { " ", "\n", "\0", "=", "x" } do add(text .. put) end
      add("")
      add(text .. text)
      return list
    end

    it("believes no message after any one change to what is signed or proves it", function()
      local original = signed(good)
      assert.is_true(try(original, good))
      local options = { certificate = function() return good.pem end,
        now = sns.seconds(original.Timestamp), max_age = math.huge, clock_skew = math.huge }
      local tried = 0
      for _, name in ipairs {
        "Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "Signature",
        "SignatureVersion",
      } do
        for _, mutant in ipairs(mutants(original[name])) do
          local changed = copy(original)
          changed[name] = mutant
          local ok, _, code = sns.verify(changed, options)
          tried = tried + 1
          if ok or type(code) ~= "string" then
            error(("believed with %s = %q"):format(name, mutant))
          end
        end
      end
      assert.is_true(tried > 5000)
    end)

    it("believes no message after a field was left out or moved", function()
      local original = signed(good)
      local options = { certificate = function() return good.pem end,
        now = sns.seconds(original.Timestamp) }
      for name in pairs(original) do
        local changed = copy(original)
        changed[name] = nil
        assert.is_nil((sns.verify(changed, options)), name)
      end
      local swapped = copy(original)
      swapped.Subject, swapped.Message = "Hello", original.Subject
      assert.equal("BadSignature", select(3, sns.verify(swapped, options)))
    end)

    it("believes no other cut of the same signed text into fields", function()
      local original = signed(good)
      local folded = copy(original)
      folded.Subject = nil
      folded.MessageId = original.MessageId .. "\nSubject\n" .. original.Subject
      assert.equal(sns.string_to_sign(original), sns.string_to_sign(folded))
      assert.equal("BadField", select(3, try(folded, good)))
    end)
  end)

  describe("certificates", function()
    local clock, fetched, answer
    local function cached(options)
      clock, fetched = 1000, {}
      answer = function() return "pem" end
      options = options or {}
      options.now = function() return clock end
      return sns.certificates(function(url)
        fetched[#fetched + 1] = url
        return answer(url)
      end, options)
    end

    it("are fetched once and kept for their time", function()
      local get = cached { ttl = 100 }
      assert.equal("pem", get("a"))
      assert.equal("pem", get("a"))
      assert.equal("pem", get("b"))
      assert.same({ "a", "b" }, fetched)
      clock = 1100
      assert.equal("pem", get("a"))
      assert.same({ "a", "b", "a" }, fetched)
    end)

    it("remember a failure for a short while", function()
      local get = cached { failure_ttl = 10 }
      answer = function() return nil, "gone", "NoCertificate" end
      for _ = 1, 3 do
        assert.same({ n = 3, nil, "gone", "NoCertificate" }, table.pack(get("a")))
      end
      assert.equal(1, #fetched)
      clock, answer = 1011, function() return "pem" end
      assert.equal("pem", get("a"))
      answer = function() end
      assert.equal("CertificateUnavailable", select(3, get("b")))
      answer = function() return ("x"):rep(40000) end
      assert.equal("BadCertificate", select(3, get("c")))
    end)

    it("are bounded in number, failures going first", function()
      local get = cached { max = 3, max_fetches = 1000 }
      get("good")
      answer = function() return nil, "no", "NoCertificate" end
      for i = 1, 50 do
        clock = clock + 1
        get("bad" .. i)
      end
      local before = #fetched
      assert.equal("pem", get("good"))
      assert.equal(before, #fetched)
      answer = function() return "pem" end
      for i = 1, 5 do
        clock = clock + 1
        get("new" .. i)
      end
      before = #fetched
      get("new5")
      get("new4")
      get("new3")
      assert.equal(before, #fetched)
      get("good")
      assert.equal(before + 1, #fetched)
    end)

    it("are asked for only so often in a minute", function()
      local get = cached { max_fetches = 5 }
      for i = 1, 20 do get("u" .. i) end
      assert.equal(5, #fetched)
      assert.equal("CertificateUnavailable", select(3, get("u30")))
      assert.equal("pem", get("u1"))
      clock = clock + 61
      assert.equal("pem", get("u30"))
    end)

    it("are checked before they are kept", function()
      local checked = 0
      local get = cached { check = function()
        checked = checked + 1
        return nil, "broken", "BadChain"
      end }
      assert.equal("BadChain", select(3, get("a")))
      get("a")
      assert.equal(1, checked)
    end)

    it("are fetched once for tasks that ask side by side", function()
      local get = cached { wait = function() coroutine.yield() end }
      answer = function()
        coroutine.yield()
        return "pem"
      end
      local tasks, results = {}, {}
      for i = 1, 5 do tasks[i] = coroutine.wrap(function() results[i] = get("a") or "none" end) end
      for i = 1, 5 do tasks[i]() end
      for i = 1, 5 do tasks[i]() end
      assert.same({ "pem", "pem", "pem", "pem", "pem" }, results)
      assert.equal(1, #fetched)
    end)

    it("are fetched again after a fetch that raised", function()
      local get = cached { wait = function() error("must not wait") end }
      answer = function() error("cancelled") end
      assert.has_error(function() get("a") end)
      answer = function() return "pem" end
      assert.equal("pem", get("a"))
    end)
  end)

  describe("the reference messages", function()
    local manifest = shared.path("aws/sns/manifest.json")
      and json.decode(shared.read("aws/sns/manifest.json"))

    local REASONS = {
      ["Message altered"] = "BadSignature",
      ["TopicArn altered"] = "BadSignature",
      ["Timestamp altered"] = "BadSignature",
      ["Subject added"] = "BadSignature",
      ["Subject dropped"] = "BadSignature",
      ["SHA256 signature presented as version 1"] = "BadSignature",
      ["unknown SignatureVersion"] = "UnknownSignatureVersion",
      ["SubscribeURL altered"] = "BadSubscribeUrl",
      ["SubscriptionConfirmation relabelled Notification"] = "BadSignature",
      ["SigningCertURL not https"] = "BadCertificateUrl",
      ["SigningCertURL host is not SNS"] = "BadCertificateUrl",
      ["amazonaws.com host that anyone can own"] = "BadCertificateUrl",
      ["userinfo trick"] = "BadCertificateUrl",
      ["Signature not base64"] = "BadSignature",
      ["Signature truncated"] = "BadSignature",
    }

    local function reason(why)
      for start, code in pairs(REASONS) do
        if why:sub(1, #start) == start then return code end
      end
      return "no code for: " .. why
    end

    it("are believed, or refused for their stated reason", function()
      if not manifest then return pending("no reference data") end
      local signed_at = {}
      for _, entry in ipairs(manifest) do
        if entry.signed_at then
          signed_at[entry.file:match("valid/(.-)%.json")] = sns.seconds(entry.signed_at)
        end
      end
      for _, entry in ipairs(manifest) do
        local message = json.decode(shared.read("aws/sns/" .. entry.file))
        local ok, text, code = sns.verify(message, {
          certificate = function() return shared.read("aws/sns/" .. entry.cert) end,
          now = signed_at[entry.file:match("/(.-)%-%-") or entry.file:match("/(.-)%.json$")],
        })
        if entry.expect == "accept" then
          assert.is_true(ok, entry.file .. ": " .. tostring(text))
        else
          assert.is_nil(ok, entry.file)
          assert.equal(reason(entry.why), code, entry.file)
        end
      end
    end)
  end)
end)
