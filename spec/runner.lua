-- runner: busted in this very process, under a stock lua5.4 or inside the host:
--
--     lua5.4 spec/runner.lua [BUSTED OPTIONS] [FILE|FOLDER...]
--     build/anomalyd -l spec/runner.lua [BUSTED OPTIONS] [FILE|FOLDER...]
--
-- The output is busted's own. Where $ANOMALYD_COUNTS names a file, busted's counts are written
-- into it when the run is complete: "successes failures errors pending". The run fails on a
-- failure, on an error, and when no spec was executed.
arg = arg or { ... } -- luacheck: globals arg

-- All specs together are one long task; the guard against runaway handlers is not for them.
local inside, host = pcall(require, "host")
if inside then
  host.configure { slice = 3600 }
  require("task").sleep(0) -- a slice lasts from one wait to the next
end

-- busted ends the process from within; here it ends the run only, so that the Lua state is closed
-- in an orderly way and a leak in a module comes to light.
local LEFT = {}
require("busted.compatibility").exit = function(code)
  error(setmetatable({ code = code }, LEFT), 0)
end

-- A second handler beside the one that prints keeps the counts.
local counts
local execute = require("busted.execute")
package.loaded["busted.execute"] = function(busted)
  counts = require("busted.outputHandlers.base")()
  counts:subscribe({ language = "en" })
  return execute(busted)
end

local ok, left = xpcall(function()
  require("busted.runner")({ standalone = false })
end, function(problem)
  if getmetatable(problem) == LEFT then return problem end
  return debug.traceback(tostring(problem), 2)
end)

if not ok and getmetatable(left) ~= LEFT then
  io.stderr:write("spec/runner.lua: busted itself failed: ", left, "\n")
  os.exit(1)
end
if not counts then os.exit(left and left.code or 1) end -- --help and wrong options

local executed = counts.successesCount + counts.failuresCount + counts.errorsCount
local target = os.getenv("ANOMALYD_COUNTS")
if target then
  local file = assert(io.open(target, "w"))
  assert(file:write(string.format("%d %d %d %d\n", counts.successesCount, counts.failuresCount,
    counts.errorsCount, counts.pendingsCount)))
  assert(file:close())
end
if executed == 0 then io.stderr:write("spec/runner.lua: no spec was executed\n") end
if executed == 0 or counts.failuresCount + counts.errorsCount > 0 then os.exit(1) end
