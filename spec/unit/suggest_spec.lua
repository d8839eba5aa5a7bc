local suggest = require("suggest")

describe("suggest", function()
  it("measures the distance", function()
    for _, case in ipairs({
      { "", "", 0 }, { "a", "", 1 }, { "", "ab", 2 }, { "kitten", "sitting", 3 },
      { "sumary", "summary", 1 }, { "qurey", "query", 1 }, { "abc", "abc", 0 }, { "ab", "ba", 1 },
    }) do
      assert.equal(case[3], suggest.distance(case[1], case[2]))
      assert.equal(case[3], suggest.distance(case[2], case[1]))
    end
  end)

  it("names the nearest, of keys or of a list", function()
    assert.equal("summary", suggest.nearest("sumary", { summary = true, query = true }))
    assert.equal("query", suggest.nearest("qurey", { "summary", "query" }))
    assert.equal("minimum", suggest.nearest("MINIMUM", { "minimum", "maximum" }))
    assert.equal("type", suggest.nearest("tpye", { "type" }))
    assert.is_nil(suggest.nearest("zzz", { "summary", "query" }))
    assert.is_nil(suggest.nearest(7, { "summary" }))
    assert.is_nil(suggest.nearest(("x"):rep(10000), { ("x"):rep(10000) }))
    assert.is_nil(suggest.nearest("x", {}))
  end)

  it("ends a message", function()
    assert.equal("; did you mean 'query'?", suggest.phrase("querry", { "query", "body" }))
    assert.equal("; one of body, query", suggest.phrase("limit", { query = 1, body = 2 }))
  end)
end)
