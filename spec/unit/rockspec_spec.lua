-- The rockspec: complete, and nothing in it needs the host.
local function rock()
  local env = {}
  assert(loadfile("scripts/deploy/anomalyd-scm-1.rockspec", "t", env))()
  return env
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

describe("the rockspec", function()
  it("has every C module that a stock Lua can load", function()
    local listed = {}
    for name, path in pairs(rock().build.install.lib) do
      assert.equal("build/lua/" .. name .. ".so", path)
      listed[#listed + 1] = name
    end
    local host_only = " " .. read("Makefile"):match("\nHOST_MODULES := ([^\n]*)") .. " "
    local pipe = assert(io.popen("ls src/bind/l_*.c"))
    local wanted = {}
    for path in pipe:lines() do
      local name = path:match("l_([%w_]+)%.c$")
      if not host_only:find(" " .. name .. " ", 1, true) then wanted[#wanted + 1] = name end
    end
    pipe:close()
    table.sort(listed)
    table.sort(wanted)
    assert.same(wanted, listed)
  end)

  it("has with each Lua module what that one requires", function()
    local install = rock().build.install
    local count = 0
    for name, path in pairs(install.lua) do
      assert.equal("lua/" .. name .. ".lua", path)
      for needed in read(path):gmatch("%f[%w]require%s*%(?[\"']([%w_]+)[\"']") do
        count = count + 1
        assert.truthy(install.lua[needed] or install.lib[needed] or needed:find("^cjson"),
          name .. " needs " .. needed)
      end
    end
    assert.is_true(count > 5)
  end)
end)
