--- scripts_dir (kernel): where the scripts are, and how a generation is built from them.
local generation = require("generation")
local host = require("host")
local task = require("task")

local scripts_dir = {}

-- The one script that the library knows by name: it returns all that the others decide.
local ENTRY = "app"

local LOAD_SECONDS = 5
local HELD_SECONDS = 0.005

local function exists(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

--- The path without its "..": root is a real path, so what they lead to is what they look like.
local function plain(path)
  local n
  repeat path, n = path:gsub("/[^/]+/%.%./", "/", 1) until n == 0
  return path
end

--- The scripts' directory: as given, or beside lua/ in a source tree, or in the etc/ that belongs
-- to the prefix it is installed under (/usr/local/etc; for /usr it is /etc).
-- @return path; or nil, message
function scripts_dir.find(given)
  local places = given and { given } or { host.root .. "/scripts",
    plain(host.root .. "/../../etc/anomalyd/scripts"),
    plain(host.root .. "/../../../etc/anomalyd/scripts"), "/etc/anomalyd/scripts" }
  for _, place in ipairs(places) do
    if exists(place .. "/" .. ENTRY .. ".lua") then return place end
  end
  return nil, ("there is no app.lua in %s (set --scripts DIR)"):format(table.concat(places, " or "))
end

--- Run the entry and put the service together; in a task of its own.
local function put_together(built, shared, result)
  local ok, context, why = xpcall(function()
    local entry = built.require(ENTRY)
    -- The console must work in every generation that serves.
    built.require("repl")
    return built.require("service").new(entry, shared, built.number)
  end, generation.trace)
  if ok and context then
    result.context = context
  else
    result.message = ok and why or tostring(context)
  end
end

--- A function that lets the service go on, between two modules, when it was held for a while.
local function pauser()
  local last = host.now()
  return function()
    if host.now() - last < HELD_SECONDS or not coroutine.isyieldable() then return end
    task.sleep(0)
    last = host.now()
  end
end

--- Build generation `number` from the directory and put its service together. What the scripts do
-- to the task that loads them (compute for ever, wait for ever) is not done to the caller.
-- @param shared the state that outlives generations (service.lua)
-- @return generation, context, seen; or nil, message, seen (what was read: see generation.new)
function scripts_dir.build(number, path, shared)
  local dirs = { { path = path, label = "scripts" }, { path = host.root .. "/lua", label = "lua" } }
  local built = generation.new(number, dirs, function(text) host.log("info", text) end, pauser())
  local result = {}
  local job = task.start(put_together, built, shared, result)
  if not job:wait(LOAD_SECONDS) then
    task.cancel(job:id())
    return nil, ("loading the scripts took longer than %d seconds: a script waits while it is "
      .. "loaded"):format(LOAD_SECONDS), built.seen
  end
  if result.context then return built, result.context, built.seen end
  local message = result.message or job:failure() or "the scripts ended while they were loaded"
  return nil, generation.tidy(message), built.seen
end

return scripts_dir
