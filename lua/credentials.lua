--- credentials: where the keys to AWS come from, and how they stay fresh.
--
-- A provider has
--   provider:get()          -> {access_key_id, secret_access_key, session_token, expires}
--                              | nil, message, code       may wait
--   provider:renew(stale)   -> the same, other than `stale` (keys that the server refused)
--   provider:describe()     -> {source, expires, message}  nothing secret
--   provider:region()       -> the instance's region, where the keys are an instance's; else nil
-- `expires` is in seconds since 1970. Keys that expire are asked for anew from 15 minutes before,
-- in the background where there are tasks, by one asker at a time; while they are valid a failure
-- to renew them changes nothing. Secrets stay out of the provider's fields and of every message.
local aws_settings = require "aws_settings"
local sources = require "credential_sources"

local credentials = {}

local ADVISORY = 15 * 60  -- seconds before expiry: time to renew
local MANDATORY = 10 * 60 -- time to wait for it
local AGAIN = 30          -- seconds between a failure and the next attempt
local GIVE_UP = 60        -- seconds to wait for somebody else's attempt

local has_task, task = pcall(require, "task")

-- What a provider must not show: its keys and how they are got.
local private = setmetatable({}, { __mode = "k" })

local Provider = {}
Provider.__index = Provider
Provider.__name = "credentials.provider"

function Provider:__tostring()
  return "credentials (" .. (self.source or "not yet known") .. ")"
end

local function new_provider(fetch, source, clock)
  local self = setmetatable({ source = source }, Provider)
  private[self] = { fetch = fetch, clock = clock or os.time, not_before = 0 }
  return self
end

local function is_key(value)
  return type(value) == "string" and value ~= "" and not value:find("[%c\x7f]")
end

-- Keys as they are passed on: copied, so that nobody changes them afterwards.
local function checked(keys)
  if type(keys) ~= "table" then return nil, "no table of keys", "NoCredentials" end
  if not is_key(keys.access_key_id) or not is_key(keys.secret_access_key) or
    (keys.session_token ~= nil and not is_key(keys.session_token)) then
    return nil, "the keys are incomplete or hold control characters", "NoCredentials"
  end
  return { access_key_id = keys.access_key_id, secret_access_key = keys.secret_access_key,
    session_token = keys.session_token, expires = keys.expires }
end

-- When to ask again, and until when to use what is there. Expired keys from the instance's own
-- service mean that it has an outage and that they are good for longer: ask again after 10 minutes
-- and a random while.
local function set_times(state, keys, now)
  state.renew_at, state.good_until = math.huge, math.huge
  if not keys.expires then return end
  state.renew_at, state.good_until = keys.expires - ADVISORY, keys.expires
  if keys.expires <= now then
    state.renew_at = now + MANDATORY + math.random(120, 600)
    state.good_until = state.renew_at
  end
end

-- Call the source; what it raises is not passed on, because it may quote anything.
local function call_source(self)
  local ok, keys, message, code = pcall(private[self].fetch, self)
  if not ok then return nil, "the source of the credentials raised an error", "NoCredentials" end
  if not keys then return nil, message or "no credentials", code or "NoCredentials" end
  local copy
  copy, message, code = checked(keys)
  return copy, message, code, copy and keys.source
end

-- One attempt, by one asker at a time.
local function fetch_now(self)
  local state = private[self]
  state.flight = true
  local keys, message, code, source = call_source(self)
  state.flight = false
  local now = state.clock()
  if not keys then
    state.not_before, state.message, state.code = now + AGAIN, message, code
    return nil, message, code
  end
  self.source = source or self.source
  state.keys, state.message, state.not_before = keys, nil, 0
  set_times(state, keys, now)
  return keys
end

-- Somebody else is asking: wait for the outcome.
local function wait_for_flight(self)
  local state = private[self]
  local before, waited = state.keys, 0
  while state.flight and waited < GIVE_UP do
    task.sleep(0.02)
    waited = waited + 0.02
  end
  if state.keys ~= before then return state.keys end
  return nil, state.message or "the credentials did not come in time",
    state.code or "NoCredentials"
end

local function refresh(self)
  if private[self].flight and has_task then return wait_for_flight(self) end
  return fetch_now(self)
end

local function in_background(self)
  if private[self].flight then return end
  private[self].flight = true
  task.spawn(fetch_now, self)
end

--- The keys to use now.
function Provider:get()
  local state = private[self]
  local keys, now = state.keys, state.clock()
  if not keys then return refresh(self) end
  if now < state.renew_at then return keys end
  local good = now < state.good_until
  if now < state.not_before then
    if good then return keys end
    return nil, state.message, state.code
  end
  if has_task and state.good_until - now > MANDATORY then
    in_background(self)
    return keys
  end
  local fresh, message, code = refresh(self)
  if fresh then return fresh end
  if good then return keys end
  return nil, message, code
end

--- Keys other than `stale`, which the server refused; nil, message, code when there are none.
function Provider:renew(stale)
  local keys = private[self].keys
  if keys and keys.session_token ~= stale.session_token then return keys end
  if not stale.session_token then return nil, "static keys cannot be renewed", "NoCredentials" end
  local fresh, message, code = refresh(self)
  if not fresh then return nil, message, code end
  if fresh.session_token == stale.session_token then
    return nil, "the source still hands out the keys the server refused", "ExpiredToken"
  end
  return fresh
end

--- Source and expiry, and what went wrong at the last attempt to renew.
function Provider:describe()
  local state = private[self]
  return { source = self.source, expires = state.keys and state.keys.expires,
    message = state.message }
end

--- The region of the instance whose role the keys are, or nil.
function Provider:region()
  local ask = private[self].ask_region
  return ask and self.source == "instance metadata" and ask() or nil
end

--- A provider of keys that never change: {access_key_id, secret_access_key, session_token}.
function credentials.static(keys)
  local copy, message = checked(keys)
  if not copy then error("credentials.static: " .. message, 2) end
  copy.source, copy.expires = "given", nil
  return new_provider(function() return copy end, "given")
end

--- A provider that calls `fetch()`, which returns keys (with `expires`, when they do) or
-- nil, message, code. `options.clock` stands for os.time.
function credentials.from(fetch, options)
  return new_provider(function() return fetch() end, "function", options and options.clock)
end

--- The usual chain: environment, web identity, shared credentials file, config file, container,
-- instance metadata. The first that is configured is the one; when it fails that is said, and none
-- behind it is tried. `options`: `env(name)` for os.getenv, `profile`, `clock`.
function credentials.chain(options)
  options = options or {}
  local self = new_provider(function()
    return sources.find(aws_settings.load(options), options)
  end, nil, options.clock)
  private[self].ask_region = function()
    return sources.instance_region(aws_settings.load(options))
  end
  return self
end

return credentials
