--- requests: from a request to its answer: routing, the request's id, the access log, the counters.
local response = require("response")

local requests = {}

local function request_id(request)
  local given = request.headers["x-request-id"]
  if given and #given <= 128 and given:find("^[%w%-_%.:/+=]+$") then return given end
  return ("%08x%08x"):format(math.random(0, 0xffffffff), math.random(0, 0xffffffff))
end

local function log_access(context, request, status, seconds)
  if context.options.log_format == "json" then
    context.log("info", "request", { client = request.peer.address .. ":" .. request.peer.port,
      method = request.method, target = request.target, status = status,
      milliseconds = tonumber(("%.3f"):format(seconds * 1000)), request_id = request.id })
  else
    context.log("info", ('%s:%d - "%s %s HTTP/%s" %d %s'):format(request.peer.address,
      request.peer.port, request.method, request.target, request.version, status,
      response.reason(status) or ""))
  end
end

--- Answer a request.
-- @param request {method, target, version, headers, body, peer, refused = {status, reason} or nil}
-- @return status, headers (list of {name, value}), body
function requests.handle(context, request)
  local began = context.now()
  request.id = request_id(request)
  local answer, route
  if request.refused then
    answer = response.json(request.refused.status, { detail = request.refused.reason })
    route = "refused"
  else
    local failure
    answer, route, failure = context.app.dispatch(request)
    if failure then
      context.log("error", failure, { request_id = request.id, method = request.method,
        target = request.target })
    end
  end
  local headers = answer.headers
  headers["x-request-id"] = request.id
  local seconds = context.now() - began
  context.metrics.count("anomalyd_http_requests_total", { route = route or "none",
    method = request.method, status = answer.status })
  context.metrics.observe("anomalyd_http_request_seconds", { route = route or "none" }, seconds)
  log_access(context, request, answer.status, seconds)
  return answer.status, headers, answer.body
end

return requests
