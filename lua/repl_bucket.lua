--- repl_bucket (kernel): the console of a bucket without a service: what `anomalyd repl --bucket`
-- starts and speaks with. Nothing is queued, watched or reconciled; without --write nothing is
-- written.
local console = require("console")
local host = require("host")
local reload = require("reload")
local scripts_dir = require("scripts_dir")
local store = require("store")

local repl_bucket = {}

--- S3 has no such mode, so it is kept here.
local function reading_only(bucket)
  local function refuse() return nil, "this session only reads (see --write)", "ReadOnly" end
  return setmetatable({ put = refuse, delete = refuse }, { __index = function(_, name)
    local value = bucket[name]
    if type(value) ~= "function" then return value end
    return function(_, ...) return value(bucket, ...) end
  end })
end

local function open(given)
  local handle, message, code = store.open(given.bucket, { read_only = not given.write })
  if not handle then
    return nil, ("cannot open the bucket %s: %s"):format(given.bucket, message or code)
  end
  if not given.write and handle.kind == "s3" then handle.bucket = reading_only(handle.bucket) end
  return handle
end

--- Serve the one session on the descriptor given.serve.
function repl_bucket.run(given, fail)
  host.log_setup({ level = "error", stderr = true })
  host.configure({ slice = 3600 })
  local scripts, message = scripts_dir.find(given.scripts)
  if not scripts then return fail(2, message) end
  local handle, why = open(given)
  if not handle then return fail(1, why) end
  local shared = { options = given, handle = handle, started = host.now(), generation = 0 }
  shared.current = function() return shared.context end
  local loader = reload.new(scripts, shared)
  local ok, problem = loader:load("start")
  if not ok then return fail(1, "the scripts cannot be loaded: " .. problem) end
  shared.reload = function(cause) return loader:now(cause) end
  shared.console = console.new(function() return shared.built.require("repl") end, {
    read_only = not given.write, ended = function() host.exit(0) end,
    welcome = function()
      return ("anomalyd %s, bucket %s by itself, %s\n:help lists what can be done here"):format(
        host.version, handle.name, given.write and "writing" or "reading only")
    end })
  loader.on_new = function() shared.console:renew() end
  shared.console.server:adopt(given.serve)
end

return repl_bucket
