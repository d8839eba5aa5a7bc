--- repl_client (kernel): `anomalyd repl`: the terminal's side of the console.
--
-- Attaches to a running service, or with --bucket starts this program once more to open the bucket
-- by itself, and speaks with it over a pair of sockets; so there is one way in which lines run.
-- Everything here blocks: the client waits for its terminal or for the console.
local client = require("console_client")
local console = require("console")
local console_place = require("console_place")
local host = require("host")
local line_edit = require("line_edit")
local line_history = require("line_history")
local task = require("task")

local repl_client = {}

local PROMPT, MORE = "anomalyd> ", "       .. "
local PATIENCE = 2 -- seconds for a console to answer an interrupt

-- ---- the connection ----

local function describe(code, path)
  if code == "NotFound" or code == "NobodyListens" then
    return ("no service answers at %s: start `anomalyd serve`, or open a bucket with --bucket"):
      format(path)
  end
end

--- Attach to a service. @return connection; or nil, message, code
local function attach(given)
  local places = given.console and { given.console } or console_place.list(os.getenv, host.uid())
  local first, first_code
  for _, place in ipairs(places) do
    local connection, message, code = client.connect(place)
    if connection then return connection end
    if not first or (first_code == "NotFound" and code ~= "NotFound") then
      first, first_code = describe(code, place) or message, code
    end
  end
  return nil, first, first_code
end

--- Open the bucket in another process of this program.
local function open_bucket(given)
  local arguments = { "repl", "--serve", "3", "--bucket", given.bucket }
  if given.scripts then table.move({ "--scripts", given.scripts }, 1, 2, 6, arguments) end
  if given.write then arguments[#arguments + 1] = "--write" end
  return client.spawn(table.unpack(arguments))
end

--- Where the session is to be: --bucket on the command line goes before a service, one from the
-- environment comes after.
local function open(given)
  if given.bucket and given.sources.bucket == "command line" then return open_bucket(given) end
  local connection, message, code = attach(given)
  if connection then return connection end
  local none = code == "NotFound" or code == "NobodyListens"
  if none and given.bucket and given.sources.console ~= "command line" then
    return open_bucket(given)
  end
  return nil, message
end

-- ---- output ----

local CONTROL = "[%z\1-\8\11-\26\28-\31\127]"

--- Text as it may be shown at a terminal: colors pass, other control characters are written out.
local function harmless(text)
  text = text:gsub("\27%[[%d;]*m", "\0%0"):gsub("(%z?)\27", function(mark)
    return mark ~= "" and "\27" or "\\x1B"
  end)
  return (text:gsub(CONTROL, function(c) return ("\\x%02X"):format(c:byte()) end))
end

local function writer(self, file)
  return function(text)
    file:write(self.terminal and harmless(text) or text)
    file:flush()
  end
end

--- Send one line and show what comes of it until it is done.
-- @return the kind of its end ("R", "F", "M", "Q", or nil when the connection is gone), text
local function run(self, code)
  local sent = self.connection:send("E", code)
  local interrupted_at
  while sent do
    local kind, text = self.connection:receive(interrupted_at and PATIENCE or nil)
    if kind == "O" then
      self.print(text)
    elseif kind and kind ~= "L" then -- an L comes too late for its Tab
      return kind, text
    elseif text == "interrupted" then
      interrupted_at = interrupted_at or host.now()
      self.connection:send("I", "")
    elseif not kind and text ~= "late" then
      break
    end
    if interrupted_at and host.now() - interrupted_at > PATIENCE then
      return nil, "the console does not answer"
    end
  end
  return nil, "the connection to the console ended"
end

local function show(self, kind, text)
  if kind == "F" then
    self.complain((self.color and "\27[31m" .. text .. "\27[0m" or text) .. "\n")
  elseif text ~= "" then
    self.print(text:sub(-1) == "\n" and not self.terminal and text or text .. "\n")
  end
end

-- ---- without a terminal ----

local function run_code(self, code)
  local kind, text = run(self, code)
  if kind == "M" then
    self.complain("anomalyd: the code is not complete: " .. code .. "\n")
    return 1
  end
  if not kind then
    self.complain("anomalyd: " .. text .. "\n")
    return 1
  end
  show(self, kind, text)
  return kind == "F" and 1 or 0, kind == "Q"
end

--- Lines from a pipe or a file; the first that fails ends it.
local function run_input(self)
  local open_text
  for line in io.lines() do
    local code = open_text and open_text .. "\n" .. line or line
    local kind, text = run(self, code)
    if kind == "M" then
      open_text = code
    else
      open_text = nil
      if not kind then
        self.complain("anomalyd: " .. text .. "\n")
        return 1
      end
      show(self, kind, text)
      if kind == "F" then return 1 end
      if kind == "Q" then return 0 end
    end
  end
  if open_text then
    self.complain("anomalyd: the input ends within a statement: " .. open_text .. "\n")
    return 1
  end
  return 0
end

-- ---- at a terminal ----

local function on_tab(self, before)
  return function(text)
    self.connection:send("C", before() .. text)
    local broken = false
    repeat
      local kind, answer = self.connection:receive(PATIENCE)
      if kind == "L" and not broken then return answer:match("^(%Z*)%z(.*)$") end
      broken = broken or answer == "interrupted"
    until kind == "L" or not kind and answer ~= "interrupted"
    return nil, nil, broken
  end
end

--- One entry of as many lines as it takes. @return text; or nil, "interrupted" | "ended"
local function read_entry(self)
  local lines = {}
  self.before = ""
  while true do
    local text, why = self.editor:read(#lines == 0 and PROMPT or MORE)
    if not text then return nil, why end
    lines[#lines + 1] = text
    local code = table.concat(lines, "\n")
    if code:find("^%s*$") then return code end
    local kind, answer = run(self, code)
    if kind ~= "M" then return code, kind, answer end
    self.before = code .. "\n"
  end
end

local function talk(self)
  local history = line_history.open(line_history.path(os.getenv),
    { append = client.append, is_secret = console.is_secret })
  self.editor:history(history.entries)
  self.editor:on_tab(on_tab(self, function() return self.before end))
  while true do
    local code, kind, answer = read_entry(self)
    if not code and kind == "ended" then
      self.print("\n")
      return 0
    end
    if code then
      if history:add(code) then self.editor:history(history.entries) end
      if kind then show(self, kind, answer) end
      if kind == "Q" then return 0 end
      if not kind and answer then
        self.complain("anomalyd: " .. answer .. "\n")
        return 1
      end
    end
  end
end

--- Say who we are and wait for the console's first words.
local function greet(self)
  self.connection:send("H", ("width=%d color=%d terminal=%d"):format(line_edit.width(),
    self.color and 1 or 0, self.terminal and 1 or 0))
  local kind, text = self.connection:receive()
  if kind ~= "W" then return nil end
  return text
end

--- Be the client.
-- @param given from options.parse
-- @param fail function(code, message): ends the process
function repl_client.run(given, fail)
  if given.serve then return require("repl_bucket").run(given, fail) end
  host.configure({ slice = 1e6 })
  task.sleep(0)
  local connection, message = open(given)
  if not connection then return fail(1, message) end
  local typed = not given.e and host.is_terminal(0) and host.is_terminal(1)
  local self = { connection = connection, terminal = host.is_terminal(1) and not given.e }
  self.color = typed and not os.getenv("NO_COLOR") and os.getenv("TERM") ~= "dumb"
  self.print, self.complain = writer(self, io.stdout), writer(self, io.stderr)
  local welcome = greet(self)
  if not welcome then return fail(1, "the console ended before it said anything") end
  if given.e then return host.exit((run_code(self, given.e))) end
  if not typed then return host.exit(run_input(self)) end
  local editor, why = line_edit.open()
  if not editor then return fail(1, why) end
  self.editor = editor
  self.print(welcome .. "\n")
  local code = talk(self)
  editor:close()
  host.exit(code)
end

return repl_client
