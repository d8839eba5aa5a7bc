--- store: the bucket, whichever kind it is, with its requests counted.
--
-- A bucket's kind follows from its name: with a `/` or a leading `.` it is a directory, else S3.
-- Both have get, put, head, delete and list with the same arguments, answers and codes.
local faults = require("faults")
local host = require("host")
local put_group = require("put_group")
local task = require("task")

local store = {}

--- Is it a directory bucket's name?
function store.is_directory(name) return name:find("/", 1, true) ~= nil or name:sub(1, 1) == "." end

--- Open a bucket.
-- @param name as given to --bucket
-- @param options {read_only, create}
-- @return the bucket; or nil, message, code
function store.open(name, options)
  if store.is_directory(name) then
    local bucket, message, code = require("directory").open(name, options)
    if not bucket then return nil, message, code end
    -- There to be watched, and for people to see where files go.
    if options and options.create then host.make_directory(name .. "/raw") end
    return { kind = "directory", path = name, name = bucket.name, bucket = bucket,
      put = put_group.of(bucket, task) }
  end
  local client, message, code = require("s3").client({ bucket = name })
  if not client then return nil, message, code end
  return { kind = "s3", name = name, bucket = client }
end

local function note(metrics, operation, began, result, code)
  metrics.count("anomalyd_store_requests_total",
    { operation = operation, status = result and "ok" or code or "error" })
  metrics.observe("anomalyd_store_request_seconds", { operation = operation }, host.now() - began)
end

local function measured(handle, metrics, operation)
  local bucket = handle.bucket
  local gather = operation == "put" and handle.put
  return function(_, ...)
    local began = host.now()
    local result, message, code
    if gather then
      result, message, code = gather(...)
    else
      result, message, code = bucket[operation](bucket, ...)
    end
    note(metrics, operation, began, result, code)
    return result, message, code
  end
end

--- The iterator over a list's pages, each page counted as the request that it is; so is the first
-- call on an empty list.
local function measured_list(handle, metrics, options)
  local next_page, state, control = handle.bucket:list(options)
  local first = true
  return function()
    local began = host.now()
    local page, message, code = next_page(state, control)
    control = page
    if first or page ~= nil then note(metrics, "list", began, page ~= false, code) end
    first = false
    return page, message, code
  end
end

--- A face of an open bucket that counts what is asked of it; one for each generation.
function store.counted(handle, metrics)
  local face = { kind = handle.kind, name = handle.name, path = handle.path,
    bucket = handle.bucket }
  local bucket = faults.around(handle.bucket)
  local counted = { bucket = bucket, put = bucket == handle.bucket and handle.put or nil }
  for _, operation in ipairs({ "get", "put", "head", "delete" }) do
    face[operation] = measured(counted, metrics, operation)
  end
  function face.list(_, options) return measured_list(counted, metrics, options) end
  return face
end

--- What an S3 bucket says of itself (s3.lua's info); nil for a directory.
function store.info(handle) return handle.kind == "s3" and handle.bucket:info() or nil end

return store
