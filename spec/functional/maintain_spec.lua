-- anomalyd redrive, reconcile and rebuild: on a bucket by themselves and beside a service.
local buckets = require("buckets")
local daemon = require("daemon")
local json = require("json")
local outcome = require("outcome")

local function bucket_with(inputs)
  local dir = daemon.directory()
  os.execute(("mkdir -p %s/bucket/raw"):format(dir))
  for name, text in pairs(inputs) do daemon.write(dir .. "/bucket/raw/" .. name .. ".csv", text) end
  return dir, dir .. "/bucket"
end

local function batches(n)
  local inputs = {}
  for i = 1, n do inputs["b" .. i] = outcome.rows(30, i) end
  return inputs
end

local function change_baseline(bucket, change)
  local path = bucket .. "/state/baseline.json"
  local baseline = json.decode(daemon.read(path))
  change(baseline)
  daemon.write(path, json.encode(baseline))
end

describe("the commands that look after a bucket", function()
  local dir, bucket, s
  after_each(function()
    if s then s:remove() end
    if dir then os.execute("rm -rf " .. dir) end
    s, dir = nil, nil
  end)

  it("reconcile says what would be done, and does it", function()
    local inputs = batches(5)
    inputs.bad = "\0\1"
    dir, bucket = bucket_with(inputs)
    local code, out = daemon.run("reconcile --dry-run --bucket " .. bucket)
    assert.equal(0, code)
    assert.truthy(out:find("raw/b1.csv: would be scored", 1, true))
    assert.truthy(out:find("6 to be scored, 0 scored, 0 failed", 1, true), out)
    assert.is_nil(daemon.read(bucket .. "/state/baseline.json"))
    code, out = daemon.run("reconcile --bucket " .. bucket)
    assert.equal(0, code)
    assert.truthy(out:find("6 found, 5 scored, 0 scored by others, 1 failed", 1, true), out)
    assert.truthy(out:find("raw/bad.csv: failed: ", 1, true), out)
    outcome.check(buckets.directory(bucket), inputs, { bad = true })
    code, out = daemon.run("reconcile --dry-run --bucket " .. bucket)
    assert.equal(0, code)
    assert.truthy(out:find("0 to be scored, 5 scored, 1 failed", 1, true), out)
  end)

  it("inputs beyond the limit of the queue are scored as well", function()
    local inputs = batches(60)
    dir, bucket = bucket_with(inputs)
    -- No second look would come in time.
    s = daemon.start({ bucket = bucket, args = "--queue-limit 8 --reconcile-seconds 80000" })
    s:wait_for(function() return select(2, s:get("/anomalies/summary")).files_processed == 60 end,
      "all batches")
    s:remove()
    s = nil
    outcome.check(buckets.directory(bucket), inputs)
    os.execute(("rm -rf %s/processed %s/state"):format(bucket, bucket))
    local code, out = daemon.run("reconcile --bucket " .. bucket)
    assert.equal(0, code)
    assert.truthy(out:find("60 found, 60 scored, 0 scored by others, 0 failed", 1, true), out)
    outcome.check(buckets.directory(bucket), inputs)
  end)

  it("redrive scores a batch that failed once it can be, beside a service", function()
    s = daemon.start()
    local narrow = "t,strange\n1,x\n2,y\n3,z\n"
    s:drop("a.csv", narrow)
    s:wait_for(function() return s:object("failed/a.csv_error.json") end, "the record")
    local code, _, err = daemon.run("redrive --bucket " .. s.bucket .. " raw/a.csv")
    assert.equal(1, code)
    assert.truthy(err:find("^anomalyd: raw/a.csv: no channel"), err)
    -- The same content under another policy is no longer hopeless.
    os.execute("cp -r scripts " .. s.dir .. "/scripts")
    local policy = daemon.read("scripts/baseline_policy.lua")
    local changed, n = policy:gsub('channels = [^\n]*', 'channels = { "t" },', 1)
    assert.equal(1, n)
    daemon.write(s.dir .. "/scripts/baseline_policy.lua", changed)
    local out
    code, out, err = daemon.run(("redrive --scripts %s/scripts --bucket %s failed/a.csv_error.json")
      :format(s.dir, s.bucket))
    assert.equal(0, code, err)
    assert.equal("raw/a.csv: scored\n", out)
    assert.is_nil(s:object("failed/a.csv_error.json"))
    assert.equal(3, s:summary("a").total_rows)
    code, out = daemon.run("redrive --bucket " .. s.bucket .. " raw/a.csv")
    assert.equal(0, code)
    assert.truthy(out:find("was scored already", 1, true))
    code, _, err = daemon.run("redrive --bucket " .. s.bucket .. " raw/none.csv")
    assert.equal(1, code)
    assert.truthy(err:find("no such object", 1, true))
    code = daemon.run("redrive --bucket " .. s.bucket .. " processed/a.csv")
    assert.equal(2, code)
  end)

  it("rebuild compares the baseline with the summaries and writes it anew", function()
    local inputs = batches(12)
    s = daemon.start()
    for name, text in pairs(inputs) do s:drop(name .. ".csv", text) end
    s:wait_for(function() return outcome.is_complete(s.objects, inputs) end, "the batches")
    local code, out, err = daemon.run("rebuild --bucket " .. s.bucket)
    assert.equal(0, code, out .. err)
    assert.truthy(out:find("12 batches: the baseline agrees with the summaries", 1, true), out)
    change_baseline(s.bucket, function(baseline) baseline.humidity.count = 1 end)
    code, out = daemon.run("rebuild --bucket " .. s.bucket)
    assert.equal(1, code)
    assert.truthy(out:find("humidity: count is 1 in the baseline, 360 by the summaries", 1, true))
    code, out = daemon.run("rebuild --write --bucket " .. s.bucket)
    assert.equal(0, code)
    assert.truthy(out:find("written: ", 1, true))
    -- The service goes on with what was written.
    inputs.later = outcome.rows(33, 99)
    s:drop("later.csv", inputs.later)
    s:wait_for(function() return outcome.is_complete(s.objects, inputs) end, "one more")
    assert.equal(393, json.decode(s:object("state/baseline.json")).humidity.count)
    assert.equal(0, (daemon.run("rebuild --bucket " .. s.bucket)))
  end)

  it("a corrupt baseline is set aside and rebuilt while the service runs", function()
    local inputs = batches(8)
    s = daemon.start()
    for name, text in pairs(inputs) do s:drop(name .. ".csv", text) end
    s:wait_for(function() return outcome.is_complete(s.objects, inputs) end, "the batches")
    daemon.write(s.bucket .. "/state/baseline.json", "{ this is no JSON")
    inputs.later = outcome.rows(33, 99)
    s:drop("later.csv", inputs.later)
    s:wait_for(function() return outcome.is_complete(s.objects, inputs) end, "one more")
    outcome.check(s.objects, inputs)
    assert.truthy(s:log():find("set aside and rebuilt", 1, true))
    local aside = io.popen("cat " .. s.bucket .. "/state/baseline_unreadable_*.json"):read("a")
    assert.equal("{ this is no JSON", aside)
  end)

  it("rebuild replaces a baseline that cannot be read, and keeps it", function()
    local inputs = batches(3)
    dir, bucket = bucket_with(inputs)
    assert.equal(0, (daemon.run("reconcile --bucket " .. bucket)))
    daemon.write(bucket .. "/state/baseline.json", "[1, 2]")
    local code, out = daemon.run("rebuild --bucket " .. bucket)
    assert.equal(1, code)
    assert.truthy(out:find("is no JSON object", 1, true), out)
    assert.equal("[1, 2]", daemon.read(bucket .. "/state/baseline.json"))
    assert.equal(0, (daemon.run("rebuild --write --bucket " .. bucket)))
    assert.equal(0, (daemon.run("rebuild --bucket " .. bucket)))
    outcome.check(buckets.directory(bucket), inputs)
    assert.equal("[1, 2]", io.popen("cat " .. bucket .. "/state/baseline_unreadable_*"):read("a"))
  end)

  it("says what is missing", function()
    local code, _, err = daemon.run("rebuild", nil, "-u BUCKET_NAME")
    assert.equal(2, code)
    assert.truthy(err:find("BUCKET_NAME", 1, true))
    code, _, err = daemon.run("redrive --bucket ./x")
    assert.equal(2, code)
    assert.truthy(err:find("key is missing", 1, true), err)
    code = daemon.run("reconcile --bucket ./no/such/bucket")
    assert.equal(1, code)
  end)
end)
