-- bench reload: how alive the service is: time from a save to the new answer, many reloads and the
-- memory after them, a round trip of the console, what /health feels of a waiting line, and a
-- storm of reloads under wrk, where it is installed.
--
--     lua5.4 scripts/bench/reload.lua [RELOADS|quick]      10 000, or 500 when quick
--
-- Starts a service of its own on a fresh bucket and a copy of the scripts.
package.path = "lua/?.lua;spec/support/?.lua;" .. package.path
package.cpath = (os.getenv("ANOMALYD_BUILD") or "build") .. "/lua/?.so;" .. package.cpath
local daemon = require("daemon")
local socket = require("socket")
local unix = require("socket.unix")

local RELOADS = arg[1] == "quick" and 500 or math.tointeger(tonumber(arg[1])) or 10000

local function quantile(list, q)
  table.sort(list)
  return list[math.max(1, math.ceil(q * #list))]
end

local function report(what, list)
  print(("%-44s %8.2f ms median %8.2f ms p99 %8.2f ms worst (%d)"):format(what,
    quantile(list, 0.5) * 1000, quantile(list, 0.99) * 1000, list[#list] * 1000, #list))
end

-- ---- the console's frames ----

local function attach(path)
  local client = assert(unix())
  assert(client:connect(path))
  client:settimeout(30)
  local self = {}
  function self.send(kind, text)
    assert(client:send(string.pack(">I4", #text + 1) .. kind .. text))
  end
  function self.receive()
    local size = string.unpack(">I4", assert(client:receive(4)))
    local frame = assert(client:receive(size))
    return frame:sub(1, 1), frame:sub(2)
  end
  function self.ask(code)
    self.send("E", code)
    while true do
      local kind, text = self.receive()
      if kind == "F" then error(text, 0) end
      if kind ~= "O" then return text end
    end
  end
  function self.close() client:close() end
  assert(self.receive() == "W")
  return self
end

-- ---- one connection that asks again and again ----

local function browser(port)
  local client = assert(socket.connect("127.0.0.1", port))
  client:settimeout(10)
  client:setoption("tcp-nodelay", true)
  return function(path)
    local began = socket.gettime()
    assert(client:send(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path)))
    local status, length = assert(client:receive("*l")), 0
    while true do
      local line = assert(client:receive("*l"))
      if line == "" then break end
      length = tonumber(line:match("^[Cc]ontent%-[Ll]ength: (%d+)")) or length
    end
    return assert(client:receive(length)), socket.gettime() - began, status
  end
end

-- ---- what is measured ----

local scripts = daemon.directory()
os.execute("cp scripts/*.lua " .. scripts)
local s = daemon.start({ args = "--reload --keep-alive 60 "
  .. "--scripts " .. scripts })
local routes = daemon.read(scripts .. "/routes.lua")

local function save_to_answer()
  local get, times = browser(s.port), {}
  for i = 1, 20 do
    local text = ('  app.get("/version", {}, function() return { n = %d } end)\n'
      .. '  pages.add'):format(i)
    daemon.write(scripts .. "/routes.lua", (routes:gsub("  pages%.add", text)))
    local began = socket.gettime()
    while get("/version") ~= ('{"n":%d}'):format(i) do socket.sleep(0.001) end
    times[i] = socket.gettime() - began
  end
  report("from a save to the new answer", times)
end

local function memory(console)
  return tonumber(console.ask("collectgarbage() collectgarbage() return host.stats().lua_memory")),
    tonumber(console.ask("host.stats().memory"))
end

local function many_reloads()
  local console, times = attach(s.dir .. "/console.sock"), {}
  for _ = 1, 100 do console.ask(":reload") end
  local lua_before, all_before = memory(console)
  for i = 1, RELOADS do
    local began = socket.gettime()
    console.ask(":reload")
    times[i] = socket.gettime() - began
  end
  local lua_after, all_after = memory(console)
  report(("a reload (:reload), %d of them"):format(RELOADS), times)
  print(("%-44s %+8.1f kB of Lua's %.1f MB, %+.1f MB of the process's %.1f MB"):format(
    "memory after them", (lua_after - lua_before) / 1000, lua_after / 1e6,
    (all_after - all_before) / 1e6, all_after / 1e6))
  print(("%-44s %s"):format("", console.ask(":mem")))
  console.close()
end

local function round_trip()
  local console, times = attach(s.dir .. "/console.sock"), {}
  for i = 1, 2000 do
    local began = socket.gettime()
    assert(console.ask("1+1") == "2")
    times[i] = socket.gettime() - began
  end
  report("a round trip of the console (1+1)", times)
  console.close()
end

local function health_while(what, code)
  local get, times = browser(s.port), {}
  local console = code and attach(s.dir .. "/console.sock")
  if console then console.send("E", code) end
  local stop = socket.gettime() + 1.9
  while socket.gettime() < stop do
    local _, seconds = get("/health")
    times[#times + 1] = seconds
  end
  if console then
    assert(console.receive() == "R")
    console.close()
  end
  report("/health " .. what, times)
end

--- wrk asks as fast as it can while the scripts are saved 200 times a minute, a third wrong.
local function storm(seconds)
  if not os.execute("command -v wrk >/dev/null") then
    return print("a storm of reloads: left out, there is no wrk")
  end
  local first = select(2, s:get("/health")).generation
  local wrk = io.popen(("wrk -t1 -c16 -d%ds http://127.0.0.1:%d/baseline/current 2>&1"):format(
    seconds, s.port))
  local stop, saves, wrong = socket.gettime() + seconds, 0, 0
  while socket.gettime() < stop do
    saves = saves + 1
    if saves % 3 == 0 then wrong = wrong + 1 end
    daemon.write(scripts .. "/routes.lua",
      saves % 3 == 0 and "return ((" or routes .. "-- " .. saves)
    socket.sleep(0.3)
  end
  local said = wrk:read("a")
  wrk:close()
  print(("a storm of reloads, %d s: %s requests a second; %d saves, %d of them wrong, %d new "
    .. "generations; %s"):format(seconds, said:match("Requests/sec:%s+(%S+)"), saves, wrong,
    select(2, s:get("/health")).generation - first,
    said:match("Non%-2xx[^\n]*") or said:match("Socket errors[^\n]*") or "no request failed"))
end

local ok, message = pcall(function()
  round_trip()
  health_while("while nothing runs")
  health_while("while a line of the console waits 2 s", "task.sleep(2)")
  save_to_answer()
  storm(arg[1] == "quick" and 6 or 60)
  many_reloads()
end)
s:remove()
os.execute("rm -rf " .. scripts)
if not ok then
  io.stderr:write(tostring(message), "\n")
  os.exit(1)
end
