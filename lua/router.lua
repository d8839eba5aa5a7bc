--- router: routes declared with their parameters, and the way from a request to its handler.
--
--   local app = router.new()
--   app.get("/anomalies/recent", {
--     summary = "Rows flagged in the 10 most recent processed files",
--     query = { limit = { type = "integer", default = 50, minimum = 1, maximum = 10000 } },
--   }, function(request)
--     return { count = 0, anomalies = json.array() }
--   end)
--
-- Every mistake in a declaration raises where it is made. A request is answered as FastAPI would:
-- 404 and 405 with a detail, 307 to the route with or without the last slash, 422 for parameters.
local json = require("json")
local response = require("response")
local schema = require("schema")
local suggest = require("suggest")
local url = require("url")

local router = {}

local METHODS = { "get", "post", "put", "delete", "patch" }

local OPTIONS = {
  summary = "string", description = "string", tag = "string", hidden = "boolean",
  path = "table", query = "table", body = "table", responses = "table",
}
local BODY_OPTIONS = {
  type = "string", required = "boolean", description = "string", fields = "table",
  example = "any",
}
local RESPONSE_OPTIONS = { description = "string", example = "any", type = "string" }

-- Raise about a route; router.new adds the line of the file that declares it.
local function bad(route, format, ...)
  error(("route %s %s: "):format(route.method, tostring(route.path)) .. format:format(...), 0)
end

local function check_options(route, what, options, known)
  for name, value in pairs(options) do
    local kind = known[name]
    if not kind then
      bad(route, "there is no %s '%s'%s", what, tostring(name), suggest.phrase(name, known))
    end
    if kind ~= "any" and type(value) ~= kind then
      bad(route, "the %s '%s' must be a %s, not a %s", what, name, kind, type(value))
    end
  end
end

-- The pieces of a route's path: texts, and {name = ...} for a parameter.
local function parse_path(route)
  local path = route.path
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    bad(route, "the path must begin with /")
  end
  if path ~= "/" and path:sub(-1) == "/" then bad(route, "the path must not end with /") end
  local segments, names = {}, {}
  for segment in path:sub(2):gmatch("[^/]+") do
    local name = segment:match("^{([%a_][%w_]*)}$")
    if name and names[name] then bad(route, "the parameter {%s} stands twice in the path", name) end
    if not name and segment:find("[^%w._~-]") then
      bad(route, "the piece '%s' of the path is neither plain text nor a {parameter}", segment)
    end
    if name then names[name] = true end
    segments[#segments + 1] = name and { name = name } or segment
  end
  if path ~= "/" and path ~= "/" .. path:sub(2):gsub("//+", "/") then
    bad(route, "the path has an empty piece")
  end
  return segments, names
end

-- Every parameter of the path has a declaration; those without one are texts.
local function declare_path(route, names)
  local declared = route.options.path or {}
  local all = {}
  for name, declaration in pairs(declared) do
    if not names[name] then
      bad(route, "the parameter '%s' is declared but not in the path", tostring(name))
    end
    if type(declaration) == "table" and declaration.default ~= nil then
      bad(route, "parameter '%s': a parameter of the path has no default", name)
    end
    all[name] = declaration
  end
  for name in pairs(names) do all[name] = all[name] or { type = "string" } end
  return all
end

local function checked_names(route, declarations, body)
  local names, problem = schema.names(declarations, body)
  if not names then bad(route, "%s", problem) end
  return names
end

local function check_body(route)
  local body = route.options.body
  if not body then return end
  check_options(route, "body option", body, BODY_OPTIONS)
  if body.type ~= "json" and body.type ~= "text" then
    bad(route, "the body's type must be \"json\" or \"text\"")
  end
  if body.fields and body.type ~= "json" then bad(route, "only a json body has fields") end
  if body.fields then route.field_names = checked_names(route, body.fields, true) end
end

local function check_responses(route)
  for status, about in pairs(route.options.responses or {}) do
    if math.type(status) ~= "integer" or status < 100 or status > 599 then
      bad(route, "responses are named by their status, not by '%s'", tostring(status))
    end
    if type(about) ~= "table" then bad(route, "the response %d must be a table", status) end
    check_options(route, "response option", about, RESPONSE_OPTIONS)
  end
end

local function build(method, path, options, handler)
  if handler == nil and type(options) == "function" then options, handler = {}, options end
  local route = { method = method:upper(), path = path, options = options or {} }
  if type(route.options) ~= "table" then
    bad(route, "the options must be a table, not a %s", type(options))
  end
  if type(handler) ~= "function" then
    bad(route, "the handler must be a function, not a %s", type(handler))
  end
  route.handler = handler
  local names
  route.segments, names = parse_path(route)
  check_options(route, "option", route.options, OPTIONS)
  route.params = declare_path(route, names)
  route.param_names = checked_names(route, route.params)
  route.query = route.options.query or {}
  route.query_names = checked_names(route, route.query)
  check_body(route)
  check_responses(route)
  return route
end

-- Where in the tree of segments a path's routes are kept. A node: texts to nodes in `plain`, the
-- node of a parameter in `any`, routes by method in `routes`.
local function node_for(root, segments)
  local node = root
  for _, segment in ipairs(segments) do
    if type(segment) == "table" then
      node.any = node.any or { plain = {} }
      node = node.any
    else
      node.plain[segment] = node.plain[segment] or { plain = {} }
      node = node.plain[segment]
    end
  end
  return node
end

-- The decoded pieces of a path as it came, or nil when one is empty.
local function split_path(path)
  local pieces = {}
  if path == "/" then return pieces end
  if path:sub(1, 1) ~= "/" then return nil end
  for piece in (path:sub(2) .. "/"):gmatch("([^/]*)/") do
    if piece == "" then return nil end
    pieces[#pieces + 1] = url.decode(piece)
  end
  return pieces
end

-- The node that has routes for pieces[i..]; plain text goes before a parameter.
local function find_node(node, pieces, i)
  if i > #pieces then return node.routes and node end
  local plain = node.plain[pieces[i]]
  return plain and find_node(plain, pieces, i + 1)
    or node.any and find_node(node.any, pieces, i + 1)
end

local function match(root, path)
  local pieces = split_path(path)
  if not pieces then return nil end
  return find_node(root, pieces, 1), pieces
end

local function allowed(node)
  local methods = {}
  for method in pairs(node.routes) do methods[#methods + 1] = method end
  table.sort(methods)
  return table.concat(methods, ", ")
end

-- 307 to the same path with or without its last slash, when that is a route's.
local function redirect(root, path, query)
  if path == "/" or path:find("^//") or path:find("[^\33-\126]") then return nil end
  local other = path:sub(-1) == "/" and path:sub(1, -2) or path .. "/"
  if not match(root, other) then return nil end
  if query ~= "" and not query:find("[^\33-\126]") then other = other .. "?" .. query end
  return response.new(307, { location = other })
end

local REQUEST = {}

-- The fields that are worked out when they are asked for; all others are the host's.
function REQUEST.__index(request, name)
  if name == "json" or name == "json_error" then
    local value, message = json.decode(request.body or "")
    rawset(request, "json", value)
    rawset(request, "json_error", message)
    return rawget(request, name)
  end
  return rawget(request, "incoming")[name]
end

local function read_body(route, request, errors)
  local body = route.options.body
  if not body then return end
  if request.body == "" then
    if body.required ~= false then
      errors[#errors + 1] = schema.error("missing", { "body" }, "Field required")
    end
    return
  end
  if body.type ~= "json" then return end
  local value, message, _, place = json.decode(request.body)
  if message then
    errors[#errors + 1] = schema.json_invalid(place)
    return
  end
  if route.field_names then
    if type(value) ~= "table" or json.is_array(value) then
      errors[#errors + 1] = schema.error("model_attributes_type", { "body" },
        "Input should be a valid dictionary or object to extract fields from", value)
      return
    end
    request.fields = schema.read_all(value, body.fields, route.field_names,
      schema.read_value, "body", errors, value)
  end
  rawset(request, "json", value)
end

-- The request as the handler sees it, or nil and the response that says what is wrong with it.
local function make_request(route, pieces, incoming, path, query)
  local fields, problem = url.parse_query(query)
  if not fields then return nil, response.detail(400, problem) end
  local given, errors = {}, {}
  for i, segment in ipairs(route.segments) do
    if type(segment) == "table" then given[segment.name] = pieces[i] end
  end
  local request = setmetatable({
    incoming = incoming,
    method = incoming.method,
    path = url.decode(path),
    body = incoming.body or "",
    headers = incoming.headers or {},
    route = route.path,
  }, REQUEST)
  request.params = schema.read_all(given, route.params, route.param_names,
    schema.read_text, "path", errors)
  request.query = schema.read_all(fields, route.query, route.query_names,
    schema.read_text, "query", errors)
  read_body(route, request, errors)
  if #errors > 0 then return nil, response.detail(422, errors) end
  return request
end

local function with_traceback(problem)
  if response.is(problem) then return problem end
  return debug.traceback(tostring(problem), 2)
end

local function answer(handler, request)
  local result = handler(request)
  if response.is(result) then return result end
  return response.json(200, result)
end

local function call(route, request)
  local ok, result = xpcall(answer, with_traceback, route.handler, request)
  if ok or response.is(result) then return result end
  return response.text(500, "Internal Server Error"), result
end

local function dispatch(root, incoming)
  local path, query = url.split(incoming.target or incoming.path)
  local node, pieces = match(root, path)
  if not node then
    return redirect(root, path, query) or response.detail(404, "Not Found")
  end
  local route = node.routes[incoming.method]
  if not route then
    local any = select(2, next(node.routes))
    return response.detail(405, "Method Not Allowed", { allow = allowed(node) }), any.path
  end
  local request, refusal = make_request(route, pieces, incoming, path, query)
  if not request then return refusal, route.path end
  local made, traceback = call(route, request)
  return made, route.path, traceback
end

--- An application: get, post, put, delete and patch(path, [options,] handler) declare routes;
-- `routes` lists them; dispatch answers.
--
-- A path is plain pieces and {parameters}, each a whole piece. Options: summary, description, tag
-- and hidden (not in /docs) for the pages; path, query: name -> declaration (see schema); body =
-- {type = "json" | "text", required, fields = name -> declaration, description, example}; responses
-- = status -> {description, example, type}.
--
-- A handler gets a request: method, path, params and query (checked values), headers (lower-case
-- names), body (text), json (the decoded body, or nil and then json_error says why), fields
-- (checked values of a declared body), route, and whatever else the host put in (id, peer). It
-- returns a table, sent as JSON with status 200, or a response (see response). It may wait.
--
-- dispatch{method, target, headers, body, ...} -> response {status, headers, body}, the route's
-- path as it is declared (nil when none fits), and the traceback when the handler failed (then the
-- response is the 500 that tells nothing). Never raises because of what a request holds. HEAD is a
-- method like any other, so 405; its response has the body whose length the host announces.
function router.new()
  local root = { plain = {} }
  local app = { routes = {} }

  local function add(method, path, options, handler)
    local route = build(method, path, options, handler)
    local node = node_for(root, route.segments)
    node.routes = node.routes or {}
    local _, there = next(node.routes)
    if there and there.path ~= route.path then
      bad(route, "it is the same as %s %s: name the parameters alike", there.method, there.path)
    end
    if node.routes[route.method] then bad(route, "it is declared twice") end
    node.routes[route.method] = route
    app.routes[#app.routes + 1] = route
  end

  for _, method in ipairs(METHODS) do
    app[method] = function(path, options, handler)
      local ok, problem = pcall(add, method, path, options, handler)
      if not ok then error(problem, 2) end
    end
  end

  function app.dispatch(incoming)
    return dispatch(root, incoming)
  end

  return app
end

return router
