--- pretty: any Lua value as text for people, never longer than its limits.
--
-- Names are sorted, nested tables are broken into lines where they are too wide, a table met again
-- on its own way down is <cycle>, lists of records are shown as a table with a head. No metamethod
-- is run but __tostring and __name of values that are no tables; a table's metatable may hold
-- `__view`, a table to be shown in its place.
local number = require("number")

local pretty = {}

local DEFAULTS = { width = 80, depth = 5, items = 100, text = 2000, columns = 12, color = false }

local COLORS = { string = "\27[32m", number = "\27[36m", boolean = "\27[33m", ["nil"] = "\27[2m",
  name = "\27[1m", other = "\27[35m" }

local RESERVED = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch("%a+") do RESERVED[word] = true end

local ESCAPES = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape_byte(byte)
  return ESCAPES[byte] or ("\\x%02X"):format(byte:byte())
end

--- A text with every byte that a terminal might obey, or that is no UTF-8, written out.
-- @param keep_lines leave newlines and tabs as they are
function pretty.plain(text, keep_lines)
  local class = keep_lines and "[%z\1-\8\11-\31\127]" or '[%c"\\]'
  text = text:gsub(class, escape_byte):gsub("\xC2[\x80-\x9F]", function(c)
    return ("\\u{%X}"):format(utf8.codepoint(c))
  end)
  if utf8.len(text) then return text end
  local parts, at = {}, 1
  while at <= #text do
    local _, bad = utf8.len(text, at)
    if not bad then
      parts[#parts + 1] = text:sub(at)
      break
    end
    parts[#parts + 1] = text:sub(at, bad - 1) .. escape_byte(text:sub(bad, bad))
    at = bad + 1
  end
  return table.concat(parts)
end

--- How many columns a text takes on a terminal (wide letters count as one).
local function width_of(text)
  return utf8.len((text:gsub("\27%[[%d;]*m", ""))) or #text
end

--- Cut a text to so many bytes, not within a letter.
local function cut(text, limit)
  if #text <= limit then return text, 0 end
  local at = limit
  while at > 0 and (text:byte(at + 1) or 0) & 0xC0 == 0x80 do at = at - 1 end
  return text:sub(1, at), #text - at
end

local function paint(state, kind, text)
  if not state.color then return text end
  return (COLORS[kind] or COLORS.other) .. text .. "\27[0m"
end

local function show_number(value)
  if math.type(value) == "integer" then return tostring(value) end
  return number.shortest(value)
end

local function show_text(state, value)
  local text, left = cut(value, state.text)
  local shown = '"' .. pretty.plain(text) .. '"'
  if left > 0 then shown = shown .. (" (%d bytes more)"):format(left) end
  return paint(state, "string", shown)
end

local function show_function(value)
  local info = debug.getinfo(value, "S")
  if info.what == "C" then return "function: built in" end
  return ("function: %s:%d"):format(info.short_src, info.linedefined)
end

--- A value that is no table.
local function show_plain(state, value)
  local kind = type(value)
  if kind == "string" then return show_text(state, value) end
  if kind == "number" then return paint(state, kind, show_number(value)) end
  if kind == "boolean" or kind == "nil" then return paint(state, kind, tostring(value)) end
  if kind == "function" then return paint(state, "other", show_function(value)) end
  -- The null of JSON is a NULL pointer.
  if tostring(value) == "userdata: (nil)" or tostring(value) == "userdata: NULL" then
    return paint(state, "nil", "null")
  end
  local ok, text = pcall(tostring, value)
  return paint(state, "other", ok and pretty.plain(text) or kind)
end

local RANK = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local ka, kb = RANK[type(a)] or 4, RANK[type(b)] or 4
  if ka ~= kb then return ka < kb end
  if ka <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

--- The table that a value's metatable has as `field`, or nil.
local function stated(value, field)
  local metatable = debug.getmetatable(value)
  local found = type(metatable) == "table" and rawget(metatable, field)
  return type(found) == "table" and found or nil
end

--- Sort names; those of a table of json.object in the order that it states, which go first.
local function sort_names(names, value)
  local place = {}
  for i, name in ipairs(stated(value, "__keys") or {}) do place[name] = i end
  table.sort(names, function(a, b)
    if place[a] or place[b] then return (place[a] or math.huge) < (place[b] or math.huge) end
    return before(a, b)
  end)
end

--- The names of a table behind its first `n` items, sorted; at most `limit`, and whether more are
-- there. Of a very large table any ones are taken.
local function names_of(value, n, limit)
  local names, more = {}, false
  -- Behind a long list only what is stored behind it is looked at.
  for name in next, value, n > limit * 20 and n or nil do
    local in_list = math.type(name) == "integer" and name >= 1 and name <= n
    if not in_list then
      if #names == limit * 20 then
        more = true
        break
      end
      names[#names + 1] = name
    end
  end
  sort_names(names, value)
  if #names > limit then
    more = #names - limit
    for i = #names, limit + 1, -1 do names[i] = nil end
  end
  return names, more
end

local function view_of(value) return stated(value, "__view") or value end

local function key_text(state, key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") and not RESERVED[key] then
    return paint(state, "name", key)
  end
  if type(key) == "table" then return "[table]" end
  return "[" .. show_plain(state, key) .. "]"
end

-- ---- tables with a head ----

local function is_scalar(value)
  return type(value) ~= "table" and type(value) ~= "function"
end

local function cell_text(state, value)
  if value == nil then return "" end
  if type(value) == "string" then
    local text, left = cut(value, 60)
    return pretty.plain(text):gsub('\\"', '"'):gsub("\\\\", "\\") .. (left > 0 and "…" or "")
  end
  -- A table is for the eye; a value by itself shows all its digits.
  if math.type(value) == "float" then return ("%.7g"):format(value) end
  return show_plain({ color = false, text = state.text }, value)
end

local function pad(text, width, right)
  local gap = (" "):rep(width - width_of(text))
  return right and gap .. text or text .. gap
end

--- Rows as a table with a head.
-- @param rows list of {column = scalar}
-- @param columns list of names, or of {name, title =, right = true}
-- @param options {color}
function pretty.table(rows, columns, options)
  local state = setmetatable(options or {}, { __index = DEFAULTS })
  local shown, lines = {}, {}
  for i, column in ipairs(columns) do
    local name = type(column) == "table" and column[1] or column
    local one = { title = type(column) == "table" and column.title or tostring(name),
      right = true, cells = {} }
    one.width = width_of(one.title)
    for r, row in ipairs(rows) do
      local value = row[name]
      if value ~= nil and type(value) ~= "number" then one.right = false end
      one.cells[r] = cell_text(state, value)
      one.width = math.max(one.width, width_of(one.cells[r]))
    end
    shown[i] = one
  end
  local function line(pick)
    local parts = {}
    for i, one in ipairs(shown) do parts[i] = pad(pick(one), one.width, one.right) end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  lines[1] = paint(state, "name", line(function(one) return one.title end))
  for r = 1, #rows do lines[r + 1] = line(function(one) return one.cells[r] end) end
  return table.concat(lines, "\n")
end

--- The columns that all of some records have in common with the first, or nil when they are no
-- records of one kind.
local function common_columns(state, records)
  local names, known, n = {}, {}, 0
  for _, record in ipairs(records) do
    if type(record) ~= "table" or rawlen(record) > 0 or next(record) == nil then return nil end
    for name, value in next, record do
      if type(name) ~= "string" or not is_scalar(value) then return nil end
      if not known[name] then
        known[name] = true
        names[#names + 1] = name
        n = n + 1
      end
      if n > state.columns then return nil end
    end
  end
  sort_names(names, records[1])
  return names
end

--- A list of records, or a table of records by name, as a table with a head; nil when it is none,
-- or when it is too wide.
local function show_records(state, value, indent)
  local n = rawlen(value)
  local names, more = names_of(value, n, state.items)
  if n > 0 and #names > 0 then return nil end
  local records, keys = {}, {}
  if n > 0 then
    for i = 1, math.min(n, state.items) do records[i] = rawget(value, i) end
    more = n > state.items and n - state.items
  else
    for i, name in ipairs(names) do
      if type(name) ~= "string" then return nil end
      keys[i] = name
      records[i] = rawget(value, name)
    end
  end
  if #records < 2 and #keys ~= 1 then return nil end
  local columns = common_columns(state, records)
  if not columns then return nil end
  local rows = records
  if #keys > 0 then
    rows = {}
    for i, key in ipairs(keys) do
      rows[i] = setmetatable({ [0] = key }, { __index = records[i] })
    end
    table.insert(columns, 1, { 0, title = "" })
  end
  local text = pretty.table(rows, columns, { color = state.color })
  for line in text:gmatch("[^\n]+") do
    if width_of(line) + indent > state.width then return nil end
  end
  if more then
    text = text .. ("\n… %s more"):format(more == true and "and" or more)
  end
  return text
end

-- ---- nested tables ----

local show

local function parts_of(state, value, depth)
  local parts, n = {}, rawlen(value)
  for i = 1, math.min(n, state.items) do
    parts[#parts + 1] = show(state, rawget(value, i), depth + 1)
  end
  if n > state.items then parts[#parts + 1] = ("… %d more"):format(n - state.items) end
  local names, more = names_of(value, n, state.items)
  for _, name in ipairs(names) do
    parts[#parts + 1] = key_text(state, name) .. " = " .. show(state, rawget(value, name),
      depth + 1)
  end
  if more then parts[#parts + 1] = more == true and "… and more" or ("… %d more"):format(more) end
  return parts
end

local function show_table(state, value, depth)
  if state.open[value] then return paint(state, "other", "<cycle>") end
  if next(value) == nil then return "{}" end
  if depth >= state.depth then return "{…}" end
  local indent = ("  "):rep(depth + 1)
  local records = show_records(state, value, #indent)
  if records then
    if depth == 0 then return records end
    return "{\n" .. indent .. records:gsub("\n", "\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
  end
  state.open[value] = true
  local parts = parts_of(state, value, depth)
  state.open[value] = nil
  local wide, has_lines = 2 * depth + 4, false
  for _, part in ipairs(parts) do
    wide = wide + width_of(part) + 2
    has_lines = has_lines or part:find("\n", 1, true)
  end
  if wide <= state.width and not has_lines then
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function show(state, value, depth)
  if type(value) ~= "table" then return show_plain(state, value) end
  return show_table(state, view_of(value), depth)
end

--- A value as text.
-- @param options {width = 80, depth = 5, items = 100 of each table, text = 2000 bytes of each text,
--   color = false}
function pretty.format(value, options)
  local state = setmetatable({ open = {} }, { __index = function(_, name)
    local given = options and options[name]
    if given ~= nil then return given end
    return DEFAULTS[name]
  end })
  return show(state, value, 0)
end

local BARS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

--- A list of numbers as a row of bars between its least and its largest; NaN and false are gaps.
function pretty.sparkline(values)
  local low, high = math.huge, -math.huge
  for _, v in ipairs(values) do
    if v and v == v then low, high = math.min(low, v), math.max(high, v) end
  end
  local parts = {}
  for i, v in ipairs(values) do
    if not v or v ~= v then
      parts[i] = " "
    elseif high <= low then
      parts[i] = BARS[4]
    else
      parts[i] = BARS[1 + math.floor((v - low) / (high - low) * 7 + 0.5)]
    end
  end
  return table.concat(parts)
end

return pretty
