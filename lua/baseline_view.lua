--- baseline_view: the baseline as the handlers show it.
local context = require("context")
local json = require("json")
local response = require("response")
local step = require("baseline_step")

local baseline_view = {}

--- GET /baseline/current: observations, mean and deviation of each channel (4 decimals).
function baseline_view.current()
  local current, message = step.load(context.baseline_state, context)
  if not current then return response.detail(503, "the baseline cannot be read: " .. message) end
  local object, channels = current.object, {}
  for _, name in ipairs(object.order) do
    local c = object.channels[name]
    channels[name] = json.object({ "observations", "mean", "std", "baseline_mature" }, {
      observations = c.count, mean = context.round4(c.mean), std = context.round4(c.std),
      baseline_mature = c.count >= context.policy.maturity })
  end
  return json.object({ "last_updated", "channels" }, {
    last_updated = object.last_updated or json.null,
    channels = json.object(object.order, channels) })
end

return baseline_view
