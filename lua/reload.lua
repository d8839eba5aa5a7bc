--- reload (kernel): from changed files to the next generation, or to an error that changes nothing.
--
-- A change is told by inotify and taken up when nothing has changed for SETTLE seconds; files are
-- compared by their content, so a save that changes nothing loads nothing. One build runs at a
-- time, in a task of its own; what is asked for meanwhile is done after it.
local generation = require("generation")
local host = require("host")
local scripts_dir = require("scripts_dir")
local supervisor = require("supervisor")
local task = require("task")

local reload = {}

local SETTLE = 0.1
local POLL = 0.25
local KEPT = 10

local Reload = {}
Reload.__index = Reload

--- @param scripts the scripts' directory
-- @param shared what outlives generations; gets generation, context, built, reload_error, reloads
--   (the last ones, newest first) and generations (those that are still held, as weak keys)
function reload.new(scripts, shared)
  shared.scripts, shared.reloads = scripts, {}
  shared.generations = setmetatable({}, { __mode = "k" })
  return setmetatable({ scripts = scripts, shared = shared, seen = {} }, Reload)
end

--- Build the next generation and, when it is whole, make it the current one.
-- @return true; or nil, message
function Reload:load(cause)
  local shared, began = self.shared, host.now()
  local number = shared.generation + 1
  local built, context, seen = scripts_dir.build(number, self.scripts, shared)
  self.seen = seen
  table.insert(shared.reloads, 1, { number = number, at = host.time(), cause = cause,
    seconds = host.now() - began, message = not built and context or nil })
  shared.reloads[KEPT + 1] = nil
  if not built then return nil, context end
  shared.generations[built] = true
  shared.generation, shared.context, shared.built = number, context, built
  shared.reload_error = nil
  return true
end

local function once(self, cause)
  local shared = self.shared
  supervisor.reloading()
  local ok, message = self:load(cause)
  if ok then
    if self.on_new then self.on_new() end
    host.log("info", ("reloaded: generation %d"):format(shared.generation), { cause = cause,
      milliseconds = ("%.1f"):format(shared.reloads[1].seconds * 1000) })
  else
    shared.reload_error = message
    shared.context.metrics.count("anomalyd_reload_failures_total")
    host.log("error", ("reload failed, generation %d goes on: %s"):format(shared.generation,
      message), { cause = cause })
  end
  supervisor.reloaded(shared)
  return ok, message
end

--- Load the scripts anew, whether they changed or not. @return true; or nil, message
function Reload:now(cause)
  while self.busy do self.busy:wait(1) end
  if self.shared.draining then return nil, "the service is stopping" end
  local done = task.signal()
  self.busy = done
  local result <close> = setmetatable({}, { __close = function()
    self.busy = nil
    done:fire()
  end })
  local ok, message = once(self, cause)
  return ok, message, result
end

-- ---- watching ----

--- Did what the last build read change? @return whether, and whether a file is gone
local function compare(seen)
  local changed, gone = false, false
  for path, mark in pairs(seen) do
    local now = generation.mark(path)
    if now ~= mark then
      changed = true
      if now == false then gone = true end
    end
  end
  return changed, gone
end

--- Wait until the files are quiet; a file that is gone may be about to come back.
local function settle(self)
  local waited
  repeat
    while host.now() - self.last < SETTLE do
      task.sleep(SETTLE - (host.now() - self.last) + 0.001)
    end
    local changed, gone = compare(self.seen)
    if not changed then return false end
    if not gone or waited then return true end
    waited = true
    self.last = host.now()
  until false
end

local function take_up(self, cause)
  self.last = host.now()
  if self.pending then return end
  self.pending = true
  local guard <close> = setmetatable({}, { __close = function() self.pending = false end })
  -- Again, because a file may have changed after the build had read it.
  while settle(self) and not self.shared.draining do self:now(cause) end
  return guard
end

--- For directories that cannot be watched: look at the files now and then.
local function poll(self, why, path)
  if self.polls then return end
  self.polls = true
  host.log("warning", "the scripts cannot be watched; they are read four times a second instead",
    { path = path, reason = why })
  task.spawn(function()
    while true do
      task.sleep(POLL)
      if compare(self.seen) then take_up(self, "a changed file") end
    end
  end)
end

--- Reload when a file changes that the scripts are made of.
function Reload:watch()
  local watch = require("watch")
  self.watchers = {}
  for _, path in ipairs({ self.scripts, host.root .. "/lua" }) do
    local function on_change(event)
      if event.kind == "blind" then return poll(self, "too many watches", path) end
      if event.name:find("%.lua$") or event.name == "" or event.name:find("/$") then
        take_up(self, event.name == "" and "the directory" or event.name)
      end
    end
    local watcher, message = watch.open(path, on_change)
    self.watchers[path] = watcher
    if not watcher then poll(self, message, path) end
  end
  -- What changed while nobody looked.
  if compare(self.seen) then task.spawn(take_up, self, "a changed file") end
end

return reload
