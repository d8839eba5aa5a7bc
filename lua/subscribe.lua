--- subscribe (kernel): ask SNS to send a topic's messages to this service (SNS API 2010-03-31,
-- action Subscribe, Query protocol).
--
-- SNS then posts a SubscriptionConfirmation to the endpoint, which the running service answers.
-- Asking again for the same topic and endpoint changes nothing.
local aws_settings = require("aws_settings")
local credentials = require("credentials")
local host = require("host")
local http = require("http")
local sigv4 = require("sigv4")
local task = require("task")
local url = require("url")

local subscribe = {}

local ATTEMPTS = 5
local LIMIT = 64 * 1024
local VERSION = "2010-03-31"

--- Check topic and endpoint. @return {topic, region, domain, protocol, endpoint}; or nil, message
function subscribe.plan(topic, endpoint)
  local partition, region = (topic or ""):match("^arn:(aws[%w-]*):sns:([%w-]+):%d+:[%w_-]+%.?%w*$")
  if not region then
    return nil, ("--topic %s: expected an ARN like arn:aws:sns:eu-central-1:111122223333:anomalyd")
      :format(topic or "is missing")
  end
  local protocol = (endpoint or ""):match("^(https?)://[^/%s]+[^%s]*$")
  if not protocol then
    return nil, ("--endpoint %s: expected a URL like http://203.0.113.7:8000/notify"):format(
      endpoint or "is missing")
  end
  return { topic = topic, region = region, protocol = protocol, endpoint = endpoint,
    domain = partition == "aws-cn" and "amazonaws.com.cn" or "amazonaws.com" }
end

local function unescape(text)
  return (text:gsub("&(%a+);", { lt = "<", gt = ">", amp = "&", quot = '"', apos = "'" }))
end

local function element(text, name)
  local inner = text:match("<" .. name .. ">(.-)</" .. name .. ">")
  return inner and unescape(inner)
end

local PASSING = { Throttling = true, ThrottlingException = true, Throttled = true,
  ThrottledException = true, RequestThrottled = true, InternalError = true,
  ServiceUnavailable = true }

--- One signed request. @return subscription's ARN; or nil, message, whether a second try may help
local function ask(plan, keys, settings)
  local base = settings:endpoint("sns") or ("https://sns.%s.%s"):format(plan.region, plan.domain)
  local body = url.format_query({ { "Action", "Subscribe" }, { "Version", VERSION },
    { "TopicArn", plan.topic }, { "Protocol", plan.protocol }, { "Endpoint", plan.endpoint },
    { "ReturnSubscriptionArn", "true" } })
  local signed = sigv4.sign({ method = "POST", path = "/", query = "", body = body,
    region = plan.region, service = "sns", access_key_id = keys.access_key_id,
    secret_access_key = keys.secret_access_key, session_token = keys.session_token,
    headers = { { "host", base:match("^https?://([^/]+)") },
      { "content-type", "application/x-www-form-urlencoded; charset=utf-8" } } })
  local answer, message = http.request({ method = "POST", url = base:gsub("/$", "") .. "/",
    headers = signed.headers, body = body, timeout = 20, limit = LIMIT,
    ca_file = settings.ca_file })
  if not answer then return nil, message, true end
  if answer.status == 200 then
    local arn = element(answer.body, "SubscriptionArn")
    if arn then return arn end
    return nil, "SNS answered without a SubscriptionArn", true
  end
  local code = element(answer.body, "Code")
  return nil, ("SNS answered %d %s: %s"):format(answer.status, code or "",
    element(answer.body, "Message") or "no message"), answer.status >= 500 or PASSING[code] or false
end

--- Subscribe, with a few attempts while the failure may pass.
-- @return the subscription's ARN ("pending confirmation" from older servers); or nil, message
function subscribe.ask(plan)
  local settings, provider = aws_settings.load(), credentials.chain()
  local message, again
  for attempt = 1, ATTEMPTS do
    local keys, why = provider:get()
    local arn
    if keys then arn, message, again = ask(plan, keys, settings)
    else message, again = why, false end
    if arn then return arn end
    if not again or attempt == ATTEMPTS then break end
    task.sleep(math.random() * math.min(2 ^ (attempt - 1), 10))
  end
  return nil, message
end

function subscribe.run(given, fail)
  local plan, message = subscribe.plan(given.topic, given.endpoint)
  if not plan then return fail(2, message) end
  local arn
  arn, message = subscribe.ask(plan)
  if not arn then return fail(1, ("cannot subscribe to %s: %s"):format(plan.topic, message)) end
  io.stdout:write(arn, "\n")
  host.exit(0)
end

return subscribe
