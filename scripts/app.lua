--- app: the entry. It returns what the service is made of; every file here can be edited while it
-- runs (serve --reload, SIGHUP or :reload in the console). `anomalyd check` tries them all.
local app = require("router").new()

require("routes")(app)

return {
  app = app,                             -- the routes
  policy = require("baseline_policy"),   -- what the baseline learns and when a value is flagged
  detect = require("detect"),            -- how flags are put together
  handshake = require("sns_handshake"),  -- which topics are believed and confirmed
}
