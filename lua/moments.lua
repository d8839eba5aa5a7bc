--- moments: what the summaries tell of their batches' values, {count, mean, M2} by channel.
local json = require("json")

local moments = {}

local function finite(x) return type(x) == "number" and x == x and math.abs(x) ~= math.huge end

--- Are these the moments of something?
function moments.are(m)
  return type(m) == "table" and finite(m.count) and m.count >= 0 and finite(m.mean) and
    finite(m.M2) and m.M2 >= 0
end

--- Put `m` and `state` (nil: none yet) together, by the formula of Chan, Golub and LeVeque (1979)
-- for two samples. @return new {count, mean, M2, std}
function moments.merge(state, m)
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

local function names_of(list)
  local known = {}
  if type(list) == "table" then
    for _, name in ipairs(list) do known[name] = true end
  end
  return known
end

--- What the batch of a summary brought to the baseline.
-- @return {channel = moments}, the channels' names in order
function moments.brought(summary)
  local result, order = {}, {}
  if type(summary.batch_moments) ~= "table" then return result, order end
  local learned = type(summary.learned_moments) == "table" and summary.learned_moments or {}
  local unlearned = names_of(summary.unlearned_channels)
  for _, name in ipairs(json.keys(summary.batch_moments)) do
    local m = moments.are(learned[name]) and learned[name] or summary.batch_moments[name]
    if moments.are(m) and not unlearned[name] then
      result[name], order[#order + 1] = m, name
    end
  end
  return result, order
end

return moments
