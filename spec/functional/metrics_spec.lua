-- What the running service measures: every name is there, moves when it should, and the text is
-- one that Prometheus reads.
local daemon = require("daemon")
local files = require("files")
local json = require("json")
local scripted = require("scripted")

--- Read a scrape as Prometheus does. @return values: 'name{labels}' -> number; kinds: name -> type
-- Raises on what the format does not allow.
local function read(text)
  local values, kinds, helps = {}, {}, {}
  assert(text:sub(-1) == "\n", "the last line has no end")
  for line in text:gmatch("([^\n]*)\n") do
    local what, name, rest = line:match("^# (%u+) ([%a_:][%w_:]*) (.+)$")
    if what == "HELP" then
      assert(not helps[name], "a second HELP of " .. name)
      helps[name] = rest
    elseif what == "TYPE" then
      assert(helps[name] and not kinds[name], "TYPE without HELP, or twice: " .. name)
      assert(({ counter = 1, gauge = 1, histogram = 1, untyped = 1 })[rest], rest)
      kinds[name] = rest
    else
      local series, value = line:match("^(%S.*) (%S+)$")
      local metric, labels = (series or ""):match("^([%a_:][%w_:]*)(.*)$")
      assert(metric, "no sample: " .. line)
      local family = kinds[metric] and metric or metric:gsub("_%a+$", "")
      assert(kinds[family], "no TYPE before " .. line)
      if labels ~= "" then
        local left = labels:gsub('^{', ","):gsub("}$", "")
        repeat
          local found
          left, found = left:gsub('^,[%a_][%w_]*="[^"\\]*"', "", 1)
        until found == 0
        assert(left == "", "labels of " .. line)
      end
      assert(not values[series], "twice: " .. series)
      values[series] = assert(tonumber(value), "no number: " .. line)
    end
  end
  return values, kinds
end

local function scrape(s)
  local status, _, text, headers = s:get("/metrics")
  assert.equal(200, status)
  assert.equal("text/plain; version=0.0.4; charset=utf-8", headers["content-type"])
  local values, kinds = read(text)
  return values, kinds, text
end

local EVERYWHERE = {
  "anomalyd_http_requests_total", "anomalyd_http_request_seconds", "anomalyd_batches_total",
  "anomalyd_rows_total", "anomalyd_rows_rejected_total", "anomalyd_anomalies_total",
  "anomalyd_batch_seconds", "anomalyd_queue_length", "anomalyd_batches_in_flight",
  "anomalyd_store_requests_total", "anomalyd_store_retries_total",
  "anomalyd_store_request_seconds", "anomalyd_sns_messages_total", "anomalyd_baseline_count",
  "anomalyd_baseline_mean", "anomalyd_baseline_std", "anomalyd_generation",
  "anomalyd_reload_failures_total", "anomalyd_tasks", "anomalyd_lua_memory_bytes",
  "anomalyd_loop_lag_seconds",
}

local function batch(rows, last)
  local lines = { "timestamp,temperature" }
  for i = 1, rows do
    lines[#lines + 1] = ("2026-02-24T00:00:%02d,%s"):format(i % 60,
      i == rows and last or 21 + (i % 5) / 10)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function event(key)
  return json.encode({ Records = { { eventVersion = "2.1", eventSource = "aws:s3",
    eventName = "ObjectCreated:Put",
    s3 = { bucket = { name = "bucket" }, object = { key = key, size = 10 } } } } })
end

local function notification(key)
  return json.encode({ Type = "Notification", MessageId = "m-" .. key, Message = event(key),
    TopicArn = "arn:aws:sns:eu-west-3:111122223333:t", Timestamp = "2026-02-24T00:00:00.000Z" })
end

describe("the metrics", function()
  local s
  after_each(function()
    if s then s:remove() end
    s = nil
  end)

  it("are all there after a burst, have moved, and read well", function()
    local dir = daemon.scripts()
    s = daemon.start({ args = "--insecure-sns --scripts " .. dir })
    for i = 1, 12 do s:drop("b" .. i .. ".csv", batch(40, i == 12 and "90" or "21.2")) end
    s:drop("bad.csv", "\0\0\0")
    s:drop("odd.csv", "timestamp,temperature\n2026-02-24,21.1\n2026-02-24,21.1,5,6,7\n")
    for i = 1, 12 do s:summary("b" .. i) end
    s:summary("odd")
    s:wait_for(function() return s:object("failed/bad.csv_error.json") end, "the failure")
    assert.equal(200, (s:post("/notify", notification("raw/b1.csv"),
      { ["x-amz-sns-message-type"] = "Notification" })))
    s:get("/nowhere")
    daemon.write(dir .. "/app.lua", "return (")
    s:signal("HUP")
    s:wait_for(function() return s:log():find("reload failed", 1, true) end, "the failed reload")
    local v, kinds, text = scrape(s)
    for _, name in ipairs(EVERYWHERE) do assert.truthy(kinds[name], name .. " is missing") end
    s:wait_for(function()
      v = scrape(s)
      return v['anomalyd_batches_total{result="duplicate"}'] == 1
    end, "the duplicate")
    assert.equal(13, v['anomalyd_batches_total{result="done"}'])
    assert.equal(1, v['anomalyd_batches_total{result="failed"}'])
    assert.equal(481, v.anomalyd_rows_total)
    assert.equal(1, v.anomalyd_rows_rejected_total)
    assert.is_true(v['anomalyd_anomalies_total{channel="temperature"}'] >= 1)
    assert.equal(481, v['anomalyd_baseline_count{channel="temperature"}'])
    assert.is_true(v['anomalyd_baseline_mean{channel="temperature"}'] > 20)
    assert.is_true(v['anomalyd_baseline_std{channel="temperature"}'] > 1)
    for _, step in ipairs({ "parse", "forest", "baseline", "publish" }) do
      assert.is_true(v[('anomalyd_batch_seconds_count{step="%s"}'):format(step)] >= 13, step)
    end
    for _, operation in ipairs({ "get", "put", "list" }) do
      assert.is_true(v[('anomalyd_store_requests_total{operation="%s",status="ok"}')
        :format(operation)] >= 2, operation)
      assert.is_true(v[('anomalyd_store_request_seconds_count{operation="%s"}')
        :format(operation)] >= 2, operation)
    end
    assert.equal(1, v['anomalyd_http_requests_total{route="none",method="GET",status="404"}'])
    assert.is_true(v['anomalyd_http_request_seconds_count{route="/metrics"}'] >= 1)
    assert.equal(1, v.anomalyd_generation)
    assert.equal(1, v.anomalyd_reload_failures_total)
    assert.is_true(v.anomalyd_tasks >= 1 and v.anomalyd_lua_memory_bytes > 100000)
    assert.equal(0, v.anomalyd_queue_length)
    assert.equal(0, v.anomalyd_batches_in_flight)
    if os.execute("command -v promtool >/dev/null 2>&1") then
      daemon.write(dir .. "/metrics", text)
      local said, ok = files.output("promtool check metrics <" .. dir .. "/metrics")
      assert.is_true(ok, said)
      assert.equal("", said)
    end
    os.execute("rm -rf " .. dir)
  end)

  it("show the loop's lag after a handler that blocked it", function()
    local dir = daemon.scripts([[
  app.get("/hang", { summary = "hang" }, function()
    os.execute("sleep 1.6")
    return {}
  end)
]])
    s = daemon.start({ args = "--scripts " .. dir })
    assert.is_true(scrape(s).anomalyd_loop_lag_seconds < 0.5)
    s:get("/hang")
    s:wait_for(function() return scrape(s).anomalyd_loop_lag_seconds > 0.5 end, "the lag")
    os.execute("rm -rf " .. dir)
  end)

  it("count S3's retries and tell when the instance's keys expire", function()
    local function says(text) return scripted.answer(200, {}, text) end
    local expires = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 3 * 3600)
    local imds <close> = scripted.start({ says("token"), says("role"), says(json.encode({
      Code = "Success", AccessKeyId = "AKID", SecretAccessKey = "secret", Token = "t",
      Expiration = expires })) })
    -- The baseline is asked for first, twice, then lists.
    local s3 <close> = scripted.start({ scripted.error(503, "SlowDown"),
      scripted.error(404, "NoSuchKey"), scripted.answer(200,
      { { "Content-Type", "application/xml" } },
      "<ListBucketResult><Name>bk</Name><IsTruncated>false</IsTruncated></ListBucketResult>") })
    s = daemon.start({ bucket = "bk", env = "AWS_REGION=eu-west-3 AWS_ENDPOINT_URL=" .. s3.url
      .. " AWS_EC2_METADATA_SERVICE_ENDPOINT=" .. imds.url .. " HOME=/nonexistent" })
    s:wait_for(function() return (s:get("/ready")) == 200 end, "the service to be ready")
    local v = scrape(s)
    assert.equal(1, v.anomalyd_store_retries_total)
    assert.is_true(math.abs(v.anomalyd_credentials_expiry_seconds - 3 * 3600) < 60)
    assert.equal(1, scrape(s).anomalyd_store_retries_total)
  end)

  it("leave /health alone, and make /ready say so, when there are no credentials", function()
    local imds <close> = scripted.start({ scripted.answer(404, {}, "") })
    local s3 <close> = scripted.start({ scripted.error(403, "AccessDenied") })
    s = daemon.start({ bucket = "bk", env = "AWS_REGION=eu-west-3 AWS_ENDPOINT_URL=" .. s3.url
      .. " AWS_EC2_METADATA_SERVICE_ENDPOINT=" .. imds.url .. " HOME=/nonexistent" })
    local body
    s:wait_for(function()
      local status, value = s:get("/ready")
      body = value
      return status == 503 and value.reason:find("^credentials: ")
    end, "the reason")
    assert.equal("unavailable", body.status)
    assert.equal(200, (s:get("/health")))
  end)
end)

describe("a request's id", function()
  local s

  --- Put a file and tell of it with an id, so that the message is the batch's cause.
  -- @return the id, where it was: now and then the watcher of the directory is first
  local function tell(name, text)
    local id = "id-of-" .. name
    daemon.write(s.dir .. "/" .. name, text)
    assert(os.execute(("ln %s/%s %s/raw/%s.csv"):format(s.dir, name, s.bucket, name)))
    local status, _, _, headers = s:post("/notify", notification("raw/" .. name .. ".csv"),
      { ["x-amz-sns-message-type"] = "Notification", ["x-request-id"] = id })
    assert.equal(200, status)
    assert.equal(id, headers["x-request-id"])
    local _, answer = s:get("/batches?limit=100")
    for _, item in ipairs(answer.batches) do
      if item.key == "raw/" .. name .. ".csv" and item.request_id == id then return id end
    end
  end

  --- Put files of this text under new names until a message was first. @return the name, the id
  local function caused(prefix, text)
    for try = 1, 50 do
      local name = prefix .. try
      local id = tell(name, text)
      if id then return name, id end
    end
    error("no batch has the id of the message that told of it")
  end

  --- The log's records about this batch all have the id. @return how many there are
  local function lines_of(name, id)
    local lines = 0
    for line in s:log():gmatch("[^\n]+") do
      local record = assert(json.decode(line), line)
      if record.key == "raw/" .. name .. ".csv" then
        lines = lines + 1
        assert.equal(id, record.request_id, line)
      end
    end
    return lines
  end

  it("is on every line of the batch that it caused, and in its summary and its failure", function()
    s = daemon.start({ args = "--insecure-sns --log-format json --log-level debug" })
    local cleanup <close> = setmetatable({}, { -- luacheck: ignore
      __close = function() s:remove() end })
    local good, good_id = caused("good", batch(30, "21.1"))
    local bad, bad_id = caused("bad", "\0")
    assert.equal(good_id, s:summary(good).request_id)
    local failure = "failed/" .. bad .. ".csv_error.json"
    s:wait_for(function() return s:object(failure) end, "the failure")
    assert.equal(0, s:stop())
    assert.is_true(lines_of(good, good_id) >= 1)
    assert.is_true(lines_of(bad, bad_id) >= 1)
    assert.equal(bad_id, json.decode(s:object(failure)).request_id)
  end)
end)
