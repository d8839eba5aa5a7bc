local json = require("json")
local response = require("response")
local router = require("router")

local function get(app, target, extra)
  local request = { method = "GET", target = target, headers = {}, body = "" }
  for name, value in pairs(extra or {}) do request[name] = value end
  return app.dispatch(request)
end

local function sample()
  local app = router.new()
  app.get("/health", function() return { status = "ok" } end)
  app.get("/anomalies/recent", {
    summary = "Rows flagged",
    query = { limit = { type = "integer", default = 50, minimum = 1, maximum = 10000 } },
  }, function(request)
    return json.object({ "count" }, { count = request.query.limit, anomalies = json.array() })
  end)
  app.get("/baseline/current", function() return response.text(200, "current") end)
  app.get("/baseline/{channel}", function(request) return { channel = request.params.channel } end)
  app.delete("/baseline/{channel}", function() return response.new(204) end)
  app.post("/notify", { body = { type = "text" } }, function(request)
    return { got = request.body, kind = request.headers["x-kind"] }
  end)
  app.post("/items", { body = { type = "json", fields = {
    name = { type = "string", required = true }, count = { type = "integer", default = 1 },
  } } }, function(request)
    return { name = request.fields.name, count = request.fields.count, json = request.json }
  end)
  app.get("/", function() return "root" end)
  return app
end

describe("router", function()
  local app
  before_each(function() app = sample() end)

  it("sends a table as compact JSON", function()
    local made, path, traceback = get(app, "/health")
    assert.equal(200, made.status)
    assert.equal('{"status":"ok"}', made.body)
    assert.equal("application/json", made.headers["content-type"])
    assert.equal("/health", path)
    assert.is_nil(traceback)
    assert.equal('"root"', get(app, "/").body)
  end)

  it("gives checked parameters, the last of two", function()
    assert.equal('{"count":50,"anomalies":[]}', get(app, "/anomalies/recent").body)
    assert.equal('{"count":7,"anomalies":[]}', get(app, "/anomalies/recent?limit=7").body)
    assert.equal('{"count":8,"anomalies":[]}', get(app, "/anomalies/recent?limit=7&limit=8").body)
    assert.equal('{"count":1,"anomalies":[]}', get(app, "/anomalies/recent?limit=%201&x=y").body)
  end)

  it("answers bad parameters as FastAPI does, to the byte", function()
    for query, body in pairs({
      ["limit=abc"] = '{"detail":[{"type":"int_parsing","loc":["query","limit"],"msg":"Input '
        .. 'should be a valid integer, unable to parse string as an integer","input":"abc"}]}',
      ["limit="] = '{"detail":[{"type":"int_parsing","loc":["query","limit"],"msg":"Input should '
        .. 'be a valid integer, unable to parse string as an integer","input":""}]}',
      ["limit=-1"] = '{"detail":[{"type":"greater_than_equal","loc":["query","limit"],"msg":'
        .. '"Input should be greater than or equal to 1","input":"-1","ctx":{"ge":1}}]}',
      ["limit=10001"] = '{"detail":[{"type":"less_than_equal","loc":["query","limit"],"msg":'
        .. '"Input should be less than or equal to 10000","input":"10001","ctx":{"le":10000}}]}',
    }) do
      local made, path = get(app, "/anomalies/recent?" .. query)
      assert.equal(422, made.status)
      assert.equal(body, made.body)
      assert.equal("application/json", made.headers["content-type"])
      assert.equal("/anomalies/recent", path)
    end
  end)

  it("answers 404 and 405", function()
    for _, target in ipairs({ "/nothing", "/health/x", "//health", "/baseline//x", "/baseline",
      "*", "/health%2Fx", "/%00", "/HEALTH" }) do
      local made, path = get(app, target)
      assert.equal(404, made.status, target)
      assert.equal('{"detail":"Not Found"}', made.body)
      assert.is_nil(path)
    end
    local made, path = get(app, "/health", { method = "POST" })
    assert.equal(405, made.status)
    assert.equal('{"detail":"Method Not Allowed"}', made.body)
    assert.equal("GET", made.headers.allow)
    assert.equal("/health", path)
    assert.equal("DELETE, GET", get(app, "/baseline/x", { method = "PUT" }).headers.allow)
    assert.equal(405, get(app, "/health", { method = "OPTIONS" }).status)
  end)

  it("answers HEAD as FastAPI does: as a method that no route has", function()
    local made = get(app, "/health", { method = "HEAD" })
    assert.same({ 405, '{"detail":"Method Not Allowed"}', "GET" },
      { made.status, made.body, made.headers.allow })
    assert.equal(404, get(app, "/nothing", { method = "HEAD" }).status)
  end)

  it("redirects to the route with the other end", function()
    local made = get(app, "/health/?a=b%20c")
    assert.same({ 307, "", "/health?a=b%20c" }, { made.status, made.body, made.headers.location })
    assert.equal("/notify", get(app, "/notify/", { method = "POST" }).headers.location)
    assert.equal("/baseline/a%20b", get(app, "/baseline/a%20b/").headers.location)
    for _, target in ipairs({ "//health/", "//evil.example/", "/nothing/", "/health//",
      "/baseline/a\r\nb/", "/baseline/" }) do
      assert.equal(404, get(app, target).status, target)
    end
  end)

  it("decodes each piece of the path; plain text goes before a parameter", function()
    assert.equal("current", get(app, "/baseline/current").body)
    assert.equal('{"channel":"a b/c+é"}', get(app, "/baseline/a%20b%2Fc+%C3%A9").body)
    assert.equal('{"status":"ok"}', get(app, "/he%61lth").body)
    assert.equal(204, get(app, "/baseline/current2", { method = "DELETE" }).status)
    assert.equal('{"channel":"\u{FFFD}"}', get(app, "/baseline/%FF").body)
  end)

  it("goes back to a parameter when plain text leads nowhere", function()
    app.get("/baseline/current/x", function() return 1 end)
    app.get("/{a}/{b}/y", function(request) return request.params end)
    assert.equal('{"a":"baseline","b":"current"}', get(app, "/baseline/current/y").body)
  end)

  it("hands the handler the request", function()
    local seen
    app.put("/seen/{id}", { path = { id = { type = "integer", minimum = 1 } } }, function(request)
      seen = request
      return response.new(200)
    end)
    get(app, "/seen/4%32?x=1", {
      method = "PUT", body = '{"a":[]}', headers = { ["x-a"] = "b" }, id = "r1",
      peer = { address = "127.0.0.1", port = 5, loopback = true },
    })
    assert.equal("PUT", seen.method)
    assert.equal("/seen/42", seen.path)
    assert.equal("/seen/{id}", seen.route)
    assert.equal(42, seen.params.id)
    assert.same({}, seen.query)
    assert.equal("b", seen.headers["x-a"])
    assert.equal("r1", seen.id)
    assert.is_true(seen.peer.loopback)
    assert.equal('{"a":[]}', json.encode(seen.json))
    assert.is_nil(seen.json_error)
    local made = get(app, "/seen/0", { method = "PUT" })
    assert.equal('{"detail":[{"type":"greater_than_equal","loc":["path","id"],"msg":"Input should '
      .. 'be greater than or equal to 1","input":"0","ctx":{"ge":1}}]}', made.body)
  end)

  it("says why a body that was not declared is no JSON", function()
    app.post("/free", function(request)
      return { json = request.json, why = request.json_error }
    end)
    assert.equal('{"why":"Expecting value (line 1, column 1)"}',
      get(app, "/free", { method = "POST", body = "x" }).body)
    assert.equal('{"json":5}', get(app, "/free", { method = "POST", body = "5" }).body)
  end)

  it("checks declared bodies", function()
    local function post(body, target)
      local made = get(app, target or "/items", { method = "POST", body = body })
      return made.body, made.status
    end
    assert.same({ '{"count":2,"json":{"name":"x","count":"2"},"name":"x"}', 200 },
      { post('{"name":"x","count":"2"}') })
    assert.same({ '{"detail":[{"type":"json_invalid","loc":["body",1],"msg":"JSON decode error",'
      .. '"input":{},"ctx":{"error":"Expecting property name enclosed in double quotes"}}]}', 422 },
      { post("{name: 1}") })
    assert.same({ '{"detail":[{"type":"missing","loc":["body"],"msg":"Field required",'
      .. '"input":null}]}', 422 }, { post("") })
    assert.same({ '{"detail":[{"type":"missing","loc":["body","name"],"msg":"Field required",'
      .. '"input":{"count":1}}]}', 422 }, { post('{"count":1}') })
    assert.same({ '{"detail":[{"type":"int_parsing","loc":["body","count"],"msg":"Input should be '
      .. 'a valid integer, unable to parse string as an integer","input":"x"},{"type":'
      .. '"string_type","loc":["body","name"],"msg":"Input should be a valid string",'
      .. '"input":null}]}', 422 }, { post('{"name":null,"count":"x"}') })
    assert.same({ '{"detail":[{"type":"model_attributes_type","loc":["body"],"msg":"Input should '
      .. 'be a valid dictionary or object to extract fields from","input":[1]}]}', 422 },
      { post("[1]") })
    assert.same({ '{"got":"x\\ny"}', 200 }, { post("x\ny", "/notify") })
    assert.equal(422, select(2, post("", "/notify")))
  end)

  it("answers 500 and gives the traceback to the caller only", function()
    app.get("/broken", function() local t = nil; return t.x end)
    app.get("/nan", function() return { a = 0 / 0 } end)
    app.get("/object", function() error({}) end)
    local made, path, traceback = get(app, "/broken")
    assert.same({ 500, "Internal Server Error", "text/plain; charset=utf-8" },
      { made.status, made.body, made.headers["content-type"] })
    assert.equal("/broken", path)
    assert.matches("router_spec.lua:%d+: attempt to index a nil value", traceback)
    assert.matches("stack traceback:", traceback)
    made, path, traceback = get(app, "/nan")
    assert.equal(500, made.status)
    assert.equal("/nan", path)
    assert.matches("json.encode: a is nan", traceback)
    assert.equal(500, get(app, "/object").status)
  end)

  it("sends a response that a handler raises", function()
    app.get("/gone", function() error(response.detail(410, "Gone")) end)
    local made, _, traceback = get(app, "/gone")
    assert.same({ 410, '{"detail":"Gone"}' }, { made.status, made.body })
    assert.is_nil(traceback)
  end)

  it("lets a handler wait", function()
    app.get("/slow", function() return { got = coroutine.yield("waiting") } end)
    app.get("/slow_fault", function() error("after " .. coroutine.yield("waiting")) end)
    for target, status in pairs({ ["/slow"] = 200, ["/slow_fault"] = 500 }) do
      local task = coroutine.create(function() return get(app, target) end)
      assert.same({ true, "waiting" }, { coroutine.resume(task) })
      local ok, made, path, traceback = coroutine.resume(task, 7)
      assert.is_true(ok)
      assert.same({ status, target }, { made.status, path })
      if status == 200 then assert.equal('{"got":7}', made.body)
      else assert.matches("after 7", traceback) end
    end
  end)

  it("refuses too many fields in a query", function()
    local made = get(app, "/health?" .. ("a&"):rep(1001))
    assert.same({ 400, '{"detail":"the query has more than 1000 fields"}' },
      { made.status, made.body })
  end)

  it("lists its routes in order", function()
    local paths = {}
    for i, route in ipairs(app.routes) do paths[i] = route.method .. " " .. route.path end
    assert.same({ "GET /health", "GET /anomalies/recent", "GET /baseline/current",
      "GET /baseline/{channel}", "DELETE /baseline/{channel}", "POST /notify", "POST /items",
      "GET /" }, paths)
  end)
end)

describe("a route's declaration", function()
  local function f() end

  local function refused(path, options, handler, method)
    local app = router.new()
    app.get("/there/{a}", f)
    local ok, message = pcall(app[method or "get"], path, options, handler)
    assert.is_false(ok)
    assert.same(1, #app.routes)
    return message
  end

  it("is refused with its line, its name and the remedy", function()
    local app = router.new()
    local ok, message = pcall(function() app.get("/x", { sumary = "y" }, f) end)
    assert.is_false(ok)
    assert.matches("^spec/unit/router_spec.lua:%d+: route GET /x: there is no option 'sumary'; "
      .. "did you mean 'summary'%?$", message)
  end)

  it("is refused for each mistake", function()
    for pattern, arguments in pairs({
      ["the handler must be a function, not a nil"] = { "/x", {}, nil },
      ["the handler must be a function, not a table"] = { "/x", {}, {} },
      ["the options must be a table, not a string"] = { "/x", "y", f },
      ["it is declared twice"] = { "/there/{a}", {}, f },
      ["it is the same as GET /there/{a}: name the parameters alike"] = { "/there/{b}", {}, f },
      ["must begin with /"] = { "x", {}, f },
      ["nil: the path must begin"] = { nil, {}, f },
      ["must not end with /"] = { "/x/", {}, f },
      ["has an empty piece"] = { "/x//y", {}, f },
      ["neither plain text nor a {parameter}"] = { "/x{y}", {}, f },
      ["the piece '{1a}'"] = { "/{1a}", {}, f },
      ["the piece 'a b'"] = { "/a b", {}, f },
      ["the parameter {a} stands twice"] = { "/{a}/{a}", {}, f },
      ["'b' is declared but not in the path"] = {
        "/{a}", { path = { b = { type = "string" } } }, f },
      ["a parameter of the path has no default"] = {
        "/{a}", { path = { a = { type = "string", default = "x" } } }, f },
      ["parameter 'limit': there is no type 'int'"] = {
        "/x", { query = { limit = { type = "int" } } }, f },
      ["the option 'query' must be a table, not a string"] = { "/x", { query = "limit" }, f },
      ["the option 'hidden' must be a boolean"] = { "/x", { hidden = "yes" }, f },
      ["the body's type must be"] = { "/x", { body = { type = "xml" } }, f },
      ["there is no body option 'feilds'; did you mean 'fields'"] = {
        "/x", { body = { type = "json", feilds = {} } }, f },
      ["only a json body has fields"] = { "/x", { body = { type = "text", fields = {} } }, f },
      ["parameter 'n': minimum is above maximum"] = { "/x", { body = { type = "json",
        fields = { n = { type = "integer", minimum = 2, maximum = 1 } } } }, f },
      ["named by their status, not by 'ok'"] = { "/x", { responses = { ok = {} } }, f },
      ["there is no response option 'text'"] = {
        "/x", { responses = { [404] = { text = "x" } } }, f },
    }) do
      assert.matches("route GET .*" .. pattern, refused(arguments[1], arguments[2], arguments[3]))
    end
  end)

  it("may share a path with other methods", function()
    local app = router.new()
    app.get("/x/{a}", f)
    app.post("/x/{a}", f)
    assert.equal(2, #app.routes)
    assert.is_false((pcall(app.put, "/x/{b}", f)))
  end)
end)

describe("response", function()
  it("checks its status and lowers its headers' names", function()
    assert.has_error(function() response.new("200") end)
    assert.has_error(function() response.new(99) end)
    local made = response.html(201, "<p>", { ["X-A"] = "b" })
    assert.same({ ["x-a"] = "b", ["content-type"] = "text/html; charset=utf-8" }, made.headers)
    assert.equal("text/plain; version=0.0.4",
      response.text(200, "", { ["Content-Type"] = "text/plain; version=0.0.4" })
        .headers["content-type"])
    assert.is_true(response.is(made))
    assert.is_false(response.is({ status = 200 }))
    assert.is_false(response.is("x"))
  end)
end)
