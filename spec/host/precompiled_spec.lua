-- The Lua files that the program carries compiled: the same functions as from their texts, never
-- another text's.
local digest = require("digest")
local generation = require("generation")
local host = require("host")
local precompiled = require("precompiled")

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function files()
  local list, pipe = {}, assert(io.popen("ls lua/*.lua scripts/*.lua"))
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

describe("precompiled", function()
  it("has every file of the library and of the scripts, as its text compiles to", function()
    local list = files()
    assert.is_true(#list > 60)
    for _, path in ipairs(list) do
      local text = read(path)
      local code = host.compiled(digest.md5(text))
      assert.is_string(code, path .. " is not in the program: was it built before the last edit?")
      assert.is_true(code == string.dump(assert(load(text, "@" .. path))), path)
    end
  end)

  it("compiles a text that the program was not built with", function()
    local text = read("lua/keys.lua") .. "\n"
    assert.is_nil(host.compiled(digest.md5(text)))
    local fn = assert(precompiled.load(text, digest.md5(text), "@lua/keys.lua", _G))
    assert.is_function(fn().name)
    local none, message = precompiled.load("return +", digest.md5("return +"), "@lua/x.lua", _G)
    assert.is_nil(none)
    assert.truthy(message:find("lua/x.lua:1:", 1, true))
  end)

  it("gives a generation functions of its own environment, with their places", function()
    local one = generation.new(1, { { path = "lua", label = "lua" } }, print)
    local keys = one.require("keys")
    local info = debug.getinfo(keys.name, "S")
    assert.equal("@lua/keys.lua", info.source)
    assert.is_true(info.linedefined > 0)
    assert.not_equal(require("keys").name, keys.name)
    assert.equal(one.require("router"), one.loaded.router)
  end)

  it("is asked with a whole MD5 or none", function()
    assert.has_error(function() host.compiled("abc") end)
    assert.is_string(host.compiled())
  end)
end)
