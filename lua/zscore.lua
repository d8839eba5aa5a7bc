--- zscore: the distance of a channel's values from its baseline, and which of them are flagged.
--
-- zscore(cells, name, channel, policy) -> score column, flag column
--   |x - mean| / std, 0 where std is 0; both columns are empty (NaN) while the channel is not
--   mature
--   or unknown; a missing cell has no score and is not flagged. A channel whose stored numbers were
--   none (poisoned) has no score for this batch.
local column = require("column")

local function deviation_limit(policy, name)
  local limit = policy.minimum_deviation
  if type(limit) == "table" then limit = limit[name] or 0 end
  return limit
end

return function(cells, name, channel, policy)
  local poisoned = channel and channel.poisoned
  if poisoned or not channel or channel.count < policy.maturity then
    local unknown = column.constant(#cells, 0 / 0)
    return unknown, poisoned and column.constant(#cells, 0) or unknown
  end
  local score = column.zscore(cells, channel.mean, channel.std)
  local flag = column.above(score, policy.z_threshold)
  local least = deviation_limit(policy, name)
  if least > 0 then
    flag = column.both(flag, column.above(column.zscore(cells, channel.mean, 1), least))
  end
  if policy.direction == "rise" then
    flag = column.both(flag, column.above(cells, channel.mean))
  elseif policy.direction == "drop" then
    flag = column.both(flag, column.below(cells, channel.mean))
  end
  return score, flag
end
