--- aws_settings: what environment and profile files say about AWS: region, endpoints, profile.
--
-- Reads AWS_REGION, AWS_DEFAULT_REGION, AWS_PROFILE, AWS_ENDPOINT_URL and its _SERVICE forms,
-- AWS_IGNORE_CONFIGURED_ENDPOINT_URLS, AWS_CA_BUNDLE, AWS_MAX_ATTEMPTS, and the files
-- ~/.aws/credentials and ~/.aws/config (or AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE).
local aws_settings = {}

local MOST_BYTES = 1024 * 1024

--- The text of a small file, or nil, message. Read anew at each call.
function aws_settings.read_file(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read(MOST_BYTES)
  file:close()
  return text or ""
end

local function trim(text)
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

--- Parse a profile file: {section = {name = text, ..., name = {sub = text}}}. A name with an empty
-- value opens a block whose indented lines are its own names. What is no section, pair or comment
-- is passed over, as AWS's tools do.
function aws_settings.parse(text)
  local sections, section, block = {}, nil, nil
  for line in (text:gsub("\r", "") .. "\n"):gmatch("([^\n]*)\n") do
    local header = line:match("^%s*%[%s*(.-)%s*%]")
    local indented = line:find("^%s")
    local name, value = line:match("^%s*([^=%s#;][^=]-)%s*=(.*)$")
    if header then
      section = sections[header] or {}
      sections[header] = section
      block = nil
    elseif section and name then
      value = trim(value:gsub("%s[#;].*$", ""))
      if indented and type(block) == "table" then
        block[name:lower()] = value
      else
        block = value == "" and {} or nil
        section[name:lower()] = block or value
      end
    end
  end
  return sections
end

local Settings = {}
Settings.__index = Settings

local function sections_of(path)
  local text = path and aws_settings.read_file(path)
  return text and aws_settings.parse(text) or {}
end

local function text_of(value)
  if type(value) == "string" and value ~= "" then return value end
  return nil
end

--- The endpoint for a service ("s3", "sts", "sqs", "sns") that environment or profile name, or nil.
function Settings:endpoint(service)
  local ignore = self.env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
  if ignore and ignore:lower() == "true" then return nil end
  local services = self.config["services " .. (text_of(self.profile.services) or "")] or {}
  local own = services[service]
  return text_of(self.env("AWS_ENDPOINT_URL_" .. service:upper())) or
    text_of(self.env("AWS_ENDPOINT_URL")) or
    text_of(type(own) == "table" and own.endpoint_url) or text_of(self.profile.endpoint_url)
end

-- Names of the credentials file win over those of the config file.
local function merged_profile(config, shared, name)
  local profile = {}
  for key, value in pairs(config["profile " .. name] or (name == "default" and config.default) or
    {}) do
    profile[key] = value
  end
  for key, value in pairs(shared[name] or {}) do profile[key] = value end
  return profile
end

--- Read the settings. `options.env(name)` stands for os.getenv, `options.profile` names a profile.
-- Returns {env, profile_name, profile, profile_found, region, ca_file, attempts} with the method
-- endpoint(service).
function aws_settings.load(options)
  options = options or {}
  local env = options.env or os.getenv
  local home = text_of(env("HOME"))
  local name = options.profile or text_of(env("AWS_PROFILE")) or "default"
  local shared = sections_of(text_of(env("AWS_SHARED_CREDENTIALS_FILE")) or
    (home and home .. "/.aws/credentials"))
  local config = sections_of(text_of(env("AWS_CONFIG_FILE")) or (home and home .. "/.aws/config"))
  local self = setmetatable({ env = env, config = config, profile_name = name }, Settings)
  self.profile = merged_profile(config, shared, name)
  self.profile_found = next(self.profile) ~= nil
  self.region = text_of(env("AWS_REGION")) or text_of(env("AWS_DEFAULT_REGION")) or
    text_of(self.profile.region)
  self.ca_file = text_of(env("AWS_CA_BUNDLE")) or text_of(self.profile.ca_bundle)
  self.attempts = tonumber(env("AWS_MAX_ATTEMPTS") or self.profile.max_attempts)
  return self
end

return aws_settings
