--- boot (kernel): the first Lua of the process: reads the command line and starts the command.
local host = require("host")

package.path = host.root .. "/lua/?.lua;" .. package.path
require("precompiled").install()
require("coro")
local options = require("options")

local function fail(code, message)
  io.stderr:write("anomalyd: ", message, "\n")
  host.exit(code)
end

local commands = {}

function commands.help(given)
  io.stdout:write(options.help(given.topic))
  host.exit(0)
end

function commands.version()
  io.stdout:write("anomalyd ", host.version, "\n")
  host.exit(0)
end

--- Run a Lua file with the modules and the waiting of the host.
function commands.run(given)
  local fn, message = loadfile(given.file)
  if not fn then return fail(1, message) end
  arg = given.arguments -- luacheck: ignore 111
  arg[0] = given.file -- luacheck: ignore 112
  local ok, problem = xpcall(fn, debug.traceback, table.unpack(given.arguments))
  io.stdout:flush()
  if not ok then return fail(1, tostring(problem)) end
  host.exit(0)
end

function commands.serve(given) require("serve").run(given, fail) end
function commands.score(given) require("score").run(given, fail) end
function commands.redrive(given) require("maintain").redrive(given, fail) end
function commands.reconcile(given) require("maintain").reconcile(given, fail) end
function commands.rebuild(given) require("maintain").rebuild(given, fail) end
function commands.check(given) require("check").run(given, fail) end
function commands.config(given) require("config").run(given, fail) end
function commands.subscribe(given) require("subscribe").run(given, fail) end
function commands.repl(given) require("repl_client").run(given, fail) end

local given, message = options.parse({ ... }, os.getenv)
if not given then return fail(2, message) end
commands[given.command](given)
