-- s3: the client against a server that answers what a script says, and against captured answers.
local digest = require "digest"
local files = require "files"
local s3 = require "s3"
local s3_call = require "s3_call"
local scripted = require "scripted"
local scripted_s3 = require "scripted_s3"
local shared = require "shared"

local answer, refuse, against = scripted.answer, scripted.error, scripted_s3.against
local client_of, keys, object = scripted_s3.client, scripted_s3.keys, scripted_s3.object
local SECRET, TOKEN = scripted_s3.SECRET, scripted_s3.TOKEN
local OK_PUT = scripted_s3.OK_PUT

describe("an S3 client", function()
  it("gets an object with all that belongs to it", function()
    against({ object("a,b\n1,2\n", { { "Content-Type", "text/csv" }, { "X-Amz-Meta-Ledger", "x y" },
      { "Last-Modified", "Sun, 22 Nov 2026 06:14:19 GMT" }, { "x-amz-meta-a-b", "1" } }) },
      function(client, server)
        assert.same({ body = "a,b\n1,2\n", etag = digest.md5("a,b\n1,2\n"), size = 8,
          content_type = "text/csv", metadata = { ledger = "x y", ["a-b"] = "1" },
          last_modified = 1795328059 }, client:get("raw/ü a+b%2F.csv"))
        local request = server:requests()[1]
        assert.equal("/bucket/raw/%C3%BC%20a%2Bb%252F.csv", request.path)
        assert.is_nil(request.query)
        assert.is_nil(request.headers.expect)
      end)
  end)

  it("sends odd keys as they are, dots and slashes unfolded", function()
    local odd = { ["/a"] = "//a", ["a//b"] = "/a//b", ["a/../b/./c"] = "/a/../b/./c",
      ["q'()!*,;:@$&=?#.csv"] = "/q%27%28%29%21%2A%2C%3B%3A%40%24%26%3D%3F%23.csv",
      ["t~x-_."] = "/t~x-_.", ["line\nbreak"] = "/line%0Abreak", ["a/"] = "/a/" }
    for key, path in pairs(odd) do
      against({ object("x") }, function(client, server)
        assert(client:get(key))
        assert.equal("/bucket" .. path, server:requests()[1].path)
      end)
    end
  end)

  it("puts with content type, metadata and conditions", function()
    against({ OK_PUT }, function(client, server)
      assert.same({ etag = "0123456789abcdef0123456789abcdef" }, client:put("k", "body",
        { content_type = "text/csv", metadata = { ledger = "a  b", ["ledger-2"] = 7 },
          if_match = "abc" }))
      local headers = server:requests()[1].headers
      assert.equal("text/csv", headers["content-type"])
      assert.equal("a  b", headers["x-amz-meta-ledger"])
      assert.equal("7", headers["x-amz-meta-ledger-2"])
      assert.equal('"abc"', headers["if-match"])
      assert.equal(digest.sha256("body"), headers["x-amz-content-sha256"])
      assert.equal("body", server:requests()[1].body)
      assert(client:put("k", "", { if_none_match = "*" }))
      assert.equal("*", server:requests()[2].headers["if-none-match"])
      assert.equal("0", server:requests()[2].headers["content-length"])
      assert.is_nil(server:requests()[2].headers["content-type"])
    end)
  end)

  it("sends the session token, signed", function()
    against({ object("x") }, function(client, server)
      assert(client:get("k"))
      assert.equal(TOKEN, server:requests()[1].headers["x-amz-security-token"])
    end, { credentials = keys { session_token = TOKEN } })
  end)

  it("keeps its connection", function()
    against({ object("x") }, function(client, server)
      for _ = 1, 5 do assert(client:get("k")) end
      assert(client:put("k", "y"))
      for _, request in ipairs(server:requests()) do assert.equal(1, request.connection) end
    end)
  end)

  it("gets a range, and an object that has not changed", function()
    against({ answer(206, { { "Content-Range", "bytes 1-2/9" }, { "ETag", '"' .. ("a"):rep(32) ..
      '"' } }, "bc"), answer(304, { { "ETag", '"x"' } }) }, function(client, server)
      local got = assert(client:get("k", { range = { 1, 2 } }))
      assert.equal("bc", got.body)
      assert.equal(9, got.size)
      assert.equal("bytes=1-2", server:requests()[1].headers.range)
      local none, _, code = client:get("k", { if_none_match = "x" })
      assert.is_nil(none)
      assert.equal("NotModified", code)
      assert.equal('"x"', server:requests()[2].headers["if-none-match"])
    end)
  end)

  it("deletes, also what is not there", function()
    against({ answer(204), refuse(404, "NoSuchKey") }, function(client)
      assert.is_true(client:delete("k"))
      assert.is_true(client:delete("k"))
    end)
  end)

  it("refuses an object beyond the limit", function()
    against({ object(("x"):rep(1000)) }, function(client, server)
      local got, message, code = client:get("k", { limit = 999 })
      assert.is_nil(got)
      assert.equal("TooLarge", code)
      assert.matches("longer than 999 bytes", message)
      assert.equal(1, #server:requests())
      assert(client:get("k", { limit = 1000 }))
      assert(client:get("k", { limit = math.huge }))
    end)
    local large = ("x"):rep(100000)
    against({ object(large), refuse(404, "NoSuchKey") }, function(client)
      local got, message, code = client:get("k", { limit = 99999 })
      assert.is_nil(got)
      assert.equal("TooLarge", code)
      assert.matches("longer than 99999 bytes", message)
      assert.equal("NoSuchKey", select(3, client:get("k", { limit = 5 })))
    end)
  end)
end)

describe("an S3 client's failures", function()
  it("carry S3's code and say what and where", function()
    local cases = {
      { refuse(404, "NoSuchKey"), "NoSuchKey", 'get "raw/a.csv" in bucket bucket: there is no' },
      { refuse(404, "NoSuchBucket"), "NoSuchBucket", "no such bucket" },
      { refuse(403, "AccessDenied"), "AccessDenied",
        "s3:GetObject on arn:aws:s3:::bucket/raw/a%.csv" },
      { refuse(403, "InvalidAccessKeyId"), "InvalidAccessKeyId", "check the credentials" },
      { refuse(416, "InvalidRange"), "InvalidRange", "HTTP 416" },
      { refuse(418, "Teapot"), "Teapot", "said by the script" },
      { answer(403, {}, ""), "AccessDenied", "access denied" },
      { answer(404, {}, "<html>not xml"), "NoSuchKey", "no such object" },
      { answer(451, {}, "gone"), "UnexpectedStatus", "HTTP 451" },
      { refuse(404, "<b>&lt;</b>"), "NoSuchKey", "no such object" },
    }
    for _, case in ipairs(cases) do
      against({ case[1] }, function(client, server)
        local got, message, code = client:get("raw/a.csv")
        assert.is_nil(got)
        assert.equal(case[2], code)
        assert.matches(case[3], message)
        assert.equal(1, #server:requests())
      end)
    end
  end)

  it("name the permission each operation needs", function()
    local function needs(permission, fn)
      against({ refuse(403, "AccessDenied") }, function(client)
        local result, message, code = fn(client)
        assert.is_falsy(result)
        assert.equal("AccessDenied", code)
        assert.matches(permission, message, 1, true)
      end)
    end
    needs("s3:PutObject on arn:aws:s3:::bucket/k", function(c) return c:put("k", "x") end)
    needs("s3:DeleteObject on arn:aws:s3:::bucket/k", function(c) return c:delete("k") end)
    needs("s3:GetObject on arn:aws:s3:::bucket/k", function(c) return c:head("k") end)
    needs("s3:ListBucket on arn:aws:s3:::bucket", function(c) return c:list {}() end)
  end)

  it("never repeat a secret, even when the server does", function()
    local echo = refuse(400, "Odd", "<StringToSign>" .. SECRET .. "</StringToSign><Token-0>" ..
      TOKEN .. "</Token-0>")
    echo.bytes = echo.bytes:gsub("said by the script", function() return (SECRET:sub(1, 18)) end)
    local long = "<Error><Code>Odd</Code><Message>bad token " .. TOKEN .. "</Message></Error>"
    for _, bytes in ipairs { echo, answer(400, {}, long),
      answer(400, {}, "<Error><Code>Odd</Code><Message>key " .. SECRET .. "</Message></Error>") } do
      against({ bytes }, function(client)
        local _, message = client:get("k")
        for _, text in ipairs { message, tostring(client), tostring(client.calls) } do
          assert.is_nil(text:find(SECRET, 1, true))
          assert.is_nil(text:find(TOKEN, 1, true))
        end
        for _, value in pairs(client) do assert.not_equal(SECRET, value) end
      end, { credentials = keys { session_token = TOKEN } })
    end
  end)

  it("say which host could not be reached, and nothing of the path", function()
    local client = assert(s3.client { bucket = "bucket", endpoint = "http://127.0.0.1:1",
      credentials = keys(), backoff = 0.001 })
    local got, message, code = client:get("private/name")
    assert.is_nil(got)
    assert.equal("ConnectFailed", code)
    assert.matches("127.0.0.1:1: .*in 3 attempts", message)
  end)

  it("come before anything is sent when the call is wrong", function()
    local client = client_of({ url = "http://127.0.0.1:1" })
    assert.error_matches(function() client:get() end, "key must be a string")
    assert.error_matches(function() client:put("k", 1) end, "body must be a string")
    assert.error_matches(function() client:put("k", "", { metadata = { ["a b"] = "" } }) end,
      "metadata name")
    assert.error_matches(function() client:put("k", "", { metadata = { a = "é" } }) end, "ASCII")
    assert.error_matches(function() client:put("k", "", { content_type = "a\r\nX: y" }) end,
      "cannot be sent")
    assert.error_matches(function() client:list { limit = 0 } end, "limit")
    assert.equal("BadRequest", select(3, client:get("")))
    assert.equal("KeyTooLongError", select(3, client:get(("x"):rep(1025))))
    assert.equal("BadRequest", select(3, client:put("k", "", { if_match = "a\r\nX: y" })))
    for _, bucket in ipairs { "a/b", "", "a b", ".b" } do
      assert.equal("BadBucket", select(3, s3.client { bucket = bucket, credentials = keys() }))
    end
    assert.equal("BadRegion", select(3, s3.client { bucket = "bbb", region = "evil.example/",
      credentials = keys() }))
    for _, endpoint in ipairs { "ftp://h", "h", "http://", "http://u:p@h", "http://h/?x",
      "http://h h" } do
      assert.equal("BadEndpoint", select(3, s3.client { bucket = "bbb", endpoint = endpoint,
        credentials = keys() }))
    end
  end)
end)

local function page(contents, more)
  return answer(200, {}, '<?xml version="1.0"?>\n<ListBucketResult ' ..
    'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>' ..
    contents .. (more or "<IsTruncated>false</IsTruncated>") .. "</ListBucketResult>")
end

local function entry(key)
  return "<Contents><Key>" .. key .. "</Key>" ..
    "<LastModified>2026-11-22T06:14:19.444Z</LastModified><ETag>&quot;e&quot;</ETag>" ..
    "<Size>5</Size></Contents>"
end

local function collect(client, options)
  local found = {}
  for list, message, code in client:list(options) do
    if not list then return nil, message, code end
    for _, object_ in ipairs(list) do found[#found + 1] = object_.key end
  end
  return found
end

describe("an S3 client's list", function()
  it("goes through the pages", function()
    against({ page(entry "a%2Fb" .. entry "c+%2B%C3%BC",
      "<IsTruncated>true</IsTruncated><NextContinuationToken>1+/=~ x</NextContinuationToken>"),
      page(entry "d") }, function(client, server)
      assert.same({ "a/b", "c +ü", "d" },
        collect(client, { prefix = "a b", start_after = "a+", limit = 2 }))
      local requests = server:requests()
      assert.equal(2, #requests)
      assert.equal("/bucket", requests[1].path)
      assert.equal("list-type=2&encoding-type=url&max-keys=2&prefix=a%20b&start-after=a%2B",
        requests[1].query)
      assert.equal("list-type=2&encoding-type=url&max-keys=2&prefix=a%20b" ..
        "&continuation-token=1%2B%2F%3D~%20x", requests[2].query)
    end)
    against({ page(entry "x") }, function(client)
      assert.same({ { key = "x", etag = "e", size = 5, last_modified = 1795328059 } },
        { client:list {}()[1] })
    end)
  end)

  it("is empty when there is nothing", function()
    against({ page "" }, function(client) assert.is_nil((client:list {}())) end)
  end)

  it("tells a failure apart from the end", function()
    against({ page(entry "a",
      "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"),
      refuse(403, "AccessDenied") }, function(client)
      local next_page = client:list {}
      assert.equal(1, #next_page())
      local list, _, code = next_page()
      assert.is_false(list)
      assert.equal("AccessDenied", code)
      assert.is_nil((next_page()))
    end)
  end)

  it("does not go round in circles", function()
    against({ page(entry "a",
      "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>") },
      function(client, server)
        assert.equal("BadAnswer", select(3, collect(client, {})))
        assert.equal(2, #server:requests())
      end)
    against({ page(entry "a", "<IsTruncated>true</IsTruncated>") }, function(client)
      assert.equal("BadAnswer", select(3, collect(client, {})))
    end)
  end)

  it("refuses what is no listing", function()
    for _, body in ipairs { "", "<a", "hello", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>" } do
      against({ answer(200, {}, body) }, function(client)
        assert.equal("BadAnswer", select(3, collect(client, {})))
      end)
    end
  end)
end)

describe("an S3 client's upload in parts", function()
  local function begun(id)
    return answer(200, {}, "<InitiateMultipartUploadResult><UploadId>" .. id ..
      "</UploadId></InitiateMultipartUploadResult>")
  end
  local function part(body) return answer(200, { { "ETag", '"' .. digest.md5(body) .. '"' } }) end
  local function done(etag)
    return answer(200, {}, "\n  <?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>" ..
      etag .. "</ETag></CompleteMultipartUploadResult>")
  end
  local options = { multipart_from = 5, part_size = 4, backoff = 0.01 }
  local joined = digest.md5(digest.md5("0123", "raw") .. digest.md5("45", "raw")) .. "-2"

  it("sends the parts and joins them", function()
    against({ begun "u+/1", part "0123", part "45", done('&quot;' .. joined .. '&quot;') },
      function(client, server)
        assert.same({ etag = joined }, client:put("k", "012345", { content_type = "text/csv",
          metadata = { a = "b" }, if_none_match = "*" }))
        local requests = server:requests()
        assert.equal("POST", requests[1].method)
        assert.equal("uploads=", requests[1].query)
        assert.equal("text/csv", requests[1].headers["content-type"])
        assert.equal("b", requests[1].headers["x-amz-meta-a"])
        assert.equal("partNumber=1&uploadId=u%2B%2F1", requests[2].query)
        assert.equal("0123", requests[2].body)
        assert.equal("partNumber=2&uploadId=u%2B%2F1", requests[3].query)
        assert.equal("45", requests[3].body)
        assert.equal("*", requests[4].headers["if-none-match"])
        assert.matches("<PartNumber>2</PartNumber><ETag>&quot;" .. digest.md5("45"),
          requests[4].body, 1, true)
      end, options)
  end)

  it("takes an error inside a 200 for what it is", function()
    local late = answer(200, {}, "<Error><Code>InternalError</Code></Error>")
    against({ begun "u", part "0123", part "45", late, done(joined) }, function(client, server)
      assert.equal(joined, client:put("k", "012345").etag)
      assert.equal(5, #server:requests())
    end, options)
  end)

  it("finds its upload completed when the answer was lost", function()
    against({ begun "u", part "0123", part "45", scripted.raw("", "close"),
      refuse(404, "NoSuchUpload"), answer(200, { { "ETag", '"' .. joined .. '"' },
        { "Content-Length", "6" } }, "", { length = false }) }, function(client)
      assert.same({ etag = joined }, client:put("k", "012345"))
    end, options)
  end)

  it("asks for the ETag that a server leaves out", function()
    against({ begun "u", part "0123", part "45", done "",
      answer(200, { { "ETag", '"' .. joined .. '"' } }) }, function(client, server)
      assert.same({ etag = joined }, client:put("k", "012345"))
      assert.equal("HEAD", server:requests()[5].method)
    end, options)
  end)

  it("is given up in order when a part fails", function()
    against({ begun "u", part "0123", refuse(403, "AccessDenied"), answer(204) },
      function(client, server)
        local result, message, code = client:put("k", "012345")
        assert.is_nil(result)
        assert.equal("AccessDenied", code)
        assert.matches("upload a part of", message)
        local last = server:requests()[4]
        assert.equal("DELETE", last.method)
        assert.equal("uploadId=u", last.query)
      end, options)
  end)
end)

-- ---- captured answers ----

local function captured(read)
  return function(name)
    local text = read(name)
    local head, body = text:match("^(.-)\r?\n\r?\n(.*)$")
    local status = tonumber(head:match("^HTTP/1.1 (%d+)"))
    local headers = {}
    for header, value in head:gmatch("\n([^:\r\n]+):[ ]*([^\r\n]*)") do
      local lower = header:lower()
      if lower ~= "content-length" and lower ~= "connection" then
        headers[#headers + 1] = { header, value }
      end
    end
    return answer(status, headers, body), status
  end
end

local from_fixtures = captured(function(name) return files.fixture("s3/" .. name .. ".http") end)

local ODD_KEYS = 12

local function check_listing(capture)
  against({ capture }, function(client)
    local found = assert(collect(client, {}))
    assert.equal(ODD_KEYS, #found)
    local seen = {}
    for _, key in ipairs(found) do seen[key] = true end
    for _, key in ipairs { "raw//dbl.csv", "raw/a b.csv", "raw/a+b.csv", "raw/a%2Fb.csv",
      'raw/am&p<>".csv', "raw/dt=2026-03-14/p.csv" } do
      assert.is_true(seen[key], key)
    end
  end)
end

describe("captured answers", function()
  it("of listings give the keys as they were put", function()
    check_listing(from_fixtures "radosgw-16.2.15--list-url-encoded")
    check_listing(from_fixtures "moto-5.2.1--list-url-encoded")
  end)

  it("of errors give their code", function()
    for name, code in pairs { ["radosgw-16.2.15--no-such-key"] = "NoSuchKey",
      ["moto-5.2.1--put-if-match-stale"] = "PreconditionFailed",
      ["radosgw-16.2.15--clock-skew"] = "RequestTimeTooSkewed" } do
      against({ (from_fixtures(name)) }, function(client)
        assert.equal(code, select(3, client:get("k")))
      end)
    end
  end)

  it("are all understood", function()
    local manifests = { "radosgw-16.2.15", "moto-5.2.1" }
    if not shared.path("aws/s3-wire/" .. manifests[1] .. ".manifest.json") then
      return pending("no shared data")
    end
    local read = captured(function(name) return shared.read("aws/s3-wire/" .. name) end)
    for _, manifest in ipairs(manifests) do
      local list = require("json").decode(shared.read("aws/s3-wire/" .. manifest ..
        ".manifest.json"))
      assert.is_true(#list > 25)
      for _, item in ipairs(list) do
        local capture, status = read(item.file)
        assert.equal(item.status, status)
        local body = capture.bytes:match("\r\n\r\n(.*)$")
        local document = body:find("^%s*<%?xml") and s3_call.xml(body)
        -- Without encoding-type a key with a control character makes no XML.
        if body:find("<Error>", 1, true) or item.request:find("encoding-type", 1, true) then
          assert.is_truthy(document, item.file)
        end
        against({ capture }, function(client, server)
          local method, target = item.request:match("^(%S+) (%S+)")
          local result, message, code
          if target:find("list-type", 1, true) then
            result, message, code = collect(client, {})
            if code == "BadAnswer" then result, code = {}, nil end -- a single page out of several
          elseif method == "HEAD" then
            result, message, code = client:head("k")
          elseif method == "GET" and not target:find("uploads", 1, true) then
            result, message, code = client:get("k", { range = status == 206 and { 0, 1 } or nil })
          elseif method == "PUT" then
            result, message, code = client:put("k", "x")
          elseif method == "DELETE" then
            result, message, code = client:delete("k")
          end
          if status < 300 then
            assert.is_nil(code, item.file)
          elseif result == nil and message then
            local wanted = document and document[1][1] == "Error/Code" and document[1][2]
            if wanted then assert.equal(wanted, code, item.file) end
            assert.is_string(code, item.file)
          end
          assert.is_true(#server:requests() <= 3)
        end, { attempts = 1 })
      end
    end
  end)
end)

describe("s3_call.xml", function()
  it("gives the elements as they close", function()
    assert.same({ { "a/b", "1" }, { "a/c/d", "x & y <z> é" }, { "a/c", "" }, { "a/b", "" },
      { "a", "" } },
      s3_call.xml("\n <a xmlns:n='u'><b>1</b><n:c><d>x &amp; y &lt;z> &#233;</d></n:c><b/></a>"))
  end)

  it("refuses what it will not read", function()
    local deep = ("<a>"):rep(20) .. ("</a>"):rep(20)
    for _, text in ipairs { "", "x", "<a>", "<a></b>", "<a/><b/>", deep,
      "<!DOCTYPE a SYSTEM 'http://127.0.0.1/x'><a/>", "<a>" .. ("x"):rep(70000) .. "</a>",
      "<a>\0</a>", "<a>\xff</a>", "<" .. ("n"):rep(600) .. "/>",
      "<!DOCTYPE z [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><z>&b;</z>" } do
      local list, message, code = s3_call.xml(text)
      assert.is_nil(list, text:sub(1, 40))
      assert.equal("BadXml", code)
      assert.matches("^line %d+: ", message)
    end
  end)
end)
