--- terminal: a program at a terminal of its own, typed at by a spec (see pty.c).
--
--   local t = terminal.start("build/anomalyd repl --console x", { columns = 80, env = "HOME=/x" })
--   t:type("1+1\n")           \n and control characters as Lua writes them
--   t:expect("2"[, seconds])  fails the spec with what was shown instead; gives the milliseconds
--   t:ends([seconds])         its exit code
--   t:close()
local program = require("program")

local terminal = {}
terminal.__index = terminal

local function escape(text)
  return (text:gsub("[%c\\]", function(c) return ("\\x%02X"):format(c:byte()) end))
end

function terminal.start(command, options)
  options = options or {}
  return setmetatable({ program = program.start(("env %s %s %d %s"):format(options.env or "",
    program.built("pty"), options.columns or 80, command)) }, terminal)
end

function terminal:type(text) self.program:send("send " .. escape(text) .. "\n") end

function terminal:expect(text, seconds)
  self.program:send(("expect %g %s\n"):format(seconds or 10, escape(text)))
  local answer = self.program:line() or "nothing: it has ended"
  local milliseconds = answer:match("^ok (%d+)$")
  if not milliseconds then
    error(("the terminal does not show %q but: %s"):format(text, answer), 2)
  end
  return tonumber(milliseconds)
end

function terminal:ends(seconds)
  self.program:send(("end %g\n"):format(seconds or 10))
  local answer = self.program:line() or ""
  return tonumber(answer:match("^exit (%d+)$")), answer
end

function terminal:close() self.program:close() end

return terminal
