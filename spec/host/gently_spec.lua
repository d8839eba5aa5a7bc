-- Long computations over lists, and what runs beside them.
local gently = require("gently")
local host = require("host")
local task = require("task")

describe("a gentle sort", function()
  it("gives what a sort gives", function()
    for _, n in ipairs({ 0, 1, 2, 999, 1000, 1001, 2000, 2001, 5003, 8000 }) do
      local list, expected = {}, {}
      for i = 1, n do
        list[i] = math.random(n)
        expected[i] = list[i]
      end
      table.sort(expected)
      local before = list[1]
      assert.same(expected, gently.sorted(list, function(a, b) return a < b end))
      assert.equal(before, list[1])
    end
  end)

  it("lets others run", function()
    local list, longest, done = {}, 0, false
    for i = 1, 100000 do list[i] = { at = math.random(1000), key = i } end
    task.spawn(function()
      while not done do
        local began = host.now()
        task.sleep(0)
        longest = math.max(longest, host.now() - began)
      end
    end)
    local sorted = gently.sorted(list, function(a, b)
      if a.at ~= b.at then return a.at < b.at end
      return a.key < b.key
    end)
    done = true
    for i = 2, #sorted do assert.is_true(sorted[i - 1].at <= sorted[i].at) end
    assert.is_true(longest < 0.1, longest)
  end)
end)
