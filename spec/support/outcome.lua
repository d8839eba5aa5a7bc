--- outcome: what a run over many batches must leave in the bucket, whatever happened on the way.
--
--   outcome.rows(n [, seed]) -> CSV text      outcome.event(bucket, key [, etag]) -> an SNS message
--   outcome.check(objects, inputs)     asserts: each input has its scored file and its summary (or
--       its failure record) and nothing else is there; the baseline counts every row once and its
--       moments are those of a sequential run, but for rounding
--
-- `objects` is a bucket of buckets.lua, such as a daemon's.
local column = require("column")
local csv = require("csv")
local digest = require("digest")
local json = require("json")
local assert = require("luassert")

local outcome = {}

local CHANNELS = { "temperature", "humidity", "pressure", "wind_speed" }
outcome.header = "timestamp," .. table.concat(CHANNELS, ",") .. "\n"

--- A batch of `n` quiet rows, the last one far out: its wind speed is `far` (60). Another seed (0)
-- gives other values.
function outcome.rows(n, seed, far)
  local lines = { outcome.header }
  for i = 1, n do
    local wave = math.sin(i + (seed or 0) * 0.7)
    lines[#lines + 1] = ("2026-02-24T00:%02d:%02d,%.2f,%.2f,%.2f,%.2f\n"):format(i // 60, i % 60,
      22 + wave, 55 + 3 * wave, 1013 + 2 * wave, i == n and (far or 60) or 10 + wave)
  end
  return table.concat(lines)
end

--- The message that SNS would send of a new object.
function outcome.event(bucket, key, etag)
  local record = { eventVersion = "2.1", eventSource = "aws:s3", eventName = "ObjectCreated:Put",
    s3 = { bucket = { name = bucket }, object = { key = key:gsub(" ", "+"), eTag = etag } } }
  return json.encode({ Type = "Notification", MessageId = digest.md5(key),
    TopicArn = "arn:aws:sns:us-east-1:123456789012:uploads",
    Timestamp = "2026-02-24T00:00:00.000Z",
    Message = json.encode({ Records = json.array({ record }) }) })
end

local function near(a, b, name)
  assert.is_true(math.abs(a - b) <= 1e-12 * math.max(math.abs(a), math.abs(b)),
    ("%s: %.17g is not %.17g"):format(name, a, b))
end

--- The moments of all rows, batch after batch.
local function sequential(texts)
  local state = {}
  for _, text in ipairs(texts) do
    local frame = assert(csv.parse(text))
    for _, name in ipairs(CHANNELS) do
      state[name] = column.moments(frame:column(name), state[name])
    end
  end
  return state
end

--- The texts in the order in which they were scored.
local function in_order(inputs, summaries)
  local names, texts = {}, {}
  for name in pairs(summaries) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    return summaries[a].processed_at < summaries[b].processed_at
  end)
  for i, name in ipairs(names) do texts[i] = inputs[name] end
  return texts
end

function outcome.check_baseline(objects, texts)
  local baseline = assert(json.decode(assert(objects:get("state/baseline.json"))))
  for name, moments in pairs(sequential(texts)) do
    assert.equal(moments.count, baseline[name].count, name .. "'s count")
    for _, field in ipairs({ "mean", "M2", "std" }) do
      near(baseline[name][field], moments[field], name .. "." .. field)
    end
  end
end

--- Is this batch done?
function outcome.is_done(objects, name, text, failing)
  local key = failing and failing[name] and "failed/" .. name .. ".csv_error.json"
    or "processed/" .. name .. "_summary.json"
  local record = json.decode(objects:get(key) or "")
  return record ~= nil and record.source_etag == digest.md5(text)
end

--- Is everything done? For polling.
-- @param inputs {name = text}; failing {name = true}: those that can never be scored
-- @param seen {name = true} of those that were done at an earlier call, or nil
function outcome.is_complete(objects, inputs, failing, seen)
  for name, text in pairs(inputs) do
    if not (seen and seen[name]) then
      if not outcome.is_done(objects, name, text, failing) then return false end
      if seen then seen[name] = true end
    end
  end
  return true
end

function outcome.check(objects, inputs, failing)
  local expected, summaries = {}, {}
  for name, text in pairs(inputs) do
    if not (failing and failing[name]) then
      local scored, record = "processed/" .. name .. ".csv", "processed/" .. name .. "_summary.json"
      expected[scored], expected[record] = true, true
      local summary = json.decode(assert(objects:get(record)))
      local frame = assert(csv.parse(assert(objects:get(scored)), { text_only = true }))
      assert.equal(digest.md5(text), summary.source_etag)
      assert.equal(summary.total_rows, frame.rows)
      assert.equal(summary.anomaly_count, #frame:select("anomaly", "True", 1000))
      summaries[name] = summary
    end
  end
  assert.same(expected, objects:keys("processed/"))
  outcome.check_baseline(objects, in_order(inputs, summaries))
end

return outcome
