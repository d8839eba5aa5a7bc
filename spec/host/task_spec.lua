-- Tasks: waiting anywhere, the runaway guard, cancelling, and what a script must not break.
local column = require("column")
local host = require("host")
local task = require("task")

--- Run fn as a task and wait for what it returns.
local function in_task(fn)
  local result, done = nil, task.signal()
  task.spawn(function()
    result = table.pack(pcall(fn))
    done:fire()
  end)
  while not result do done:wait(1) end
  return table.unpack(result, 1, result.n)
end

describe("a task", function()
  it("sleeps while others run", function()
    local order = {}
    task.spawn(function()
      task.sleep(0.02)
      order[#order + 1] = "late"
    end)
    task.spawn(function() order[#order + 1] = "early" end)
    task.sleep(0.05)
    assert.same({ "early", "late" }, order)
  end)

  it("waits for a signal, or for its time to be over", function()
    local signal = task.signal()
    task.spawn(function() signal:fire() end)
    assert.is_true(signal:wait(5))
    assert.is_false(signal:wait(0.01))
  end)

  it("wakes all that wait", function()
    local signal, woken = task.signal(), 0
    for _ = 1, 5 do
      task.spawn(function()
        signal:wait()
        woken = woken + 1
      end)
    end
    task.sleep(0.01)
    signal:fire()
    task.sleep(0.01)
    assert.equal(5, woken)
  end)

  it("waits inside a coroutine that a script made", function()
    local function numbers(n)
      return coroutine.wrap(function()
        for i = 1, n do
          task.sleep(0.001)
          coroutine.yield(i)
        end
      end)
    end
    local seen = {}
    for i in numbers(3) do seen[#seen + 1] = i end
    assert.same({ 1, 2, 3 }, seen)
    local outer = coroutine.wrap(function()
      for i in numbers(2) do coroutine.yield(i * 10) end
    end)
    assert.equal(10, outer())
    assert.equal(20, outer())
  end)

  it("gets errors through a coroutine with their place", function()
    local co = coroutine.create(function()
      task.sleep(0.001)
      error("deep")
    end)
    local ok, message = coroutine.resume(co)
    assert.is_false(ok)
    assert.truthy(message:find("task_spec.lua:%d+: deep"))
    assert.equal("dead", coroutine.status(co))
  end)

  it("is told where it cannot wait", function()
    local ok, message = pcall(table.sort, { 2, 1 }, function(a, b)
      task.sleep(0.001)
      return a < b
    end)
    assert.is_false(ok)
    assert.truthy(message:find("task.sleep cannot wait here", 1, true))
  end)

  it("is ended when it computes for too long", function()
    host.configure({ slice = 0.05 })
    local ok, message = in_task(function() while true do end end)
    host.configure({ slice = 3600 })
    task.sleep(0)
    assert.is_false(ok)
    assert.truthy(message:find("task_spec.lua:%d+: script ran too long: 50 ms without waiting"))
  end)

  it("is not told that the text was wrong when its time ended while reading it", function()
    local json = require("json")
    host.configure({ slice = 0.02 })
    local ok, message = in_task(function()
      while true do assert(json.decode('{"a":[1,2.0,"\\u0041"],"\\n":{}}')) end
    end)
    host.configure({ slice = 3600 })
    task.sleep(0)
    assert.is_false(ok)
    assert.truthy(message:find("script ran too long", 1, true))
  end)

  it("is ended also when it catches that and goes on", function()
    host.configure({ slice = 0.05 })
    local caught = 0
    local id = task.spawn(function()
      while true do
        pcall(function() while true do end end)
        caught = caught + 1
      end
    end)
    for _ = 1, 100 do
      task.sleep(0.01)
      if not task.cancel(id) then break end
    end
    host.configure({ slice = 3600 })
    task.sleep(0)
    assert.is_false(task.cancel(id))
    assert.is_true(caught <= 2)
  end)

  it("gets an error from its wait when it is cancelled", function()
    local message
    local id = task.spawn(function() message = select(2, pcall(task.sleep, 60)) end)
    task.sleep(0.005)
    assert.is_true(task.cancel(id))
    task.sleep(0.005)
    assert.truthy(message:find("cancelled while waiting for task.sleep", 1, true))
    assert.is_false(task.cancel(id))
  end)

  it("is cancelled while a worker computes for it", function()
    local cells = {}
    for i = 1, 100000 do cells[i] = i end
    local c, message = column.new(cells), nil
    local id = task.spawn(function() message = select(2, pcall(column.moments, c)) end)
    task.sleep(0)
    task.cancel(id)
    task.sleep(0.05)
    assert.is_not_nil(message)
  end)

  it("does not get hurt by a script that resumes another's coroutine", function()
    local co, ok, message
    task.spawn(function()
      co = coroutine.running()
      ok, message = pcall(task.sleep, 0.02)
    end)
    task.sleep(0.005)
    coroutine.resume(co)
    assert.is_false(ok)
    assert.truthy(message:find("resumed by a script", 1, true))
    task.sleep(0.05)
  end)

  it("is listed with what it waits for", function()
    local id = task.spawn(function() task.sleep(0.02) end)
    task.sleep(0.001)
    local found
    for _, row in ipairs(task.list()) do
      if row.id == id then found = row end
    end
    assert.equal("task.sleep", found.waits)
    assert.truthy(found.name:find("task_spec.lua", 1, true))
    task.sleep(0.03)
  end)

  it("hides its metatables from scripts", function()
    assert.equal("anomalyd.signal", getmetatable(task.signal()))
    local job = task.start(function() end)
    assert.equal("anomalyd.job", getmetatable(job))
    job:wait()
  end)

  it("leaves nothing behind", function()
    local before = host.stats().tasks
    for _ = 1, 100 do task.spawn(task.sleep, 0.001) end
    task.sleep(0.05)
    assert.equal(before, host.stats().tasks)
  end)
end)

describe("a long column", function()
  it("is computed on the workers with the same cells", function()
    local cells = {}
    for i = 1, 200000 do cells[i] = math.sin(i) end
    local c = column.new(cells)
    local short = column.new({ table.unpack(cells, 1, 1000) })
    local z, little = c:zscore(0.1, 2), short:zscore(0.1, 2)
    for i = 1, 1000 do assert.equal(little[i], z[i]) end
    assert.equal(c:above(0.5):count(), 200000 - column.none({ c:above(0.5) }):count())
    local m = column.moments(c)
    assert.equal(200000, m.count)
  end)
end)
