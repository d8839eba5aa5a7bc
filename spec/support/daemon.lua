--- daemon: start the real binary for a spec, talk to it, stop it.
--
--   local s = daemon.start{ args = "--reload", env = "X=1" }    on a fresh directory bucket
--   s:get("/health") -> status, decoded body, text        s:post(path, body, headers)
--   s:drop("a.csv", text)       put a file under raw/ as a careful program would
--   s.bucket, s.objects         the bucket: its argument, and its objects (see buckets.lua)
--   s:wait_for(function() ... end, what)    poll, bounded; fails the spec with the log at hand
--   s:stop() -> exit code       SIGTERM and wait       s:kill()   SIGKILL
-- Everything listens on loopback, on a free port, and is stopped by its process id.
local buckets = require("buckets")
local files = require("files")
local http = require("http")
local json = require("json")

local daemon = {}
daemon.__index = daemon

local build = os.getenv("ANOMALYD_BUILD") or "build"

--- The program that is started: one with sanitizers under `make asan`, which takes its time.
daemon.program = os.getenv("ANOMALYD_PROGRAM") or build .. "/anomalyd"
daemon.slowness = daemon.program ~= build .. "/anomalyd" and 5 or 1
local counter = 0

local function pause() os.execute("sleep 0.01") end

daemon.read, daemon.write = files.read, files.write

--- A new directory of its own under the build directory.
function daemon.directory()
  counter = counter + 1
  return files.line(("mktemp -d %s/spec-XXXXXX"):format(build))
end

--- A copy of the scripts in a directory of its own; its routes begin with those of `more`, a text.
function daemon.scripts(more)
  local dir = daemon.directory()
  assert(os.execute(("cp scripts/*.lua %s/"):format(dir)))
  if not more then return dir end
  local routes = daemon.read(dir .. "/routes.lua")
  local _, first = routes:find("return function(app)\n", 1, true)
  daemon.write(dir .. "/routes.lua", routes:sub(1, first) .. more .. routes:sub(first + 1))
  return dir
end

--- Run the binary to its end. @return exit code, stdout, stderr
function daemon.run(arguments, input, env)
  local dir = daemon.directory()
  if input then daemon.write(dir .. "/in", input) end
  local _, _, code = os.execute(("env %s %s %s <%s >%s/out 2>%s/err"):format(env or "",
    daemon.program, arguments, input and dir .. "/in" or "/dev/null", dir, dir))
  local out, err = daemon.read(dir .. "/out"), daemon.read(dir .. "/err")
  os.execute("rm -rf " .. dir)
  return code, out, err
end

--- Wait until `probe()` gives a true value, which is returned.
function daemon:wait_for(probe, what, seconds)
  local deadline = os.time() + (seconds or 20)
  while true do
    local value = probe()
    if value then return value end
    if os.time() > deadline then
      local log = self:log():gsub('[^\n]*"GET [^\n]*HTTP/1.1" 200 OK[^\n]*\n', "")
      error(("waited in vain for %s; the log without what was answered well:\n%s"):format(what,
        log), 2)
    end
    pause()
  end
end

function daemon:log() return daemon.read(self.log_path) or "" end

function daemon:alive()
  return os.execute(("kill -0 %d 2>/dev/null"):format(self.pid)) == true
end

--- Wait until it has stopped itself (ANOMALYD_STOP_AT).
function daemon:wait_stopped()
  self:wait_for(function()
    local stat = daemon.read(("/proc/%d/stat"):format(self.pid)) or ""
    return stat:find("^%d+ %b() T ")
  end, "the process to stop itself")
end

local function launch(self)
  -- A console of its own: the usual place has room for one service.
  local command = ("env ANOMALYD_CONSOLE=%s/console.sock %s %s %s serve --host 127.0.0.1 "
    .. "--port 0 --bucket %s %s %s"):format(self.dir, self.objects.env, self.env, daemon.program,
    self.bucket, self.objects.options, self.args)
  -- The shell that waits writes the exit code down for stop().
  self.pid = tonumber(files.line(("( %s >>%s 2>&1 & echo $! >%s/pid; wait $!; echo $? >%s/code ) "
    .. ">/dev/null 2>&1 & while [ ! -s %s/pid ]; do sleep 0.005; done; cat %s/pid"):format(command,
    self.log_path, self.dir, self.dir, self.dir, self.dir)))
  self.port = self:wait_for(function()
    if not self:alive() then error("the service ended at once:\n" .. self:log(), 3) end
    local port, starts = nil, 0
    for found in self:log():gmatch("on https?://%S-:(%d+) %(") do
      port, starts = found, starts + 1
    end
    self.starts = starts
    return starts > self.started and tonumber(port)
  end, "the line that names the port")
  self.started = self.starts
end

--- Start a service.
-- @param options {args =, env =, bucket = its argument, or one of buckets.lua (default: a fresh
--   directory), ca = (a file of certificates: it speaks HTTPS)}
function daemon.start(options)
  options = options or {}
  local dir = daemon.directory()
  local given = options.bucket or dir .. "/bucket"
  local objects = type(given) == "table" and given or buckets.directory(given)
  local self = setmetatable({ dir = dir, log_path = dir .. "/log", args = options.args or "",
    env = options.env or "", ca = options.ca, bucket = objects.argument, objects = objects,
    started = 0 }, daemon)
  launch(self)
  return self
end

--- Start it again on the same bucket.
function daemon:restart()
  os.remove(self.dir .. "/pid")
  os.remove(self.dir .. "/code")
  launch(self)
end

function daemon:request(method, path, body, headers)
  local answer, message = http.request({ method = method, headers = headers, body = body,
    url = ("%s://127.0.0.1:%d%s"):format(self.ca and "https" or "http", self.port, path),
    ca_file = self.ca, timeout = 20 })
  if not answer then error(("%s %s: %s\n%s"):format(method, path, message, self:log()), 2) end
  local value = json.decode(answer.body)
  return answer.status, value, answer.body, answer.headers
end

function daemon:get(path) return self:request("GET", path) end
function daemon:post(path, body, headers) return self:request("POST", path, body, headers) end

--- Put a file into the bucket, whole.
function daemon:drop(name, text) self.objects:put("raw/" .. name, text) end

function daemon:object(key) return self.objects:get(key) end

--- Wait for the summary of raw/NAME.csv and return it.
function daemon:summary(name)
  return self:wait_for(function()
    local text = self:object("processed/" .. name .. "_summary.json")
    return text and json.decode(text)
  end, "the summary of " .. name)
end

local function exit_code(self)
  local text = daemon.read(self.dir .. "/code")
  return text and tonumber((text:gsub("%s", "")))
end

function daemon:signal(name) os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid)) end

--- Run `anomalyd repl` on it. @return exit code, stdout, stderr
function daemon:repl(arguments, input)
  return daemon.run(("repl --console %s/console.sock %s"):format(self.dir, arguments or ""), input,
    "-u BUCKET_NAME")
end

--- Tell it to stop and wait. @return its exit code
function daemon:stop()
  self:signal("TERM")
  return self:wait_for(function() return exit_code(self) end, "the end of the service", 40)
end

--- End it at once, as a power cut would.
function daemon:kill()
  self:signal("KILL")
  self:wait_for(function() return exit_code(self) end, "the end of the service")
end

--- For after_each: end it if it lives, and remove its directory.
function daemon:remove()
  if self:alive() then self:kill() end
  os.execute("rm -rf " .. self.dir)
end

return daemon
