--- routes: the service's endpoints. Each is declared once, with its parameters: the checks, the
-- answers for wrong ones, /openapi.json and /docs come from the declaration.
local baseline_view = require("baseline_view")
local batches = require("batches")
local history = require("history")
local json = require("json")
local metrics = require("metrics")
local notify = require("notify")
local pages = require("pages")
local response = require("response")
local status = require("status")

return function(app)
  app.post("/notify", {
    summary = "SNS messages: S3 events of new batches, and the subscription's handshake",
    body = { type = "text", description = "an SNS message (JSON)" },
    responses = { [403] = { description = "a message that is not believed" },
      [503] = { description = "not now: SNS tries again" } },
  }, notify.receive)

  app.get("/anomalies/recent", {
    summary = "Rows flagged in the 10 most recent processed files",
    query = { limit = { type = "integer", default = 50, minimum = 1, maximum = 10000 } },
  }, function(request)
    local rows = history.recent_anomalies(request.query.limit)
    return json.object({ "count", "anomalies" }, { count = #rows, anomalies = json.array(rows) })
  end)

  app.get("/anomalies/summary", {
    summary = "Totals over all processed files, and the five most recent summaries",
  }, history.overview)

  app.get("/baseline/current", {
    summary = "What the baseline knows of each channel",
  }, baseline_view.current)

  app.get("/health", { summary = "Is the process alive?" }, status.health)

  app.get("/ready", {
    summary = "Can it work now?",
    responses = { [503] = { description = "no, and why" } },
  }, status.ready)

  app.get("/metrics", { summary = "Counters in Prometheus' text format" }, function()
    return response.new(200, { ["content-type"] = metrics.content_type }, status.metrics())
  end)

  app.get("/batches", {
    summary = "Accepted batches and what became of them, newest first",
    query = {
      state = { type = "string", enum = { "queued", "running", "retrying", "done", "failed" } },
      limit = { type = "integer", default = 100, minimum = 1, maximum = 1000 },
    },
  }, batches.list)

  pages.add(app)
end
