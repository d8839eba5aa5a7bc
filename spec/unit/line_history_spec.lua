local line_history = require("line_history")

describe("line_history", function()
  local path, written

  local files = {
    append = function(name, text)
      written = written + 1
      local file = assert(io.open(name, "a"))
      file:write(text)
      return file:close()
    end,
    is_secret = function(text) return text:find("secret", 1, true) ~= nil end,
  }

  before_each(function()
    path, written = os.tmpname(), 0
  end)

  after_each(function() os.remove(path) end)

  it("keeps entries from one session to the next, many lines as one", function()
    local history = line_history.open(path, files)
    assert.is_true(history:add("1+1"))
    assert.is_true(history:add("for i = 1, 2 do\n  print('\\n')\nend"))
    assert.same({ "1+1", "for i = 1, 2 do\n  print('\\n')\nend" },
      line_history.open(path, files).entries)
  end)

  it("has each entry once, where it was typed last", function()
    local history = line_history.open(path, files)
    for _, text in ipairs({ "a", "b", "a", "a" }) do history:add(text) end
    assert.same({ "b", "a" }, history.entries)
    assert.equal(3, written)
    assert.same({ "b", "a" }, line_history.open(path, files).entries)
  end)

  it("keeps neither secrets nor blank lines", function()
    local history = line_history.open(path, files)
    assert.is_false(history:add("x = 'my secret'"))
    assert.is_false(history:add("  "))
    assert.equal(0, written)
    assert.same({}, history.entries)
  end)

  it("keeps the newest thousand and tidies its file", function()
    local file = assert(io.open(path, "w"))
    for i = 1, 2500 do file:write("line ", i, "\n") end
    file:close()
    local history = line_history.open(path, files)
    assert.equal(1000, #history.entries)
    assert.equal("line 2500", history.entries[1000])
    local lines = 0
    for _ in io.lines(path) do lines = lines + 1 end
    assert.equal(1000, lines)
  end)

  it("does without a file", function()
    local history = line_history.open(nil, files)
    assert.is_true(history:add("x"))
    assert.same({ "x" }, history.entries)
  end)

  it("lies where the state of programs lies", function()
    local function at(env) return line_history.path(function(name) return env[name] end) end
    assert.equal("/s/anomalyd/history", at({ XDG_STATE_HOME = "/s", HOME = "/h" }))
    assert.equal("/h/.local/state/anomalyd/history", at({ HOME = "/h", XDG_STATE_HOME = "rel" }))
    assert.is_nil(at({}))
  end)
end)
