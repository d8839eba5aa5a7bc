--- console_commands: what begins with a colon in the console.
local context = require("context")
local help = require("help")
local host = require("host")
local json = require("json")
local keys = require("keys")
local live = require("console_live")
local pretty = require("pretty")
local queue = require("queue")
local suggest = require("suggest")
local task = require("task")

local commands = {}

local list = {}

local function age(seconds)
  if seconds < 1 then return ("%.0f ms"):format(seconds * 1000) end
  if seconds < 120 then return ("%.1f s"):format(seconds) end
  if seconds < 7200 then return ("%.1f min"):format(seconds / 60) end
  return ("%.1f h"):format(seconds / 3600)
end

local function bytes(n)
  return ("%.1f MB"):format(n / 1e6)
end

local function short(x) return x and tonumber(("%.6g"):format(x)) end

local function show(session, rows, columns, empty)
  if #rows == 0 then return empty end
  return pretty.table(rows, columns, { color = session.color })
end

-- ---- the baseline ----

local function channel_row(name, channel, mature_from)
  local past = live.channel_history(name)
  local means = {}
  for i = #past, 1, -1 do means[#means + 1] = past[i].mean end
  return { channel = name, observations = channel.count, mean = short(channel.mean),
    std = short(channel.std), mature = channel.count >= mature_from and "yes" or "no",
    last = past[1] and short(past[1].mean), distance = past[1] and
      ("%+.2f"):format(past[1].distance), recent = pretty.sparkline(means) }
end

local function one_channel(session, name)
  local object = live.baseline_object()
  local past = live.channel_history(name)
  local row = channel_row(name, object.channels[name], live.policy_of(session).maturity)
  for _, one in ipairs(past) do
    one.mean, one.std, one.distance = short(one.mean), short(one.std),
      ("%+.2f"):format(one.distance)
    one.processed_at = one.processed_at:sub(1, 19)
  end
  return show(session, { row }, { "channel", "observations", "mean", "std", "mature", "recent" })
    .. "\n\n" .. show(session, past, { "batch", "processed_at", { "count", title = "values" },
    "mean", "std", "distance", "anomalies" }, "no scored batch has this channel")
end

list.baseline = { usage = ":baseline [channel]",
  text = "What the baseline knows; with a channel also its recent batches",
  choices = function()
    local cached = context.baseline_state.cached
    return cached and cached.object.order
  end,
  run = function(session, words)
    if words[1] then return one_channel(session, words[1]) end
    local object, rows = live.baseline_object(), {}
    for _, name in ipairs(object.order) do
      rows[#rows + 1] = channel_row(name, object.channels[name], live.policy_of(session).maturity)
    end
    return show(session, rows, { "channel", "observations", "mean", "std", "mature",
      { "last", title = "last batch" }, "distance", "recent" },
      "the baseline is empty: no batch was learned yet")
  end }

-- ---- batches ----

local STATES = { "queued", "running", "retrying", "done", "failed" }

local function batch_rows(state, limit)
  local rows = queue.list(context.queue_state, state, limit)
  for _, row in ipairs(rows) do
    row.accepted = context.utc(row.accepted):sub(12, 19)
    row.detail = row.detail and tostring(row.detail):match("^[^\n]*")
  end
  return rows
end

local function known_batches()
  local rows = {}
  for _, summary in ipairs(live.recent_summaries(20)) do
    rows[#rows + 1] = { key = summary.source_key, state = "done", rows = summary.total_rows,
      anomalies = summary.anomaly_count, processed_at = summary.processed_at:sub(1, 19) }
  end
  return rows
end

list.batches = { usage = ":batches [queued|running|retrying|done|failed]",
  text = "Batches of this run, newest first; before the first one the bucket's",
  choices = function() return STATES end,
  run = function(session, words)
    local rows = batch_rows(words[1], 30)
    if #rows == 0 and not words[1] then
      return show(session, known_batches(), { "key", "processed_at", "rows", "anomalies" },
        "no batch yet")
    end
    return show(session, rows, { "key", "state", "result", "attempts", "accepted", "source",
      "detail" }, "no such batch")
  end }

local function failure_row(name, failure)
  local found = context.store:get(keys.failure(name))
  local record = found and json.decode(found.body) or {}
  return { key = keys.input(name), at = (failure.at or ""):sub(1, 19), code = record.code,
    line = record.line, reason = record.reason }
end

list.failed = { usage = ":failed", text = "Batches that can never be scored, and why",
  run = function(session)
    live.recent_summaries(0)
    local names = {}
    for name in pairs(context.history_state.failures) do names[#names + 1] = name end
    local failures = context.history_state.failures
    table.sort(names, function(a, b)
      local at, bt = failures[a].at or "", failures[b].at or ""
      if at ~= bt then return at > bt end
      return a < b
    end)
    local rows = {}
    for i = 1, math.min(#names, 20) do rows[i] = failure_row(names[i], failures[names[i]]) end
    return show(session, rows, { "key", "at", "code", "line", "reason" }, "none")
  end }

list.queue = { usage = ":queue", text = "How many batches wait and run, and which",
  run = function(session)
    local state = context.queue_state
    local lines = { ("%d waiting, %d running (at most %d), limit %d"):format(queue.length(state),
      state.running, state.width, state.limit) }
    local rows = {}
    for _, wanted in ipairs({ "running", "retrying", "queued" }) do
      for _, row in ipairs(batch_rows(wanted, 20)) do rows[#rows + 1] = row end
    end
    if #rows > 0 then
      lines[2] = show(session, rows, { "key", "state", "attempts", "accepted", "detail" })
    end
    return table.concat(lines, "\n")
  end }

-- ---- the process ----

list.tasks = { usage = ":tasks", text = "What runs and waits in the service",
  run = function(session)
    local rows = task.list()
    table.sort(rows, function(a, b) return a.id < b.id end)
    for _, row in ipairs(rows) do
      row.age = age(row.age)
      if row.waits == "" then row.waits = row.id == task.id() and "(this line)" or "(ready)" end
    end
    return show(session, rows, { "id", "age", { "waits", title = "waits for" },
      { "name", title = "began as" } })
  end }

list.routes = { usage = ":routes", text = "The HTTP routes of this generation",
  run = function(session)
    local rows = {}
    for _, route in ipairs(context.app.routes) do
      local info = debug.getinfo(route.handler, "S")
      rows[#rows + 1] = { method = route.method, path = route.path,
        summary = route.options.summary, handler = ("%s:%d"):format(info.short_src,
          info.linedefined) }
    end
    return show(session, rows, { "method", "path", "handler", "summary" }, "none")
  end }

list.gen = { usage = ":gen", text = "The generation of scripts that serves, and the last reloads",
  run = function(session)
    local shared, rows = context.shared, {}
    for i, one in ipairs(shared.reloads or {}) do
      rows[i] = { generation = one.number, at = context.utc(one.at):sub(1, 19),
        ms = tonumber(("%.1f"):format(one.seconds * 1000)), cause = one.cause,
        result = one.message and "refused: " .. one.message:match("^[^\n]*") or "good" }
    end
    local lines = { ("generation %d, scripts in %s%s"):format(shared.generation,
      shared.scripts or "?", shared.options.reload and ", reloaded when they change" or "") }
    if #rows > 0 then
      lines[#lines + 1] = show(session, rows, { "at", "generation", "ms", "cause", "result" })
    end
    if shared.reload_error then
      lines[#lines + 1] = "the last reload was refused:\n" .. shared.reload_error
    end
    return table.concat(lines, "\n")
  end }

list.mem = { usage = ":mem", text = "Memory of the process and of Lua, generations still held",
  run = function()
    collectgarbage()
    local stats, alive = host.stats(), 0
    for _ in pairs(context.shared.generations or {}) do alive = alive + 1 end
    return ("process %s, Lua %s, tasks %d, worker threads %d, generations held %d"):format(
      bytes(stats.memory), bytes(stats.lua_memory), stats.tasks, stats.workers, alive)
  end }

list.reload = { usage = ":reload", text = "Load the scripts anew now",
  run = function(session)
    local reload = context.shared.reload
    if not reload then error("there is no service here whose scripts could be loaded anew", 0) end
    live.note(session, "reload")
    local ok, message = reload("console")
    if not ok then return nil, tostring(message or "the service is stopping") end
    return ("generation %d serves"):format(context.shared.generation)
  end }

list.log = { usage = ":log [debug|info|warning|error|critical]",
  text = "The least level that the service logs; with a word it is set",
  choices = function() return { "debug", "info", "warning", "error", "critical" } end,
  run = function(session, words)
    local before = host.log_level():lower()
    if not words[1] then return before end
    local ok = pcall(host.log_setup, { level = words[1] })
    if not ok then
      return nil, (":log %s: the levels are debug, info, warning, error, critical"):format(words[1])
    end
    live.note(session, "log level", { before = before, now = words[1] })
    return ("%s (was %s)"):format(words[1], before)
  end }

-- ---- the console ----

list.watch = { usage = ":watch SECONDS EXPRESSION",
  text = "Show an expression (or a command) again and again, until Ctrl-C",
  run = function(session, _, rest, repl)
    local seconds, code = rest:match("^([%d%.]+)%s+(.+)$")
    seconds = tonumber(seconds)
    if not seconds or seconds < 0.05 then
      return nil, "usage: :watch SECONDS EXPRESSION   (at least 0.05 seconds)"
    end
    while true do
      local kind, text = repl.line(session, code)
      if kind ~= "R" then return nil, text end
      session.out(("%s  %s\n"):format(host.utc():sub(12, 19),
        text:find("\n", 1, true) and "\n" .. text or text))
      task.sleep(seconds)
    end
  end }

list.help = { usage = ":help [NAME]",
  text = "This list, or what NAME is (csv, csv.parse, baseline)",
  choices = function() return help.names() end,
  run = function(session, words)
    if words[1] then
      local text, why = help.of(words[1])
      if not text then return nil, why end
      return text
    end
    local rows = {}
    for name, one in pairs(list) do rows[#rows + 1] = { name = name, usage = one.usage,
      what = one.text } end
    table.sort(rows, function(a, b) return a.name < b.name end)
    return help.overview(pretty.table(rows, { { "usage", title = "command" }, "what" },
      { color = session.color }))
  end }

list.quit = { usage = ":quit", text = "Leave the console; the service goes on (also Ctrl-D)",
  run = function() return "", nil, "Q" end }

--- Run a command. @return "R", "F" or "Q", and the text
function commands.run(session, line, repl)
  local name, rest = line:match("^%s*:%s*(%S*)%s*(.-)%s*$")
  local command = list[name]
  if not command then
    local near = suggest.nearest(name, list)
    return "F", ("no command :%s%s (:help lists them)"):format(name,
      near and "; did you mean :" .. near .. "?" or "")
  end
  local words = {}
  for word in rest:gmatch("%S+") do words[#words + 1] = word end
  local text, message, kind = command.run(session, words, rest, repl)
  if not text then return "F", message end
  return kind or "R", text
end

--- The commands and what may follow them, for completion.
function commands.choices()
  local result = {}
  for name, command in pairs(list) do result[name] = command.choices or true end
  return result
end

--- The commands as {name = {usage, text}}, for the help and its spec.
function commands.all() return list end

return commands
