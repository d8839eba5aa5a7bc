-- Requests, POST /notify and the status pages, with a bucket and a queue that are not there.
local context = require("context")
local host = require("host")
local json = require("json")
local metrics = require("metrics")
local notify = require("notify")
local queue = require("queue")
local requests = require("requests")
local response = require("response")
local router = require("router")
local status = require("status")

local ARN = "arn:aws:sns:us-east-1:123456789012:batches"

local function request(fields)
  local made = { method = "GET", target = "/", version = "1.1", headers = {}, body = "",
    peer = { address = "192.0.2.7", port = 4711, loopback = false } }
  for name, value in pairs(fields or {}) do made[name] = value end
  return made
end

local before, logged, accepted

--- A generation without a service; `waiting` batches stand in its queue, which holds three.
local function prepare(waiting)
  logged, accepted = {}, {}
  for name in pairs(context) do context[name] = nil end
  local state = queue.new({ limit = 3, width = 0 })
  context.options = { log_format = "text", insecure_sns = true }
  context.shared = { queue = state, handle = { name = "bucket" }, generation = 7,
    started = host.now(), history = { ready = true }, baseline = {} }
  context.store = { name = "bucket" }
  context.handshake = { topics = {} }
  context.metrics = metrics.of({})
  context.now, context.time = host.now, host.time
  context.log = function(level, text, fields)
    logged[#logged + 1] = { level = level, text = text, fields = fields or {} }
  end
  context.accept = function(event)
    accepted[#accepted + 1] = event
    return queue.accept(state, event, context)
  end
  for i = 1, waiting or 0 do queue.accept(state, { key = "raw/w" .. i .. ".csv" }, context) end
end

describe("answers", function()
  setup(function()
    before = {}
    for name, value in pairs(context) do before[name] = value end
  end)
  before_each(function() prepare() end)
  teardown(function()
    for name in pairs(context) do context[name] = nil end
    for name, value in pairs(before) do context[name] = value end
  end)

  describe("to a request", function()
    before_each(function()
      context.app = router.new()
      context.app.get("/", {}, function() return { fine = true } end)
      context.app.get("/raises", {}, function() error("oh") end)
      context.app.get("/raises/nothing", {}, function() error() end)
      context.app.get("/cannot", {}, function() return { 0 / 0 } end)
      context.app.get("/teapot", {}, function() error(response.text(418, "short and stout")) end)
    end)

    it("bear its id, or one of ours where it has none that is fit", function()
      for _, id in ipairs({ "abc", "a-b_c.d:e/f+g=", ("x"):rep(128) }) do
        local headers = select(2, requests.handle(context,
          request({ headers = { ["x-request-id"] = id } })))
        assert.equal(id, headers["x-request-id"])
      end
      for _, id in ipairs({ "", "a b", "a\nb", "<script>", ("x"):rep(129), "\u{e9}", "a;b" }) do
        local headers = select(2, requests.handle(context,
          request({ headers = { ["x-request-id"] = id } })))
        assert.truthy(headers["x-request-id"]:find("^%x+$"))
        assert.equal(16, #headers["x-request-id"])
      end
    end)

    it("are logged as uvicorn does, or as fields", function()
      requests.handle(context, request({ target = "/?a=1" }))
      assert.equal('192.0.2.7:4711 - "GET /?a=1 HTTP/1.1" 200 OK', logged[1].text)
      assert.equal("info", logged[1].level)
      context.options.log_format = "json"
      requests.handle(context, request({ target = "/x", version = "1.0" }))
      local fields = logged[2].fields
      assert.equal("request", logged[2].text)
      assert.equal("192.0.2.7:4711", fields.client)
      assert.equal(404, fields.status)
      assert.equal("/x", fields.target)
      assert.is_true(fields.milliseconds >= 0)
    end)

    it("are 500 when a handler raises, with the traceback in the log alone", function()
      for _, path in ipairs({ "/raises", "/raises/nothing", "/cannot" }) do
        logged = {}
        local code, _, body = requests.handle(context, request({ target = path }))
        assert.equal(500, code, path)
        assert.is_nil(body:find("answers_spec", 1, true))
        assert.equal("error", logged[1].level)
        assert.equal(path, logged[1].fields.target)
      end
      requests.handle(context, request({ target = "/raises" }))
      assert.truthy(logged[3].text:find("answers_spec.lua:%d+: oh"))
      assert.equal(418, (requests.handle(context, request({ target = "/teapot" }))))
    end)

    it("say why a request was refused before it was whole", function()
      local code, headers, body = requests.handle(context, request({ method = "", target = "",
        refused = { status = 431, reason = "the head is too long" } }))
      assert.equal(431, code)
      assert.equal('{"detail":"the head is too long"}', body)
      assert.equal("application/json", headers["content-type"])
    end)
  end)

  describe("to a notification", function()
    --- An event as S3 tells it.
    local function record(key, fields)
      fields = fields or {}
      return { eventVersion = "2.1", eventName = fields.name or "ObjectCreated:Put",
        s3 = { bucket = { name = fields.bucket or "bucket" },
          object = { key = key, eTag = "e", size = 3 } } }
    end

    local function send(...)
      local answer = notify.receive(request({ method = "POST", target = "/notify", id = "id1",
        body = json.encode({ Type = "Notification", MessageId = "1", TopicArn = ARN,
          Message = json.encode({ Records = json.array({ ... }) }) }) }))
      return answer.status, json.decode(answer.body), answer.headers
    end

    it("queue what it names", function()
      local code, body = send(record("raw/a+b%2Fc.csv"), record("raw/d.csv"))
      assert.equal(200, code)
      assert.equal("ok", body.status)
      assert.equal(2, #accepted)
      assert.equal("raw/a b/c.csv", accepted[1].key)
      assert.same({ "e", "sns", "id1" },
        { accepted[1].etag, accepted[1].source, accepted[1].request_id })
    end)

    it("pass over what is no news for this bucket", function()
      local code, body = send(record("raw/a.csv", { bucket = "another" }),
        record("raw/b.csv", { name = "ObjectRemoved:Delete" }), record("processed/a.csv"),
        record("processed/a_summary.json"), record("state/baseline.json"), record("raw/a.txt"),
        record("failed/a_rejected.csv"))
      assert.equal(200, code)
      assert.equal("ok", body.status)
      assert.same({}, accepted)
      local said = false
      for _, line in ipairs(logged) do said = said or line.fields.bucket == "another" end
      assert.is_true(said)
    end)

    it("are 503 when there is no room for all of them", function()
      prepare(2)
      accepted = {}
      local code, body, headers = send(record("raw/a.csv"), record("raw/b.csv"))
      assert.equal(503, code)
      assert.same({ "error", "the queue is full" }, { body.status, body.detail })
      assert.equal("20", headers["retry-after"])
      assert.same({}, accepted)
      assert.equal(200, (send(record("raw/a.csv"))))
    end)

    it("are 503 while the service stops", function()
      context.shared.draining = true
      local code, body = send(record("raw/a.csv"))
      assert.equal(503, code)
      assert.equal("the service is stopping", body.detail)
      assert.same({}, accepted)
    end)

    it("are 422 for what is no message", function()
      for _, text in ipairs({ "", "{", "[]", "1", ("["):rep(100000), '{"Type":"Notification"}',
        '{"Type":"Notification","Message":"no JSON"}' }) do
        local answer = notify.receive(request({ method = "POST", target = "/notify", body = text }))
        assert.equal(422, answer.status, text:sub(1, 40))
        assert.same({}, accepted)
      end
    end)
  end)

  describe("about the service", function()
    it("are ready, or say what is in the way", function()
      assert.equal("ready", status.ready().status)
      local function reason()
        local answer = status.ready()
        assert.equal(503, answer.status)
        return json.decode(answer.body).reason
      end
      prepare(3)
      assert.equal("queue: full", reason())
      prepare()
      local shared = context.shared
      shared.baseline.trouble = "cannot be read"
      assert.equal("bucket: cannot be read", reason())
      shared.bucket_error = "gone"
      assert.equal("bucket: gone", reason())
      shared.history.ready = false
      assert.equal("starting: the bucket is being read", reason())
      shared.draining = true
      assert.equal("draining: the service is stopping", reason())
    end)

    it("begin with what the service it replaces said", function()
      context.shared.bucket_error = "gone"
      local text = json.encode(status.health())
      assert.truthy(text:find('^{"status":"ok","bucket":"bucket","timestamp":"[^"]+",'))
      local body = json.decode(text)
      assert.equal(7, body.generation)
      assert.is_false(body.bucket_reachable)
      assert.equal("gone", body.bucket_error)
    end)

    it("have the figures of this moment", function()
      prepare(2)
      context.shared.baseline.cached = { object = { order = { 't"\n' },
        channels = { ['t"\n'] = { count = 5, mean = 1.5, M2 = 0, std = 0.25 } } } }
      local text = status.metrics()
      assert.truthy(text:find("\nanomalyd_queue_length 2\n", 1, true))
      assert.truthy(text:find('\nanomalyd_baseline_count{channel="t\\"\\n"} 5\n', 1, true))
      assert.truthy(text:find('\nanomalyd_baseline_mean{channel="t\\"\\n"} 1.5\n', 1, true))
      context.shared.baseline.cached.object.channels = {}
      assert.is_nil(status.metrics():find("anomalyd_baseline_count{", 1, true))
    end)
  end)
end)
