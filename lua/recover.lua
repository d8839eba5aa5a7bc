--- recover: a baseline that cannot be read is set aside and computed anew, so that every batch is
-- in it once, whatever other hosts are doing meanwhile.
--
-- From the summaries (rebuild.lua) comes every batch that has one. Which batches were counted and
-- have none yet is not known: the ledger went with the object, and a host that is about to write a
-- summary will not ask again. So inputs without a summary are taken in from their content and named
-- in the new ledger: each of them is then counted and not yet scored, and is treated as such by
-- whoever holds it or finds it. The ledger's room bounds how many; they are taken in the order of
-- their age, in which hosts take them up. A ledger that is still there says which they are.
local baseline = require("baseline")
local batch = require("batch")
local content = require("content")
local gently = require("gently")
local history = require("history")
local keys = require("keys")
local learning = require("learning")
local ledger = require("ledger")
local rebuild = require("rebuild")
local steps = require("steps")
local task = require("task")

local CHUNK = 1000

--- Inputs that have no summary of their content, the oldest first; or nil, message, code
local function open_inputs(contents, context)
  local objects, message, code = history.keys(context.store, keys.raw)
  if not objects then return nil, message, code end
  local list = {}
  for i, object in ipairs(objects) do
    local name = keys.name(object.key)
    if name and not content.tells(object, contents[name]) and context.is_complete(object.key) then
      list[#list + 1] = object
    end
    if i % CHUNK == 0 then task.sleep(0) end
  end
  return gently.sorted(list, content.is_older)
end

--- The baseline after this content; `object` as it is for one that can never be scored.
-- @return object, mark or nil when it is not counted; or nil, message, code
local function take_in(object, input, result, wanted, context)
  if wanted and input.etag and not wanted[ledger.mark(input.key, input.etag)] then return object end
  local found, message, code = context.store:get(input.key, { limit = context.limits.max_bytes })
  if not found then
    if code == "NoSuchKey" or code == "TooLarge" then return object end
    return nil, message, code
  end
  local mark = ledger.mark(input.key, found.etag)
  if result.marks[mark] or (wanted and not wanted[mark]) then return object end
  local self = batch.open(found.body, context.policy, object.order, context.limits)
  if not self then return object end
  return learning.update(object, self, context.policy, context.utc()), mark
end

--- @return the baseline and the marks of what was taken in; or nil, message, code
local function take_all_in(result, wanted, context)
  local list, message, code = open_inputs(result.contents, context)
  if not list then return nil, message, code end
  local object, marks, room = result.object, {}, ledger.limit
  if wanted then room = math.min(room, rebuild.uncovered(result, wanted)) end
  for _, input in ipairs(list) do
    if room == 0 then break end
    local after, mark, why = take_in(object, input, result, wanted, context)
    if not after then return nil, mark, why end
    object = after
    if mark then
      marks[mark] = true
      room = room - 1
    end
  end
  return object, marks
end

--- Set aside what was found, once; the next host to come by finds it there.
local function set_aside(found, why, context)
  local key = ("state/baseline_unreadable_%s.json"):format(found.etag:gsub("%W", ""))
  context.log("error",
    "the baseline cannot be read; it is set aside and rebuilt from the summaries",
    { key = keys.baseline, aside = key, reason = why })
  local put, message, code = context.store:put(key, found.body,
    { content_type = "application/json", if_none_match = "*" })
  if not put and code ~= "PreconditionFailed" then return nil, message, code end
  return true
end

--- Write the baseline anew in the place of one that cannot be read. Waits.
-- @param found the object as it was got
-- @return {object, etag, marks}; or nil, message, code
return function(found, why, context)
  local kept, message, code = set_aside(found, why, context)
  if not kept then return nil, message, code end
  local result
  result, message, code = rebuild.compute(context)
  if not result then return nil, message, code end
  steps.at("rebuilt")
  local text = (found.metadata or {})[ledger.metadata]
  local object, marks, trouble = take_all_in(result, text and ledger.parse(text), context)
  if not object then return nil, marks, trouble end
  local put
  put, message, code = context.store:put(keys.baseline, baseline.format(object),
    { if_match = found.etag, content_type = "application/json",
      metadata = { [ledger.metadata] = ledger.format(marks) } })
  if not put then return nil, message, code end
  context.log("warning", "the baseline was rebuilt", { batches = result.batches,
    skipped = #result.skipped, unscored = ledger.count(marks) })
  return { object = object, etag = put.etag, marks = marks }
end
