-- Hot reload as an author of scripts meets it: every way to save, every way to be wrong.
local daemon = require("daemon")
local socket = require("socket")

local HEADER = "timestamp,temperature,humidity,pressure,wind_speed\n"

local function rows(n, last)
  local lines = { HEADER }
  for i = 1, n do
    local wave = math.sin(i)
    lines[#lines + 1] = ("2026-02-24T00:%02d:%02d,%.2f,%.2f,%.2f,%.2f\n"):format(i // 60, i % 60,
      22 + wave, 55 + 3 * wave, 1013 + 2 * wave, i == n and last or 10 + wave)
  end
  return table.concat(lines)
end

--- A service on a copy of the scripts.
local function start(args)
  local scripts = daemon.scripts()
  local s = daemon.start({ args = ("--scripts %s %s"):format(scripts, args or "--reload") })
  s.scripts = scripts
  function s:write(name, text) daemon.write(self.scripts .. "/" .. name, text) end
  function s:read(name) return daemon.read(self.scripts .. "/" .. name) end
  function s:sh(command)
    assert(os.execute(("cd %s && { %s; }"):format(self.scripts, command)))
  end
  function s:health() return select(2, self:get("/health")) end
  --- Wait for a generation, and that no further one comes.
  function s:expect_generation(n)
    self:wait_for(function() return self:health().generation >= n end, "generation " .. n)
    socket.sleep(0.35)
    assert.equal(n, self:health().generation)
  end
  return s
end

--- The scripts with one more route, which gives `text`.
local function routes_with(s, text, body)
  s.original = s.original or s:read("routes.lua")
  return (s.original:gsub("\n  pages%.add", function()
    return ('\n  app.get("/version", {}, function() %s return { version = "%s" } end)\n'
      .. '  pages.add'):format(body or "", text)
  end))
end

describe("serve --reload", function()
  local s

  after_each(function()
    os.execute("rm -rf " .. s.scripts)
    s:remove()
  end)

  local function version()
    local status, body = s:get("/version")
    return status == 200 and body.version or nil
  end

  it("takes up every way to save once", function()
    s = start()
    s:write("routes.lua", routes_with(s, "first"))
    s:expect_generation(2)
    assert.equal("first", version())
    local ways = {
      "sed 's/\"first\"/\"next\"/' routes.lua > /tmp/routes.$$ && cat /tmp/routes.$$ > routes.lua "
        .. "&& rm /tmp/routes.$$",
      "sed -i 's/\"next\"/\"next\"  /' routes.lua",
      "sed 's/next/other/' routes.lua > .routes.swp && mv .routes.swp routes.lua",
      "cp routes.lua routes.lua~ && rm routes.lua && sed 's/other/again/' routes.lua~ > routes.lua "
        .. "&& chmod 600 routes.lua",
      "{ echo '-- a slow writer'; cat routes.lua; } > /tmp/routes.$$ && { while read -r line; do "
        .. "printf '%s\\n' \"$line\"; done; sleep 0.2; } < /tmp/routes.$$ > routes.lua",
      "echo '-- x' >> routes.lua; echo '-- x' >> detect.lua; echo '-- x' >> baseline_policy.lua",
      "for i in 1 2 3 4 5 6; do echo \"-- $i\" >> app.lua; sleep 0.04; done",
      "ln -s detect.lua other.lua && ln -sf $(pwd)/detect.lua /tmp/d.$$ && rm /tmp/d.$$ && "
        .. "echo '-- y' >> detect.lua",
    }
    for i, way in ipairs(ways) do
      s:sh(way)
      s:expect_generation(2 + i)
    end
  end)

  it("is quick", function()
    s = start()
    s:write("routes.lua", routes_with(s, "1"))
    s:expect_generation(2)
    local best = math.huge
    for i = 2, 6 do
      s:write("routes.lua", routes_with(s, tostring(i)))
      local began = socket.gettime()
      repeat socket.sleep(0.005) until version() == tostring(i) or socket.gettime() > began + 5
      best = math.min(best, socket.gettime() - began)
    end
    assert.is_true(best < 0.2 * daemon.slowness, "it took " .. best)
  end)

  it("takes up a checkout", function()
    if not os.execute("command -v git >/dev/null") then
      pending("there is no git")
      return
    end
    s = start()
    local git = "git -c user.name=x -c user.email=x@x "
    s:sh(git .. "init -q . && " .. git .. "add . && " .. git .. "commit -qm one")
    s:write("routes.lua", routes_with(s, "branch"))
    s:expect_generation(2)
    s:sh("echo '-- more' >> detect.lua")
    s:expect_generation(3)
    s:sh(git .. "checkout -q -b other && " .. git .. "commit -qam two && " .. git
      .. "checkout -q master 2>/dev/null || " .. git .. "checkout -q main")
    s:expect_generation(4)
    assert.is_nil(version())
    s:sh(git .. "checkout -q other")
    s:expect_generation(5)
    assert.equal("branch", version())
  end)

  it("loads nothing when nothing changed", function()
    s = start()
    s:sh("touch *.lua; cp routes.lua x && cat x > routes.lua; rm x; chmod 644 detect.lua; "
      .. "echo hello > notes.txt; echo 'return 1' > unused.lua; echo 'x' > .hidden.lua; "
      .. "mv routes.lua r && mv r routes.lua")
    s:expect_generation(1)
  end)

  it("goes on with the old scripts while the new ones are wrong", function()
    s = start()
    s:write("routes.lua", routes_with(s, "good"))
    s:expect_generation(2)
    local wrong = {
      { "routes.lua", "return function(app)\n  app.get(\n", "scripts/routes.lua:3: " },
      { "routes.lua", "\nerror('not today')", "scripts/routes.lua:2: not today" },
      { "routes.lua", "local x = 1\nwhile true do x = x + 1 end",
        "scripts/routes.lua:2: script ran too long" },
      { "routes.lua", "while true do pcall(function() while true do end end) end",
        "scripts/routes.lua:1: script ran too long" },
      { "routes.lua", 'return function(app)\n  app.get("health", {}, print)\nend',
        "scripts/routes.lua:2: route GET health: the path must begin with /" },
      { "routes.lua", 'return function(app)\n  app.get("/x", { sumary = "" }, print)\nend',
        "did you mean 'summary'?" },
      { "routes.lua", "return function(app)\n  app.got()\nend", "scripts/routes.lua:2: " },
      { "routes.lua", "return nothing", "scripts/routes.lua:1: undefined global 'nothing'" },
      { "routes.lua", 'return require("rooter")', "rooter" },
      { "baseline_policy.lua", "return { z_treshold = 3 }", "did you mean 'z_threshold'?" },
      { "baseline_policy.lua", "return { maturity = 'x' }", "maturity must be a whole number" },
      { "baseline_policy.lua", "return 3", "policy must be a table, not number" },
      { "detect.lua", "return {}", "detect must be a function" },
      { "sns_handshake.lua", "return { topcs = {} }", "did you mean 'topics'?" },
    }
    for i, case in ipairs(wrong) do
      local good = s:read(case[1])
      s:write(case[1], case[2])
      local message = s:wait_for(function()
        local now = s:health()
        assert.equal(1 + i, now.generation, s:log():gsub('[^\n]*"GET [^\n]*\n', ""))
        return now.reload_error
      end, "the error of " .. case[2])
      assert.truthy(message:find(case[3], 1, true), message)
      assert.truthy(s:log():find("reload failed, generation " .. 1 + i .. " goes on", 1, true))
      assert.equal("good", version())
      local code, shown = s:repl("-e :gen")
      assert.equal(0, code)
      assert.truthy(shown:find(case[3], 1, true), shown)
      s:write(case[1], good .. "-- " .. i .. "\n")
      s:wait_for(function() return s:health().generation == 2 + i end, "the good one")
      assert.is_nil(s:health().reload_error)
    end
    s:sh("rm detect.lua")
    s:wait_for(function() return s:health().reload_error end, "the error of a missing file")
    assert.equal("good", version())
    local _, _, metrics = s:get("/metrics")
    assert.truthy(metrics:find("anomalyd_reload_failures_total " .. #wrong + 1, 1, true))
  end)

  it("does not wait for ever for a script that waits while it is loaded", function()
    s = start()
    s:write("detect.lua", 'require("task").sleep(3600)')
    s:wait_for(function() return s:health().reload_error end, "the error", 15)
    assert.truthy(s:health().reload_error:find("longer than 5 seconds", 1, true))
    s:write("detect.lua", daemon.read("scripts/detect.lua") .. "-- good")
    s:expect_generation(2)
  end)

  it("lets what has begun end on its old code", function()
    s = start()
    local gate = s.dir .. "/gate" -- the old code begins, and ends when this file is there
    s:write("routes.lua", routes_with(s, "old", ([[
      io.open("%s.begun", "w"):close()
      while not io.open("%s") do require("task").sleep(0.02) end]]):format(gate, gate)))
    s:expect_generation(2)
    local held = assert(socket.connect("127.0.0.1", s.port))
    assert(held:send("GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    s:wait_for(function() return daemon.read(gate .. ".begun") end, "the old code's begin")
    s:write("routes.lua", routes_with(s, "new"))
    s:wait_for(function() return s:health().generation == 3 end, "the new generation")
    assert.equal("new", version())
    daemon.write(gate, "")
    assert.truthy(held:receive("*a"):find('{"version":"old"}', 1, true))
    held:close()
    local code, out = s:repl("-e :mem")
    assert.equal(0, code)
    assert.truthy(out:find("generations held 1", 1, true), out)
  end)

  it("shows new routes, parameters and policy at once, and keeps its state", function()
    s = start()
    s:drop("one.csv", rows(60, 12))
    assert.equal(0, s:summary("one").policy.z_threshold - 3)
    s:write("routes.lua", routes_with(s, "x"))
    s:write("baseline_policy.lua", (s:read("baseline_policy.lua"):gsub("z_threshold = 3.0",
      "z_threshold = 1.5")))
    s:expect_generation(2)
    assert.is_table(select(2, s:get("/openapi.json")).paths["/version"])
    s:drop("two.csv", rows(60, 12))
    local summary = s:summary("two")
    assert.equal(1.5, summary.policy.z_threshold)
    assert.equal(120, summary.baseline_observation_counts.temperature)
    s:wait_for(function()
      return select(2, s:get("/anomalies/summary")).files_processed == 2
    end, "two files in the summary")
    assert.equal(2, #select(2, s:get("/batches")).batches)
    assert.truthy(select(3, s:get("/metrics")):find('batches_total{result="done"} 2', 1, true))
  end)

  it("names the script's line and the generation when a handler fails", function()
    s = start()
    s:write("routes.lua", routes_with(s, "x", 'error("oops")'))
    s:expect_generation(2)
    assert.equal(500, (s:get("/version")))
    assert.truthy(s:log():find("scripts/routes.lua:%d+: oops.*generation=2"), s:log())
  end)

  it("loads anew on SIGHUP and :reload, also without --reload", function()
    s = start("")
    s:write("routes.lua", routes_with(s, "hup"))
    s:expect_generation(1)
    s:signal("HUP")
    s:expect_generation(2)
    assert.equal("hup", version())
    local code, out = s:repl("-e :reload")
    assert.equal(0, code)
    assert.equal("generation 3 serves\n", out)
    s:write("routes.lua", "return 1 +")
    local err
    code, out, err = s:repl("-e :reload")
    assert.equal("", out)
    assert.equal(1, code)
    assert.truthy(err:find("scripts/routes.lua:1: ", 1, true))
    code = daemon.run("check --scripts " .. s.scripts)
    assert.equal(1, code)
  end)

  it("holds no old generation", function()
    s = start("")
    for i = 1, 3 do s:drop(i .. ".csv", rows(50, 11)) end
    for i = 1, 3 do s:summary(tostring(i)) end
    local function reload(n)
      local code, _, err = s:repl("", (":reload\n"):rep(n) .. "collectgarbage()\n")
      assert.equal(0, code, err)
      local _, out = s:repl("-e :mem")
      assert.truthy(out:find("generations held 1\n", 1, true), out)
      local _, bytes = s:repl("-e 'collectgarbage() collectgarbage() "
        .. "return host.stats().lua_memory'")
      return tonumber(bytes)
    end
    local before = reload(50)
    local after = reload(200)
    assert.is_true(after - before < 100000, ("%d bytes more"):format(after - before))
  end)

  it("answers every request through a storm of reloads, a third of them wrong", function()
    s = start()
    s:drop("one.csv", rows(50, 11))
    s:summary("one")
    local storm = io.popen(("%s -l spec/support/storm.lua %d 4 8"):format(daemon.program, s.port))
    local stop, n = socket.gettime() + 3.5, 0
    while socket.gettime() < stop do
      n = n + 1
      s:write("routes.lua", n % 3 == 0 and "return ((" or routes_with(s, tostring(n)))
      socket.sleep(0.25)
    end
    local requests, failures, first = storm:read("a"):match("(%d+) (%d+) (.*)")
    storm:close()
    assert.equal("0", failures, first)
    assert.is_true(tonumber(requests) > 50)
    assert.is_true(s:health().generation > 5)
    assert.truthy(s:log():find("reload failed", 1, true))
  end)
end)

describe("anomalyd check", function()
  it("says what a reload would say", function()
    local dir = daemon.scripts()
    local code, out = daemon.run("check --scripts " .. dir)
    assert.equal(0, code)
    assert.truthy(out:find("routes, policy and detection are right", 1, true))
    for text, message in pairs({ ["return {"] = "scripts/detect.lua:1: ",
      ["while true do end"] = "scripts/detect.lua:1: script ran too long",
      ["return 1"] = "detect must be a function" }) do
      daemon.write(dir .. "/detect.lua", text)
      local err
      code, out, err = daemon.run("check --scripts " .. dir)
      assert.equal(1, code)
      assert.equal("", out)
      assert.truthy(err:find(message, 1, true), err)
    end
    os.execute("rm -rf " .. dir)
  end)
end)
