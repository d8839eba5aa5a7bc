--- repl: one line of the console: compile, run, print.
--
-- A session is a plain table that outlives generations (console.lua makes it):
--   {id, uid, vars = {}, policy = {}, read_only, width, color, terminal, out = function(text)}
-- Its lines always run in the newest generation: each one loads this file anew, and `vars`, the
-- variables of the session, get this generation's names behind them.
local commands = require("console_commands")
local complete = require("complete")
local console_env = require("console_env")
local context = require("context")
local pretty = require("pretty")

local repl = {}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch("%a+") do KEYWORDS[#KEYWORDS + 1] = word end

local function wants_more(message) return message:find("near '?<eof>'?$") ~= nil end

--- Compile a line: as an expression, or else as statements.
-- @return function; or nil, message, whether more text could make it right
function repl.compile(code, env)
  code = code:gsub("^%s*=", "return ", 1)
  local fn, why = load("return " .. code .. "\n", "=console", "t", env)
  if fn then return fn end
  local statement, message = load(code, "=console", "t", env)
  if statement then return statement end
  return nil, message, wants_more(message) or wants_more(why)
end

--- A traceback without the frames of the console, with the generation of the scripts in it.
function repl.traceback(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    local noise = line:find("lua/repl.lua:", 1, true) or line:find("lua/console", 1, true)
      or line:find("[C]: in function 'xpcall'", 1, true) or line:find("^\t%(%.%.%.tail calls")
      or line:find("[C]: in function 'error'", 1, true)
    if not noise then lines[#lines + 1] = line end
  end
  if lines[#lines] == "stack traceback:" then lines[#lines] = nil end
  return (table.concat(lines, "\n"):gsub("stack traceback:",
    ("stack traceback (generation %d):"):format(context.generation), 1))
end

local function handler(problem)
  if type(problem) ~= "string" then
    local metatable = debug.getmetatable(problem)
    if not (type(metatable) == "table" and rawget(metatable, "__tostring")) then
      return "error object: " .. pretty.format(problem)
    end
    problem = tostring(problem)
  end
  return debug.traceback(problem, 2)
end

--- The options of pretty for a session.
function repl.style(session)
  return { width = session.terminal and session.width or 160, color = session.color or false,
    items = session.terminal and 100 or 100000, text = session.terminal and 2000 or math.huge }
end

--- Results as text, nothing for none. At a terminal a text stands in quotes; elsewhere one that is
-- the only result is given as it is.
function repl.show(session, results)
  if results.n == 0 then return "" end
  if results.n == 1 and type(results[1]) == "string" and not session.terminal then
    return results[1]
  end
  local style, parts = repl.style(session), {}
  for i = 1, results.n do parts[i] = pretty.format(results[i], style) end
  return table.concat(parts, "\t")
end

local function run(session, fn)
  local results = table.pack(xpcall(fn, handler))
  if not results[1] then return "F", repl.traceback(tostring(results[2])) end
  table.remove(results, 1)
  results.n = results.n - 1
  if results.n > 0 then session.vars._ = results[1] end
  return "R", repl.show(session, results)
end

--- Run a line: a command that begins with a colon, or Lua.
-- @return "R" (result), "F" (failure), "M" (more is needed) or "Q" (quit), and the text
function repl.line(session, code)
  console_env.attach(session)
  if code:find("^%s*:") then
    local kind, text
    local ok, problem = xpcall(function()
      kind, text = commands.run(session, code, repl)
    end, handler)
    if not ok then return "F", repl.traceback(tostring(problem)) end
    return kind, text
  end
  local fn, message, more = repl.compile(code, session.vars)
  if fn then return run(session, fn) end
  if more then return "M", "" end
  return "F", message
end

--- Complete the last word of a text. @return what to insert, what to show
function repl.complete(session, text)
  console_env.attach(session)
  if text:find("^%s*$") then return "  ", nil end
  return complete.choose(complete.find(text, { roots = console_env.roots(session),
    commands = commands.choices(session), words = KEYWORDS }))
end

return repl
