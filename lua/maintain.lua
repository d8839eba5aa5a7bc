--- maintain (kernel): the commands that look after a bucket: redrive, reconcile, rebuild.
--
-- Each works on the bucket as one more host would, by the same pipeline and conditional writes, so
-- a service may run on the same bucket meanwhile. What was done goes to stdout, what is wrong to
-- stderr. Exit codes: 0 done, 1 something is not as it should be, 2 the call was wrong.
local host = require("host")
local scripts_dir = require("scripts_dir")
local task = require("task")

local maintain = {}

local TRIES = 6      -- of one batch, or of a comparison
local LOOK_SECONDS = 2

local function say(text, ...) io.stdout:write(text:format(...), "\n") end

--- Open the bucket and build a generation on it.
-- @param quiet the level of what is logged when nothing was asked for; nil: warning
-- @return generation, context; or nothing after fail
local function open(given, fail, read_only, quiet)
  host.log_setup({ stderr = true,
    level = given.sources.log_level == "default" and (quiet or "warning") or given.log_level })
  host.configure({ workers = given.workers, slice = 10 })
  if not given.bucket then
    return fail(2, "no bucket: set BUCKET_NAME or --bucket to an S3 bucket's name or a directory")
  end
  local scripts, message = scripts_dir.find(given.scripts)
  if not scripts then return fail(2, message) end
  local handle, why, code = require("store").open(given.bucket, { read_only = read_only })
  if not handle then
    return fail(1, ("cannot open the bucket %s: %s"):format(given.bucket, why or code))
  end
  local shared = { options = given, handle = handle }
  shared.current = function() return shared.context end
  local built, context = scripts_dir.build(1, scripts, shared)
  if not built then return fail(1, "the scripts cannot be loaded: " .. context) end
  shared.context = context
  return built, context
end

-- ---- redrive ----

--- The input's key, from that or from its failure record's.
local function input_key(keys, text)
  local name = keys.name(text) or keys.name_of_failure(text)
  return name and keys.input(name)
end

--- Process one batch until it is done or it is clear that it cannot be.
local function process(context, item)
  local pause, result, message, code = 0.25, nil, nil, nil
  for _ = 1, TRIES do
    result, message, code = context.process(item)
    if result then break end
    task.sleep(pause * (0.5 + math.random()))
    pause = pause * 2
  end
  return result, message, code
end

local SAID = { done = "scored", duplicate = "was scored already, nothing to do" }

--- anomalyd redrive KEY
function maintain.redrive(given, fail)
  local built, context = open(given, fail, false, "critical")
  if not built then return end
  local keys = built.require("keys")
  local key = input_key(keys, given.key)
  if not key then
    return fail(2, ("%s is no input's key (raw/NAME.csv)"):format(given.key))
  end
  local record = context.store:head(keys.failure(keys.name(key)))
  if record then context.history.failed(key, {}) end
  local result, message, code = process(context, { key = key, attempts = 0 })
  if SAID[result] then
    if result == "duplicate" and record then context.store:delete(keys.failure(keys.name(key))) end
    say("%s: %s", key, SAID[result])
    return host.exit(0)
  end
  if result == "gone" then return fail(1, ("%s: there is no such object"):format(key)) end
  fail(1, ("%s: %s%s"):format(key, result == "failed" and "" or "not scored now: ",
    tostring(message or code)))
end

-- ---- reconcile ----

local function report_plan(built, context, fail)
  local history, reconcile = built.require("history"), built.require("reconcile")
  local ok, message = history.refresh(context.history_state)
  if not ok then return fail(1, message) end
  local open_inputs, why = reconcile.plan(context)
  if not open_inputs then return fail(1, why) end
  for _, object in ipairs(open_inputs) do say("%s: would be scored", object.key) end
  for name in pairs(context.history_state.failures) do
    say("%s: failed, see %s (anomalyd redrive)", "raw/" .. name .. ".csv",
      "failed/" .. name .. ".csv_error.json")
  end
  say("%d to be scored, %d scored, %d failed", #open_inputs, context.history_state.totals.files,
    (function()
      local n = 0
      for _ in pairs(context.history_state.failures) do n = n + 1 end
      return n
    end)())
  host.exit(0)
end

--- anomalyd reconcile [--dry-run]
function maintain.reconcile(given, fail)
  local built, context = open(given, fail, given.dry_run)
  if not built then return end
  if given.dry_run then return report_plan(built, context, fail) end
  local queue = built.require("queue")
  local queued, rest = context.reconcile()
  if not queued then return fail(1, tostring(rest)) end
  if rest then queued = queued + rest() end
  local state = context.queue_state
  while not queue.idle(state) do state.changed:wait(1) end
  for _, item in ipairs(queue.list(state, nil, queued)) do
    say("%s: %s%s", item.key, item.result, item.detail and ": " .. item.detail or "")
  end
  local counts = state.counts
  say("%d found, %d scored, %d scored by others, %d failed", queued, counts.done or 0,
    counts.duplicate or 0, counts.failed or 0)
  host.exit(0)
end

-- ---- rebuild ----

--- The kept baseline and the one that the summaries tell, of one moment: the kept one did not
-- change while the summaries were read, and each batch that its ledger names has one.
-- @return kept = {object or nil, etag, metadata, reason}, result; or nil, message
local function both(built, context)
  local rebuild, baseline = built.require("rebuild"), built.require("baseline")
  local keys, ledger = built.require("keys"), built.require("ledger")
  local uncovered = 0
  for _ = 1, TRIES do
    local found, message, code = context.store:get(keys.baseline)
    if not found and code ~= "NoSuchKey" then return nil, message end
    local result, why = rebuild.compute(context)
    if not result then return nil, why end
    local now = context.store:head(keys.baseline)
    uncovered = found and rebuild.uncovered(result,
      ledger.parse((found.metadata or {})[ledger.metadata])) or 0
    if (now and now.etag) == (found and found.etag) and uncovered == 0 then
      local object, reason
      if found then object, reason = baseline.parse(found.body) end
      return { object = object, reason = reason, etag = found and found.etag,
        metadata = found and found.metadata }, result
    end
    task.sleep(LOOK_SECONDS)
  end
  if uncovered > 0 then
    return nil, ("%d batches are counted and not scored yet: wait, or run anomalyd reconcile first")
      :format(uncovered)
  end
  return nil, "the baseline is written all the time: try again when there is less to do"
end

local function differences(built, kept, result)
  if kept.object then return built.require("rebuild").differences(result.object, kept.object) end
  if not kept.etag then
    return result.batches > 0 and { "there is no state/baseline.json" } or {}
  end
  return { kept.reason }
end

local function write(built, context, kept, result)
  -- One that cannot be read is replaced as a service would.
  if kept.reason then
    return built.require("baseline_step").load(context.baseline_state, context)
  end
  local condition = kept.etag and { if_match = kept.etag } or { if_none_match = "*" }
  condition.content_type, condition.metadata = "application/json", kept.metadata
  return context.store:put(built.require("keys").baseline,
    built.require("baseline").format(result.object), condition)
end

--- anomalyd rebuild [--write]
function maintain.rebuild(given, fail)
  local built, context = open(given, fail, not given.write)
  if not built then return end
  local kept, result = both(built, context)
  if not kept then return fail(1, result) end
  for _, name in ipairs(result.skipped) do say("skipped: %s's summary says no moments", name) end
  local list = differences(built, kept, result)
  for _, text in ipairs(list) do say("%s", text) end
  say("%d batches: the baseline %s", result.batches, #list == 0 and
    "agrees with the summaries" or "differs from the summaries")
  if #list == 0 then return host.exit(0) end
  if not given.write then return host.exit(1) end
  local put, message = write(built, context, kept, result)
  if not put then return fail(1, "not written: " .. message) end
  say("written: state/baseline.json is what the summaries tell")
  host.exit(0)
end

return maintain
