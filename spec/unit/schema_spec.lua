local json = require("json")
local schema = require("schema")

local function problem(text, declaration)
  local value, err = schema.read_text(text, declaration, { "query", "limit" })
  assert.is_nil(value)
  return json.encode(err)
end

local function read(text, declaration)
  local value, err = schema.read_text(text, declaration, { "query", "limit" })
  assert.is_nil(err)
  return value
end

local integer = { type = "integer" }
local number = { type = "number" }

describe("schema.read_text", function()
  it("reads integers as pydantic does", function()
    for text, value in pairs({
      ["5"] = 5, ["-5"] = -5, ["+3"] = 3, [" 1 "] = 1, ["1_0"] = 10, ["1.0"] = 1, ["1."] = 1,
      ["007"] = 7, ["9223372036854775807"] = math.maxinteger,
      ["-9223372036854775808"] = math.mininteger,
    }) do
      assert.equal(value, read(text, integer))
      assert.equal("integer", math.type(read(text, integer)))
    end
    for _, text in ipairs({ "abc", "", " ", "1.5", "0x10", "1e3", "_1", "1_", "1__0", "1 2", "--1",
      "+", "1.0.0", ".0", "１" }) do
      assert.equal('{"type":"int_parsing","loc":["query","limit"],"msg":"Input should be a valid '
        .. 'integer, unable to parse string as an integer","input":"' .. text .. '"}',
        problem(text, integer))
    end
  end)

  it("bounds integers, those too long for the machine too", function()
    local limits = { type = "integer", minimum = 1, maximum = 10000 }
    assert.equal('{"type":"greater_than_equal","loc":["query","limit"],"msg":"Input should be '
      .. 'greater than or equal to 1","input":"0","ctx":{"ge":1}}', problem("0", limits))
    assert.equal('{"type":"less_than_equal","loc":["query","limit"],"msg":"Input should be less '
      .. 'than or equal to 10000","input":"10001","ctx":{"le":10000}}', problem("10001", limits))
    assert.equal('{"type":"less_than_equal","loc":["query","limit"],"msg":"Input should be less '
      .. 'than or equal to 10000","input":"100000000000000000000","ctx":{"le":10000}}',
      problem("100000000000000000000", limits))
    assert.equal('{"type":"int_parsing_size","loc":["query","limit"],"msg":"Unable to parse input '
      .. 'string as an integer, exceeded maximum size","input":"9223372036854775808"}',
      problem("9223372036854775808", integer))
    assert.equal(1, read("1", limits))
    assert.equal(10000, read("10000", limits))
  end)

  it("reads numbers", function()
    for text, value in pairs({ ["1"] = 1.0, ["-1.5e3"] = -1500.0, [".5"] = 0.5, ["5."] = 5.0,
      ["+2"] = 2.0, [" 1 "] = 1.0, ["1_000.5"] = 1000.5 }) do
      assert.equal(value, read(text, number))
      assert.equal("float", math.type(read(text, number)))
    end
    for _, text in ipairs({ "abc", "", "e", "1e", ".", "0x1p3", "1,5", "--1" }) do
      assert.equal('{"type":"float_parsing","loc":["query","limit"],"msg":"Input should be a valid '
        .. 'number, unable to parse string as a number","input":"' .. text .. '"}',
        problem(text, number))
    end
    for _, text in ipairs({ "nan", "inf", "-Infinity", "1e400" }) do
      assert.equal('{"type":"finite_number","loc":["query","limit"],"msg":"Input should be a '
        .. 'finite number","input":"' .. text .. '"}', problem(text, number))
    end
    assert.equal('{"type":"greater_than_equal","loc":["query","limit"],"msg":"Input should be '
      .. 'greater than or equal to 1","input":"0.5","ctx":{"ge":1.0}}',
      problem("0.5", { type = "number", minimum = 1 }))
    assert.equal('{"type":"less_than_equal","loc":["query","limit"],"msg":"Input should be '
      .. 'less than or equal to 0.25","input":"0.5","ctx":{"le":0.25}}',
      problem("0.5", { type = "number", maximum = 0.25 }))
  end)

  it("reads booleans", function()
    for _, text in ipairs({ "1", "true", "True", "on", "YES", "t", "y" }) do
      assert.is_true(read(text, { type = "boolean" }))
    end
    for _, text in ipairs({ "0", "false", "Off", "no", "f", "n" }) do
      assert.is_false(read(text, { type = "boolean" }))
    end
    assert.equal('{"type":"bool_parsing","loc":["query","limit"],"msg":"Input should be a valid '
      .. 'boolean, unable to interpret input","input":"2"}', problem("2", { type = "boolean" }))
  end)

  it("bounds strings in characters", function()
    local name = { type = "string", min_length = 2, max_length = 3 }
    assert.equal("éé", read("éé", name))
    assert.equal('{"type":"string_too_short","loc":["query","limit"],"msg":"String should have at '
      .. 'least 2 characters","input":"é","ctx":{"min_length":2}}', problem("é", name))
    assert.equal('{"type":"string_too_long","loc":["query","limit"],"msg":"String should have at '
      .. 'most 3 characters","input":"abcd","ctx":{"max_length":3}}', problem("abcd", name))
    assert.matches("at least 1 character\"", problem("", { type = "string", min_length = 1 }))
  end)

  it("keeps to an enum", function()
    local state = { type = "string", enum = { "queued", "running", "done" } }
    assert.equal("done", read("done", state))
    assert.equal('{"type":"enum","loc":["query","limit"],"msg":"Input should be \'queued\', '
      .. "'running' or 'done'\",\"input\":\"x\",\"ctx\":{\"expected\":\"'queued', 'running' or "
      .. '\'done\'"}}', problem("x", state))
    assert.matches("Input should be 1 or 2\"", problem("3", { type = "integer", enum = { 1, 2 } }))
    assert.matches("should be 'a'\"", problem("b", { type = "string", enum = { "a" } }))
  end)

  it("takes time in step with the text, whatever is in it", function()
    local before = os.clock()
    for _, kind in ipairs({ "integer", "number", "boolean" }) do
      for _, piece in ipairs({ "0", "1", " ", "_1", "1_", "1e", "." }) do
        schema.read_text(piece:rep(50000) .. "x", { type = kind }, {})
        schema.read_text(piece:rep(50000), { type = kind }, {})
      end
    end
    assert.is_true(os.clock() - before < 2)
  end)
end)

describe("schema.read_value", function()
  local function bad(value, kind)
    local got, err = schema.read_value(value, { type = kind }, { "body", "a" })
    assert.is_nil(got)
    return { err.type, err.msg }
  end

  it("takes what pydantic takes", function()
    local function good(value, kind)
      local got, err = schema.read_value(value, { type = kind }, { "body", "a" })
      assert.is_nil(err)
      return got
    end
    assert.equal(3, good(3, "integer"))
    assert.equal(3, good(3.0, "integer"))
    assert.equal(3, good("3", "integer"))
    assert.equal(1, good(true, "integer"))
    assert.equal(2.5, good("2.5", "number"))
    assert.equal("float", math.type(good(2, "number")))
    assert.equal("x", good("x", "string"))
    assert.is_true(good(1, "boolean"))
    assert.is_false(good("no", "boolean"))
    assert.same({ b = 1 }, good({ b = 1 }, "object"))
    assert.same({ 1 }, good(json.array({ 1 }), "array"))
  end)

  it("refuses in pydantic's words", function()
    assert.same({ "int_from_float",
      "Input should be a valid integer, got a number with a fractional part" }, bad(1.5, "integer"))
    assert.same({ "int_type", "Input should be a valid integer" }, bad(json.null, "integer"))
    assert.same({ "int_parsing",
      "Input should be a valid integer, unable to parse string as an integer" },
      bad("x", "integer"))
    assert.same({ "float_type", "Input should be a valid number" }, bad({}, "number"))
    assert.same({ "string_type", "Input should be a valid string" }, bad(1, "string"))
    assert.same({ "bool_type", "Input should be a valid boolean" }, bad({}, "boolean"))
    assert.same({ "bool_parsing", "Input should be a valid boolean, unable to interpret input" },
      bad(2, "boolean"))
    assert.same({ "dict_type", "Input should be a valid dictionary" },
      bad(json.array(), "object"))
    assert.same({ "list_type", "Input should be a valid list" }, bad({}, "array"))
  end)
end)

describe("schema.read_all", function()
  local declarations = {
    limit = { type = "integer", default = 50 }, name = { type = "string", required = true },
    flag = { type = "boolean", default = false }, free = { type = "string" },
  }
  local names = schema.names(declarations)

  it("fills in defaults and leaves out what is neither given nor declared", function()
    local errors = {}
    local values = schema.read_all({ name = "x", other = "y" }, declarations, names,
      schema.read_text, "query", errors)
    assert.same({ limit = 50, name = "x", flag = false }, values)
    assert.same({}, errors)
  end)

  it("collects all errors, in the order of names", function()
    local errors = {}
    schema.read_all({ limit = "x", flag = "z" }, declarations, names, schema.read_text, "query",
      errors)
    assert.equal(3, #errors)
    assert.same({ "bool_parsing", "int_parsing", "missing" },
      { errors[1].type, errors[2].type, errors[3].type })
    assert.equal('{"type":"missing","loc":["query","name"],"msg":"Field required","input":null}',
      json.encode(errors[3]))
  end)
end)

describe("schema.names", function()
  local function refused(declaration, body)
    local names, message = schema.names({ p = declaration }, body)
    assert.is_nil(names)
    return message
  end

  it("sorts names and takes every right field", function()
    assert.same({ "a", "b" }, schema.names({
      b = { type = "integer", minimum = 1, maximum = 5, default = 2, description = "x" },
      a = { type = "string", min_length = 1, max_length = 5, enum = { "x" }, required = true,
        example = "x" },
    }))
    assert.same({ "o" }, schema.names({ o = { type = "object" } }, true))
  end)

  it("says what is wrong with a declaration", function()
    assert.equal("parameter 'p': there is no field 'minimun'; did you mean 'minimum'?",
      refused({ type = "integer", minimun = 1 }))
    assert.equal("parameter 'p': there is no type 'int'; one of boolean, integer, number, string",
      refused({ type = "int" }))
    assert.equal("parameter 'p': there is no type 'intger'; did you mean 'integer'?",
      refused({ type = "intger" }))
    assert.matches("the type is missing", refused({}))
    assert.matches("there is no type 'object'", refused({ type = "object" }))
    assert.matches("a declaration is a table", refused("integer"))
    assert.matches("minimum means nothing for the type string",
      refused({ type = "string", minimum = 1 }))
    assert.matches("max_length means nothing for the type integer",
      refused({ type = "integer", max_length = 1 }))
    assert.matches("minimum must be an integer", refused({ type = "integer", minimum = 1.5 }))
    assert.matches("maximum must be a number", refused({ type = "number", maximum = "5" }))
    assert.matches("minimum is above maximum",
      refused({ type = "integer", minimum = 5, maximum = 1 }))
    assert.matches("the default must be an integer", refused({ type = "integer", default = "5" }))
    assert.matches("the default must be a boolean", refused({ type = "boolean", default = 1 }))
    assert.matches("the default breaks its own rule: Input should be less than or equal to 5",
      refused({ type = "integer", maximum = 5, default = 6 }))
    assert.matches("required and has a default",
      refused({ type = "integer", required = true, default = 6 }))
    assert.matches("enum must be a list", refused({ type = "string", enum = {} }))
    assert.matches("enum%[2%] is no string", refused({ type = "string", enum = { "a", 2 } }))
    assert.matches("required must be", refused({ type = "string", required = 1 }))
    assert.matches("the description must be", refused({ type = "string", description = 1 }))
    assert.matches("name must be a text", select(2, schema.names({ { type = "string" } })))
  end)
end)
