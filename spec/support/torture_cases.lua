-- torture_cases: what spec/support/torture.c calls while memory is short, by name. Each value is a
-- function that prepares the call and returns it.
local cases = {}

local ARGUMENTS = { "x", { 1 }, 7 }

cases["a column"] = function()
  local column = require("column")
  local cells = { 1, 2, false, 4 }
  local c = column.new(cells)
  return function()
    local d = column.new(cells)
    assert(column.moments(d, { count = 1, mean = 2, M2 = 3 }, c).count == 4)
    local z = d:zscore(1, 2)
    assert(column.any({ z:above(1), z:below(0), column.equal(z, 0) }):count() >= 1)
    assert(#column.none({ c, d }):totable() == 4)
    assert(#tostring(column.both(c, column.constant(4, 1))) > 0)
  end
end

cases["a column's refusals"] = function()
  local column = require("column")
  return function()
    for _, argument in ipairs(ARGUMENTS) do
      local ok, message = pcall(column.any, { argument })
      if ok or not message:find("memory") and not message:find("column") then error(message, 0) end
    end
    local ok, message = pcall(column.new, { {} })
    if ok or message:find("memory") then error("not enough memory", 0) end
  end
end

cases["a frame"] = function()
  local csv, column = require("csv"), require("column")
  local text = 't,"na me",h\n1,a,2\n3,"b ""c""",x\n5,d\n7,,8\n'
  return function()
    local frame <close> = assert(csv.parse(text))
    assert(frame.rows == 3 and frame.rejected == 1 and #frame.names == 3)
    assert(#frame:column("t") == 3 and frame:numbers("h").bad == 1)
    assert(frame:cell(2, "na me") == 'b "c"')
    frame:set("z", column.constant(3, 0.5), "fixed4")
    frame:set("texts", { "a", "b", "c" })
    frame:drop("h")
    assert(#frame:format() > 20 and #frame:rejected_text() > 5)
    assert(#frame:select("t", "7", 5) == 1)
  end
end

cases["a frame's refusals"] = function()
  local csv = require("csv")
  local bad = { "", "\0", 'a\n"', "a,b\n1\n", "a\n" .. ("x"):rep(100) .. "\n" }
  return function()
    for _, text in ipairs(bad) do
      local frame, message = csv.parse(text, { max_row_bytes = 50 })
      assert(frame or #message > 0)
    end
  end
end

cases["numbers"] = function()
  local number = require("number")
  return function()
    assert(tonumber(number.shortest(0.1 + 0.2)) == 0.1 + 0.2 and number.fixed4(1 / 3) == "0.3333")
    assert(number.parse("1e5") == 1e5 and number.parse("x") == nil)
    assert(number.round4(0.12344) == 0.1234)
  end
end

cases["a forest"] = function()
  local iforest, column = require("iforest"), require("column")
  local a, b = column.new({ 1, 2, 3, 2, 1, 50 }), column.new({ 2, 3, 2, 3, 2, 9 })
  local options = { n_estimators = 3, contamination = 0.2, random_state = 1 }
  return function()
    local forest = assert(iforest.fit({ a, b }, options))
    assert(#assert(forest:score_samples({ a, b })) == 6)
    assert(#assert(forest:decision_function({ a, b })) == 6)
    assert(#assert(forest:predict({ a, b })) == 6)
    assert(forest:explain({ a, b }, 6))
    assert(forest:tree(1) and forest.offset < 0)
    assert(#assert(iforest.fit_score({ a, b }, options)).labels == 6)
  end
end

cases["JSON"] = function()
  local writer = require("json_writer")
  local value = setmetatable({ b = { 1, 2.5, "x\n\xff" }, a = setmetatable({},
    { __json = "array" }), c = { d = { e = true } }, ["\u{e9}"] = ("long "):rep(500) },
    { __json = "object", __keys = { "b", "a" } })
  return function()
    assert(#writer.encode(value, 2, true, 100000) > 2500)
    assert(#writer.encode(value) > 2500)
    local ok, message = pcall(writer.encode, { a = { b = print } })
    if ok or message:find("memory") then error("not enough memory", 0) end
  end
end

cases["digests"] = function()
  local digest = require("digest")
  return function()
    local text = digest.sha256("x") .. digest.md5("x", "raw") .. digest.hmac_sha256("k", "x")
    assert(digest.unbase64(digest.base64(text)) == text)
    assert(#digest.hex(text) == 2 * #text)
    assert(select(3, digest.unbase64("*")) == "BadBase64")
  end
end

cases["a signature"] = function()
  local sigv4 = require("sigv4")
  local request = { method = "PUT", path = "/a%20b", query = "x=1&a=2",
    headers = { { "Host", "h.example" }, { "X-Amz-Meta-B", " a  b " } }, body = "text",
    region = "us-east-1", service = "s3", access_key_id = "A", secret_access_key = "S",
    session_token = "T", date = "20150830T123600Z" }
  return function()
    local signed = assert(sigv4.sign(request))
    assert(#signed.headers >= 5 and #signed.signature == 64)
  end
end

cases["a certificate"] = function()
  local certificate = require("certificate")
  local path = "spec/fixtures/sns/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
  local file = assert(io.open(path, "rb"))
  local pem = file:read("a")
  file:close()
  return function()
    local c = assert(certificate.parse(pem))
    assert(#c.names > 0 and c.not_before < c.not_after and c.rsa_bits >= 2048)
    assert(not c:verify("sha256", "text", "signature"))
    assert(not c:check_time(0) and not c:has_name("x"))
    assert(not c:chain({ c }, 0, { c }))
    assert(not certificate.parse("no certificate"))
  end
end

cases["a directory"] = function()
  local directory = require("directory")
  local path = assert(os.getenv("TORTURE_DIRECTORY"), "TORTURE_DIRECTORY names an empty directory")
  local bucket = assert(directory.open(path))
  return function()
    assert(bucket:put("a/b.csv", "text", { metadata = { ledger = "x" } }))
    local found = assert(bucket:get("a/b.csv"))
    assert(found.body == "text" and found.metadata.ledger == "x")
    assert(assert(bucket:head("a/b.csv")).etag == found.etag)
    local results, failures = bucket:put_all({ { key = "c", body = "1" },
      { key = "d", body = "2", if_match = "wrong" } })
    assert(#results == 2 and failures == 1)
    local n = 0
    for page in bucket:list({ limit = 1 }) do
      if not page then error("the list broke off: not enough memory", 0) end
      n = n + #page
    end
    assert(n == 2)
    assert(bucket:delete("c") and not bucket:get("c") and not bucket:put("../x", ""))
    local again <close> = assert(directory.open(path))
    assert(again.name == bucket.name)
  end
end

return cases
