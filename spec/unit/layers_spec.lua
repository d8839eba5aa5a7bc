-- scripts/check/layers.lua finds a violation of each of its rules, and accepts what is right.
local files = require("files")
local lua = os.getenv("LUA") or "lua5.4"

local function write(path, text)
  assert(os.execute("mkdir -p '" .. path:match("^(.*)/") .. "'"))
  files.write(path, text)
end

describe("the layers check", function()
  local root

  before_each(function()
    root = os.tmpname()
    os.remove(root)
    write(root .. "/Makefile", "")
    write(root .. "/README.md", "")
    write(root .. "/vendor/README.md", "")
    write(root .. "/lua/router.lua", 'local json = require("json")\nreturn json\n')
    write(root .. "/scripts/detect.lua", 'return require("router")\n')
    write(root .. "/spec/runner.lua", "")
    write(root .. "/src/core/buf.h", "#include <stddef.h>\n")
    write(root .. "/src/run/loop.c", '#include "core/buf.h"\n#include <event2/event.h>\n')
    write(root .. "/src/bind/task.c", '#include "run/loop.h"\n#include <lua.h>\n')
    write(root .. "/src/main.c", '#include "bind/task.h"\n#include "paths.h"\n')
  end)

  after_each(function()
    os.execute("rm -rf '" .. root .. "'")
  end)

  local function check()
    local output, ok = files.output(lua .. " scripts/check/layers.lua '" .. root .. "'")
    return ok, output
  end

  it("accepts a tree that keeps to them", function()
    local ok, output = check()
    assert.is_true(ok, output)
    assert.matches("10 files in their places", output)
  end)

  local violations = {
    { "lua.h in core", "src/core/buf.c", "\n#include <lua.h>\n", "src/core/buf.c:2: .*lua%.h" },
    { "lauxlib.h in core", "src/core/a.h", '# include "lauxlib.h"\n', "a.h:1: .*lauxlib%.h" },
    { "lua.h in run", "src/run/pool.c", "#include <lua.h>\n", "src/run/pool.c:1: .*lua%.h" },
    { "lua.h in main", "src/main.c", "#include <lua5.4/lua.h>\n", "src/main.c:1: .*lua%.h" },
    { "libevent in core", "src/core/b.c", "#include <event2/event.h>\n", "b.c:1: .*event2" },
    { "run seen by core", "src/core/c.c", '#include "run/loop.h"\n', "c.c:1: .* below run/" },
    { "bind seen by run", "src/run/d.c", '#include "bind/task.h"\n', "d.c:1: .* below bind/" },
    { "a short name", "src/run/e.c", '#include "loop.h"\n', 'e.c:1: say "folder/loop.h"' },
    { "an unknown layer", "src/util/f.c", "", "src/util/f.c:1: no layer" },
    { "scripts seen by lua", "lua/g.lua", 'local d = require "detect"\n', "g.lua:1: .* detect" },
    { "a stray file", "notes.txt", "", "notes.txt:1: notes.txt is not one of" },
    { "a long file", "lua/h.lua", ("\n"):rep(701), "h.lua:701: longer than 700" },
    { "a long spec", "spec/h.lua", ("\n"):rep(1001), "h.lua:1001: longer than 1000" },
  }
  for _, violation in ipairs(violations) do
    local name, path, text, message = table.unpack(violation)
    it("finds " .. name, function()
      write(root .. "/" .. path, text)
      local ok, output = check()
      assert.is_false(ok)
      assert.matches(message, output)
    end)
  end

  it("finds a missing name at the top", function()
    os.remove(root .. "/README.md")
    local ok, output = check()
    assert.is_false(ok)
    assert.matches("README.md is missing", output)
  end)
end)
