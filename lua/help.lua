--- help: what :help shows: texts of help_texts, and the `---` comments above the functions of
-- modules written in Lua, read from their sources when they are asked for.
local host = require("host")
local suggest = require("suggest")
local texts = require("help_texts")

local help = {}

--- Modules that a session finds under their names; each of their functions has a help.
help.modules = { "column", "csv", "digest", "host", "http", "iforest", "json", "keys", "number",
  "pretty", "s3", "sigv4", "sns", "task", "url", "zscore" }

local function read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

--- The comment above a function's line, without its dashes, after the call itself.
local function comment_above(lines, at, call)
  local first = at
  while first > 1 and lines[first - 1]:find("^%-%-") do first = first - 1 end
  if first == at or not lines[first]:find("^%-%-%-") then return nil end
  local out = { call }
  for i = first, at - 1 do out[#out + 1] = (lines[i]:gsub("^%-%-%-? ?", "")) end
  return table.concat(out, "\n")
end

--- The comments of a module's source: {name of function = text}. Methods stand under their class in
-- small letters: Client:get under "client.get".
function help.comments(source)
  local lines, found = {}, {}
  for line in (source .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  for i, line in ipairs(lines) do
    local owner, mark, name, arguments = line:match("^function ([%w_]+)([%.:])([%w_]+)(%b())")
    if owner then
      local call = (mark == ":" and owner:lower() or owner) .. mark .. name .. arguments
      found[owner:lower() .. "." .. name] = comment_above(lines, i, call)
    end
  end
  return found
end

--- What the head of a source says of the module.
local function head_of(source)
  local lines = {}
  for line in source:gmatch("(.-)\n") do
    if not line:find("^%-%-") then break end
    lines[#lines + 1] = (line:gsub("^%-%-%-? ?", ""))
  end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

local function of_lua_module(name)
  local module, part = name:match("^([%w_]+)%.?([%w_]*)$")
  local source = module and read(("%s/lua/%s.lua"):format(host.root, module))
  if not source then
    -- Methods of the S3 client and the like stand under their class.
    source = read(host.root .. "/lua/s3.lua")
    return source and module == "client" and help.comments(source)[name] or nil
  end
  if part == "" then return head_of(source) end
  return help.comments(source)[name]
end

--- All names of the texts, and the modules.
function help.names()
  local names = {}
  for name in pairs(texts) do names[#names + 1] = name end
  for _, name in ipairs(help.modules) do
    if not texts[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- The parts of a module or an object that have a text of their own.
local function parts_of(name)
  local parts = {}
  for other in pairs(texts) do
    if other:sub(1, #name + 1) == name .. "." then parts[#parts + 1] = other end
  end
  if not texts[name] then
    local source = read(("%s/lua/%s.lua"):format(host.root, name))
    for other in pairs(source and help.comments(source) or {}) do parts[#parts + 1] = other end
  end
  table.sort(parts)
  return parts
end

--- The help on a name. @return text; or nil, message
function help.of(name)
  local wanted = name:gsub(":", "."):gsub("%(.*$", "")
  local text = texts[wanted] or of_lua_module(wanted)
  if not text then
    return nil, ("no help on %s%s"):format(name, suggest.nearest(wanted, help.names())
      and "; did you mean " .. suggest.nearest(wanted, help.names()) .. "?" or "")
  end
  local parts = not wanted:find(".", 1, true) and parts_of(wanted) or {}
  if #parts > 0 then text = text .. "\n\n:help " .. table.concat(parts, ", ") end
  return text
end

--- What :help alone shows.
-- @param list the table of commands as text
function help.overview(list)
  return list .. [[


Anything else is Lua, run inside the service: an expression shows its value, `_` is the last one;
what a line assigns stays in this session; a line that waits holds nobody else up; Ctrl-C ends it.

  baseline.temperature.mean         the baseline as it is now
  baseline:zscore("temperature", 31.2)
  policy.z_threshold = 2.5          for this session only, then:
  whatif("raw/x.csv")               what it would change; nothing is written
  score("raw/x.csv")                a dry run
  store:list("raw/")                the bucket
  redrive("raw/x.csv")              have a batch looked at again

Modules at hand: ]] .. table.concat(help.modules, ", ")
    .. "\n:help NAME tells about each, :help csv.parse about one function."
end

return help
