-- Everything that a session of the console finds under a name has a help.
local complete = require("complete")
local help = require("help")
local texts = require("help_texts")

describe("help", function()
  it("knows every module and each of its functions", function()
    for _, name in ipairs(help.modules) do
      assert.truthy(help.of(name), name)
      local module = require(name)
      for part, value in pairs(type(module) == "table" and module or {}) do
        if type(value) == "function" then
          local full = name .. "." .. part
          local text = help.of(full)
          assert.truthy(text, full .. " has no help")
          assert.is_true(#text > #full + 5, full .. " has an empty help")
          assert.truthy(text:lower():find(full, 1, true), full .. " is not in its own help")
        end
      end
    end
  end)

  it("knows the methods of frames, forests and buckets", function()
    local frame = require("csv").parse("a,b\n1,2\n2,3\n")
    assert.is_true(complete.methods(frame).column)
    for name in pairs(complete.methods(frame)) do
      assert.truthy(help.of("frame:" .. name), "frame:" .. name)
    end
    local forest = require("iforest").fit({ frame:column("a"), frame:column("b") })
    assert.is_true(complete.methods(forest).predict)
    for name in pairs(complete.methods(forest)) do
      assert.truthy(help.of("forest:" .. name), "forest:" .. name)
    end
    for _, name in ipairs({ "get", "put", "head", "delete", "list" }) do
      assert.truthy(help.of("client:" .. name), "client:" .. name)
      assert.truthy(help.of("store:" .. name), "store:" .. name)
    end
  end)

  it("speaks of nothing that is not there", function()
    local objects = { baseline = true, policy = true, store = true, queue = true, frame = true,
      forest = true, score = true, whatif = true, redrive = true, print = true, zscore = true }
    for name in pairs(texts) do
      local module, part = name:match("^([%w_]+)%.?([%w_]*)$")
      if not objects[module] then
        local value = require(module)
        assert.is_true(part == "" or value[part] ~= nil, name)
      end
    end
  end)

  it("reads the comments above functions", function()
    local found = help.comments("--- One.\n-- Two.\nfunction m.f(a, b)\nend\n\nfunction m.g()\n"
      .. "end\n--- Three.\nfunction Client:get(key) end\n")
    assert.same({ ["m.f"] = "m.f(a, b)\nOne.\nTwo.", ["client.get"] = "client:get(key)\nThree." },
      found)
  end)

  it("names the nearest when there is none", function()
    local text, why = help.of("csv.prase")
    assert.is_nil(text)
    assert.equal("no help on csv.prase; did you mean csv.parse?", why)
    assert.truthy(help.of("csv.parse(text)"))
  end)
end)
