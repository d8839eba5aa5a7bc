-- history: the index of summaries, against a bucket in memory. It waits, so it is at home in the
-- host.
local inside = pcall(require, "task")
if not inside then
  describe("history", function() pending("runs inside the host only") end)
  return
end

local context = require("context")
local history = require("history")
local json = require("json")
local memory_bucket = require("memory_bucket")

local function summary(at, anomalies, etag)
  return { source_key = "raw/x.csv", processed_at = at, total_rows = 10,
    anomaly_count = anomalies or 0, source_etag = etag or at }
end

local function text_of(...) return json.encode(summary(...)) end

describe("history", function()
  local store, said
  before_each(function()
    store, said = memory_bucket.new(), {}
    context.store = store
    context.log = function(_, text, fields) said[#said + 1] = text .. " " .. (fields.key or "") end
    context.round4 = function(x) return math.floor(x * 10000 + 0.5) / 10000 end
    context.flagged_rows = function() return {} end
  end)
  after_each(function() context.store, context.log = nil, nil end)

  it("reads each summary once, and answers without the bucket", function()
    for i = 1, 30 do
      store.set(("processed/b%02d_summary.json"):format(i), text_of("2026-" .. i, 1))
    end
    local state = history.new()
    assert.is_true(history.refresh(state))
    local gets = store.gets
    assert.is_true(history.refresh(state))
    assert.equal(gets, store.gets)
    local body = history.summary(state)
    history.recent(state, 50)
    assert.equal(gets, store.gets)
    assert.equal(30, body.files_processed)
    assert.equal(300, body.total_rows_scored)
    assert.equal(0.1, body.overall_anomaly_rate)
    assert.equal(5, #body.most_recent)
    assert.equal("2026-9", body.most_recent[1].processed_at)
  end)

  it("sees what another host changed or removed, where the list has no etags", function()
    store.set("processed/a_summary.json", text_of("2026-01", 1, "one"))
    store.set("processed/b_summary.json", text_of("2026-02", 1))
    local state = history.new()
    history.refresh(state)
    assert.is_true(history.is_done(state, "a", "one"))
    store.set("processed/a_summary.json", text_of("2026-03", 2, "two"))
    store.objects["processed/b_summary.json"] = nil
    history.refresh(state)
    assert.is_false(history.is_done(state, "a", "one"))
    assert.is_true(history.is_done(state, "a", "two"))
    assert.equal(2, state.totals.anomalies)
    assert.equal(1, state.totals.files)
  end)

  it("does not forget what we wrote while the list was made", function()
    store.set("processed/a_summary.json", text_of("2026-01"))
    local state = history.new()
    store.hook = function()
      store.hook = nil
      history.add(state, "ours", summary("2026-02", 3, "x"))
      history.add(state, "a", summary("2026-03", 4, "newer"))
    end
    history.refresh(state)
    assert.is_true(history.is_done(state, "ours", "x"))
    assert.is_true(history.is_done(state, "a", "newer"))
    assert.equal(7, state.totals.anomalies)
  end)

  it("passes over foreign and broken objects, and reads them once", function()
    store.set("processed/good_summary.json", text_of("2026-01"))
    store.set("processed/list_summary.json", "[1]")
    store.set("processed/half_summary.json", '{"total_rows": 1')
    store.set("processed/odd_summary.json", '{"total_rows": -1, "anomaly_count": 0}')
    store.set("processed/readme.txt", "hello")
    local state = history.new()
    history.refresh(state)
    local gets = store.gets
    history.refresh(state)
    assert.equal(gets, store.gets)
    assert.equal(1, state.totals.files)
    assert.equal(3, #said)
  end)

  it("stays bounded, keeps the sums and knows what it does not know", function()
    for i = 1, 40 do
      store.set(("processed/b%02d_summary.json"):format(i), text_of("2026-" .. i))
    end
    local state = history.new(20)
    history.refresh(state)
    assert.is_true(state.n <= 20)
    assert.equal(40, state.totals.files)
    local gets = store.gets
    history.refresh(state)
    assert.equal(gets, store.gets)
    assert.equal(40, history.summary(state).files_processed)
    local found, complete = history.find(state, "b01")
    assert.is_nil(found)
    assert.is_false(complete)
    found, complete = history.find(state, "b99")
    assert.is_nil(found)
    assert.is_true(complete)
    assert.is_not_nil(history.find(state, "b40"))
  end)

  it("fills its lists again when a shown batch goes", function()
    for i = 10, 30 do store.set(("processed/b%d_summary.json"):format(i), text_of("2026-" .. i)) end
    local state = history.new()
    history.refresh(state)
    store.objects["processed/b30_summary.json"] = nil
    history.refresh(state)
    local recent = history.summary(state).most_recent
    assert.equal(5, #recent)
    assert.equal("2026-29", recent[1].processed_at)
    assert.equal("2026-25", recent[5].processed_at)
    assert.equal(10, #state.last)
    assert.equal("b20", state.last[10])
  end)
end)
