local policy = require("policy")

describe("policy.check", function()
  it("fills in what is left out", function()
    assert.same({ channels = "auto", z_threshold = 3.0, maturity = 30, update = "before",
      learn_flagged = true, half_life = false, direction = "both", minimum_deviation = 0,
      contamination = 0.05, n_estimators = 100, random_state = 42 }, policy.check({}))
  end)

  it("gives a copy with what is set", function()
    local given = { z_threshold = 2.5, channels = { "a", "b" }, update = "after" }
    local checked = policy.check(given)
    assert.equal(2.5, checked.z_threshold)
    assert.same({ "a", "b" }, checked.channels)
    assert.equal("after", checked.update)
    assert.is_nil(given.maturity)
  end)

  it("names a misspelled field with the nearest right one", function()
    local checked, message = policy.check({ z_treshold = 3 }, "scripts/baseline_policy.lua")
    assert.is_nil(checked)
    assert.equal("scripts/baseline_policy.lua: unknown field 'z_treshold'; did you mean "
      .. "'z_threshold'?", message)
    assert.truthy(select(2, policy.check({ qqqqqqq = 3 })):find("unknown field 'qqqqqqq'", 1, true))
    assert.truthy(select(2, policy.check({ "x" })):find("unknown field '1'", 1, true))
  end)

  it("says what a value must be", function()
    local wrong = {
      channels = { "temperature", {}, { 1 }, { "a", "a" }, 3 },
      z_threshold = { 0, -1, "3", 0 / 0 },
      maturity = { 0, 1.5, "30" },
      update = { "during", true },
      learn_flagged = { "yes", 1 },
      half_life = { 0, -5, true, "x" },
      direction = { "up", false },
      minimum_deviation = { -1, "x", { a = -1 }, { 1 }, { a = "x" }, 0 / 0 },
      contamination = { 0, 0.6, "most" },
      n_estimators = { 0, 2.5 },
      random_state = { -1, 2 ^ 33, 1.5, "x" },
    }
    for name, values in pairs(wrong) do
      for _, value in ipairs(values) do
        local checked, message = policy.check({ [name] = value }, "p.lua")
        assert.is_nil(checked, name .. " = " .. tostring(value))
        assert.truthy(message:find("p.lua: " .. name .. " must be ", 1, true), message)
      end
    end
    assert.is_nil((policy.check("x")))
  end)

  it("takes every choice that the shipped file names", function()
    for name, values in pairs({ channels = { "auto", { "x" } }, half_life = { false, 100, 0.5 },
      update = { "before", "after" }, direction = { "both", "rise", "drop" },
      learn_flagged = { true, false }, minimum_deviation = { 0, 0.5, { x = 1 } },
      contamination = { "auto", 0.5, 0.01 } }) do
      for _, value in ipairs(values) do
        assert.truthy(policy.check({ [name] = value }), name .. " = " .. tostring(value))
      end
    end
  end)
end)
