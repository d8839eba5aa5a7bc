--- shared: where the reference data lies, for specs that use it when it is present.
--
-- The directory is ../shared beside the checkout, or $ANOMALYD_SHARED. Specs that need it call
-- shared.path("golden/index.json") and mark themselves pending when that gives nil.
local files = require("files")
local shared = {}

local root = os.getenv("ANOMALYD_SHARED") or "../shared"

--- The path of a file under the shared directory, or nil when it is not there.
function shared.path(name)
  local path = root .. "/" .. name
  return files.exists(path) and path or nil
end

--- The whole text of a file; `.gz` is unpacked. Raises when it cannot be read.
function shared.read(name)
  local path = assert(shared.path(name), name .. " is not in " .. root)
  if path:sub(-3) ~= ".gz" then return files.read(path) end
  return (files.output("gzip -dc '" .. path .. "'"))
end

return shared
