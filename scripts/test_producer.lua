-- test_producer: a weather station that does not exist. Every INTERVAL_SECONDS (60) it puts a CSV
-- of 100 rows and 4 channels into a bucket, as raw/sensors_<YYYYMMDDTHHMMSS>.csv, in which one row
-- of twenty has a value 5 to 8 standard deviations off.
--
--     BUCKET_NAME=build/bucket lua5.4 scripts/test_producer.lua
--     build/anomalyd -l scripts/test_producer.lua --bucket my-bucket --count 3
--
-- A bucket with a "/" or a leading "." in its name is a directory, else it is one of S3's.
local USAGE = [[
usage: test_producer.lua [--bucket NAME|DIR] [--interval SECONDS] [--rows N] [--seed N]
                         [--once | --count N | --backfill N]
  --bucket    where to put the batches (default: $BUCKET_NAME)
  --interval  seconds from one batch to the next (default: $INTERVAL_SECONDS, else 60)
  --rows      rows in a batch (default: 100)
  --seed      the same seed gives the same values (default: other ones each time)
  --once      one batch, then end; --count N: so many, then end
  --backfill  the batches of the last N intervals, at once, then end
]]

-- Usual value and deviation of each channel.
local CHANNELS = {
  { name = "temperature", mean = 22, deviation = 1.5 },
  { name = "humidity", mean = 55, deviation = 5 },
  { name = "pressure", mean = 1013, deviation = 3 },
  { name = "wind_speed", mean = 10, deviation = 1.2 },
}
local USUAL = 4 -- deviations at most, where nothing is injected
local ANOMALY_SHARE = 0.05

local function fail(code, ...)
  io.stderr:write("test_producer: ", ...)
  io.stderr:write("\n")
  os.exit(code)
end

local function whole(text, name, least)
  local number = math.tointeger(tonumber(text))
  if not number or number < least then
    fail(2, name, " takes a whole number from ", least, ", not '", tostring(text), "'")
  end
  return number
end

local function parse_options(words)
  local options = { rows = 100, bucket = os.getenv("BUCKET_NAME") }
  local interval = os.getenv("INTERVAL_SECONDS")
  options.interval = interval and whole(interval, "INTERVAL_SECONDS", 1) or 60
  local takes = { ["--interval"] = 1, ["--rows"] = 1, ["--count"] = 1, ["--backfill"] = 1,
    ["--seed"] = 0 }
  local at = 1
  while words[at] do
    local word, value = words[at], words[at + 1]
    if word == "--help" then
      io.stdout:write(USAGE)
      os.exit(0)
    elseif word == "--once" then
      options.count, at = 1, at + 1
    elseif word == "--bucket" then
      options.bucket, at = value, at + 2
    elseif takes[word] then
      options[word:sub(3)], at = whole(value, word, takes[word]), at + 2
    else
      fail(2, "no option '", word, "': see --help")
    end
  end
  if not options.bucket or options.bucket == "" then
    fail(2, "where to? Set BUCKET_NAME or give --bucket")
  end
  return options
end

--- Lua's own seed is the second and an address: two stations started together may be alike.
local function random_seed()
  local file = assert(io.open("/dev/urandom", "rb"))
  local seed = string.unpack("i8", file:read(8))
  file:close()
  return seed
end

--- A draw from the standard normal distribution, between -USUAL and USUAL (Box and Muller).
local function normal()
  while true do
    local z = math.sqrt(-2 * math.log(1 - math.random())) * math.cos(2 * math.pi * math.random())
    if math.abs(z) <= USUAL then return z end
  end
end

--- A value 5 to 8 deviations off, also after it was rounded to 2 places.
local function anomaly(channel)
  local off = (5.01 + 2.98 * math.random()) * channel.deviation
  if math.random() < 0.5 then off = -off end
  return channel.mean + off
end

--- Which rows get an anomaly, and in which channel: {[row] = channel number}.
local function choose_rows(rows)
  local chosen, left = {}, math.max(1, math.floor(rows * ANOMALY_SHARE))
  while left > 0 do
    local row = math.random(rows)
    if not chosen[row] then
      chosen[row], left = math.random(#CHANNELS), left - 1
    end
  end
  return chosen
end

local function timestamp(start, microseconds)
  local second = start + microseconds // 1000000
  return os.date("!%Y-%m-%dT%H:%M:%S", second) .. string.format(".%06d", microseconds % 1000000)
end

--- The text of one batch: its rows lie evenly in the `interval` seconds from `start` on.
local function make_batch(start, interval, rows)
  local names = { "timestamp" }
  for _, channel in ipairs(CHANNELS) do names[#names + 1] = channel.name end
  local lines, chosen = { table.concat(names, ",") }, choose_rows(rows)
  for row = 1, rows do
    local cells = { timestamp(start, (row - 1) * interval * 1000000 // rows) }
    for number, channel in ipairs(CHANNELS) do
      local value = channel.mean + normal() * channel.deviation
      if chosen[row] == number then value = anomaly(channel) end
      cells[#cells + 1] = string.format("%.2f", value)
    end
    lines[#lines + 1] = table.concat(cells, ",")
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Ways to put an object that is not there yet: true, false when it is there, nil and why not.
local function directory_bucket(path)
  return function(key, body)
    local target = path .. "/" .. key
    local there = io.open(target, "rb")
    if there then
      there:close()
      return false
    end
    local temporary = target:gsub("([^/]+)$", ".%1.part")
    if not os.execute("mkdir -p " .. quote(target:match("^(.*)/"))) then
      return nil, path .. " cannot be made"
    end
    local file, message = io.open(temporary, "wb")
    if not file then return nil, message end
    local ok
    ok, message = file:write(body)
    if ok then ok, message = file:close() else file:close() end
    if ok then ok, message = os.rename(temporary, target) end
    if not ok then
      os.remove(temporary)
      return nil, message
    end
    return true
  end
end

local function s3_bucket(name)
  local client, wrong = require("s3").client { bucket = name }
  if not client then fail(1, wrong) end
  return function(key, body)
    local ok, message, code = client:put(key, body,
      { if_none_match = "*", content_type = "text/csv" })
    if ok then return true end
    if code == "PreconditionFailed" then return false end
    return nil, message
  end
end

local function sleep(seconds)
  local host, task = pcall(require, "task")
  if host then return task.sleep(seconds) end
  if not os.execute("sleep " .. seconds) then os.exit(0) end -- Ctrl-C
end

--- Make the batch of `start` and put it; a second later when that name is taken.
local function produce(put, options, start)
  local body = make_batch(start, options.interval, options.rows)
  local key, done, message
  repeat
    key = os.date("!raw/sensors_%Y%m%dT%H%M%S.csv", start)
    done, message = put(key, body)
    start = start + 1
  until done ~= false
  if done then
    print(string.format("%s: %d rows", key, options.rows))
  else
    io.stderr:write("test_producer: ", key, ": ", tostring(message), "\n")
  end
  return done
end

local function main()
  local here = arg[0]:match("^(.*)/") or "."
  package.path = here .. "/../lua/?.lua;" .. package.path
  package.cpath = here .. "/../build/lua/?.so;" .. package.cpath
  local options = parse_options(arg)
  math.randomseed(options.seed or random_seed())
  io.stdout:setvbuf("line")

  local bucket = options.bucket
  local is_directory = bucket:match("^%.") or bucket:match("/")
  local put = is_directory and directory_bucket(bucket) or s3_bucket(bucket)
  if options.backfill then
    local now = os.time()
    for back = options.backfill, 1, -1 do
      if not produce(put, options, now - back * options.interval) then os.exit(1) end
    end
    return
  end
  local made = 0
  while true do
    local done = produce(put, options, os.time())
    made = made + 1
    if made == options.count then
      if not done then os.exit(1) end
      return
    end
    sleep(options.interval)
  end
end

main()
