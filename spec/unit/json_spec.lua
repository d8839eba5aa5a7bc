local json = require("json")

-- The text of a value that went through decode.
local function through(text)
  return json.encode(assert(json.decode(text)))
end

local function raises(value, options)
  local ok, message = pcall(json.encode, value, options)
  assert.is_false(ok)
  return message
end

describe("json.encode", function()
  it("writes scalars as Python does", function()
    assert.equal("null", json.encode(json.null))
    assert.equal("null", json.encode(nil))
    assert.equal("true", json.encode(true))
    assert.equal("22", json.encode(22))
    assert.equal("22.0", json.encode(22.0))
    assert.equal("1e-05", json.encode(0.00001))
    assert.equal("0.0001", json.encode(0.0001))
    assert.equal("1e+16", json.encode(1e16))
    assert.equal("-0.0", json.encode(-0.0))
    assert.equal("0.1", json.encode(0.1))
    assert.equal("5e-324", json.encode(5e-324))
    assert.equal("1.7976931348623157e+308", json.encode(1.7976931348623157e308))
    assert.equal("-9223372036854775808", json.encode(math.mininteger))
    assert.equal("9007199254740993", json.encode(9007199254740993))
  end)

  it("escapes strings as ensure_ascii=False would", function()
    assert.equal([["a\"b\\c/d"]], json.encode('a"b\\c/d'))
    assert.equal([["\n\r\t\b\f\u0000\u0001\u001f]] .. '\127"',
      json.encode("\n\r\t\b\f\0\1\31\127"))
    assert.equal('"é€😀\u{2028}"', json.encode("é€😀\u{2028}"))
  end)

  it("puts U+FFFD in place of what is not UTF-8", function()
    local r = "\u{FFFD}"
    local cases = {
      { "\xff", r }, { "\x80", r }, { "\xc3", r }, { "\xc3(", r .. "(" }, { "\xe2\x82", r },
      { "\xe2\x82z", r .. "z" }, { "\xc0\xaf", r .. r }, { "\xed\xa0\x80", r .. r .. r },
      { "\xf0\x9f\x98", r }, { "\xf4\x90\x80\x80", r .. r .. r .. r },
      { "a\xf0\x80\x80b", "a" .. r .. r .. r .. "b" }, { "\xe1\x80\xe2\x80\x80", r .. "\u{2000}" },
    }
    for _, case in ipairs(cases) do
      assert.equal('"' .. case[2] .. '"', json.encode(case[1]))
    end
  end)

  it("tells arrays from objects", function()
    assert.equal("[1,2.5,[]]", json.encode({ 1, 2.5, json.array() }))
    assert.equal("{}", json.encode({}))
    assert.equal("[]", json.encode(json.array({})))
    assert.equal("{}", json.encode(json.object()))
    assert.equal("[null,null]", json.encode({ json.null, json.null }))
    assert.is_true(json.is_array({ 1 }))
    assert.is_true(json.is_array(json.array()))
    assert.is_false(json.is_array({}))
    assert.is_false(json.is_array({ a = 1 }))
    assert.is_false(json.is_array("a"))
  end)

  it("keeps a declared order and sorts what has none", function()
    assert.equal('{"B":1,"a":2,"aa":3,"b":4}', json.encode({ b = 4, aa = 3, a = 2, B = 1 }))
    local t = json.object({ "z", "gone", "a" }, { a = 1, z = 2, y = 3, b = 4 })
    assert.equal('{"z":2,"a":1,"b":4,"y":3}', json.encode(t))
    assert.same({ "z", "a", "b", "y" }, json.keys(t))
    assert.same({ "a", "b" }, json.keys({ b = 1, a = 2 }))
    local twice = setmetatable({ a = 1, b = 2 }, { __keys = { "b", "b", "b" } })
    assert.equal('{"b":2,"a":1}', json.encode(twice))
    assert.same({ "b", "a" }, json.keys(twice))
  end)

  it("keeps names apart while objects lie in objects", function()
    local inner = json.object({ "y", "x" }, { x = { d = 1, c = 2 }, y = 3, w = 4 })
    assert.equal('{"a":{"y":3,"x":{"c":2,"d":1},"w":4},"b":{"q":1},"c":0}',
      json.encode({ a = inner, b = { q = 1 }, c = 0 }))
  end)

  it("lays out as Python's indent=2", function()
    local value = json.object({ "a", "b" }, {
      a = { 1, {}, json.array(), { x = json.null } }, b = { ["c d"] = "e" }, c = json.array(),
    })
    assert.equal([==[{
  "a": [
    1,
    {},
    [],
    {
      "x": null
    }
  ],
  "b": {
    "c d": "e"
  },
  "c": []
}]==], json.encode(value, { indent = 2 }))
    assert.equal("[\n1\n]", json.encode({ 1 }, { indent = 0 }))
  end)

  it("refuses what JSON cannot hold and says where", function()
    assert.equal("json.encode: rows[3].temperature is nan, which JSON cannot hold "
      .. "(json.null, or {nan = \"null\"})",
      raises({ rows = { 1, 2, { temperature = 0 / 0 } } }))
    assert.matches("^json.encode: the value is infinite", raises(-1 / 0))
    assert.matches("f is a function, which JSON cannot hold$", raises({ f = print }))
    assert.matches('%["a b"%]%[1%] is a thread', raises({ ["a b"] = { coroutine.create(print) } }))
    assert.matches("the value is an array with holes", raises({ 1, nil, 3 }))
    assert.matches("a is an array with holes", raises({ a = { [2] = 1 } }))
    assert.matches("a is an array that also has named fields", raises({ a = { 1, x = 2 } }))
    assert.matches("array that also has named", raises(json.array({ x = 1 })))
    assert.matches("has both positions and names", raises(json.object(nil, { 1 })))
    assert.matches("neither a text nor a position", raises({ [true] = 1 }))
    assert.matches("a __keys list", raises(json.object({ 1 }, { a = 1 })))
    local loop = {}
    loop.loop = loop
    assert.matches("loop%.loop%.loop.*deeper than 100 tables", raises(loop))
    assert.matches("no option 'indnet'", raises(1, { indnet = 2 }))
    assert.matches("longer than 5 bytes", raises("abcdef", { max_bytes = 5 }))
    assert.equal('"abc"', json.encode("abc", { max_bytes = 5 }))
  end)

  it("writes nan as null when it is told to", function()
    assert.equal("[null,null,1.5]", json.encode({ 0 / 0, 1 / 0, 1.5 }, { nan = "null" }))
  end)

  it("goes 100 tables deep and no deeper", function()
    local function nested(n)
      local t = json.array()
      for _ = 2, n do t = { t } end
      return t
    end
    assert.equal(("["):rep(100) .. ("]"):rep(100), json.encode(nested(100)))
    assert.matches("deeper than 100", raises(nested(101)))
  end)

  it("stays whole when a finalizer changes the table it writes", function()
    local t = {}
    for i = 1, 2000 do t[("name%05d_%s"):format(i, ("x"):rep(60))] = { tostring(i) } end
    local function vandal()
      setmetatable({}, { __gc = function()
        for name in pairs(t) do t[name] = nil end
      end })
    end
    for _ = 1, 20 do vandal() end
    collectgarbage("setpause", 10)
    pcall(json.encode, t)
    collectgarbage("setpause", 200)
    collectgarbage()
    assert.equal("{}", json.encode(t))
  end)
end)

describe("json.decode", function()
  it("keeps arrays, order and numbers as they were written", function()
    for _, text in ipairs({
      "[]", "{}", "[[],{},[[]],[{}]]", '{"a":[],"b":{}}', '["[]","[ ]","{}"]', "null", "true",
      '"x"', "1", "1.0", "-1", "0.1", "1e+16", "[1,1.0,2.5,null]", '{"z":1,"a":{"y":[],"x":0.5}}',
      '{"b":1,"a":2,"":3}', '["\\u0001","é"]', '{"a\\"b":1,"[]":[]}', "9007199254740992",
      '{"1":"a","2":"b"}', "-0.0", '"[]"', '{"x":{"y":{"z":[[[]]]}}}',
    }) do
      assert.equal(text, through(text))
    end
    assert.equal("[[],[],{}]", through(" [ [ ] , [\n] , { } ] "))
    assert.equal('{"b":3,"a":2}', through('{"b":1,"a":2,"b":3}'))
    assert.equal('{"é":1,"a":2}', through('{"\\u00e9":1,"a":2}'))
  end)

  it("keeps names with escapes in their places, each once", function()
    assert.equal([[{"a\\n":1,"b":[{"A":2,"B":3}],"c\nd":4}]],
      through([[{"a\\n":0,"b":[{"\u0041":1,"B":3,"A":2}],"c\nd":4,"a\u005cn":1}]]))
    assert.equal([[{"x":3,"y":2}]], through('{"x":1,"y":2,"x":3}'))
    local message = select(2, json.decode([[{"a\ud83d":1}]]))
    assert.matches("^Invalid \\uXXXX escape", message)
  end)

  it("gives integers for whole numbers up to 2^53 that have no fraction", function()
    local function kind(text)
      local value = json.decode(text)
      return math.type(value), value
    end
    assert.same({ "integer", 7 }, { kind("7") })
    assert.same({ "integer", 0 }, { kind("-0") })
    assert.same({ "float", 7.0 }, { kind("7.0") })
    assert.same({ "float", 700.0 }, { kind("7e2") })
    assert.same({ "float", 0.0 }, { kind("0e0") })
    assert.same({ "integer", 9007199254740992 }, { kind("9007199254740992") })
    assert.same({ "integer", -9007199254740992 }, { kind("-9007199254740992") })
    assert.same({ "float", 2.0 ^ 53 }, { kind("9007199254740993") })
    assert.same({ "float", 9007199254740994.0 }, { kind("9007199254740994") })
    assert.same({ "float", 1e30 }, { kind("1" .. ("0"):rep(30)) })
    assert.same({ "float", -1e19 }, { kind("-1" .. ("0"):rep(19)) })
    assert.same({ "float", 13795.86 }, { kind("13795.86") })
    local nested = json.decode('{"a":[1,1.0,{"b":3}]}')
    assert.equal("integer", math.type(nested.a[1]))
    assert.equal("float", math.type(nested.a[2]))
    assert.equal("integer", math.type(nested.a[3].b))
  end)

  it("has null as json.null, in tables too", function()
    assert.equal(json.null, json.decode("null"))
    assert.equal(json.null, json.decode('{"a":[null]}').a[1])
    assert.is_false(json.decode("false"))
  end)

  it("lets an array that is emptied, or filled, stay an array", function()
    local value = json.decode('{"a":[1],"b":[]}')
    value.a[1] = nil
    value.b[1] = 5
    assert.equal('{"a":[],"b":[5]}', json.encode(value))
  end)

  it("takes no string of the text for a mark", function()
    for _, text in ipairs({ '["\\u00ff"]', '{"\\u00ff":1}', '["ÿ1.0"]', '["\\u00ff1.0",[],1.0]',
      '["[]","[ ]",[],"{\\"a\\":[]}"]' }) do
      assert.same(text:gsub("\\u00ff", "ÿ"), through(text))
    end
    local value, _, code = json.decode('["\xff"]')
    assert.is_nil(value)
    assert.equal("JsonEncoding", code)
  end)

  it("says what is wrong and where, as Python's json does", function()
    for _, case in ipairs({
      { "", "Expecting value", 0 },
      { "  ", "Expecting value", 2 },
      { "[", "Expecting value", 1 },
      { "[1,]", "Expecting value", 3 },
      { "[1 2]", "Expecting ',' delimiter", 3 },
      { "[1", "Expecting ',' delimiter", 2 },
      { '{"a":1,}', "Expecting property name enclosed in double quotes", 7 },
      { "{1.0:2}", "Expecting property name enclosed in double quotes", 1 },
      { "{[]:2}", "Expecting property name enclosed in double quotes", 1 },
      { '{"a" 1}', "Expecting ':' delimiter", 5 },
      { "[1] x", "Extra data", 4 },
      { "[1]]", "Extra data", 3 },
      { '["é" x]', "Expecting ',' delimiter", 5 },
      { '[1 "a]', "Expecting ',' delimiter", 3 },
      { '1"', "Extra data", 1 },
      { '"abc', "Unterminated string starting at", 0 },
      { '["a\nb"]', "Invalid control character at", 3 },
      { '["\\x"]', "Invalid \\escape", 2 },
      { '["\\u12G4"]', "Invalid \\uXXXX escape", 3 },
      { "[01]", "Expecting ',' delimiter", 2 },
      { "[1.]", "Expecting ',' delimiter", 2 },
      { "[0x10]", "Expecting ',' delimiter", 2 },
      { "[+1]", "Expecting value", 1 },
      { "[.5]", "Expecting value", 1 },
      { "[-]", "Expecting value", 1 },
      { "[truefalse]", "Expecting ',' delimiter", 5 },
      { "nul", "Expecting value", 0 },
    }) do
      local value, message, code, place = json.decode(case[1])
      assert.is_nil(value)
      assert.equal("JsonInvalid", code)
      assert.same({ case[2], case[3] }, { place.reason, place.offset }, case[1])
      assert.equal(("%s (line %d, column %d)"):format(place.reason, place.line, place.column),
        message)
    end
    local _, message = json.decode('{\n  "a": 1,\n  "é": é\n}')
    assert.equal("Expecting value (line 3, column 8)", message)
  end)

  it("refuses what JSON has not", function()
    for _, text in ipairs({ "NaN", "[NaN]", "Infinity", "[-Infinity]", "nan", "[inf]", "[1e400]",
      '["\\ud800"]', '{"\\udc00":1}', "\xef\xbb\xbf[1]", "[1]\0", "'a'", "[1e]", "\f1",
      '["\\uD800\\u0041"]' }) do
      local value, message, code = json.decode(text)
      assert.is_nil(value, text)
      assert.is_string(message)
      assert.equal("JsonInvalid", code)
    end
    assert.equal("😀", json.decode('"\\ud83d\\ude00"'))
  end)

  it("bounds depth and size", function()
    assert.equal(("["):rep(100) .. ("]"):rep(100), through(("["):rep(100) .. ("]"):rep(100)))
    assert.equal("JsonTooDeep", select(3, json.decode(("["):rep(101) .. ("]"):rep(101))))
    assert.equal("JsonTooDeep", select(3, json.decode(('{"a":'):rep(100000))))
    assert.equal("JsonTooDeep", select(3, json.decode("[[1]]", { max_depth = 1 })))
    -- Six names and values: the object, two names, the array, 1, true.
    local many = '{"a": [1], "b": true}'
    assert.is_table(json.decode(many, { max_values = 6 }))
    assert.equal("JsonTooLarge", select(3, json.decode(many, { max_values = 5 })))
    assert.truthy(select(2, json.decode(many, { max_values = 5 })):find(
      "More than 5 names and values at (line 1, column 17)", 1, true))
    assert.equal("JsonTooLarge", select(3, json.decode("[1,2]", { max_bytes = 4 })))
  end)

  it("refuses only its caller's mistakes with an error", function()
    assert.has_error(function() json.decode(nil) end, "json.decode: a text, not a nil")
  end)
end)

describe("json there and back", function()
  it("changes no double", function()
    math.randomseed(42)
    for _ = 1, 2000 do
      local bits = string.pack("<I4I4", math.random(0, 0xffffffff), math.random(0, 0xffffffff))
      local x = string.unpack("<d", bits)
      if x - x == 0 then assert.equal(x, json.decode(json.encode(x))) end
    end
  end)
end)
