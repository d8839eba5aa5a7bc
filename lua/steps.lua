--- steps: the named steps of a batch's way, for tests only.
--
-- With ANOMALYD_CRASH_AT=NAME (or NAME:N, the N-th time) in its environment the process kills
-- itself with SIGKILL when it comes to that step, as a power cut would. Without it a step costs one
-- call of an empty function. The steps, in their order: read, prepared, looked_up, counted,
-- formatted, scored, rejected, summarized, finished; and failed, when a failure record was written.
local host = require("host")

local steps = {}

local wanted, left = (os.getenv("ANOMALYD_CRASH_AT") or ""):match("^([%w_]+):?(%d*)$")
left = tonumber(left) or 1

--- The process is at this step.
function steps.at() end

if wanted then
  function steps.at(name)
    if name ~= wanted then return end
    left = left - 1
    if left == 0 then os.execute("kill -KILL " .. host.pid()) end
  end
end

return steps
