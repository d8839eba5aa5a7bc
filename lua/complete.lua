--- complete: what a half-typed word in the console may become.
--
-- Looks at tables only: no metamethod and no function of the scripts is run. Names come from the
-- session's variables, the names of the console, `__index` tables of metatables, and commands.
local complete = {}

local DEEPEST = 10
local MOST = 500

--- The methods behind an `__index` that is a function written in C: its first upvalue (see
-- src/bind/class.h). It is not called.
local function c_methods(index)
  if debug.getinfo(index, "S").what ~= "C" then return nil end
  local _, value = debug.getupvalue(index, 1)
  return type(value) == "table" and value or nil
end

--- The table or userdata's own and inherited tables, nearest first.
local function layers(value)
  local list, seen = {}, {}
  for _ = 1, DEEPEST do
    if type(value) == "table" then
      if seen[value] then break end
      seen[value] = true
      list[#list + 1] = value
    end
    local metatable = debug.getmetatable(value)
    local index = type(metatable) == "table" and rawget(metatable, "__index")
    if type(index) == "function" then index = c_methods(index) end
    if type(index) ~= "table" then break end
    value = index
  end
  return list
end

--- The names of a value's methods, as a set; without a metamethod.
function complete.methods(value)
  local found = {}
  for _, layer in ipairs(layers(value)) do
    for name, field in next, layer do
      if type(field) == "function" then found[name] = true end
    end
  end
  return found
end

--- value[name] without a metamethod; nil when it would need one.
local function raw_field(value, name)
  for _, layer in ipairs(layers(value)) do
    local found = rawget(layer, name)
    if found ~= nil then return found end
  end
end

local function is_name(text) return type(text) == "string" and text:find("^[%a_][%w_]*$") ~= nil end

--- Add the names of a value that begin with `prefix`.
local function add_fields(found, value, prefix, only_functions, hidden)
  for _, layer in ipairs(layers(value)) do
    local seen = 0
    for name, field in next, layer do
      seen = seen + 1
      if seen > 100000 then break end
      if is_name(name) and name:sub(1, #prefix) == prefix and (prefix ~= "" or hidden or
        name:sub(1, 1) ~= "_") and (not only_functions or type(field) == "function") then
        found[name] = type(field) == "function" and "(" or true
      end
    end
  end
end

local function sorted(found)
  local list = {}
  for name in pairs(found) do list[#list + 1] = name end
  table.sort(list)
  for i = #list, MOST + 1, -1 do list[i] = nil end
  return list
end

--- Complete the last word of a text.
-- @param text the line up to the cursor
-- @param names {roots = list of tables searched raw for the first name of a chain,
--   commands = {name without colon = function(words before) -> list or nil}, words = list}
-- @return the word's part that stands already, a sorted list of whole words
function complete.find(text, names)
  local command, rest = text:match("^%s*:(%a*)(.*)$")
  if command and rest == "" then
    local found = {}
    for name in pairs(names.commands) do
      if name:sub(1, #command) == command then found[name] = true end
    end
    return command, sorted(found)
  end
  local arguments = command and names.commands[command]
  if command and arguments and type(arguments) == "function" then
    local word = rest:match("[^%s]*$")
    local found = {}
    for _, choice in ipairs(arguments(rest) or {}) do
      if choice:sub(1, #word) == word then found[choice] = true end
    end
    return word, sorted(found)
  end
  local word = text:match("[%w_%.:]*$")
  if not word:find("^[%a_]") then return "", {} end
  local chain, mark, prefix = word:match("^([%w_%.]*)([%.:])([%a_]?[%w_]*)$")
  if not chain and not is_name(word) then return "", {} end
  local found = {}
  if not chain then
    prefix = word
    for _, root in ipairs(names.roots) do add_fields(found, root, prefix, false, false) end
    for _, keyword in ipairs(names.words or {}) do
      if keyword:sub(1, #prefix) == prefix then found[keyword] = true end
    end
    return prefix, sorted(found)
  end
  local value
  for name in chain:gmatch("[^%.]+") do
    if value == nil then
      for _, root in ipairs(names.roots) do
        value = raw_field(root, name)
        if value ~= nil then break end
      end
    else
      value = raw_field(value, name)
    end
    if value == nil then return prefix, {} end
  end
  add_fields(found, value, prefix, mark == ":", false)
  return prefix, sorted(found)
end

--- What is to be inserted behind a prefix, and what is to be shown, for some candidates.
-- @return text to insert, text to show (nil when there is nothing to choose)
function complete.choose(prefix, list)
  if #list == 0 then return "", nil end
  local common = list[1]
  for _, word in ipairs(list) do
    while word:sub(1, #common) ~= common do common = common:sub(1, -2) end
  end
  local insert = common:sub(#prefix + 1)
  if #list == 1 or insert ~= "" then return insert, nil end
  return "", table.concat(list, "  ")
end

return complete
