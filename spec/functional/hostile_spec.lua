-- The service among careless users and hostile clients: it says what is wrong and goes on.
local daemon = require("daemon")
local json = require("json")

local function rows(n)
  local lines = { "timestamp,temperature,humidity\n" }
  for i = 1, n do
    lines[#lines + 1] = ("2026-02-24T00:00:%02d,%.2f,%.2f\n"):format(i % 60, 20 + math.sin(i),
      50 + math.cos(i))
  end
  return table.concat(lines)
end

describe("the service", function()
  local s
  after_each(function()
    if s then s:remove() end
    s = nil
  end)

  local function sh(command)
    assert(os.execute(("cd '%s' && %s"):format(s.bucket, command)))
  end

  --- Wait until the batch of a key is over and return what /batches says of it.
  local function outcome(key)
    return s:wait_for(function()
      local _, all = s:get("/batches?limit=1000")
      for _, row in ipairs(all.batches) do
        if row.key == key and (row.state == "done" or row.state == "failed") then return row end
      end
    end, "the end of " .. key)
  end

  it("scores files of every name that a bucket can hold, and gives up on the others", function()
    s = daemon.start()
    local good = { "quo\"te'", "..dots", ".hidden", " space ", "a%20b", "back\\slash", "-dash", "*",
      "semi;rm -rf", "x.csv", "caf\u{e9}", ("l"):rep(242) }
    for _, name in ipairs(good) do s:drop(name .. ".csv", rows(3)) end
    s:drop("\xff.csv", rows(3))
    for _, name in ipairs({ "new\nline", "tab\t", "\27[2J", ("l"):rep(243), ("l"):rep(251) }) do
      s:drop(name .. ".csv", rows(3))
      local row = outcome("raw/" .. name .. ".csv")
      assert.equal("failed", row.state)
      assert.truthy(row.detail:find("control byte", 1, true) or
        row.detail:find("too long", 1, true))
    end
    for _, name in ipairs(good) do assert.equal(3, s:summary(name).total_rows) end
    assert.equal(3, s:summary("\xff").total_rows)
    assert.equal(3 * (#good + 1), json.decode(s:object("state/baseline.json")).temperature.count)
    assert.equal(0, s:stop())
    assert.is_nil(s:log():find("\27", 1, true))
  end)

  it("reads nothing that is no file of its own", function()
    s = daemon.start()
    sh([[mkdir -p raw/folder.csv && ln -s /etc/passwd raw/link.csv && ln -s . raw/loop &&
      ln -s nowhere raw/broken.csv && mkfifo raw/fifo.csv && ln -s /dev/zero raw/zero.csv]])
    daemon.write(s.bucket .. "/raw/folder.csv/in.csv", rows(5))
    assert.equal(5, s:summary("folder.csv/in").total_rows)
    s:drop("last.csv", rows(4))
    assert.equal(4, s:summary("last").total_rows)
    for _, name in ipairs({ "link", "broken", "fifo", "zero" }) do
      assert.is_nil(s:object("processed/" .. name .. ".csv"))
      assert.is_nil(s:object("failed/" .. name .. ".csv_error.json"))
    end
    assert.equal(0, s:stop())
  end)

  it("says that its bucket was taken away", function()
    s = daemon.start({ args = "--reconcile-seconds 1" })
    s:drop("a.csv", rows(40))
    s:summary("a")
    sh("mv ../bucket ../away && mkdir -p ../bucket/raw")
    s:wait_for(function()
      local status, body = s:get("/ready")
      return status == 503 and body.reason:find("was removed or replaced", 1, true)
    end, "the news about the bucket")
    local status, health = s:get("/health")
    assert.equal(200, status)
    assert.is_false(health.bucket_reachable)
    assert.equal(0, s:stop())
  end)

  it("scores a batch whose moments pass the range of a double", function()
    s = daemon.start()
    s:drop("huge.csv", "temperature,humidity\n" .. ("1e308,1\n-1e308,2\n"):rep(20))
    local summary = s:summary("huge")
    assert.equal(40, summary.total_rows)
    assert.equal("temperature", summary.unlearned_channels[1])
    assert.equal(json.null, summary.batch_moments.temperature.mean)
    assert.equal(20 * 2, json.decode(s:object("state/baseline.json")).humidity.count)
  end)

  it("bears bodies made to hurt, and any number of reloads", function()
    s = daemon.start({ args = "--insecure-sns" })
    for _, body in ipairs({ ("["):rep(1000000), ('{"a":'):rep(170000), ("9"):rep(1000000),
      '{"a":"' .. ("\\u0000"):rep(150000), "{" .. ('"a":1,'):rep(1000), "\0", "\xff" }) do
      local status = s:post("/notify", body)
      assert.is_true(status == 422 or status == 500, body:sub(1, 20))
    end
    local status = s:post("/notify", ("x"):rep(1048577))
    assert.equal(413, status)
    for _ = 1, 30 do s:signal("HUP") end
    s:drop("a.csv", rows(40))
    assert.equal(40, s:summary("a").total_rows)
    assert.equal(200, (s:get("/health")))
    assert.equal(0, s:stop())
  end)
end)
