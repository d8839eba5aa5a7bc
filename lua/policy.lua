--- policy: checks scripts/baseline_policy.lua's table and fills in what it leaves out.
local suggest = require("suggest")

local policy = {}

local function whole(low) return function(v)
  return math.type(v) == "integer" and v >= low, "a whole number from " .. low
end end

local function number(test, text) return function(v)
  return type(v) == "number" and v == v and test(v), text
end end

local function choice(...)
  local allowed = { ... }
  return function(v)
    for _, one in ipairs(allowed) do if v == one then return true end end
    return false, "one of " .. table.concat(allowed, ", ")
  end
end

local function names(v)
  if v == "auto" then return true end
  local seen = {}
  if type(v) ~= "table" or #v == 0 then return false, '"auto" or a list of column names' end
  for _, name in ipairs(v) do
    if type(name) ~= "string" or seen[name] then
      return false, "a list of different column names"
    end
    seen[name] = true
  end
  return true
end

local function deviation(v)
  if type(v) == "number" then return v >= 0, "a number from 0, or a table of them by channel" end
  if type(v) ~= "table" then return false, "a number from 0, or a table of them by channel" end
  for name, limit in pairs(v) do
    if type(name) ~= "string" or type(limit) ~= "number" or limit < 0 then
      return false, "a table {channel = number from 0}"
    end
  end
  return true
end

local fields = {
  channels = { default = "auto", check = names },
  z_threshold = { default = 3.0, check = number(function(v) return v > 0 end, "a number above 0") },
  maturity = { default = 30, check = whole(1) },
  update = { default = "before", check = choice("before", "after") },
  learn_flagged = { default = true, check = function(v)
    return type(v) == "boolean", "true or false"
  end },
  half_life = { default = false, check = function(v)
    return v == false or (type(v) == "number" and v > 0), "false or a number above 0"
  end },
  direction = { default = "both", check = choice("both", "rise", "drop") },
  minimum_deviation = { default = 0, check = deviation },
  contamination = { default = 0.05, check = function(v)
    return v == "auto" or (type(v) == "number" and v > 0 and v <= 0.5),
      '"auto" or a number above 0, at most 0.5'
  end },
  n_estimators = { default = 100, check = whole(1) },
  random_state = { default = 42, check = function(v)
    return math.type(v) == "integer" and v >= 0 and v < 2 ^ 32,
      "a whole number from 0 to 4294967295"
  end },
}

local function field_names()
  local list = {}
  for name in pairs(fields) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- Check a policy.
-- @return a copy with the defaults filled in; or nil, message
function policy.check(table_, source)
  source = source or "baseline_policy.lua"
  if type(table_) ~= "table" then return nil, source .. " must return a table" end
  local result = {}
  for name, value in pairs(table_) do
    local field = fields[name]
    if not field then
      local near = suggest.nearest(tostring(name), field_names())
      return nil, ("%s: unknown field '%s'%s"):format(source, tostring(name),
        near and "; did you mean '" .. near .. "'?" or "")
    end
    local ok, wanted = field.check(value)
    if not ok then
      return nil, ("%s: %s must be %s"):format(source, name, wanted)
    end
    result[name] = value
  end
  for name, field in pairs(fields) do
    if result[name] == nil then result[name] = field.default end
  end
  return result
end

return policy
