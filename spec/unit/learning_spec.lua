local baseline = require("baseline")
local column = require("column")
local learning = require("learning")
local policy = require("policy")

local NOW = "2026-02-27T01:56:54.825950"

local function batch(channels)
  local self = { channels = {}, columns = {} }
  for name, values in pairs(channels) do
    self.channels[#self.channels + 1] = name
    self.columns[name] = column.new(values)
  end
  table.sort(self.channels)
  return self
end

--- A baseline of one mature channel x: mean 10, deviation 1.
local function known(count)
  return baseline.with(baseline.empty(), { x = { count = count or 100, mean = 10.0,
    M2 = (count or 100) * 1.0, std = 1.0 } }, { "x" }, NOW)
end

local function near(a, b) assert.is_true(math.abs(a - b) < 1e-12, a .. " is not " .. b) end

describe("learning", function()
  it("goes on with Welford's recurrence and leaves the old baseline alone", function()
    local before = known()
    local after, scoring = learning.update(before, batch({ x = { 12, false, 14 } }),
      policy.check({}), NOW)
    assert.equal(100, before.channels.x.count)
    assert.equal(102, after.channels.x.count)
    near(after.channels.x.mean, (1000 + 26) / 102)
    assert.equal(after, scoring)
    assert.equal(NOW, after.last_updated)
  end)

  it("scores against the baseline before or after the batch, as `update` says", function()
    local before = known()
    local after, scoring = learning.update(before, batch({ x = { 20 } }),
      policy.check({ update = "after" }), NOW)
    assert.equal(before, scoring)
    assert.equal(101, after.channels.x.count)
    after, scoring = learning.update(before, batch({ x = { 20 } }), policy.check({}), NOW)
    assert.equal(after, scoring)
    assert.equal(101, scoring.channels.x.count)
  end)

  it("leaves flagged values out when `learn_flagged` is false", function()
    local values = { 10, 50, 11 }
    local after = learning.update(known(), batch({ x = values }),
      policy.check({ learn_flagged = false }), NOW)
    assert.equal(102, after.channels.x.count)
    near(after.channels.x.mean, 1021 / 102)
    after = learning.update(known(), batch({ x = values }), policy.check({}), NOW)
    assert.equal(103, after.channels.x.count)
    -- Nothing is flagged by a channel that is not mature, so nothing is left out.
    after = learning.update(known(10), batch({ x = values }),
      policy.check({ learn_flagged = false }), NOW)
    assert.equal(13, after.channels.x.count)
  end)

  it("forgets by half after `half_life` observations", function()
    local ten, thirty = {}, {}
    for i = 1, 50 do ten[i], thirty[i] = 10, 30 end
    local after = learning.update(known(), batch({ x = ten }), policy.check({ half_life = 50 }),
      NOW)
    near(after.channels.x.count, 100)
    local forgetting, keeping = known(), known()
    for _ = 1, 20 do
      forgetting = learning.update(forgetting, batch({ x = thirty }),
        policy.check({ half_life = 50 }), NOW)
      keeping = learning.update(keeping, batch({ x = thirty }), policy.check({}), NOW)
    end
    assert.is_true(forgetting.channels.x.mean > 29.99)
    assert.is_true(keeping.channels.x.mean < 29)
    assert.is_true(forgetting.channels.x.count < 101)
    assert.equal(1100, keeping.channels.x.count)
  end)

  it("does not learn a channel that would leave the numbers", function()
    local after, _, unlearned = learning.update(known(), batch({ x = { 1e308, -1e308, 1e308 },
      y = { 1, false, false } }), policy.check({}), NOW)
    assert.same({ "x" }, unlearned)
    assert.equal(100, after.channels.x.count)
    assert.equal(1, after.channels.y.count)
  end)

  it("begins a channel anew whose numbers were lost, and does not score with it", function()
    local lost = baseline.with(baseline.empty(), { x = { count = 70, mean = 0.0, M2 = 0.0,
      std = 0.0, poisoned = true } }, { "x" }, NOW)
    local after, scoring = learning.update(lost, batch({ x = { 1, 3 } }), policy.check({}), NOW)
    assert.equal(72, after.channels.x.count)
    near(after.channels.x.mean, 2)
    near(after.channels.x.std, 1)
    assert.is_nil(after.channels.x.poisoned)
    assert.is_true(scoring.channels.x.poisoned)
  end)
end)
