-- scripts/test_producer.lua, run as a person runs it, into a directory bucket and one of S3.
local files = require("files")
local scripted = require("scripted")
local lua = os.getenv("LUA") or "lua5.4"

local USUAL = {
  temperature = { 22, 1.5 }, humidity = { 55, 5 }, pressure = { 1013, 3 },
  wind_speed = { 10, 1.2 },
}

local function produce(words, environment)
  local output, _, code = files.output(string.format(
    "env -u BUCKET_NAME -u INTERVAL_SECONDS %s %s scripts/test_producer.lua %s </dev/null",
    environment or "", lua, words))
  return code, output
end

local function list(folder)
  local pipe = assert(io.popen("cd '" .. folder .. "' 2>/dev/null && find . -type f | sort"))
  local names = {}
  for name in pipe:lines() do names[#names + 1] = name:sub(3) end
  pipe:close()
  return names
end

--- The batch as rows of named texts.
local function parse(text)
  local rows, names = {}, nil
  for line in text:gmatch("([^\n]*)\n") do
    local cells = {}
    for cell in line:gmatch("[^,]+") do cells[#cells + 1] = cell end
    if names then
      local row = {}
      for number, name in ipairs(names) do row[name] = cells[number] end
      rows[#rows + 1] = row
    else
      names = cells
    end
  end
  return rows, names
end

describe("the test producer", function()
  local bucket

  before_each(function()
    bucket = os.tmpname()
    os.remove(bucket)
  end)

  after_each(function()
    os.execute("rm -rf '" .. bucket .. "'")
  end)

  it("puts a batch of 100 rows and 4 channels", function()
    local code, output = produce("--once --bucket " .. bucket)
    assert.equal(0, code, output)
    local names = list(bucket)
    assert.equal(1, #names)
    assert.matches("^raw/sensors_%d%d%d%d%d%d%d%dT%d%d%d%d%d%d%.csv$", names[1])
    assert.equal(names[1] .. ": 100 rows\n", output)
    local rows, columns = parse(files.read(bucket .. "/" .. names[1]))
    assert.same({ "timestamp", "temperature", "humidity", "pressure", "wind_speed" }, columns)
    assert.equal(100, #rows)
    for number, row in ipairs(rows) do
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%d$", row.timestamp)
      assert.is_true(number == 1 or row.timestamp > rows[number - 1].timestamp)
    end
    local stamp = rows[1].timestamp:sub(1, 19):gsub("[-:]", "")
    assert.equal("raw/sensors_" .. stamp .. ".csv", names[1])
  end)

  it("injects anomalies of 5 to 8 deviations into one row of twenty", function()
    assert.equal(0, (produce("--backfill 20 --seed 3 --bucket " .. bucket)))
    local names, injected, negative, touched = list(bucket), 0, 0, {}
    assert.equal(20, #names)
    for _, name in ipairs(names) do
      local here = 0
      for _, row in ipairs((parse(files.read(bucket .. "/" .. name)))) do
        for channel, usual in pairs(USUAL) do
          local z = (tonumber(row[channel]) - usual[1]) / usual[2]
          if math.abs(z) > 4.01 then
            assert.is_true(math.abs(z) >= 5 and math.abs(z) <= 8, row[channel])
            here, touched[channel] = here + 1, true
            if z < 0 then negative = negative + 1 end
          end
        end
        assert.is_true(tonumber(row.wind_speed) >= 0)
      end
      assert.equal(5, here)
      injected = injected + here
    end
    assert.equal(100, injected)
    assert.is_true(negative > 20 and negative < 80)
    for channel in pairs(USUAL) do assert.is_true(touched[channel], channel) end
  end)

  it("makes the same values from the same seed, other ones without", function()
    local function values(words)
      os.execute("rm -rf '" .. bucket .. "'")
      assert.equal(0, (produce(words .. " --once --bucket " .. bucket)))
      return (files.read(bucket .. "/" .. list(bucket)[1]):gsub("\n[^,]+,", "\n"))
    end
    assert.equal(values("--seed 7"), values("--seed 7"))
    assert.are_not.equal(values("--seed 7"), values("--seed 8"))
    assert.are_not.equal(values(""), values(""))
  end)

  it("never overwrites a batch, and leaves nothing unfinished", function()
    for _ = 1, 3 do assert.equal(0, (produce("--once --rows 1 --bucket " .. bucket))) end
    local names = list(bucket)
    assert.equal(3, #names)
    for _, name in ipairs(names) do assert.matches("%.csv$", name) end
  end)

  it("goes on at its interval until it has made its count", function()
    local code, output = produce("--count 2 --rows 2", "BUCKET_NAME=" .. bucket ..
      " INTERVAL_SECONDS=1")
    assert.equal(0, code, output)
    local names = list(bucket)
    assert.equal(2, #names)
    assert.is_true(names[1] < names[2])
  end)

  describe("with a bucket of S3", function()
    local function environment(server)
      return "AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1 " ..
        "AWS_ENDPOINT_URL=" .. server.url .. " BUCKET_NAME=readings"
    end

    it("puts a batch under a name that is free", function()
      local server <close> = scripted.start { scripted.error(412, "PreconditionFailed"),
        scripted.answer(200, { { "ETag", '"x"' } }) }
      local code, output = produce("--once --rows 20", environment(server))
      assert.equal(0, code, output)
      local requests = server:requests()
      assert.equal(2, #requests)
      for _, request in ipairs(requests) do
        assert.equal("PUT", request.method)
        assert.matches("^/readings/raw/sensors_%d+T%d+%.csv$", request.path)
        assert.equal("*", request.headers["if-none-match"])
        assert.equal("text/csv", request.headers["content-type"])
      end
      assert.is_true(requests[1].path < requests[2].path)
      assert.equal(20, #parse(requests[2].body))
    end)

    it("says why a batch could not be put", function()
      local server <close> = scripted.start { scripted.error(403, "AccessDenied") }
      local code, output = produce("--once", environment(server))
      assert.equal(1, code)
      assert.matches("^test_producer: raw/sensors_[%dT]+%.csv: .*AccessDenied", output)
    end)
  end)

  it("says what is wrong with the call", function()
    local function call(words, environment)
      local code, output = produce(words, environment)
      assert.equal(2, code)
      return output
    end
    assert.equal("test_producer: where to? Set BUCKET_NAME or give --bucket\n", call("--once"))
    assert.equal("test_producer: --rows takes a whole number from 1, not '0'\n", call("--rows 0"))
    assert.equal("test_producer: --count takes a whole number from 1, not 'nil'\n",
      call("--count"))
    assert.equal("test_producer: INTERVAL_SECONDS takes a whole number from 1, not 'soon'\n",
      call("", "INTERVAL_SECONDS=soon"))
    assert.equal("test_producer: no option '--often': see --help\n", call("--often"))
  end)

  it("says why a batch could not be put", function()
    files.write(bucket, "")
    local code, output = produce("--once --bucket " .. bucket)
    assert.equal(1, code)
    assert.matches("test_producer: raw/sensors_[%dT]+%.csv: " .. bucket:gsub("%p", "%%%0") ..
      " cannot be made\n$", output)
  end)
end)
