--- openapi: the OpenAPI 3.1 document of an application, from its route table alone.
--
-- Shaped as FastAPI's, so that what reads the one reads the other: parameters with their limits, a
-- 422 where something is checked, HTTPValidationError among the components.
local json = require("json")
local response = require("response")

local openapi = {}

local OPERATION = { "tags", "summary", "description", "operationId", "parameters", "requestBody",
  "responses" }
local PARAMETER = { "name", "in", "required", "description", "schema", "example" }
local SCHEMA = { "type", "enum", "minimum", "maximum", "minLength", "maxLength", "default", "title",
  "description", "examples" }

-- "last_updated" -> "Last Updated", as FastAPI titles a parameter.
local function title_of(name)
  return (name:gsub("_", " "):gsub("(%a)(%w*)", function(first, rest)
    return first:upper() .. rest
  end))
end

local function schema_of(name, declaration)
  return json.object(SCHEMA, {
    type = declaration.type,
    enum = declaration.enum and json.array(declaration.enum),
    minimum = declaration.minimum, maximum = declaration.maximum,
    minLength = declaration.min_length, maxLength = declaration.max_length,
    default = declaration.default,
    title = title_of(name),
  })
end

local function parameter(name, place, declaration)
  return json.object(PARAMETER, {
    name = name,
    ["in"] = place,
    required = place == "path" or declaration.required == true,
    description = declaration.description,
    schema = schema_of(name, declaration),
    example = declaration.example,
  })
end

local function parameters(route)
  local list = json.array()
  for _, name in ipairs(route.param_names) do
    list[#list + 1] = parameter(name, "path", route.params[name])
  end
  for _, name in ipairs(route.query_names) do
    list[#list + 1] = parameter(name, "query", route.query[name])
  end
  return #list > 0 and list or nil
end

local function fields_schema(route)
  local fields, required, properties = route.options.body.fields, json.array(), json.object()
  for _, name in ipairs(route.field_names) do
    local declaration = fields[name]
    properties[name] = schema_of(name, declaration)
    properties[name].description = declaration.description
    if declaration.example ~= nil then
      properties[name].examples = json.array({ declaration.example })
    end
    if declaration.required then required[#required + 1] = name end
  end
  return json.object({ "type", "properties", "required" }, {
    type = "object", properties = properties, required = #required > 0 and required or nil,
  })
end

local function request_body(route)
  local body = route.options.body
  if not body then return nil end
  local shape = json.object()
  if route.field_names then shape = fields_schema(route)
  elseif body.type == "text" then shape.type = "string" end
  local content = { schema = shape, example = body.example }
  return json.object({ "description", "required", "content" }, {
    description = body.description,
    required = body.required ~= false,
    content = json.object(nil, {
      [body.type == "json" and "application/json" or "text/plain"] =
        json.object({ "schema", "example" }, content),
    }),
  })
end

local function answer(description, kind, shape, example)
  return json.object({ "description", "content" }, {
    description = description,
    content = kind and json.object(nil, {
      [kind] = json.object({ "schema", "example" }, { schema = shape, example = example }),
    }),
  })
end

local function can_be_unprocessable(route)
  return #route.param_names + #route.query_names > 0 or route.options.body ~= nil
end

local function responses(route)
  local all, keys = json.object(), {}
  for status, about in pairs(route.options.responses or {}) do
    local kind = about.type or "application/json"
    local shape = kind == "application/json" and json.object() or { type = "string" }
    all[tostring(status)] = answer(about.description or response.reason(status),
      kind, shape, about.example)
  end
  if not all["200"] then
    all["200"] = answer("Successful Response", "application/json", json.object())
  end
  if can_be_unprocessable(route) and not all["422"] then
    all["422"] = answer("Validation Error", "application/json",
      { ["$ref"] = "#/components/schemas/HTTPValidationError" })
  end
  for status in pairs(all) do keys[#keys + 1] = status end
  table.sort(keys)
  return json.object(keys, all)
end

-- "GET /baseline/{channel}" -> "get_baseline_channel".
local function operation_id(route)
  local words = route.path:gsub("[^%w]+", "_"):gsub("^_+", ""):gsub("_+$", "")
  return route.method:lower() .. "_" .. (words == "" and "root" or words)
end

local function operation(route)
  local options = route.options
  return json.object(OPERATION, {
    tags = options.tag and json.array({ options.tag }),
    summary = options.summary,
    description = options.description,
    operationId = operation_id(route),
    parameters = parameters(route),
    requestBody = request_body(route),
    responses = responses(route),
  })
end

-- The body of a 422, as FastAPI describes it.
local function components()
  local function object(keys, properties, required, title)
    return json.object({ "properties", "type", "required", "title" }, {
      properties = json.object(keys, properties), type = "object",
      required = required and json.array(required), title = title,
    })
  end
  local place = { anyOf = json.array({ { type = "string" }, { type = "integer" } }) }
  return { schemas = json.object({ "HTTPValidationError", "ValidationError" }, {
    HTTPValidationError = object({ "detail" }, {
      detail = json.object({ "items", "type", "title" }, {
        items = { ["$ref"] = "#/components/schemas/ValidationError" },
        type = "array", title = "Detail",
      }),
    }, nil, "HTTPValidationError"),
    ValidationError = object({ "loc", "msg", "type", "input", "ctx" }, {
      loc = json.object({ "items", "type", "title" },
        { items = place, type = "array", title = "Location" }),
      msg = json.object({ "type", "title" }, { type = "string", title = "Message" }),
      type = json.object({ "type", "title" }, { type = "string", title = "Error Type" }),
      input = { title = "Input" },
      ctx = json.object({ "type", "title" }, { type = "object", title = "Context" }),
    }, { "loc", "msg", "type" }, "ValidationError"),
  }) }
end

--- The document of the routes that are not hidden, in the order in which they were declared: a
-- value for json.encode. `info` = {title, version, description}.
function openapi.document(app, info)
  local paths, keys = json.object(), {}
  for _, route in ipairs(app.routes) do
    if not route.options.hidden then
      if not paths[route.path] then
        paths[route.path] = json.object({ "get", "put", "post", "delete", "patch" })
        keys[#keys + 1] = route.path
      end
      paths[route.path][route.method:lower()] = operation(route)
    end
  end
  return json.object({ "openapi", "info", "paths", "components" }, {
    openapi = "3.1.0",
    info = json.object({ "title", "description", "version" }, {
      title = info.title, description = info.description, version = info.version,
    }),
    paths = json.object(keys, paths),
    components = components(),
  })
end

return openapi
