-- baseline_step: the serial step, against a bucket in memory. It waits, so it is at home in the
-- host.
local inside, task = pcall(require, "task")
if not inside then
  describe("baseline_step", function() pending("runs inside the host only") end)
  return
end

local baseline = require("baseline")
local host = require("host")
local ledger = require("ledger")
local step = require("baseline_step")

--- A bucket that holds one object, with conditional puts; `fail` is asked before each put.
local function memory()
  local self = { version = 0, puts = 0 }
  function self.get()
    if not self.body then return nil, "none", "NoSuchKey" end
    return { body = self.body, etag = tostring(self.version), metadata = self.metadata }
  end
  function self.put(_, _, body, options)
    local fault = self.fail and self.fail()
    if fault == "before" then return nil, "no answer", "Timeout" end
    local there = self.body and tostring(self.version)
    if (options.if_none_match and there) or (options.if_match and options.if_match ~= there) then
      return nil, "another is there", "PreconditionFailed"
    end
    self.body, self.metadata, self.version = body, options.metadata, self.version + 1
    self.puts = self.puts + 1
    if fault == "after" then return nil, "no answer", "Timeout" end
    return { etag = tostring(self.version) }
  end
  return self
end

describe("baseline_step", function()
  local store, state, context, full
  before_each(function()
    store, state, full = memory(), step.new(), 0
    context = { store = store, log = function() end, now = host.now, utc = host.utc,
      metrics = { count = function() end }, ledger_full = function() full = full + 1 end }
    context.current = function() return context end
  end)

  local function count()
    local object = baseline.parse(store.body)
    return object.channels.t and object.channels.t.count or 0
  end

  --- Enter a batch of one value; gives its outcome.
  local function enter(mark, options)
    options = options or {}
    return step.enter(state, { turn = options.turn or step.turn(state), mark = mark,
      read_at = options.read_at or host.now(), quick = function() return nil end,
      look = options.look or function() return { kind = "open" } end,
      update = options.update or function(object, now)
        local before = object.channels.t
        local after = baseline.with(object, { t = { count = (before and before.count or 0) + 1,
          mean = 0.0, M2 = 0.0, std = 0.0 } }, { "t" }, now)
        return after, after
      end }, context)
  end

  local function mark(i) return ("%016x"):format(i) end

  --- Run functions side by side, wait for all.
  local function all(list)
    local left, done = #list, task.signal()
    for _, fn in ipairs(list) do
      task.spawn(function()
        local ok, message = pcall(fn)
        if not ok then error(message, 0) end
        left = left - 1
        done:fire()
      end)
    end
    local deadline = host.now() + 10
    while left > 0 and host.now() < deadline do done:wait(0.1) end
    assert.equal(0, left)
  end

  it("writes a crowd in few puts, in the order of the turns", function()
    local list, order = {}, {}
    for i = 1, 100 do
      local turn = step.turn(state)
      list[i] = function()
        task.sleep(math.random() * 0.01)
        enter(mark(i), { turn = turn, update = function(object, now)
          order[#order + 1] = i
          return baseline.with(object, { t = { count = i, mean = 0.0, M2 = 0.0, std = 0.0 } },
            { "t" }, now), object
        end })
        step.finished(state, mark(i), context)
      end
    end
    all(list)
    for i = 1, 100 do assert.equal(i, order[i]) end
    assert.is_true(store.puts < 60, store.puts)
    assert.is_nil(next(state.inflight))
  end)

  it("counts once when the answer to the write is lost, or the write itself", function()
    for i, fault in ipairs({ "after", "before" }) do
      local faults = 1
      store.fail = function()
        faults = faults - 1
        return faults >= 0 and fault
      end
      assert.equal("counted", enter(mark(i)).kind)
      assert.equal(i, count())
    end
  end)

  it("says that a server has no conditional writes, and does not ask it all the time", function()
    store.body, store.version = baseline.format(baseline.empty()), 7
    local asked, good, result = 0, store.put, nil
    store.put = function()
      asked = asked + 1
      return nil, "not the one expected", "PreconditionFailed"
    end
    task.spawn(function() result = enter(mark(1)) end)
    local deadline = host.now() + 10
    while not state.trouble and host.now() < deadline do task.sleep(0.01) end
    assert.matches("no conditional writes that work", state.trouble)
    local before = asked
    task.sleep(0.3)
    assert.is_true(asked - before < 6)
    store.put = good
    while not result and host.now() < deadline do task.sleep(0.01) end
    assert.equal("counted", result.kind)
    assert.is_nil(state.trouble)
  end)

  it("asks for the input when a write may have counted, or it was read long ago", function()
    local asked = {}
    local function look(uncertain)
      asked[#asked + 1] = uncertain
      return { kind = "open" }
    end
    local faults = 1
    store.fail = function()
      faults = faults - 1
      return faults >= 0 and "before"
    end
    enter(mark(1), { look = look })
    assert.same({ false, true }, asked)
    enter(mark(2), { look = look, read_at = host.now() - 1000 })
    assert.same({ false, true, true }, asked)
  end)

  it("never names more batches than the ledger holds, and goes on when there is room", function()
    local results, list = {}, {}
    for i = 1, ledger.limit + 20 do
      list[i] = function() results[i] = enter(mark(i)).kind end
    end
    for _, fn in ipairs(list) do task.spawn(fn) end
    local deadline = host.now() + 10
    while full == 0 and host.now() < deadline do task.sleep(0.01) end
    assert.equal(ledger.limit, count())
    assert.equal(ledger.limit, ledger.count(ledger.parse(store.metadata.ledger)))
    for i = 1, 30 do step.finished(state, mark(i), context) end
    while not results[ledger.limit + 20] and host.now() < deadline do task.sleep(0.01) end
    assert.equal(ledger.limit + 20, count())
    assert.equal(ledger.limit - 10, ledger.count(ledger.parse(store.metadata.ledger)))
  end)

  it("is not stopped by a full ledger that an ended process left", function()
    local marks = {}
    for i = 1, ledger.limit do marks[mark(i)] = true end
    store.body = baseline.format(baseline.empty())
    store.metadata = { ledger = ledger.format(marks) }
    local result
    task.spawn(function() result = enter(mark(1000)) end)
    local deadline = host.now() + 10
    while full == 0 and host.now() < deadline do task.sleep(0.01) end
    assert.is_nil(result)
    assert.equal(ledger.limit, #step.foreign(state))
    step.settle(state, { [mark(7)] = true }, nil, host.now(), context)
    while not result and host.now() < deadline do task.sleep(0.01) end
    assert.equal("counted", result.kind)
    assert.is_nil(store.metadata.ledger:find(mark(7), 1, true))
  end)

  it("keeps the mark of a replaced input for a good while", function()
    store.body = baseline.format(baseline.empty())
    store.metadata = { ledger = mark(1) .. mark(2) }
    step.load(state, context)
    step.settle(state, {}, { [mark(2)] = true }, 1000, context)
    step.settle(state, {}, { [mark(2)] = true }, 1800, context)
    assert.equal(2, #step.foreign(state))
    step.settle(state, {}, { [mark(2)] = true }, 1901, context)
    assert.same({ mark(2) }, step.foreign(state))
  end)

  it("fails one batch for its own trouble, and no other", function()
    local kinds = {}
    all({
      function() kinds[1] = enter(mark(1), { look = function()
        return nil, "no access", "AccessDenied"
      end }).kind end,
      function() kinds[2] = enter(mark(2)).kind end,
      function() kinds[3] = enter(mark(3), { update = function()
        error("the script's")
      end }).kind end,
      function() kinds[4] = enter(mark(4), { look = function()
        return { kind = "duplicate" }
      end }).kind end,
    })
    assert.same({ "error", "counted", "error", "duplicate" }, kinds)
    assert.equal(1, count())
  end)

  it("holds nothing for a batch whose task is cancelled while it waits", function()
    local first = step.turn(state)
    local id, ended
    task.spawn(function()
      id = task.id()
      pcall(enter, mark(1))
      ended = true
    end)
    task.sleep(0.01)
    task.cancel(id) -- the first turn is open, so it waits
    task.sleep(0.01)
    assert.is_true(ended)
    assert.is_nil(next(state.waiting))
    assert.equal("counted", enter(mark(2), { turn = first }).kind)
    assert.equal("counted", enter(mark(3)).kind)
    assert.equal(2, count())
    -- The same while it is being carried out: it is counted, and is nobody's any more.
    local looking, go = task.signal(), task.signal()
    task.spawn(function()
      id = task.id()
      pcall(enter, mark(4), { look = function()
        looking:fire()
        go:wait(5)
        return { kind = "open" }
      end })
    end)
    looking:wait(5)
    task.cancel(id)
    go:fire()
    local deadline = host.now() + 5
    while count() < 3 and host.now() < deadline do task.sleep(0.01) end
    step.finished(state, mark(2), context)
    step.finished(state, mark(3), context)
    assert.same({}, state.inflight)
    assert.same({ mark(4) }, step.foreign(state))
  end)

  it("does not gather marks of batches that were done before", function()
    for i = 1, 50 do
      enter(mark(i), { look = function() return { kind = "duplicate" } end })
      step.finished(state, mark(i), context)
    end
    enter(mark(51))
    local n = 0
    for _ in pairs(state.droppable) do n = n + 1 end
    assert.is_true(n <= 1, n)
  end)
end)
