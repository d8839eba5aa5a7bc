--- json: JSON text to Lua values and back, so that what is read can be written again unchanged.
--
-- Writing is our own (src/bind/l_json_writer.c); reading is lua-cjson's, wrapped by our own
-- (src/bind/l_json_reader.c): a scan of the text before it refuses what cjson lets through (NaN,
-- hex, control characters in strings, text that is not UTF-8) and marks in the text what cjson
-- would lose (empty arrays, whole doubles, the order of names); the walk after it turns the marks
-- into values. Nothing depends on the release of lua-cjson: those that give integers and those that
-- give doubles end the same.
local cjson = require("cjson")
local reader = require("json_reader")
local writer = require("json_writer")

local json = {}

local MAX_DEPTH = 100
local MAX_BYTES = 256 * 1024 * 1024

local decoder = cjson.new()
decoder.decode_max_depth(MAX_DEPTH)
decoder.decode_invalid_numbers(false)

--- JSON's null, as a value that a table can hold. It is true in a condition: compare with it.
json.null = cjson.null

-- The writer asks the metatable's fields, never its identity: a value made before a reload is still
-- an array after it.
local array_metatable = { __json = "array" }

--- Mark `t` (default: a new table) as an array, so that it is written `[]` when empty. Returns t.
function json.array(t)
  return setmetatable(t or {}, array_metatable)
end

--- Is `t` a table that is written as an array?
function json.is_array(t)
  if type(t) ~= "table" then return false end
  local metatable = getmetatable(t)
  local kind = type(metatable) == "table" and metatable.__json
  if kind then return kind == "array" end
  return #t > 0
end

--- Mark `t` (default: a new table) as an object whose names in the list `keys` are written first,
-- in that order; names that are not in `keys` follow, sorted. Names in `keys` that `t` lacks are
-- left out. Without `keys` the table is only marked as an object. Returns t.
function json.object(keys, t)
  return setmetatable(t or {}, { __json = "object", __keys = keys })
end

--- The names of an object in the order in which they would be written.
function json.keys(t)
  local metatable = getmetatable(t)
  local names, seen, rest = {}, {}, {}
  for _, name in ipairs(type(metatable) == "table" and metatable.__keys or {}) do
    if t[name] ~= nil and not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  for name in pairs(t) do
    if not seen[name] then rest[#rest + 1] = name end
  end
  table.sort(rest)
  return table.move(rest, 1, #rest, #names + 1, names)
end

local ENCODE_OPTIONS = { indent = true, nan = true, max_bytes = true }

--- The JSON text of a value. On one line without spaces, or with {indent = 2} laid out as Python's
-- json.dumps(indent=2). Integers are written as integers, doubles in the shortest form that reads
-- back ("22.0"); names of an object sorted, unless their order is declared (json.object); an
-- unmarked table with elements is an array, an unmarked empty one `{}`; text that is not UTF-8 gets
-- U+FFFD in place of each bad piece. Raises, naming the path, for what JSON cannot hold: nan and
-- infinity (unless {nan = "null"}), functions, holes, positions mixed with names, more than 100
-- tables inside each other; and when the text passes {max_bytes} (default 256 MiB).
function json.encode(value, options)
  if not options then return writer.encode(value) end
  for name in pairs(options) do
    if not ENCODE_OPTIONS[name] then
      error("json.encode: there is no option '" .. tostring(name) .. "'", 2)
    end
  end
  if options.nan ~= nil and options.nan ~= "null" and options.nan ~= "error" then
    error("json.encode: the option nan is \"null\" or \"error\"", 2)
  end
  return writer.encode(value, options.indent, options.nan == "null",
    options.max_bytes or MAX_BYTES)
end

-- What was wrong with a text: raised inside decode as a table, never out of it.
local function wrong(text, offset, reason, code)
  local before = text:sub(1, offset)
  local _, breaks = before:gsub("\n", "")
  local line = before:match("[^\n]*$")
  local characters = utf8.len(before, 1, -1, true) or offset
  error({
    code = code or "JsonInvalid",
    offset = characters,
    line = breaks + 1,
    column = (utf8.len(line, 1, -1, true) or #line) + 1,
    reason = reason,
  }, 0)
end

local find, sub = string.find, string.sub

-- What cjson complains about, in the words and at the place that Python's json has for it.
local REASONS = {
  { "invalid unicode escape", "Invalid \\uXXXX escape" },
  { "Expected object key string", "Expecting property name enclosed in double quotes" },
  { "Expected comma", "Expecting ',' delimiter" },
  { "Expected colon", "Expecting ':' delimiter" },
  { "Expected the end", "Extra data" },
  { "Expected value", "Expecting value" },
}

local function explain(text, complaint)
  local offset = (tonumber(complaint:match("at character (%d+)")) or 1) - 1
  for _, pair in ipairs(REASONS) do
    if find(complaint, pair[1], 1, true) then wrong(text, offset, pair[2]) end
  end
  wrong(text, offset, complaint)
end

-- Something at `at` that begins no JSON word: what was expected there instead?
local function unexpected(text, at)
  local ok, complaint = pcall(decoder.decode, sub(text, 1, at - 1))
  if ok then wrong(text, at - 1, "Extra data") end
  explain(text, tostring(complaint))
end

-- A string that begins at `start` is wrong: unless no string may stand there, which comes first.
local function string_wrong(text, start, offset, reason)
  local ok, complaint = pcall(decoder.decode, sub(text, 1, start - 1) .. '""')
  local at = not ok and tonumber(tostring(complaint):match("at character (%d+)"))
  if at and at <= start then explain(text, complaint) end
  wrong(text, offset, reason)
end

-- Say why the scan refused the text; see l_json_reader.c.
local function refuse(text, max_depth, max_values, kind, at, place, reason)
  if kind == "unexpected" then unexpected(text, at) end
  if kind == "string" then string_wrong(text, at, place - 1, reason) end
  if kind == "range" then wrong(text, at - 1, "Number out of the range of a double at") end
  if kind == "deep" then
    wrong(text, at - 1, "Nested deeper than " .. max_depth .. " at", "JsonTooDeep")
  end
  if kind == "many" then
    wrong(text, at - 1, "More than " .. max_values .. " names and values at", "JsonTooLarge")
  end
  error("not enough memory")
end

-- Names with escapes, as they are meant. A wrong escape is cjson's to complain about.
local function undress(lists)
  local done = {}
  for _, names in ipairs(lists) do
    for i, name in ipairs(done[names] and {} or names) do
      local ok, list = pcall(decoder.decode, '["' .. name .. '"]')
      if ok then names[i] = list[1] end
    end
    done[names] = true
  end
end

local function decode(text, max_bytes, max_depth, max_values)
  if #text > max_bytes then
    wrong("", 0, "The text is longer than " .. max_bytes .. " bytes", "JsonTooLarge")
  end
  local _, bad = utf8.len(text)
  if bad then wrong(text, bad - 1, "Not UTF-8 at", "JsonEncoding") end
  local marked, names, escaped, place, reason = reader.scan(text, max_depth, max_values)
  if not marked then refuse(text, max_depth, max_values, names, escaped, place, reason) end
  local ok, value = pcall(decoder.decode, marked)
  if not ok then
    -- Once more without the marks, for the place as it is in the text.
    local _, complaint = pcall(decoder.decode, text)
    explain(text, tostring(complaint))
  end
  if escaped then undress(escaped) end
  return reader.restore(value, names, array_metatable)
end

--- The value of a JSON text, or nil, message, code, place. Never raises on what the text holds;
-- only when the task's time or memory is used up.
-- Whole numbers written without fraction or exponent come as integers up to 2^53, all others as
-- doubles; null as json.null; arrays stay arrays and names keep their order when the value is
-- written again; of a name given twice the last value holds. `options.max_bytes` (default 256 MiB)
-- and `options.max_depth` (default and most: 100) bound what is taken, and `options.max_values`
-- (default: none) the number of names and values, which is what reading takes its time for.
-- Codes: JsonInvalid, JsonTooDeep, JsonTooLarge, JsonEncoding (not UTF-8). `place` has the
-- message's parts: reason, line and column from 1, and offset, the number of characters before the
-- place; reasons and places are those of Python's json module.
function json.decode(text, options)
  if type(text) ~= "string" then
    error("json.decode: a text, not a " .. type(text), 2)
  end
  local max_depth = math.min(options and options.max_depth or MAX_DEPTH, MAX_DEPTH)
  local ok, value = pcall(decode, text, options and options.max_bytes or MAX_BYTES, max_depth,
    options and options.max_values)
  if ok then return value end
  -- Not about the text: memory or the task's time is used up, which its sender must not be blamed
  -- for.
  if type(value) ~= "table" then error(value, 0) end
  local message = ("%s (line %d, column %d)"):format(value.reason, value.line, value.column)
  return nil, message, value.code, value
end

return json
