--- golden: the reference cases, and how our results are held against them.
local csv = require("csv")
local files = require("files")
local json = require("json")
local shared = require("shared")

local golden = {}

local function readable(text)
  return (text:gsub("([:,%[]%s*)NaN", "%1null"):gsub("([:,%[]%s*)%-?Infinity", "%1null"))
end

--- JSON as the reference writes it: NaN and Infinity become null.
function golden.json(text) return assert(json.decode(readable(text))) end

local function chosen(index, wanted, read)
  local list = {}
  for _, case in ipairs(golden.json(index).cases) do
    if wanted(case) then
      case.read = read
      list[#list + 1] = case
    end
  end
  return list
end

--- The cases of index.json that `wanted(case)` takes, or nil where the data is not at hand.
function golden.cases(wanted)
  if not shared.path("golden/index.json") then return nil end
  return chosen(shared.read("golden/index.json"), wanted, function(file)
    return shared.read("golden/" .. file)
  end)
end

--- The few that every checkout has.
function golden.fixtures(wanted)
  local function read(file) return files.fixture("batches/" .. file) end
  return chosen(read("index.json"), wanted, read)
end

--- A file of a case: "input", "baseline_in", "scored", "baseline_out" or "summary".
function golden.read(case, what) return case.read(case.files[what]) end

--- Names of the computed columns of a scored file of the reference.
function golden.computed(case, frame)
  local names = {}
  local function add(name)
    for _, there in ipairs(frame.names) do
      if there == name then names[#names + 1] = name end
    end
  end
  for _, channel in ipairs(case.channels) do
    add(channel .. "_zscore")
    add(channel .. "_zscore_flag")
  end
  for _, name in ipairs({ "if_label", "if_score", "if_flag", "anomaly" }) do add(name) end
  return names
end

--- Has a cell of this input more than 15 significant digits? (There the reference misreads it.)
function golden.long_cells(text)
  for digits in text:gmatch("[%d%.]+") do
    local significant = digits:gsub("%.", ""):gsub("^0+", "")
    if digits:find("%.") and #significant > 15 then return true end
  end
  return false
end

--- Cells of the computed columns that differ between our scored text and the reference's.
-- @return list of "row column: ours, theirs", and how many cells were compared
function golden.differences(case, ours, theirs)
  local mine = assert(csv.parse(ours, { text_only = true }))
  local its = assert(csv.parse(theirs, { text_only = true }))
  local list, compared = {}, 0
  if mine.rows ~= its.rows then return { ("%d rows, not %d"):format(mine.rows, its.rows) }, 0 end
  for _, name in ipairs(golden.computed(case, its)) do
    for row = 1, its.rows do
      local a, b = mine:cell(row, name), its:cell(row, name)
      compared = compared + 1
      if a ~= b then
        list[#list + 1] = ("%d %s: %s, not %s"):format(row, name, tostring(a), tostring(b))
      end
    end
  end
  return list, compared
end

--- Are two numbers equal within `tolerance`, relative?
function golden.near(a, b, tolerance)
  if a == b then return true end
  return math.abs(a - b) <= tolerance * math.max(math.abs(a), math.abs(b))
end

return golden
