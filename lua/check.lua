--- check (kernel): compile and validate the scripts as a reload would, and start nothing.
local scripts_dir = require("scripts_dir")
local host = require("host")

local check = {}

function check.run(given, fail)
  host.log_setup({ stderr = true })
  local scripts, message = scripts_dir.find(given.scripts)
  if not scripts then return fail(2, message) end
  local shared = { options = given }
  local built, context = scripts_dir.build(1, scripts, shared)
  if not built then return fail(1, context) end
  io.stdout:write(("%s: %d routes, policy and detection are right\n"):format(scripts,
    #context.app.routes))
  host.exit(0)
end

return check
