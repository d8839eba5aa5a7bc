--- status: alive, ready, and the figures of the running process.
local context = require("context")
local host = require("host")
local json = require("json")
local queue = require("queue")
local response = require("response")
local store = require("store")

local status = {}

--- With which keys S3 is asked: where they are from and when they expire, never the keys.
local function credentials_of(shared)
  local info = store.info(shared.handle)
  local keys = info and info.credentials
  if not keys then return nil end
  return json.object({ "source", "expires", "message" }, { source = keys.source,
    expires = keys.expires and host.utc(keys.expires), message = keys.message })
end

--- GET /health: alive, in the form of the service this replaces, and what the console shows first.
function status.health()
  local shared = context.shared
  local body = {
    status = "ok", bucket = shared.handle.name, timestamp = host.utc(),
    generation = shared.generation, reload_error = shared.reload_error,
    bucket_reachable = shared.bucket_error == nil, bucket_error = shared.bucket_error,
    version = host.version, uptime_seconds = math.floor(host.now() - shared.started),
    credentials = credentials_of(shared),
  }
  return json.object({ "status", "bucket", "timestamp", "version", "uptime_seconds", "generation",
    "reload_error", "bucket_reachable", "bucket_error", "credentials" }, body)
end

--- What keeps S3's requests from being signed, or nil.
local function missing_keys(shared)
  local info = store.info(shared.handle)
  local keys = info and info.credentials
  if not keys or not keys.message then return nil end
  if keys.expires and keys.expires > host.time() then return nil end
  return keys.message
end

--- Why no work can be taken now, or nil.
local function obstacle()
  local shared = context.shared
  if shared.draining then return "draining: the service is stopping" end
  local keys = missing_keys(shared)
  if keys then return "credentials: " .. keys end
  if not shared.history.ready then return "starting: the bucket is being read" end
  if shared.bucket_error then return "bucket: " .. shared.bucket_error end
  if shared.baseline.trouble then return "bucket: " .. shared.baseline.trouble end
  if not queue.room(shared.queue, 1) then return "queue: full" end
end

--- GET /ready: 200 when batches can be taken, 503 with the reason when not.
function status.ready()
  local reason = obstacle()
  if reason then
    return response.json(503, json.object({ "status", "reason" },
      { status = "unavailable", reason = reason }))
  end
  return { status = "ready" }
end

--- The figures that an S3 client keeps itself. A client that was made anew counts from 0.
local function set_store_figures(shared)
  local info = store.info(shared.handle)
  if not info then return end
  local seen = shared.retries_seen or 0
  context.metrics.count("anomalyd_store_retries_total", nil,
    info.retries >= seen and info.retries - seen or info.retries)
  shared.retries_seen = info.retries
  context.metrics.clear("anomalyd_credentials_expiry_seconds")
  if info.credentials.expires then
    context.metrics.set("anomalyd_credentials_expiry_seconds", nil,
      info.credentials.expires - host.time())
  end
end

--- The figures that the HTTPS port keeps itself.
local function set_tls_figures(shared)
  local pair = shared.server and shared.server:tls()
  if not pair then return end
  context.metrics.set("anomalyd_tls_certificate_expiry_seconds", nil,
    pair.not_after - host.time())
  local seen = shared.tls_failures_seen or {}
  for reason, count in pairs(pair.failures) do
    context.metrics.count("anomalyd_tls_handshake_failures_total", { reason = reason },
      count - (seen[reason] or 0))
  end
  shared.tls_failures_seen = pair.failures
end

--- The text of GET /metrics: gauges are read at this moment.
function status.metrics()
  local shared, stats, set = context.shared, host.stats(), context.metrics.set
  set("anomalyd_queue_length", nil, queue.length(shared.queue))
  set("anomalyd_batches_in_flight", nil, shared.queue.running)
  set("anomalyd_generation", nil, shared.generation)
  set("anomalyd_tasks", nil, stats.tasks)
  set("anomalyd_lua_memory_bytes", nil, stats.lua_memory)
  set("anomalyd_loop_lag_seconds", nil, shared.loop_lag or 0)
  set_store_figures(shared)
  set_tls_figures(shared)
  for _, name in ipairs({ "count", "mean", "std" }) do
    context.metrics.clear("anomalyd_baseline_" .. name)
  end
  local cached = shared.baseline.cached
  for name, channel in pairs(cached and cached.object.channels or {}) do
    set("anomalyd_baseline_count", { channel = name }, channel.count)
    set("anomalyd_baseline_mean", { channel = name }, channel.mean)
    set("anomalyd_baseline_std", { channel = name }, channel.std)
  end
  return context.metrics.text()
end

return status
