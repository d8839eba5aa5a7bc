-- The names of a batch's objects, and the marks of the ledger.
local keys = require("keys")
local ledger = require("ledger")

describe("the keys of a batch", function()
  it("are made by replacing only the two ends", function()
    local name = keys.name("raw/raw/a.csv.csv")
    assert.equal("raw/a.csv", name)
    assert.equal("raw/raw/a.csv.csv", keys.input(name))
    assert.equal("processed/raw/a.csv.csv", keys.scored(name))
    assert.equal("processed/raw/a.csv_summary.json", keys.summary(name))
    assert.equal("failed/raw/a.csv.csv_error.json", keys.failure(name))
    assert.equal("failed/raw/a.csv_rejected.csv", keys.rejected(name))
  end)

  it("are no input unless they stand under raw/ and end in .csv", function()
    for _, key in ipairs({ "", "raw/", "raw/.csv", "raw/a/.csv", "raw/a.CSV", "Raw/a.csv",
      "raw/a.csv.gz", "rawa.csv", "processed/a.csv", "/raw/a.csv", "raw/a.csv/" }) do
      assert.is_nil(keys.name(key), key)
    end
    for _, key in ipairs({ "raw/a.csv", "raw/2026/02/27.csv", "raw/ .csv", "raw/a\nb.csv",
      "raw/\xff.csv", "raw/..csv" }) do
      assert.equal(key, keys.input(keys.name(key)))
    end
  end)

  it("are told apart on the way back", function()
    for _, name in ipairs({ "a", "a/b", "a_summary", "a.csv", "a.csv_error", "_summary" }) do
      assert.equal(name, keys.name_of_summary(keys.summary(name)))
      assert.equal(name, keys.name_of_failure(keys.failure(name)))
      assert.is_nil(keys.name_of_summary(keys.scored(name)))
      assert.is_nil(keys.name_of_failure(keys.rejected(name)))
    end
  end)
end)

describe("a name", function()
  it("leaves room for the keys that are made of it", function()
    assert.is_nil(keys.obstacle("a", "directory"))
    assert.is_nil(keys.obstacle(("x"):rep(242), "directory"))
    assert.is_nil(keys.obstacle(("x"):rep(200) .. "/" .. ("y"):rep(242), "directory"))
    assert.is_nil(keys.obstacle(("x"):rep(1001), "s3"))
    assert.equal("the name is too long: the summary's file name would have 256 bytes, at most 255 "
      .. "are possible", keys.obstacle("a/" .. ("x"):rep(243), "directory"))
    for _, kind in ipairs({ "directory", "s3" }) do
      assert.equal("the name is too long: the summary's key would have 1025 bytes, at most 1024 "
        .. "are possible", keys.obstacle(("x"):rep(1002), kind))
    end
  end)
end)

describe("the ledger", function()
  it("tells key and content apart", function()
    local mark = ledger.mark("raw/a.csv", "e1")
    assert.equal(mark, ledger.mark("raw/a.csv", "e1"))
    assert.truthy(mark:find("^%x+$"))
    assert.equal(ledger.length, #mark)
    assert.are_not.equal(mark, ledger.mark("raw/a.csv", "e2"))
    assert.are_not.equal(mark, ledger.mark("raw/b.csv", "e1"))
  end)

  it("reads back what it wrote, and fits S3's metadata at its limit", function()
    local marks = {}
    for i = 1, ledger.limit do marks[ledger.mark("raw/" .. i .. ".csv", "e")] = true end
    assert.equal(ledger.limit, ledger.count(marks))
    local text = ledger.format(marks)
    assert.same(marks, ledger.parse(text))
    assert.equal(text, ledger.format(ledger.parse(text)))
    assert.is_true(#text + #ledger.metadata <= 2048)
  end)

  it("takes nothing, rubbish and a cut end as what they are", function()
    assert.same({}, ledger.parse(nil))
    assert.same({}, ledger.parse(""))
    assert.same({}, ledger.parse("not a ledger"))
    local mark = ledger.mark("k", "e")
    assert.same({ [mark] = true }, ledger.parse(mark .. mark:sub(1, 9)))
    assert.equal("", ledger.format({}))
  end)
end)
