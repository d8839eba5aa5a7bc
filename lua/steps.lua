--- steps: the named steps of a batch's way, for tests only.
--
-- With ANOMALYD_CRASH_AT=NAME (or NAME:N, the N-th time) in its environment the process kills
-- itself with SIGKILL when it comes to that step, as a power cut would; with ANOMALYD_STOP_AT it
-- stops itself with SIGSTOP, until somebody sends it SIGCONT. Without them a step costs one call of
-- an empty function. The steps, in their order: read, prepared, looked_up, counted, formatted,
-- scored, rejected, summarized, finished; and failed, when a failure record was written; and
-- rebuilt, when a baseline was computed from the summaries and is not written yet.
local host = require("host")

local steps = {}

local SIGNALS = { ANOMALYD_CRASH_AT = "KILL", ANOMALYD_STOP_AT = "STOP" }
local wanted = {}

for variable, signal in pairs(SIGNALS) do
  local name, times = (os.getenv(variable) or ""):match("^([%w_]+):?(%d*)$")
  if name then wanted[name] = { signal = signal, left = tonumber(times) or 1 } end
end

--- The process is at this step.
function steps.at() end

if next(wanted) then
  function steps.at(name)
    local one = wanted[name]
    if not one then return end
    one.left = one.left - 1
    if one.left == 0 then os.execute(("kill -%s %d"):format(one.signal, host.pid())) end
  end
end

return steps
