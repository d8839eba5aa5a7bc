local complete = require("complete")

describe("complete", function()
  local function never() error("a metamethod was run") end
  local Class = { close = print, get = print, limit = 3 }
  local names = {
    roots = { { mine = 1, object = setmetatable({ name = "x" }, { __index = Class }),
      trap = setmetatable({ seen = 1 }, { __index = never, __pairs = never, __len = never }) },
      { csv = { parse = print, scan = print, _hidden = 1 }, cursor = 1, ["no name"] = 1 } },
    commands = { baseline = function() return { "temperature", "humidity" } end, batches = true,
      quit = true },
    words = { "while", "function" },
  }

  local function find(text) return select(2, complete.find(text, names)) end

  it("knows the names of all roots, and words", function()
    assert.same({ "csv", "cursor" }, find("c"))
    assert.same({ "mine" }, find("x = mi"))
    assert.same({ "while" }, find("whi"))
    assert.same({}, find("zzz"))
    assert.same({}, find("1 + "))
  end)

  it("goes down a chain", function()
    assert.same({ "parse" }, find("csv.p"))
    assert.same({ "parse", "scan" }, find("print(csv."))
    assert.same({ "_hidden" }, find("csv._"))
    assert.same({}, find("csv.nothing.x"))
    assert.same({}, find("f().p"))
  end)

  it("finds methods behind a colon, fields and methods behind a dot", function()
    assert.same({ "close", "get" }, find("object:"))
    assert.same({ "close", "get", "limit", "name" }, find("object."))
    assert.same({ "", "seek  setvbuf" }, { complete.choose(complete.find("f:se",
      { roots = { { f = io.stdout } }, commands = {} })) })
  end)

  it("never runs a metamethod", function()
    assert.same({ "seen" }, find("trap."))
    assert.same({}, find("trap.other.x"))
  end)

  it("completes commands and what follows them", function()
    assert.same({ "baseline", "batches" }, find(":b"))
    assert.same({ "baseline", "batches", "quit" }, find(" :"))
    assert.same({ "temperature" }, find(":baseline te"))
    assert.same({ "mine" }, find(":batches mi"))
  end)

  it("inserts what is common, shows what is to be chosen from", function()
    assert.same({ "rse" }, { complete.choose("pa", { "parse" }) })
    assert.same({ "bat" }, { complete.choose("", { "batch", "bath" }) })
    assert.same({ "", "batch  bath" }, { complete.choose("bat", { "batch", "bath" }) })
    assert.same({ "" }, { complete.choose("x", {}) })
  end)
end)
