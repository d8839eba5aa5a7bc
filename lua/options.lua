--- options: the command line and the environment, declared once.
--
-- options.parse(arguments, getenv) -> {command =, ...values}, or nil, message when the call is
-- wrong. Each option can be given as --name VALUE, --name=VALUE, or in the environment as
-- ANOMALYD_NAME; the command line wins. --help is made from the same declarations.
local suggest = require("suggest")

local options = {}

-- name, kind, default, what --help says; `env` overrides the environment's name
local shared = {
  scripts = { kind = "path", help = "directory of the scripts (app.lua and what it requires)" },
  bucket = { kind = "text", env = "BUCKET_NAME",
    help = "bucket: a name is S3's; a value with a / or a leading . is a directory" },
  console = { kind = "path", help = "path of the console's Unix socket; none: no console (default: "
    .. "anomalyd/console.sock in $XDG_RUNTIME_DIR or /run, or /tmp/anomalyd-UID/console.sock)" },
  ["log-level"] = { kind = "choice", choices = { "debug", "info", "warning", "error", "critical" },
    default = "info", help = "least level that is logged" },
  ["log-format"] = { kind = "choice", choices = { "text", "json" }, default = "text",
    help = "form of a log line" },
  workers = { kind = "integer", minimum = 1, maximum = 64,
    help = "worker threads (default: the number of processors)" },
}

local function with(names, own)
  for name in names:gmatch("%S+") do own[name] = shared[name] end
  return own
end

-- What is more than these is a slip of the keyboard, and past what timers and sizes can hold.
local DAY, GIB = 86400, 1073741824

-- What a file may hold: csv.parse's limits, by its names.
local file_limits = {
  ["max-bytes"] = { kind = "integer", minimum = 1, maximum = 4294967295,
    help = "largest file of rows, in bytes; a larger one is recorded as failed (default: a twelfth "
      .. "of the memory, at most 536870912)" },
  ["max-rows"] = { kind = "integer", minimum = 1, maximum = 2147483647, default = 20000000,
    help = "most rows of a file" },
  ["max-columns"] = { kind = "integer", minimum = 1, maximum = 65536, default = 4096,
    help = "most columns of a file" },
  ["max-row-bytes"] = { kind = "integer", minimum = 1, maximum = GIB, default = 1048576,
    help = "longest row of a file, in bytes" },
}

local limits = {
  ["max-body"] = { kind = "integer", minimum = 1024, maximum = GIB, default = 1048576,
    help = "largest body of a request, in bytes" },
  ["max-head"] = { kind = "integer", minimum = 1024, maximum = 1048576, default = 16384,
    help = "largest head of a request, in bytes" },
  ["head-timeout"] = { kind = "number", minimum = 0.1, maximum = DAY, default = 10,
    help = "seconds for a request's head to arrive, and for a TLS handshake" },
  ["body-timeout"] = { kind = "number", minimum = 0.1, maximum = DAY, default = 60,
    help = "seconds for a request's body to arrive" },
  ["keep-alive"] = { kind = "number", minimum = 0.1, maximum = DAY, default = 5,
    help = "seconds an idle connection is kept" },
  ["max-connections"] = { kind = "integer", minimum = 1, maximum = 1000000, default = 1024,
    help = "connections at once" },
  ["queue-limit"] = { kind = "integer", minimum = 1, maximum = 10000000, default = 10000,
    help = "batches waiting; more are refused with 503" },
  ["drain-timeout"] = { kind = "number", minimum = 0, maximum = DAY, default = 30,
    help = "seconds for requests and batches to finish when stopping" },
  ["reconcile-seconds"] = { kind = "number", minimum = 1, maximum = DAY, default = 300,
    help = "seconds between two looks for batches that were missed" },
  ["script-slice"] = { kind = "number", minimum = 0.01, maximum = DAY, default = 0.2,
    help = "seconds a script may compute without waiting" },
  ["lua-memory"] = { kind = "integer", minimum = 16777216, maximum = 1024 * GIB,
    default = 2147483648, help = "most memory of all scripts, in bytes" },
}

local commands = {
  serve = {
    usage = "serve [options]",
    help = "score batches as they land in the bucket, and answer over HTTP",
    options = with("scripts bucket console log-level log-format workers", {
      host = { kind = "text", default = "0.0.0.0", help = "address to listen on" },
      port = { kind = "integer", minimum = 0, maximum = 65535, default = 8000,
        help = "port to listen on; 0 picks a free one and prints it" },
      reload = { kind = "flag", help = "load changed scripts while running" },
      ["tls-cert"] = { kind = "path", help = "serve HTTPS with this certificate and its chain "
        .. "(PEM); loaded anew when it changes" },
      ["tls-key"] = { kind = "path", help = "private key of --tls-cert (PEM)" },
      ["insecure-sns"] = { kind = "flag",
        help = "take unsigned SNS messages: for local use and tests only" },
    }),
  },
  repl = {
    usage = "repl [options]",
    help = "look into a running service, or into a bucket",
    options = with("console bucket scripts", {
      e = { kind = "text", short = true, env = false,
        help = "run this code, print the result, end" },
      write = { kind = "flag", env = false,
        help = "with --bucket: let the session change the bucket" },
      serve = { kind = "integer", env = false, hidden = true },
    }),
  },
  score = {
    usage = "score [options] INPUT.csv|-",
    help = "score one file without a server",
    arguments = { "input" },
    options = with("scripts workers", {
      baseline = { kind = "path", env = false, help = "baseline to start from (JSON)" },
      ["save-baseline"] = { kind = "path", env = false, help = "where the new baseline goes" },
      summary = { kind = "path", env = false, help = "where the summary goes" },
      output = { kind = "path", env = false,
        help = "where the scored file goes (default: stdout)" },
      channels = { kind = "text", env = false, help = "channels, with commas; or: auto" },
    }),
  },
  redrive = {
    usage = "redrive [options] KEY",
    help = "score a batch that had failed (raw/NAME.csv) once more, also while a service runs",
    arguments = { "key" },
    options = with("bucket scripts workers log-level", {}),
  },
  reconcile = {
    usage = "reconcile [options]",
    help = "score what was missed, also while a service runs",
    options = with("bucket scripts workers log-level", {
      ["dry-run"] = { kind = "flag", env = false, help = "only say what would be done" },
    }),
  },
  rebuild = {
    usage = "rebuild [options]",
    help = "compute the baseline from the summaries and compare it with the one that is kept",
    options = with("bucket scripts log-level", {
      write = { kind = "flag", env = false, help = "put it in the place of the one that is kept" },
    }),
  },
  check = {
    usage = "check [options]",
    help = "compile and validate the scripts, start nothing",
    options = with("scripts", {}),
  },
}
commands.subscribe = {
  usage = "subscribe --topic ARN --endpoint URL",
  help = "ask SNS to send a topic's messages to this service",
  options = {
    topic = { kind = "text", env = false, help = "ARN of the topic" },
    endpoint = { kind = "text", env = false,
      help = "URL at which SNS reaches this service: http://ADDRESS:8000/notify" },
  },
}
for name, option in pairs(limits) do commands.serve.options[name] = option end
for name, option in pairs(file_limits) do
  for _, command in ipairs({ "serve", "score", "redrive", "reconcile" }) do
    commands[command].options[name] = option
  end
end
commands.config = {
  usage = "config [options]",
  help = "print what serve would run with, and where each value comes from",
  options = commands.serve.options,
}

local order = { "serve", "repl", "score", "redrive", "reconcile", "rebuild", "check", "config",
  "subscribe" }
local PREFIX = "ANOMALYD_"

local function env_name(name, option)
  if option.env == false then return nil end
  return PREFIX .. name:upper():gsub("%-", "_")
end

--- An option's text in the environment. @return text, variable; or nil
local function env_text(name, option, getenv)
  local variable = env_name(name, option)
  if not variable then return nil end
  for _, candidate in ipairs({ variable, option.env }) do
    local text = getenv(candidate)
    if text and not (text == "" and option.kind ~= "flag") then return text, candidate end
  end
  return nil
end

--- Check one value's text. @return value, or nil and what it should have been
local function convert(option, text)
  if option.kind == "integer" or option.kind == "number" then
    local number = tonumber(text)
    if option.kind == "integer" then number = number and math.tointeger(number) end
    local low, high = option.minimum, option.maximum
    if not number or (low and number < low) or (high and number > high) then
      return nil, ("%s%s%s"):format(option.kind == "integer" and "a whole number" or "a number",
        low and " from " .. low or "", high and " to " .. high or "")
    end
    return number
  elseif option.kind == "choice" then
    for _, choice in ipairs(option.choices) do
      if text == choice then return text end
    end
    local near = suggest.nearest(text, option.choices)
    return nil, ("one of %s%s"):format(table.concat(option.choices, ", "),
      near and "; did you mean " .. near .. "?" or "")
  elseif option.kind == "flag" then
    local known = { ["1"] = true, ["true"] = true, yes = true, ["0"] = false, ["false"] = false,
      no = false, [""] = false }
    if known[text:lower()] == nil then return nil, "1 or 0" end
    return known[text:lower()]
  end
  if text == "" then return nil, "a text" end
  return text
end

local function key_of(name) return (name:gsub("%-", "_")) end

local function unknown(word, names, what)
  local near = suggest.nearest(word, names)
  return nil, ("unknown %s %s%s (see anomalyd --help)"):format(what, word,
    near and "; did you mean " .. near .. "?" or "")
end

local function from_environment(command, values, sources, getenv)
  for name, option in pairs(command.options) do
    local text, variable = env_text(name, option, getenv)
    if text then
      local value, wanted = convert(option, text)
      if value == nil then
        return nil, ("%s=%s: expected %s"):format(variable, text, wanted)
      end
      values[key_of(name)] = value
      sources[key_of(name)] = variable
    elseif option.default ~= nil then
      values[key_of(name)] = option.default
      sources[key_of(name)] = "default"
    end
  end
  return true
end

local function option_names(command)
  local names = {}
  for name, option in pairs(command.options) do
    if not option.hidden then names[#names + 1] = (option.short and "-" or "--") .. name end
  end
  table.sort(names)
  return names
end

--- Take one option at arguments[i]. @return the index of the last argument it used
local function take_option(command, values, sources, arguments, i)
  local word = arguments[i]
  local name, text = word:match("^%-%-?([%w%-]+)=(.*)$")
  name = name or word:match("^%-%-?(.+)$")
  local option = command.options[name]
  if not option or (option.short and not word:find("^%-[^%-]")) or
    (not option.short and not word:find("^%-%-")) then
    return unknown(word:match("^[^=]+"), option_names(command), "option")
  end
  if option.kind == "flag" and not text then
    text = "1"
  elseif not text then
    i = i + 1
    text = arguments[i]
    if not text then return nil, ("%s needs a value"):format(word) end
  end
  local value, wanted = convert(option, text)
  if value == nil then return nil, ("%s %s: expected %s"):format(word, text, wanted) end
  values[key_of(name)] = value
  sources[key_of(name)] = "command line"
  return i
end

local function take_arguments(command, values, words)
  local names = command.arguments or {}
  for i, name in ipairs(names) do
    if not words[i] then return nil, ("%s is missing: anomalyd %s"):format(name, command.usage) end
    values[name] = words[i]
  end
  if #words > #names then return nil, ("unexpected argument %s"):format(words[#names + 1]) end
  return true
end

--- Read a command line.
-- @param arguments list of texts, the command first
-- @param getenv function(name) -> text or nil
-- @return {command =, sources = {option = where its value came from}, option = value, ...};
--   or nil, message
function options.parse(arguments, getenv)
  local first = arguments[1]
  if first == nil then return nil, "no command (see anomalyd --help)" end
  if first == "--help" or first == "-h" or first == "help" then return { command = "help" } end
  if first == "--version" or first == "-V" then return { command = "version" } end
  if first == "-l" then
    if not arguments[2] then return nil, "-l needs a Lua file" end
    return { command = "run", file = arguments[2],
      arguments = table.move(arguments, 3, #arguments, 1, {}) }
  end
  local command = commands[first]
  if not command then return unknown(first, order, "command") end
  local values, sources, words = { command = first }, {}, {}
  local ok, message = from_environment(command, values, sources, getenv)
  if not ok then return nil, message end
  local i, only_words = 2, false
  while arguments[i] do
    local word = arguments[i]
    if only_words or word == "-" or word:sub(1, 1) ~= "-" then
      words[#words + 1] = word
    elseif word == "--" then
      only_words = true
    elseif word == "--help" or word == "-h" then
      return { command = "help", topic = first }
    else
      i, message = take_option(command, values, sources, arguments, i)
      if not i then return nil, message end
    end
    i = i + 1
  end
  ok, message = take_arguments(command, values, words)
  if not ok then return nil, message end
  values.sources = sources
  return values
end

--- A command's options with their values.
-- @param values from options.parse
-- @return list of {name, value or nil, source}, by name
function options.effective(values)
  local rows = {}
  for name, option in pairs(commands[values.command].options) do
    local key = key_of(name)
    local value = values[key]
    if value == nil and option.kind == "flag" then value = false end
    rows[#rows + 1] = { name = name, value = value, source = values.sources[key] or "default" }
  end
  table.sort(rows, function(a, b) return a.name < b.name end)
  return rows
end

--- Variables of the environment that look like ours and are no command's.
-- @param names function() that iterates over the environment's names
-- @return list of "ANOMALYD_PROT is no setting; did you mean ANOMALYD_PORT?"
function options.strangers(names)
  local known, list = {}, {}
  for _, command in pairs(commands) do
    for name, option in pairs(command.options) do
      local variable = env_name(name, option)
      if variable then known[variable:sub(#PREFIX + 1)] = true end
    end
  end
  for variable in names do
    local own = variable:match("^" .. PREFIX .. "(.*)$")
    if own and not known[own] then
      local near = suggest.nearest(own, known)
      list[#list + 1] = ("%s is no setting%s"):format(variable,
        near and "; did you mean " .. PREFIX .. near .. "?" or " (see anomalyd serve --help)")
    end
  end
  table.sort(list)
  return list
end

local function describe(name, option)
  local text = option.help
  if option.default ~= nil then text = text .. (" (default: %s)"):format(option.default) end
  local variable = env_name(name, option)
  if option.env then variable = option.env .. " or " .. variable end
  if variable then text = text .. " [" .. variable .. "]" end
  local value = option.kind == "flag" and "" or " " .. ({ integer = "N", number = "SECONDS",
    choice = "WORD", path = "PATH", text = "TEXT" })[option.kind]
  local label = (option.short and "-" or "--") .. name .. value
  return ("  %-26s %s\n"):format(label, text)
end

--- What --help prints: all commands, or one with its options.
function options.help(topic)
  local out = {}
  local function add(text) out[#out + 1] = text end
  if not topic then
    add("usage: anomalyd COMMAND [options]\n\n")
    for _, name in ipairs(order) do
      add(("  anomalyd %-34s %s\n"):format(commands[name].usage, commands[name].help))
    end
    add(("  anomalyd %-34s %s\n"):format("-l FILE.lua [ARG...]", "run a Lua file inside the host"))
    add(("  anomalyd %-34s %s\n"):format("--version | --help", ""))
    add("\nanomalyd COMMAND --help lists a command's options.\n")
    return table.concat(out)
  end
  local command = commands[topic]
  add(("usage: anomalyd %s\n%s\n\n"):format(command.usage, command.help))
  local names = {}
  for name in pairs(command.options) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if not command.options[name].hidden then add(describe(name, command.options[name])) end
  end
  return table.concat(out)
end

return options
