--- reconcile: find the inputs that have neither a summary nor a failure record, and queue them.
--
-- Run at start and every few minutes: events can be lost, and a crash leaves work behind. An input
-- whose content is known by its etag is compared exactly; where the list has no etags (a directory
-- bucket), one that did not change since it was scored is done.
local history = require("history")
local keys = require("keys")

local reconcile = {}

--- Seconds since 1970 of a "2026-02-27T01:56:54.825950" in UTC, or nil.
local function seconds_of(text)
  local y, mo, d, h, mi, s = (text or ""):match("^(%d+)%-(%d+)%-(%d+)T(%d+):(%d+):([%d%.]+)")
  if not y then return nil end
  y, mo, d = math.tointeger(tonumber(y)), math.tointeger(tonumber(mo)), math.tointeger(tonumber(d))
  if mo <= 2 then y, mo = y - 1, mo + 12 end
  local days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * (mo - 3) + 2) // 5 + d - 719469
  return days * 86400 + tonumber(h) * 3600 + tonumber(mi) * 60 + tonumber(s)
end
reconcile.seconds_of = seconds_of

local function settled(object, etag, at)
  if object.etag and etag then return object.etag == etag end
  local then_ = seconds_of(at)
  return then_ ~= nil and object.last_modified ~= nil and object.last_modified <= then_
end

--- Is this input neither scored nor recorded as hopeless, as far as we know now?
local function is_open(state, object)
  local name = keys.name(object.key)
  if not name then return false end
  local batch, failure = state.batches[name], state.failures[name]
  return not (batch and settled(object, batch.etag, batch.processed_at)) and
    not (failure and settled(object, failure.etag, failure.at))
end

--- What is to be done.
-- @return list of {key, etag, last_modified} in the order of their age; or nil, message, code
function reconcile.plan(context)
  local state = context.history_state
  local objects, message, code = history.keys(context.store, keys.raw)
  if not objects then return nil, message, code end
  local open = {}
  for _, object in ipairs(objects) do
    if is_open(state, object) then open[#open + 1] = object end
  end
  table.sort(open, function(a, b)
    local at, bt = a.last_modified or 0, b.last_modified or 0
    if at ~= bt then return at < bt end
    return a.key < b.key
  end)
  return open
end

--- Look, and queue what is open.
-- @return how many were queued; or nil, message, code
function reconcile.run(context)
  local ok, message = history.refresh(context.history_state)
  if not ok then return nil, message end
  local open, why, code = reconcile.plan(context)
  if not open then return nil, why, code end
  local queued = 0
  for _, object in ipairs(open) do
    -- An event may have brought it to its end since the list was made.
    if context.is_complete(object.key) and is_open(context.history_state, object) then
      local taken, reason = context.accept({ key = object.key, etag = object.etag,
        source = "reconcile" })
      if not taken then
        context.log("info", "reconcile stopped early", { reason = reason })
        break
      end
      if taken == "queued" then queued = queued + 1 end
    end
  end
  return queued
end

return reconcile
