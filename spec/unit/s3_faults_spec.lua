-- s3: what the client does when the server fails, is elsewhere, or has another clock.
local credentials = require "credentials"
local digest = require "digest"
local s3 = require "s3"
local scripted = require "scripted"
local scripted_s3 = require "scripted_s3"
local signature = require "signature"

local answer, refuse, against = scripted.answer, scripted.error, scripted_s3.against
local client_of, keys, object = scripted_s3.client, scripted_s3.keys, scripted_s3.object
local ID, SECRET, TOKEN = scripted_s3.ID, scripted_s3.SECRET, scripted_s3.TOKEN
local OK_PUT, http_date = scripted_s3.OK_PUT, scripted_s3.http_date

describe("an S3 client's retries", function()
  it("repeat what the SDKs repeat, three attempts in all", function()
    local again = { refuse(500, "InternalError"), refuse(503, "SlowDown"),
      refuse(503, "ServiceUnavailable"), answer(502, {}, "<html>"), answer(504), answer(429),
      refuse(400, "RequestTimeout"), refuse(400, "ThrottlingException"),
      refuse(400, "BandwidthLimitExceeded"), refuse(409, "ConditionalRequestConflict") }
    for _, fault in ipairs(again) do
      against({ fault, fault, object("x") }, function(client, server)
        assert.equal("x", assert(client:get("k")).body)
        assert.equal(3, #server:requests())
        assert.equal(2, client:info().retries)
      end)
      against({ fault }, function(client, server)
        local _, message = client:get("k")
        assert.matches("in 3 attempts", message)
        assert.equal(3, #server:requests())
      end)
    end
  end)

  it("do not repeat what will not change", function()
    for _, fault in ipairs { refuse(400, "BadDigest"), refuse(403, "SignatureDoesNotMatch"),
      refuse(412, "PreconditionFailed"), refuse(501, "NotImplemented"),
      refuse(409, "OperationAborted") } do
      against({ fault }, function(client, server)
        assert.is_nil(client:get("k"))
        assert.equal(1, #server:requests())
      end)
    end
  end)

  it("follow a lost, cut or stalled answer", function()
    local md5 = { { "ETag", '"' .. digest.md5("0123456789") .. '"' } }
    local faults = { scripted.raw("", "close"), answer(200, md5, "0123456789", { cut = 4 }),
      scripted.raw("HTTP/1.1 200 OK\r\nContent-Le", "close"),
      answer(200, md5, "0123456789", { length = 10, cut = 9, how = "stall" }),
      answer(200, md5, "012345678X"), answer(200, md5, "01234", { length = false, how = "close" }) }
    for _, fault in ipairs(faults) do
      against({ fault, answer(200, md5, "0123456789") }, function(client, server)
        assert.equal("0123456789", assert(client:get("k")).body)
        assert.equal(2, #server:requests())
      end, { stall_timeout = 2 })
    end
  end)

  it("say what was wrong in the end", function()
    local function code_of(fault, options)
      local code, message
      against({ fault }, function(client)
        local _
        _, message, code = client:get("k")
      end, options)
      return code, message
    end
    assert.equal("Cut", code_of(answer(200, {}, "0123456789", { cut = 4 })))
    local another = { { "ETag", '"' .. ("0"):rep(32) .. '"' } }
    assert.equal("BadDigest", code_of(answer(200, another, "x")))
    local code, message = code_of(scripted.raw("HTTP/1.1 200 OK\r\n", "stall"),
      { attempts = 1, stall_timeout = 1 })
    assert.equal("Timeout", code)
    assert.matches("nothing moved for 1 s", message)
    code, message = code_of(scripted.raw("", "stall"), { attempts = 1, timeout = 0.2 })
    assert.equal("Timeout", code)
    assert.matches("within 0.2 s", message)
  end)

  it("believe the ETag only where it is the MD5", function()
    for _, headers in ipairs {
      { { "ETag", '"' .. ("0"):rep(32) .. '-2"' } }, { { "ETag", '"opaque"' } }, {},
      { { "ETag", '"' .. ("0"):rep(32) .. '"' }, { "x-amz-server-side-encryption", "aws:kms" } },
      { { "ETag", '"' .. ("0"):rep(32) .. '"' },
        { "x-amz-server-side-encryption-customer-algorithm", "AES256" } } } do
      against({ answer(200, headers, "x") }, function(client, server)
        assert.equal("x", client:get("k").body)
        assert.equal(1, #server:requests())
      end)
    end
  end)

  it("check a SHA-256 that the server sends", function()
    local sum = digest.base64(digest.sha256("x", "raw"))
    against({ answer(200, { { "x-amz-checksum-sha256", sum } }, "y"),
      answer(200, { { "x-amz-checksum-sha256", sum } }, "x"), OK_PUT }, function(client, server)
      assert.equal("x", client:get("k").body)
      assert.equal("ENABLED", server:requests()[1].headers["x-amz-checksum-mode"])
      assert(client:put("k", "x"))
      assert.equal(sum, server:requests()[3].headers["x-amz-checksum-sha256"])
    end, { checksum = true })
  end)

  it("stop when the quota is spent, and earn it back", function()
    against({ refuse(500, "InternalError") }, function(client, server)
      for _ = 1, 50 do assert.is_nil(client:get("k")) end
      assert.equal(0, client:info().retry_tokens)
      assert.equal(150, #server:requests())
      assert.is_nil(client:get("k"))
      assert.equal(151, #server:requests())
      for _ = 1, 8 do server:add(object("x")) end
    end, { backoff = 0.0001 })
    against({ refuse(500, "InternalError"), object("x"), object("x") }, function(client)
      assert(client:get("k"))
      assert.equal(500, client:info().retry_tokens)
      assert(client:get("k"))
      assert.equal(500, client:info().retry_tokens)
    end)
  end)

  it("wait a random, growing time", function()
    against({ refuse(500, "InternalError") }, function(client)
      local clock = os.time()
      for _ = 1, 3 do client:get("k") end
      assert.is_true(os.time() - clock <= 3)
    end, { backoff = 0.2 })
  end)
end)

-- Calls that wait for their answers at the same time; only the host can have them.
local function side_by_side(count, fn)
  local task = require "task"
  local left, done, results = count, task.signal(), {}
  for i = 1, count do
    task.spawn(function()
      results[i] = table.pack(pcall(fn, i))
      left = left - 1
      done:fire()
    end)
  end
  while left > 0 do done:wait(1) end
  for i = 1, count do assert(results[i][1], results[i][2]) end
end

describe("an S3 client's calls that run side by side", function()
  -- Three calls at a time, in rounds: nobody is answered before all three have asked.
  local function in_rounds(rounds, fn)
    local answers = {}
    for _, bytes in ipairs(rounds) do
      for i = 1, 3 do
        answers[#answers + 1] = { bytes = bytes.bytes, how = i < 3 and "hold" or "send" }
      end
    end
    against(answers, function(client, server)
      side_by_side(3, function() fn(client) end)
      assert.equal(#answers, #server:requests())
    end)
  end

  it("are all corrected when region, clock or ETag form turn out to be wrong", function()
    if not pcall(require, "task") then return pending("only the host has tasks") end
    local region = refuse(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")
    in_rounds({ region, object("x") }, function(client) assert(client:get("k")) end)
    local ahead = { { "Date", http_date(os.time() + 7200) } }
    in_rounds({ refuse(403, "RequestTimeTooSkewed", "", ahead), object("x") },
      function(client) assert(client:get("k")) end)
    local etag = ("ab"):rep(16)
    in_rounds({ refuse(412, "PreconditionFailed"), answer(200, { { "ETag", '"' .. etag .. '"' } }),
      OK_PUT }, function(client) assert(client:put("k", "x", { if_match = etag })) end)
  end)
end)

describe("an S3 client's place", function()
  local function wrong_region(headers, more)
    return refuse(400, "AuthorizationHeaderMalformed", more, headers)
  end

  it("is corrected once when the region is wrong, and remembered", function()
    local ways = { wrong_region({}, "<Region>eu-west-1</Region>"),
      wrong_region { { "x-amz-bucket-region", "eu-west-1" } },
      refuse(301, "PermanentRedirect", "<Endpoint>bucket.s3.eu-west-1.amazonaws.com</Endpoint>"),
      refuse(307, "TemporaryRedirect", "<Endpoint>bucket.s3-eu-west-1.amazonaws.com</Endpoint>"),
      answer(301, { { "x-amz-bucket-region", "eu-west-1" } }) }
    for _, way in ipairs(ways) do
      against({ way, object("x"), object("y") }, function(client, server)
        assert.equal("x", client:get("k").body)
        assert.equal("y", client:get("k").body)
        local requests = server:requests()
        assert.equal(3, #requests)
        assert.matches("/us%-east%-1/s3/", requests[1].headers.authorization)
        assert.matches("/eu%-west%-1/s3/", requests[2].headers.authorization)
        assert.matches("/eu%-west%-1/s3/", requests[3].headers.authorization)
        assert.equal("eu-west-1", client:info().region)
        assert.equal(0, client:info().retries)
      end)
    end
  end)

  it("is not corrected twice, nor to nonsense", function()
    against({ wrong_region({}, "<Region>eu-west-1</Region>"),
      wrong_region({}, "<Region>eu-west-2</Region>") }, function(client, server)
      assert.equal("AuthorizationHeaderMalformed", select(3, client:get("k")))
      assert.equal(2, #server:requests())
    end)
    for _, region in ipairs { "us-east-1", "evil.example/x", "-a", "A", "" } do
      against({ wrong_region({}, "<Region>" .. region .. "</Region>") }, function(client, server)
        assert.is_nil(client:get("k"))
        assert.equal(1, #server:requests())
      end)
    end
  end)

  it("is asked for when a HEAD fails without a word", function()
    against({ answer(400), answer(400, { { "x-amz-bucket-region", "eu-west-1" } }),
      answer(200, { { "ETag", '"e"' }, { "Content-Length", "7" } }, "", { length = false }) },
      function(client, server)
        assert.equal("e", assert(client:head("a/b")).etag)
        local requests = server:requests()
        assert.equal("/bucket/a/b", requests[1].path)
        assert.equal("HEAD", requests[2].method)
        assert.equal("/bucket", requests[2].path)
        assert.equal("/bucket/a/b", requests[3].path)
      end)
    against({ answer(400) }, function(client, server)
      assert.equal("BadRequest", select(3, client:head("k")))
      assert.equal(2, #server:requests())
    end)
  end)

  it("has host and path as AWS wants them", function()
    local function info(options)
      options.credentials = keys()
      return assert(s3.client(options)):info()
    end
    local bucket = "data-lake"
    assert.equal("data-lake.s3.eu-central-1.amazonaws.com",
      info { bucket = bucket, region = "eu-central-1" }.host)
    assert.equal("data-lake.s3.cn-north-1.amazonaws.com.cn",
      info { bucket = bucket, region = "cn-north-1" }.host)
    assert.equal("data-lake.s3.us-gov-west-1.amazonaws.com",
      info { bucket = bucket, region = "us-gov-west-1" }.host)
    local dotted = info { bucket = "logs.example.org", region = "eu-central-1" }
    assert.equal("s3.eu-central-1.amazonaws.com", dotted.host)
    assert.equal("path", dotted.style)
    assert.equal("minio:9000", info { bucket = bucket, endpoint = "http://minio:9000/" }.host)
    assert.equal("minio", info { bucket = bucket, endpoint = "http://minio:80" }.host)
    assert.equal("data-lake.minio", info { bucket = bucket, endpoint = "https://minio:443",
      style = "virtual" }.host)
  end)

  it("may lie below a path of the endpoint", function()
    local server <close> = scripted.start { object("x") }
    local client = client_of(server, { endpoint = server.url .. "/storage/s3/" })
    assert(client:get("k"))
    assert.equal("/storage/s3/bucket/k", server:requests()[1].path)
    assert.is_true(signature.verify(server:requests()[1], SECRET, "us-east-1"))
  end)
end)

describe("an S3 client's clock", function()
  it("follows the server's when it is off, once", function()
    local ahead = os.time() + 7200
    local skew = refuse(403, "RequestTimeTooSkewed", "", { { "Date", http_date(ahead) } })
    against({ skew, object("x"), object("x") }, function(client, server)
      assert(client:get("k"))
      assert(client:get("k"))
      local requests = server:requests()
      assert.equal(3, #requests)
      for i = 2, 3 do
        local stamp = requests[i].headers["x-amz-date"]
        assert.is_true(stamp >= os.date("!%Y%m%dT%H%M%SZ", ahead - 5))
        assert.is_true(stamp <= os.date("!%Y%m%dT%H%M%SZ", ahead + 30))
      end
      assert.is_true(math.abs(client:info().clock_offset - 7200) < 30)
    end)
    against({ skew }, function(client, server)
      assert.equal("RequestTimeTooSkewed", select(3, client:get("k")))
      assert.equal(2, #server:requests())
    end)
  end)

  it("is seen in a HEAD's bare 403, but not in every 403", function()
    local behind = { { "Date", http_date(os.time() - 3600) } }
    against({ answer(403, behind), answer(200, { { "ETag", '"e"' } }) }, function(client, server)
      assert(client:head("k"))
      assert.equal(2, #server:requests())
    end)
    for _, fault in ipairs { refuse(403, "AccessDenied", "", behind),
      refuse(403, "RequestTimeTooSkewed", "", { { "Date", http_date(os.time() + 5) } }),
      refuse(403, "RequestTimeTooSkewed", "", { { "Date", "yesterday" } }) } do
      against({ fault }, function(client, server)
        assert.is_nil(client:get("k"))
        assert.equal(1, #server:requests())
      end)
    end
  end)
end)

describe("an S3 client's conditional put", function()
  local etag = ("ab"):rep(16)
  local failed = refuse(412, "PreconditionFailed")
  local function there(found, headers)
    local all = { { "ETag", '"' .. found .. '"' } }
    for _, pair in ipairs(headers or {}) do all[#all + 1] = pair end
    return answer(200, all)
  end

  it("tries the bare ETag when the object has the very ETag, and remembers", function()
    against({ failed, there(etag), OK_PUT, OK_PUT }, function(client, server)
      assert(client:put("k", "x", { if_match = etag }))
      assert(client:put("k", "x", { if_match = '"' .. etag .. '"' }))
      local requests = server:requests()
      assert.equal('"' .. etag .. '"', requests[1].headers["if-match"])
      assert.equal("HEAD", requests[2].method)
      assert.is_nil(requests[2].headers["if-match"])
      assert.equal(etag, requests[3].headers["if-match"])
      assert.equal(etag, requests[4].headers["if-match"])
    end)
  end)

  it("is a conflict when the object is another", function()
    for _, found in ipairs { there(("cd"):rep(16)), answer(404), answer(403) } do
      against({ failed, found }, function(client, server)
        assert.equal("PreconditionFailed", select(3, client:put("k", "x", { if_match = etag })))
        assert.equal(2, #server:requests())
      end)
    end
    against({ failed, there(etag), failed }, function(client, server)
      assert.equal("PreconditionFailed", select(3, client:put("k", "x", { if_match = etag })))
      assert.equal(3, #server:requests())
    end)
  end)

  it("asks no more once the quoted form has worked", function()
    against({ OK_PUT, failed }, function(client, server)
      assert(client:put("k", "x", { if_match = etag }))
      assert.equal("PreconditionFailed", select(3, client:put("k", "x", { if_match = etag })))
      assert.equal(2, #server:requests())
    end)
    against({ failed }, function(client, server)
      assert.equal("PreconditionFailed", select(3, client:put("k", "x", { if_none_match = "*" })))
      assert.equal(1, #server:requests())
    end)
  end)

  it("knows its own write again when the answer was lost", function()
    local mine = there(digest.md5("new"), { { "x-amz-meta-ledger", "7" } })
    local options = { if_match = etag, metadata = { ledger = "7" } }
    against({ scripted.raw("", "close"), failed, mine }, function(client, server)
      assert.same({ etag = digest.md5("new") }, client:put("k", "new", options))
      assert.equal(3, #server:requests())
    end)
    against({ refuse(500, "InternalError"), failed, mine }, function(client)
      assert(client:put("k", "new", { if_none_match = "*", metadata = { ledger = "7" } }))
    end)
    against({ failed, mine }, function(client)
      assert.equal("PreconditionFailed", select(3, client:put("k", "new", options)))
    end)
    local other = there(digest.md5("new"), { { "x-amz-meta-ledger", "8" } })
    against({ scripted.raw("", "close"), failed, other }, function(client)
      assert.equal("PreconditionFailed", select(3, client:put("k", "new", options)))
    end)
  end)
end)

describe("an S3 client's credentials", function()
  it("are renewed once when the server calls them stale", function()
    local asked = 0
    local function provider()
      asked = asked + 1
      return { access_key_id = ID, secret_access_key = SECRET, session_token = "token " .. asked,
        expires = os.time() + 3600 }
    end
    against({ refuse(400, "ExpiredToken"), object("x") }, function(client, server)
      assert.equal("x", client:get("k").body)
      assert.equal("token 1", server:requests()[1].headers["x-amz-security-token"])
      assert.equal("token 2", server:requests()[2].headers["x-amz-security-token"])
    end, { credentials = provider })
    against({ refuse(400, "ExpiredToken") }, function(client, server)
      assert.equal("ExpiredToken", select(3, client:get("k")))
      assert.equal(2, #server:requests())
    end, { credentials = provider })
  end)

  it("may be an instance's, that rotate and disappear", function()
    local function given(token)
      return answer(200, {}, ('{"Code":"Success","AccessKeyId":"%s","SecretAccessKey":"%s",' ..
        '"Token":"%s","Expiration":"2099-01-01T00:00:00Z"}'):format(ID, SECRET, token))
    end
    local token, role = answer(200, {}, "metadata-token"), answer(200, {}, "role")
    local instance <close> = scripted.start { token, role, given "first", token, role,
      given "second", token, role, answer(404) }
    local variables = { AWS_EC2_METADATA_SERVICE_ENDPOINT = instance.url }
    local chain = credentials.chain { env = function(name) return variables[name] end }
    local stale = refuse(400, "ExpiredToken")
    against({ object("x"), stale, object("y"), stale }, function(client, server)
      assert.equal("x", client:get("k").body)
      assert.equal(3, #instance:requests())
      assert.equal("y", client:get("k").body)
      local _, message, code = client:get("k")
      assert.equal("ExpiredToken", code)
      assert.matches("renew the credentials", message)
      local tokens = {}
      for i, request in ipairs(server:requests()) do
        tokens[i] = request.headers["x-amz-security-token"]
      end
      assert.same({ "first", "first", "second", "second" }, tokens)
      local info = client:info().credentials
      assert.equal("instance metadata", info.source)
      assert.equal(4070908800, info.expires)
      assert.matches("for the role role %(HTTP 404%)", info.message)
    end, { credentials = chain })
  end)

  it("are not asked for again when they never change", function()
    against({ refuse(400, "InvalidToken") }, function(client, server)
      local _, message, code = client:get("k")
      assert.equal("InvalidToken", code)
      assert.matches("session token is not valid", message)
      assert.equal(1, #server:requests())
    end, { credentials = keys { session_token = TOKEN } })
  end)

  it("may be missing: then nothing is sent", function()
    against({ object("x") }, function(client, server)
      local got, message, code = client:get("k")
      assert.is_nil(got)
      assert.equal("nothing configured", message)
      assert.equal("NoCredentials", code)
      assert.equal(0, #server:requests())
    end, { credentials = function() return nil, "nothing configured", "NoCredentials" end })
  end)
end)
