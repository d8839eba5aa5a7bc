--- supervisor (kernel): what systemd is told about the service: its state, and one line for people.
--
-- READY is said when the port listens, the scripts are loaded and the bucket has answered. A reload
-- is announced and its end is said too, also when it failed: the generation before goes on, so the
-- service is as ready as it was. The line (`systemctl status` shows it) is renewed when it changes.
-- Without a NOTIFY_SOCKET nothing happens here.
local host = require("host")
local task = require("task")

local supervisor = {}

local RENEW = 5 -- seconds
local STOP_GRACE = 10 -- seconds beyond the drain timeout until the process must be gone

local said
local ready = false

local function say(news)
  local heard, message = host.notify(news)
  if heard == nil then host.log("warning", message) end
  if heard then said = news.status or said end
end

local function first_line(text) return (tostring(text):match("^[^\n]*")) end

--- The service's state in one line.
function supervisor.line(shared)
  local batches = shared.queue
  local waiting = batches.last - batches.first + 1
  if shared.draining then
    return ("stopping: %d batches and %d requests under way"):format(batches.running,
      shared.server and shared.server:in_flight() or 0)
  elseif shared.bucket_error then
    return ("the bucket %s cannot be read: %s"):format(shared.handle.name,
      first_line(shared.bucket_error))
  elseif not ready then
    return ("starting: reading the bucket %s"):format(shared.handle.name)
  end
  local line = ("bucket %s, port %d, generation %d: %d batches done, %d failed, %d waiting, "
    .. "%d under way"):format(shared.handle.name, shared.server.port, shared.generation,
    batches.counts.done or 0, batches.counts.failed or 0, waiting, batches.running)
  if shared.reload_error then
    line = line .. "; the last reload failed: " .. first_line(shared.reload_error)
  end
  if shared.tls_error then line = line .. "; " .. first_line(shared.tls_error) end
  return line
end

--- The first words, before anything is opened.
function supervisor.starting(options)
  say({ status = ("starting: bucket %s"):format(options.bucket or "not set") })
end

--- Say the line, if it is a new one.
function supervisor.tell(shared)
  local line = supervisor.line(shared)
  if line ~= said then say({ status = line }) end
end

--- The bucket has answered; said once.
function supervisor.ready(shared)
  if ready then return supervisor.tell(shared) end
  ready = true
  say({ ready = true, status = supervisor.line(shared) })
end

--- A reload begins. Before the first READY there is none to take back.
function supervisor.reloading()
  if ready then say({ reloading = true, status = "reloading the scripts" }) end
end

--- A reload is over, well or not.
function supervisor.reloaded(shared)
  if ready and not shared.draining then
    say({ ready = true, status = supervisor.line(shared) })
  end
end

--- The end begins; it may take as long as the drain timeout says.
function supervisor.stopping(shared)
  say({ stopping = true, extend = shared.options.drain_timeout + STOP_GRACE,
    status = supervisor.line(shared) })
end

--- A task that renews the line now and then.
function supervisor.keep_telling(shared)
  while true do
    task.sleep(RENEW)
    supervisor.tell(shared)
  end
end

return supervisor
