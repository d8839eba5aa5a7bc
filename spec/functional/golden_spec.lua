-- `anomalyd score` against the reference's scored files, baselines and summaries.
local golden = require("golden")
local json = require("json")
local daemon = require("daemon")

-- Where the reference's forest failed (a cell it cannot take) it wrote constants; ours scores.
local function comparable(case)
  return case.reference_settings and (case.group == "grid" or case.group == "sequence") and
    case.raises == json.null and case.if_error == json.null
end

local function score(case, input, baseline_in)
  local dir = daemon.directory()
  daemon.write(dir .. "/in.csv", input)
  daemon.write(dir .. "/baseline.json", baseline_in)
  local code, out, err = daemon.run(("score --baseline %s/baseline.json --save-baseline " ..
    "%s/out.json --summary %s/summary.json %s/in.csv"):format(dir, dir, dir, dir))
  assert(code == 0, case.id .. ": " .. err)
  local result = { scored = out, baseline = json.decode(daemon.read(dir .. "/out.json")),
    summary = json.decode(daemon.read(dir .. "/summary.json")) }
  os.execute("rm -rf " .. dir)
  return result
end

local function check_baseline(case, result, theirs, exact, before)
  for name, channel in pairs(theirs) do
    local mine = result.baseline[name]
    local readable = type(channel) == "table" and channel.mean ~= json.null and
      channel.M2 ~= json.null and not (before[name] and before[name].mean == json.null)
    if readable then
      assert.equal(channel.count, mine.count, case.id .. " " .. name)
      for _, field in ipairs({ "mean", "M2", "std" }) do
        local tolerance = exact and 0 or 1e-12
        assert.is_true(golden.near(mine[field], channel[field], tolerance),
          ("%s %s.%s: %.17g, not %.17g"):format(case.id, name, field, mine[field], channel[field]))
      end
    end
  end
end

local function check_summary(case, result, theirs, differ)
  for _, field in ipairs({ "total_rows", "anomaly_count", "anomaly_rate" }) do
    assert.equal(theirs[field], result.summary[field], case.id .. " " .. field)
  end
  assert.same(theirs.baseline_observation_counts, result.summary.baseline_observation_counts)
  assert.is_true(differ >= 0)
end

local function check_passes_through(input, scored, id)
  local lines = {}
  for line in scored:gmatch("[^\n]+") do lines[#lines + 1] = line end
  local i = 0
  for line in input:gmatch("[^\r\n]+") do
    i = i + 1
    assert.equal(line .. ",", lines[i]:sub(1, #line + 1), id .. " line " .. i)
  end
end

local function check_case(case)
  local input, before = golden.read(case, "input"), golden.read(case, "baseline_in")
  local result = score(case, input, before)
  local list, compared = golden.differences(case, result.scored, golden.read(case, "scored"))
  local long = golden.long_cells(input)
  local allowed = long and compared // 10000 + 1 or 0
  assert.is_true(#list <= allowed, case.id .. ": " .. table.concat(list, "; ", 1,
    math.min(#list, 5)))
  for _, difference in ipairs(list) do assert.is_nil(difference:find("flag")) end
  check_baseline(case, result, golden.json(golden.read(case, "baseline_out")), not long,
    golden.json(before))
  check_summary(case, result, golden.json(golden.read(case, "summary")), #list)
  check_passes_through(input, result.scored, case.id)
  return compared
end

describe("the reference's results", function()
  for _, case in ipairs(golden.fixtures(comparable)) do
    it("are ours: " .. case.id, function()
      assert.is_true(check_case(case) >= 0)
    end)
  end

  local cases = golden.cases(comparable)
  if not cases then
    pending("the whole reference data is not at " .. (os.getenv("ANOMALYD_SHARED") or "../shared"))
    return
  end

  it("are ours in every case of the grid and the sequence", function()
    local compared = 0
    for _, case in ipairs(cases) do compared = compared + check_case(case) end
    assert.is_true(#cases >= 50, #cases .. " cases")
    assert.is_true(compared > 50000, compared .. " cells")
  end)
end)
