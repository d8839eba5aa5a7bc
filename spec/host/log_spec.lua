-- Log lines: one line is one event, whatever bytes are in it.
local files = require("files")
local host = require("host")
local json = require("json")

--- The path of this very program.
local function program()
  return files.line(("readlink /proc/%d/exe"):format(host.pid()))
end

--- What a script prints and logs in a program of its own.
local function output(script)
  local path = os.tmpname()
  files.write(path, 'local host = require("host")\n' .. script)
  local text = files.output(("%s -l %s"):format(program(), path))
  os.remove(path)
  return text
end

local function json_line(script)
  local text = output('host.log_setup({ json = true })\n' .. script)
  assert.equal("\n", text:sub(-1))
  assert.is_nil(text:sub(1, -2):find("\n", 1, true), "one line")
  return assert(json.decode(text)), text
end

describe("the log", function()
  it("has a text form: level, message, fields by name", function()
    assert.equal("INFO:     hello a=1 b=x c=true\n",
      output('host.log("info", "hello", { b = "x", a = 1, c = true })'))
    assert.equal("CRITICAL: x\n", output('host.log("critical", "x")'))
    assert.equal("WARNING:  x\n", output('host.log("warn", "x")'))
  end)

  it("puts a value in quotes that would look like more than one field", function()
    assert.equal('INFO:     m a="" b="x rows=5" c="a\\"b\\\\ c" d=a:b/c\\d e="k=v"\n',
      output([[host.log("info", "m", { a = "", b = "x rows=5", c = 'a"b\\ c', d = "a:b/c\\d",
        e = "k=v" })]]))
    assert.equal("INFO:     m t=one two\n          three\n",
      output([[host.log("info", "m", { t = "one two\nthree" })]]))
  end)

  it("has a JSON form: time, level, message, fields of their kinds", function()
    local line = json_line('host.log("error", "say \\"hi\\" \\\\", { n = 1.5, t = true, s = "1" })')
    assert.truthy(line.time:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"))
    line.time = nil
    assert.same({ level = "ERROR", message = 'say "hi" \\', n = 1.5, t = true, s = "1" },
      { level = line.level, message = line.message, n = line.n, t = line.t, s = line.s })
  end)

  it("leaves out what is below its level", function()
    assert.equal("ERROR:    b\nDEBUG:    d\n", output([[
      host.log_setup({ level = "error" })
      host.log("warning", "a")
      host.log("error", "b")
      host.log_setup({ level = "debug" })
      host.log("debug", "d")]]))
  end)

  it("lets no text begin a line of its own or speak to a terminal", function()
    local text = output([[
      host.log("info", "a\r\nERROR:    forged\n\27[2J\7\0cut", {
        key = "k\nERROR: x\127\u{9b}2J" })]])
    for line in text:gmatch("[^\n]*\n") do
      assert.truthy(line:find("^INFO:     ") or line:find("^          "), line)
    end
    assert.is_nil(text:find("[%z\1-\9\11-\31\127]"))
    assert.is_nil(text:find("\u{9b}", 1, true))
    local line = json_line([[
      host.log("info", "a\r\n{\"level\":\"ERROR\"}\27", { k = "\n\u{9b}\127" })]])
    assert.equal("a\r\n{\"level\":\"ERROR\"}\27", line.message)
    assert.equal("\n\u{9b}\127", line.k)
  end)

  it("writes UTF-8 whatever it is given", function()
    for _, bytes in ipairs({ "\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\x80",
      "\xf4\x90\x80\x80", "\xf8\x88\x80\x80", "\xe2\x82", "\xc3" }) do
      local script = ('host.log("info", %q)'):format("a" .. bytes)
      local _, text = json_line(script)
      assert.truthy(utf8.len(text))
      text = output(script)
      assert.truthy(utf8.len(text))
      assert.truthy(text:find("a\\x", 1, true))
    end
    assert.equal("\u{e9}\u{20ac}\u{1f600}", json_line(
      'host.log("info", "\\u{e9}\\u{20ac}\\u{1f600}")').message)
  end)

  it("cuts what is too long and stays JSON", function()
    for _, piece in ipairs({ "x", "\\xff", "\\n", "\\\"", "\\u{20ac}" }) do
      local line, text = json_line(([[
        local long = ("%s"):rep(100000)
        local fields = {}
        for i = 1, 40 do fields["f" .. i] = long end
        host.log("info", long, fields)]]):format(piece))
      assert.equal("INFO", line.level)
      assert.is_true(#text < 131072 and #text > 65000)
    end
  end)

  it("has no number that JSON has not", function()
    local line = json_line('host.log("info", "x", { a = 0 / 0, b = math.huge, c = -math.huge })')
    assert.truthy(line.a:find("nan", 1, true))
    assert.equal("inf", line.b)
    assert.equal("-inf", line.c)
  end)
end)

describe("the host's own functions", function()
  it("check what they are given", function()
    for _, options in ipairs({ { workers = 0 }, { workers = 65 }, { workers = "many" },
      { slice = 0 }, { slice = 0 / 0 }, { slice = math.huge }, { lua_memory = -1 },
      { lua_memory = 1e300 } }) do
      local ok, message = pcall(host.configure, options)
      assert.is_false(ok)
      assert.truthy(message:find(next(options) .. " must be a number from", 1, true), message)
    end
    assert.is_false(pcall(host.log, "loud", "x"))
    assert.is_false(pcall(host.log, "info"))
    assert.is_false(pcall(host.on_signal, 1))
  end)

  it("know the time", function()
    assert.equal("1970-01-01T00:00:00.000000", host.utc(0))
    assert.equal("2026-02-27T01:56:54.825950", host.utc(1772157414.82595))
    assert.equal("1969-12-31T23:59:59.500000", host.utc(-0.5))
    assert.equal("9999-12-31T23:59:59.000000", host.utc(253402300799))
    for _, time in ipairs({ 1e300, -1e300, math.huge, 0 / 0, 253402300800 }) do
      assert.is_false(pcall(host.utc, time))
    end
    local before = host.now()
    assert.is_true(host.now() >= before)
  end)
end)
