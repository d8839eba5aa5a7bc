-- What a large batch leaves behind is collected soon; a small one is no reason to look.
local host = require("host")
local memory = require("memory")
local task = require("task")

local function wait_until(test)
  local deadline = host.now() + 60
  while not test() and host.now() < deadline do task.sleep(0.05) end
  return test()
end

describe("memory", function()
  it("lets the collector finish after a large batch, once at a time", function()
    collectgarbage()
    local state, left = {}, setmetatable({}, { __mode = "v" })
    -- Alive for the cycle under way, garbage for the next one.
    left[1] = { ("x"):rep(1000) }
    memory.after(64 * 1024 * 1024, state)
    assert.is_true(state.giving_back)
    memory.after(64 * 1024 * 1024, state)
    assert.is_true(wait_until(function() return not state.giving_back end))
    assert.is_nil(left[1])
    memory.after(64 * 1024 * 1024, state)
    assert.is_true(state.giving_back)
    assert.is_true(wait_until(function() return not state.giving_back end))
  end)

  it("does nothing after a small batch, or one that was never read", function()
    local state = {}
    memory.after(100000, state)
    memory.after(nil, state)
    assert.is_nil(state.giving_back)
  end)

  it("is given back by a worker while others go on", function()
    local done = false
    task.spawn(function()
      host.trim()
      done = true
    end)
    assert.is_true(wait_until(function() return done end))
  end)
end)
