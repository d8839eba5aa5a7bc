-- earlier: what a summary tells of the contents that its key held before.
local earlier = require "earlier"
local json = require "json"

--- A summary of this content over the one before, as it is read back.
local function summary(etag, previous, moments)
  local of, counted = earlier.of(previous, etag)
  return json.decode(json.encode({ source_etag = etag, batch_moments = { t = moments },
    earlier = of, counted_earlier = counted or nil }))
end

local A, B, C = { count = 2, mean = 1.0, M2 = 2.0 }, { count = 3, mean = 5.0, M2 = 4.0 },
  { count = 5, mean = 0.0, M2 = 1.0 }

describe("earlier", function()
  it("says nothing of a first content", function()
    assert.is_nil(earlier.of(nil, "a"))
    assert.is_nil((earlier.of({ source_etag = 7 }, "a")))
    assert.is_false(earlier.has(nil, "a"))
    assert.is_false(earlier.has({ source_etag = "a" }, "a"))
    assert.same({}, (earlier.moments({})))
  end)

  it("remembers contents that were replaced, and puts their moments together", function()
    local b = summary("b", summary("a", nil, A), B)
    assert.is_true(earlier.has(b, "a"))
    assert.is_false(earlier.has(b, "b"))
    assert.equal(2, earlier.moments(b).t.count)
    local c = summary("c", b, C)
    assert.same({ "a", "b" }, earlier.etags(c))
    assert.equal(2, c.earlier.contents)
    local both = earlier.moments(c).t
    assert.equal(5, both.count)
    assert.equal(3.4, both.mean)
    assert.is_true(math.abs(both.M2 - (2 + 4 + 16 * 6 / 5)) < 1e-12)
  end)

  it("tells a content that comes again, whose moments are among the earlier ones", function()
    local again = summary("a", summary("b", summary("a", nil, A), B), A)
    assert.is_true(again.counted_earlier)
    assert.same({ "a", "b" }, earlier.etags(again))
    assert.equal(5, earlier.moments(again).t.count)
    local third = summary("b", again, B)
    assert.is_true(third.counted_earlier)
    assert.equal(2, third.earlier.contents)
    assert.equal(5, earlier.moments(third).t.count)
  end)

  it("says the same when another host wrote the summary of this very content", function()
    local b = summary("b", summary("a", nil, A), B)
    assert.same({ "a" }, earlier.etags(summary("b", b, B)))
    assert.is_nil(summary("b", b, B).counted_earlier)
  end)

  it("remembers a hundred contents by name and all by their moments", function()
    local last
    for i = 1, 130 do last = summary("e" .. i, last, A) end
    assert.equal(100, #earlier.etags(last))
    assert.equal(129, last.earlier.contents)
    assert.is_true(earlier.has(last, "e129"))
    assert.is_false(earlier.has(last, "e29"))
    assert.equal(258, earlier.moments(last).t.count)
  end)

  it("leaves out what was not learned and what is no number", function()
    local b = earlier.of({ source_etag = "a", batch_moments = { t = A, u = B, v = C },
      unlearned_channels = { "u" }, learned_moments = { v = A } }, "b")
    assert.same({ t = 2, v = 2 }, { t = b.moments.t.count, v = b.moments.v.count })
    assert.is_nil(b.moments.u)
    for _, foreign in ipairs({ 1, "x", { etags = 5, moments = 7 }, { etags = { 1, {} },
      moments = { t = { count = "many" } }, contents = "no" } }) do
      local one = earlier.of({ source_etag = "a", earlier = foreign, batch_moments = "none" }, "b")
      assert.same({ "a" }, one.etags)
      assert.same({}, (earlier.moments({ earlier = one })))
    end
  end)
end)
