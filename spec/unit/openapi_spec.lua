local json = require("json")
local openapi = require("openapi")
local router = require("router")

local function f() end

local function document(declare)
  local app = router.new()
  declare(app)
  local value = openapi.document(app, { title = "anomalyd", version = "1.0" })
  return value, json.encode(value)
end

describe("openapi.document", function()
  it("is OpenAPI 3.1 with paths in the order of declaration", function()
    local value, text = document(function(app)
      app.get("/b", { summary = "B" }, f)
      app.get("/a", f)
      app.post("/b", f)
      app.get("/docs", { hidden = true }, f)
    end)
    local first = '{"openapi":"3.1.0","info":{"title":"anomalyd","version":"1.0"},"paths":{"/b":'
      .. '{"get":{"summary":"B","operationId":"get_b","responses":{"200":{"description":'
      .. '"Successful Response","content":{"application/json":{"schema":{}}}}}},"post":'
    assert.equal(first, text:sub(1, #first))
    assert.same({ "/b", "/a" }, json.keys(value.paths))
    assert.same({ "get", "post" }, json.keys(value.paths["/b"]))
    assert.is_nil(value.paths["/docs"])
  end)

  it("has no paths and still is a document", function()
    local _, text = document(function() end)
    assert.matches('"paths":{},"components":{"schemas":{"HTTPValidationError"', text, 1, true)
  end)

  it("describes parameters with their limits", function()
    local value = document(function(app)
      app.get("/baseline/{channel}", {
        path = { channel = { type = "string", min_length = 1, max_length = 64 } },
        query = {
          limit = { type = "integer", default = 50, minimum = 1, maximum = 10000,
            description = "How many", example = 5 },
          state = { type = "string", enum = { "queued", "done" }, required = true },
          deep = { type = "boolean", default = false },
        },
      }, f)
    end)
    local get = value.paths["/baseline/{channel}"].get
    assert.equal('[{"name":"channel","in":"path","required":true,"schema":{"type":"string",'
      .. '"minLength":1,"maxLength":64,"title":"Channel"}},{"name":"deep","in":"query","required":'
      .. 'false,"schema":{"type":"boolean","default":false,"title":"Deep"}},{"name":"limit","in":'
      .. '"query","required":false,"description":"How many","schema":{"type":"integer","minimum":1'
      .. ',"maximum":10000,"default":50,"title":"Limit"},"example":5},{"name":"state","in":"query",'
      .. '"required":true,"schema":{"type":"string","enum":["queued","done"],"title":"State"}}]',
      json.encode(get.parameters))
    assert.equal("get_baseline_channel", get.operationId)
  end)

  it("tells of a 422 only where something is checked", function()
    local value = document(function(app)
      app.get("/plain", f)
      app.get("/query", { query = { a = { type = "integer" } } }, f)
      app.get("/path/{a}", f)
      app.post("/body", { body = { type = "json" } }, f)
    end)
    for path, checked in pairs({ ["/plain"] = false, ["/query"] = true, ["/path/{a}"] = true }) do
      assert.equal(checked, value.paths[path].get.responses["422"] ~= nil, path)
    end
    assert.equal('{"description":"Validation Error","content":{"application/json":{"schema":'
      .. '{"$ref":"#/components/schemas/HTTPValidationError"}}}}',
      json.encode(value.paths["/body"].post.responses["422"]))
    local schemas = value.components.schemas
    assert.same({ "loc", "msg", "type" }, schemas.ValidationError.required)
    assert.equal("#/components/schemas/ValidationError",
      schemas.HTTPValidationError.properties.detail.items["$ref"])
  end)

  it("describes bodies and answers", function()
    local value = document(function(app)
      app.post("/items", {
        body = { type = "json", description = "An item", example = { name = "x" }, fields = {
          name = { type = "string", required = true, description = "Its name", example = "y" },
          n = { type = "integer", default = 1 } } },
        responses = { [404] = { description = "none", example = { detail = "x" } }, [503] = {} },
      }, f)
      app.post("/notify", { body = { type = "text", required = false },
        responses = { [200] = { description = "done", type = "text/plain" } } }, f)
    end)
    local items = value.paths["/items"].post
    assert.equal('{"description":"An item","required":true,"content":{"application/json":{"schema":'
      .. '{"type":"object","properties":{"n":{"type":"integer","default":1,"title":"N"},"name":'
      .. '{"type":"string","title":"Name","description":"Its name","examples":["y"]}},"required":'
      .. '["name"]},"example":{"name":"x"}}}}', json.encode(items.requestBody))
    assert.same({ "200", "404", "422", "503" }, json.keys(items.responses))
    assert.equal('{"description":"none","content":{"application/json":{"schema":{},"example":'
      .. '{"detail":"x"}}}}', json.encode(items.responses["404"]))
    assert.equal("Service Unavailable", items.responses["503"].description)
    local notify = value.paths["/notify"].post
    assert.equal('{"required":false,"content":{"text/plain":{"schema":{"type":"string"}}}}',
      json.encode(notify.requestBody))
    assert.equal('{"description":"done","content":{"text/plain":{"schema":{"type":"string"}}}}',
      json.encode(notify.responses["200"]))
  end)
end)
