--- program: starts one of the programs that specs speak to, and stops it.
local program = {}

local Program = {}
Program.__index = Program

--- Start `command` (a shell word list). Its standard input stays open until :close().
-- Returns an object with the process id as `pid`; :line() reads its output.
function program.start(command)
  local fifo = os.tmpname()
  os.remove(fifo)
  assert(os.execute("mkfifo " .. fifo))
  local self = setmetatable({ fifo = fifo }, Program)
  self.out = assert(io.popen("echo $$; exec " .. command .. " <" .. fifo .. " 2>&1", "r"))
  self.input = assert(io.open(fifo, "w"))
  self.pid = tonumber(self:line())
  return self
end

--- The path of a program built by `make spec-programs`: of the build of the program under test.
function program.built(name)
  local build = (os.getenv("ANOMALYD_PROGRAM") or ""):match("^(.+)/[^/]+$")
  return (build or os.getenv("ANOMALYD_BUILD") or "build") .. "/spec/" .. name
end

--- The next line of its output, or nil when it has ended.
function Program:line()
  return self.out:read("l")
end

--- Write to its standard input.
function Program:send(text)
  self.input:write(text)
  self.input:flush()
end

--- Send a signal (by name) to it.
function Program:signal(name)
  os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid))
end

--- End it (closing its input, then SIGTERM) and return the rest of its output and its exit status:
-- the code, or the signal's number + 128.
function Program:close(gently)
  if not self.out then return "", 0 end
  self.input:close()
  if not gently then self:signal("TERM") end
  local rest = self.out:read("a")
  local _, kind, code = self.out:close()
  self.out = nil
  os.remove(self.fifo)
  return rest, kind == "signal" and code + 128 or code
end

return program
