--- service: one generation, put together: what the kernel calls and what the modules share.
--
-- new(entry, shared) checks what scripts/app.lua returned and fills this generation's context. The
-- state in `shared` outlives generations and holds no function of one.
local context = require("context")
local history = require("history")
local host = require("host")
local json = require("json")
local keys = require("keys")
local memory = require("memory")
local number = require("number")
local pipeline = require("pipeline")
local policy = require("policy")
local queue = require("queue")
local reconcile = require("reconcile")
local requests = require("requests")
local sns_flow = require("sns_flow")
local step = require("baseline_step")
local store = require("store")
local suggest = require("suggest")
local task = require("task")

local service = {}

local LEDGER_PAUSE = 5 -- seconds between two looks at a full ledger
local MOST_ROWS = 10000 -- /anomalies/recent shows no more of one file

local ENTRY = { app = "table", policy = "table", detect = "function", handshake = "table" }

--- Check the table that scripts/app.lua returned. @return the checked policy; or nil, message
local function check_entry(entry)
  if type(entry) ~= "table" then return nil, "scripts/app.lua must return a table" end
  for name in pairs(entry) do
    if not ENTRY[name] then
      return nil, ("scripts/app.lua: unknown field '%s'%s"):format(tostring(name),
        suggest.phrase(tostring(name), ENTRY))
    end
  end
  for name, kind in pairs(ENTRY) do
    if type(entry[name]) ~= kind then
      return nil, ("scripts/app.lua: %s must be a %s, not %s"):format(name, kind, type(entry[name]))
    end
  end
  if type(entry.app.dispatch) ~= "function" then
    return nil, 'scripts/app.lua: app must come from require("router").new()'
  end
  local good, message = sns_flow.check(entry.handshake)
  if not good then return nil, "scripts/sns_handshake.lua: " .. message end
  return policy.check(entry.policy, "scripts/baseline_policy.lua")
end

--- A scored file's flagged rows as JSON objects in the order of its columns.
local function flagged_rows(frame, key)
  local rows, names = frame:select("anomaly", "True", MOST_ROWS)
  local order = table.move(names, 1, #names, 1, {})
  order[#order + 1] = "source_file"
  local list = {}
  for i, cells in ipairs(rows) do
    local row = {}
    for k, name in ipairs(names) do
      row[name] = cells[k]
    end
    row.source_file = key
    list[i] = json.object(order, row)
  end
  return list
end

--- The state that outlives generations, where the first one finds none.
local function prepare(shared)
  shared.metrics = shared.metrics or {}
  shared.baseline = shared.baseline or step.new()
  shared.history = shared.history or history.new()
  shared.queue = shared.queue or queue.new({ limit = shared.options.queue_limit or 10000,
    width = 64, bytes = memory.files_at_once() })
end

--- The ledger has no room: see soon whose marks they are.
local function ledger_full(shared)
  if shared.ledger_full or not shared.look_now then return end
  shared.ledger_full = true
  host.log("warning",
    "the ledger is full of batches that are counted and not scored; looking again")
  task.spawn(function()
    task.sleep(LEDGER_PAUSE)
    shared.ledger_full = nil
    step.forget(shared.baseline)
    shared.look_now:fire()
  end)
end

local function fill(entry, checked, shared, generation)
  prepare(shared)
  context.shared = shared
  context.generation = generation
  context.options = shared.options
  context.policy = checked
  context.detect = entry.detect
  context.handshake = entry.handshake
  context.app = entry.app
  context.metrics = require("metrics").of(shared.metrics)
  context.utc, context.now, context.time = host.utc, host.now, host.time
  context.log = function(level, message, fields)
    if level == "error" then
      fields = fields or {}
      fields.generation = generation
    end
    return host.log(level, message, fields)
  end
  context.round4 = function(x) return tonumber(number.fixed4(x)) end
  context.flagged_rows = flagged_rows
  context.baseline_state = shared.baseline
  context.history_state = shared.history
  context.queue_state = shared.queue
  context.limits = memory.file_limits(shared.options)
  context.store = shared.handle and store.counted(shared.handle, context.metrics)
  context.current = shared.current
  context.process = function(item)
    local outcome, message, code = pipeline.process(item, context)
    memory.after(item.bytes, shared)
    return outcome, message, code
  end
  context.accept = function(event) return queue.accept(shared.queue, event, shared.current()) end
  context.start_ready = function() queue.start_ready(shared.queue, context) end
  context.run_step = function() step.resume(shared.baseline, context) end
  context.is_input = function(key) return keys.name(key) ~= nil end
  context.drain = function(seconds) return queue.drain(shared.queue, seconds, host.now) end
  context.ledger_full = function() ledger_full(shared) end
  context.reconcile = function() return reconcile.run(context) end
  context.is_complete = function(key)
    if context.store.kind ~= "directory" then return true end
    return context.store.bucket:complete(key)
  end
  context.history = {
    add = function(key, summary, identity, text)
      history.add(shared.history, keys.name(key), summary, identity, text)
    end,
    failed = function(key, source)
      history.failed(shared.history, keys.name(key), source, host.utc())
    end,
    has_failure = function(key) return shared.history.failures[keys.name(key)] ~= nil end,
    forget_failure = function(key) shared.history.failures[keys.name(key)] = nil end,
    find = function(key) return history.find(shared.history, keys.name(key)) end,
    is_done = function(key, etag)
      return history.is_done(shared.history, keys.name(key), etag)
    end,
  }
  context.handle = function(request) return requests.handle(context, request) end
  return context
end

--- Put a generation together.
-- @param entry what scripts/app.lua returned
-- @param shared the state that outlives generations
-- @param generation its number
-- @return the context; or nil, message
function service.new(entry, shared, generation)
  local checked, message = check_entry(entry)
  if not checked then return nil, message end
  return fill(entry, checked, shared, generation)
end

return service
