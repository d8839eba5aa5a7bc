--- serve (kernel): the service's life: open the bucket, build the first generation, listen, watch,
-- reload, reconcile, and drain when told to stop.
local config = require("config")
local console = require("console")
local host = require("host")
local reload = require("reload")
local scripts_dir = require("scripts_dir")
local supervisor = require("supervisor")
local task = require("task")

local serve = {}

local shared

--- What outlives every generation. The first one adds its queue, baseline, history and metrics; no
-- function of a generation is kept in it, except in `context`, which is the current one's.
local function new_shared(options, handle)
  local state = { options = options, handle = handle, started = host.now(), generation = 0 }
  state.current = function() return state.context end
  return state
end

-- ---- the bucket ----

local function open_bucket(options, fail)
  if not options.bucket then
    return fail(2, "no bucket: set BUCKET_NAME or --bucket to an S3 bucket's name or a directory "
      .. "(./bucket)")
  end
  local store = require("store")
  local handle, message, code = store.open(options.bucket, { create = true })
  if not handle then
    return fail(1, ("cannot open the bucket %s: %s"):format(options.bucket, message or code))
  end
  if handle.bucket.writable then
    local ok, why = handle.bucket:writable()
    if not ok then return fail(1, why) end
  end
  return handle
end

--- A directory bucket's events: a file under raw/ that was closed after writing or moved in.
local function watch_bucket(handle)
  local function on_change(event)
    if event.kind == "removed" then return end
    if event.kind == "rescan" then
      shared.look_now:fire()
      return
    end
    local key = "raw/" .. event.name
    local context = shared.context
    if not context.is_input(key) then return end
    local complete, size = handle.bucket:complete(key)
    while complete == false and not shared.draining do
      task.sleep(0.05)
      complete, size = handle.bucket:complete(key)
    end
    local taken, reason = context.accept({ key = key, size = complete and size or nil,
      source = "directory" })
    if not taken then host.log("warning", "not queued; the next look finds it", { key = key,
      reason = reason }) end
  end
  local watcher, message = require("watch").open(handle.path .. "/raw", on_change)
  if not watcher then
    host.log("warning", "the bucket's directory cannot be watched; it is looked at now and then",
      { reason = message })
  end
  shared.bucket_watch = watcher
end

--- Look whether the bucket is there, and for missed batches. @return as reconcile.run
local function look()
  local bucket = shared.handle.bucket
  if bucket.writable then
    local ok, message = bucket:writable()
    if not ok then return nil, message end
  end
  return shared.context.reconcile()
end

--- Queue what a look found beyond what the queue should hold, while further looks go on: a full
-- ledger waits for one.
local function follow_up(rest)
  if shared.following then return end
  shared.following = true
  host.log("info", "there are more than the queue should hold; they follow as it empties")
  task.spawn(function()
    local _ <close> = setmetatable({}, { __close = function() shared.following = nil end })
    host.log("info", "all that was found is queued", { queued = rest() })
  end)
end

--- Look for missed batches at start and then now and then; tell when the bucket is away.
local function keep_reconciled(options)
  shared.look_now = task.signal()
  local pause = 0.5
  while not shared.draining do
    local queued, rest = look()
    if queued then
      if queued > 0 then host.log("info", "reconcile found batches", { queued = queued }) end
      shared.bucket_error = nil
      pause = 0.5
      supervisor.ready(shared)
      if rest then follow_up(rest) end
      shared.look_now:wait(options.reconcile_seconds)
    else
      local reason = tostring(rest)
      shared.bucket_error = reason
      host.log("error", "the bucket cannot be read; trying again", { reason = reason,
        seconds = pause })
      supervisor.tell(shared)
      task.sleep(pause)
      pause = math.min(pause * 2, 60)
    end
  end
end

local function measure_lag()
  while true do
    local began = host.now()
    task.sleep(1)
    shared.loop_lag = math.max(0, host.now() - began - 1)
  end
end

-- ---- stopping ----

local function stop(signal)
  if shared.draining then return end
  shared.draining = true
  host.log("info", "shutting down", { signal = signal })
  local deadline = host.now() + shared.options.drain_timeout
  supervisor.stopping(shared)
  shared.server:stop()
  shared.look_now:fire()
  local done, left = shared.context.drain(deadline - host.now())
  while shared.server:in_flight() > 0 and host.now() < deadline do task.sleep(0.02) end
  local requests = shared.server:in_flight()
  if not done or requests > 0 then
    host.log("error", "stopped before everything was finished", { batches = left,
      requests = requests })
    return host.exit(1)
  end
  host.log("info", "finished; everything accepted is scored or will be found at the next start")
  host.exit(0)
end

-- ---- starting ----

local function listen(options, fail)
  local wrong = (options.tls_cert or options.tls_key) and require("tls").incomplete(options)
  if wrong then return fail(2, wrong) end
  local server, message = require("server").listen({
    host = options.host, port = options.port, max_body = options.max_body,
    max_head = options.max_head, head_seconds = options.head_timeout,
    body_seconds = options.body_timeout, idle_seconds = options.keep_alive,
    max_connections = options.max_connections, tls_cert = options.tls_cert,
    tls_key = options.tls_key,
    handler = function(request) return shared.context.handle(request) end,
  })
  if not server then return fail(1, message) end
  return server
end

--- What a console session says first.
local function welcome()
  return ("anomalyd %s, bucket %s, generation %d, pid %d%s\n:help lists what can be done here")
    :format(host.version, shared.handle.name, shared.generation, host.pid(),
    shared.reload_error and "\nthe last reload was refused (:gen says why)" or "")
end

--- The console. One that was asked for must be there; the usual one may belong to another service.
local function open_console(options, loader, fail)
  if options.console == "none" then return true end
  shared.console = console.new(function() return shared.built.require("repl") end,
    { welcome = welcome })
  loader.on_new = function() shared.console:renew() end
  local path, message = shared.console:listen(options.console)
  if path then
    host.log("info", "console at " .. path .. " (anomalyd repl)")
  elseif options.console then
    fail(1, "no console: " .. message)
    return nil
  else
    host.log("warning", "no console (set --console PATH): " .. message)
  end
  return true
end

local function say_running(options, handle)
  local shown = options.host:find(":", 1, true) and "[" .. options.host .. "]" or options.host
  host.log("info", ("anomalyd %s on %s://%s:%d (bucket %s, generation %d, pid %d)"):format(
    host.version, options.tls_cert and "https" or "http", shown, shared.server.port, handle.name,
    shared.generation, host.pid()))
  if options.insecure_sns then
    host.log("warning",
      "--insecure-sns: unsigned SNS messages are believed; never on a public port")
  end
end

--- Run the service until it is told to stop.
-- @param options from options.parse
-- @param fail function(code, message): ends the process
function serve.run(options, fail)
  host.log_setup({ level = options.log_level, json = options.log_format == "json" })
  host.configure({ workers = options.workers, slice = options.script_slice,
    lua_memory = options.lua_memory })
  for _, text in ipairs(config.strangers()) do host.log("warning", text) end
  supervisor.starting(options)
  local scripts, message = scripts_dir.find(options.scripts)
  if not scripts then return fail(2, message) end
  local handle = open_bucket(options, fail)
  if not handle then return end
  shared = new_shared(options, handle)
  local loader = reload.new(scripts, shared)
  local ok, why = loader:load("start")
  if not ok then return fail(1, "the scripts cannot be loaded: " .. why) end
  shared.server = listen(options, fail)
  if not shared.server then return end
  shared.reload = function(cause) return loader:now(cause) end
  host.on_signal(function(signal)
    if signal ~= "SIGHUP" then return stop(signal) end
    if options.tls_cert then require("tls").reload(shared, signal) end
    loader:now(signal)
  end)
  if not open_console(options, loader, fail) then return end
  if options.reload then loader:watch() end
  say_running(options, handle)
  if handle.kind == "directory" then watch_bucket(handle) end
  task.spawn(keep_reconciled, options)
  task.spawn(measure_lag)
  task.spawn(supervisor.keep_telling, shared)
  if options.tls_cert then task.spawn(require("tls").keep_fresh, shared) end
end

return serve
