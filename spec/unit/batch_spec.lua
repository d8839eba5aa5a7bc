-- One file of rows: which columns are channels, what is said of bad cells, and the summary.
local baseline = require("baseline")
local batch = require("batch")
local column = require("column")
local json = require("json")

local AUTO = { channels = "auto", n_estimators = 5, contamination = 0.1, random_state = 1 }

local function named(...)
  return { channels = { ... }, n_estimators = 5, contamination = 0.1, random_state = 1 }
end

--- A detection that flags the first row and adds one column.
local function detect(self)
  local cells = {}
  for i = 1, self.frame.rows do cells[i] = i == 1 and 1 or 0 end
  local first = column.new(cells)
  self.frame:set("anomaly", first, "boolean")
  return first
end

local function channels_of(header, row, policy, known)
  local self = assert(batch.open(header .. "\n" .. row .. "\n", policy or AUTO, known or {}))
  return self.channels, self.missing
end

describe("the channels of a batch", function()
  it("are the columns of numbers that are no time and no id", function()
    assert.same({ "temp", "kid", "paid", "rowing" }, channels_of(
      "timestamp,temp,id,sensor_id,kid,Time,event time,date-utc,paid,uuid,row,rowing,note,ts,"
      .. "Unnamed: 0,my_timestamp_utc,INDEX,last_updated",
      "1,2,3,4,5,6,7,8,9,10,11,12,x,1,2,3,4,5"))
  end)

  it("are also those that the baseline knows, whatever they hold or are called", function()
    local chosen, missing = channels_of("id,temp,note", "1,2,x", AUTO, { "id", "note", "gone" })
    assert.same({ "id", "temp", "note" }, chosen)
    assert.same({ "gone" }, missing)
  end)

  it("are a guess that one bad cell in twenty does not change", function()
    local function text(bad)
      local lines = { "a,b" }
      for i = 1, 20 do lines[i + 1] = (i <= bad and "x" or i) .. ",1" end
      return table.concat(lines, "\n") .. "\n"
    end
    assert.same({ "a", "b" }, assert(batch.open(text(1), AUTO, {})).channels)
    assert.same({ "b" }, assert(batch.open(text(2), AUTO, {})).channels)
  end)

  it("are those that are named, in that order", function()
    local chosen, missing = channels_of("b,id,a", "1,2,3", named("a", "zz", "id", "b"))
    assert.same({ "a", "id", "b" }, chosen)
    assert.same({ "zz" }, missing)
  end)

  it("are never columns that this program added", function()
    local chosen = channels_of("t,t_zscore,t_zscore_flag,if_label,if_score,if_flag,anomaly",
      "1,0.5,False,1,-0.5,False,False")
    assert.same({ "t" }, chosen)
  end)

  it("may have names that only look like ours", function()
    local chosen = channels_of("my_zscore,anomaly,if_score,t", "1,2,3,4")
    assert.same({ "my_zscore", "anomaly", "if_score", "t" }, chosen)
  end)

  it("must be there", function()
    local self, message, code = batch.open("note,id\nx,1\n", AUTO, {})
    assert.is_nil(self)
    assert.equal("NoChannel", code)
    assert.equal("no channel: the columns are note, id, wanted are numbers (channels in "
      .. "baseline_policy.lua)", message)
    self, message = batch.open("note,id\nx,1\n", named("t", "h"), {})
    assert.is_nil(self)
    assert.truthy(message:find("wanted are t, h", 1, true))
  end)

  it("must have names that a summary has room for", function()
    local names = {}
    for i = 1, 30 do names[i] = ("%02d"):format(i) .. ("n"):rep(10000) end
    local row = ("1,"):rep(29) .. "1\n"
    local self, _, code = batch.open(table.concat(names, ",") .. "\n" .. row, AUTO, {})
    assert.is_nil(self)
    assert.equal("TooLarge", code)
    names[30], names[29], names[28], names[27] = "a", "b", "c", "d"
    self = assert(batch.open(table.concat(names, ",") .. "\n" .. row, AUTO, {}))
    assert.equal(30, #self.channels)
  end)
end)

describe("a batch", function()
  it("that is no table of rows is refused with the reason", function()
    for _, case in ipairs({ { "", "Empty" }, { "a,b\n", "NoChannel" }, { "a\n\0\n", "NulByte" },
      { "\0\1\2", "NotText" },
      { 'a\n"1\n', "UnclosedQuote" } }) do
      local self, message, code = batch.open(case[1], AUTO, {})
      assert.is_nil(self)
      assert.is_string(message)
      assert.equal(case[2], code)
    end
  end)

  it("of known channels may have no row", function()
    local self = assert(batch.open("t,h\n", named("t"), {}))
    batch.forest(self, AUTO)
    batch.score(self, baseline.empty(), AUTO, detect)
    local summary = batch.summary(self, { policy = {} })
    assert.equal(0, summary.total_rows)
    assert.equal(0.0, summary.anomaly_rate)
    assert.equal("t,h,anomaly\n", self.frame:format())
  end)

  it("is bounded by the limits it is given", function()
    local self, _, code = batch.open("a\n1\n2\n3\n", AUTO, {}, { max_rows = 2 })
    assert.is_nil(self)
    assert.equal("TooLarge", code)
  end)

  it("replaces an earlier scoring instead of doubling it", function()
    local text = "t,t_zscore,t_zscore_flag,if_label,if_score,if_flag,anomaly,note\n"
      .. "1,9.5,True,1,-0.5,False,False,a\n2,0.5,False,1,-0.5,False,False,b\n"
    local self = assert(batch.open(text, AUTO, {}))
    batch.forest(self, AUTO)
    batch.score(self, baseline.empty(), AUTO, detect)
    assert.equal("t,note,anomaly\n1,a,True\n2,b,False\n", self.frame:format())
    assert.equal(1, self.anomaly_count)
  end)

  it("keeps the input's cells as they came", function()
    local text = 't,note\n 1.50 ,"a ""b"", c"\n+2e0,\n'
    local self = assert(batch.open(text, AUTO, {}))
    batch.forest(self, AUTO)
    batch.score(self, baseline.empty(), AUTO, detect)
    assert.equal('t,note,anomaly\n 1.50 ,"a ""b"", c",True\n+2e0,,False\n', self.frame:format())
  end)

  it("says in its summary what was counted and what was bad", function()
    local text = "t,h,note\n1,x,a\n2,5,b\n,5,c\n4,inf,d\n9\n7,bad,e\n"
    local policy = named("t", "h", "gone")
    local self = assert(batch.open(text, policy, {}))
    batch.forest(self, policy)
    batch.score(self, baseline.empty(), policy, detect)
    local summary = batch.summary(self, { source_key = "raw/x.csv", output_key = "processed/x.csv",
      processed_at = "now", source_etag = "e", policy = { z_threshold = 3 }, duration_seconds = 0.5,
      counts = baseline.counts(baseline.empty(), self.channels), unlearned = { "h" },
      rejected_key = "failed/x_rejected.csv" })
    local value = assert(json.decode(json.encode(summary)))
    assert.same({ "source_key", "output_key", "processed_at", "total_rows", "anomaly_count",
      "anomaly_rate", "baseline_observation_counts", "source_etag", "channels", "policy",
      "duration_seconds", "missing_channels", "unlearned_channels", "rejected_rows", "rejected_key",
      "bad_cells", "batch_moments" }, json.keys(value))
    assert.equal(5, value.total_rows)
    assert.equal(1, value.anomaly_count)
    assert.equal(0.2, value.anomaly_rate)
    assert.equal(1, value.rejected_rows)
    assert.equal("gone", value.missing_channels[1])
    assert.is_nil(value.bad_cells.t)
    assert.equal(3, value.bad_cells.h.count)
    assert.equal(2, value.bad_cells.h.first[1].line)
    assert.equal("x", value.bad_cells.h.first[1].text)
    assert.equal(4, value.batch_moments.t.count)
    assert.equal(3.5, value.batch_moments.t.mean)
    assert.equal(2, value.batch_moments.h.count)
  end)

  it("has a summary although its numbers pass the range of a double", function()
    local self = assert(batch.open("t\n1e308\n-1e308\n1e308\n", AUTO, {}))
    batch.forest(self, AUTO)
    batch.score(self, baseline.empty(), AUTO, detect)
    local summary = batch.summary(self, { source_key = "k", output_key = "o", processed_at = "now",
      counts = json.object(), policy = {}, duration_seconds = 0 })
    assert.is_string(json.encode(summary))
  end)

  it("is one whose rate has four decimals", function()
    local self = assert(batch.open("t\n1\n2\n3\n", AUTO, {}))
    batch.score(self, baseline.empty(), AUTO, detect)
    assert.equal(0.3333, batch.summary(self, { policy = {} }).anomaly_rate)
  end)
end)
