-- What systemd is told, heard by a listener of our own at NOTIFY_SOCKET.
local daemon = require("daemon")
local scripted = require("scripted")

local build = os.getenv("ANOMALYD_BUILD") or "build"

local here = os.getenv("PWD")
local listeners = {}

--- Listen at a socket. @return {env = for the service, messages = function() -> list of {at, text}}
local function listen(name)
  local dir = daemon.directory()
  local path = name or ("%s/%s/notify"):format(here, dir)
  local pipe = assert(io.popen(("exec %s/spec/notify_listener '%s' %s/log"):format(build, path,
    dir)))
  local listener = { dir = dir, pipe = pipe, pid = assert(pipe:read("n")),
    env = "NOTIFY_SOCKET=" .. path }
  listeners[#listeners + 1] = listener
  function listener.messages()
    local list = {}
    for at, text in (daemon.read(dir .. "/log") or ""):gmatch("([%d.]+) ([^\n]*)\n") do
      list[#list + 1] = { at = tonumber(at), text = text }
    end
    return list
  end
  --- The first message with this text (a pattern), or nil.
  function listener.find(pattern)
    for i, message in ipairs(listener.messages()) do
      if message.text:find(pattern) then return message, i end
    end
    return nil
  end
  return listener
end

local function now()
  local file = assert(io.open("/proc/uptime"))
  local seconds = file:read("n")
  file:close()
  return seconds
end

describe("notices to the service manager", function()
  local s
  after_each(function()
    if s then s:remove() end
    s = nil
    for _, listener in ipairs(listeners) do
      os.execute("kill " .. listener.pid)
      listener.pipe:close()
      os.execute("rm -rf " .. listener.dir)
    end
    listeners = {}
  end)

  it("says READY once, with a status, when all is up, and STOPPING at the end", function()
    local ear = listen()
    s = daemon.start({ env = ear.env })
    s:wait_for(function() return ear.find("^READY=1|STATUS=") end, "READY")
    local up, at = ear.find("^READY=1|STATUS=")
    assert.equal(200, (s:get("/ready")))
    assert.truthy(up.text:find("port " .. s.port, 1, true))
    assert.truthy(up.text:find("generation 1", 1, true))
    assert.truthy(ear.messages()[1].text:find("^STATUS=starting"))
    assert.truthy(at and at > 1)
    assert.equal(0, s:stop())
    local last = ear.find("^STOPPING=1")
    assert.truthy(last.text:find("EXTEND_TIMEOUT_USEC=40000000|", 1, true))
    assert.truthy(last.text:find("STATUS=stopping", 1, true))
    local count = 0
    for _, message in ipairs(ear.messages()) do
      if message.text:find("READY=1", 1, true) then count = count + 1 end
      assert.falsy(message.text:find("WATCHDOG"))
    end
    assert.equal(1, count)
  end)

  it("waits with READY until the bucket answers, and says what it waits for", function()
    local empty = scripted.answer(200, { { "Content-Type", "application/xml" } },
      "<ListBucketResult><Name>bk</Name><IsTruncated>false</IsTruncated></ListBucketResult>")
    local down = scripted.error(503, "SlowDown")
    -- The baseline is asked for first.
    local none = scripted.error(404, "NoSuchKey")
    local server <close> = scripted.start({ down, down, none, empty })
    local ear = listen()
    s = daemon.start({ bucket = "bk", env = ear.env .. " AWS_ENDPOINT_URL=" .. server.url
      .. " AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_REGION=us-east-1 AWS_MAX_ATTEMPTS=1" })
    assert.equal(200, (s:get("/health")))
    s:wait_for(function() return ear.find("READY=1") end, "READY")
    local _, trouble = ear.find("^STATUS=the bucket bk cannot be read: .*SlowDown")
    local _, up = ear.find("READY=1")
    assert.is_true(trouble and trouble < up)
  end)

  it("announces a reload with the clock's time, and READY also when it failed", function()
    local ear = listen()
    local dir = daemon.scripts()
    s = daemon.start({ env = ear.env, args = "--scripts " .. dir })
    s:wait_for(function() return ear.find("READY=1") end, "READY")
    local before = now()
    s:signal("HUP")
    s:wait_for(function() return ear.find("READY=1|STATUS=.*generation 2") end, "the reload's end")
    local begun, first = ear.find("^RELOADING=1|MONOTONIC_USEC=%d+|STATUS=")
    local usec = tonumber(begun.text:match("MONOTONIC_USEC=(%d+)"))
    -- The announced time is the clock's, and not after the message's arrival.
    assert.is_true(usec / 1e6 <= begun.at and usec / 1e6 > begun.at - 5)
    assert.is_true(usec / 1e6 > before - 5)
    local _, second = ear.find("generation 2")
    assert.is_true(first < second)
    daemon.write(dir .. "/app.lua", "return oops(")
    s:signal("HUP")
    local failed = s:wait_for(function()
      return ear.find("^READY=1|STATUS=.*generation 2.*the last reload failed: .*app.lua:1:")
    end, "READY after the failed reload")
    assert.truthy(failed)
    local announced = 0
    for _, message in ipairs(ear.messages()) do
      if message.text:find("^RELOADING=1") then announced = announced + 1 end
    end
    assert.equal(2, announced)
    assert.equal(200, (s:get("/health")))
    os.execute("rm -rf " .. dir)
  end)

  it("gives signs of life from the loop, and none while the loop is blocked", function()
    local ear = listen()
    local dir = daemon.scripts([[
  app.get("/hang", { summary = "hang" }, function()
    os.execute("sleep 1.5")
    return {}
  end)
]])
    s = daemon.start({ env = ear.env .. " WATCHDOG_USEC=400000", args = "--scripts " .. dir })
    s:wait_for(function()
      local count = 0
      for _, message in ipairs(ear.messages()) do
        if message.text == "WATCHDOG=1" then count = count + 1 end
      end
      return count >= 4
    end, "four signs of life")
    local calm = ear.messages()
    assert.equal(200, (s:get("/hang")))
    s:wait_for(function() return #ear.messages() >= #calm + 2 end, "life after the block")
    local signs, gap = {}, 0
    for _, message in ipairs(ear.messages()) do
      if message.text == "WATCHDOG=1" then signs[#signs + 1] = message.at end
    end
    for i = 2, #signs do gap = math.max(gap, signs[i] - signs[i - 1]) end
    assert.is_true(gap >= 1.4, "the longest silence was " .. gap .. " s")
    os.execute("rm -rf " .. dir)
  end)

  it("keeps quiet about a watchdog that is another process's", function()
    local ear = listen()
    s = daemon.start({ env = ear.env .. " WATCHDOG_USEC=100000 WATCHDOG_PID=1" })
    s:wait_for(function() return ear.find("READY=1") end, "READY")
    os.execute("sleep 0.3")
    assert.falsy(ear.find("WATCHDOG"))
  end)

  it("reaches an abstract socket", function()
    local ear = listen(("@anomalyd-spec-%s"):format(tostring({}):match("%x+$")))
    s = daemon.start({ env = ear.env })
    s:wait_for(function() return ear.find("READY=1") end, "READY")
  end)

  it("serves without a listener, and says so when the address is no good", function()
    local ear = daemon.directory()
    local nobody = here .. "/" .. ear .. "/nobody"
    s = daemon.start({ env = "NOTIFY_SOCKET=" .. nobody })
    s:wait_for(function()
      return s:log():find("cannot tell the service manager at " .. nobody, 1, true)
    end, "the warning")
    assert.equal(200, (s:get("/health")))
    s:remove()
    s = daemon.start({ env = "NOTIFY_SOCKET=nonsense" })
    s:wait_for(function()
      return s:log():find("NOTIFY_SOCKET=nonsense: expected a path", 1, true)
    end, "the warning")
    assert.equal(0, s:stop())
    os.execute("rm -rf " .. ear)
  end)

  -- From main() on: what comes while the kernel still links the program cannot be caught.
  it("lives through a SIGHUP in its first moments", function()
    local ear = listen()
    local dir = daemon.directory()
    local script = dir .. "/start"
    daemon.write(script, ([[
env %s %s/anomalyd serve --host 127.0.0.1 --port 0 --bucket %s/bucket >%s/log 2>&1 &
echo $! >%s/pid
until grep -q '^Sig[IC].*[13579bdf]$' /proc/$!/status; do :; done
for i in 1 2 3 4 5 6 7 8 9 10; do kill -HUP $!; done
]]):format(ear.env, build, dir, dir, dir))
    os.execute("sh " .. script)
    s = setmetatable({ dir = dir, log_path = dir .. "/log",
      pid = tonumber(daemon.read(dir .. "/pid")) }, daemon)
    s:wait_for(function() return ear.find("READY=1") end, "READY")
    assert.is_true(s:alive())
    s:signal("TERM")
    s:wait_for(function() return not s:alive() end, "the end")
  end)
end)
