--- rebuild: the baseline as the summaries tell it.
--
-- A summary carries the moments of what its batch brought to each channel. They are merged in the
-- order in which the batches were scored, which is exact but for rounding. What a summary does not
-- tell: what was in the baseline before the first batch (a file that was put there by hand),
-- numbers that were lost (see learning.lua), a content that was counted and replaced before it was
-- scored, and with a half-life when an earlier content of the same key was counted. Then the result
-- differs, and is said to.
local baseline = require("baseline")
local earlier = require("earlier")
local gently = require("gently")
local history = require("history")
local json = require("json")
local keys = require("keys")
local ledger = require("ledger")
local moments = require("moments")
local task = require("task")
local together = require("together")

local rebuild = {}

local READERS, CHUNK = 16, 500
local MOST_SUMMARY = 16 * 1024 * 1024
local TOLERANCE = 1e-9 -- relative, of what rounding may do to sums in another order

local function read(context, name)
  local found, message, code = context.store:get(keys.summary(name), { limit = MOST_SUMMARY })
  if not found then
    if code == "NoSuchKey" then return nil end
    if code == "TooLarge" then return { name = name } end
    error(message, 0)
  end
  local summary = json.decode(found.body)
  if type(summary) ~= "table" or type(summary.batch_moments) ~= "table" or
    type(summary.processed_at) ~= "string" then
    return { name = name }
  end
  return { name = name, summary = summary }
end

local function in_order(a, b)
  local at, bt = a.summary.processed_at, b.summary.processed_at
  if at ~= bt then return at < bt end
  return a.name < b.name
end

local function fade(state, n, half_life)
  if not state or not (type(half_life) == "number" and half_life > 0) then return state end
  local share = 0.5 ^ (n / half_life)
  return { count = state.count * share, mean = state.mean, M2 = state.M2 * share }
end

--- Fold one summary in, and what it says of earlier contents. @return the object after it
local function take(object, summary)
  local channels, order = {}, {}
  local function fold(list, names, half_life)
    for _, name in ipairs(names) do
      local m, before = list[name], channels[name] or object.channels[name]
      if m.count > 0 or not before then
        local whole = summary.batch_moments[name]
        local n = moments.are(whole) and whole.count or m.count
        order[#order + 1] = name
        channels[name] = moments.merge(fade(before, n, half_life), m)
      end
    end
  end
  fold(earlier.moments(summary))
  if summary.counted_earlier ~= true then
    local brought, names = moments.brought(summary)
    fold(brought, names, type(summary.policy) == "table" and summary.policy.half_life)
  end
  return baseline.with(object, channels, order, summary.processed_at)
end

--- Compute the baseline from all summaries in the bucket. Waits.
-- @return {object, batches = how many, skipped = {names of summaries that say no moments}, marks =
--   {the ledger's mark of each = true}, contents = {name = {etag, changed} of the input}}; or nil,
--   message, code
function rebuild.compute(context)
  local objects, message, code = history.keys(context.store, keys.processed)
  if not objects then return nil, message, code end
  local wanted, good, skipped = {}, {}, {}
  for _, object in ipairs(objects) do wanted[#wanted + 1] = keys.name_of_summary(object.key) end
  local ok, problem = together.each(wanted, READERS, function(name)
    local one = read(context, name)
    if one and one.summary then
      good[#good + 1] = one
    elseif one then
      skipped[#skipped + 1] = name
    end
  end)
  if not ok then return nil, problem, "Unreadable" end
  good = gently.sorted(good, in_order)
  local object, marks, contents = baseline.empty(), {}, {}
  for i, one in ipairs(good) do
    object = take(object, one.summary)
    contents[one.name] = { etag = one.summary.source_etag, changed = one.summary.source_changed }
    marks[ledger.mark(keys.input(one.name), tostring(one.summary.source_etag))] = true
    for _, etag in ipairs(earlier.etags(one.summary)) do
      marks[ledger.mark(keys.input(one.name), etag)] = true
    end
    if i % CHUNK == 0 then task.sleep(0) end
  end
  table.sort(skipped)
  return { object = object, batches = #good, skipped = skipped, marks = marks,
    contents = contents }
end

--- How many marks of a ledger have no summary: counted in the baseline, not in the rebuilt one.
function rebuild.uncovered(result, marks)
  local n = 0
  for mark in pairs(marks) do
    if not result.marks[mark] then n = n + 1 end
  end
  return n
end

local function near(a, b)
  return math.abs(a - b) <= TOLERANCE * math.max(math.abs(a), math.abs(b), 1e-300)
end

--- How two baselines differ, channel by channel. Rounding is no difference.
-- @return list of texts; empty when they agree
function rebuild.differences(ours, theirs)
  local list, seen = {}, {}
  local function compare(name)
    if seen[name] then return end
    seen[name] = true
    local a, b = ours.channels[name], theirs.channels[name]
    if not a or not b then
      list[#list + 1] = ("%s: only in the %s"):format(name, a and "summaries" or "baseline")
      return
    end
    for _, field in ipairs({ "count", "mean", "M2" }) do
      -- A sum of squares is as exact as the values it comes from.
      local slack = field == "M2" and TOLERANCE * a.count * a.mean * a.mean or 0
      if not near(a[field], b[field]) and math.abs(a[field] - b[field]) > slack then
        list[#list + 1] = ("%s: %s is %.17g in the baseline, %.17g by the summaries"):format(name,
          field, b[field], a[field])
      end
    end
  end
  for _, name in ipairs(ours.order) do compare(name) end
  for _, name in ipairs(theirs.order) do compare(name) end
  return list
end

return rebuild
