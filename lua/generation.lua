--- generation (kernel): one complete, validated copy of the Lua side of the service.
--
-- A generation has an environment of its own and its own table of loaded modules for every file
-- under scripts/ and lua/; C modules and the kernel (boot, coro, generation, host, ...) are shared.
-- It is built aside; whoever builds it decides whether it becomes the current one. Tasks that began
-- on an older generation keep it alive until they end; then the collector takes it.
local digest = require("digest")
local precompiled = require("precompiled")

local generation = {}

local kernel = { boot = true, coro = true, generation = true, host = true, precompiled = true,
  task = true }

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("a")
  if file then file:close() end
  return text
end

--- What a file's content is known by; false when it cannot be read.
function generation.mark(path)
  local text = read(path)
  return text and digest.md5(text) or false
end

--- A module's text, its mark, and the name its chunk gets in tracebacks; nil when there is none.
-- Notes in `seen` what every file was, also those that were not there.
local function find(dirs, name, seen)
  local relative = name:gsub("%.", "/") .. ".lua"
  for _, dir in ipairs(dirs) do
    local path = dir.path .. "/" .. relative
    local text = read(path)
    local mark = text and digest.md5(text) or false
    seen[path] = mark
    if text then return text, mark, "@" .. dir.label .. "/" .. relative end
  end
end

local function strict(env)
  -- The globals as they are now, in a table of their own: found without a call, never assigned to.
  local base = setmetatable({}, { __index = function(_, name)
    error(("undefined global '%s' (misspelled, or a missing local or require)"):format(
      tostring(name)), 2)
  end })
  for name, value in pairs(_G) do base[name] = value end
  return setmetatable(env, {
    __index = base,
    __newindex = function(_, name)
      error(("assignment to undeclared global '%s' (write: local %s)"):format(tostring(name),
        tostring(name)), 2)
    end,
  })
end

local LOADING = {}

--- A fresh environment with a `require` of its own.
-- @param number the generation's number
-- @param dirs list of {path =, label =}, searched in order
-- @param print_line function(text): where print() goes
-- @param pause function() or nil: called before a module is run, to let others work
-- @return {number, env, loaded, require, seen = {path = mark of what was read, or false}}
function generation.new(number, dirs, print_line, pause)
  local self = { number = number, loaded = {}, seen = {} }
  local env = { generation = number }

  function self.require(name)
    local loaded = self.loaded[name]
    if loaded == LOADING then error(("loop of require() through '%s'"):format(name), 2) end
    if loaded ~= nil then return loaded end
    if kernel[name] then return require(name) end
    local text, mark, chunk = find(dirs, name, self.seen)
    if not text then return require(name) end
    self.loaded[name] = LOADING
    local fn, message = precompiled.load(text, mark, chunk, env)
    if not fn then
      self.loaded[name] = nil
      error(message, 0)
    end
    -- A module that raises is not left behind as if it were still loading.
    local _ <close> = setmetatable({}, { __close = function()
      if self.loaded[name] == LOADING then self.loaded[name] = nil end
    end })
    if pause then pause() end
    local value = fn(name)
    if value == nil then value = true end
    self.loaded[name] = value
    return value
  end

  env._G = env
  env.require = self.require
  function env.print(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    print_line(table.concat(parts, "\t"))
  end
  function env.load(chunk, name, mode, chunk_env)
    return load(chunk, name, mode, chunk_env or env)
  end
  self.env = strict(env)
  return self
end

--- A message handler that adds a traceback to a text.
function generation.trace(problem)
  if type(problem) ~= "string" then return problem end
  return debug.traceback(problem, 2)
end

--- A traceback without the frames of the kernel, which say nothing to a script's author.
function generation.tidy(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    local noise = line:find("lua/generation.lua:", 1, true)
      or line:find("lua/scripts_dir.lua:", 1, true) or line:find("lua/boot.lua:", 1, true)
      or line:find("[C]: in function 'error'", 1, true)
      or line:find("[C]: in function 'xpcall'", 1, true)
      or line:find("[C]: in function 'require'", 1, true)
    if not (noise and line:find("^\t")) then lines[#lines + 1] = line end
  end
  if lines[#lines] == "stack traceback:" then lines[#lines] = nil end
  return table.concat(lines, "\n")
end

return generation
