--- The isolation forest against scikit-learn's own trees, scores and labels, to the last bit.
local cjson = require "cjson"
local column = require "column"
local files = require "files"
local iforest = require "iforest"
local shared = require "shared"

--- The cells of a plain CSV text (no quotes): a list of rows, the header first.
local function read_csv(text)
  local rows = {}
  for line in text:gmatch("[^\r\n]+") do
    local row = {}
    for cell in (line .. ","):gmatch("([^,]*),") do row[#row + 1] = cell end
    rows[#rows + 1] = row
  end
  return rows
end

local function read_channels(text, names)
  local rows = read_csv(text)
  local at = {}
  for i, name in ipairs(rows[1]) do at[name] = i end
  local columns = {}
  for c, name in ipairs(names) do
    local cells = {}
    for r = 2, #rows do cells[r - 1] = tonumber(rows[r][at[name]]) or false end
    columns[c] = column.new(cells)
  end
  return columns
end

local function read_scores(text)
  local scores, decisions = {}, {}
  for i, row in ipairs(read_csv(text)) do
    if i > 1 then
      scores[i - 1], decisions[i - 1] = tonumber(row[2]), tonumber(row[3])
    end
  end
  return scores, decisions
end

local function options_of(case)
  return {
    n_estimators = case.n_estimators,
    contamination = case.contamination,
    random_state = case.random_state,
  }
end

--- Fail with the first difference; comparing column by column keeps this quick.
local function same(expected, found, what)
  assert.equal(#expected, #found, what .. ": length")
  for i = 1, #expected do
    if expected[i] ~= found[i] then
      error(("%s, number %d: expected %s, found %s"):format(what, i, expected[i], found[i]), 2)
    end
  end
end

local function hex_list(list)
  local out = {}
  for i, text in ipairs(list) do out[i] = tonumber(text) end
  return out
end

local function check_tree(expected, forest, t, full)
  local tree = forest:tree(t)
  local what = "tree " .. t
  assert.equal(expected.bagging_seed, tree.bagging_seed, what)
  assert.equal(expected.tree_random_state, tree.tree_random_state, what)
  assert.equal(expected.rand_r_seed, tree.rand_r_seed, what)
  assert.equal(expected.n_nodes, tree.n_nodes, what)
  assert.equal(expected.max_depth, math.max(table.unpack(tree.depth)), what)
  assert.equal(expected.root[1], tree.feature[1], what)
  assert.equal(tonumber(expected.root[2]), tree.threshold[1], what)
  if not full then return end
  same(expected.sample_indices, tree.sample_indices, what .. " sample_indices")
  same(expected.feature, tree.feature, what .. " feature")
  same(hex_list(expected.threshold), tree.threshold, what .. " threshold")
  same(expected.left, tree.left, what .. " left")
  same(expected.right, tree.right, what .. " right")
  same(expected.n_node_samples, tree.n_node_samples, what .. " n_node_samples")
end

local function check_scores(case, columns, scores, decisions, options)
  local result = iforest.fit_score(columns, options)
  assert.equal(tonumber(case.offset.hex), result.offset)
  same(scores, result.scores:totable(), "scores")
  same(decisions, result.decisions:totable(), "decisions")
  for i = 1, #scores do
    if result.labels[i] ~= (decisions[i] < 0 and -1 or 1) then error("label of row " .. i) end
  end
end

local function check_forest(case, columns, scores, decisions, dump)
  local forest = iforest.fit(columns, options_of(case))
  assert.equal(tonumber(case.offset.hex), forest.offset)
  assert.equal(case.max_samples, forest.max_samples)
  same(scores, forest:score_samples(columns):totable(), "score_samples")
  same(decisions, forest:decision_function(columns):totable(), "decision_function")
  for t, expected in ipairs(dump.trees) do check_tree(expected, forest, t, dump.full) end
end

--- A case of spec/fixtures/iforest (its format: make.py there).
local function read_case(name)
  local case
  for line in io.lines("spec/fixtures/iforest/" .. name .. ".txt") do
    local words = {}
    for word in line:gmatch("%S+") do words[#words + 1] = tonumber(word) or word end
    if not case then
      case = {
        rows = words[1], width = words[2], offset = words[7],
        cells = {}, scores = {}, decisions = {},
        options = {
          n_estimators = words[3],
          contamination = words[4] > 0 and words[4] or "auto",
          random_state = words[5],
          max_samples = words[6] > 0 and words[6] or "auto",
        },
      }
      for c = 1, case.width do case.cells[c] = {} end
    else
      for c, cells in ipairs(case.cells) do cells[#cells + 1] = words[c] ~= "nan" and words[c] end
      case.scores[#case.scores + 1] = words[case.width + 1]
      case.decisions[#case.decisions + 1] = words[case.width + 2]
    end
  end
  case.columns = {}
  for c = 1, case.width do case.columns[c] = column.new(case.cells[c]) end
  return case
end

local function shell(command)
  local text, ok = files.output(command)
  return ok, text
end

local FIXTURES = {
  "one_row", "two_rows", "three_rows", "hundred", "full", "reservoir", "shuffle", "wide", "ties",
  "same", "constant", "near_constant", "rounding", "huge", "tiny", "gaps", "auto", "half", "tenth",
  "many_trees", "stopped", "stopped_too", "few_samples", "most_samples", "deep", "deepest",
}

describe("scikit-learn's scores", function()
  for _, name in ipairs(FIXTURES) do
    it("are met on every path: " .. name, function()
      local case = read_case(name)
      for _, path in ipairs { "best", "portable", "avx2", "avx512", "plain" } do
        case.options.path = path
        local ok, result = pcall(iforest.fit_score, case.columns, case.options)
        if ok then
          assert.equal(case.offset, result.offset)
          same(case.scores, result.scores:totable(), path .. " scores")
          same(case.decisions, result.decisions:totable(), path .. " decisions")
        else
          assert.match("this processor does not have it", result)
        end
      end
    end)
  end

  it("come out of fit and score_samples too", function()
    for _, name in ipairs { "hundred", "shuffle", "gaps", "deep" } do
      local case = read_case(name)
      local forest = iforest.fit(case.columns, case.options)
      assert.equal(case.offset, forest.offset)
      same(case.scores, forest:score_samples(case.columns):totable(), name)
      same(case.decisions, forest:decision_function(case.columns):totable(), name)
      for i, label in ipairs(forest:predict(case.columns):totable()) do
        assert.equal(case.decisions[i] < 0 and -1 or 1, label)
      end
    end
  end)
end)

describe("a forest", function()
  local case = read_case("gaps")
  local forest = iforest.fit(case.columns, case.options)

  it("scores other frames, and one row at a time", function()
    for r = 1, 10 do
      local row = {}
      for c = 1, case.width do row[c] = column.new { case.columns[c][r] } end
      assert.equal(case.scores[r], forest:score_samples(row)[1])
    end
  end)

  it("fills gaps of other frames with its own medians", function()
    local empty, filled = {}, {}
    for c = 1, case.width do
      local cells = {}
      for _, cell in ipairs(case.cells[c]) do
        if cell then cells[#cells + 1] = cell end
      end
      table.sort(cells)
      local middle = (cells[#cells // 2] + cells[#cells // 2 + 1]) / 2
      if #cells % 2 == 1 then middle = cells[#cells // 2 + 1] end
      empty[c] = column.new { false }
      filled[c] = column.new { middle }
    end
    assert.equal(forest:score_samples(filled)[1], forest:score_samples(empty)[1])
  end)

  it("explains a row by steps that add up to its score", function()
    local c = 2 * (math.log(forest.max_samples - 1) + 0.5772156649015329)
      - 2 * (forest.max_samples - 1) / forest.max_samples
    for row = 1, 20 do
      local shares = forest:explain(case.columns, row)
      assert.equal(case.width, #shares)
      local sum = 0
      for _, share in ipairs(shares) do sum = sum + share end
      assert.near(case.scores[row], -2 ^ (sum / c - 1), 1e-12)
    end
  end)

  it("blames the channel that stands out", function()
    local a, b = {}, {}
    for i = 1, 100 do
      a[i], b[i] = (i * 37) % 101, (i * 53) % 97
    end
    b[50] = 1000
    local columns = { column.new(a), column.new(b) }
    local shares = iforest.fit(columns):explain(columns, 50)
    assert.is_true(shares[2] > 3 and shares[2] > 4 * math.abs(shares[1]))
  end)

  it("says what it is", function()
    assert.match("50 trees of 90 rows out of 90, 3 of 3 columns", tostring(forest), 1, true)
    assert.equal(50, forest.n_estimators)
    assert.equal(90, forest.max_samples)
    assert.equal(90, forest.n_rows)
    assert.equal(3, forest.n_features)
    assert.equal(42, forest.random_state)
    assert.equal(0.05, forest.contamination)
    assert.is_nil(forest.nonsense)
    assert.equal("auto", iforest.fit(case.columns, { contamination = "auto" }).contamination)
  end)

  it("takes max_samples as a share of the rows", function()
    assert.equal(45, iforest.fit(case.columns, { max_samples = 0.5 }).max_samples)
    assert.equal(90, iforest.fit(case.columns, { max_samples = 1.0 }).max_samples)
    assert.equal(1, iforest.fit(case.columns, { max_samples = 1 }).max_samples)
    assert.equal(1, iforest.fit(case.columns, { max_samples = 0.001 }).max_samples)
  end)
end)

describe("what nothing can be learnt from", function()
  local function neutral(result, rows)
    assert.equal(-0.5, result.offset)
    assert.equal(rows, #result.scores)
    for i = 1, rows do
      assert.equal(-0.5, result.scores[i])
      assert.equal(0, result.decisions[i])
      assert.equal(1, result.labels[i])
    end
  end

  it("is no error: no rows", function()
    local columns = { column.new {}, column.new {} }
    neutral(iforest.fit_score(columns), 0)
    local forest = iforest.fit(columns)
    assert.equal(-0.5, forest:score_samples({ column.new { 1 }, column.new { 2 } })[1])
    assert.same({ 0, 0 }, forest:explain({ column.new { 1 }, column.new { 2 } }, 1))
    assert.match("nothing to learn", tostring(forest))
    assert.has_error(function() forest:tree(1) end)
  end)

  it("is no error: only empty channels", function()
    local columns = { column.constant(5, 0 / 0), column.constant(5, 0 / 0) }
    neutral(iforest.fit_score(columns), 5)
    neutral(iforest.fit_score(columns, { contamination = "auto" }), 5)
  end)

  it("is left out: an empty channel beside others", function()
    local case = read_case("hundred")
    local with = { column.constant(case.rows, 0 / 0), table.unpack(case.columns) }
    table.insert(with, 3, with[1])
    local result = iforest.fit_score(with)
    same(case.scores, result.scores:totable(), "scores")
    local forest = iforest.fit(with)
    local found = forest:score_samples(with)
    same(case.scores, found:totable(), "score_samples")
    with[1] = column.constant(case.rows, 1e9)
    same(case.scores, forest:score_samples(with):totable(), "another frame, where it has values")
    local shares = forest:explain(with, 1)
    assert.equal(0, shares[1])
    assert.equal(0, shares[3])
  end)

  it("is clamped: what float32 cannot hold", function()
    local cells, clamped = {}, {}
    for i = 1, 40 do
      cells[i] = i * 1e36
      clamped[i] = cells[i]
    end
    local most = 0x1.fffffep+127
    cells[7], clamped[7] = 1e300, most
    cells[8], clamped[8] = -math.huge, -most
    cells[9], clamped[9] = math.huge, most
    local found = iforest.fit_score { column.new(cells) }
    local expected = iforest.fit_score { column.new(clamped) }
    same(expected.scores:totable(), found.scores:totable(), "scores")
    assert.equal(-1, found.labels[8])
  end)

  it("is an inlier: a score equal to the offset", function()
    local result = iforest.fit_score { column.constant(50, 3) }
    for i = 1, 50 do assert.equal(1, result.labels[i]) end
  end)
end)

describe("columns of flags", function()
  it("are channels as any", function()
    local numbers, list = {}, {}
    for i = 1, 600 do numbers[i] = i % 7 - 3 end
    local first = column.new(numbers)
    local flags = first:above(1)
    for i = 1, #flags do list[i] = flags[i] end
    local narrow = iforest.fit_score({ first, flags }, { random_state = 1 })
    local wide = iforest.fit_score({ first, column.new(list) }, { random_state = 1 })
    assert.same(wide.scores:totable(), narrow.scores:totable())
    assert.same(wide.labels:totable(), narrow.labels:totable())
    local forest = iforest.fit({ first, flags }, { random_state = 1 })
    assert.same(wide.labels:totable(), forest:predict({ first, flags }):totable())
    assert.same(forest:explain({ first, column.new(list) }, 5), forest:explain({ first, flags }, 5))
  end)
end)

describe("a wrong call", function()
  local good = { column.new { 1, 2, 3 }, column.new { 4, 5, 6 } }

  for _, wrong in ipairs {
    { "columns", nil }, { "columns", {} }, { "columns", { 1 } }, { "columns", { "x" } },
    { "columns", { good[1], column.new { 1 } } },
    { "options", good, 7 },
    { "n_estimators", good, { n_estimators = 0 } },
    { "n_estimators", good, { n_estimators = 1.5 } },
    { "n_estimators", good, { n_estimators = "100" } },
    { "contamination", good, { contamination = 0 } },
    { "contamination", good, { contamination = 0.51 } },
    { "contamination", good, { contamination = 0 / 0 } },
    { "contamination", good, { contamination = "automatic" } },
    { "max_samples", good, { max_samples = 0 } },
    { "max_samples", good, { max_samples = 1.5 } },
    { "max_samples", good, { max_samples = "all" } },
    { "random_state", good, { random_state = -1 } },
    { "random_state", good, { random_state = 2 ^ 32 } },
    { "path", good, { path = "fast" } },
  } do
    it("names the argument: " .. wrong[1], function()
      for _, call in ipairs { iforest.fit, iforest.fit_score } do
        local ok, message = pcall(call, wrong[2], wrong[3])
        assert.is_false(ok)
        assert.match(wrong[1], message, 1, true)
      end
    end)
  end

  it("of a method names the argument", function()
    local forest = iforest.fit(good)
    assert.has_error(function() forest:score_samples { good[1] } end)
    local _, message = pcall(forest.predict, forest, { good[1] })
    assert.match("columns: 1, but the forest was fitted on 2", message)
    _, message = pcall(forest.explain, forest, good, 4)
    assert.match("row", message)
    _, message = pcall(forest.tree, forest, 101)
    assert.match("tree", message)
    assert.has_error(function() iforest.fit(good).score_samples(good, good) end)
  end)
end)

-- The checker of spec/support, as make builds it, and built here with one compiler and level.
local CHECKER = (os.getenv("ANOMALYD_BUILD") or "build") .. "/spec/iforest_check"
local SOURCES = "spec/support/iforest_check.c src/core/iforest*.c src/core/order.c src/core/rng.c "
  .. "src/core/crew.c src/core/fail.c"
local CASES = "cases spec/fixtures/iforest/[!v]*.txt"
local VECTORS = "vectors spec/fixtures/iforest/vectors.txt"

local function check_in_c(program, what)
  for _, arguments in ipairs(what) do
    local ok, text = shell(program .. " " .. arguments)
    assert.is_true(ok, text)
  end
end

local function check_compiled(compiler, level, what)
  local program = os.tmpname()
  local ok, text = shell(compiler .. " -std=c11 -D_GNU_SOURCE -Isrc -Wall -Wextra -Werror " .. level
    .. " -ffp-contract=off -fno-builtin-pow -pthread -o " .. program .. " " .. SOURCES .. " -lm")
  assert.is_true(ok, text)
  check_in_c(program, what)
  os.remove(program)
end

describe("in C all is the same", function()
  it("as it is built here", function()
    check_in_c(CHECKER, { CASES, VECTORS, "paths" })
  end)

  -- Both compilers, every level: ANOMALYD_THOROUGH=1. Once is enough: not again inside the host.
  if pcall(require, "host") then return end
  local thorough = os.getenv("ANOMALYD_THOROUGH")
  for _, compiler in ipairs { "gcc", "clang", "clang-14", "clang-19" } do
    for _, level in ipairs { "-O0", "-O1", "-O2", "-O3" } do
      if (thorough or compiler .. level == "gcc-O3") and shell("command -v " .. compiler) then
        it("with " .. compiler .. " " .. level, function()
          check_compiled(compiler, level, { CASES, VECTORS, thorough and "paths" })
        end)
      end
    end
  end
end)

describe("the reference's cases", function()
  local index = shared.path("golden/index.json")
  if not index then
    pending("the reference data is not here")
    return
  end
  for _, case in ipairs(cjson.decode(shared.read("golden/index.json")).cases) do
    if case.group == "grid" and case.files.forest then
      it(case.id, function()
        local columns = read_channels(shared.read("golden/" .. case.files.input), case.channels)
        local scores, decisions = read_scores(shared.read("golden/" .. case.files.scores))
        local dump = cjson.decode(shared.read("golden/" .. case.files.forest))
        check_scores(case, columns, scores, decisions, options_of(case))
        check_forest(case, columns, scores, decisions, dump)
      end)
    end
  end
end)

describe("the reference's vectors", function()
  local function lines_of_generators(lines)
    for seed, v in pairs(cjson.decode(shared.read("golden/vectors/mt19937.json.gz"))) do
      local function add(head, values, n)
        lines[#lines + 1] = head .. " " .. table.concat(values, " ", 1, n or #values)
      end
      add("double " .. seed, v.uniform_first8_hex)
      add("upto " .. seed .. " 2147483646", v.bagging_seeds_100)
      add("upto " .. seed .. " 256", v.randint_257_first20)
      add("upto " .. seed .. " 29999", v.randint_one_by_one_30000_first20)
      add("rows " .. seed .. " 20 19", v.permutation_20, 19)
      add("rows " .. seed .. " 1000 256", v.permutation_1000_first20)
      add("rows " .. seed .. " 70000 701", v.permutation_70000_first20)
    end
  end

  local function lines_of_formulas(lines)
    for i, row in ipairs(read_csv(shared.read("golden/vectors/c_of_n.csv"))) do
      if i > 1 then lines[#lines + 1] = "c " .. row[1] .. " " .. row[2] end
    end
    for i, row in ipairs(read_csv(shared.read("golden/vectors/pow2.csv.gz"))) do
      if i > 1 then lines[#lines + 1] = "pow2 " .. row[1] .. " " .. row[2] end
    end
    for _, p in ipairs(cjson.decode(shared.read("golden/vectors/percentile.json.gz"))) do
      local values = table.concat(p.values_hex, " ")
      lines[#lines + 1] = ("percentile %s %s %s"):format(p.q, p.out_hex, values)
    end
  end

  it("are met", function()
    if not shared.path("golden/index.json") then
      return pending("the reference data is not here")
    end
    local lines = {}
    lines_of_generators(lines)
    lines_of_formulas(lines)
    local name = os.tmpname()
    files.write(name, table.concat(lines, "\n") .. "\n")
    check_in_c(CHECKER, { "vectors " .. name })
    os.remove(name)
  end)
end)
