--- console (kernel): the server side of `anomalyd repl`: sessions over a Unix socket.
--
-- A frame is a letter and a text. From the client: H (hello: "width=80 color=1 terminal=1"), E (run
-- this line), C (complete this text), I (interrupt the line that runs). To the client: W (welcome),
-- O (output of a running line), R (its result), F (its failure), M (the line is not complete), L
-- (completion: what to insert, a zero byte, what to show), Q (leave).
--
-- A line runs as a task of its own, in the newest generation's repl.lua, so that whatever it does
-- to itself, this side answers. A session is a table of plain values that outlives generations.
local console_place = require("console_place")
local console_server = require("console_server")
local host = require("host")
local task = require("task")

local console = {}

local AT_TERMINAL, ELSEWHERE = 1024 * 1024, 32 * 1024 * 1024 -- bytes of output of one line

--- May this line stand in the log?
local function is_secret(code)
  local low = code:lower()
  for _, word in ipairs({ "secret", "password", "passwd", "token", "access_key", "credential" }) do
    if low:find(word, 1, true) then return true end
  end
  return code:find("AKIA%w%w%w%w") ~= nil
end
console.is_secret = is_secret

local Console = {}
Console.__index = Console

local function send(self, session, kind, text)
  return self.server:send(session.id, kind, text)
end

--- A function through which a session's lines print; it raises when they print too much.
local function printer(self, session)
  return function(text)
    local limit = session.terminal and AT_TERMINAL or ELSEWHERE
    session.printed = session.printed + #text
    if session.printed > limit then
      error(("the output is cut here: more than %d MB"):format(limit // (1024 * 1024)), 0)
    end
    send(self, session, "O", text)
  end
end

local function hello(session, text)
  for name, value in text:gmatch("(%w+)=(%w+)") do
    if name == "width" then
      session.width = math.min(math.max(tonumber(value) or 80, 20), 1000)
    elseif name == "color" or name == "terminal" then
      session[name] = value == "1"
    end
  end
end

--- Let go of what a session has of its generation. A line that runs keeps it until its end.
local function forget(session)
  session.stale = session.job ~= nil
  if not session.stale then setmetatable(session.vars, nil) end
end

--- Run fn in a task of its own, held as session[field]. @return nil, or why it failed
local function guarded(session, field, fn)
  local job = task.start(fn)
  session[field] = job
  job:wait()
  session[field] = nil
  return job:failure()
end

local function line(self, session, code)
  if session.job then return send(self, session, "F", "a line of this session is still running") end
  host.log("info", "console: line", { session = session.id, uid = session.uid,
    code = is_secret(code) and "(kept out of the log)" or code })
  session.printed, session.interrupted = 0, false
  local kind, text
  local failure = guarded(session, "job", function()
    self.server:heed(session.id)
    kind, text = self.repl().line(session, code)
  end)
  if session.interrupted and kind ~= "R" then
    kind, text = "F", "interrupted"
  elseif failure then
    kind, text = "F", failure
  end
  if session.stale then forget(session) end
  send(self, session, kind or "F", text or "")
  if kind == "Q" then self.server:finish(session.id) end
end

local function completion(self, session, text)
  local insert, show
  if not session.job and not session.completion then
    guarded(session, "completion", function()
      self.server:heed(session.id)
      insert, show = self.repl().complete(session, text)
    end)
  end
  send(self, session, "L", (insert or "") .. "\0" .. (show or ""))
end

local function interrupt(session)
  session.interrupted = true
  if session.job then task.cancel(session.job:id()) end
end

local function open(self, peer, uid, pid)
  local session = { id = peer, uid = uid, pid = pid, vars = {}, policy = {}, printed = 0,
    read_only = self.options.read_only }
  session.out = printer(self, session)
  self.sessions[peer] = session
  host.log("info", "console: session begins", { session = peer, uid = uid, pid = pid })
  send(self, session, "W", self.options.welcome())
end

local function close(self, peer)
  local session = self.sessions[peer]
  self.sessions[peer] = nil
  if session and session.job then task.cancel(session.job:id()) end
  host.log("info", "console: session ends", { session = peer })
  if self.options.ended then self.options.ended() end
end

local function on_event(self, event, peer, a, b)
  if event == "open" then return open(self, peer, a, b) end
  if event == "close" then return close(self, peer) end
  local session = self.sessions[peer]
  if not session then return end
  if a == "E" then return line(self, session, b) end
  if a == "C" then return completion(self, session, b) end
  if a == "I" then return interrupt(session) end
  if a == "H" then hello(session, b) end
end

--- A console without a socket.
-- @param repl function() -> the newest generation's repl
-- @param options {welcome = function() -> text, read_only, ended = function() or nil: called
--   when a session has ended}
function console.new(repl, options)
  local self = setmetatable({ repl = repl, options = options, sessions = {} }, Console)
  self.server = console_server.open(function(...) return on_event(self, ...) end)
  return self
end

--- A new generation serves: sessions hold nothing of the old one while they wait.
function Console:renew()
  for _, session in pairs(self.sessions) do forget(session) end
end

--- Listen at a path, or at the first of the usual places that can be had.
-- @return the path; or nil, message
function Console:listen(path)
  if path then
    local ok, message, code = self.server:listen(path, false)
    return ok and path, message, code
  end
  local reasons = {}
  for _, place in ipairs(console_place.list(os.getenv, host.uid())) do
    local ok, message, code = self.server:listen(place, true)
    if ok then return place end
    reasons[#reasons + 1] = message
    -- A client looks in this order and would find the other service.
    if code == "InUse" then break end
  end
  return nil, table.concat(reasons, "; ")
end

return console
