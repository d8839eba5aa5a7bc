--- batches: the queue as the handlers show it.
local context = require("context")
local json = require("json")
local queue = require("queue")

local batches = {}

local ORDER = { "key", "state", "result", "attempts", "detail", "etag", "source", "request_id",
  "accepted", "finished" }

--- GET /batches: the batches in a state, newest first.
function batches.list(request)
  local rows = queue.list(context.queue_state, request.query.state, request.query.limit)
  for i, row in ipairs(rows) do
    row.accepted = context.utc(row.accepted)
    row.finished = row.finished and context.utc(row.finished)
    rows[i] = json.object(ORDER, row)
  end
  return json.object({ "count", "batches" }, { count = #rows, batches = json.array(rows) })
end

return batches
