-- burst: 200 files of 100 rows land at once and are told by 200 SNS messages on 16 connections
-- (`make bench`). Prints files per second, the worst answer time of /health meanwhile, the requests
-- to the bucket and the baseline's count, beside the figures of the service this one replaces.
--
--     build/anomalyd -l scripts/bench/burst.lua [BUCKET]
--
-- The bucket is a fresh directory below build/, or the one that is named (s3 with AWS_ENDPOINT_URL
-- and keys in the environment; its objects under raw/burst-* are new ones each time). The service
-- is a process of its own, and so is the one that asks for /health every few milliseconds.
local digest = require("digest")
local host = require("host")
local http = require("http")
local json = require("json")
local task = require("task")

local FILES, ROWS, CONNECTIONS, ROUNDS, PATIENCE = 200, 100, 16, 3, 120
local CHANNELS = { "temperature", "humidity", "pressure", "wind_speed" }

local program = host.root .. "/build/anomalyd"

local function shell(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("a")
  pipe:close()
  return (text:gsub("%s+$", ""))
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local function get(url)
  local answer, message = http.request({ method = "GET", url = url, timeout = 60 })
  if not answer then error(url .. ": " .. message, 0) end
  return answer.body, answer.status
end

-- ---- the process that asks for /health ----

--- Ask until the file `stop` is there; print the worst and the middle time in milliseconds.
local function probe(url, stop)
  local times = {}
  while read(stop) == "" do
    local began = host.now()
    get(url .. "/health")
    times[#times + 1] = (host.now() - began) * 1000
    task.sleep(0.003)
  end
  table.sort(times)
  print(("%.1f %.1f %d"):format(times[#times], times[#times // 2 + 1], #times))
end

-- ---- the burst ----

local function sample()
  local lines = { "timestamp," .. table.concat(CHANNELS, ",") }
  for row = 1, ROWS do
    lines[#lines + 1] = ("2026-02-24T00:%02d:%02d,%.2f,%.2f,%.2f,%.2f"):format(row // 60, row % 60,
      22 + 3 * math.random(), 55 + 9 * math.random(), 1013 + 6 * math.random(),
      10 + 3 * math.random())
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

local function message_of(bucket, key, text)
  local record = { eventVersion = "2.1", eventSource = "aws:s3", eventName = "ObjectCreated:Put",
    s3 = { bucket = { name = bucket }, object = { key = key,
    eTag = digest.md5(text) } } }
  return json.encode({ Type = "Notification", MessageId = key,
    TopicArn = "arn:aws:sns:us-east-1:123456789012:uploads",
    Timestamp = "2026-02-24T00:00:00.000Z", Message = json.encode({ Records = { record } }) })
end

local function start_service(dir, bucket)
  local command = ("%s serve --host 127.0.0.1 --port 0 --insecure-sns --log-level info --bucket %s")
    :format(program, bucket)
  local pid = tonumber(shell(("( %s >%s/log 2>&1 & echo $! )"):format(command, dir)))
  local deadline = host.now() + 20
  while host.now() < deadline do
    local port = read(dir .. "/log"):match("on http://[^ ]-:(%d+) %(")
    if port then
      local url = "http://127.0.0.1:" .. port
      local ready = http.request({ method = "GET", url = url .. "/ready", timeout = 10 })
      if ready and ready.status == 200 then return pid, url end
    end
    task.sleep(0.02)
  end
  error("the service did not start:\n" .. read(dir .. "/log"), 0)
end

--- Seconds of processor time that a process has used, and the largest memory it had, in MB.
local function usage(pid)
  local fields = {}
  for field in read(("/proc/%d/stat"):format(pid)):match("%) (.*)$"):gmatch("%S+") do
    fields[#fields + 1] = field
  end
  local peak = read(("/proc/%d/status"):format(pid)):match("VmHWM:%s+(%d+)")
  return (tonumber(fields[12]) + tonumber(fields[13])) / 100, tonumber(peak) / 1024
end

--- Sum of a counter's series that match.
local function counter(text, name, pattern)
  local sum = 0
  for labels, value in text:gmatch("\n" .. name .. "{(.-)} ([%d%.]+)") do
    if not pattern or labels:find(pattern) then sum = sum + tonumber(value) end
  end
  return sum
end

local function temperature_count(url)
  local channel = json.decode((get(url .. "/baseline/current"))).channels.temperature
  return channel and channel.observations or 0
end

--- Put the files and tell of them, on so many connections side by side. Tries again after 503.
local function send(put, url, names, texts, bucket_name)
  local next_one, running, refused = 1, CONNECTIONS, 0
  local done = task.signal()
  for _ = 1, CONNECTIONS do
    task.spawn(function()
      while next_one <= #names do
        local i = next_one
        next_one = next_one + 1
        put("raw/" .. names[i], texts[i])
        local answer
        repeat
          answer = assert(http.request({ method = "POST", url = url .. "/notify", timeout = 60,
            headers = { ["content-type"] = "text/plain; charset=UTF-8" },
            body = message_of(bucket_name, "raw/" .. names[i], texts[i]) }))
          if answer.status == 503 then
            refused = refused + 1
            task.sleep(0.05)
          end
        until answer.status ~= 503
        if answer.status ~= 200 then error("POST /notify: " .. answer.status .. answer.body, 0) end
      end
      running = running - 1
      done:fire()
    end)
  end
  while running > 0 do done:wait(1) end
  return refused
end

local function wait_done(url, wanted)
  local deadline = host.now() + PATIENCE
  while host.now() < deadline do
    local total = tonumber(get(url .. "/anomalies/summary"):match('"files_processed":(%d+)')) or 0
    if total >= wanted then return end
    task.sleep(0.02)
  end
  error("the batches were not done in time", 0)
end

local function opened(bucket, dir)
  if bucket then
    local store = assert(require("store").open(bucket))
    return store.name, function(key, text) assert(store.bucket:put(key, text)) end
  end
  local path = dir .. "/bucket"
  return "bucket", function(key, text)
    local name = key:match("[^/]+$")
    write(dir .. "/" .. name, text)
    assert(os.rename(dir .. "/" .. name, path .. "/" .. key))
  end
end

local function round(bucket)
  local dir = shell("mktemp -d " .. host.root .. "/build/burst-XXXXXX")
  local place = bucket or dir .. "/bucket"
  if not bucket then shell("mkdir -p " .. place .. "/raw") end
  local names, texts = {}, {}
  for i = 1, FILES do
    names[i] = ("burst-%s-%03d.csv"):format(dir:match("[^-]+$"), i)
    texts[i] = sample()
  end
  local name, put = opened(bucket, dir)
  local pid, url = start_service(dir, place)
  local before = get(url .. "/metrics")
  local count_before = temperature_count(url)
  local files_before = json.decode((get(url .. "/anomalies/summary"))).files_processed or 0
  shell(("( %s -l %s/scripts/bench/burst.lua --probe %s %s/stop >%s/probe 2>&1 & )"):format(program,
    host.root, url, dir, dir))
  task.sleep(0.3)
  local cpu_before = usage(pid)
  local began = host.now()
  local refused = send(put, url, names, texts, name)
  wait_done(url, files_before + FILES)
  local seconds = host.now() - began
  write(dir .. "/stop", "now")
  local after = get(url .. "/metrics")
  local cpu, peak = usage(pid)
  local result = { seconds = seconds, rate = FILES / seconds, refused = refused,
    cpu = cpu - cpu_before, peak = peak, count = temperature_count(url) - count_before,
    requests = {} }
  for _, operation in ipairs({ "get", "put", "head", "delete", "list" }) do
    local pattern = 'operation="' .. operation .. '"'
    result.requests[operation] = counter(after, "anomalyd_store_requests_total", pattern) -
      counter(before, "anomalyd_store_requests_total", pattern)
  end
  local deadline = host.now() + 10
  while not read(dir .. "/probe"):find("\n") and host.now() < deadline do task.sleep(0.01) end
  result.worst, result.middle = read(dir .. "/probe"):match("^([%d%.]+) ([%d%.]+)")
  shell(("kill %d"):format(pid))
  while os.execute(("kill -0 %d 2>/dev/null"):format(pid)) do task.sleep(0.02) end
  return result, dir
end

local function report(number, r)
  local total, parts = 0, {}
  for _, operation in ipairs({ "get", "put", "head", "delete", "list" }) do
    local n = math.tointeger(r.requests[operation]) or r.requests[operation]
    total = total + n
    if n > 0 then parts[#parts + 1] = ("%d %s"):format(n, operation) end
  end
  print(("%-10s %9.0f %10.2f %14s %12s %9d %8d %7.2f %7.0f  %s"):format("round " .. number,
    r.rate, r.seconds, r.worst or "?", r.middle or "?", total, r.count, r.cpu, r.peak,
    table.concat(parts, ", ")))
end

if arg[1] == "--probe" then
  probe(arg[2], arg[3])
else
  host.configure({ slice = 60 })
  task.sleep(0)
  math.randomseed(1)
  print(("%d files of %d rows as %d messages on %d connections"):format(FILES, ROWS, FILES,
    CONNECTIONS))
  print(("%-10s %9s %10s %14s %12s %9s %8s %7s %7s"):format("", "files/s", "seconds",
    "/health worst", "middle (ms)", "requests", "count", "cpu s", "MB"))
  local dirs = {}
  for number = 1, ROUNDS do
    local result, dir = round(arg[1])
    report(number, result)
    dirs[number] = dir
  end
  -- Not between the rounds: for five seconds an ext4 without a journal looks past each file that
  -- was just deleted before it makes a new one.
  shell("rm -rf " .. table.concat(dirs, " "))
  print(("%-10s %9s %10s %14s %12s %9s %8s"):format("original", "4 to 5", "", "33000", "", "1200",
    "600-900"))
end
