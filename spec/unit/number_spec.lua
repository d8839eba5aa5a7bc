-- number: doubles as text and back.
local number = require("number")
local shared = require("shared")

--- A double as the reference tables write it: in hex, or a word.
local function double(text)
  local words = { inf = math.huge, ["-inf"] = -math.huge, nan = 0 / 0 }
  return words[text] or tonumber(text)
end

local function bits(x) return string.pack(">d", x) end

local function same(expected, got, what)
  if bits(expected) ~= bits(got) then
    error(("%s: expected %a, got %a"):format(what, expected, got), 2)
  end
end

--- Lines of a reference table, split at commas, without its header.
local function vectors(name)
  local rows = {}
  for line in shared.read("golden/vectors/" .. name .. ".csv.gz"):gmatch("[^\r\n]+") do
    local cells = {}
    for cell in (line .. ","):gmatch("([^,]*),") do cells[#cells + 1] = cell end
    rows[#rows + 1] = cells
  end
  table.remove(rows, 1)
  return rows
end

local function reference(name)
  return shared.path("golden/vectors/" .. name .. ".csv.gz") and vectors(name)
end

describe("number.shortest", function()
  it("lays numbers out as Python's repr", function()
    local expected = {
      [0.0] = "0.0", [1.0] = "1.0", [20.0] = "20.0", [-1.5] = "-1.5", [0.1] = "0.1",
      [1e-4] = "0.0001", [1e-5] = "1e-05", [1.5e-5] = "1.5e-05", [1e15] = "1000000000000000.0",
      [9999999999999998.0] = "9999999999999998.0", [1e16] = "1e+16", [1.5e16] = "1.5e+16",
      [123456789012345680.0] = "1.2345678901234568e+17", [1e100] = "1e+100",
      [2.2250738585072014e-308] = "2.2250738585072014e-308", [5e-324] = "5e-324",
      [1.7976931348623157e308] = "1.7976931348623157e+308", [0.1 + 0.2] = "0.30000000000000004",
      [9007199254740993.0] = "9007199254740992.0", [2.0 ^ -1022 / 2] = "1.1125369292536007e-308",
      [9.5367431640625e-07] = "9.5367431640625e-07", [math.huge] = "inf", [-math.huge] = "-inf",
    }
    for x, text in pairs(expected) do assert.equal(text, number.shortest(x)) end
    assert.equal("-0.0", number.shortest(-0.0))
    assert.equal("nan", number.shortest(0 / 0))
    assert.equal("nan", number.shortest(-(0 / 0)))
    assert.equal("3.0", number.shortest(3))
  end)

  it("agrees with the reference vectors", function()
    local rows = reference("to_csv")
    if not rows then return pending("no reference data beside the checkout") end
    assert.is_true(#rows > 800)
    for _, row in ipairs(rows) do assert.equal(row[2], number.shortest(double(row[1]))) end
  end)

  it("reads back at random, and no text with a digit less does", function()
    math.randomseed(7)
    for _ = 1, 20000 do
      local x = string.unpack("d", string.pack("j", math.random(0)))
      if x == x and x - x == 0 then
        local text = number.shortest(x)
        same(x, number.parse(text), text)
        same(x, tonumber(text), text)
        local digits = text:gsub("e.*", ""):gsub("[-.]", ""):gsub("^0+", ""):gsub("0+$", "")
        if #digits > 1 then
          local shorter = ("%." .. #digits - 2 .. "e"):format(x)
          assert.not_equal(x, tonumber(shorter))
        end
      end
    end
  end)

  it("refuses what is no number", function()
    assert.has_error(function() number.shortest("x") end)
    assert.has_error(function() number.shortest() end)
  end)
end)

describe("number.fixed4", function()
  it("rounds half to even in numpy's way", function()
    local expected = {
      [0.18804] = "0.188", [1.0] = "1.0", [0.00005] = "0.0", [0.00015] = "0.0001",
      [0.00025] = "0.0002", [2.00005] = "2.0", [-0.00004] = "-0.0", [1e305] = "inf",
      [123456789.98765] = "123456789.9876", [-3.14159] = "-3.1416", [1e22] = "1e+22",
      [99999999999.99994] = "99999999999.9999", [1e11] = "100000000000.0",
      [123456789012.34567] = "123456789012.3457", [0.0001] = "0.0001", [1e-300] = "0.0",
      [math.huge] = "inf",
    }
    for x, text in pairs(expected) do assert.equal(text, number.fixed4(x)) end
    assert.equal("nan", number.fixed4(0 / 0))
    assert.equal(0.1234, number.round4(0.12344))
  end)

  it("agrees with the reference vectors", function()
    local rows = reference("round4")
    if not rows then return pending("no reference data beside the checkout") end
    assert.is_true(#rows > 500)
    for _, row in ipairs(rows) do
      local x = double(row[1])
      if x == x then
        same(double(row[2]), number.round4(x), row[1])
        assert.equal(row[3], number.fixed4(x))
      end
    end
  end)

  it("writes what number.shortest writes of the rounded value", function()
    math.randomseed(11)
    for _ = 1, 20000 do
      local x = (math.random() - 0.5) * 10 ^ math.random(-6, 18)
      assert.equal(number.shortest(number.round4(x)), number.fixed4(x))
    end
  end)
end)

describe("number.parse", function()
  it("takes plain and exponent forms, signs and white space around", function()
    local expected = {
      ["1"] = 1, ["1."] = 1, [".5"] = 0.5, ["-0.25"] = -0.25, ["+3"] = 3, ["1e5"] = 1e5,
      ["1E+05"] = 1e5, ["1e-5"] = 1e-5, ["007"] = 7, [" 7 "] = 7, ["\t7\r\n"] = 7,
      ["1e400"] = math.huge, ["-1e400"] = -math.huge, ["1e-400"] = 0, ["0e999999999999"] = 0,
      ["inf"] = math.huge, ["-Infinity"] = -math.huge, ["+INF"] = math.huge,
      ["10000000000000000000000"] = 1e22, ["9007199254740993"] = 9007199254740992,
    }
    for text, x in pairs(expected) do assert.equal(x, number.parse(text)) end
    same(-0.0, number.parse("-0"), "-0")
  end)

  it("gives nil for all else", function()
    for _, text in ipairs {
      "", " ", ".", "+", "-", "e5", "1e", "1e+", "1_0", "0x10", "0x1p3", "10%", "1,5", "1,013.5",
      "1 2", "nan", "NaN", "infi", "--1", "+-1", "1.2.3", "1e5.0", "True", "1\0", "\0", "1d5",
      "2026-01-01", "12:30", "1f", "- 1", "\u{661}",
    } do
      assert.is_nil(number.parse(text), text)
    end
  end)

  it("rounds correctly where it is hard", function()
    local hard = {
      "2.2250738585072011e-308", "2.2250738585072012e-308", "4.9406564584124654e-324",
      "2.4703282292062327208e-324", "2.4703282292062328e-324", "1.7976931348623158e308",
      "1.7976931348623159e308", "179769313486231580793e289", "9007199254740993e0",
      "9007199254740992.99999999999999999999", "9007199254740993.00000000000000000001",
      "0.500000000000000166533453693773481063544750213623046875",
      "3.518437208883201171875e13", "62.5364939768271845828", "8.10109172351e-10",
      "1.50000000000000011102230246251565", "0.000000000000000000000000000000000000001e42",
      "1" .. ("0"):rep(400) .. "e-400", "0." .. ("0"):rep(400) .. "1e401",
      "1" .. ("0"):rep(799) .. "1e-800", "6929495644600919.5", "3.7455744005952583e15",
    }
    -- midway between two doubles: exactly, a digit above, a digit below
    for _, middle in ipairs { "9007199254740993", "4503599627370497.5", "1125899906842624.125" } do
      local tail = middle:find("%.") and "" or "."
      hard[#hard + 1] = middle .. tail .. ("0"):rep(900)
      hard[#hard + 1] = middle .. tail .. ("0"):rep(900) .. "1"
      hard[#hard + 1] = middle:sub(1, -2) .. tostring(tonumber(middle:sub(-1)) - 1) ..
        tail .. ("9"):rep(900)
    end
    for _, text in ipairs(hard) do same(tonumber(text) + 0.0, number.parse(text), text) end
  end)

  it("agrees with the reference vectors", function()
    local rows = reference("parse")
    if not rows then return pending("no reference data beside the checkout") end
    assert.is_true(#rows > 1000)
    for _, row in ipairs(rows) do
      local x = double(row[3])
      if x == x then
        same(x, number.parse(row[1]), row[1])
      else
        assert.is_nil(number.parse(row[1]))
      end
    end
  end)

  it("agrees with strtod at random", function()
    math.randomseed(13)
    for _ = 1, 20000 do
      local x = string.unpack("d", string.pack("j", math.random(0)))
      if x == x and x - x == 0 then
        local text = ("%." .. math.random(0, 25) .. "e"):format(x)
        same(tonumber(text), number.parse(text), text)
      end
      local text = ("%d.%de%d"):format(math.random(0, 10 ^ math.random(0, 17) // 1),
        math.random(0, 10 ^ math.random(0, 17) // 1), math.random(-330, 310))
      same(tonumber(text), number.parse(text), text)
    end
  end)
end)
