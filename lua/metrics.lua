--- metrics: the service's counters, gauges and histograms, and their text for Prometheus.
--
-- Every metric is declared in the table below; a name or label that is not raises. The figures lie
-- in a plain table that the host hands in, so they go on counting when this file is reloaded; a
-- metric whose declaration changed starts anew. No family grows beyond 2000 series: what comes
-- after is counted under the label values "(other)". The text is Prometheus' format 0.0.4.
local json = require("json")
local suggest = require("suggest")

local metrics = {}

local MOST_SERIES = 2000
local OTHER = "(other)"

local REQUEST_BUCKETS = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
  5, 10 }
local WORK_BUCKETS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
  60 }

-- name, kind, help; labels in order; buckets of a histogram; `values`: what the one label can be,
-- so that each is there, as 0, from the start.
local DECLARED = {
  { "anomalyd_http_requests_total", "counter", "HTTP requests answered.",
    labels = { "route", "method", "status" } },
  { "anomalyd_http_request_seconds", "histogram", "Time from a request to its answer.",
    labels = { "route" }, buckets = REQUEST_BUCKETS },
  { "anomalyd_batches_total", "counter", "Batches finished, by how they ended.",
    labels = { "result" }, values = { "done", "failed", "duplicate" } },
  { "anomalyd_rows_total", "counter", "Rows scored." },
  { "anomalyd_rows_rejected_total", "counter", "Rows that did not fit their file's header." },
  { "anomalyd_anomalies_total", "counter", "Values flagged by their z-score, by channel.",
    labels = { "channel" } },
  { "anomalyd_batch_seconds", "histogram", "Time that a step of a batch took.",
    labels = { "step" }, buckets = WORK_BUCKETS },
  { "anomalyd_queue_length", "gauge", "Batches accepted that wait." },
  { "anomalyd_batches_in_flight", "gauge", "Batches that are worked on." },
  { "anomalyd_store_requests_total", "counter", "Requests to the bucket.",
    labels = { "operation", "status" } },
  { "anomalyd_store_retries_total", "counter", "Requests to the bucket that were repeated." },
  { "anomalyd_store_request_seconds", "histogram", "Time of a request to the bucket.",
    labels = { "operation" }, buckets = WORK_BUCKETS },
  { "anomalyd_sns_messages_total", "counter", "SNS messages, by type and what became of them.",
    labels = { "type", "result" } },
  { "anomalyd_baseline_conflicts_total", "counter",
    "Baseline writes that met another host's, by kind.", labels = { "kind" } },
  -- No gauge: a gauge's name must not end like a histogram's _count, and this name is a promise.
  { "anomalyd_baseline_count", "untyped", "Values that the baseline has learned from.",
    labels = { "channel" } },
  { "anomalyd_baseline_mean", "gauge", "The baseline's mean.", labels = { "channel" } },
  { "anomalyd_baseline_std", "gauge", "The baseline's standard deviation.",
    labels = { "channel" } },
  { "anomalyd_generation", "gauge", "The generation of scripts that serves." },
  { "anomalyd_reload_failures_total", "counter", "Reloads that were refused." },
  { "anomalyd_tasks", "gauge", "Lua tasks alive." },
  { "anomalyd_lua_memory_bytes", "gauge", "Memory that Lua holds." },
  { "anomalyd_loop_lag_seconds", "gauge", "How late the event loop's last timer was." },
  { "anomalyd_credentials_expiry_seconds", "gauge",
    "Seconds until the AWS credentials expire; negative when they have." },
  { "anomalyd_tls_certificate_expiry_seconds", "gauge",
    "Seconds until the certificate of the HTTPS port expires; negative when it has." },
  { "anomalyd_tls_handshake_failures_total", "counter",
    "TLS handshakes that were not finished, by reason.", labels = { "reason" } },
}

local NO_LABELS = {}

-- Text that a scrape can carry: UTF-8, escaped.
local function escaped(value)
  local text = tostring(value)
  if not utf8.len(text) then text = json.decode(json.encode(text)) end
  return (text:gsub('[\\"\n]', { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }))
end

local function render(family, labels)
  local parts = {}
  for i, name in ipairs(family.labels) do
    parts[i] = name .. '="' .. escaped(labels[name]) .. '"'
  end
  return table.concat(parts, ",")
end

-- One series: its labels as text and its figure, or the counts of its buckets.
local function new_series(family, labels)
  local series = { text = render(family, labels) }
  if family.kind == "histogram" then
    series.count, series.sum, series.buckets = 0, 0.0, {}
    for i = 1, #family.buckets do series.buckets[i] = 0 end
  else
    series.value = 0
  end
  return series
end

local function check_labels(family, labels)
  for name in pairs(labels) do
    local known = false
    for _, declared in ipairs(family.labels) do known = known or declared == name end
    if not known then
      error(("metrics: %s has no label '%s'"):format(family.name, tostring(name)), 4)
    end
  end
end

local function key_of(family, labels)
  local names = family.labels
  if #names == 0 then return "" end
  local values = {}
  for i, name in ipairs(names) do
    local value = labels[name]
    if value == nil then
      error(("metrics: %s needs the label '%s'"):format(family.name, name), 4)
    end
    values[i] = tostring(value)
  end
  return #names == 1 and values[1] or table.concat(values, "\0")
end

local function others(family)
  local labels = {}
  for _, name in ipairs(family.labels) do labels[name] = OTHER end
  return labels
end

-- The series of these labels; made when it is not there.
local function series_of(family, labels)
  labels = labels or NO_LABELS
  local figures = family.figures
  local key = key_of(family, labels)
  local series = figures.series[key]
  if series then return series end
  check_labels(family, labels)
  if figures.n >= MOST_SERIES then
    labels = others(family)
    key = key_of(family, labels)
    if figures.series[key] then return figures.series[key] end
  end
  series = new_series(family, labels)
  figures.series[key] = series
  figures.n = figures.n + 1
  return series
end

-- The family of a declaration over its part of the state.
local function family_of(declared, state)
  local family = {
    name = declared[1], kind = declared[2], help = declared[3],
    labels = declared.labels or NO_LABELS, buckets = declared.buckets,
  }
  local form = family.kind .. "|" .. table.concat(family.labels, ",") .. "|"
    .. table.concat(family.buckets or NO_LABELS, ",")
  if not state[family.name] or state[family.name].form ~= form then
    state[family.name] = { form = form, n = 0, series = {} }
  end
  family.figures = state[family.name]
  if family.kind == "counter" and #family.labels == 0 then series_of(family) end
  for _, value in ipairs(declared.values or NO_LABELS) do
    series_of(family, { [family.labels[1]] = value })
  end
  return family
end

local function number_text(x)
  if x ~= x then return "NaN" end
  if x == math.huge then return "+Inf" end
  if x == -math.huge then return "-Inf" end
  local whole = math.tointeger(x)
  return whole and tostring(whole) or json.encode(x)
end

local function add_histogram(lines, family, series)
  local prefix = series.text == "" and "" or series.text .. ","
  local total = 0
  for i, limit in ipairs(family.buckets) do
    total = total + series.buckets[i]
    lines[#lines + 1] = ('%s_bucket{%sle="%s"} %d'):format(family.name, prefix,
      number_text(limit), total)
  end
  local braces = series.text == "" and "" or "{" .. series.text .. "}"
  lines[#lines + 1] = ('%s_bucket{%sle="+Inf"} %d'):format(family.name, prefix, series.count)
  lines[#lines + 1] = ("%s_sum%s %s"):format(family.name, braces, number_text(series.sum))
  lines[#lines + 1] = ("%s_count%s %d"):format(family.name, braces, series.count)
end

local function add_family(lines, family)
  local keys = {}
  for key in pairs(family.figures.series) do keys[#keys + 1] = key end
  if #keys == 0 then return end
  table.sort(keys)
  lines[#lines + 1] = "# HELP " .. family.name .. " " .. family.help
  lines[#lines + 1] = "# TYPE " .. family.name .. " " .. family.kind
  for _, key in ipairs(keys) do
    local series = family.figures.series[key]
    if family.kind == "histogram" then
      add_histogram(lines, family, series)
    else
      local braces = series.text == "" and "" or "{" .. series.text .. "}"
      lines[#lines + 1] = family.name .. braces .. " " .. number_text(series.value)
    end
  end
end

--- The content type of metrics.of(...).text().
metrics.content_type = "text/plain; version=0.0.4; charset=utf-8"

--- The metrics over `state`, a table that outlives reloads (empty at first). Gives functions:
--
--   count(name, labels, n)      add n (default 1, never negative) to a counter
--   set(name, labels, value)    set a gauge
--   clear(name)                 forget all series of a gauge, before those that are left are set
--   observe(name, labels, x)    put x into a histogram
--   text()                      the whole of it for a scrape
--
-- `labels` is a table label -> value, nil for a metric without labels.
function metrics.of(state)
  local families, by_name = {}, {}
  for i, declared in ipairs(DECLARED) do
    families[i] = family_of(declared, state)
    by_name[declared[1]] = families[i]
  end

  local function find(name, a, b)
    local family = by_name[name]
    if not family then
      error(("metrics: there is no '%s'%s"):format(tostring(name),
        suggest.phrase(name, by_name)), 3)
    end
    if family.kind ~= a and family.kind ~= b then
      error(("metrics: %s is a %s"):format(name, family.kind), 3)
    end
    return family
  end

  local of = {}

  function of.count(name, labels, n)
    local family = find(name, "counter")
    n = n or 1
    if n ~= n or n < 0 then error("metrics: " .. name .. " cannot go down", 2) end
    local series = series_of(family, labels)
    series.value = series.value + n
  end

  function of.set(name, labels, value)
    series_of(find(name, "gauge", "untyped"), labels).value = value
  end

  function of.clear(name)
    local figures = find(name, "gauge", "untyped").figures
    figures.n, figures.series = 0, {}
  end

  function of.observe(name, labels, x)
    local family = find(name, "histogram")
    local series = series_of(family, labels)
    series.count = series.count + 1
    series.sum = series.sum + x
    for i, limit in ipairs(family.buckets) do
      if x <= limit then
        series.buckets[i] = series.buckets[i] + 1
        break
      end
    end
  end

  function of.text()
    local lines = {}
    for _, family in ipairs(families) do add_family(lines, family) end
    return table.concat(lines, "\n") .. "\n"
  end

  return of
end

return metrics
