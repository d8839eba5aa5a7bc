local column = require("column")
local policy = require("policy")
local zscore = require("zscore")

--- The scores and flags of some values in a channel of mean 10 and deviation 2.
local function judge(values, given, channel)
  local score, flag = zscore(column.new(values), "x", channel
    or { count = 100, mean = 10.0, M2 = 400.0, std = 2.0 }, policy.check(given or {}))
  return score:totable(), flag:totable()
end

local function all_missing(list)
  for _, v in ipairs(list) do
    if v == v then return false end
  end
  return #list > 0
end

describe("zscore", function()
  it("is the distance in deviations; more than the threshold is flagged", function()
    local score, flag = judge({ 10, 16, 16.2, 3.8, 8 })
    assert.same({ 0, 3, 3.1 }, { score[1], score[2], tonumber(("%.6f"):format(score[3])) })
    assert.same({ 0, 0, 1, 1, 0 }, flag)
  end)

  it("flags by z_threshold", function()
    assert.same({ 1, 0 }, select(2, judge({ 15.2, 14 }, { z_threshold = 2.5 })))
    assert.same({ 0, 0 }, select(2, judge({ 15.2, 14 })))
  end)

  it("flags by direction", function()
    assert.same({ 1, 0, 0 }, select(2, judge({ 20, 0, 10 }, { direction = "rise" })))
    assert.same({ 0, 1, 0 }, select(2, judge({ 20, 0, 10 }, { direction = "drop" })))
    assert.same({ 1, 1, 0 }, select(2, judge({ 20, 0, 10 }, { direction = "both" })))
    local both, rise = judge({ 20, 0 }), judge({ 20, 0 }, { direction = "rise" })
    assert.same(both, rise)
  end)

  it("does not flag less than the minimum deviation", function()
    assert.same({ 0, 1 }, select(2, judge({ 17, 19 }, { minimum_deviation = 8 })))
    assert.same({ 0, 1 }, select(2, judge({ 17, 19 }, { minimum_deviation = { x = 8 } })))
    assert.same({ 1, 1 }, select(2, judge({ 17, 19 }, { minimum_deviation = { other = 8 } })))
  end)

  it("knows nothing before maturity", function()
    local young = { count = 29, mean = 10.0, M2 = 1.0, std = 2.0 }
    local score, flag = judge({ 50 }, nil, young)
    assert.is_true(all_missing(score) and all_missing(flag))
    young.count = 30
    assert.same({ 20 }, (judge({ 50 }, nil, young)))
    score, flag = judge({ 50 }, { maturity = 31 }, young)
    assert.is_true(all_missing(score) and all_missing(flag))
    score = zscore(column.new({ 1 }), "x", nil, policy.check({})):totable()
    assert.is_true(all_missing(score))
  end)

  it("is 0 in a channel that never varied, missing where the cell is", function()
    local still = { count = 50, mean = 10.0, M2 = 0.0, std = 0.0 }
    assert.same({ 0, 0 }, (judge({ 10, 99 }, nil, still)))
    local score, flag = judge({ false, 10 })
    assert.is_true(score[1] ~= score[1])
    assert.same({ 0, 0 }, flag)
  end)
end)
