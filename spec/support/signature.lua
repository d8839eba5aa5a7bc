--- signature: checks the signature of a received request, by a way of its own.
--
-- Written against AWS's description alone and in Lua, so that it shares nothing with what signs but
-- the hash function.
local digest = require "digest"

local signature = {}

local function decode(text)
  return (text:gsub("%%(%x%x)", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function encode(text)
  return (text:gsub("[^%w%-%._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function canonical_query(query)
  local list = {}
  for part in (query or ""):gmatch("[^&]+") do
    local name, value = part:match("^([^=]*)=?(.*)$")
    list[#list + 1] = { encode(decode(name)), encode(decode(value)) }
  end
  table.sort(list, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2]
  end)
  for i, pair in ipairs(list) do list[i] = pair[1] .. "=" .. pair[2] end
  return table.concat(list, "&")
end

--- Is the request (of scripted's log) signed with this secret for this region? Returns true, or
-- false and what is wrong.
function signature.verify(request, secret, region)
  local authorization = request.headers.authorization
  if not authorization then return false, "not signed" end
  local scope_date, scope_region, names, given = authorization:match(
    "^AWS4%-HMAC%-SHA256 Credential=[^/]+/(%d+)/([^/]+)/s3/aws4_request, " ..
    "SignedHeaders=([^,]+), Signature=(%x+)$")
  if not given then return false, "malformed: " .. authorization end
  if scope_region ~= region then return false, "signed for " .. scope_region end
  local hash = request.headers["x-amz-content-sha256"]
  if hash ~= digest.sha256(request.body) then return false, "the payload hash is another" end
  local lines = { request.method, request.path, canonical_query(request.query) }
  for name in names:gmatch("[^;]+") do
    local value = request.headers[name]
    if not value then return false, "signed but not sent: " .. name end
    lines[#lines + 1] = name .. ":" .. value:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  end
  for name in pairs(request.headers) do
    if name:find("^x%-amz%-") and not (";" .. names .. ";"):find(";" .. name .. ";", 1, true) then
      return false, "sent but not signed: " .. name
    end
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = names
  lines[#lines + 1] = hash
  local date = request.headers["x-amz-date"]
  if date:sub(1, 8) ~= scope_date then return false, "two dates" end
  local scope = ("%s/%s/s3/aws4_request"):format(scope_date, region)
  local text = table.concat({ "AWS4-HMAC-SHA256", date, scope,
    digest.sha256(table.concat(lines, "\n")) }, "\n")
  local key = "AWS4" .. secret
  for _, part in ipairs { scope_date, region, "s3", "aws4_request" } do
    key = digest.hmac_sha256(key, part, "raw")
  end
  if digest.hmac_sha256(key, text) ~= given then return false, "the signature is another" end
  return true
end

return signature
