--- score (kernel): one batch without a server, through the same batch, policy and scripts.
local csv = require("csv")
local digest = require("digest")
local host = require("host")
local memory = require("memory")
local scripts_dir = require("scripts_dir")
local task = require("task")

local score = {}

--- What is to be parsed: a file, or a text from the standard input. Both have a length.
local function read(path, most)
  if path == "-" then return io.stdin:read("a") end
  return csv.file(path, most)
end

--- A function that writes a text to a file. @return true; or nil, message
local function text_writer(text)
  return function(file) return file:write(text) end
end

--- Write a file so that it is either whole or not there.
-- @param emit function(file) -> true, or nil and a message
local function write(path, emit)
  if path == "-" then
    local ok, message = emit(io.stdout)
    if ok then ok, message = io.stdout:flush() end
    return ok and true, message
  end
  -- What is no file of its own (/dev/null, a pipe) is written as it is.
  local existing = io.open(path, "r")
  local is_file = not existing or existing:seek("end") ~= nil and not path:find("^/dev/")
  if existing then existing:close() end
  local temporary = is_file and ("%s.%d.tmp"):format(path, host.pid()) or path
  local file, message = io.open(temporary, "wb")
  if not file then return nil, message end
  local ok, why = emit(file)
  if ok then ok, why = file:close() else file:close() end
  if ok and is_file then ok, why = os.rename(temporary, path) end
  if not ok then
    if is_file then os.remove(temporary) end
    return nil, why
  end
  return true
end

--- A line on the terminal for inputs that take a while; nothing elsewhere.
local function progress(bytes)
  local self = { began = host.now(), bytes = bytes, shown = false }
  local on = host.is_terminal(2) and bytes > 8 * 1024 * 1024
  function self.say(what)
    if not on then return end
    self.shown = true
    io.stderr:write(("\r\27[K%s (%.0f MB, %.1f s)"):format(what, bytes / 1e6,
      host.now() - self.began))
    io.stderr:flush()
    task.sleep(0)
  end
  function self.clear()
    if self.shown then io.stderr:write("\r\27[K") end
  end
  return self
end

local function load_baseline(service, path)
  local baseline = service.require("baseline")
  if not path then return baseline.empty() end
  local file = io.open(path, "rb")
  if not file then return nil, path .. ": cannot be read (no such file?)" end
  local text = file:read("a")
  file:close()
  local object, message = baseline.parse(text)
  if not object then return nil, path .. ": " .. message end
  return object
end

local function with_channels(policy, text)
  if not text then return policy end
  local copy = {}
  for k, v in pairs(policy) do copy[k] = v end
  copy.channels = {}
  for name in text:gmatch("[^,]+") do copy.channels[#copy.channels + 1] = name end
  if text == "auto" then copy.channels = "auto" end
  return copy
end

local function source_key(input)
  if input == "-" then return "raw/stdin.csv" end
  local name = input:match("([^/]+)$"):gsub("%.csv$", "")
  return "raw/" .. name .. ".csv"
end

--- What can be done about a failure of this kind, if anything.
local function remedy(code)
  return code == "TooLarge" and " (the limits are options: anomalyd score --help)" or ""
end

--- Parse, forest, baseline, flags. @return what is to be written; or nil, message
local function work(built, context, given, input, limits, bar)
  local batch, learning = built.require("batch"), built.require("learning")
  local baseline, keys = built.require("baseline"), built.require("keys")
  local began = host.now()
  local policy = with_channels(context.policy, given.channels)
  local before, message = load_baseline(built, given.baseline)
  if not before then return nil, message end
  bar.say("parsing")
  local self, why, code, line = batch.open(input, policy, before.order, limits)
  if not self then
    return nil, ("%s%s: %s%s"):format(given.input, line and ":" .. line or "", why, remedy(code))
  end
  bar.say("growing and walking the forest")
  batch.forest(self, policy)
  bar.say("scoring")
  local after, scoring, unlearned = learning.update(before, self, policy, host.utc())
  batch.score(self, scoring, policy, context.detect)
  local key = source_key(given.input)
  local name = keys.name(key) or "stdin"
  -- Only when it is asked for: its etag is a walk over the whole text.
  local summary = given.summary and batch.summary(self, {
    source_key = key, output_key = keys.scored(name), processed_at = host.utc(),
    source_etag = type(input) == "string" and digest.md5(input) or input:md5(),
    policy = policy, unlearned = unlearned,
    counts = baseline.counts(scoring, self.channels),
    duration_seconds = tonumber(("%.6f"):format(host.now() - began)) })
  return { summary = summary, baseline = baseline.format(after), batch = self }
end

local function warn(self)
  if #self.missing > 0 then
    io.stderr:write("anomalyd: missing channels: ", table.concat(self.missing, ", "), "\n")
  end
  if self.frame.rejected > 0 then
    io.stderr:write(("anomalyd: %d rows do not fit the header and were not scored\n"):format(
      self.frame.rejected))
  end
end

--- Score one file.
function score.run(given, fail)
  host.log_setup({ stderr = true, level = "warning" })
  host.configure({ workers = given.workers, slice = 60 })
  local scripts, message = scripts_dir.find(given.scripts)
  if not scripts then return fail(2, message) end
  local shared = { options = given }
  local built, context = scripts_dir.build(1, scripts, shared)
  if not built then return fail(1, "the scripts cannot be loaded: " .. context) end
  local limits = memory.file_limits(given)
  local input, why, code = read(given.input, limits.max_bytes)
  if not input then return fail(1, why .. remedy(code)) end
  local bar = progress(#input)
  local result, problem = work(built, context, given, input, limits, bar)
  bar.clear()
  if not result then return fail(1, problem) end
  warn(result.batch)
  local json = built.require("json")
  local function save(file) return result.batch.frame:save(file) end
  local outputs = { { given.output or "-", save },
    { given.save_baseline, text_writer(result.baseline) },
    { given.summary, result.summary and text_writer(json.encode(result.summary, { indent = 2 })) } }
  for _, output in ipairs(outputs) do
    if output[1] then
      local ok, reason = write(output[1], output[2])
      if not ok then return fail(1, "cannot write " .. output[1] .. ": " .. tostring(reason)) end
    end
  end
  host.exit(0)
end

return score
