--- console_env: the names that a line in the console can use.
--
-- A session's variables are its environment: what a line assigns stays there. Behind them lie the
-- live objects (console_live), Lua's own library and the modules below, all as copies of one level,
-- so that a line which writes into `string` or `csv` changes nothing outside its session.
local help = require("help")
local live = require("console_live")

local console_env = {}

local LIBRARY = { "assert", "collectgarbage", "error", "getmetatable", "ipairs", "next", "pairs",
  "pcall", "rawequal", "rawget", "rawlen", "rawset", "select", "setmetatable", "tonumber",
  "tostring", "type", "xpcall", "_VERSION" }
local TABLES = { "coroutine", "debug", "io", "math", "os", "string", "table", "utf8" }

local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for k, v in next, value do result[k] = v end
  return setmetatable(result, getmetatable(value))
end

local function refuse(what)
  return function() error(what, 2) end
end

--- Lua's own library, with what would hold or end the whole service taken out.
local function library(session)
  local env = {}
  for _, name in ipairs(LIBRARY) do env[name] = _G[name] end
  for _, name in ipairs(TABLES) do env[name] = copy(_G[name]) end
  function env.print(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    session.out(table.concat(parts, "\t", 1, parts.n) .. "\n")
  end
  function env.io.write(...)
    session.out(table.concat({ ... }))
    return env.io.stdout
  end
  env.io.read = refuse("io.read would hold the service: there is nobody at its input")
  env.io.lines = function(path, ...)
    if path == nil then error("io.lines needs a file's name here", 2) end
    return io.lines(path, ...)
  end
  env.debug.debug = refuse("debug.debug would hold the service: there is nobody at its input")
  env.os.exit = refuse("os.exit would end the service; :quit leaves the console")
  return env
end

--- This generation's names for a session, made when its first line runs in it.
local function names_of(session)
  local names = { library = library(session), live = live.of(session), modules = {} }
  for _, name in ipairs(help.modules) do
    -- The live objects and the library go before a module of the same name.
    if names.library[name] == nil and live.names[name] == nil then
      names.modules[name] = copy(require(name))
    end
  end
  local base = names.library
  base._G = session.vars
  base.generation = require("context").generation
  function base.require(name) return names.modules[name] or copy(require(name)) end
  function base.load(chunk, chunk_name, mode, env)
    return load(chunk, chunk_name or "=console", mode, env or session.vars)
  end
  function base.dofile(path)
    return assert(loadfile(path, "t", session.vars))()
  end
  return names
end

local attached = setmetatable({}, { __mode = "k" })

--- Put this generation's names behind a session's variables.
function console_env.attach(session)
  if attached[session] then return end
  local names = names_of(session)
  attached[session] = names
  setmetatable(session.vars, { __index = function(_, name)
    local value = names.live(name)
    if value ~= nil then return value end
    value = names.library[name]
    if value ~= nil then return value end
    return names.modules[name]
  end })
end

--- Tables whose raw fields are all names of a session, for completion.
function console_env.roots(session)
  local names = attached[session]
  return { session.vars, live.peek(session), names.library, names.modules }
end

return console_env
