local files = require("files")
local metrics = require("metrics")

-- What promtool says of a text: its exit status and words; nil where there is no promtool.
local function promtool(text)
  if not os.execute("command -v promtool >/dev/null 2>&1") then return nil end
  local path = os.tmpname()
  files.write(path, text)
  local words, _, code = files.output("promtool check metrics < " .. path)
  os.remove(path)
  return code, words
end

local function lines_of(text, pattern)
  local found = {}
  for line in text:gmatch("[^\n]+") do
    if line:find(pattern) then found[#found + 1] = line end
  end
  return found
end

describe("metrics", function()
  it("counts, by label", function()
    local m = metrics.of({})
    local labels = { route = "/health", method = "GET", status = 200 }
    m.count("anomalyd_http_requests_total", labels)
    m.count("anomalyd_http_requests_total", labels)
    m.count("anomalyd_http_requests_total", { route = "none", method = "GET", status = 404 })
    m.count("anomalyd_rows_total", nil, 100)
    m.count("anomalyd_rows_total", nil, 0)
    local text = m.text()
    assert.same({
      "# HELP anomalyd_http_requests_total HTTP requests answered.",
      "# TYPE anomalyd_http_requests_total counter",
      'anomalyd_http_requests_total{route="/health",method="GET",status="200"} 2',
      'anomalyd_http_requests_total{route="none",method="GET",status="404"} 1',
    }, lines_of(text, "http_requests_total"))
    assert.same({ "anomalyd_rows_total 100" }, lines_of(text, "^anomalyd_rows_total"))
    assert.equal("\n", text:sub(-1))
  end)

  it("has counters of known labels from the start, as 0", function()
    local text = metrics.of({}).text()
    assert.same({ 'anomalyd_batches_total{result="done"} 0',
      'anomalyd_batches_total{result="duplicate"} 0', 'anomalyd_batches_total{result="failed"} 0',
    }, lines_of(text, "^anomalyd_batches_total"))
    assert.same({ "anomalyd_reload_failures_total 0" }, lines_of(text, "^anomalyd_reload"))
    assert.same({}, lines_of(text, "queue_length"))
  end)

  it("sets and clears gauges", function()
    local m = metrics.of({})
    m.set("anomalyd_baseline_mean", { channel = "a" }, 22.5)
    m.set("anomalyd_baseline_mean", { channel = "a" }, 21.0)
    m.set("anomalyd_baseline_mean", { channel = "b" }, 1e-7)
    m.set("anomalyd_baseline_count", { channel = "a" }, 3700)
    m.set("anomalyd_queue_length", nil, 0)
    m.set("anomalyd_loop_lag_seconds", nil, 0 / 0)
    m.set("anomalyd_credentials_expiry_seconds", nil, math.huge)
    local text = m.text()
    assert.same({ 'anomalyd_baseline_mean{channel="a"} 21', 'anomalyd_baseline_mean{channel="b"} '
      .. "1e-07" }, lines_of(text, "^anomalyd_baseline_mean"))
    assert.same({ "anomalyd_queue_length 0" }, lines_of(text, "^anomalyd_queue_length"))
    assert.same({ "anomalyd_loop_lag_seconds NaN" }, lines_of(text, "^anomalyd_loop"))
    assert.same({ "anomalyd_credentials_expiry_seconds +Inf" }, lines_of(text, "^anomalyd_cred"))
    m.clear("anomalyd_baseline_mean")
    m.set("anomalyd_baseline_mean", { channel = "b" }, 2)
    assert.same({ 'anomalyd_baseline_mean{channel="b"} 2' },
      lines_of(m.text(), "^anomalyd_baseline_mean"))
  end)

  it("sorts observations into buckets that add up", function()
    local m = metrics.of({})
    for _, x in ipairs({ 0.0001, 0.001, 0.0011, 0.3, 100 }) do
      m.observe("anomalyd_http_request_seconds", { route = "/x" }, x)
    end
    local text = m.text()
    local got = {}
    for limit, n in text:gmatch('seconds_bucket{route="/x",le="([^"]+)"} (%d+)') do
      got[#got + 1] = limit .. ":" .. n
    end
    assert.equal("0.0005:1 0.001:2 0.0025:3 0.005:3 0.01:3 0.025:3 0.05:3 0.1:3 0.25:3 0.5:4 1:4 "
      .. "2.5:4 5:4 10:4 +Inf:5", table.concat(got, " "))
    assert.same({ 'anomalyd_http_request_seconds_count{route="/x"} 5' },
      lines_of(text, "seconds_count"))
    assert.near(100.3022, tonumber(text:match("seconds_sum{[^}]*} (%S+)")), 1e-9)
  end)

  it("escapes label values and keeps them UTF-8", function()
    local m = metrics.of({})
    m.count("anomalyd_anomalies_total", { channel = 'a"b\\c\nd é\xff' })
    assert.same({ 'anomalyd_anomalies_total{channel="a\\"b\\\\c\\nd é\u{FFFD}"} 1' },
      lines_of(m.text(), "^anomalyd_anomalies"))
  end)

  it("goes on counting over the same state, and starts anew when a metric changed", function()
    local state = {}
    metrics.of(state).count("anomalyd_rows_total", nil, 5)
    metrics.of(state).count("anomalyd_rows_total", nil, 5)
    assert.same({ "anomalyd_rows_total 10" },
      lines_of(metrics.of(state).text(), "^anomalyd_rows_total"))
    state.anomalyd_rows_total.form = "gauge||"
    assert.same({ "anomalyd_rows_total 0" },
      lines_of(metrics.of(state).text(), "^anomalyd_rows_total"))
  end)

  it("keeps no function of a generation in the state", function()
    local state = {}
    metrics.of(state).observe("anomalyd_http_request_seconds", { route = "/x" }, 1)
    local function walk(t)
      assert.is_nil(getmetatable(t))
      for _, value in pairs(t) do
        assert.is_not_equal("function", type(value))
        if type(value) == "table" then walk(value) end
      end
    end
    walk(state)
  end)

  it("does not grow without end", function()
    local m = metrics.of({})
    for i = 1, 3000 do m.count("anomalyd_anomalies_total", { channel = "c" .. i }) end
    local found = lines_of(m.text(), "^anomalyd_anomalies_total")
    assert.equal(2001, #found)
    assert.equal('anomalyd_anomalies_total{channel="(other)"} 1000', found[1])
  end)

  it("refuses what is not declared", function()
    local m = metrics.of({})
    local function refused(...)
      local ok, message = pcall(...)
      assert.is_false(ok)
      return message
    end
    assert.matches("there is no 'anomalyd_row_total'; did you mean 'anomalyd_rows_total'?",
      refused(m.count, "anomalyd_row_total"))
    assert.matches("anomalyd_rows_total is a counter",
      refused(m.set, "anomalyd_rows_total", nil, 1))
    assert.matches("anomalyd_tasks is a gauge", refused(m.count, "anomalyd_tasks"))
    assert.matches("needs the label 'result'", refused(m.count, "anomalyd_batches_total"))
    assert.matches("has no label 'x'", refused(m.count, "anomalyd_anomalies_total",
      { channel = "a", x = 1 }))
    assert.matches("cannot go down", refused(m.count, "anomalyd_rows_total", nil, -1))
    assert.matches("cannot go down", refused(m.count, "anomalyd_rows_total", nil, 0 / 0))
  end)

  it("is clean to promtool", function()
    local m = metrics.of({})
    m.count("anomalyd_http_requests_total", { route = "/a", method = "GET", status = 200 })
    m.observe("anomalyd_http_request_seconds", { route = "/a" }, 0.1)
    m.observe("anomalyd_batch_seconds", { step = "parse" }, 0.1)
    m.observe("anomalyd_store_request_seconds", { operation = "get" }, 0.1)
    m.count("anomalyd_anomalies_total", { channel = 'x"\\\n' })
    m.count("anomalyd_store_requests_total", { operation = "get", status = 200 })
    m.count("anomalyd_sns_messages_total", { type = "Notification", result = "ok" })
    m.count("anomalyd_baseline_conflicts_total", { kind = "write" })
    for _, name in ipairs({ "queue_length", "batches_in_flight", "generation", "tasks",
      "lua_memory_bytes", "loop_lag_seconds", "credentials_expiry_seconds" }) do
      m.set("anomalyd_" .. name, nil, 1.5)
    end
    for _, name in ipairs({ "count", "mean", "std" }) do
      m.set("anomalyd_baseline_" .. name, { channel = "a" }, 1)
    end
    local code, words = promtool(m.text())
    if not code then return pending("no promtool here") end
    assert.same({ 0, "" }, { code, words })
  end)
end)
