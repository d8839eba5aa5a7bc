--- keys: the names of a batch's objects in the bucket.
--
-- NAME is what stands between the leading `raw/` and the final `.csv`; it keeps its folders. Only
-- those two ends are replaced, so `raw/raw/a.csv.csv` becomes `processed/raw/a.csv.csv`.
local keys = { baseline = "state/baseline.json", raw = "raw/", processed = "processed/",
  failed = "failed/" }

--- NAME of an input's key, or nil when the key is no input (case counts).
function keys.name(key)
  local name = key:match("^raw/(.+)%.csv$")
  if name and not name:find("/$") then return name end
end

--- The key of NAME's input.
function keys.input(name) return "raw/" .. name .. ".csv" end

--- The key of its scored file.
function keys.scored(name) return "processed/" .. name .. ".csv" end

--- The key of its summary.
function keys.summary(name) return "processed/" .. name .. "_summary.json" end

--- The key of the record that it can never be scored.
function keys.failure(name) return "failed/" .. name .. ".csv_error.json" end

--- The key of its rows that were not scored.
function keys.rejected(name) return "failed/" .. name .. "_rejected.csv" end

-- S3 has keys of up to 1024 bytes, file systems have names of up to 255.
local MOST_KEY, MOST_PART = 1024, 255

--- Why a batch of this name can never be marked as done, or nil: its summary's key is too long.
-- @param kind the bucket's: "directory" or "s3"
function keys.obstacle(name, kind)
  local summary = keys.summary(name)
  if #summary > MOST_KEY then
    return ("the name is too long: the summary's key would have %d bytes, at most %d are possible")
      :format(#summary, MOST_KEY)
  end
  local last = summary:match("[^/]*$")
  if kind == "directory" and #last > MOST_PART then
    return ("the name is too long: the summary's file name would have %d bytes, at most %d are "
      .. "possible"):format(#last, MOST_PART)
  end
end

--- NAME of a summary's key, or nil when it is none.
function keys.name_of_summary(key) return key:match("^processed/(.+)_summary%.json$") end

--- NAME of a failure record's key, or nil when it is none.
function keys.name_of_failure(key) return key:match("^failed/(.+)%.csv_error%.json$") end

return keys
