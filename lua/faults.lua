--- faults: a bucket that fails at random, for tests only.
--
-- With ANOMALYD_FAULTS=RATE (a share from 0 to 1, such as 0.2) in the environment, that share of
-- the requests fail: half of them before they reach the bucket (500, 503, a time-out), half of them
-- after it: the work is done and the answer is lost. Without it the bucket is given back as it is.
local faults = {}

local rate = tonumber(os.getenv("ANOMALYD_FAULTS") or "")

local BEFORE = { { "InternalError", "We encountered an internal error. Please try again." },
  { "SlowDown", "Please reduce your request rate." }, { "Timeout", "the server did not answer" } }

local function strike()
  if math.random() >= rate then return nil end
  return math.random() < 0.5 and "before" or "after"
end

local function fail_before()
  local kind = BEFORE[math.random(#BEFORE)]
  return nil, kind[2] .. " (a fault on purpose)", kind[1]
end

local function fail_after()
  return nil, "the answer was lost (a fault on purpose)", "Timeout"
end

local function faulty(bucket, operation)
  return function(_, ...)
    local when = strike()
    if when == "before" then return fail_before() end
    local result, message, code = bucket[operation](bucket, ...)
    if when == "after" then return fail_after() end
    return result, message, code
  end
end

local function faulty_list(bucket)
  return function(_, options)
    local pages, message, code = bucket:list(options)
    if not pages then return nil, message, code end
    return function()
      if strike() then return false, select(2, fail_before()) end
      return pages()
    end
  end
end

--- The bucket, or one of the same face that fails at random.
function faults.around(bucket)
  if not rate or rate <= 0 then return bucket end
  local face = { list = faulty_list(bucket) }
  for _, operation in ipairs({ "get", "put", "head", "delete" }) do
    face[operation] = faulty(bucket, operation)
  end
  return face
end

return faults
