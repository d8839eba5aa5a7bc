--- scripts_dir (kernel): where the scripts are, and how a generation is built from them.
local generation = require("generation")
local host = require("host")

local scripts_dir = {}

local function exists(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

--- The scripts' directory: as given, or beside lua/ in a source tree, or /etc/anomalyd/scripts.
-- @return path; or nil, message
function scripts_dir.find(given)
  local places = given and { given } or { host.root .. "/scripts", "/etc/anomalyd/scripts",
    host.root .. "/../../etc/anomalyd/scripts" }
  for _, place in ipairs(places) do
    if exists(place .. "/app.lua") then return place end
  end
  return nil, ("there is no app.lua in %s (set --scripts DIR)"):format(table.concat(places, " or "))
end

--- Build generation `number` from the directory and put its service together.
-- @param shared the state that outlives generations (service.lua)
-- @return generation, context; or nil, message
function scripts_dir.build(number, path, shared)
  local dirs = { { path = path, label = "scripts" }, { path = host.root .. "/lua", label = "lua" } }
  local built, message = generation.build(number, dirs, function(text) host.log("info", text) end,
    "app")
  if not built then return nil, message end
  local ok, context, why = pcall(function()
    return built.require("service").new(built.value, shared)
  end)
  if not ok then return nil, tostring(context) end
  if not context then return nil, why end
  return built, context
end

return scripts_dir
