-- bench: the service's start and its memory at rest, on an empty directory bucket (`make bench`).
--
-- From the call of the program to the first answer of /health: the processor's time that the
-- service took (other programs change it least) and the clock on the wall; the least and the median
-- of several starts on one bucket. The start that made the bucket is told by itself: it waits for
-- the disk to keep each new folder. Memory is what the kernel counts as resident, then without what
-- is shared with other programs (libraries), a second after the first answers of every route.
local socket = require("socket")

local build = os.getenv("ANOMALYD_BUILD") or "build"
local STARTS = arg[1] == "quick" and 11 or 51
local GOAL_SECONDS, GOAL_BYTES = 0.020, 16 * 1024 * 1024

--- Seconds of processor time of all threads.
local function processor_time(pid)
  local total = 0
  local pipe = assert(io.popen("cat /proc/" .. pid .. "/task/*/schedstat"))
  for line in pipe:lines() do total = total + tonumber(line:match("^%d+")) end
  pipe:close()
  return total / 1e9
end

local function get(port, path)
  local connection = assert(socket.connect("127.0.0.1", port))
  assert(connection:send(("GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
    :format(path)))
  local text = assert(connection:receive("*a"))
  connection:close()
  return text:find("^HTTP/1.1 200 ") ~= nil
end

--- Start the service on the bucket and wait for /health.
-- @return seconds on the wall, of processor time, port, pid, pipe
local function start(bucket)
  local began = socket.gettime()
  local pipe = assert(io.popen(("exec %s/anomalyd serve --console none --host 127.0.0.1 --port 0 "
    .. "--bucket %s 2>&1"):format(build, bucket)))
  local port, pid
  repeat
    local line = assert(pipe:read("l"), "the service ended")
    port, pid = line:match(" on http://127%.0%.0%.1:(%d+) .* pid (%d+)%)")
  until port
  assert(get(port, "/health"))
  local seconds = socket.gettime() - began
  return seconds, processor_time(pid), port, pid, pipe
end

local function stop(pid, pipe)
  os.execute("kill " .. pid)
  repeat until not pipe:read("l")
  pipe:close()
end

--- Bytes of the process: resident, and of that its own.
local function memory(pid)
  local function sum(name)
    local total = 0
    for line in io.lines("/proc/" .. pid .. "/smaps_rollup") do
      total = total + (tonumber(line:match("^" .. name .. ":%s+(%d+) kB")) or 0)
    end
    return total * 1024
  end
  return sum("Rss"), sum("Private_Dirty") + sum("Private_Clean")
end

local function verdict(ok) return ok and "within the goal" or "MISSES THE GOAL" end

local wall, busy, bucket = {}, {}, os.tmpname()
os.remove(bucket)
local new_bucket, _, _, first, first_pipe = start(bucket)
stop(first, first_pipe)
for i = 1, STARTS do
  local pid, pipe
  wall[i], busy[i], _, pid, pipe = start(bucket)
  stop(pid, pipe)
end
table.sort(wall)
table.sort(busy)
local middle = STARTS // 2 + 1
print(("start to first /health, clock      least %5.1f ms, median %5.1f ms  (goal 20 ms: %s)")
  :format(wall[1] * 1000, wall[middle] * 1000, verdict(wall[1] < GOAL_SECONDS)))
print(("start to first /health, processor  least %5.1f ms, median %5.1f ms"):format(
  busy[1] * 1000, busy[middle] * 1000))
print(("the same where the bucket is made  %.1f ms on the clock"):format(new_bucket * 1000))

local _, _, port, pid, pipe = start(bucket)
while not get(port, "/ready") do socket.sleep(0.01) end
for _, path in ipairs({ "/metrics", "/docs", "/openapi.json", "/anomalies/summary",
  "/anomalies/recent", "/baseline/current", "/batches" }) do assert(get(port, path)) end
socket.sleep(1)
local resident, own = memory(pid)
print(("memory at rest                     %.1f MiB resident, %.1f its own  (goal 16 MiB: %s)")
  :format(resident / 1048576, own / 1048576, verdict(resident < GOAL_BYTES)))
stop(pid, pipe)
os.execute("rm -rf " .. bucket)
