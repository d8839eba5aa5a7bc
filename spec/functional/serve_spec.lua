-- The service as a user meets it: the real binary on a directory bucket, over HTTP.
local csv = require("csv")
local daemon = require("daemon")
local golden = require("golden")
local json = require("json")
local outcome = require("outcome")

local HEADER, rows = outcome.header, outcome.rows

describe("the service", function()
  local s
  after_each(function()
    if s then s:remove() end
    s = nil
  end)

  it("answers on a fresh bucket as the one it replaces did", function()
    s = daemon.start()
    local status, health = s:get("/health")
    assert.equal(200, status)
    assert.equal("ok", health.status)
    assert.equal("bucket", health.bucket)
    assert.truthy(health.timestamp:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%d$"))
    local _, _, text, headers = s:get("/anomalies/recent")
    assert.equal('{"count":0,"anomalies":[]}', text)
    assert.equal("application/json", headers["content-type"])
    assert.equal('{"message":"No processed files yet."}', select(3, s:get("/anomalies/summary")))
    assert.equal('{"last_updated":null,"channels":{}}', select(3, s:get("/baseline/current")))
  end)

  it("scores a file that lands, and shows it", function()
    s = daemon.start()
    s:drop("good one.csv", rows(100))
    local summary = s:summary("good one")
    assert.equal("raw/good one.csv", summary.source_key)
    assert.equal("processed/good one.csv", summary.output_key)
    assert.equal(100, summary.total_rows)
    assert.equal(100, summary.baseline_observation_counts.wind_speed)
    assert.equal(32, #summary.source_etag)
    assert.same({ "temperature", "humidity", "pressure", "wind_speed" }, summary.channels)
    local frame = assert(csv.parse(s:object("processed/good one.csv"), { text_only = true }))
    assert.equal("True", frame:cell(100, "anomaly"))
    assert.equal("True", frame:cell(100, "wind_speed_zscore_flag"))
    assert.equal(100, json.decode(s:object("state/baseline.json")).humidity.count)

    -- The summary is seen a moment before it is durable, and in the index.
    local recent = s:wait_for(function()
      local _, body = s:get("/anomalies/recent?limit=1")
      return body.count == 1 and body
    end, "its anomalies")
    assert.equal("processed/good one.csv", recent.anomalies[1].source_file)
    assert.is_true(recent.anomalies[1].anomaly)
    local _, all = s:get("/anomalies/summary")
    assert.equal(1, all.files_processed)
    assert.equal(100, all.total_rows_scored)
    assert.equal(summary.anomaly_count, all.total_anomalies)
    assert.equal("raw/good one.csv", all.most_recent[1].source_key)
    local _, current = s:get("/baseline/current")
    assert.equal(100, current.channels.temperature.observations)
    assert.is_true(current.channels.temperature.baseline_mature)
    local _, batches = s:get("/batches?state=done")
    assert.equal("raw/good one.csv", batches.batches[1].key)
  end)

  it("finds at start what landed while it was away", function()
    s = daemon.start()
    assert.equal(0, s:stop())
    s:drop("late.csv", rows(40))
    s:restart()
    assert.equal(40, s:summary("late").total_rows)
  end)

  it("does not read a file that is still being written", function()
    s = daemon.start()
    local path = s.bucket .. "/raw/slow.csv"
    local text = rows(50)
    local file = assert(io.open(path, "wb"))
    file:write(text:sub(1, #text // 2))
    file:flush()
    s:drop("quick.csv", rows(30))
    s:summary("quick")
    assert.is_nil(s:object("processed/slow_summary.json"))
    assert.is_nil(s:object("failed/slow.csv_error.json"))
    file:write(text:sub(#text // 2 + 1))
    file:close()
    assert.equal(50, s:summary("slow").total_rows)
  end)

  it("counts the same content once, however often it lands", function()
    s = daemon.start()
    for _ = 1, 3 do
      s:drop("same.csv", rows(30))
      s:summary("same")
    end
    s:drop("other.csv", rows(30, 5))
    s:summary("other")
    assert.equal(60, json.decode(s:object("state/baseline.json")).temperature.count)
    s:drop("same.csv", rows(35))
    s:wait_for(function() return s:summary("same").total_rows == 35 end, "the new content")
    assert.equal(95, json.decode(s:object("state/baseline.json")).temperature.count)
  end)

  it("answers wrong requests with bodies that say what is wrong", function()
    s = daemon.start()
    local status, _, text = s:get("/anomalies/recent?limit=abc")
    assert.equal(422, status)
    assert.equal('{"detail":[{"type":"int_parsing","loc":["query","limit"],"msg":"Input should be '
      .. 'a valid integer, unable to parse string as an integer","input":"abc"}]}', text)
    status, _, text = s:get("/nope")
    assert.equal(404, status)
    assert.equal('{"detail":"Not Found"}', text)
    local headers
    for _, method in ipairs({ "PUT", "DELETE", "PATCH", "OPTIONS", "BREW" }) do
      status, _, text, headers = s:request(method, "/health")
      assert.equal(405, status, method)
      assert.equal('{"detail":"Method Not Allowed"}', text)
      assert.equal("GET", headers.allow)
    end
    status = s:get("/anomalies/recent?limit=0")
    assert.equal(422, status)
    status = s:post("/notify", "this is no JSON")
    assert.equal(422, status)
    status, _, _, headers = s:get("/health/")
    assert.equal(307, status)
    assert.equal("/health", headers.location)
  end)

  it("records what can never be scored and goes on", function()
    s = daemon.start()
    local bad = { empty = "", junk = "\0\1\2\3", unclosed = HEADER .. "2026,1,2,3,\"4\n",
      strangers = "a,b\n1,2\n", ["no row"] = HEADER .. "1,2\n3,4\n" }
    for name, text in pairs(bad) do s:drop(name .. ".csv", text) end
    for name in pairs(bad) do
      local record = s:wait_for(function()
        local found = s:object("failed/" .. name .. ".csv_error.json")
        return found and json.decode(found)
      end, "the record of " .. name)
      assert.equal("raw/" .. name .. ".csv", record.source_key)
      assert.is_true(#record.reason > 10)
      assert.equal(32, #record.source_etag)
    end
    s:drop("good.csv", rows(30))
    assert.equal(30, s:summary("good").total_rows)
    assert.equal(30, json.decode(s:object("state/baseline.json")).temperature.count)
    local _, failed = s:get("/batches?state=failed")
    assert.equal(5, failed.count)
  end)

  it("keeps rows aside that do not fit, and scores the others", function()
    s = daemon.start()
    s:drop("ragged.csv", rows(40) .. "2026,1,2\n2026,1,2,3,4,5,6\n")
    local summary = s:summary("ragged")
    assert.equal(40, summary.total_rows)
    assert.equal(2, summary.rejected_rows)
    assert.equal("failed/ragged_rejected.csv", summary.rejected_key)
    assert.truthy(s:object("failed/ragged_rejected.csv"):find("\n42,", 1, true))
  end)

  it("goes on while the bucket cannot be written, and loses nothing", function()
    s = daemon.start()
    daemon.write(s.bucket .. "/processed", "a file where a directory must be")
    s:drop("patient.csv", rows(30))
    s:wait_for(function() return s:log():find("it will be tried again", 1, true) end, "the retry")
    assert.equal(200, (s:get("/health")))
    assert.equal(1, select(2, s:get("/batches?state=retrying")).count)
    os.remove(s.bucket .. "/processed")
    assert.equal(30, s:summary("patient").total_rows)
    assert.equal(30, json.decode(s:object("state/baseline.json")).temperature.count)
  end)

  it("serves its own description and a page for it", function()
    s = daemon.start()
    local _, document = s:get("/openapi.json")
    assert.equal("3.1.0", document.openapi)
    for _, path in ipairs({ "/notify", "/anomalies/recent", "/anomalies/summary",
      "/baseline/current", "/health", "/ready", "/metrics", "/batches" }) do
      assert.is_table(document.paths[path], path)
    end
    local status, _, page, headers = s:get("/docs")
    assert.equal(200, status)
    assert.equal("text/html; charset=utf-8", headers["content-type"])
    assert.is_nil(page:find("https?://[^%s\"']*cdn"))
    local _, _, text, kind = s:get("/metrics")
    assert.truthy(kind["content-type"]:find("^text/plain; version=0.0.4"))
    local series = 'anomalyd_http_requests_total{route="/docs",method="GET",status="200"} 1'
    assert.truthy(text:find(series, 1, true))
  end)

  it("finishes what it has begun when it is told to stop", function()
    s = daemon.start()
    for i = 1, 30 do s:drop(("b%02d.csv"):format(i), rows(50, i)) end
    s:summary("b01")
    assert.equal(0, s:stop())
    assert.truthy(s:log():find("shutting down", 1, true))
    s:restart()
    for i = 1, 30 do s:summary(("b%02d"):format(i)) end
    assert.equal(1500, json.decode(s:object("state/baseline.json")).temperature.count)
  end)

  it("ends in the reference's baseline after the sequence of batches", function()
    local cases = golden.cases(function(case) return case.group == "sequence" end)
    if not cases then
      pending("the reference data is not at hand")
      return
    end
    s = daemon.start()
    for _, case in ipairs(cases) do s:drop(case.id .. ".csv", golden.read(case, "input")) end
    for _, case in ipairs(cases) do s:summary(case.id) end
    local ours = json.decode(s:object("state/baseline.json"))
    local theirs = golden.json(golden.read(cases[#cases], "baseline_out"))
    for name, channel in pairs(theirs) do
      if type(channel) == "table" then
        assert.equal(channel.count, ours[name].count)
        for _, field in ipairs({ "mean", "M2", "std" }) do
          assert.is_true(golden.near(ours[name][field], channel[field], 1e-12), name .. field)
        end
      end
    end
  end)
end)

describe("a wrong start", function()
  it("says what to set and ends with 2", function()
    local code, _, err = daemon.run("serve", nil, "-u BUCKET_NAME")
    assert.equal(2, code)
    assert.truthy(err:find("BUCKET_NAME", 1, true))
    code, _, err = daemon.run("serve --bucket ./x --prt 1")
    assert.equal(2, code)
    assert.truthy(err:find("did you mean --port?", 1, true))
    code, _, err = daemon.run("serve --bucket ./x --port 99999")
    assert.equal(2, code)
    assert.truthy(err:find("a whole number from 0 to 65535", 1, true))
    assert.equal(1, select(2, err:gsub("\n", "")))
  end)

  it("says which port is in use and ends with 1", function()
    local s = daemon.start()
    local code, _, err = daemon.run(("serve --host 127.0.0.1 --port %d --bucket %s"):format(s.port,
      s.bucket))
    s:remove()
    assert.equal(1, code)
    assert.truthy(err:find("in use", 1, true), err)
  end)

  it("says when the bucket is no directory", function()
    local dir = daemon.directory()
    daemon.write(dir .. "/file", "x")
    local code, _, err = daemon.run("serve --port 0 --bucket " .. dir .. "/file")
    os.execute("rm -rf " .. dir)
    assert.equal(1, code)
    assert.truthy(err:find("file", 1, true))
  end)
end)

describe("anomalyd score", function()
  it("takes stdin and gives stdout", function()
    local code, out = daemon.run("score -", rows(30))
    assert.equal(0, code)
    local frame = assert(csv.parse(out, { text_only = true }))
    assert.equal(30, frame.rows)
    assert.equal("anomaly", frame.names[#frame.names])
  end)

  it("says where a file is wrong and ends with 1", function()
    local code, out, err = daemon.run("score -", HEADER .. "1,2,3,4,\"5\n")
    assert.equal(1, code)
    assert.equal("", out)
    assert.truthy(err:find("^anomalyd: %-:2: "), err)
    assert.equal(1, select(2, err:gsub("\n", "")))
  end)

  it("takes channels from the command line", function()
    local code, out = daemon.run("score --channels load -", "t,load\n1,2\n2,3\n3,2.5\n")
    assert.equal(0, code)
    assert.equal("t,load,load_zscore,load_zscore_flag,if_label,if_score,if_flag,anomaly",
      out:match("^[^\n]+"))
  end)
end)
