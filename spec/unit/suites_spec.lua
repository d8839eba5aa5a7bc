-- What counts as a passed run: spec/runner.lua, spec/suites.lua and .ci/run believe busted's
-- numbers and nothing else.
local files = require("files")
local lua = os.getenv("LUA") or "lua5.4"
local read, write = files.read, files.write

local function shell(command)
  local output, _, code = files.output(command .. " </dev/null")
  return code, output, output:match("([^\n]*)\n$")
end

describe("a run of the specs", function()
  local dir

  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir -p '" .. dir .. "'"))
  end)

  after_each(function()
    os.execute("rm -rf '" .. dir .. "'")
  end)

  describe("in one process", function()
    local function run(text)
      write(dir .. "/one_spec.lua", text)
      local code, output = shell(string.format("ANOMALYD_COUNTS=%s/counts %s spec/runner.lua %s",
        dir, lua, dir))
      return code, read(dir .. "/counts"), output
    end

    it("passes when all do", function()
      local code, counts, output = run("it('a', function() end) pending('b')")
      assert.same({ 0, "1 0 0 1\n" }, { code, counts })
      assert.matches("1 success / 0 failures / 0 errors / 1 pending", output)
    end)

    it("fails on an error and on a failure", function()
      local code, counts = run("it('a', function() end) it('b', function() error('x') end)")
      assert.equal(1, code)
      assert.equal("1 0 1 0\n", counts)
      code, counts = run("it('a', function() assert.equal(1, 2) end)")
      assert.same({ 1, "0 1 0 0\n" }, { code, counts })
    end)

    it("fails on an error outside of any spec", function()
      local code, counts = run("it('a', function() end) error('loading')")
      assert.equal(1, code)
      assert.matches("^%d 0 1 0\n$", counts)
      code, counts = run("setup(function() error('x') end) it('a', function() end)")
      assert.equal(1, code)
      assert.matches("^0 0 [1-9] 0\n$", counts)
    end)

    it("fails when nothing was executed", function()
      local code, counts = run("pending('a')")
      assert.same({ 1, "0 0 0 1\n" }, { code, counts })
    end)

    it("fails when there is nothing to run", function()
      local code, output = shell(lua .. " spec/runner.lua " .. dir)
      assert.equal(1, code)
      assert.matches("No test files found", output)
      code = shell(lua .. " spec/runner.lua --no-such-option")
      assert.equal(1, code)
    end)
  end)

  describe("in several", function()
    -- Stands in for the interpreter: reports what $REPORT says and ends with $CODE.
    local function run(suites, report, code)
      write(dir .. "/stub", 'case $2 in spec/unit) ;; *) REPORT="5 0 0 0" CODE=0 ;; esac\n' ..
        '[ -z "$REPORT" ] || echo "$REPORT" >"$ANOMALYD_COUNTS"\nexit "$CODE"\n')
      return shell(string.format("env -u ANOMALYD_PLAIN_LUA REPORT='%s' CODE=%d " ..
        "LUA='sh %s/stub' ANOMALYD_BUILD=%s %s spec/suites.lua %s",
        report, code, dir, dir, lua, suites))
    end

    it("adds up what they report", function()
      local code, output, last = run("unit functional", "7 0 0 2", 0)
      assert.equal(0, code, output)
      assert.equal("12 passed, 0 failed, 2 skipped", last)
      assert.equal(last .. "\n", read(dir .. "/test/total"))
    end)

    it("fails when one fails", function()
      local code, _, last = run("unit functional", "7 1 2 0", 1)
      assert.same({ 1, "12 passed, 3 failed" }, { code, last })
    end)

    it("takes an unclean end for a failure", function()
      local code, output, last = run("unit functional", "7 0 0 0", 3)
      assert.same({ 1, "12 passed, 1 failed" }, { code, last })
      assert.matches("unit: failed after its specs %(exit 3%)", output)
    end)

    it("takes a missing report for a failure, an old one for none", function()
      run("unit", "7 0 0 0", 0)
      local code, output, last = run("unit", "", 0)
      assert.same({ 1, "0 passed, 1 failed" }, { code, last })
      assert.matches("unit: ended without a result", output)
    end)

    it("fails when nothing was executed", function()
      local code, _, last = run("unit", "0 0 0 4", 0)
      assert.same({ 1, "0 passed, 0 failed, 4 skipped" }, { code, last })
    end)

    it("refuses a suite that it does not know", function()
      assert.equal(2, (run("unit unknown", "1 0 0 0", 0)))
    end)
  end)

  describe("by .ci/run", function()
    local function run(test_code, check_code, total)
      assert(os.execute("mkdir -p " .. dir .. "/.ci && cp .ci/run " .. dir .. "/.ci/"))
      write(dir .. "/make", string.format('#!/bin/sh\n[ "$1" = test ] || exit %d\n' ..
        "mkdir -p build/test\n%s\nexit %d\n", check_code, total and
        "echo '" .. total .. "' >build/test/total" or "", test_code))
      assert(os.execute("chmod +x " .. dir .. "/make"))
      return shell("PATH=" .. dir .. ":$PATH bash " .. dir .. "/.ci/run")
    end

    it("ends with the count when all is well", function()
      local code, _, last = run(0, 0, "30 passed, 0 failed, 1 skipped")
      assert.same({ 0, "30 passed, 0 failed, 1 skipped" }, { code, last })
    end)

    it("fails with the specs", function()
      local code, output, last = run(2, 0, "29 passed, 1 failed")
      assert.same({ 1, "29 passed, 1 failed" }, { code, last })
      assert.matches("make test failed", output)
    end)

    it("fails with a check, and says so", function()
      local code, output, last = run(0, 2, "30 passed, 0 failed")
      assert.same({ 1, "30 passed, 0 failed" }, { code, last })
      assert.matches("make check failed", output)
    end)

    it("fails when the specs never ran", function()
      local code, _, last = run(2, 0, nil)
      assert.same({ 1, "0 passed, 0 failed" }, { code, last })
    end)
  end)
end)
