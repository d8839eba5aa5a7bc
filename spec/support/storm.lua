-- storm: many requests at once, for so long; run inside the host:
--
--     build/anomalyd -l spec/support/storm.lua PORT SECONDS TASKS
--
-- prints "REQUESTS FAILURES" and, when something failed, the first failure.
local host = require("host")
local http = require("http")
local task = require("task")

local port, seconds, width = ...
local requests, failures, first, running = 0, 0, nil, 0
local stop = host.now() + tonumber(seconds)

host.configure({ slice = 60 })

local function client()
  running = running + 1
  while host.now() < stop do
    local answer, message = http.get(("http://127.0.0.1:%s/baseline/current"):format(port))
    requests = requests + 1
    if not answer or answer.status ~= 200 then
      failures = failures + 1
      first = first or (answer and answer.status .. " " .. answer.body or message)
    end
  end
  running = running - 1
end

for _ = 1, tonumber(width) do task.spawn(client) end
repeat task.sleep(0.05) until running == 0
print(("%d %d %s"):format(requests, failures, first or ""))
