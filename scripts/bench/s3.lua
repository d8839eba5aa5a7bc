--- bench s3: many small puts and gets: requests a second, and CPU time of this process per request.
--
--     build/anomalyd -l scripts/bench/s3.lua [COUNT|quick]    one at a time, then 32 side by side
--     lua5.4 scripts/bench/s3.lua [COUNT|quick]               one at a time
--
-- On the bucket BUCKET_NAME of the environment; without BUCKET_NAME on a radosgw
-- of its own, where Ceph is installed. The same with boto3 follows where python3 has it.
package.path = "lua/?.lua;spec/support/?.lua;" .. package.path
package.cpath = (os.getenv("ANOMALYD_BUILD") or "build") .. "/lua/?.so;" .. package.cpath
local s3 = require "s3"

local arguments = arg or { ... }
local COUNT = arguments[1] == "quick" and 200 or math.tointeger(tonumber(arguments[1])) or 1000
local WIDTH = 32
local BODY = ("x"):rep(1024)

local has_task, task = pcall(require, "task")
local has_host, host = pcall(require, "host")

-- Seconds that pass, finer than os.time where it can be had.
local function now()
  if has_host then return host.now() end
  local pipe = assert(io.popen("date +%s.%N"))
  local seconds = pipe:read("n")
  pipe:close()
  return seconds
end

local function report(what, count, seconds, cpu)
  print(("%-32s %6d requests %8.0f a second %8.0f us CPU each"):format(what, count,
    count / seconds, cpu / count * 1e6))
end

local function measure(what, fn)
  local began, cpu = now(), os.clock()
  fn()
  report(what, COUNT, now() - began, os.clock() - cpu)
end

local function key(i) return ("bench/%05d"):format(i) end

local function side_by_side(fn)
  local next_one, running, done = 0, WIDTH, task.signal()
  for _ = 1, WIDTH do
    task.spawn(function()
      while next_one < COUNT do
        next_one = next_one + 1
        fn(next_one)
      end
      running = running - 1
      done:fire()
    end)
  end
  while running > 0 do done:wait(1) end
end

local function run(client)
  local function put(i) assert(client:put(key(i), BODY)) end
  local function get(i) assert(client:get(key(i))) end
  local function one_by_one(fn) for i = 1, COUNT do fn(i) end end
  put(1)
  measure("put, one at a time", function() one_by_one(put) end)
  measure("get, one at a time", function() one_by_one(get) end)
  if has_task then
    measure("put, " .. WIDTH .. " side by side", function() side_by_side(put) end)
    measure("get, " .. WIDTH .. " side by side", function() side_by_side(get) end)
  end
end

local BOTO3 = [[
import boto3, os, sys, time
count, bucket, body = int(sys.argv[1]), sys.argv[2], b'x' * 1024
client = boto3.client('s3', endpoint_url=os.environ.get('AWS_ENDPOINT_URL_S3'))
def put(i): client.put_object(Bucket=bucket, Key='bench/%05d' % i, Body=body)
def get(i): client.get_object(Bucket=bucket, Key='bench/%05d' % i)['Body'].read()
put(1)
for name, call in (('put', put), ('get', get)):
    began, cpu = time.time(), time.process_time()
    for i in range(1, count + 1): call(i)
    seconds, cpu = time.time() - began, time.process_time() - cpu
    print('%-32s %6d requests %8.0f a second %8.0f us CPU each'
          % (name + ', one at a time, boto3', count, count / seconds, cpu / count * 1e6))
]]

local function run_boto3(env, bucket)
  if not os.execute("python3 -c 'import boto3' 2>/dev/null") then
    return print("boto3 is not installed")
  end
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(BOTO3)
  file:close()
  io.stdout:flush()
  os.execute(("env %s python3 %s %d %s"):format(env, path, COUNT, bucket))
  os.remove(path)
end

local bucket = os.getenv("BUCKET_NAME")
if bucket then
  run(assert(s3.client { bucket = bucket }))
  run_boto3("", bucket)
else
  local radosgw = require "radosgw"
  local server, reason = radosgw.start()
  if not server then return print("no S3 server to measure: " .. reason) end
  local ok, problem = xpcall(function()
    server:make_bucket("bench")
    run(assert(s3.client { bucket = "bench", endpoint = server.endpoint, region = server.region,
      credentials = server.keys }))
    run_boto3("AWS_DEFAULT_REGION=us-east-1 " .. server.env, "bench")
  end, debug.traceback)
  assert(ok, problem)
end
