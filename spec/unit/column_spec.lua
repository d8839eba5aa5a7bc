-- Columns: what each function gives, and what a wrong argument is told.
local column = require("column")

local NAN = 0 / 0

--- The cells as a list of texts, "-" where missing.
local function cells(c)
  local list = {}
  for i = 1, #c do list[i] = c[i] ~= c[i] and "-" or ("%.14g"):format(c[i]) end
  return table.concat(list, " ")
end

--- The call raises and says so.
local function wrong(expected, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  message = message:gsub("'column%.", "'") -- Lua says the module's name where it finds it
  assert.truthy(message:find(expected, 1, true), message)
end

describe("a column", function()
  it("is made of numbers, with NaN where nothing is", function()
    local c = column.new({ 1, 2.5, false, "", NAN, -0.0 })
    assert.equal(6, #c)
    assert.equal("1 2.5 - - - -0", cells(c))
    assert.is_nil(c[0])
    assert.is_nil(c[7])
    assert.is_nil(c[1.5])
    assert.is_nil(c.nothing)
    assert.equal(2.5, c[2.0])
    assert.equal("column(6 cells: 1.0 2.5 nan nan nan ...)", (tostring(c):gsub("%-nan", "nan")))
    assert.equal(0, #column.new({}))
    assert.equal("column(0 cells:)", tostring(column.new({})))
    assert.equal("7 7 7", cells(column.constant(3, 7)))
    local list = column.new({ 3, 4 }):totable()
    assert.same({ 3.0, 4.0 }, list)
  end)

  it("cannot be changed", function()
    local c = column.new({ 1 })
    assert.is_false(pcall(function() c[1] = 2 end))
    assert.equal("anomalyd.column", getmetatable(c))
  end)

  it("has moments as Welford's recurrence gives them", function()
    local m = column.moments(column.new({ 2, false, 4, 6 }))
    assert.same({ 3, 4.0, 8.0 }, { m.count, m.mean, m.M2 })
    assert.equal("integer", math.type(m.count))
    assert.equal(math.sqrt(8 / 3), m.std)
    local more = column.moments(column.new({ 8, 100 }), m, column.new({ 1, 0 }))
    assert.same({ 4, 5.0, 20.0 }, { more.count, more.mean, more.M2 })
    local none = column.moments(column.new({ false }))
    assert.same({ 0, 0.0, 0.0, 0.0 }, { none.count, none.mean, none.M2, none.std })
    assert.equal(0.0, column.moments(column.new({ 5 })).std)
    assert.equal(2.5, column.moments(column.new({ 5 }), { count = 1.5 }).count)
    assert.equal(1e300, column.moments(column.new({ 5 }), { count = 1e300 }).count)
  end)

  it("has the moments of several columns at once as one by one, to the bit", function()
    local columns, states, keeps = {}, {}, {}
    for k = 1, 7 do
      local list, kept = {}, {}
      for i = 1, 1500 do
        list[i] = i % 97 == k and NAN or math.random() * 10 ^ k
        kept[i] = i % 3
      end
      columns[k], keeps[k] = column.new(list), k % 2 == 0 and column.new(kept)
      states[k] = k > 2 and { count = k, mean = 10.0 ^ k, M2 = 2.5 } or false
    end
    local all = column.moments_all(columns, states, keeps)
    assert.equal(7, #all)
    for k = 1, 7 do
      assert.same(column.moments(columns[k], states[k] or nil, keeps[k] or nil), all[k])
    end
    assert.same(column.moments(columns[2]), column.moments_all({ columns[2] })[1])
    assert.same(column.moments(columns[2], nil, keeps[2]),
      column.moments_all({ columns[2] }, nil, { keeps[2] })[1])
  end)

  it("of flags gives the same as one of numbers", function()
    local values = { -1, 0, 1, NAN }
    local list, other = {}, {}
    for i = 1, 1300 do list[i], other[i] = values[math.random(4)], math.random(-1, 1) end
    local numbers = column.new(list)
    -- Kept in bytes are: constants, what a comparison gives, and a forest's labels.
    for _, value in ipairs(values) do
      local flags, wide = column.constant(3, value), column.new({ value, value, value })
      assert.equal(cells(wide), cells(flags))
      for _, name in ipairs({ "count", "missing", "moments" }) do
        assert.same(column[name](wide), column[name](flags))
      end
      for _, limit in ipairs({ -1, -0.5, 0, 0.5, 1, NAN }) do
        for _, name in ipairs({ "above", "below", "equal" }) do
          assert.equal(cells(column[name](wide, limit)), cells(column[name](flags, limit)))
        end
      end
      assert.equal(cells(wide:zscore(0.5, 2)), cells(flags:zscore(0.5, 2)))
    end
    local flags, wide = numbers:above(0), {}
    for i = 1, #flags do wide[i] = flags[i] end
    wide = column.new(wide)
    local second = column.new(other)
    for _, pair in ipairs({ { wide, second }, { wide, numbers }, { second, wide } }) do
      local narrow = { pair[1] == wide and flags or pair[1], pair[2] == wide and flags or pair[2] }
      for _, name in ipairs({ "any", "none" }) do
        assert.equal(cells(column[name](pair)), cells(column[name](narrow)))
      end
      assert.equal(cells(column.both(pair[1], pair[2])), cells(column.both(narrow[1], narrow[2])))
      assert.same(column.moments(pair[1], nil, pair[2]), column.moments(narrow[1], nil, narrow[2]))
    end
    assert.same(wide:totable(), flags:totable())
    assert.equal("-0", cells(column.constant(1, -0.0)))
  end)

  it("is compared cell by cell", function()
    local c = column.new({ -1, 0, false, 2 })
    assert.equal("1.5 0.5 - 1.5", cells(c:zscore(0.5, 1)))
    assert.equal("0 0 - 0", cells(column.zscore(c, 5, 0)))
    assert.equal("0 0 0 1", cells(column.above(c, 0)))
    assert.equal("1 0 0 0", cells(column.below(c, 0)))
    assert.equal("0 1 0 0", cells(column.equal(c, 0)))
  end)

  it("is joined with others", function()
    local a, b = column.new({ 1, 0, NAN, 0 }), column.new({ 0, 0, 5, -2 })
    assert.equal("1 0 1 1", cells(column.any({ a, b })))
    assert.equal("0 1 0 0", cells(column.none({ a, b })))
    assert.equal("1 0 0 0", cells(column.any({ a })))
    assert.equal("0 0 0 0", cells(column.both(a, b)))
    assert.equal("1 0 0 0", cells(column.both(a, column.new({ -1, 1, 1, 1 }))))
    assert.equal(1, column.count(a))
    assert.equal(1, column.missing(a))
    assert.equal(2, b:count())
    assert.equal(0, b:missing())
  end)

  it("is refused where it does not fit, by the argument's place and name", function()
    local c, long = column.new({ 1, 2 }), column.new({ 1, 2, 3 })
    wrong("bad argument #1 to 'new' (table expected, got no value)", column.new)
    wrong("cell 2 is a string, not a number", column.new, { 1, "2" })
    wrong("cell 1 is a table, not a number", column.new, { {} })
    wrong("bad argument #1 to 'moments' (anomalyd.column expected, got table)", column.moments, {})
    wrong("bad argument #2 to 'moments' (table expected, got number)", column.moments, c, 1)
    wrong("bad argument #2 to 'moments' (mean is a string, not a number)", column.moments, c,
      { count = 1, mean = "1" })
    for _, count in ipairs({ -1, NAN, math.huge }) do
      wrong("bad argument #2 to 'moments' (count must be a number >= 0)", column.moments, c,
        { count = count })
    end
    wrong("bad argument #3 to 'moments' (keep has another length than the column)",
      column.moments, c, nil, long)
    wrong("bad argument #1 to 'moments_all' (table expected, got anomalyd.column)",
      column.moments_all, c)
    wrong("bad argument #1 to 'moments_all' (from 1 to 65536 columns)", column.moments_all, {})
    wrong("bad argument #1 to 'moments_all' (element 2 is a number, not a column)",
      column.moments_all, { c, 5 })
    wrong("bad argument #1 to 'moments_all' (the columns differ in length)", column.moments_all,
      { c, long })
    wrong("bad argument #2 to 'moments_all' (table expected, got number)", column.moments_all,
      { c }, 1)
    wrong("bad argument #2 to 'moments_all' (element 1 is a number, not a table or false)",
      column.moments_all, { c }, { 1 })
    wrong("bad argument #2 to 'moments_all' (M2 is a string, not a number)", column.moments_all,
      { c }, { { M2 = "1" } })
    wrong("bad argument #3 to 'moments_all' (element 1 is a table, not a column or false)",
      column.moments_all, { c }, nil, { {} })
    for _, name in ipairs({ "above", "below", "equal" }) do
      wrong(("bad argument #1 to '%s' (anomalyd.column expected, got number)"):format(name),
        column[name], 1, 2)
      wrong(("bad argument #2 to '%s' (number expected, got no value)"):format(name), column[name],
        c)
    end
    wrong("bad argument #3 to 'zscore' (number expected, got nil)", column.zscore, c, 1, nil)
    wrong("bad argument #2 to 'both' (the columns differ in length)", column.both, c, long)
    for _, name in ipairs({ "any", "none" }) do
      wrong(("bad argument #1 to '%s' (table expected, got anomalyd.column)"):format(name),
        column[name], c)
      wrong(("bad argument #1 to '%s' (at least one column)"):format(name), column[name], {})
      wrong(("bad argument #1 to '%s' (element 1 is a number, not a column)"):format(name),
        column[name], { 1 })
      wrong(("bad argument #1 to '%s' (element 2 is a string, not a column)"):format(name),
        column[name], { c, "x" })
      wrong(("bad argument #1 to '%s' (the columns differ in length)"):format(name), column[name],
        { c, long })
    end
    wrong("bad argument #1 to 'constant' (a count of cells cannot be negative)", column.constant,
      -1, 0)
    for _, name in ipairs({ "count", "missing", "totable" }) do
      wrong("anomalyd.column expected", column[name], io.stdout)
    end
  end)

  it("of a length that cannot be is refused, not believed", function()
    wrong("out of memory for a column", column.constant, math.maxinteger, 0)
    wrong("out of memory for a column", column.constant, math.maxinteger // 8, 0)
    for _, n in ipairs({ -1, math.mininteger }) do
      local list = setmetatable({}, { __len = function() return n end })
      wrong("a length below 0", column.new, list)
    end
    local endless = setmetatable({ column.new({ 1 }) },
      { __len = function() return math.maxinteger end })
    wrong("at most 65536 columns", column.any, endless)
  end)

  it("can be closed early; what was closed is not used", function()
    local kept
    do
      local c <close> = column.new({ 1, 2 })
      kept = c
    end
    wrong("a column that was closed", column.count, kept)
    assert.is_false(pcall(function() return kept[1] end))
    assert.is_false(pcall(function() return #kept end))
    assert.is_false(pcall(column.any, { kept }))
  end)
end)
