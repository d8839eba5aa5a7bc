local column = require("column")
local json = require("json")
local pretty = require("pretty")

describe("pretty", function()
  it("shows plain values", function()
    for _, case in ipairs({ { 1, "1" }, { 2.0, "2.0" }, { 0.1, "0.1" }, { 1e300, "1e+300" },
      { true, "true" }, { "a\"b\n\27[31m\xff", [["a\"b\n\x1B[31m\xFF"]] }, { "grün", '"grün"' },
      { {}, "{}" }, { json.null, "null" } }) do
      assert.equal(case[2], pretty.format(case[1]))
    end
    assert.equal("nil", pretty.format(nil))
    assert.truthy(pretty.format(print):find("^function: built in"))
    assert.truthy(pretty.format(pretty.format):find("^function: .-pretty%.lua:%d+$"))
    assert.truthy(pretty.format(column.new({ 1, 2 })):find("column", 1, true))
  end)

  it("sorts names, and keeps an order that is stated", function()
    assert.equal('{ 1, 2, a = 1, b = { c = 2 }, ["x y"] = 3, ["end"] = 4 }',
      (pretty.format({ 1, 2, b = { c = 2 }, a = 1, ["x y"] = 3, ["end"] = 4 }):gsub(
        '%["end"%] = 4, %["x y"%] = 3', '["x y"] = 3, ["end"] = 4')))
    assert.equal("{ b = 1, a = 2 }", pretty.format(json.object({ "b", "a" }, { a = 2, b = 1 })))
  end)

  it("breaks what is too wide", function()
    assert.equal("{\n  a = \"xxxxxxxxxx\",\n  b = { 1, 2 }\n}",
      pretty.format({ a = ("x"):rep(10), b = { 1, 2 } }, { width = 24 }))
  end)

  it("marks cycles and stops in the deep", function()
    local t = { name = "t" }
    t.self = t
    assert.equal('{ name = "t", self = <cycle> }', pretty.format(t))
    assert.equal("{ { { {…} } } }", pretty.format({ { { { {} , 1 } } } }, { depth = 3 }))
  end)

  it("cuts long texts and long tables, quickly", function()
    assert.equal('"xxxx" (6 bytes more)', pretty.format(("x"):rep(10), { text = 4 }))
    assert.equal('"grü" (1 bytes more)', pretty.format("grün", { text = 4 }))
    local big, names = {}, {}
    for i = 1, 1000000 do big[i] = i end
    for i = 1, 200000 do names["k" .. i] = i end
    local began = os.clock()
    assert.truthy(pretty.format(big):find("… 999900 more", 1, true))
    assert.truthy(pretty.format(names):find("more", 1, true))
    assert.is_true(os.clock() - began < 0.1)
  end)

  it("shows records as a table", function()
    assert.equal("a  b\n1  x\n2  yy", pretty.format({ { a = 1, b = "x" }, { a = 2, b = "yy" } }))
    assert.equal("     n\none  1\ntwo  2", pretty.format({ one = { n = 1 }, two = { n = 2 } }))
    assert.equal("b  a\n1  2\n   3", pretty.format({ json.object({ "b", "a" }, { a = 2, b = 1 }),
      { a = 3 } }))
    -- What is no record of plain values, or too wide, is nested.
    assert.truthy(pretty.format({ { a = {} }, { a = {} } }):find("^{"))
    local wide = { a = ("x"):rep(50), b = ("y"):rep(50) }
    assert.truthy(pretty.format({ wide, wide }, { width = 60 }):find("^{\n"))
  end)

  it("runs no metamethod of a table", function()
    local function never() error("a metamethod was run") end
    local t = setmetatable({ a = 1 }, { __index = never, __pairs = never, __tostring = never,
      __len = never, __name = "x" })
    assert.equal("{ a = 1 }", pretty.format(t))
    assert.equal("{ b = 2 }", pretty.format(setmetatable({}, { __view = { b = 2 } })))
  end)

  it("colors what is asked for", function()
    assert.equal("\27[36m1\27[0m", pretty.format(1, { color = true }))
  end)

  it("draws a row of bars", function()
    assert.equal("▁▅█", pretty.sparkline({ 0, 0.5, 1 }))
    assert.equal("▄▄", pretty.sparkline({ 3, 3 }))
    assert.equal("▁ █", pretty.sparkline({ 1, 0 / 0, 2 }))
    assert.equal("", pretty.sparkline({}))
  end)

  it("makes a text harmless", function()
    assert.equal("a\\x00\\x1B[2J\\x9F\\u{9B}", pretty.plain("a\0\27[2J\x9f\xC2\x9B"))
    assert.equal("a\n\tb\\x07", pretty.plain("a\n\tb\7", true))
  end)
end)
