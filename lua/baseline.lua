--- baseline: the running moments per channel, as an object in the bucket and as a table.
--
-- A baseline is {channels = {name = {count, mean, M2, std}}, order = {names}, last_updated = text
-- or nil}. It is never changed in place: a step makes a new one. Its JSON is the contract's
-- state/baseline.json; the ledger travels beside it as metadata (see ledger.lua).
local json = require("json")

local baseline = {}

--- A baseline without a channel.
function baseline.empty() return { channels = {}, order = {} } end

local function finite(x)
  return type(x) == "number" and x == x and math.abs(x) ~= math.huge
end

--- One channel as read. One whose mean or M2 is no number (the service this replaces could write
-- NaN for good) keeps its count and is marked as poisoned: see learning.lua.
local function read_channel(value)
  local count = math.tointeger(value.count) or value.count
  if not finite(count) or count < 0 then count = 0 end
  if finite(value.mean) and finite(value.M2) and value.M2 >= 0 then
    local std = count < 2 and 0.0 or math.sqrt(value.M2 / count)
    return { count = count, mean = value.mean * 1.0, M2 = value.M2 * 1.0, std = std }
  end
  return { count = count, mean = 0.0, M2 = 0.0, std = 0.0, poisoned = true }
end

--- The value of a JSON text in which Python's words for what is no number stand for null. Asked
-- only of a text that is no JSON as it is, so that a name which holds such a word is kept.
local function decode(text)
  local value, message = json.decode(text)
  if not message then return value end
  local readable = text:gsub("(:%s*)%-?NaN", "%1null"):gsub("(:%s*)%-?Infinity", "%1null")
  return json.decode(readable)
end

--- Read state/baseline.json.
-- @return baseline; or nil, message, "BadBaseline"
function baseline.parse(text)
  local value, message = decode(text)
  if type(value) ~= "table" or json.is_array(value) then
    return nil, "the baseline is no JSON object: " .. (message or "it is something else"),
      "BadBaseline"
  end
  local result = baseline.empty()
  for _, name in ipairs(json.keys(value)) do
    local channel = value[name]
    if name == "last_updated" then
      result.last_updated = type(channel) == "string" and channel or nil
    elseif type(channel) ~= "table" then
      return nil, ("the baseline's channel %s is no object"):format(name), "BadBaseline"
    else
      result.channels[name] = read_channel(channel)
      result.order[#result.order + 1] = name
    end
  end
  return result
end

--- The text of state/baseline.json.
function baseline.format(object)
  local names, value = {}, {}
  for i, name in ipairs(object.order) do
    local c = object.channels[name]
    names[i] = name
    -- x + 0.0 would lose the sign of -0.0
    local function known(x) return c.poisoned and json.null or x * 1.0 end
    value[name] = json.object({ "count", "mean", "M2", "std" },
      { count = c.count, mean = known(c.mean), M2 = known(c.M2), std = known(c.std) })
  end
  names[#names + 1] = "last_updated"
  value.last_updated = object.last_updated
  return json.encode(json.object(names, value), { indent = 2 })
end

--- A new baseline in which some channels have new moments.
-- @param changes {name = {count, mean, M2, std}}
-- @param names the names in `changes`, in the order in which new ones are to be added
function baseline.with(object, changes, names, now)
  local result = { channels = {}, order = { table.unpack(object.order) }, last_updated = now }
  for name, channel in pairs(object.channels) do result.channels[name] = channel end
  for _, name in ipairs(names) do
    if changes[name] then
      if not result.channels[name] then result.order[#result.order + 1] = name end
      result.channels[name] = changes[name]
    end
  end
  return result
end

--- {channel = count} of the named channels, as the summary gives it.
function baseline.counts(object, names)
  local counts = {}
  for _, name in ipairs(names) do
    counts[name] = object.channels[name] and object.channels[name].count or 0
  end
  return json.object(names, counts)
end

return baseline
