--- s3: one bucket of S3, or of a server that speaks like it.
--
-- The same interface as the directory bucket's. What can go wrong in the world comes back as
-- `nil, message, code` with S3's own code (NoSuchKey, PreconditionFailed, AccessDenied, ...) or the
-- transport's (Timeout, ConnectFailed, ...); wrong arguments raise. ETags have no quotes here,
-- times are whole seconds since 1970. Every call waits: in the host the task yields.
local aws_settings = require "aws_settings"
local credentials = require "credentials"
local digest = require "digest"
local s3_call = require "s3_call"

local s3 = {}

local MIB = 1024 * 1024
local MULTIPART_FROM = 64 * MIB
local PART_SIZE = 16 * MIB
local MOST_PARTS = 10000
local PAGE_SIZE = 1000

local Client = {}
Client.__index = Client
Client.__name = "s3.client"

function Client:__tostring()
  return tostring(self.calls)
end

-- Providers hold secrets; they are kept out of the client's own fields, which a console may print.
local providers = setmetatable({}, { __mode = "k" })

local CLIENT_OPTIONS = { "style", "ca_file", "attempts", "backoff", "connect_timeout",
  "stall_timeout", "timeout", "checksum" }

local function provider_of(given)
  if given == nil then return credentials.chain() end
  if type(given) == "table" and given.access_key_id ~= nil then return credentials.static(given) end
  if type(given) == "function" then return credentials.from(given) end
  if type(given) == "table" and given.get then return given end
  error("s3.client: 'credentials' must be keys, a function or a provider", 3)
end

local function make_calls(self, region)
  local settings = { bucket = self.bucket, region = region, endpoint = self.endpoint }
  for _, name in ipairs(CLIENT_OPTIONS) do settings[name] = self.options[name] end
  return s3_call.client(settings)
end

--- A client for one bucket.
-- `bucket` is needed. `region`, `endpoint` default to the environment and the profile (see
-- aws_settings); an unknown region is found out from the server. `credentials` is
-- {access_key_id, secret_access_key, session_token}, a function that returns such a table, or a
-- provider; by default the chain of module credentials. More options: `style` ("auto", "path",
-- "virtual"), `ca_file`, `attempts` (3), `backoff` (1 s), `connect_timeout` (5), `stall_timeout`
-- (20), `timeout` (300), `limit` (most bytes of a got object, 1 GiB), `multipart_from` (64 MiB),
-- `part_size` (16 MiB), `checksum` (SHA-256 checksums; true for AWS).
-- Returns the client, or nil, message, code ("BadBucket", "BadRegion", "BadEndpoint").
function s3.client(options)
  assert(type(options) == "table", "s3.client: options must be a table")
  local settings = aws_settings.load()
  local kept = { limit = options.limit, multipart_from = options.multipart_from or MULTIPART_FROM,
    part_size = options.part_size or PART_SIZE,
    ca_file = settings.ca_file, attempts = settings.attempts }
  for _, name in ipairs(CLIENT_OPTIONS) do
    if options[name] ~= nil then kept[name] = options[name] end
  end
  local self = setmetatable({ bucket = options.bucket, options = kept,
    endpoint = options.endpoint or settings:endpoint("s3") }, Client)
  local region = options.region or settings.region
  local calls, message, code = make_calls(self, region)
  if not calls then return nil, message, code end
  self.calls = calls
  self.region_open = not region and not self.endpoint
  providers[self] = provider_of(options.credentials)
  return self
end

-- On an instance without any configured region the instance's own is the best first guess. The
-- server corrects a wrong one, but only within its own partition of AWS.
local function settle_region(self)
  if not self.region_open then return end
  self.region_open = false
  local provider = providers[self]
  local region = provider.region and provider:region()
  local calls = region and make_calls(self, region)
  if calls then self.calls = calls end
end

local STALE = { ExpiredToken = true, ExpiredTokenException = true, InvalidToken = true,
  TokenRefreshRequired = true }

-- Are the keys to blame? The answer to a HEAD cannot say so: then the expiry decides.
local function keys_are_stale(verb, keys, code)
  if STALE[code] then return true end
  return verb == "head" and (code == "BadRequest" or code == "AccessDenied") and
    keys.expires ~= nil and keys.expires <= os.time()
end

local function request_once(self, ask, keys)
  ask.access_key_id = keys.access_key_id
  ask.secret_access_key = keys.secret_access_key
  ask.session_token = keys.session_token
  return self.calls:request(ask)
end

-- One request, with keys from the provider; a second one with new keys when the server says that
-- the first were stale.
local function request(self, ask)
  local provider = providers[self]
  local keys, message, code = provider:get()
  if not keys then return nil, message, code end
  settle_region(self)
  local answer, outline
  answer, message, code, outline = request_once(self, ask, keys)
  if answer or not provider.renew or not keys_are_stale(ask.verb, keys, code) then
    return answer, message, code, outline
  end
  local fresh = provider:renew(keys)
  if not fresh then return nil, message, code, outline end
  return request_once(self, ask, fresh)
end

local function metadata_of(headers)
  local metadata = {}
  for name, value in pairs(headers) do
    local own = name:match("^x%-amz%-meta%-(.+)$")
    if own then metadata[own] = value end
  end
  return metadata
end

-- What the headers of a get or head say about the object.
local function object_of(answer)
  local headers = answer.headers
  local total = (headers["content-range"] or ""):match("/(%d+)$") or headers["content-length"]
  return {
    etag = answer.etag, metadata = metadata_of(headers), content_type = headers["content-type"],
    last_modified = answer.last_modified, body = answer.body,
    size = math.tointeger(tonumber(total) or 0),
  }
end

local function check_key(name, key)
  if type(key) ~= "string" then
    error(("s3 %s: the key must be a string, not a %s"):format(name, type(key)), 3)
  end
end

local function range_header(range)
  if type(range) == "table" then
    return ("bytes=%d-%s"):format(range[1], range[2] and ("%d"):format(range[2]) or "")
  end
  return range
end

--- Get an object. `options`: `range` ({first, last} counted from 0, last may be absent),
-- `if_match`, `if_none_match` (an ETag; "NotModified" when it is still that), `limit` (bytes).
-- The body is verified against its length and, when the ETag is an MD5, against that.
-- Returns {body, etag, metadata, last_modified, size, content_type}, or nil, message, code.
function Client:get(key, options)
  check_key("get", key)
  options = options or {}
  local headers = {}
  if options.range then headers[1] = { "Range", range_header(options.range) } end
  local answer, message, code = request(self, { verb = "get", key = key, headers = headers,
    if_match = options.if_match, if_none_match = options.if_none_match,
    limit = options.limit or self.options.limit })
  if not answer then return nil, message, code end
  local object = object_of(answer)
  if answer.status ~= 206 then object.size = #answer.body end
  return object
end

--- What is known of an object: as get, without the body.
function Client:head(key)
  check_key("head", key)
  local answer, message, code = request(self, { verb = "head", key = key })
  if not answer then return nil, message, code end
  return object_of(answer)
end

--- Delete an object; one that is not there counts as deleted. Returns true, or nil, message, code.
function Client:delete(key)
  check_key("delete", key)
  local answer, message, code = request(self, { verb = "delete", key = key })
  if not answer and code ~= "NoSuchKey" then return nil, message, code end
  return true
end

local function put_headers(options)
  local headers = {}
  if options.content_type then headers[1] = { "Content-Type", options.content_type } end
  for name, value in pairs(options.metadata or {}) do
    if type(name) ~= "string" or name:find("[^%w%-_.]") or name == "" then
      error("s3 put: a metadata name has letters, digits and '-', not " .. tostring(name), 4)
    end
    value = tostring(value)
    if value:find("[^\x20-\x7e]") then
      error("s3 put: metadata '" .. name .. "' must be printable ASCII", 4)
    end
    headers[#headers + 1] = { "x-amz-meta-" .. name:lower(), value }
  end
  return headers
end

local function complete_body(etags)
  local parts = { "<CompleteMultipartUpload>" }
  for number, etag in ipairs(etags) do
    parts[#parts + 1] = ("<Part><PartNumber>%d</PartNumber><ETag>&quot;%s&quot;</ETag></Part>")
      :format(number, etag)
  end
  parts[#parts + 1] = "</CompleteMultipartUpload>"
  return table.concat(parts)
end

local function put_parts(self, key, body, upload_id)
  local size = math.max(self.options.part_size, math.ceil(#body / MOST_PARTS))
  local etags = {}
  for first = 1, #body, size do
    local answer, message, code = request(self, { verb = "put_part", key = key,
      body = body:sub(first, first + size - 1),
      query = { { "partNumber", #etags + 1 }, { "uploadId", upload_id } } })
    if not answer then return nil, message, code end
    etags[#etags + 1] = answer.etag or ""
  end
  return etags
end

-- The ETag that S3 gives to an object of these parts.
local function joined_etag(etags)
  local raw = {}
  for i, etag in ipairs(etags) do
    if not etag:find("^%x+$") or #etag ~= 32 then return nil end
    raw[i] = etag:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  end
  return digest.md5(table.concat(raw)) .. "-" .. #etags
end

-- Was the upload completed by an attempt whose answer was lost? Then the object is there with the
-- ETag that its parts make.
local function completed_unseen(self, key, size, etags)
  local there = self:head(key)
  return there and there.size == size and there.etag == joined_etag(etags) and there.etag
end

local function complete(self, key, body, options, upload_id, etags)
  local answer, message, code, outline = request(self, { verb = "complete_upload", key = key,
    query = { { "uploadId", upload_id } }, body = complete_body(etags),
    headers = { { "Content-Type", "application/xml" } },
    if_match = options.if_match, if_none_match = options.if_none_match })
  if not answer then
    local etag = code == "NoSuchUpload" and outline and outline.attempts > 1 and
      completed_unseen(self, key, #body, etags)
    if etag then return { etag = etag } end
    return nil, message, code
  end
  if answer.etag and answer.etag ~= "" then return { etag = answer.etag } end
  local there
  there, message, code = self:head(key)
  if not there then return nil, message, code end
  return { etag = there.etag }
end

local function put_multipart(self, key, body, options)
  local begun, message, code = request(self, { verb = "create_upload", key = key,
    query = { { "uploads", "" } }, headers = put_headers(options) })
  if not begun then return nil, message, code end
  local etags, result
  etags, message, code = put_parts(self, key, body, begun.upload_id)
  if etags then
    result, message, code = complete(self, key, body, options, begun.upload_id, etags)
    if result then return result end
  end
  request(self, { verb = "abort_upload", key = key, query = { { "uploadId", begun.upload_id } } })
  return nil, message, code
end

--- Put an object. `options`: `if_match` (an ETag: only over the object that has it),
-- `if_none_match` ("*": only when there is none), `metadata` ({name = text}), `content_type`.
-- Bodies from `multipart_from` bytes go up in parts. Returns {etag}, or nil, message, code;
-- "PreconditionFailed", "ConditionalRequestConflict" or "NoSuchKey" when a condition did not hold.
function Client:put(key, body, options)
  check_key("put", key)
  if type(body) ~= "string" then error("s3 put: the body must be a string", 2) end
  options = options or {}
  if #body >= self.options.multipart_from and #body > 0 then
    return put_multipart(self, key, body, options)
  end
  local answer, message, code = request(self, { verb = "put", key = key, body = body,
    headers = put_headers(options), if_match = options.if_match,
    if_none_match = options.if_none_match })
  if not answer then return nil, message, code end
  return { etag = answer.etag }
end

local function list_query(options, token)
  local query = { { "list-type", "2" }, { "encoding-type", "url" },
    { "max-keys", options.limit or PAGE_SIZE } }
  local function add(name, value)
    if value and value ~= "" then query[#query + 1] = { name, value } end
  end
  add("prefix", options.prefix)
  add("delimiter", options.delimiter)
  add("continuation-token", token)
  if not token then add("start-after", options.start_after) end
  return query
end

--- List objects in the order of their keys' bytes. `options`: `prefix`, `start_after` (only keys
-- behind this one), `limit` (most objects of one page, 1000 at most), `delimiter`.
-- Returns an iterator over pages, each an array of {key, size, etag, last_modified} that is not
-- empty (with a delimiter it may be: then it has `prefixes`). A failure comes as a last page that
-- is false, so that it cannot be taken for the end:
--
--     for page, message, code in client:list{ prefix = "raw/" } do
--       if not page then return nil, message, code end
function Client:list(options)
  options = options or {}
  assert(type(options) == "table", "s3 list: options must be a table")
  local limit = options.limit
  assert(limit == nil or (math.type(limit) == "integer" and limit >= 1 and limit <= PAGE_SIZE),
    "s3 list: 'limit' must be a whole number from 1 to 1000")
  local token
  local done = false

  local function next_page()
    if done then return nil end
    local answer, message, code = request(self, { verb = "list",
      query = list_query(options, token) })
    if answer and token and answer.page.next_token == token then
      answer, message, code = nil, "list bucket " .. self.bucket ..
        ": the server repeats a page", "BadAnswer"
    end
    if not answer then
      done = true
      return false, message, code
    end
    local page = answer.page
    token, page.next_token = page.next_token, nil
    done = not token
    if #page == 0 and #page.prefixes == 0 then return next_page() end
    return page
  end

  return next_page
end

--- How things stand, for /health and the console: bucket, region, host, style, clock_offset,
-- requests, retries, retry_tokens, and credentials = {source, expires}; nothing secret.
function Client:info()
  local info = self.calls:info()
  info.endpoint = self.endpoint
  local provider = providers[self]
  info.credentials = provider.describe and provider:describe() or { source = "given" }
  return info
end

return s3
