--- pages: /openapi.json and /docs, made from the route table.
local docs_page = require("docs_page")
local host = require("host")
local openapi = require("openapi")
local response = require("response")

local pages = {}

--- Add both routes to an app; they are not listed in what they show.
function pages.add(app)
  app.get("/openapi.json", { hidden = true }, function()
    return openapi.document(app, { title = "anomalyd", version = host.version })
  end)
  app.get("/docs", { hidden = true }, function()
    return response.html(200, docs_page.html())
  end)
end

return pages
