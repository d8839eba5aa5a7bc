-- s3: the client, and the whole service, on a real S3 server.
local csv = require "csv"
local daemon = require "daemon"
local digest = require "digest"
local json = require "json"
local radosgw = require "radosgw"
local s3 = require "s3"

local server, reason = radosgw.start()
local BUCKET = "anomalyd-spec-" .. os.time()

local KEYS = { "raw/plain.csv", "raw/a b.csv", "raw/a+b.csv", "raw/a%2Fb.csv", "raw/100%.csv",
  "raw/ünï☃.csv", "raw/e\u{301}.csv", "raw/\u{1F4C8} chart.csv", "raw/t~x.csv",
  "raw/dt=2026-03-14/p.csv", "raw//double.csv", "raw/../up/./x.csv", "raw/q'()!*,;:@$&.csv",
  'raw/am&p<>".csv', "raw/what?#.csv", "raw/line\nbreak.csv", "raw/tab\tand\\.csv", "raw/folder/",
  "/leading", "raw/" .. ("long"):rep(100) }

local function client_with(options)
  local given = { bucket = BUCKET, endpoint = server.endpoint, region = server.region,
    credentials = server.keys }
  for name, value in pairs(options or {}) do given[name] = value end
  return assert(s3.client(given))
end

local function keys_of(client, options)
  local found = {}
  for page, message in client:list(options) do
    assert(page, message)
    for _, object in ipairs(page) do found[#found + 1] = object.key end
  end
  return found
end

local function rows(n)
  local lines = { "timestamp,temperature,humidity\n" }
  for i = 1, n do
    lines[#lines + 1] = ("2026-02-24T00:%02d:%02d,%.2f,%.2f\n"):format(i // 60, i % 60,
      i == n and 90 or 22 + math.sin(i), 55 + math.cos(i))
  end
  return table.concat(lines)
end

if not server then
  describe("a real S3 server", function()
    it("is there", function() pending(reason) end)
  end)
  return
end

describe("on a real S3 server", function()
  local client
  setup(function()
    server:make_bucket(BUCKET)
    client = client_with()
  end)
  teardown(function()
    for _, key in ipairs(keys_of(client)) do client:delete(key) end
  end)

  it("every odd key can be put, got, listed and deleted", function()
    for _, key in ipairs(KEYS) do
      local put = assert(client:put(key, "body of " .. key, { metadata = { note = "a  b" } }))
      assert.equal(digest.md5("body of " .. key), put.etag)
      local got = assert(client:get(key))
      assert.equal("body of " .. key, got.body)
      assert.equal(put.etag, got.etag)
      assert.equal("a  b", got.metadata.note)
    end
    local expected = table.move(KEYS, 1, #KEYS, 1, {})
    table.sort(expected)
    assert.same(expected, keys_of(client))
    assert.same(expected, keys_of(client, { limit = 3 }))
    for _, key in ipairs(KEYS) do
      assert.is_true(client:delete(key))
      assert.equal("NoSuchKey", select(3, client:get(key)))
    end
    assert.same({}, keys_of(client))
  end)

  it("lists by prefix and from a key on", function()
    for i = 1, 25 do assert(client:put(("list/%02d"):format(i), "x")) end
    assert(client:put("lisu", "x"))
    assert.equal(25, #keys_of(client, { prefix = "list/", limit = 10 }))
    assert.same({ "list/24", "list/25" },
      keys_of(client, { prefix = "list/", start_after = "list/23" }))
    local now, first = os.time(), client:list { prefix = "list/", limit = 1 }()[1]
    assert.equal(1, first.size)
    assert.equal(digest.md5("x"), first.etag)
    assert.is_true(math.abs(first.last_modified - now) < 100)
  end)

  it("keeps metadata, type and ranges", function()
    assert(client:put("object", "0123456789", { content_type = "text/csv",
      metadata = { a = "1", ["a-b"] = "2", aa = "3", ledger = "x=1;y=2" } }))
    local head = assert(client:head("object"))
    assert.equal("text/csv", head.content_type)
    assert.equal(10, head.size)
    assert.is_nil(head.body)
    assert.same({ a = "1", ["a-b"] = "2", aa = "3", ledger = "x=1;y=2" }, head.metadata)
    assert.equal("234", client:get("object", { range = { 2, 4 } }).body)
    assert.equal("89", client:get("object", { range = { 8 } }).body)
    assert.equal("InvalidRange", select(3, client:get("object", { range = { 10, 20 } })))
    assert.equal("NotModified", select(3, client:get("object", { if_none_match = head.etag })))
    assert.equal("TooLarge", select(3, client:get("object", { limit = 9 })))
  end)

  it("puts only on the condition asked for", function()
    local first = assert(client:put("state/b.json", "1", { if_none_match = "*" }))
    assert.equal("PreconditionFailed",
      select(3, client:put("state/b.json", "2", { if_none_match = "*" })))
    local second = assert(client:put("state/b.json", "2", { if_match = first.etag }))
    for _, fresh in ipairs { client, client_with() } do
      local put, _, code = fresh:put("state/b.json", "3", { if_match = first.etag })
      assert.is_nil(put)
      assert.equal("PreconditionFailed", code)
    end
    assert.equal("2", client:get("state/b.json").body)
    assert(client_with():put("state/b.json", "3", { if_match = second.etag }))
  end)

  it("uploads in parts", function()
    local body = {}
    for i = 1, 1100000 do body[i] = "line " .. i .. "\n" end
    body = table.concat(body)
    local parts = client_with { multipart_from = 6 << 20, part_size = 5 << 20 }
    local put = assert(parts:put("big", body, { content_type = "text/csv",
      metadata = { note = "n" } }))
    assert.matches("^%x+%-%d$", put.etag)
    local got = assert(client:get("big"))
    assert.is_true(got.body == body)
    assert.equal(put.etag, got.etag)
    assert.equal("text/csv", got.content_type)
    assert.equal("n", got.metadata.note)
  end)

  it("names what is wrong with keys, bucket and clock", function()
    local wrong = client_with { credentials = { access_key_id = server.keys.access_key_id,
      secret_access_key = "wrong", session_token = server.keys.session_token } }
    local _, message, code = wrong:get("object")
    assert.equal("SignatureDoesNotMatch", code)
    assert.is_nil(message:find("wrong", 1, true))
    assert.equal("InvalidAccessKeyId", select(3, client_with { credentials = {
      access_key_id = "NOSUCHKEY", secret_access_key = "x" } }:get("object")))
    assert.equal("NoSuchBucket", select(3, client_with { bucket = BUCKET .. "-not" }:get("x")))
  end)

  it("the service scores what lands, once", function()
    assert(client:put("raw/first batch.csv", rows(60)))
    local env = server.env .. " BUCKET_NAME=" .. BUCKET
    local s <close> = setmetatable({ it = daemon.start { bucket = BUCKET, env = env,
      args = "--insecure-sns" } }, { __close = function(self) self.it:stop() end })
    local function summary_of(name)
      return s.it:wait_for(function()
        local got = client:get("processed/" .. name .. "_summary.json")
        return got and json.decode(got.body)
      end, "the summary of " .. name, 30)
    end
    assert.equal(60, summary_of("first batch").total_rows)

    assert(client:put("raw/second.csv", rows(40)))
    local event = json.encode { Type = "Notification", MessageId = "m-1",
      TopicArn = "arn:aws:sns:us-east-1:123456789012:topic", Timestamp = "2026-02-24T00:00:00.000Z",
      Message = json.encode { Records = { { eventVersion = "2.1", eventSource = "aws:s3",
        eventName = "ObjectCreated:Put", s3 = { bucket = { name = BUCKET },
          object = { key = "raw/second.csv", size = 1 } } } } } }
    for _ = 1, 3 do s.it:post("/notify", event, { ["Content-Type"] = "text/plain" }) end
    local summary = summary_of("second")
    assert.equal(40, summary.total_rows)
    assert.equal(digest.md5(rows(40)), summary.source_etag)
    local frame = assert(csv.parse(client:get("processed/second.csv").body, { text_only = true }))
    assert.equal(40, frame.rows)
    local baseline = json.decode(client:get("state/baseline.json").body)
    assert.equal(100, baseline.temperature.count)
    local status, health = s.it:get("/health")
    assert.equal(200, status)
    assert.equal(BUCKET, health.bucket)
    assert.is_nil(s.it:log():find(server.keys.secret_access_key, 1, true))
  end)
end)
