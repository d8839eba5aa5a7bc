--- The isolation forest against scikit-learn's own trees, scores and labels, to the last bit.
local cjson = require "cjson"
local column = require "column"
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
