--- url: percent-coding, query texts and request targets.
--
-- Decoding never fails: a `%` that no two hex digits follow stays as it is, as in Python's urllib
-- and in browsers. What comes out is bytes; whoever needs UTF-8 checks it.
local url = {}

local MOST_FIELDS = 1000

local function byte_of(hex) return string.char(tonumber(hex, 16)) end

local function escape_byte(c) return ("%%%02X"):format(c:byte()) end

--- "a%20b+c" -> "a b+c".
function url.decode(text)
  return (text:gsub("%%(%x%x)", byte_of))
end

--- As in forms and query texts: "a%20b+c" -> "a b c".
function url.decode_form(text)
  return (text:gsub("%+", " "):gsub("%%(%x%x)", byte_of))
end

--- Everything but the unreserved characters of RFC 3986 as %XX: "a b/c" -> "a%20b%2Fc".
function url.encode(text)
  return (text:gsub("[^%w%-._~]", escape_byte))
end

--- The fields of a query text: a table name -> value, of a name given twice the last, and the list
-- of {name, value} pairs in order. `+` is a space; a field without `=` has the value "". More than
-- 1000 fields give nil, message, code.
function url.parse_query(text)
  local values, list = {}, {}
  for field in text:gmatch("[^&]+") do
    if #list == MOST_FIELDS then
      return nil, "the query has more than " .. MOST_FIELDS .. " fields", "TooManyFields"
    end
    local name, value = field:match("^([^=]*)=(.*)$")
    name = url.decode_form(name or field)
    value = url.decode_form(value or "")
    values[name] = value
    list[#list + 1] = { name, value }
  end
  return values, list
end

--- The query text of a list of {name, value} pairs.
function url.format_query(list)
  local fields = {}
  for i, pair in ipairs(list) do
    fields[i] = url.encode(pair[1]) .. "=" .. url.encode(tostring(pair[2]))
  end
  return table.concat(fields, "&")
end

--- The path and the query of a request's target, both still encoded, without `?` and fragment:
-- "/a%20b?limit=5" -> "/a%20b", "limit=5". A target with scheme and host (as a proxy gets it) gives
-- its path alone.
function url.split(target)
  target = target:match("^[^#]*")
  target = target:gsub("^%a[%w+.-]*://[^/?]*", "")
  local path, query = target:match("^([^?]*)%??(.*)$")
  if path == "" then path = "/" end
  return path, query
end

return url
