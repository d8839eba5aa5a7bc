-- Generations: copies of the Lua side, built from files. Runs in a stock lua5.4 as well.
local files = require("files")
local generation = require("generation")

describe("a generation", function()
  local dir, printed

  local function write(name, text)
    assert(os.execute("mkdir -p " .. dir .. "/" .. (name:match("^(.*)/") or "")))
    files.write(dir .. "/" .. name, text)
  end

  local function new()
    return generation.new(7, { { path = dir .. "/scripts", label = "scripts" },
      { path = dir .. "/lua", label = "lua" } }, function(text) printed[#printed + 1] = text end)
  end

  local function failure(name)
    local ok, message = pcall(new().require, name)
    assert.is_false(ok)
    return tostring(message)
  end

  before_each(function()
    dir, printed = os.tmpname(), {}
    os.remove(dir)
    write("scripts/app.lua", 'return { helper = require("helper"), deep = require("a.b") }')
    write("lua/helper.lua", "return { n = 0 }")
    write("lua/a/b.lua", "return ...")
  end)

  after_each(function() os.execute("rm -rf " .. dir) end)

  it("has modules of its own, each loaded once", function()
    local one, two = new(), new()
    local app = one.require("app")
    assert.equal(app.helper, one.require("helper"))
    assert.equal("a.b", app.deep)
    assert.not_equal(app.helper, two.require("app").helper)
    assert.is_nil(package.loaded.helper)
    assert.equal(7, one.env.generation)
  end)

  it("prefers scripts, then lua, then what the host has", function()
    write("scripts/helper.lua", "return 'script'")
    assert.equal("script", new().require("helper"))
    assert.equal(string, new().require("string"))
  end)

  it("knows which files it read, and which were not there", function()
    local one = new()
    one.require("app")
    assert.equal(generation.mark(dir .. "/scripts/app.lua"), one.seen[dir .. "/scripts/app.lua"])
    assert.is_false(one.seen[dir .. "/scripts/helper.lua"])
    assert.is_string(one.seen[dir .. "/lua/helper.lua"])
    local before = generation.mark(dir .. "/lua/helper.lua")
    write("lua/helper.lua", "return { n = 1 }")
    assert.not_equal(before, generation.mark(dir .. "/lua/helper.lua"))
    assert.is_false(generation.mark(dir .. "/nothing"))
  end)

  it("calls an undefined global and an assignment to one errors, with the line", function()
    write("scripts/bad.lua", "local x = 1\nreturn tempratura + x")
    assert.truthy(failure("bad"):find("scripts/bad.lua:2: undefined global 'tempratura'", 1, true))
    write("scripts/bad.lua", "local y\n\nx = 1")
    assert.truthy(failure("bad"):find("scripts/bad.lua:3: assignment to undeclared global 'x'", 1,
      true))
    assert.is_nil(rawget(_G, "x"))
  end)

  it("names the file and the line of what does not compile", function()
    write("scripts/bad.lua", "return {\n  a = 1\n  b = 2\n}")
    assert.truthy(failure("bad"):find("scripts/bad.lua:3: ", 1, true))
  end)

  it("finds a loop of require, and a module that raised may be tried again", function()
    write("scripts/one.lua", 'return require("two")')
    write("scripts/two.lua", 'return require("one")')
    assert.truthy(failure("one"):find("loop of require() through 'one'", 1, true))
    write("scripts/moody.lua", "tries = (rawget(_G, 'tries') or 0) + 1")
    write("scripts/moody.lua", "local t = require('helper')\nt.n = t.n + 1\n"
      .. "if t.n == 1 then error('not yet') end\nreturn t.n")
    local one = new()
    assert.is_false((pcall(one.require, "moody")))
    assert.equal(2, one.require("moody"))
  end)

  it("prints where it is told to", function()
    write("scripts/talk.lua", "print('a', nil, 1)")
    new().require("talk")
    assert.same({ "a\tnil\t1" }, printed)
  end)

  it("shows no frame of the kernel in a traceback", function()
    local text = generation.tidy("scripts/x.lua:1: oops\nstack traceback:\n"
      .. "\t[C]: in function 'error'\n\tscripts/x.lua:1: in main chunk\n"
      .. "\tlua/generation.lua:80: in function 'require'\n\t[C]: in function 'xpcall'")
    assert.equal("scripts/x.lua:1: oops\nstack traceback:\n\tscripts/x.lua:1: in main chunk", text)
  end)

  it("is given up when nothing uses it any more", function()
    local held = setmetatable({}, { __mode = "k" })
    do
      local one = new()
      one.require("app")
      held[one] = true
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(held))
  end)
end)
