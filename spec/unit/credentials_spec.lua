-- credentials: the chain, every source against a scripted service, and keeping keys fresh.
local aws_settings = require "aws_settings"
local credentials = require "credentials"
local files = require "files"
local scripted = require "scripted"
local sources = require "credential_sources"

local answer = scripted.answer

local SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
local NOW = 1800000000

local function iso(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", seconds) end

-- os.getenv of a made-up environment without metadata service, unless it names one.
local function env_of(variables)
  return function(name)
    if name == "AWS_EC2_METADATA_DISABLED" and not variables.AWS_EC2_METADATA_SERVICE_ENDPOINT then
      return "true"
    end
    return variables[name]
  end
end

local function with_file(text, fn)
  local path = os.tmpname()
  files.write(path, text)
  local ok, problem = pcall(fn, path)
  os.remove(path)
  if not ok then error(problem, 0) end
end

local function chain(variables, options)
  options = options or {}
  options.env = env_of(variables)
  options.clock = options.clock or function() return NOW end
  return credentials.chain(options)
end

local function keys_json(more)
  local fields = { Code = "Success", AccessKeyId = "ASIA", SecretAccessKey = SECRET,
    Token = "token", Expiration = iso(NOW + 3600) }
  for name, value in pairs(more or {}) do fields[name] = value or nil end
  local parts = {}
  for name, value in pairs(fields) do
    if value then parts[#parts + 1] = ('"%s":"%s"'):format(name, value) end
  end
  return answer(200, { { "Content-Type", "application/json" } }, "{" ..
    table.concat(parts, ",") .. "}")
end

describe("the chain of credentials", function()
  it("takes the environment first", function()
    local provider = chain { AWS_ACCESS_KEY_ID = "AKIA", AWS_SECRET_ACCESS_KEY = SECRET,
      AWS_SESSION_TOKEN = "t" }
    assert.same({ access_key_id = "AKIA", secret_access_key = SECRET, session_token = "t" },
      provider:get())
    assert.same({ source = "environment" }, provider:describe())
    assert.equal("credentials (environment)", tostring(provider))
    local _, message, code = chain { AWS_ACCESS_KEY_ID = "AKIA" }:get()
    assert.equal("NoCredentials", code)
    assert.matches("AWS_SECRET_ACCESS_KEY is not", message)
  end)

  it("says what to set when there is nothing", function()
    local keys, message, code = chain {}:get()
    assert.is_nil(keys)
    assert.equal("NoCredentials", code)
    assert.matches("AWS_ACCESS_KEY_ID", message)
  end)

  it("reads profiles, the credentials file before the config file", function()
    with_file("[default]\naws_access_key_id = DEF\naws_secret_access_key=" .. SECRET ..
      "\n# note\n[work]\naws_access_key_id=WORK\naws_secret_access_key = a=b/c+d  \n" ..
      "aws_session_token = tok\n[half]\naws_access_key_id = H\n", function(shared)
      with_file("[default]\nregion = eu-west-1\naws_access_key_id = OTHER\n" ..
        "[profile work]\r\nregion = eu-west-2 ; note\r\nendpoint_url = http://all\r\n" ..
        "services = mine\r\n[profile assumed]\nrole_arn = arn:x\nsource_profile = work\n" ..
        "[services mine]\ns3 =\n  endpoint_url = http://s3.own\n" ..
        "sts =\n  endpoint_url = http://sts\n",
        function(config)
          local variables = { AWS_SHARED_CREDENTIALS_FILE = shared, AWS_CONFIG_FILE = config }
          local function with(more)
            local all = {}
            for k, v in pairs(variables) do all[k] = v end
            for k, v in pairs(more) do all[k] = v end
            return all
          end
          assert.equal("DEF", chain(variables):get().access_key_id)
          local work = chain(with { AWS_PROFILE = "work" })
          assert.same({ access_key_id = "WORK", secret_access_key = "a=b/c+d",
            session_token = "tok" }, work:get())
          assert.equal("profile work", work:describe().source)
          local named = with { AWS_ACCESS_KEY_ID = "ENV", AWS_SECRET_ACCESS_KEY = SECRET }
          assert.equal("ENV", chain(named):get().access_key_id)
          assert.equal("WORK", chain(named, { profile = "work" }):get().access_key_id)
          for profile, pattern in pairs { half = "has no aws_secret_access_key",
            assumed = "uses role_arn", missing = "no profile missing" } do
            local _, message, code = chain(with { AWS_PROFILE = profile }):get()
            assert.equal("NoCredentials", code)
            assert.matches(pattern, message)
          end
          local settings = aws_settings.load { env = env_of(with { AWS_PROFILE = "work" }) }
          assert.equal("eu-west-2", settings.region)
          assert.equal("http://s3.own", settings:endpoint("s3"))
          assert.equal("http://sts", settings:endpoint("sts"))
          assert.equal("http://all", settings:endpoint("sqs"))
        end)
    end)
  end)

  it("stops at a container that is configured but fails", function()
    with_file("[default]\nregion = x-1\n", function(config)
      local server <close> = scripted.start { answer(403, {}, SECRET) }
      local _, message, code = chain { AWS_CONFIG_FILE = config,
        AWS_CONTAINER_CREDENTIALS_FULL_URI = server.url .. "/c",
        AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:1" }:get()
      assert.equal("NoCredentials", code)
      assert.equal("the container's credential service answers HTTP 403", message)
    end)
  end)
end)

describe("settings of AWS", function()
  it("come from the environment", function()
    local function load(variables) return aws_settings.load { env = env_of(variables) } end
    assert.equal("a-1", load { AWS_REGION = "a-1", AWS_DEFAULT_REGION = "b-1" }.region)
    assert.equal("b-1", load { AWS_REGION = "", AWS_DEFAULT_REGION = "b-1" }.region)
    assert.is_nil(load {}.region)
    local both = { AWS_ENDPOINT_URL = "http://all", AWS_ENDPOINT_URL_S3 = "http://s3" }
    assert.equal("http://s3", load(both):endpoint("s3"))
    assert.equal("http://all", load(both):endpoint("sts"))
    both.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "TRUE"
    assert.is_nil(load(both):endpoint("s3"))
    assert.equal(5, load { AWS_MAX_ATTEMPTS = "5" }.attempts)
    assert.equal("/ca.pem", load { AWS_CA_BUNDLE = "/ca.pem" }.ca_file)
  end)

  it("are parsed without trusting them", function()
    assert.same({}, aws_settings.parse "")
    assert.same({}, aws_settings.parse "a = 1\n]\n[\n= 2\n")
    assert.same({ a = { b = "1", c = {} } }, aws_settings.parse "[ a ]\nb = 1\nnothing\nc =\n")
    assert.same({ a = { b = "x#y" } }, aws_settings.parse "[a]\nb = x#y # note")
    assert.is_table(aws_settings.parse(("[a]\n"):rep(1000) .. ("x"):rep(100000)))
  end)
end)

describe("container credentials", function()
  it("come from the URI, with the token of the file", function()
    with_file("first", function(token_file)
      local server <close> = scripted.start { keys_json { Code = false } }
      local now = NOW
      local provider = chain({ AWS_CONTAINER_CREDENTIALS_FULL_URI = server.url .. "/v2/c?id=1",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = token_file,
        AWS_CONTAINER_AUTHORIZATION_TOKEN = "not this" }, { clock = function() return now end })
      assert.same({ access_key_id = "ASIA", secret_access_key = SECRET, session_token = "token",
        expires = NOW + 3600 }, provider:get())
      assert.same({ source = "container", expires = NOW + 3600 }, provider:describe())
      files.write(token_file, "second")
      now = NOW + 3599
      assert(provider:get())
      local requests = server:requests()
      assert.equal(2, #requests)
      assert.equal("/v2/c?id=1", requests[1].target)
      assert.equal("first", requests[1].headers.authorization)
      assert.equal("second", requests[2].headers.authorization)
    end)
  end)

  it("are asked for again after a failure", function()
    local server <close> = scripted.start { answer(500), scripted.raw("", "close"), keys_json() }
    assert(chain { AWS_CONTAINER_CREDENTIALS_FULL_URI = server.url .. "/" }:get())
    assert.equal(3, #server:requests())
  end)

  it("are refused where they would leak", function()
    local function message_of(variables)
      local keys, message, code = chain(variables):get()
      assert.is_nil(keys)
      assert.equal("NoCredentials", code)
      return message
    end
    for _, url in ipairs { "http://example.org/c", "http://127.0.0.1.example.org/",
      "http://localhost@example.org/",
      "http://localhost:80@example.org/", "http://localhost\\@example.org/",
      "ftp://localhost/", "x" } do
      assert.matches("AWS_CONTAINER_CREDENTIALS_FULL_URI",
        message_of { AWS_CONTAINER_CREDENTIALS_FULL_URI = url })
    end
    assert.matches("must begin with /",
      message_of { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "@example.org/" })
    assert.matches("line end", message_of {
      AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://localhost/",
      AWS_CONTAINER_AUTHORIZATION_TOKEN = "a\r\nX: y" })
    assert.matches("cannot read", message_of {
      AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://localhost/",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "/nonexistent/token" })
  end)
end)

describe("instance credentials", function()
  local token, role = answer(200, {}, "metadata-token"), answer(200, {}, "my-role\nother")

  local function instance(server, options)
    return chain({ AWS_EC2_METADATA_SERVICE_ENDPOINT = server.url .. "/" }, options)
  end

  it("come by token and role", function()
    local server <close> = scripted.start { token, role, keys_json() }
    local provider = instance(server)
    assert.equal("ASIA", assert(provider:get()).access_key_id)
    assert.equal("instance metadata", provider:describe().source)
    local requests = server:requests()
    assert.equal("PUT", requests[1].method)
    assert.equal("/latest/api/token", requests[1].target)
    assert.equal("21600", requests[1].headers["x-aws-ec2-metadata-token-ttl-seconds"])
    assert.equal("/latest/meta-data/iam/security-credentials/", requests[2].target)
    assert.equal("metadata-token", requests[2].headers["x-aws-ec2-metadata-token"])
    assert.equal("/latest/meta-data/iam/security-credentials/my-role", requests[3].target)
  end)

  it("get a new token when the old one is refused", function()
    local server <close> = scripted.start { token, answer(401), token, role, keys_json() }
    assert(instance(server):get())
    local refusing <close> = scripted.start { token, answer(401), token, answer(401) }
    assert.matches("refuses its own token", select(2, instance(refusing):get()))
  end)

  it("say why there are none", function()
    local function message_of(answers, variables)
      local server <close> = scripted.start(answers)
      local all = { AWS_EC2_METADATA_SERVICE_ENDPOINT = server.url,
        AWS_METADATA_SERVICE_TIMEOUT = "0.1" }
      for k, v in pairs(variables or {}) do all[k] = v end
      local keys, message = chain(all):get()
      assert.is_nil(keys)
      assert.is_nil(message:find(SECRET, 1, true))
      return message
    end
    assert.matches("refuses a token %(HTTP 403%)", message_of { answer(403) })
    assert.matches("hop limit of 2", message_of { scripted.raw("", "stall") })
    assert.matches("no role %(HTTP 404%)", message_of { token, answer(404) })
    assert.matches("for the role my%-role %(HTTP 500%)", message_of { token, role, answer(500) })
    assert.matches("no credentials: AssumeRoleUnauthorizedAccess",
      message_of { token, role, keys_json { Code = "AssumeRoleUnauthorizedAccess" } })
    assert.matches("does not answer with JSON",
      message_of { token, role, answer(200, {}, "<html>") })
    assert.matches("answers without keys", message_of { token, role, answer(200, {}, "[]") })
    assert.matches("hands out no token", message_of { answer(200, {}, "a\nb") })
  end)

  it("tell the region of the instance", function()
    local server <close> = scripted.start { token, role, keys_json(), token,
      answer(200, {}, "eu-north-1\n") }
    local provider = instance(server)
    assert.is_nil(provider:region())
    assert(provider:get())
    assert.equal("eu-north-1", provider:region())
  end)
end)

describe("web identity", function()
  local document = "<AssumeRoleWithWebIdentityResponse xmlns='https://sts.amazonaws.com/doc/'>" ..
    "<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>st</SessionToken>" ..
    "<SecretAccessKey>" .. SECRET .. "</SecretAccessKey><Expiration>" ..
    os.date("!%Y-%m-%dT%H:%M:%S.123Z", NOW + 900) .. "</Expiration><AccessKeyId>ASIAW" ..
    "</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>" ..
    "</AssumeRoleWithWebIdentityResponse>"

  it("is exchanged at STS", function()
    with_file("jwt.a+b/c\n", function(path)
      local server <close> = scripted.start { answer(200, {}, document) }
      local provider = chain { AWS_WEB_IDENTITY_TOKEN_FILE = path,
        AWS_ROLE_ARN = "arn:aws:iam::1:role/r", AWS_ENDPOINT_URL_STS = server.url }
      assert.same({ access_key_id = "ASIAW", secret_access_key = SECRET, session_token = "st",
        expires = NOW + 900 }, provider:get())
      assert.equal("web identity", provider:describe().source)
      local request = server:requests()[1]
      assert.equal("POST", request.method)
      assert.equal("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam" ..
        "%3A%3A1%3Arole%2Fr&WebIdentityToken=jwt.a%2Bb%2Fc&RoleSessionName=anomalyd", request.body)
      assert.is_nil(request.headers.authorization)
    end)
  end)

  it("may be refused", function()
    with_file("jwt-secret", function(path)
      local server <close> = scripted.start { answer(400, {}, "<ErrorResponse><Error>" ..
        "<Code>InvalidIdentityToken</Code><Message>jwt-secret</Message></Error></ErrorResponse>") }
      local _, message = chain { AWS_WEB_IDENTITY_TOKEN_FILE = path, AWS_ROLE_ARN = "r",
        AWS_ENDPOINT_URL_STS = server.url }:get()
      assert.matches("InvalidIdentityToken$", message)
      assert.is_nil(message:find("jwt%-secret"))
      assert.matches("AWS_ROLE_ARN is not",
        select(2, chain { AWS_WEB_IDENTITY_TOKEN_FILE = path }:get()))
      assert.matches("cannot read", select(2, chain { AWS_WEB_IDENTITY_TOKEN_FILE = path .. "x",
        AWS_ROLE_ARN = "r" }:get()))
    end)
  end)
end)

describe("a provider", function()
  -- A source that hands out numbered keys for an hour, and fails when told to.
  local function numbered()
    local self = { now = NOW, asked = 0, life = 3600 }
    self.provider = credentials.from(function()
      self.asked = self.asked + 1
      if self.broken then return nil, "out of order", "NoCredentials" end
      return { access_key_id = "A", secret_access_key = SECRET,
        session_token = tostring(self.asked), expires = self.now + self.life }
    end, { clock = function() return self.now end })
    function self.token()
      local keys, message, code = self.provider:get()
      return keys and keys.session_token, message, code
    end
    return self
  end

  -- In the host a renewal may run beside us.
  local function eventually(fn)
    local has_task, task = pcall(require, "task")
    for _ = 1, 100 do
      if fn() or not has_task then break end
      task.sleep(0.01)
    end
    assert.is_true(fn())
  end

  it("asks again only when it is time", function()
    local source = numbered()
    assert.equal("1", source.token())
    source.now = NOW + 3600 - 901
    assert.equal("1", source.token())
    assert.equal(1, source.asked)
    source.now = NOW + 3600 - 899
    eventually(function() return source.token() == "2" end)
    assert.equal(2, source.asked)
  end)

  it("keeps the old keys while they hold, and does not storm the source", function()
    local source = numbered()
    assert.equal("1", source.token())
    source.broken = true
    source.now = NOW + 3600 - 60
    assert.equal("1", source.token())
    assert.equal("1", source.token())
    assert.equal(2, source.asked)
    assert.equal("out of order", source.provider:describe().message)
    source.now = source.now + 31
    assert.equal("1", source.token())
    assert.equal(3, source.asked)
    source.now = NOW + 3601
    local token, message, code = source.token()
    assert.is_nil(token)
    assert.equal("out of order", message)
    assert.equal("NoCredentials", code)
    source.broken, source.now = false, source.now + 31
    assert.equal("5", source.token())
    assert.is_nil(source.provider:describe().message)
  end)

  it("goes on with expired keys that the source still hands out", function()
    local source = numbered()
    source.life = -60
    assert.equal("1", source.token())
    source.now = NOW + 600
    assert.equal("1", source.token())
    source.now = NOW + 1300
    assert.equal("2", source.token())
    assert.equal(2, source.asked)
  end)

  it("renews what the server refused", function()
    local source = numbered()
    local first = source.provider:get()
    local second = assert(source.provider:renew(first))
    assert.equal("2", second.session_token)
    assert.equal("2", source.provider:renew(first).session_token)
    assert.equal(2, source.asked)
    local same = credentials.from(function()
      return { access_key_id = "A", secret_access_key = "S", session_token = "T" }
    end)
    assert.equal("ExpiredToken", select(3, same:renew(same:get())))
    local fixed = credentials.static { access_key_id = "A", secret_access_key = "S" }
    assert.equal("NoCredentials", select(3, fixed:renew(fixed:get())))
  end)

  it("does not believe a source that raises or talks nonsense", function()
    local function from(fn) return credentials.from(fn):get() end
    local keys, message, code = from(function() error("secret " .. SECRET) end)
    assert.is_nil(keys)
    assert.is_nil(message:find(SECRET, 1, true))
    assert.equal("NoCredentials", code)
    for _, value in ipairs { {}, "text", { access_key_id = "A" }, { access_key_id = "A\r\n",
      secret_access_key = "S" }, { access_key_id = 1, secret_access_key = 2 },
      { access_key_id = "A", secret_access_key = "S", session_token = "a\nb" } } do
      assert.equal("NoCredentials", select(3, from(function() return value end)))
    end
    assert.error_matches(function() credentials.static {} end, "incomplete")
  end)

  it("is asked by many, but asks once", function()
    local has_task, task = pcall(require, "task")
    if not has_task then return pending("only the host has tasks") end
    local asked, failing = 0, false
    local provider = credentials.from(function()
      asked = asked + 1
      task.sleep(0.05)
      if failing then return nil, "out of order", "NoCredentials" end
      return { access_key_id = "A", secret_access_key = SECRET, session_token = "t" .. asked,
        expires = NOW + 3600 }
    end, { clock = function() return NOW end })
    local function all(fn)
      local results, left, done = {}, 8, task.signal()
      for i = 1, 8 do
        task.spawn(function()
          local keys, _, code = fn()
          results[i] = keys and keys.session_token or code
          left = left - 1
          done:fire()
        end)
      end
      while left > 0 do done:wait(1) end
      return results
    end
    local function same(value) return { value, value, value, value, value, value, value, value } end
    assert.same(same "t1", all(function() return provider:get() end))
    assert.equal(1, asked)
    local stale = provider:get()
    assert.same(same "t2", all(function() return provider:renew(stale) end))
    assert.equal(2, asked)
    failing, stale = true, provider:get()
    assert.same(same "NoCredentials", all(function() return provider:renew(stale) end))
    assert.equal(3, asked)
  end)

  it("shows nothing secret", function()
    local source = numbered()
    source.token()
    local function look(value, seen)
      if seen[value] then return end
      seen[value] = true
      for name, inner in pairs(value) do
        assert.not_equal(SECRET, inner, tostring(name))
        if type(inner) == "table" then look(inner, seen) end
      end
    end
    look(source.provider, {})
    look(source.provider:describe(), {})
    assert.is_nil(tostring(source.provider):find(SECRET, 1, true))
  end)
end)

describe("expiry times", function()
  it("are read as ISO 8601 in UTC", function()
    assert.equal(1795349659, sources.seconds_of "2026-11-22T12:14:19Z")
    assert.equal(1795349659, sources.seconds_of "2026-11-22T12:14:19.999999+00:00")
    assert.equal(951782400, sources.seconds_of "2000-02-29T00:00:00Z")
    for _, text in ipairs { "", "tomorrow", "2026-11-22", "2026-11-22T12:14:19+02:00" } do
      assert.is_nil(sources.seconds_of(text))
    end
  end)
end)
