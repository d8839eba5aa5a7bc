-- The rockspec: complete, and nothing in it needs the host.
local files = require("files")

local function rock()
  local env = {}
  assert(loadfile("scripts/deploy/anomalyd-scm-1.rockspec", "t", env))()
  return env
end

describe("the rockspec", function()
  it("has every C module that a stock Lua can load", function()
    local listed = {}
    for name, path in pairs(rock().build.install.lib) do
      assert.equal("build/lua/" .. name .. ".so", path)
      listed[#listed + 1] = name
    end
    local host_only = " " .. files.read("Makefile"):match("\nHOST_MODULES := ([^\n]*)") .. " "
    local wanted = {}
    for name in files.output("ls src/bind/l_*.c"):gmatch("l_([%w_]+)%.c\n") do
      if not host_only:find(" " .. name .. " ", 1, true) then wanted[#wanted + 1] = name end
    end
    table.sort(listed)
    table.sort(wanted)
    assert.same(wanted, listed)
  end)

  it("has with each Lua module what that one requires", function()
    local install = rock().build.install
    local count = 0
    for name, path in pairs(install.lua) do
      assert.equal("lua/" .. name .. ".lua", path)
      for needed in files.read(path):gmatch("%f[%w]require%s*%(?[\"']([%w_]+)[\"']") do
        count = count + 1
        assert.truthy(install.lua[needed] or install.lib[needed] or needed:find("^cjson"),
          name .. " needs " .. needed)
      end
    end
    assert.is_true(count > 5)
  end)
end)
