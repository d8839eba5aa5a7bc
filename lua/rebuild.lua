--- rebuild: the baseline as the summaries tell it.
--
-- A summary carries the moments of what its batch brought to each channel. They are merged in the
-- order in which the batches were scored, by the formula of Chan, Golub and LeVeque (1979) for the
-- moments of two samples put together, which is exact but for rounding. Two things a summary does
-- not tell: what was in the baseline before the first batch (a file that was put there by hand),
-- and numbers that were lost (see learning.lua): then the result differs, and is said to.
local baseline = require("baseline")
local history = require("history")
local json = require("json")
local keys = require("keys")
local ledger = require("ledger")
local task = require("task")
local together = require("together")

local rebuild = {}

local READERS, CHUNK = 16, 500
local TOLERANCE = 1e-9 -- relative, of what rounding may do to sums in another order

local function finite(x) return type(x) == "number" and x == x and math.abs(x) ~= math.huge end

--- Are these the moments of something?
local function is_moments(m)
  return type(m) == "table" and finite(m.count) and m.count >= 0 and finite(m.mean) and
    finite(m.M2) and m.M2 >= 0
end

--- Fold the moments `m` into `state` (nil: none yet). @return new {count, mean, M2, std}
function rebuild.merge(state, m)
  local count, mean, m2 = m.count, m.mean + 0.0, m.M2 + 0.0
  if state and state.count > 0 then
    count = state.count + m.count
    if count == 0 then return state end
    local delta = m.mean - state.mean
    mean = state.mean + delta * (m.count / count)
    m2 = state.M2 + m.M2 + delta * delta * (state.count * (m.count / count))
  end
  return { count = count, mean = mean, M2 = m2, std = count < 2 and 0.0 or math.sqrt(m2 / count) }
end

local function read(context, name)
  local found, message, code = context.store:get(keys.summary(name))
  if not found then
    if code == "NoSuchKey" then return nil end
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

local function names_of(list)
  local known = {}
  if type(list) == "table" then
    for _, name in ipairs(list) do known[name] = true end
  end
  return known
end

local function fade(state, n, half_life)
  if not state or not finite(half_life) or half_life <= 0 then return state end
  local share = 0.5 ^ (n / half_life)
  return { count = state.count * share, mean = state.mean, M2 = state.M2 * share }
end

--- Fold one summary in. @return the object after it
local function take(object, summary)
  local changes, order = {}, {}
  local learned = type(summary.learned_moments) == "table" and summary.learned_moments or {}
  local unlearned = names_of(summary.unlearned_channels)
  local policy = type(summary.policy) == "table" and summary.policy or {}
  for _, name in ipairs(json.keys(summary.batch_moments)) do
    local all = summary.batch_moments[name]
    local m = is_moments(learned[name]) and learned[name] or all
    if is_moments(m) and not unlearned[name] then
      order[#order + 1] = name
      local before = object.channels[name]
      if m.count > 0 or not before then
        changes[name] = rebuild.merge(fade(before, all.count, policy.half_life), m)
      end
    end
  end
  return baseline.with(object, changes, order, summary.processed_at)
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
  table.sort(good, in_order)
  local object, marks, contents = baseline.empty(), {}, {}
  for i, one in ipairs(good) do
    object = take(object, one.summary)
    contents[one.name] = { etag = one.summary.source_etag, changed = one.summary.source_changed }
    marks[ledger.mark(keys.input(one.name), tostring(one.summary.source_etag))] = true
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
