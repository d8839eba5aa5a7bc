--- detect: how the rows of one batch are flagged, and which columns are added to its file.
--
-- detect(batch, baseline, policy) -> column of 1 (anomaly) and 0
--   batch     {frame, channels = {names in order}, columns = {name = column},
--              forest = {scores, decisions, labels, offset}, flagged = {name = count}}
--   baseline  what the z-scores are taken against: {channels = {name = {count, mean, M2, std}}}
--   policy    baseline_policy.lua's table with its defaults filled in
-- A column holds a whole channel; visit cells with the functions of `column`, never in a loop.
local column = require("column")
local zscore = require("zscore")

return function(batch, baseline, policy)
  local frame = batch.frame
  local outlier = column.equal(batch.forest.labels, -1)
  local anomaly = outlier

  for _, name in ipairs(batch.channels) do
    local score, flag = zscore(batch.columns[name], name, baseline.channels[name], policy)
    frame:set(name .. "_zscore", score, "fixed4")
    frame:set(name .. "_zscore_flag", flag, "boolean")
    batch.flagged[name] = column.count(flag) -- for the metrics
    anomaly = column.any({ anomaly, flag })
  end

  frame:set("if_label", batch.forest.labels, "integer")
  frame:set("if_score", batch.forest.decisions, "fixed4")
  frame:set("if_flag", outlier, "boolean")
  frame:set("anomaly", anomaly, "boolean")
  return anomaly
end
