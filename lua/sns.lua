--- sns: what Amazon SNS says over HTTP, believed only when it is proven.
--
-- Pure judgement: nothing here talks to anybody. A message is the table its JSON decodes to; its
-- certificate comes from a function the caller gives (see sns.certificates for one that caches),
-- the clock is an argument. lua/sns_flow.lua makes a service of it.
--
-- A refusal is `nil, message, code`. The codes:
--   BadMessage               not a JSON object
--   MissingField, BadField   a field is not there, or is not what its kind of message holds
--   UnknownType              Type is none of the three
--   UnknownSignatureVersion  neither "1" (SHA1) nor "2" (SHA256)
--   BadCertificateUrl        SigningCertURL is not the topic's own SNS host over https
--   BadSubscribeUrl          the same of SubscribeURL, or it confirms no subscription of this topic
--   StaleMessage             Timestamp is further back than max_age
--   ClockBehind              well signed, but from the future: our clock is wrong
--   BadCertificate, CertificateName, CertificateExpired, CertificateNotYetValid
--   BadSignature             the signature does not prove these contents
-- and whatever code the certificate function gives (CertificateUnavailable and others).
local certificate = require "certificate"
local digest = require "digest"
local json = require "json"
local sns_certificates = require "sns_certificates"

local sns = {}

--- How long after its Timestamp a message is believed, in seconds: SNS tries again for at most an
-- hour, and clocks may differ by a few minutes.
sns.MAX_AGE = 3900

--- How far a Timestamp may lie in the future, in seconds.
sns.CLOCK_SKEW = 300

local CONFIRMATION = {
  "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
}

-- Which fields each kind signs, in order. Those in OPTIONAL count only when they are there.
local SIGNED = {
  Notification = { "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type" },
  SubscriptionConfirmation = CONFIRMATION,
  UnsubscribeConfirmation = CONFIRMATION,
}
local OPTIONAL = { Subject = true }
local DIGESTS = { ["1"] = "sha1", ["2"] = "sha256" }

-- The partitions of AWS: how their regions begin and where their hosts lie.
local PARTITIONS = {
  ["aws"] = { suffix = "amazonaws.com" },
  ["aws-cn"] = { prefix = "cn-", suffix = "amazonaws.com.cn" },
  ["aws-us-gov"] = { prefix = "us-gov-", suffix = "amazonaws.com" },
  ["aws-eusc"] = { prefix = "eusc-", suffix = "amazonaws.eu" },
  ["aws-iso"] = { prefix = "us-iso-", suffix = "c2s.ic.gov" },
  ["aws-iso-b"] = { prefix = "us-isob-", suffix = "sc2s.sgov.gov" },
  ["aws-iso-e"] = { prefix = "eu-isoe-", suffix = "cloud.adc-e.uk" },
  ["aws-iso-f"] = { prefix = "us-isof-", suffix = "csp.hci.ic.gov" },
}

-- Names on signing certificates, where they are not sns-signing.<region>.<suffix>.
local CERTIFICATE_NAMES = {
  ["cn-north-1"] = "sns-cn-north-1.amazonaws.com.cn",
  ["cn-northwest-1"] = "sns-cn-northwest-1.amazonaws.com.cn",
  ["us-gov-west-1"] = "sns-us-gov-west-1.amazonaws.com",
  ["us-gov-east-1"] = "sns-us-gov-west-1.amazonaws.com",
  ["us-iso-east-1"] = "sns-us-iso-east-1.c2s.ic.gov",
  ["us-isob-east-1"] = "sns-us-isob-east-1.sc2s.sgov.gov",
}
for region in ([[
  us-east-1 us-east-2 us-west-1 us-west-2 ca-central-1 sa-east-1 eu-west-1 eu-west-2 eu-west-3
  eu-central-1 eu-north-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1
  ap-southeast-2 ]]):gmatch("%S+") do
  CERTIFICATE_NAMES[region] = "sns.amazonaws.com"
end

-- Regions whose certificates are known to be named after them.
local SIGNING = {}
for region in ([[
  af-south-1 ap-east-1 ap-east-2 ap-south-2 ap-southeast-3 ap-southeast-4 ap-southeast-5
  ap-southeast-6 ap-southeast-7 ca-west-1 eu-central-2 eu-south-1 eu-south-2 il-central-1
  me-central-1 me-south-1 mx-central-1 eusc-de-east-1 us-isof-east-1 us-isof-south-1
  eu-isoe-west-1 ]]):gmatch("%S+") do
  SIGNING[region] = true
end

local function refuse(code, format, ...)
  return nil, string.format(format, ...), code
end

-- A stranger's text in a message of ours: one line, and not long.
local function quoted(text)
  if #text > 100 then text = text:sub(1, 100) .. "..." end
  return '"' .. text:gsub("[%c\127-\255]", "?") .. '"'
end

--- The parts of a topic's ARN: {partition, region, account, name, host, certificate_names}, where
-- `host` is the SNS host of its region and `certificate_names` the names its signing certificate
-- may have. nil, message, code "BadField" when it is no topic's ARN.
function sns.topic(arn)
  if type(arn) ~= "string" or #arn > 400 then return refuse("BadField", "TopicArn is no ARN") end
  local partition, region, account, name =
    arn:match("^arn:(aws[a-z-]*):sns:([a-z]+%-[a-z0-9-]+%-%d+):(%d+):([%w_.-]+)$")
  local place = PARTITIONS[partition]
  if not place or #account ~= 12 or #region > 32 or #name > 256 then
    return refuse("BadField", "TopicArn %s is not the ARN of an SNS topic", quoted(arn))
  end
  local foreign = place.prefix and region:sub(1, #place.prefix) ~= place.prefix
  for other, there in pairs(PARTITIONS) do
    if other ~= partition and there.prefix and region:sub(1, #there.prefix) == there.prefix then
      foreign = true
    end
  end
  if foreign then
    return refuse("BadField", "TopicArn %s names a region outside its partition", quoted(arn))
  end
  local names = { CERTIFICATE_NAMES[region] }
  if not names[1] then
    names[1] = "sns-signing." .. region .. "." .. place.suffix
    if not SIGNING[region] then names[2] = "sns." .. place.suffix end
  end
  return {
    partition = partition, region = region, account = account, name = name,
    host = "sns." .. region .. "." .. place.suffix,
    certificate_names = names,
  }
end

-- What follows https://host in a URL that names exactly this host: no user, no port.
local function after_host(url, host)
  local start = "https://" .. host .. "/"
  if #url > 2048 or url:sub(1, #start) ~= start then return nil end
  return url:sub(#start)
end

--- Is this where the signing certificate of the topic's region lies? true, or
-- nil, message, code "BadCertificateUrl".
function sns.check_certificate_url(url, topic)
  local path = after_host(url, topic.host)
  if not path then
    return refuse("BadCertificateUrl", "SigningCertURL %s is not on https://%s/", quoted(url),
      topic.host)
  end
  if not path:find("^/[%w_./-]*[%w_-]%.pem$") or path:find("..", 1, true)
    or path:find("//", 1, true) then
    return refuse("BadCertificateUrl", "SigningCertURL %s is not the path of a .pem file",
      quoted(url))
  end
  return true
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- The parameters of a query that is read without doubt: nil when one stands there twice, also in
-- another case.
local function query_of(text)
  local values, seen = {}, {}
  for pair in (text .. "&"):gmatch("(.-)&") do
    local name, value = pair:match("^([^=]+)=(.*)$")
    if not name or seen[name:lower()] then return nil end
    seen[name:lower()] = true
    values[name] = unescape(value)
  end
  return values
end

--- May the SubscribeURL of this message be visited? It must be the ConfirmSubscription of the
-- message's own topic, with its token, on the SNS host of the topic's region. true, or
-- nil, message, code "BadSubscribeUrl".
function sns.check_subscribe_url(message, topic)
  local url = message.SubscribeURL
  local path = after_host(url, topic.host)
  if not path then
    return refuse("BadSubscribeUrl", "SubscribeURL %s is not on https://%s/", quoted(url),
      topic.host)
  end
  local query = path:match("^/%?(.*)$")
  local values = query and query_of(query)
  if not values or values.Action ~= "ConfirmSubscription" then
    return refuse("BadSubscribeUrl", "SubscribeURL %s is no ConfirmSubscription", quoted(url))
  end
  if values.TopicArn ~= message.TopicArn or values.Token ~= message.Token then
    return refuse("BadSubscribeUrl", "SubscribeURL %s confirms another topic or token",
      quoted(url))
  end
  return true
end

-- Days from 1970-01-01 to a date of the Gregorian calendar.
local function days_of(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  local leaps = year // 4 - year // 100 + year // 400
  return 365 * year + leaps + (153 * (month - 3) + 2) // 5 + day - 1 - 719468
end

local MONTHS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

--- The seconds since 1970 UTC of a Timestamp such as "2026-03-06T19:55:38.903Z", with their
-- fraction; nil when it is none.
function sns.seconds(timestamp)
  local year, month, day, hour, minute, second, rest =
    timestamp:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)(.*)$")
  if not year then return nil end
  local fraction = rest == "Z" and "0" or rest:match("^%.(%d+)Z$")
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  local last = month == 2 and leap and 29 or MONTHS[month]
  if not fraction or #fraction > 9 or not last or day < 1 or day > last or hour > 23
    or minute > 59 or second > 60 then
    return nil
  end
  local whole = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
  return whole + tonumber("0." .. fraction)
end

-- What a field must look like. All but Message are one line: were a line break allowed in them, the
-- same signed text could be cut into fields in two ways.
local LINE = "^[^\n]*$"
local FORMS = {
  Message = "",
  MessageId = "^[%w-]+$",
  Signature = "^[%w+/]+=?=?$",
  SigningCertURL = "^%g+$",
  SubscribeURL = "^%g+$",
  Subject = LINE,
  Timestamp = "^[%dTZ:.-]+$",
  Token = "^[%w_-]+$",
  TopicArn = "^%g+$",
  Type = "^%a+$",
}

-- A null counts as a field that is not there; a message may come from any decoder, and they have
-- userdata of their own for it.
local function absent(value)
  return value == nil or type(value) == "userdata"
end

local function check_field(message, name)
  local value = message[name]
  if absent(value) then
    if OPTIONAL[name] then return true end
    return refuse("MissingField", "%s is missing", name)
  end
  if type(value) ~= "string" then
    return refuse("BadField", "%s is a %s, not a string", name, type(value))
  end
  if not value:find(FORMS[name]) then
    if name == "Signature" then
      return refuse("BadSignature", "Signature is not base64")
    end
    return refuse("BadField", "%s is %s, which is no such thing", name, quoted(value))
  end
  return true
end

--- Is the message's form that of its Type? Every field that is signed is there and a string, and
-- so are those the proof needs. true, or nil, message, code. `message` is a table.
function sns.check_form(message)
  local kind = message.Type
  if absent(kind) then return refuse("MissingField", "Type is missing") end
  local fields = SIGNED[kind]
  if not fields then
    return refuse("UnknownType", "Type %s is none that SNS sends", quoted(tostring(kind)))
  end
  for _, name in ipairs(fields) do
    local ok, text, code = check_field(message, name)
    if not ok then return nil, text, code end
  end
  return true
end

--- The exact text that SNS signs, of a message whose form is right: each field's name and value on
-- lines of their own.
function sns.string_to_sign(message)
  local lines = {}
  for _, name in ipairs(SIGNED[message.Type]) do
    if not absent(message[name]) then
      lines[#lines + 1] = name
      lines[#lines + 1] = message[name]
    end
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

-- SNS spells the field SigningCertURL over HTTP and SigningCertUrl to Lambda.
local function certificate_url(message)
  if absent(message.SigningCertURL) then return message.SigningCertUrl end
  return message.SigningCertURL
end

-- The fields that carry the proof.
local function check_proof(message)
  local version = message.SignatureVersion
  if absent(version) then return refuse("MissingField", "SignatureVersion is missing") end
  if not DIGESTS[version] then
    return refuse("UnknownSignatureVersion", "SignatureVersion %s is neither 1 nor 2",
      quoted(tostring(version)))
  end
  local ok, text, code = check_field(message, "Signature")
  if not ok then return nil, text, code end
  return check_field({ SigningCertURL = certificate_url(message) }, "SigningCertURL")
end

-- All that can be said without a certificate: topic and time, or nil, message, code.
local function examine(message, options)
  local ok, text, code = sns.check_form(message)
  if not ok then return nil, text, code end
  ok, text, code = check_proof(message)
  if not ok then return nil, text, code end
  local topic
  topic, text, code = sns.topic(message.TopicArn)
  if not topic then return nil, text, code end
  local time = sns.seconds(message.Timestamp)
  if not time then
    return refuse("BadField", "Timestamp %s is no date", quoted(message.Timestamp))
  end
  ok, text, code = sns.check_certificate_url(certificate_url(message), topic)
  if not ok then return nil, text, code end
  if message.SubscribeURL and message.Type ~= "Notification" then
    ok, text, code = sns.check_subscribe_url(message, topic)
    if not ok then return nil, text, code end
  end
  local max_age = options.max_age or sns.MAX_AGE
  if options.now - time > max_age then
    return refuse("StaleMessage", "Timestamp %s is more than %d s ago", message.Timestamp,
      math.floor(math.min(max_age, 1e15)))
  end
  return topic, time
end

-- The certificate that was read last: nearly always the next one too, and reading it takes several
-- times as long as a verification.
local last = {}

local function read_certificate(pem)
  if last.pem == pem then return last.cert end
  local cert, text, code = certificate.parse(pem)
  if not cert then return nil, text, code end
  last = { pem = pem, cert = cert }
  return cert
end

-- Does the signature prove the message by this certificate?
local function prove(message, pem)
  local cert, text, code = read_certificate(pem)
  if not cert then return nil, text, code end
  local signature = digest.unbase64(message.Signature)
  if not signature then return refuse("BadSignature", "Signature is not base64") end
  local ok
  ok, text, code = cert:verify(DIGESTS[message.SignatureVersion], sns.string_to_sign(message),
    signature)
  if not ok then return nil, text, code end
  return cert
end

-- Is it SNS's certificate for this topic, at this time?
local function check_certificate(cert, topic, now)
  for _, name in ipairs(topic.certificate_names) do
    if cert:has_name(name) then return cert:check_time(now) end
  end
  return refuse("CertificateName", "the certificate is for %s, not for %s",
    quoted(table.concat(cert.names, ", ")), table.concat(topic.certificate_names, " or "))
end

local function decode(text)
  local value, message = json.decode(text)
  if type(value) ~= "table" then
    return refuse("BadMessage", "not a JSON object%s", message and ": " .. tostring(message) or "")
  end
  return value
end

--- Was this message sent by Amazon SNS?
--
-- `message` is its decoded table, or its JSON text. `options`:
--   certificate  function(url) -> pem | nil, message, code: fetches SigningCertURL; called only
--                when everything that needs no certificate is in order
--   now          the time, in seconds since 1970 UTC
--   max_age      how old a message may be (default sns.MAX_AGE), in seconds
--   clock_skew   how far in the future its Timestamp may lie (default sns.CLOCK_SKEW)
--
-- true, or nil, message, code (see the head of this file). The order: form, URLs, age, then the
-- certificate and the signature, then the certificate's name and dates; so an altered message is
-- called that whatever else its alteration breaks, and only a well signed one can say that our
-- clock is behind.
function sns.verify(message, options)
  assert(type(options) == "table", "sns.verify: options must be a table")
  assert(type(options.now) == "number", "sns.verify: options.now must be a number of seconds")
  assert(options.certificate, "sns.verify: options.certificate must be a function")
  local text, code
  if type(message) == "string" then
    message, text, code = decode(message)
    if not message then return nil, text, code end
  end
  if type(message) ~= "table" then return refuse("BadMessage", "not a JSON object") end
  local topic, time
  topic, time, code = examine(message, options)
  if not topic then return nil, time, code end
  local pem
  pem, text, code = options.certificate(certificate_url(message))
  if type(pem) ~= "string" then
    return nil, text or "no certificate", code or "CertificateUnavailable"
  end
  local cert
  cert, text, code = prove(message, pem)
  if not cert then return nil, text, code end
  local ok
  ok, text, code = check_certificate(cert, topic, options.now)
  if not ok then return nil, text, code end
  if time - options.now > (options.clock_skew or sns.CLOCK_SKEW) then
    return refuse("ClockBehind", "Timestamp %s is in the future: is this host's clock right?",
      message.Timestamp)
  end
  return true
end

--- A caching certificate function for options.certificate, over `fetch(url) -> pem | nil, message,
-- code`: see lua/sns_certificates.lua for its options and limits.
function sns.certificates(fetch, options)
  return sns_certificates.new(fetch, options)
end

return sns
