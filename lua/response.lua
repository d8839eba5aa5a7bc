--- response: what a handler returns when a table alone would not say enough.
--
-- A response is {status, headers, body}: headers by lower-case name, a value being a text or a list
-- of texts. A handler may also raise one (error(response.json(404, {...}))): it is sent as it is.
local json = require("json")

local response = {}

-- Asked for by field, not by identity: see response.is.
local metatable = { __response = true }

local REASONS = {
  [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content",
  [301] = "Moved Permanently", [302] = "Found", [303] = "See Other", [304] = "Not Modified",
  [307] = "Temporary Redirect", [308] = "Permanent Redirect", [400] = "Bad Request",
  [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed",
  [406] = "Not Acceptable", [408] = "Request Timeout", [409] = "Conflict", [410] = "Gone",
  [411] = "Length Required", [412] = "Precondition Failed", [413] = "Content Too Large",
  [414] = "URI Too Long", [415] = "Unsupported Media Type", [422] = "Unprocessable Content",
  [429] = "Too Many Requests", [431] = "Request Header Fields Too Large",
  [500] = "Internal Server Error", [501] = "Not Implemented", [502] = "Bad Gateway",
  [503] = "Service Unavailable", [504] = "Gateway Timeout", [505] = "HTTP Version Not Supported",
}

--- The reason phrase of a status (RFC 9110), or "Unknown".
function response.reason(status)
  return REASONS[status] or "Unknown"
end

--- A response with a body of the type that headers["content-type"] names.
function response.new(status, headers, body)
  if math.type(status) ~= "integer" or status < 100 or status > 599 then
    error("response: the status must be an integer from 100 to 599", 2)
  end
  local named = {}
  for name, value in pairs(headers or {}) do named[name:lower()] = value end
  return setmetatable({ status = status, headers = named, body = body or "" }, metatable)
end

--- Is this value a response (of any generation of this module)?
function response.is(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and meta.__response == true
end

local function typed(kind, status, body, headers)
  local made = response.new(status, headers, body)
  made.headers["content-type"] = made.headers["content-type"] or kind
  return made
end

--- A JSON body, as json.encode writes it.
function response.json(status, value, headers)
  return typed("application/json", status, json.encode(value), headers)
end

--- A plain text.
function response.text(status, text, headers)
  return typed("text/plain; charset=utf-8", status, text, headers)
end

--- An HTML page.
function response.html(status, text, headers)
  return typed("text/html; charset=utf-8", status, text, headers)
end

--- FastAPI's body of an error: {"detail": detail}.
function response.detail(status, detail, headers)
  return response.json(status, { detail = detail }, headers)
end

return response
