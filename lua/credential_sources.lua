--- credential_sources: the places where keys to AWS can be found, in the SDKs' order.
--
-- Every source returns nil when it is not configured; else keys (with `source`), or
-- nil, message, code. Messages name variables, files and hosts, never their secrets.
local http = require "http"
local json = require "json"
local s3_call = require "s3_call"
local format_query = require("url").format_query

local aws_settings = require "aws_settings"

local sources = {}

local METADATA_SECONDS = 1
local METADATA_ATTEMPTS = 2
local CONTAINER_SECONDS = 2
local CONTAINER_ATTEMPTS = 3
local ANSWER_BYTES = 256 * 1024

local has_task, task = pcall(require, "task")

local function fail(message, ...)
  return nil, message:format(...), "NoCredentials"
end

local function text_of(value)
  if type(value) == "string" and value ~= "" then return value end
  return nil
end

-- Seconds since 1970 of "2026-11-22T12:00:00.25Z" or with "+00:00"; nil for anything else.
local function seconds_of(text)
  local y, mo, d, h, mi, s, rest = (text or ""):match(
    "^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)%.?%d*(.*)$")
  if not y or (rest ~= "Z" and rest ~= "+00:00") then return nil end
  y, mo = math.tointeger(y), math.tointeger(mo)
  if mo <= 2 then y, mo = y - 1, mo + 12 end
  local days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * (mo - 3) + 2) // 5 +
    math.tointeger(d) - 719469
  return days * 86400 + math.tointeger(h) * 3600 + math.tointeger(mi) * 60 + math.tointeger(s)
end
sources.seconds_of = seconds_of

local function pause(seconds)
  if has_task then task.sleep(seconds) end
end

-- A request to a service beside us: small, quick, repeated when it fails or answers 5xx.
local function ask(request, seconds, attempts)
  request.timeout, request.connect_timeout = seconds, seconds
  request.limit = ANSWER_BYTES
  local answer, message, code
  for attempt = 1, attempts do
    answer, message, code = http.request(request)
    if answer and answer.status < 500 then return answer end
    if attempt < attempts then pause(attempt == 1 and 0.1 or 1) end
  end
  if answer then return answer end
  return nil, message, code
end

-- The JSON that containers and instances answer with.
local function keys_of(body, source, where)
  local document = json.decode(body)
  if type(document) ~= "table" then return fail("%s does not answer with JSON", where) end
  if document.Code ~= nil and document.Code ~= json.null and document.Code ~= "Success" then
    return fail("%s has no credentials: %s", where, tostring(document.Code):gsub("[^%w%.]", "?"))
  end
  if not text_of(document.AccessKeyId) or not text_of(document.SecretAccessKey) then
    return fail("%s answers without keys", where)
  end
  return { access_key_id = document.AccessKeyId, secret_access_key = document.SecretAccessKey,
    session_token = text_of(document.Token), expires = seconds_of(text_of(document.Expiration)),
    source = source }
end

-- ---- environment and files ----

function sources.environment(settings, options)
  local env = settings.env
  local id = text_of(env "AWS_ACCESS_KEY_ID")
  if options.profile or not id then return nil end
  local secret = text_of(env "AWS_SECRET_ACCESS_KEY")
  if not secret then return fail("AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is not") end
  return { access_key_id = id, secret_access_key = secret, source = "environment",
    session_token = text_of(env "AWS_SESSION_TOKEN") or text_of(env "AWS_SECURITY_TOKEN") }
end

local UNSUPPORTED = { "role_arn", "sso_session", "sso_start_url", "credential_process",
  "login_session" }

function sources.profile(settings, options)
  local profile, name = settings.profile, settings.profile_name
  local id = text_of(profile.aws_access_key_id)
  if id then
    local secret = text_of(profile.aws_secret_access_key)
    if not secret then return fail("profile %s has no aws_secret_access_key", name) end
    return { access_key_id = id, secret_access_key = secret,
      session_token = text_of(profile.aws_session_token), source = "profile " .. name }
  end
  for _, key in ipairs(UNSUPPORTED) do
    if profile[key] then
      return fail("profile %s uses %s, which anomalyd does not know: give it keys, or use the " ..
        "environment, a container's or the instance's role", name, key)
    end
  end
  if (options.profile or text_of(settings.env "AWS_PROFILE")) and not settings.profile_found then
    return fail("there is no profile %s in the credentials and config files", name)
  end
  return nil
end

-- ---- web identity ----

local function sts_url(settings)
  local own = settings:endpoint "sts"
  if own then return own end
  local region = settings.region
  if not region then return "https://sts.amazonaws.com/" end
  return ("https://sts.%s.amazonaws.com%s/"):format(region, region:find("^cn%-") and ".cn" or "")
end

local function sts_keys(body)
  local found = {}
  for _, element in ipairs(s3_call.xml(body) or {}) do
    local name = element[1]:match("/Credentials/(%a+)$")
    if name then found[name] = element[2] end
  end
  if not text_of(found.AccessKeyId) or not text_of(found.SecretAccessKey) then
    return fail("STS answers without keys")
  end
  return { access_key_id = found.AccessKeyId, secret_access_key = found.SecretAccessKey,
    session_token = text_of(found.SessionToken), expires = seconds_of(found.Expiration),
    source = "web identity" }
end

local function sts_error(answer)
  for _, element in ipairs(s3_call.xml(answer.body) or {}) do
    if element[1]:find("Error/Code$") then return (element[2]:gsub("[^%w%.]", "?")) end
  end
  return "HTTP " .. answer.status
end

function sources.web_identity(settings)
  local env, profile = settings.env, settings.profile
  local path = text_of(env "AWS_WEB_IDENTITY_TOKEN_FILE") or
    text_of(profile.web_identity_token_file)
  if not path then return nil end
  local role = text_of(env "AWS_ROLE_ARN") or text_of(profile.role_arn)
  if not role then return fail("AWS_WEB_IDENTITY_TOKEN_FILE is set but AWS_ROLE_ARN is not") end
  local token = aws_settings.read_file(path)
  if not token then return fail("cannot read the web identity token file %s", path) end
  local answer, message, code = ask({ method = "POST", url = sts_url(settings),
    headers = { ["Content-Type"] = "application/x-www-form-urlencoded" },
    body = format_query { { "Action", "AssumeRoleWithWebIdentity" }, { "Version", "2011-06-15" },
      { "RoleArn", role }, { "WebIdentityToken", (token:gsub("%s+$", "")) },
      { "RoleSessionName", text_of(env "AWS_ROLE_SESSION_NAME") or
        text_of(profile.role_session_name) or "anomalyd" } } }, 5, 3)
  if not answer then return nil, "STS: " .. message, code end
  if answer.status ~= 200 then
    return fail("STS refuses the web identity for the role %s: %s", role, sts_error(answer))
  end
  return sts_keys(answer.body)
end

-- ---- container ----

local LOCAL_HOSTS = { localhost = true, ["169.254.170.2"] = true, ["169.254.170.23"] = true,
  ["[fd00:ec2::23]"] = true, ["[::1]"] = true }

local function container_url(env)
  local relative = text_of(env "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
  if relative then
    if relative:find("^/[^%s%c]*$") then return "http://169.254.170.2" .. relative end
    return fail("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with / and hold no blank")
  end
  local url = text_of(env "AWS_CONTAINER_CREDENTIALS_FULL_URI")
  if not url then return nil end
  local scheme, rest = url:match("^(https?)://([^%s%c]+)$")
  -- The whole authority must be a host and perhaps a port: a user name before it would hide it.
  local authority = rest and rest:match("^[^/?#]*"):gsub(":%d+$", "")
  local host = authority and (authority:match("^%[[%x:]+%]$") or authority:match("^[%w%.%-]+$"))
  if not host then return fail("AWS_CONTAINER_CREDENTIALS_FULL_URI is not a http or https URL") end
  if scheme == "http" and not LOCAL_HOSTS[host] and not host:find("^127%.%d+%.%d+%.%d+$") then
    return fail("AWS_CONTAINER_CREDENTIALS_FULL_URI: http is for the container's own host only")
  end
  return url
end

local function container_token(env)
  local path = text_of(env "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
  local token = not path and text_of(env "AWS_CONTAINER_AUTHORIZATION_TOKEN")
  if path then
    token = aws_settings.read_file(path)
    if not token then return fail("cannot read the container's token file %s", path) end
  end
  if token and token:find("[\r\n%c]") then
    return fail("the container's authorization token holds a line end or a control character")
  end
  return token or ""
end

function sources.container(settings)
  local url, message, code = container_url(settings.env)
  if not url then return nil, message, code end
  local token
  token, message, code = container_token(settings.env)
  if not token then return nil, message, code end
  local headers = { Accept = "application/json" }
  if token ~= "" then headers.Authorization = token end
  local answer
  answer, message, code = ask({ url = url, headers = headers, no_proxy = true },
    CONTAINER_SECONDS, CONTAINER_ATTEMPTS)
  if not answer then return nil, "container credentials: " .. message, code end
  if answer.status ~= 200 then
    return fail("the container's credential service answers HTTP %d", answer.status)
  end
  return keys_of(answer.body, "container", "the container's credential service")
end

-- ---- instance metadata, version 2 ----

local ROLE_PATH = "/latest/meta-data/iam/security-credentials/"

local function metadata_base(env)
  local base = text_of(env "AWS_EC2_METADATA_SERVICE_ENDPOINT")
  if base then return (base:gsub("/+$", "")) end
  if (env "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE" or ""):lower() == "ipv6" then
    return "http://[fd00:ec2::254]"
  end
  return "http://169.254.169.254"
end

local function metadata_limits(env)
  return tonumber(env "AWS_METADATA_SERVICE_TIMEOUT") or METADATA_SECONDS,
    math.tointeger(tonumber(env "AWS_METADATA_SERVICE_NUM_ATTEMPTS")) or METADATA_ATTEMPTS
end

local function metadata_token(base, seconds, attempts)
  local answer, message, code = ask({ method = "PUT", url = base .. "/latest/api/token",
    headers = { ["X-aws-ec2-metadata-token-ttl-seconds"] = "21600" }, no_proxy = true },
    seconds, attempts)
  if not answer and code == "Timeout" then
    return fail("the instance metadata service does not answer within %g s: this is no EC2 " ..
      "instance, or a container on one, whose instance then needs a metadata hop limit of 2",
      seconds)
  end
  if not answer then return nil, "instance metadata: " .. message, code end
  if answer.status ~= 200 then
    return fail("the instance metadata service refuses a token (HTTP %d)", answer.status)
  end
  local token = answer.body
  if token == "" or token:find("[%c\x7f]") then
    return fail("the instance metadata service hands out no token")
  end
  return token
end

-- A reader of paths that gets a new token when the old one is refused.
local function metadata_reader(env)
  local base = metadata_base(env)
  local seconds, attempts = metadata_limits(env)
  local token
  return function(path)
    for _ = 1, 2 do
      local message, code
      if not token then
        token, message, code = metadata_token(base, seconds, attempts)
        if not token then return nil, message, code end
      end
      local answer
      answer, message, code = ask({ url = base .. path, no_proxy = true,
        headers = { ["X-aws-ec2-metadata-token"] = token } }, seconds, attempts)
      if not answer then return nil, "instance metadata: " .. message, code end
      if answer.status ~= 401 then return answer end
      token = nil
    end
    return fail("the instance metadata service refuses its own token (HTTP 401)")
  end
end

local function metadata_disabled(env)
  return (env "AWS_EC2_METADATA_DISABLED" or ""):lower() == "true"
end

function sources.instance(settings)
  if metadata_disabled(settings.env) then return nil end
  local read = metadata_reader(settings.env)
  local answer, message, code = read(ROLE_PATH)
  if not answer then return nil, message, code end
  local role = answer.status == 200 and answer.body:match("^%s*([%w+=,.@_-]+)")
  if not role then
    return fail("the instance has no role (HTTP %d): attach an IAM role to it", answer.status)
  end
  answer, message, code = read(ROLE_PATH .. role)
  if not answer then return nil, message, code end
  if answer.status ~= 200 then
    return fail("the instance metadata service has no credentials for the role %s (HTTP %d)", role,
      answer.status)
  end
  return keys_of(answer.body, "instance metadata", "the instance metadata service")
end

--- The region of this instance, or nil.
function sources.instance_region(settings)
  if metadata_disabled(settings.env) then return nil end
  local answer = metadata_reader(settings.env)("/latest/meta-data/placement/region")
  if not answer or answer.status ~= 200 then return nil end
  return answer.body:match("^%s*([a-z0-9-]+)%s*$")
end

local ORDER = { "environment", "web_identity", "profile", "container", "instance" }

--- The keys of the first source that is configured, or nil, message, code.
function sources.find(settings, options)
  for _, name in ipairs(ORDER) do
    local keys, message, code = sources[name](settings, options)
    if keys then return keys end
    if message then return nil, message, code end
  end
  return fail("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or " ..
    "AWS_PROFILE, or give the instance or container a role")
end

return sources
