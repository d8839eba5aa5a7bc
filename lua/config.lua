--- config (kernel): what the service would run with, and where each value comes from.
local aws_settings = require("aws_settings")
local host = require("host")
local memory = require("memory")
local options = require("options")
local scripts_dir = require("scripts_dir")
local store = require("store")

local config = {}

--- The names of the environment's variables, as the process was given them.
local function environment()
  local file = io.open("/proc/self/environ", "rb")
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text:gmatch("([^=%z]+)=[^%z]*")
end

--- Variables that look like settings and are none: a list of sentences.
function config.strangers() return options.strangers(environment()) end

local function row(name, value, source)
  return { name = name, value = value, source = source }
end

--- The first of these variables that is set, for a value that came from one of them.
local function variable(names, otherwise)
  for name in names:gmatch("%S+") do
    if (os.getenv(name) or "") ~= "" then return name end
  end
  return otherwise
end

--- What of AWS's settings bears on the bucket; no keys, and nothing that must be asked for.
local function aws_rows()
  local settings = aws_settings.load()
  local profile = "profile " .. settings.profile_name
  return {
    row("aws profile", settings.profile_name, variable("AWS_PROFILE", "default")),
    row("aws region", settings.region or "found out from the instance or the server",
      settings.region and variable("AWS_REGION AWS_DEFAULT_REGION", profile) or "default"),
    row("aws endpoint", settings:endpoint("s3") or "AWS's own",
      settings:endpoint("s3") and variable("AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL", profile)
        or "default"),
  }
end

--- Fill in what a default comes to here.
local function resolve(found, given)
  if found.name == "scripts" and found.value == nil then
    found.value = scripts_dir.find(nil)
  elseif found.name == "workers" and found.value == nil then
    found.value = host.stats().workers
  elseif found.name == "max-bytes" and found.value == nil then
    found.value = memory.largest_file()
  elseif found.name == "bucket" and found.value then
    found.value = ("%s (%s)"):format(found.value,
      store.is_directory(given.bucket) and "a directory" or "S3")
  end
end

local function text_of(value)
  if value == nil then return "not set" end
  return type(value) == "boolean" and (value and "yes" or "no") or tostring(value)
end

--- Print name, value and source of every setting. Exit code 2 when there is no bucket.
function config.run(given, fail)
  local rows = options.effective(given)
  for _, found in ipairs(rows) do resolve(found, given) end
  if given.bucket and not store.is_directory(given.bucket) then
    table.move(aws_rows(), 1, 3, #rows + 1, rows)
  end
  local width = { 0, 0 }
  for _, found in ipairs(rows) do
    found.text = text_of(found.value)
    width[1] = math.max(width[1], #found.name)
    width[2] = math.max(width[2], #found.text)
  end
  local form = ("%%-%ds  %%-%ds  %%s\n"):format(width[1], width[2])
  for _, found in ipairs(rows) do
    io.stdout:write(form:format(found.name, found.text, found.source))
  end
  for _, text in ipairs(config.strangers()) do
    io.stderr:write("anomalyd: warning: ", text, "\n")
  end
  if not given.bucket then
    return fail(2, "no bucket: set BUCKET_NAME or --bucket")
  end
  host.exit(0)
end

return config
