--- json: JSON text to Lua values and back, so that what is read can be written again unchanged.
--
-- Writing is our own (src/bind/l_json_writer.c); reading is lua-cjson's, wrapped: a scan of the
-- text before it refuses what cjson lets through (NaN, hex, control characters in strings, text
-- that is not UTF-8) and marks in the text what cjson would lose (empty arrays, whole doubles, the
-- order of names); the walk after it turns the marks into values. A mark begins with the byte FF,
-- which no UTF-8 text contains, so no string of the text can be taken for one. Nothing depends on
-- the release of lua-cjson: those that give integers and those that give doubles end the same.
local cjson = require("cjson")
local writer = require("json_writer")

local json = {}

local MAX_DEPTH = 100
local MAX_BYTES = 256 * 1024 * 1024
local MARK = "\xff"
local LARGEST_WHOLE = 2 ^ 53

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

local find, byte, sub = string.find, string.byte, string.sub

local WORDS = { [byte("t")] = "true", [byte("f")] = "false", [byte("n")] = "null" }

-- Where the JSON number that begins at `start` ends, and whether it has a fraction or exponent;
-- nil when none begins there.
local function number_end(text, start)
  local _, last = find(text, "^-?0", start)
  if not last then
    _, last = find(text, "^-?[1-9]%d*", start)
    if not last then return nil end
  end
  local _, fraction = find(text, "^%.%d+", last + 1)
  local _, exponent = find(text, "^[eE][+-]?%d+", (fraction or last) + 1)
  return exponent or fraction or last, (exponent or fraction) ~= nil
end

-- What cjson complains about, in the words and at the place that Python's json has for it.
local REASONS = {
  { "Expected object key string", "Expecting property name enclosed in double quotes" },
  { "Expected comma", "Expecting ',' delimiter" },
  { "Expected colon", "Expecting ':' delimiter" },
  { "Expected the end", "Extra data" },
  { "invalid unicode escape", "Invalid \\uXXXX escape" },
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

-- The position of the quote that ends the string which begins at `start`, and whether the string
-- has escapes.
local function string_end(text, start)
  local at, escapes = start + 1, false
  while true do
    at = find(text, '["\\\0-\31]', at)
    if not at then string_wrong(text, start, start - 1, "Unterminated string starting at") end
    local c = byte(text, at)
    if c == 34 then return at, escapes end
    if c ~= 92 then string_wrong(text, start, at - 1, "Invalid control character at") end
    escapes = true
    c = sub(text, at + 1, at + 1)
    if c == "u" then
      if not find(text, "^%x%x%x%x", at + 2) then
        string_wrong(text, start, at, "Invalid \\uXXXX escape")
      end
      at = at + 6
    elseif c == "" then
      string_wrong(text, start, start - 1, "Unterminated string starting at")
    elseif find(c, '["\\/bfnrt]') then
      at = at + 2
    else
      string_wrong(text, start, at - 1, "Invalid \\escape")
    end
  end
end

-- One pass over the text. Gives the text with its marks, and for each object, by number, the list
-- of its names. It looks at words only; whether they stand in the right order is cjson's to say.
local function scan(text, max_depth)
  local parts, copied = {}, 1 -- pieces of the marked text; the text before `copied` is in them
  local objects = {} -- the names of each object that is not empty
  local open, depth = {}, 0 -- the names of each object that is open; false for an array

  -- Put `mark` in place of text[from..to].
  local function replace(from, to, mark)
    parts[#parts + 1] = sub(text, copied, from - 1)
    parts[#parts + 1] = mark
    copied = to + 1
  end

  local function name_of(from, to, escapes)
    local quoted = sub(text, from, to)
    if not escapes then return sub(quoted, 2, -2) end
    local ok, list = pcall(decoder.decode, "[" .. quoted .. "]")
    if not ok then wrong(text, from - 1, "Invalid \\uXXXX escape") end
    return list[1]
  end

  local function take_string(at)
    local last, escapes = string_end(text, at)
    local names = open[depth]
    if names and find(text, "^[ \t\r\n]*:", last + 1) then
      local name = name_of(at, last, escapes)
      if not names[name] then
        names[name] = true
        names[#names + 1] = name
      end
    end
    return last
  end

  local function take_number(at)
    local last, fraction = number_end(text, at)
    if not last then unexpected(text, at) end
    if find(text, "^%d", last + 1) then unexpected(text, last + 1) end
    if (fraction or last - at >= 15) and not find(text, "^[ \t\r\n]*:", last + 1) then
      local digits = sub(text, at, last)
      local value = tonumber(digits) + 0.0
      if value - value ~= 0 then
        wrong(text, at - 1, "Number out of the range of a double at")
      end
      if value % 1 == 0 then replace(at, last, '"' .. MARK .. digits .. '"') end
    end
    return last
  end

  local function take_word(at)
    local word = WORDS[byte(text, at)]
    if not word or sub(text, at, at + #word - 1) ~= word then unexpected(text, at) end
    return at + #word - 1
  end

  local function open_object(at)
    local names = {}
    if not find(text, "^[ \t\r\n]*}", at + 1) then
      objects[#objects + 1] = names
      replace(at, at, '{"' .. MARK .. '":' .. #objects .. ",")
    end
    return names
  end

  local at = 1
  while true do
    at = find(text, "[^ \t\r\n,:]", at)
    if not at then break end
    local c = byte(text, at)
    if c == 34 then -- "
      at = take_string(at)
    elseif c == 123 or c == 91 then -- { [
      depth = depth + 1
      if depth > max_depth then
        wrong(text, at - 1, "Nested deeper than " .. max_depth .. " at", "JsonTooDeep")
      end
      if c == 123 then
        open[depth] = open_object(at)
      else
        local _, last = find(text, "^[ \t\r\n]*%]", at + 1)
        if last then replace(at, at, '["' .. MARK .. '"') end
        open[depth] = false
      end
    elseif c == 125 or c == 93 then -- } ]
      depth = depth > 0 and depth - 1 or 0
    elseif c == 45 or c >= 48 and c <= 57 then -- - 0-9
      at = take_number(at)
    else
      at = take_word(at)
    end
    at = at + 1
  end
  parts[#parts + 1] = sub(text, copied)
  return table.concat(parts), objects
end

-- A mark's value, or the number as it shall be.
local function settle(value)
  local fraction = false
  if type(value) == "string" then
    if byte(value) ~= 255 then return value end
    fraction = find(value, "[.eE]")
    value = tonumber(sub(value, 2))
  elseif type(value) ~= "number" then
    return value
  end
  if not fraction and value >= -LARGEST_WHOLE and value <= LARGEST_WHOLE then
    return math.tointeger(value) or value
  end
  return value * 1.0 -- + 0.0 would lose the sign of -0.0
end

-- Turn marks into values, in place.
local function restore(t, objects)
  local number = t[MARK]
  if number then
    t[MARK] = nil
    setmetatable(t, { __json = "object", __keys = objects[math.tointeger(number)] })
  elseif t[1] == MARK then
    t[1] = nil
    return setmetatable(t, array_metatable)
  elseif t[1] ~= nil then
    setmetatable(t, array_metatable)
  end
  for key, value in next, t do
    if type(value) == "table" then
      restore(value, objects)
    else
      t[key] = settle(value)
    end
  end
  return t
end

local function decode(text, max_bytes, max_depth)
  if #text > max_bytes then
    wrong("", 0, "The text is longer than " .. max_bytes .. " bytes", "JsonTooLarge")
  end
  local _, bad = utf8.len(text)
  if bad then wrong(text, bad - 1, "Not UTF-8 at", "JsonEncoding") end
  local marked, objects = scan(text, max_depth)
  local ok, value = pcall(decoder.decode, marked)
  if not ok then
    -- Once more without the marks, for the place as it is in the text.
    local _, complaint = pcall(decoder.decode, text)
    explain(text, tostring(complaint))
  end
  if type(value) == "table" then return restore(value, objects) end
  return settle(value)
end

--- The value of a JSON text, or nil, message, code, place. Never raises on what the text holds;
-- only when the task's time or memory is used up.
-- Whole numbers written without fraction or exponent come as integers up to 2^53, all others as
-- doubles; null as json.null; arrays stay arrays and names keep their order when the value is
-- written again; of a name given twice the last value holds. `options.max_bytes` (default 256 MiB)
-- and `options.max_depth` (default and most: 100) bound what is taken. Codes: JsonInvalid,
-- JsonTooDeep, JsonTooLarge, JsonEncoding (not UTF-8). `place` has the message's parts: reason,
-- line and column from 1, and offset, the number of characters before the place; reasons and
-- places are those of Python's json module.
function json.decode(text, options)
  if type(text) ~= "string" then
    error("json.decode: a text, not a " .. type(text), 2)
  end
  local max_depth = math.min(options and options.max_depth or MAX_DEPTH, MAX_DEPTH)
  local ok, value = pcall(decode, text, options and options.max_bytes or MAX_BYTES, max_depth)
  if ok then return value end
  -- Not about the text: memory or the task's time is used up, which its sender must not be blamed
  -- for.
  if type(value) ~= "table" then error(value, 0) end
  local message = ("%s (line %d, column %d)"):format(value.reason, value.line, value.column)
  return nil, message, value.code, value
end

return json
