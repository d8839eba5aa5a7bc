--- learning: how a batch's values enter the baseline, as the policy says.
local baseline = require("baseline")
local column = require("column")
local zscore = require("zscore")

local learning = {}

local function finite(m)
  for _, field in ipairs({ "count", "mean", "M2", "std" }) do
    if m[field] ~= m[field] or math.abs(m[field]) == math.huge then return false end
  end
  return true
end

--- Let old observations fade by the share that `n` new ones are of the half-life.
local function fade(state, n, half_life)
  local share = 0.5 ^ (n / half_life)
  return { count = state.count * share, mean = state.mean, M2 = state.M2 * share }
end

--- A channel whose numbers were lost begins anew with this batch; the observations it had are taken
-- to have been like these, so that its count goes on and its deviation is the batch's.
local function revive(cells, lost)
  local m = column.moments(cells)
  if m.count == 0 then return lost end
  local count = lost.count + m.count
  return { count = count, mean = m.mean, M2 = m.M2 * (count / m.count), std = m.std }
end

--- What a channel's values are added to, and which of them count.
-- @return the moments so far or false, a column that is set where a cell counts or false for all
local function prepare(cells, name, state, policy)
  local keep = false
  if not policy.learn_flagged and state then
    local _, flag = zscore(cells, name, state, policy)
    keep = column.none({ flag })
  end
  if policy.half_life and state then
    state = fade(state, #cells - column.missing(cells), policy.half_life)
  end
  return state or false, keep
end

--- The channels' moments after the batch.
-- @return by name: the moments; those of what was learned, of channels of which not all was
local function learn(channels, batch, policy)
  local names, columns, states, keeps, after, learned = {}, {}, {}, {}, {}, {}
  for _, name in ipairs(batch.channels) do
    local cells, state = batch.columns[name], channels[name]
    if state and state.poisoned then
      after[name] = revive(cells, state)
    else
      local n = #names + 1
      names[n], columns[n] = name, cells
      states[n], keeps[n] = prepare(cells, name, state, policy)
    end
  end
  for i, moments in ipairs(#names > 0 and column.moments_all(columns, states, keeps) or {}) do
    after[names[i]] = moments
    learned[names[i]] = keeps[i] and column.moments(columns[i], nil, keeps[i]) or nil
  end
  return after, learned
end

--- The baseline after a batch.
-- @param object the baseline before it
-- @param batch {channels, columns}
-- @return the new baseline, the one to score the batch with, a list of channels that were not
--   learned because their moments would pass the range of a double, and the moments of what was
--   learned of those channels of which not everything was
function learning.update(object, batch, policy, now)
  local changes, overflow, poisoned = {}, {}, {}
  local moments, learned = learn(object.channels, batch, policy)
  for _, name in ipairs(batch.channels) do
    local before = object.channels[name]
    if finite(moments[name]) then
      changes[name] = moments[name]
    else
      overflow[#overflow + 1] = name
    end
    if before and before.poisoned then poisoned[#poisoned + 1] = name end
  end
  local after = baseline.with(object, changes, batch.channels, now)
  local scoring = policy.update == "after" and object or after
  if #poisoned > 0 then scoring = learning.without(scoring, poisoned) end
  return after, scoring, overflow, learned
end

--- A copy in which some channels are marked as having had no usable numbers.
function learning.without(object, names)
  local marked = {}
  for _, name in ipairs(names) do
    local channel = {}
    for k, v in pairs(object.channels[name]) do channel[k] = v end
    channel.poisoned = true
    marked[name] = channel
  end
  return baseline.with(object, marked, names, object.last_updated)
end

return learning
