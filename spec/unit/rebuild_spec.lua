-- rebuild: moments put together as the summaries tell them. It waits in places, so it is at home in
-- the host.
local inside = pcall(require, "task")
if not inside then
  describe("rebuild", function() pending("runs inside the host only") end)
  return
end

local baseline = require("baseline")
local column = require("column")
local context = require("context")
local json = require("json")
local memory_bucket = require("memory_bucket")
local moments = require("moments")
local rebuild = require("rebuild")

local function near(a, b)
  assert.is_true(math.abs(a - b) <= 1e-12 * math.max(math.abs(a), math.abs(b)), a .. " " .. b)
end

describe("rebuild", function()
  it("merges moments as if the values had come one after the other", function()
    local all, state, merged = {}, nil, nil
    for n = 1, 20 do
      local values = {}
      for i = 1, n * 3 do
        values[i] = 20 + math.sin(i * n) * n
        all[#all + 1] = values[i]
      end
      local m = column.moments(column.new(values))
      merged = moments.merge(merged, m)
      state = column.moments(column.new(values), state)
    end
    assert.equal(#all, merged.count)
    near(merged.mean, state.mean)
    near(merged.M2, state.M2)
    near(merged.std, state.std)
  end)

  it("takes what was learned, in the order of scoring, and says what it cannot use", function()
    local function summary(at, m, more)
      local value = { processed_at = at, source_etag = at, batch_moments = m, policy = {} }
      for k, v in pairs(more or {}) do value[k] = v end
      return json.encode(value)
    end
    local objects = {
      ["processed/b_summary.json"] = summary("2026-01-01", { t = { count = 2, mean = 1, M2 = 2 } }),
      ["processed/a_summary.json"] = summary("2026-01-02", { t = { count = 2, mean = 3, M2 = 0 },
        u = { count = 1, mean = 5, M2 = 0 } }, { unlearned_channels = { "u" } }),
      ["processed/c_summary.json"] = summary("2026-01-03", { t = { count = 9, mean = 9, M2 = 9 } },
        { learned_moments = { t = { count = 1, mean = 2, M2 = 0 } } }),
      ["processed/foreign_summary.json"] = "[1, 2",
      ["processed/old_summary.json"] = '{"processed_at": "2025-01-01", "total_rows": 1}',
      ["processed/a.csv"] = "t\n",
    }
    context.store = memory_bucket.new()
    for key, body in pairs(objects) do context.store.set(key, body) end
    local result = assert(rebuild.compute(context))
    context.store = nil
    assert.equal(3, result.batches)
    assert.same({ "foreign", "old" }, result.skipped)
    assert.same({ "t" }, result.object.order)
    assert.equal(5, result.object.channels.t.count)
    near(result.object.channels.t.mean, 2)
    near(result.object.channels.t.M2, 6)
    assert.equal("2026-01-03", result.object.last_updated)
    assert.equal(0, rebuild.uncovered(result, {}))
    assert.equal(1, rebuild.uncovered(result, { ["0123456789abcdef"] = true }))
  end)

  it("takes rounding for no difference, and a lost value for one", function()
    local a = baseline.with(baseline.empty(), { t = { count = 100, mean = 1 / 3, M2 = 7.0 } },
      { "t" }, "now")
    local b = baseline.with(baseline.empty(), { t = { count = 100, mean = 1 / 3 * (1 + 1e-14),
      M2 = 7.0 * (1 - 1e-14) } }, { "t" }, "now")
    assert.same({}, rebuild.differences(a, b))
    b.channels.t.count = 99
    assert.equal(1, #rebuild.differences(a, b))
    assert.equal(1, #rebuild.differences(a, baseline.empty()))
    assert.equal(1, #rebuild.differences(baseline.empty(), b))
  end)
end)
