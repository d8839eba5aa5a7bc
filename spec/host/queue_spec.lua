-- The queue of batches, and waits side by side.
local queue = require("queue")
local task = require("task")
local together = require("together")

--- A context whose process calls `fn(item)`; what was logged is in `logged`.
local function context_of(fn)
  local context = { logged = {} }
  context.time = function() return 0 end
  context.log = function(_, text) context.logged[#context.logged + 1] = text end
  context.current = function() return context end
  context.process = fn
  return context
end

--- Wait until the queue is idle.
local function settle(state)
  for _ = 1, 1000 do
    if queue.idle(state) then return end
    task.sleep(0.005)
  end
  error("the queue never came to rest")
end

local function event(key, etag, source) return { key = key, etag = etag, source = source } end

describe("the queue", function()
  it("begins batches in the order in which they came, so many side by side", function()
    local order, running, most = {}, 0, 0
    local state = queue.new({ limit = 100, width = 3 })
    local context = context_of(function(item)
      order[#order + 1] = item.key
      running = running + 1
      most = math.max(most, running)
      task.sleep(0.002)
      running = running - 1
      return "done"
    end)
    local expected = {}
    for i = 1, 20 do
      expected[i] = "k" .. i
      assert.equal("queued", queue.accept(state, event("k" .. i), context))
    end
    settle(state)
    assert.same(expected, order)
    assert.equal(3, most)
    assert.equal(20, state.counts.done)
    assert.equal(0, queue.length(state))
    assert.equal(1, #queue.list(state, "done", 1))
  end)

  it("holds large files back while those that run are as large together as they may be", function()
    local order, bytes, most = {}, 0, 0
    local state = queue.new({ limit = 100, width = 64, bytes = 100 })
    local context = context_of(function(item)
      order[#order + 1] = item.key
      bytes = bytes + (item.size or 0)
      most = math.max(most, bytes)
      task.sleep(0.002)
      bytes = bytes - (item.size or 0)
      return "done"
    end)
    -- One that is larger than all there is runs alone; one of unknown size needs no room.
    local sizes = { 40, 60, 1, 1000, 30, 30, 30, 30, 99, false, 10 }
    local expected = {}
    for i, size in ipairs(sizes) do
      expected[i] = "k" .. i
      queue.accept(state, { key = "k" .. i, size = size or nil }, context)
    end
    assert.equal(2, state.running)
    settle(state)
    assert.same(expected, order)
    assert.equal(1000, most)
    assert.equal(0, state.bytes)
  end)

  it("waits for the largest size that was told of a file", function()
    local gate, begun = task.signal(), 0
    local state = queue.new({ limit = 100, width = 64, bytes = 100 })
    local context = context_of(function()
      begun = begun + 1
      gate:wait(10)
      return "done"
    end)
    queue.accept(state, { key = "a", size = 90 }, context)
    queue.accept(state, { key = "b", size = 50 }, context)
    queue.accept(state, { key = "b", size = 5 }, context)
    task.sleep(0.01)
    assert.equal(1, begun)
    gate:fire()
    task.sleep(0.01)
    assert.equal(2, begun)
    gate:fire()
    settle(state)
  end)

  it("knows a batch while it waits or runs", function()
    local gate, runs = task.signal(), {}
    local state = queue.new({ limit = 100, width = 1 })
    local context = context_of(function(item)
      runs[#runs + 1] = item.key
      item.etag = "e" .. #runs
      gate:wait(5)
      return "done"
    end)
    assert.equal("queued", queue.accept(state, event("a"), context))
    assert.equal("queued", queue.accept(state, event("b"), context))
    assert.equal("known", queue.accept(state, event("b", "x"), context))
    task.sleep(0.005)
    assert.equal("known", queue.accept(state, event("a", "e1"), context)) -- what is being read
    assert.equal("known", queue.accept(state, event("a", "zz", "reconcile"), context))
    for _ = 1, 3 do
      gate:fire()
      task.sleep(0.005)
    end
    settle(state)
    assert.same({ "a", "b" }, runs)
  end)

  it("runs a batch again when its content changed meanwhile", function()
    local gate, runs = task.signal(), 0
    local state = queue.new({ limit = 1, width = 1 })
    local context = context_of(function(item)
      runs = runs + 1
      item.etag = "e" .. runs
      gate:wait(5)
      return "done"
    end)
    queue.accept(state, event("a"), context)
    task.sleep(0.005)
    for _ = 1, 5 do queue.accept(state, event("a", "other"), context) end
    for _ = 1, 3 do
      gate:fire()
      task.sleep(0.005)
    end
    settle(state)
    assert.equal(2, runs)
  end)

  it("refuses what passes its limit", function()
    local gate = task.signal()
    local state = queue.new({ limit = 2, width = 1 })
    local context = context_of(function()
      gate:wait(5)
      return "done"
    end)
    queue.accept(state, event("running"), context)
    queue.accept(state, event("one"), context)
    assert.is_true(queue.room(state, 1))
    assert.is_false(queue.room(state, 2))
    queue.accept(state, event("two"), context)
    local taken, message, code = queue.accept(state, event("three"), context)
    assert.is_nil(taken)
    assert.equal("the queue holds 2 batches, its limit", message)
    assert.equal("QueueFull", code)
    assert.equal("known", queue.accept(state, event("one"), context))
    for _ = 1, 4 do
      gate:fire()
      task.sleep(0.005)
    end
    settle(state)
    assert.equal(3, state.counts.done)
  end)

  it("has room for what was told while its key was being worked on", function()
    local seen, gate = {}, task.signal()
    local state = queue.new({ limit = 1, width = 1 })
    local context = context_of(function(item)
      seen[#seen + 1] = item.key
      assert(not item.after, "what was gone was not done")
      if #seen == 1 then gate:wait(5) end
      item.etag = "e" .. #seen
      return #seen == 1 and "gone" or "done"
    end)
    queue.accept(state, event("a"), context)
    task.sleep(0.01)
    queue.accept(state, event("b"), context)
    assert.equal("known", queue.accept(state, event("a", "new"), context))
    assert.is_nil(queue.accept(state, event("c"), context))
    gate:fire()
    settle(state)
    assert.same({ "a", "b", "a" }, seen)
  end)

  it("tries again what failed for a passing reason, and what raised", function()
    local attempts = {}
    local state = queue.new({ limit = 10, width = 2 })
    local context = context_of(function(item)
      attempts[item.key] = (attempts[item.key] or 0) + 1
      if attempts[item.key] == 1 then
        if item.key == "raises" then error("oh") end
        return nil, "the bucket is away", "Unavailable"
      end
      return "done", nil
    end)
    queue.accept(state, event("fails"), context)
    queue.accept(state, event("raises"), context)
    task.sleep(0.02)
    assert.equal(2, #queue.list(state, "retrying", 10))
    assert.equal("known", queue.accept(state, event("fails", "new"), context))
    settle(state)
    assert.same({ fails = 2, raises = 2 }, attempts)
    assert.equal(2, #context.logged)
    assert.equal(0, state.running)
  end)

  it("records what failed for good", function()
    local state = queue.new({ limit = 10, width = 1 })
    queue.accept(state, event("bad"), context_of(function() return "failed", "no CSV" end))
    settle(state)
    local row = queue.list(state, "failed", 5)[1]
    assert.equal("bad", row.key)
    assert.equal("no CSV", row.detail)
    assert.equal(0, #queue.list(state, nil, 0))
  end)

  it("keeps only so many that are over", function()
    local state = queue.new({ limit = 1000, width = 64 })
    local context = context_of(function() return "done" end)
    for i = 1, 700 do queue.accept(state, event("k" .. i), context) end
    settle(state)
    assert.equal(700, state.counts.done)
    assert.equal(500, #queue.list(state, nil, 1000))
    assert.is_nil(next(state.waiting))
  end)

  it("drains: what runs may end, nothing begins", function()
    local gate, runs = task.signal(), 0
    local now = require("host").now
    local state = queue.new({ limit = 10, width = 1 })
    local context = context_of(function()
      runs = runs + 1
      gate:wait(5)
      return "done"
    end)
    queue.accept(state, event("a"), context)
    queue.accept(state, event("b"), context)
    task.sleep(0.005)
    local drained, left = queue.drain(state, 0.02, now)
    assert.is_false(drained)
    assert.equal(1, left)
    assert.is_false(queue.room(state, 1))
    assert.equal("Draining", select(3, queue.accept(state, event("c"), context)))
    gate:fire()
    assert.is_true(queue.drain(state, 2, now))
    task.sleep(0.005)
    assert.equal(1, runs)
  end)

  it("goes on with the newest generation's code", function()
    local state = queue.new({ limit = 10, width = 1 })
    local by = {}
    local new = context_of(function(item)
      by[item.key] = "new"
      return "done"
    end)
    new.start_ready = function() queue.start_ready(state, new) end
    local old = context_of(function(item)
      by[item.key] = "old"
      task.sleep(0.005)
      return "done"
    end)
    queue.accept(state, event("a"), old)
    queue.accept(state, event("b"), old)
    task.sleep(0)
    old.current = function() return new end
    settle(state)
    assert.same({ a = "old", b = "new" }, by)
  end)
end)

describe("waits side by side", function()
  it("are at most so many, and all are waited for", function()
    local running, most, seen = 0, 0, {}
    local items = {}
    for i = 1, 25 do items[i] = i end
    assert.is_true(together.each(items, 4, function(i)
      running = running + 1
      most = math.max(most, running)
      task.sleep(0.001 * (i % 3))
      seen[i] = true
      running = running - 1
    end))
    assert.equal(4, most)
    assert.equal(25, #seen)
    assert.equal(0, running)
  end)

  it("need no item", function()
    assert.is_true(together.each({}, 4, error))
  end)

  it("begin no further ones after a failure, and say where it was", function()
    local begun = 0
    local ok, message = together.each({ 1, 2, 3, 4, 5, 6 }, 2, function(i)
      begun = begun + 1
      task.sleep(0.001)
      if i == 1 then error("the first failed") end
      task.sleep(0.005)
    end)
    assert.is_nil(ok)
    assert.truthy(message:find("queue_spec.lua:%d+: the first failed"))
    assert.truthy(message:find("traceback", 1, true))
    assert.is_true(begun <= 3)
  end)
end)

describe("a script's own coroutine", function()
  it("is as in stock Lua where nothing waits", function()
    local co = coroutine.create(function(a, b)
      local c = coroutine.yield(a + b, nil, nil)
      return c, nil
    end)
    assert.same({ true, 3, nil, nil, n = 4 }, table.pack(coroutine.resume(co, 1, 2)))
    assert.same({ true, "x", nil, n = 3 }, table.pack(coroutine.resume(co, "x")))
    assert.same({ false, "cannot resume dead coroutine", n = 2 }, table.pack(coroutine.resume(co)))
    assert.is_false(pcall(coroutine.resume, 1))
    assert.is_false(pcall(coroutine.wrap, 1))
    local f = coroutine.wrap(function() error({ code = 1 }) end)
    local ok, problem = pcall(f)
    assert.is_false(ok)
    assert.equal(1, problem.code)
  end)

  it("closes what is to be closed when it is cut off in a wait", function()
    local closed = false
    local co = coroutine.wrap(function()
      local guard <close> = setmetatable({}, { __close = function() closed = true end })
      task.sleep(0.001)
      error(guard)
    end)
    assert.is_false(pcall(co))
    assert.is_true(closed)
  end)
end)
