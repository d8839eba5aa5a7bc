-- Exactly once, whatever happens: the real process is killed at every step of a batch's way, two
-- hosts work on one bucket and are killed at random, the bucket fails, and every message comes five
-- times. What is left must always be the same, on both kinds of bucket.
local buckets = require("buckets")
local csv = require("csv")
local daemon = require("daemon")
local digest = require("digest")
local outcome = require("outcome")

local STEPS = { "read", "prepared", "looked_up", "counted", "formatted", "scored", "rejected",
  "summarized", "finished", "failed" }

local function batches(n)
  local inputs = {}
  for i = 1, n do inputs[("b%03d"):format(i)] = outcome.rows(30 + i % 7, i) end
  return inputs
end

local function shuffled(list)
  for i = #list, 2, -1 do
    local k = math.random(i)
    list[i], list[k] = list[k], list[i]
  end
  return list
end

local function wait_dead(s)
  s:wait_for(function() return (daemon.read(s.dir .. "/code") or ""):find("%d") end, "the crash")
end

local function wait_complete(s, inputs, failing)
  local seen = {}
  s:wait_for(function() return outcome.is_complete(s.objects, inputs, failing, seen) end,
    "every batch to be done", 60)
end

--- Put an input and have the service know of it, which may end it.
local function land(s, name, text)
  s:drop(name .. ".csv", text)
  if s.objects.events then
    pcall(s.post, s, "/notify", outcome.event(s.objects.name, "raw/" .. name .. ".csv"),
      { ["content-type"] = "text/plain" })
  end
end

local function step_specs(kind)
  local s, bucket
  before_each(function() bucket = kind.new() end)
  after_each(function()
    if s then s:remove() end
    bucket:remove()
    s = nil
  end)

  for _, step in ipairs(STEPS) do
    for _, time in ipairs({ 1, 2 }) do
      local only_once = step == "rejected" or step == "failed"
      if not (only_once and time > 1) then
        it(("at %s, time %d, is taken up again"):format(step, time), function()
          local inputs = batches(6)
          inputs.ragged = outcome.rows(31, 50) .. "2026,1,2\n"
          inputs.hopeless = "\0\1\2"
          local failing = { hopeless = true }
          s = daemon.start({ bucket = bucket,
            env = ("ANOMALYD_CRASH_AT=%s:%d"):format(step, time) })
          -- One first, so that there is a second group of batches.
          land(s, "b001", inputs.b001)
          s:wait_for(function()
            return not s:alive() or s:object("processed/b001_summary.json")
          end, "the first batch")
          for name, text in pairs(inputs) do land(s, name, text) end
          wait_dead(s)
          s.env = ""
          s:restart()
          wait_complete(s, inputs, failing)
          outcome.check(bucket, inputs, failing)
          -- A second life finds nothing to do.
          assert.equal(0, s:stop())
          s:restart()
          s:wait_for(function() return s:get("/ready") == 200 end, "the index")
          outcome.check(bucket, inputs, failing)
        end)
      end
    end
  end

  it("again and again, never fills the ledger", function()
    local inputs = {}
    s = daemon.start({ bucket = bucket })
    for life = 1, 6 do
      for i = 1, 25 do
        local name = ("l%d-%02d"):format(life, i)
        inputs[name] = outcome.rows(30, life * 100 + i)
        land(s, name, inputs[name])
      end
      s:wait_for(function() return s:object("processed/l" .. life .. "-01_summary.json") end, "one")
      s:kill()
      s:restart()
    end
    wait_complete(s, inputs)
    outcome.check(bucket, inputs)
  end)

  it("between its count and a replacement of the input, counts both and shows the newer", function()
    local old, new = outcome.rows(30, 1), outcome.rows(35, 2)
    s = daemon.start({ bucket = bucket, env = "ANOMALYD_CRASH_AT=counted" })
    land(s, "a", old)
    wait_dead(s)
    s:drop("a.csv", new)
    s.env = ""
    s:restart()
    wait_complete(s, { a = new })
    assert.equal(35, s:summary("a").total_rows)
    outcome.check_baseline(bucket, { old, new })
  end)
end

local function record_specs(kind)
  it("goes when a later content of the batch is scored", function()
    local bucket = kind.new()
    local s = daemon.start({ bucket = bucket })
    finally(function()
      s:remove()
      bucket:remove()
    end)
    land(s, "a", "\0\1\2")
    s:wait_for(function() return s:object("failed/a.csv_error.json") end, "the record")
    local good = outcome.rows(30, 1)
    land(s, "a", good)
    wait_complete(s, { a = good })
    s:wait_for(function() return not s:object("failed/a.csv_error.json") end, "its removal")
  end)
end

--- A key whose content is put again after another: each content is counted once, and what is shown
-- is the one that is there.
local function again_specs(kind)
  local a, b = outcome.rows(30, 1), outcome.rows(35, 2)

  --- Put contents one after the other, each when the one before is scored.
  local function put_in_turn(s, texts)
    for _, text in ipairs(texts) do
      land(s, "x", text)
      wait_complete(s, { x = text })
    end
  end

  local function check(s, text)
    local summary = s:summary("x")
    assert.equal(digest.md5(text), summary.source_etag)
    assert.equal(summary.total_rows, assert(csv.parse(s:object("processed/x.csv"))).rows)
    outcome.check_baseline(s.objects, { a, b })
    local code, out, err = daemon.run("rebuild --bucket " .. s.bucket, nil, s.objects.env)
    assert.equal(0, code, out .. err)
    return summary
  end

  for _, versioned in ipairs(kind.server and { false, true } or { false }) do
    local case = "is counted once, and is what is shown" .. (versioned and ", with versions" or "")
    it(case, function()
      local bucket = kind.new()
      local works = true
      if versioned then works = bucket:keep_versions() end
      local s = daemon.start({ bucket = bucket })
      finally(function()
        s:remove()
        bucket:remove()
      end)
      if not works then
        -- A server that has no conditional writes then, which is said at least.
        put_in_turn(s, { a })
        land(s, "x", b)
        s:wait_for(function()
          local status, body = s:get("/ready")
          return status == 503 and body.reason:find("no conditional writes that work", 1, true)
        end, "the trouble to be told")
        return
      end
      put_in_turn(s, { a, b, a })
      local summary = check(s, a)
      assert.is_true(summary.counted_earlier)
      assert.same({ digest.md5(a), digest.md5(b) }, summary.earlier.etags)
      -- Late events of either content change nothing.
      if bucket.events then
        for _, text in ipairs({ a, b, a }) do
          assert.equal(200, (s:post("/notify", outcome.event(bucket.name, "raw/x.csv",
            digest.md5(text)), { ["content-type"] = "text/plain" })))
        end
        s:wait_for(function()
          local _, running = s:get("/batches?state=running")
          return #running.batches == 0
        end, "the end")
        check(s, a)
      end
      -- Nor does a new life, or more of the same.
      s:kill()
      s:restart()
      put_in_turn(s, { b, a, b })
      check(s, b)
    end)
  end

  it("is counted once when the process ends after the second is counted", function()
    local bucket = kind.new()
    local s = daemon.start({ bucket = bucket, env = "ANOMALYD_CRASH_AT=formatted:3" })
    finally(function()
      s:remove()
      bucket:remove()
    end)
    put_in_turn(s, { a, b })
    land(s, "x", a)
    wait_dead(s)
    s.env = ""
    s:restart()
    wait_complete(s, { x = a })
    check(s, a)
  end)
end

local function two_host_specs(kind)
  local a, b, bucket
  before_each(function() bucket = kind.new() end)
  after_each(function()
    if b then b:remove() end
    if a then a:remove() end
    bucket:remove()
    a, b = nil, nil
  end)

  it("under load and killed at random, do every batch once", function()
    math.randomseed(7)
    a = daemon.start({ args = "--reconcile-seconds 1", bucket = bucket })
    b = daemon.start({ args = "--reconcile-seconds 1", bucket = bucket })
    local inputs = batches(80)
    local n = 0
    for name, text in pairs(inputs) do
      a:drop(name .. ".csv", text)
      n = n + 1
      if n % 12 == 0 then
        local victim = math.random(2) == 1 and a or b
        victim:kill()
        victim:restart()
      end
    end
    wait_complete(a, inputs)
    outcome.check(bucket, inputs)
  end)

  it("do every batch once when the bucket fails and loses answers", function()
    local env = "ANOMALYD_FAULTS=0.1"
    a = daemon.start({ args = "--reconcile-seconds 1", bucket = bucket, env = env })
    b = daemon.start({ args = "--reconcile-seconds 1", bucket = bucket, env = env })
    local inputs = batches(60)
    for name, text in pairs(inputs) do a:drop(name .. ".csv", text) end
    wait_complete(a, inputs)
    outcome.check(bucket, inputs)
  end)

  it("do every batch once when each message comes five times in any order", function()
    math.randomseed(11)
    a = daemon.start({ args = "--insecure-sns", bucket = bucket })
    b = daemon.start({ args = "--insecure-sns", bucket = bucket })
    local inputs, messages = batches(40), {}
    for name, text in pairs(inputs) do
      a:drop(name .. ".csv", text)
      local message = outcome.event(bucket.name, "raw/" .. name .. ".csv", digest.md5(text))
      for _ = 1, 5 do messages[#messages + 1] = message end
    end
    for _, message in ipairs(shuffled(messages)) do
      local host = math.random(2) == 1 and a or b
      local status, body = host:post("/notify", message, { ["content-type"] = "text/plain" })
      assert.equal(200, status, tostring(body and body.detail))
    end
    wait_complete(a, inputs)
    outcome.check(bucket, inputs)
  end)

  it("do every batch once when one rebuilds the baseline while the other publishes", function()
    local inputs = batches(4)
    a = daemon.start({ bucket = bucket })
    for name, text in pairs(inputs) do land(a, name, text) end
    wait_complete(a, inputs)
    assert.equal(0, a:stop())
    -- One has counted a batch, and writes its summary when the other has listed the summaries.
    a.env = "ANOMALYD_STOP_AT=formatted"
    a:restart()
    inputs.late = outcome.rows(41, 99)
    land(a, "late", inputs.late)
    a:wait_stopped()
    bucket:put("state/baseline.json", "{ this is no JSON")
    b = daemon.start({ bucket = bucket, env = "ANOMALYD_STOP_AT=rebuilt" })
    b:wait_stopped()
    a:signal("CONT")
    a:wait_for(function() return bucket:get("processed/late_summary.json") end, "the late summary")
    b:signal("CONT")
    inputs.last = outcome.rows(33, 100)
    land(b, "last", inputs.last)
    wait_complete(b, inputs)
    outcome.check(bucket, inputs)
  end)

  if not (kind.server and kind.server.kill_gateway) then return end
  it("do every batch once when the server is killed again and again", function()
    math.randomseed(13)
    a = daemon.start({ bucket = bucket })
    b = daemon.start({ bucket = bucket })
    local inputs, n = batches(40), 0
    for name, text in pairs(inputs) do
      a:drop(name .. ".csv", text)
      n = n + 1
      if n % 13 == 0 then
        -- In the middle of the requests with which these are scored.
        a:wait_for(function() return outcome.is_done(bucket, name, text) end, "the newest")
        kind.server.kill_gateway()
        kind.server.start_gateway()
      end
    end
    wait_complete(a, inputs)
    outcome.check(bucket, inputs)
  end)
end

for _, kind in ipairs(buckets.kinds()) do
  for _, suite in ipairs({ { "a batch's way, cut by SIGKILL, ", step_specs },
    { "a failure record ", record_specs },
    { "a content that is put again after another ", again_specs },
    { "two hosts on one bucket ", two_host_specs } }) do
    describe(suite[1] .. kind.name, function()
      if kind.new then
        suite[2](kind)
      else
        it("is looked at", function() pending(kind.reason) end)
      end
    end)
  end
end
