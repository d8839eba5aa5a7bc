--- precompiled (kernel): Lua files that need not be compiled, because the program was built with
-- exactly these texts and carries what they were compiled to (src/bind/compiled.h). That saves a
-- third of the program's start and most of a reload. In a stock Lua every text is compiled.
local digest = require("digest")

local precompiled = {}

--- The binary chunk of a text by its MD5, or nil. Replaced by install().
local find = function() end

--- A function from a file's text.
-- @param text, mark the text and its MD5 as digest.md5 gives it
-- @param chunk the name for tracebacks, "@lua/keys.lua"
-- @param env the environment
-- @return function; or nil, message
function precompiled.load(text, mark, chunk, env)
  local code = find(mark)
  if code then return load(code, chunk, "b", env) end
  return load(text, chunk, "t", env)
end

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read("a")
end

--- Use what the program carries, for require() and for load(). It is not used when the Lua that
-- runs compiles otherwise than the one of the build did.
function precompiled.install()
  local host = require("host")
  local probe = read(host.root .. "/lua/coro.lua")
  if not probe or string.dump(assert(load(probe)), true) ~= host.compiled() then return end
  find = host.compiled
  table.insert(package.searchers, 2, function(name)
    local path = host.root .. "/lua/" .. name:gsub("%.", "/") .. ".lua"
    local text = read(path)
    local code = text and find(digest.md5(text))
    if code then return load(code, "@" .. path, "b"), path end
    return "no precompiled '" .. path .. "'"
  end)
end

return precompiled
