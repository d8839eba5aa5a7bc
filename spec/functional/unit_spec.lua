-- The systemd unit: what it says, how exposed it leaves the service, and that the service needs
-- nothing that it forbids.
local daemon = require("daemon")
local files = require("files")

local output = files.output

local UNIT = "scripts/deploy/anomalyd.service"

local function have(program)
  return os.execute("command -v " .. program .. " >/dev/null 2>&1") == true
end

--- The unit's settings: name -> list of values.
local function settings()
  local unit = {}
  for line in io.lines(UNIT) do
    local name, value = line:match("^(%a+)=(.*)$")
    if name then
      unit[name] = unit[name] or {}
      table.insert(unit[name], value)
    end
  end
  return unit
end

--- The system calls of systemd's groups: group -> set.
local function groups()
  local found, current = {}, nil
  for line in output("systemd-analyze syscall-filter --no-pager"):gmatch("[^\n]+") do
    local group, member = line:match("^(@[%w-]+)"), line:match("^%s+([@%w_-]+)")
    if group then
      current = {}
      found[group] = current
    elseif current and member then
      current[member] = true
    end
  end
  return found
end

local function expand(found, group, into)
  for member in pairs(found[group]) do
    if member:sub(1, 1) == "@" then expand(found, member, into) else into[member] = true end
  end
  return into
end

--- What the unit's SystemCallFilter lines leave allowed.
local function allowed_calls(unit)
  local found, allowed = groups(), {}
  for _, line in ipairs(unit.SystemCallFilter) do
    local minus = line:sub(1, 1) == "~"
    for name in line:gmatch("@?[%w_-]+") do
      local calls = found[name] and expand(found, name, {}) or { [name] = true }
      for call in pairs(calls) do allowed[call] = not minus end
    end
    for call in (" " .. line:gsub("^~", "")):gmatch("%s([%w_]+)") do allowed[call] = not minus end
  end
  return allowed
end

describe("the systemd unit", function()
  it("names what the service's life rests on", function()
    local unit = settings()
    assert.same({ "notify" }, unit.Type)
    assert.same({ "-/etc/environment", "-/etc/anomalyd/env" }, unit.EnvironmentFile)
    assert.same({ "/usr/bin/anomalyd check", "/bin/sh -c 'kill -HUP $MAINPID'" }, unit.ExecReload)
    assert.same({ "anomalyd" }, unit.User)
    assert.same({ "on-failure" }, unit.Restart)
    assert.same({ "2" }, unit.RestartPreventExitStatus)
    assert.is_true(tonumber(unit.WatchdogSec[1]) >= 10)
    -- systemd waits longer than the service does for its own work.
    assert.is_true(tonumber(unit.TimeoutStopSec[1]) > 30)
  end)

  it("is one systemd takes, at an exposure of 2.0 or less", function()
    if not have("systemd-analyze") then return pending("systemd-analyze is not installed") end
    local text, ok = output("systemd-analyze security --offline=true --no-pager --threshold=20 "
      .. UNIT)
    local level = tonumber(text:match("Overall exposure level for anomalyd.service: ([%d.]+)"))
    assert.is_true(ok, text)
    assert.is_true(level <= 2.0, text)
    for line in output("systemd-analyze verify --man=no " .. UNIT):gmatch("[^\n]*anomalyd[^\n]*") do
      -- The program need not be installed here.
      if not line:find("is not executable", 1, true) then error(line) end
    end
  end)

  it("forbids nothing that the service does", function()
    if not have("systemd-analyze") or not have("strace") then
      return pending("systemd-analyze or strace is not installed")
    end
    local dir = daemon.directory()
    local s = daemon.start({ args = "--reload --console " .. dir .. "/console.sock",
      env = "ASAN_OPTIONS=detect_leaks=0 strace -D -f -qq -o " .. dir .. "/calls" })
    local cleanup <close> = setmetatable({}, { __close = function() -- luacheck: ignore
      s:remove()
      os.execute("rm -rf " .. dir)
    end })
    s:drop("a.csv", "timestamp,temperature\n" .. ("2026-02-24,21.5\n"):rep(50))
    s:summary("a")
    for _, path in ipairs({ "/health", "/ready", "/metrics", "/anomalies/recent" }) do
      assert.equal(200, (s:get(path)))
    end
    s:signal("HUP")
    s:wait_for(function() return s:log():find("reloaded: generation 2", 1, true) end, "the reload")
    assert.equal(0, s:stop())
    local unit = settings()
    local allowed, families, bad, seen = allowed_calls(unit), {}, {}, {}
    for family in unit.RestrictAddressFamilies[1]:gmatch("%S+") do families[family] = true end
    for line in io.lines(dir .. "/calls") do
      local call = line:match("^%d+%s+([%w_]+)%(")
      if call then
        seen[call] = true
        if not allowed[call] then bad[call] = true end
        local family = line:match("socket%((AF_%w+)")
        if family and not families[family] then bad[family] = true end
        if line:find("PROT_WRITE|PROT_EXEC", 1, true) then bad["writable code"] = true end
      end
    end
    assert.is_true(seen.inotify_add_watch and seen.listen and (seen.clone3 or seen.clone))
    assert.same({}, bad)
  end)
end)
