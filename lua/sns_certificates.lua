--- sns_certificates: SNS's signing certificates, fetched once and kept for a while.
--
-- What a stranger's message can cause is bounded: one table of at most `max` entries (failures are
-- remembered too), one fetch at a time for an address, at most `max_fetches` fetches in a minute.
-- The caller has checked the address (sns.verify does) before it asks.
local sns_certificates = {}

local DEFAULTS = {
  ttl = 86400,      -- seconds a certificate is kept
  failure_ttl = 10, -- seconds a failure is kept
  max = 16,         -- entries
  max_fetches = 30, -- in a minute
  patience = 10,    -- seconds to wait for somebody else's fetch of the same address
  max_bytes = 32768,
}

local WINDOW, POLL = 60, 0.02

-- Make room for one more: what has expired goes first, then a failure, then the oldest.
local function make_room(cache, now)
  local victim, worst
  for url, entry in pairs(cache.entries) do
    if entry.expires <= now then
      cache.entries[url] = nil
      cache.size = cache.size - 1
    else
      local rank = (entry.pem and 1e12 or 0) + entry.added
      if not worst or rank < worst then victim, worst = url, rank end
    end
  end
  if cache.size >= cache.max and victim then
    cache.entries[victim] = nil
    cache.size = cache.size - 1
  end
end

local function keep(cache, url, entry)
  local now = cache.now()
  entry.added = now
  entry.expires = now + (entry.pem and cache.ttl or cache.failure_ttl)
  if not cache.entries[url] then
    if cache.size >= cache.max then make_room(cache, now) end
    cache.size = cache.size + 1
  end
  cache.entries[url] = entry
  return entry
end

-- The entry for an address, while it is fresh.
local function fresh(cache, url)
  local entry = cache.entries[url]
  if entry and entry.expires > cache.now() then return entry end
  return nil
end

-- May one more fetch be made in this minute?
local function allowed(cache)
  local now = cache.now()
  if now - cache.window_start >= WINDOW or now < cache.window_start then
    cache.window_start, cache.fetches = now, 0
  end
  cache.fetches = cache.fetches + 1
  return cache.fetches <= cache.max_fetches
end

-- Wait while another task fetches the same address; only where waiting is possible.
local function wait_for_other(cache, url)
  while cache.wait and cache.loading[url] and cache.now() < cache.loading[url] do
    cache.wait(POLL)
  end
end

local function fetch(cache, url)
  if not allowed(cache) then
    return { message = "too many certificates were asked for in this minute",
      code = "CertificateUnavailable" }
  end
  local pem, message, code = cache.fetch(url)
  if type(pem) ~= "string" then
    return { message = message or "the certificate cannot be had",
      code = code or "CertificateUnavailable" }
  end
  if #pem > cache.max_bytes then
    return { message = "the certificate is too long", code = "BadCertificate" }
  end
  if cache.check then
    local ok
    ok, message, code = cache.check(pem)
    if not ok then return { message = message, code = code } end
  end
  return { pem = pem }
end

local function load(cache, url)
  wait_for_other(cache, url)
  local entry = fresh(cache, url)
  if entry then return entry end
  cache.loading[url] = cache.now() + cache.patience
  local done <close> = setmetatable({}, { __close = function() cache.loading[url] = nil end })
  entry = fetch(cache, url)
  return keep(cache, url, entry), done
end

--- A function(url) -> pem | nil, message, code over `fetch`, which is of the same form and makes
-- one request. `options`, all optional: `now` = function() -> seconds (default os.time), `wait` =
-- function(seconds) for tasks that run side by side, `check` = function(pem) -> true | nil,
-- message, code, asked once about each certificate before it is kept, and the limits above.
function sns_certificates.new(fetch_one, options)
  options = options or {}
  assert(type(fetch_one) == "function", "sns.certificates: fetch must be a function")
  local cache = {
    fetch = fetch_one, now = options.now or os.time, wait = options.wait, check = options.check,
    entries = {}, size = 0, loading = {}, window_start = -math.huge, fetches = 0,
  }
  for name, value in pairs(DEFAULTS) do cache[name] = options[name] or value end
  return function(url)
    local entry = fresh(cache, url) or load(cache, url)
    return entry.pem, entry.message, entry.code
  end
end

return sns_certificates
