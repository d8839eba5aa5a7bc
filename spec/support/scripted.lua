--- scripted: an HTTP server for specs that answers what it is told, faults included.
--
--     local server <close> = scripted.start{ scripted.answer(200, {}, "body"), ... }
--     server.url, server:requests(), server:add(answer)
--
-- The n-th request gets the n-th answer, later ones the last. Built by `make spec-programs`.
local scripted = {}

local PROGRAM = (os.getenv("ANOMALYD_BUILD") or "build") .. "/spec/scripted_server"

local REASONS = { [200] = "OK", [204] = "No Content", [206] = "Partial Content" }

--- An answer. `headers` = {{name, value}, ...}. `options`: `how` ("send", "close", "stall",
-- "hold": with the next that is not held), `cut`
-- (send only so many bytes of the body, then close), `length` (false: no Content-Length).
function scripted.answer(status, headers, body, options)
  options = options or {}
  body = body or ""
  local lines = { ("HTTP/1.1 %d %s"):format(status, REASONS[status] or "Whatever") }
  for _, pair in ipairs(headers or {}) do lines[#lines + 1] = pair[1] .. ": " .. pair[2] end
  if options.length ~= false and status ~= 204 and status ~= 304 then
    lines[#lines + 1] = "Content-Length: " .. (options.length or #body)
  end
  if options.cut then body = body:sub(1, options.cut) end
  return { how = options.how or (options.cut and "close") or "send",
    bytes = table.concat(lines, "\r\n") .. "\r\n\r\n" .. body }
end

--- An answer of raw bytes, or none at all.
function scripted.raw(bytes, how)
  return { how = how or "close", bytes = bytes }
end

--- An S3 error of this status and code.
function scripted.error(status, code, more, headers)
  return scripted.answer(status, headers or {}, ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" ..
    "<Error><Code>%s</Code><Message>said by the script</Message>%s</Error>")
    :format(code, more or ""))
end

local function header_pairs(head)
  local headers = {}
  for name, value in head:gmatch("\n([^:\r\n]+):[ ]*([^\r\n]*)") do
    headers[name:lower()] = value
  end
  return headers
end

local Server = {}
Server.__index = Server

--- Append an answer to the script.
function Server:add(answer)
  local file = assert(io.open(self.script, "ab"))
  file:write(("@ %s %d\n"):format(answer.how, #answer.bytes), answer.bytes)
  file:close()
end

--- What was received so far: {{method, target, path, query, headers, head, body, connection}, ...}.
function Server:requests()
  local file = io.open(self.log, "rb")
  if not file then return {} end
  local list = {}
  while true do
    local line = file:read("l")
    if not line then break end
    local connection, head_length, body_length = line:match("^(%d+) (%d+) (%d+)$")
    local head = file:read(tonumber(head_length))
    local body = body_length == "0" and "" or file:read(tonumber(body_length))
    local method, target = head:match("^(%S+) (%S+) ")
    list[#list + 1] = { method = method, target = target, head = head, body = body,
      path = target:match("^[^?]*"), query = target:match("%?(.*)$"),
      headers = header_pairs(head), connection = tonumber(connection) }
  end
  file:close()
  return list
end

function Server:stop()
  if not self.pipe then return end
  os.execute("kill " .. self.pid)
  self.pipe:close()
  self.pipe = nil
  os.remove(self.script)
  os.remove(self.log)
end
Server.__close = Server.stop
Server.__gc = Server.stop

--- Start a server with these answers.
function scripted.start(answers)
  local self = setmetatable({ script = os.tmpname() }, Server)
  self.log = self.script .. ".log"
  for _, answer in ipairs(answers) do self:add(answer) end
  self.pipe = assert(io.popen(("exec '%s' '%s' '%s'"):format(PROGRAM, self.script, self.log)))
  local line = self.pipe:read("l")
  local port, pid = (line or ""):match("^(%d+) (%d+)$")
  assert(port, PROGRAM .. " did not start: run make spec-programs")
  self.pid, self.url = pid, "http://127.0.0.1:" .. port
  self.host = "127.0.0.1:" .. port
  return self
end

return scripted
