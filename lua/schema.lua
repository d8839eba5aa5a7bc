--- schema: what a parameter must be, declared once; texts and JSON values checked against it.
--
-- A declaration is a table:
--   type         "integer", "number", "string" or "boolean"; in a body also "object" and "array"
--   required     true: it must be given
--   default      the value when it is not given
--   minimum, maximum          of an integer or number, both included
--   min_length, max_length    of a string, in characters
--   enum         the list of values it may have
--   description  for /docs and /openapi.json
--   example      for /docs
-- Errors are those of FastAPI with pydantic 2: {type, loc, msg, input, ctx}, in that order.
local json = require("json")
local suggest = require("suggest")

local schema = {}

local FIELDS = {
  type = true, required = true, default = true, minimum = true, maximum = true,
  min_length = true, max_length = true, enum = true, description = true, example = true,
}
local NUMERIC = { integer = true, number = true }
local SCALARS = { integer = true, number = true, string = true, boolean = true }
local BODY_TYPES = { object = true, array = true }
for name in pairs(SCALARS) do BODY_TYPES[name] = true end

local ERROR_KEYS = { "type", "loc", "msg", "input", "ctx" }

--- One error of a 422 body. `ctx` may be nil; an `input` of nil is null.
function schema.error(kind, loc, message, input, ctx)
  if input == nil then input = json.null end
  return json.object(ERROR_KEYS, {
    type = kind, loc = json.array(loc), msg = message, input = input, ctx = ctx,
  })
end

local function lua_type_fits(kind, value)
  if kind == "integer" then return math.type(value) == "integer" end
  if kind == "number" then return type(value) == "number" and value - value == 0 end
  if kind == "object" or kind == "array" then return type(value) == "table" end
  return type(value) == kind
end

-- The first thing that is wrong with a limit, or nil.
local function bad_limit(declaration, low, high, numeric_only, whole)
  local a, b = declaration[low], declaration[high]
  for _, name in ipairs({ low, high }) do
    local value = declaration[name]
    if value ~= nil then
      if not numeric_only then
        return ("%s means nothing for the type %s"):format(name, declaration.type)
      end
      if type(value) ~= "number" or value ~= value or whole and math.type(value) ~= "integer" then
        return ("%s must be %s"):format(name, whole and "an integer" or "a number")
      end
    end
  end
  if a and b and a > b then return ("%s is above %s"):format(low, high) end
end

local function bad_enum(declaration)
  local enum = declaration.enum
  if enum == nil then return nil end
  if type(enum) ~= "table" or #enum == 0 then return "enum must be a list of values" end
  if not SCALARS[declaration.type] then return "enum means nothing for this type" end
  for i, value in ipairs(enum) do
    if not lua_type_fits(declaration.type, value) then
      return ("enum[%d] is no %s"):format(i, declaration.type)
    end
  end
end

local function bad_default(declaration)
  local default = declaration.default
  if default == nil then return nil end
  if declaration.required then return "it is required and has a default: one of the two" end
  if not lua_type_fits(declaration.type, default) then
    return ("the default must be %s %s"):format(
      declaration.type:find("^[aeiou]") and "an" or "a", declaration.type)
  end
  local _, problem = schema.check(default, declaration, {})
  if problem then return "the default breaks its own rule: " .. problem.msg end
end

local function problem_with(declaration, types)
  if type(declaration) ~= "table" then
    return "a declaration is a table, as {type = \"integer\"}"
  end
  for name in pairs(declaration) do
    if not FIELDS[name] then
      return "there is no field '" .. tostring(name) .. "'" .. suggest.phrase(name, FIELDS)
    end
  end
  local kind = declaration.type
  if not types[kind] then
    return (kind == nil and "the type is missing" or "there is no type '" .. tostring(kind) .. "'")
      .. suggest.phrase(kind, types)
  end
  if declaration.required ~= nil and type(declaration.required) ~= "boolean" then
    return "required must be true or false"
  end
  if declaration.description ~= nil and type(declaration.description) ~= "string" then
    return "the description must be a text"
  end
  return bad_limit(declaration, "minimum", "maximum", NUMERIC[kind], kind == "integer")
    or bad_limit(declaration, "min_length", "max_length", kind == "string", true)
    or bad_enum(declaration) or bad_default(declaration)
end

--- Look over the declarations name -> declaration. Gives the sorted list of names, or nil and what
-- is wrong with which: for whoever loads them to raise. `body` allows the types of JSON too.
function schema.names(declarations, body)
  if type(declarations) ~= "table" then return nil, "parameters are declared in a table" end
  local names = {}
  for name, declaration in pairs(declarations) do
    if type(name) ~= "string" or name == "" then
      return nil, "a parameter's name must be a text, not " .. tostring(name)
    end
    local problem = problem_with(declaration, body and BODY_TYPES or SCALARS)
    if problem then return nil, ("parameter '%s': %s"):format(name, problem) end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- A number in a message: 1.0 as "1", as Rust prints it.
local function plain(x)
  local whole = math.tointeger(x)
  return whole and tostring(whole) or json.encode(x)
end

local function quoted_list(enum)
  local words = {}
  for i, value in ipairs(enum) do
    if type(value) == "string" then words[i] = "'" .. value .. "'"
    elseif type(value) == "number" then words[i] = json.encode(value)
    else words[i] = value and "True" or "False" end
  end
  if #words == 1 then return words[1] end
  return table.concat(words, ", ", 1, #words - 1) .. " or " .. words[#words]
end

local function check_range(value, declaration)
  local minimum, maximum = declaration.minimum, declaration.maximum
  if minimum and value < minimum then
    if declaration.type == "number" then minimum = minimum + 0.0 end
    return "greater_than_equal", "Input should be greater than or equal to " .. plain(minimum),
      { ge = minimum }
  end
  if maximum and value > maximum then
    if declaration.type == "number" then maximum = maximum + 0.0 end
    return "less_than_equal", "Input should be less than or equal to " .. plain(maximum),
      { le = maximum }
  end
end

local function characters(n) return n == 1 and " character" or " characters" end

local function check_length(value, declaration)
  local least, most = declaration.min_length, declaration.max_length
  if not least and not most then return nil end
  local n = utf8.len(value) or #value
  if least and n < least then
    return "string_too_short", "String should have at least " .. least .. characters(least),
      { min_length = least }
  end
  if most and n > most then
    return "string_too_long", "String should have at most " .. most .. characters(most),
      { max_length = most }
  end
end

local function check_enum(value, declaration)
  for _, allowed in ipairs(declaration.enum or { value }) do
    if allowed == value then return nil end
  end
  local expected = quoted_list(declaration.enum)
  return "enum", "Input should be " .. expected, { expected = expected }
end

--- A value of the right type against its declaration's limits: the value, or nil and the error.
function schema.check(value, declaration, loc, input)
  if input == nil then input = value end
  local kind, message, ctx
  if NUMERIC[declaration.type] then
    kind, message, ctx = check_range(value, declaration)
  elseif declaration.type == "string" then
    kind, message, ctx = check_length(value, declaration)
  end
  if not kind and declaration.enum then kind, message, ctx = check_enum(value, declaration) end
  if kind then return nil, schema.error(kind, loc, message, input, ctx) end
  return value
end

-- Texts come from strangers: each pattern below runs in time linear in the text.

local function trim(text)
  local from = text:find("%S")
  return from and text:match(".*%S", from) or ""
end

-- Digits with single underscores between them, as Python reads them; nil when they are elsewhere.
local function without_underscores(text)
  if text:find("^_") or text:find("_$") or text:find("__", 1, true) then return nil end
  return (text:gsub("_", ""))
end

local parse = {}

-- As pydantic: white space around, a sign, underscores and a fraction of zeros are taken.
function parse.integer(text)
  local sign, digits, rest = trim(text):match("^([+-]?)([%d_]+)(.*)$")
  digits = digits and (rest == "" or rest:find("^%.0*$")) and without_underscores(digits)
  if not digits then
    return nil, "int_parsing",
      "Input should be a valid integer, unable to parse string as an integer"
  end
  local value = tonumber(sign .. digits)
  if math.type(value) == "integer" then return value end
  return value, "int_parsing_size",
    "Unable to parse input string as an integer, exceeded maximum size"
end

function parse.number(text)
  text = trim(text)
  local word = text:match("^[+-]?(%a+)$")
  word = word and word:lower()
  if word == "nan" or word == "inf" or word == "infinity" then
    return nil, "finite_number", "Input should be a finite number"
  end
  local digits = not text:find("[^%d_.eE+-]") and without_underscores(text)
  local value = digits and tonumber(digits)
  if not value then
    return nil, "float_parsing",
      "Input should be a valid number, unable to parse string as a number"
  end
  value = value + 0.0
  if value - value ~= 0 then return nil, "finite_number", "Input should be a finite number" end
  return value
end

local BOOLEANS = {
  ["1"] = true, t = true, y = true, on = true, yes = true, ["true"] = true,
  ["0"] = false, f = false, n = false, off = false, no = false, ["false"] = false,
}

function parse.boolean(text)
  local value = BOOLEANS[text:lower()]
  if value == nil then
    return nil, "bool_parsing", "Input should be a valid boolean, unable to interpret input"
  end
  return value
end

function parse.string(text) return text end

--- A text (from a query or a path) as the value that its declaration asks for: value, or nil and
-- the error. `loc` is the error's place, as {"query", "limit"}.
function schema.read_text(text, declaration, loc)
  local value, kind, message = parse[declaration.type](text)
  if kind == "int_parsing_size" then
    -- Too large for an integer: then it is also beyond a limit that is declared.
    local _, problem = schema.check(value, declaration, loc, text)
    if problem then return nil, problem end
  end
  if kind then return nil, schema.error(kind, loc, message, text) end
  return schema.check(value, declaration, loc, text)
end

local accept = {}

function accept.integer(value)
  if math.type(value) == "integer" then return value end
  if type(value) == "boolean" then return value and 1 or 0 end
  if type(value) == "string" then return parse.integer(value) end
  if type(value) ~= "number" then return nil, "int_type", "Input should be a valid integer" end
  local whole = math.tointeger(value)
  if whole then return whole end
  return nil, "int_from_float",
    "Input should be a valid integer, got a number with a fractional part"
end

function accept.number(value)
  if type(value) == "number" then return value + 0.0 end
  if type(value) == "boolean" then return value and 1.0 or 0.0 end
  if type(value) == "string" then return parse.number(value) end
  return nil, "float_type", "Input should be a valid number"
end

function accept.string(value)
  if type(value) == "string" then return value end
  return nil, "string_type", "Input should be a valid string"
end

function accept.boolean(value)
  if type(value) == "boolean" then return value end
  if type(value) == "string" then return parse.boolean(value) end
  if value == 0 or value == 1 then return value == 1 end
  if type(value) == "number" then return parse.boolean("?") end
  return nil, "bool_type", "Input should be a valid boolean"
end

function accept.object(value)
  if type(value) == "table" and not json.is_array(value) then return value end
  return nil, "dict_type", "Input should be a valid dictionary"
end

function accept.array(value)
  if type(value) == "table" and json.is_array(value) then return value end
  return nil, "list_type", "Input should be a valid list"
end

--- A value out of a JSON body as the value that its declaration asks for: value, or nil and the
-- error. A text that reads as the number or boolean asked for is taken, as pydantic does.
function schema.read_value(input, declaration, loc)
  local value, kind, message = accept[declaration.type](input)
  if kind then return nil, schema.error(kind, loc, message, input) end
  return schema.check(value, declaration, loc, input)
end

--- Check all of `given` (name -> text, or JSON value) against `declarations`, in the order of
-- `names`. `read` is schema.read_text or schema.read_value, `place` the errors' first word
-- ("query", "path", "body"). Gives the table of values, defaults filled in; errors are added to
-- `errors`. `whole` is the input that an error of a missing field shows (nil: null).
function schema.read_all(given, declarations, names, read, place, errors, whole)
  local values = {}
  for _, name in ipairs(names) do
    local declaration = declarations[name]
    local input = given[name]
    if input == nil and declaration.required then
      errors[#errors + 1] = schema.error("missing", { place, name }, "Field required", whole)
    elseif input == nil then
      values[name] = declaration.default
    else
      local value, problem = read(input, declaration, { place, name })
      values[name] = value
      errors[#errors + 1] = problem
    end
  end
  return values
end

--- The error of a body that is not JSON; `place` as json.decode gives it.
function schema.json_invalid(place)
  return schema.error("json_invalid", { "body", place.offset }, "JSON decode error",
    json.object(), { error = place.reason })
end

return schema
