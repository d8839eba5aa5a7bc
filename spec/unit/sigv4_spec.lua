-- sigv4: AWS's own test suite and S3 requests signed by an independent signer.
local cjson = require "cjson"
local digest = require "digest"
local files = require "files"
local shared = require "shared"
local sigv4 = require "sigv4"

local FIXTURES = "spec/fixtures/sigv4/"

local function given(value)
  if value == cjson.null then return nil end
  return value
end

local function header_of(signed, name)
  for _, pair in ipairs(signed.headers) do
    if pair[1]:lower() == name then return pair[2] end
  end
  return nil
end

-- A raw HTTP request as the suite stores it; a line that starts with a blank continues a value.
local function parse(request)
  local head, body = request:gsub("\r", ""), ""
  local stop, start = head:find("\n\n", 1, true)
  if stop then head, body = head:sub(1, stop), head:sub(start + 1) end
  local parsed = { headers = {}, body = body }
  parsed.method, parsed.target = head:match("^(%S+) (.-) HTTP/1.1")
  for line in head:match("\n(.*)$"):gmatch("[^\n]+") do
    local last = parsed.headers[#parsed.headers]
    if line:find("^%s") then
      last[2] = last[2] .. "\n" .. line
    else
      parsed.headers[#parsed.headers + 1] = { line:match("^([^:]+):(.*)$") }
    end
  end
  parsed.path, parsed.query = parsed.target:match("^([^?]*)%??(.*)$")
  return parsed
end

local function check_suite_case(directory)
  local context = cjson.decode(files.read(directory .. "/context.json"))
  local request = parse(files.read(directory .. "/request.txt"))
  if context.sign_body then
    request.headers[#request.headers + 1] =
      { "x-amz-content-sha256", digest.sha256(request.body) }
  end
  local token = context.credentials.token
  if context.omit_session_token then token = nil end
  local signed = sigv4.sign {
    method = request.method, path = request.path, query = request.query,
    headers = request.headers, body = request.body, normalize = context.normalize,
    region = context.region, service = context.service, session_token = token,
    access_key_id = context.credentials.access_key_id,
    secret_access_key = context.credentials.secret_access_key,
    date = context.timestamp:gsub("[-:]", ""),
  }
  local function expected(name) return (files.read(directory .. "/header-" .. name .. ".txt")) end
  assert.equal(expected "canonical-request", signed.canonical_request)
  assert.equal(expected "string-to-sign", signed.string_to_sign)
  assert.equal(expected "signature", signed.signature)
end

local SUITE = { "get-header-value-multiline", "get-header-value-order", "get-relative-normalized",
  "get-relative-relative-normalized", "get-relative-relative-unnormalized",
  "get-slash-dot-slash-normalized", "get-slash-dot-slash-unnormalized", "get-slash-normalized",
  "get-slash-pointless-dot-normalized", "get-slash-unnormalized", "get-slashes-normalized",
  "get-space-normalized", "get-utf8", "get-vanilla", "get-vanilla-query",
  "get-vanilla-query-order-key-case", "get-vanilla-query-unreserved",
  "get-vanilla-with-session-token", "post-header-key-case", "post-header-value-case",
  "post-sts-header-after", "post-vanilla", "post-vanilla-empty-query-value", "post-vanilla-query",
  "post-x-www-form-urlencoded-parameters" }

local KEPT = { "get-header-value-order", "get-header-value-multiline",
  "get-slash-dot-slash-unnormalized", "get-vanilla-query-order-key-case",
  "get-vanilla-with-session-token", "get-slashes-normalized" }

local function check_s3_case(case)
  local input, expect = case.input, case.expect
  local headers = { { "Host", input.host } }
  for _, pair in ipairs(input.headers) do headers[#headers + 1] = pair end
  local path, query = expect.request_target:match("^([^?]*)%??(.*)$")
  local body = given(input.body) or ""
  local signed = sigv4.sign {
    method = input.method, path = path, query = query, headers = headers, region = input.region,
    body = input.payload == "signed" and body or nil,
    payload_hash = input.payload ~= "signed" and "UNSIGNED-PAYLOAD" or nil,
    service = input.service, access_key_id = input.access_key_id, date = input.amz_date,
    secret_access_key = input.secret_access_key, session_token = given(input.session_token),
  }
  assert.equal(expect.canonical_request, signed.canonical_request)
  assert.equal(expect.string_to_sign, signed.string_to_sign)
  assert.equal(expect.authorization, header_of(signed, "authorization"))
  assert.equal(expect["x-amz-content-sha256"], header_of(signed, "x-amz-content-sha256"))
  assert.equal(input.amz_date, header_of(signed, "x-amz-date"))
  assert.equal(given(input.session_token), header_of(signed, "x-amz-security-token"))
end

local function minimal(change)
  local request = { method = "GET", path = "/", headers = { Host = "h" }, region = "us-east-1",
    service = "s3", access_key_id = "AK", secret_access_key = "SK", date = "20150830T123600Z" }
  for name, value in pairs(change or {}) do request[name] = value end
  return request
end

describe("sigv4.sign", function()
  for _, name in ipairs(KEPT) do
    it("equals AWS's suite: " .. name, function() check_suite_case(FIXTURES .. "aws/" .. name) end)
  end

  for _, case in ipairs(cjson.decode(files.read(FIXTURES .. "s3.json"))) do
    it("signs S3's " .. case.name, function() check_s3_case(case) end)
  end

  it("equals all of AWS's suite that is at hand", function()
    local path = shared.path("aws/sigv4/aws-signing-test-suite/README.md")
    if not path then return pending("no shared data") end
    for _, name in ipairs(SUITE) do check_suite_case(path:gsub("README.md$", name)) end
  end)

  it("signs all the S3 requests that are at hand", function()
    if not shared.path("aws/sigv4/s3/vectors.json") then return pending("no shared data") end
    local cases = cjson.decode(shared.read("aws/sigv4/s3/vectors.json"))
    assert.is_true(#cases >= 42)
    for _, case in ipairs(cases) do check_s3_case(case) end
  end)

  it("spells paths and queries in one way", function()
    local function canonical(path, query)
      local lines = {}
      local text = sigv4.sign(minimal { path = path, query = query }).canonical_request
      for line in (text .. "\n"):gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
      return lines[2] .. "?" .. lines[3]
    end
    assert.equal("/?", canonical("", nil))
    assert.equal("/a%2Bb?", canonical("/a+b", ""))
    assert.equal("/a%2Bb?", canonical("/a%2bb"))
    assert.equal("/a~b?", canonical("/%61%7eb"))
    assert.equal("/100%25?", canonical("/100%"))
    assert.equal("/a//./../b?", canonical("/a//./../b"))
    assert.equal("/?a=&b=1&b=2&b%20=", canonical("/", "b=2&a&b=1&b%20="))
    assert.equal("/?prefix=raw%2Fx&uploads=", canonical("/", "uploads&prefix=raw/x&&"))
    assert.equal("/?a=b%3Dc", canonical("/", "a=b=c"))
  end)

  it("leaves out what transports change, and adds only what is missing", function()
    local signed = sigv4.sign(minimal { headers = { { "host", "h" }, { "Expect", "" },
      { "User-Agent", "x" }, { "X-Amz-Date", "20150830T123600Z" }, { "connection", "close" } } })
    assert.equal("host;x-amz-content-sha256;x-amz-date",
      header_of(signed, "authorization"):match("SignedHeaders=([^,]+)"))
    local dates = 0
    for _, pair in ipairs(signed.headers) do
      if pair[1]:lower() == "x-amz-date" then dates = dates + 1 end
    end
    assert.equal(1, dates)
  end)

  it("signs with the clock when no date is given", function()
    local request = minimal()
    request.date = nil
    local signed = sigv4.sign(request)
    assert.equal(os.date("!%Y%m%d"), header_of(signed, "x-amz-date"):sub(1, 8))
  end)

  it("raises for what is missing or of the wrong type", function()
    for _, name in ipairs { "method", "path", "region", "service", "access_key_id",
      "secret_access_key" } do
      local request = minimal()
      request[name] = nil
      assert.error_matches(function() sigv4.sign(request) end, "'" .. name .. "' is missing")
    end
    assert.error_matches(function() sigv4.sign(minimal { headers = {} }) end, "no host")
    assert.error_matches(function() sigv4.sign(minimal { path = "/\0" }) end, "zero byte")
    assert.error_matches(function() sigv4.sign(minimal { headers = { host = {} } }) end, "strings")
    assert.error_matches(function() sigv4.sign(minimal { headers = "host: h" }) end, "table")
  end)

  it("refuses a date it cannot sign with, and too many headers", function()
    for _, date in ipairs { "", "2015-08-30T12:36:00Z", "20150830T123600", "20150830T123600ZZ" } do
      local signed, _, code = sigv4.sign(minimal { date = date })
      assert.is_nil(signed)
      assert.equal("BadDate", code)
    end
    local headers = { { "host", "h" } }
    for i = 1, 300 do headers[#headers + 1] = { "x-amz-meta-" .. i, "v" } end
    assert.equal("TooLarge", select(3, sigv4.sign(minimal { headers = headers })))
    assert.equal("TooLarge", select(3, sigv4.sign(minimal { path = "/" .. ("a"):rep(2 ^ 20) })))
  end)
end)
