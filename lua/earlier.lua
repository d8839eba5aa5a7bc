--- earlier: the contents that a key held before, as the summary of its newest one tells of them.
--
-- A content enters the baseline once, also when its file is put again after others: so a summary
-- keeps the etags of the contents whose summary it replaced, as many as MOST, and the moments that
-- all of them brought to the baseline, which a rebuilt one needs:
--
--   "earlier": {"contents": 2, "etags": [...], "moments": {channel: {"count", "mean", "M2"}}}
--   "counted_earlier": true      when this content itself is among them
local json = require("json")
local moments = require("moments")

local earlier = {}

local MOST = 100

local function etags_of(summary)
  local given = type(summary.earlier) == "table" and summary.earlier.etags
  local list = {}
  if type(given) == "table" then
    for i = math.max(1, #given - MOST + 1), #given do
      if type(given[i]) == "string" then list[#list + 1] = given[i] end
    end
  end
  return list
end

--- The etags of the contents before the one of this summary, at most MOST, the newest last.
earlier.etags = etags_of

--- Was this content of the key counted before the one that the summary is about?
-- @param summary as decoded, or nil
function earlier.has(summary, etag)
  if type(summary) ~= "table" then return false end
  for _, one in ipairs(etags_of(summary)) do
    if one == etag then return true end
  end
  return false
end

--- {channel = moments} of all earlier contents, and the channels' names in order.
function earlier.moments(summary)
  local given = type(summary.earlier) == "table" and summary.earlier.moments
  local result, order = {}, {}
  if type(given) ~= "table" then return result, order end
  for _, name in ipairs(json.keys(given)) do
    if moments.are(given[name]) then
      result[name], order[#order + 1] = given[name], name
    end
  end
  return result, order
end

--- What the summary of a content says of the earlier ones.
-- @param previous the summary that it replaces, as decoded, or nil
-- @param etag the content's
-- @return the object, or nil when there are none; and whether the content itself is among them
function earlier.of(previous, etag)
  if type(previous) ~= "table" or type(previous.source_etag) ~= "string" then return nil, false end
  if previous.source_etag == etag then
    return previous.earlier, previous.counted_earlier == true
  end
  local etags, all, order = etags_of(previous), earlier.moments(previous)
  local contents = type(previous.earlier) == "table" and previous.earlier.contents
  contents = math.type(contents) == "integer" and contents or #etags
  if previous.counted_earlier ~= true then
    contents = contents + 1
    etags[#etags + 1] = previous.source_etag
    local brought, names = moments.brought(previous)
    for _, name in ipairs(names) do
      if not all[name] then order[#order + 1] = name end
      all[name] = moments.merge(all[name], brought[name])
    end
  end
  if #etags > MOST then table.remove(etags, 1) end
  local shown = {}
  for name, m in pairs(all) do
    shown[name] = json.object({ "count", "mean", "M2" },
      { count = m.count, mean = m.mean, M2 = m.M2 })
  end
  local object = json.object({ "contents", "etags", "moments" }, { contents = contents,
    etags = json.array(etags), moments = json.object(order, shown) })
  return object, earlier.has({ earlier = object }, etag)
end

return earlier
