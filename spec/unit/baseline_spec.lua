-- state/baseline.json: what is read is written again bit for bit; what is wrong is said.
local baseline = require("baseline")
local json = require("json")

local function channel(count, mean, m2)
  return { count = count, mean = mean, M2 = m2, std = count < 2 and 0.0 or math.sqrt(m2 / count) }
end

describe("a baseline", function()
  it("keeps every bit and the order of its channels", function()
    local object = baseline.empty()
    local hard = { 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 2 ^ 53 + 2, 1 / 3, 1e22,
      -123456.789e-200 }
    for i, mean in ipairs(hard) do
      local name = ("ch %d \"\\\u{e9}"):format(9 - i)
      object.order[i] = name
      object.channels[name] = channel(i, mean, math.abs(mean))
    end
    object.last_updated = "2026-02-27T01:56:54.825950"
    local text = baseline.format(object)
    local again = assert(baseline.parse(text))
    assert.same(object.order, again.order)
    assert.equal(object.last_updated, again.last_updated)
    for i, name in ipairs(object.order) do
      assert.equal(string.pack("d", hard[i]), string.pack("d", again.channels[name].mean))
      assert.equal(string.pack("d", math.abs(hard[i])), string.pack("d", again.channels[name].M2))
      assert.equal(i, again.channels[name].count)
      assert.equal("integer", math.type(again.channels[name].count))
    end
    assert.equal(text, baseline.format(again))
  end)

  it("is laid out as the contract says", function()
    local object = baseline.with(baseline.empty(), { t = channel(2, 22, 0.5) }, { "t" }, "now")
    assert.equal('{\n  "t": {\n    "count": 2,\n    "mean": 22.0,\n    "M2": 0.5,\n    "std": 0.5\n'
      .. '  },\n  "last_updated": "now"\n}', baseline.format(object))
    assert.equal("{}", baseline.format(baseline.empty()))
  end)

  it("reads the words Python writes for what is no number", function()
    for _, word in ipairs({ "NaN", "Infinity", "-Infinity", "-NaN", "null" }) do
      local object = assert(baseline.parse(('{"a": {"count": 31, "mean": %s, "M2": 1.0, "std": %s},'
        .. '"b": {"count": 2, "mean": 1.5, "M2": %s}, "last_updated": null}'):format(word, word,
        word)))
      assert.is_true(object.channels.a.poisoned)
      assert.is_true(object.channels.b.poisoned)
      assert.equal(31, object.channels.a.count)
      assert.is_nil(object.last_updated)
      local again = assert(baseline.parse(baseline.format(object)))
      assert.is_true(again.channels.a.poisoned)
      assert.equal(31, again.channels.a.count)
    end
  end)

  it("leaves such words alone where they are part of a name", function()
    for _, name in ipairs({ "t,NaN", "t: Infinity", "[NaN]", "a\\u002cNaN" }) do
      local object = assert(baseline.parse(('{"%s": {"count": 2, "mean": 1.0, "M2": 0}}')
        :format(name)))
      assert.equal(json.decode('"' .. name .. '"'), object.order[1])
    end
  end)

  it("makes std anew from count and M2", function()
    local object = assert(baseline.parse('{"a": {"count": 4, "mean": 1, "M2": 16, "std": 99},'
      .. '"b": {"count": 1, "mean": 1, "M2": 0, "std": 7}}'))
    assert.equal(2.0, object.channels.a.std)
    assert.equal(0.0, object.channels.b.std)
    assert.equal("float", math.type(object.channels.a.mean))
  end)

  it("does not believe a count or an M2 that cannot be", function()
    local object = assert(baseline.parse('{"a": {"count": -3, "mean": 1, "M2": 16},'
      .. '"b": {"count": 5, "mean": 1, "M2": -1}, "c": {}, "d": {"count": "x", "mean": "1"}}'))
    assert.equal(0, object.channels.a.count)
    assert.is_true(object.channels.b.poisoned)
    assert.is_true(object.channels.c.poisoned)
    assert.equal(0, object.channels.d.count)
  end)

  it("says what is no baseline", function()
    for _, text in ipairs({ "", "{", "[]", "[1]", "1", "null", '"x"', '{"a": {}} x',
      ("["):rep(1000), "\xff" }) do
      local object, message, code = baseline.parse(text)
      assert.is_nil(object, text:sub(1, 10))
      assert.truthy(message:find("the baseline is no JSON object", 1, true))
      assert.equal("BadBaseline", code)
    end
    local object, message, code = baseline.parse('{"t": 5}')
    assert.is_nil(object)
    assert.equal("the baseline's channel t is no object", message)
    assert.equal("BadBaseline", code)
  end)

  it("is never changed in place", function()
    local first = baseline.with(baseline.empty(), { a = channel(1, 1, 0) }, { "a" }, "one")
    local second = baseline.with(first, { b = channel(1, 2, 0), a = channel(2, 3, 1) },
      { "b", "a", "not there" }, "two")
    assert.same({ "a" }, first.order)
    assert.same({ "a", "b" }, second.order)
    assert.equal(1, first.channels.a.count)
    assert.equal(2, second.channels.a.count)
    assert.equal('{"x":0,"a":2}', json.encode(baseline.counts(second, { "x", "a" })))
  end)
end)
