--- buckets: both kinds of bucket with one face, so that one spec runs on each of them.
--
--   for _, kind in ipairs(buckets.kinds()) do
--     describe("... " .. kind.name, function()
--       if not kind.new then pending(kind.reason) end      no S3 server is installed
--       local bucket = kind.new()      an empty one
--       bucket.argument, bucket.name, bucket.env     what --bucket takes, what events call it, what
--                                                    the environment of the program must have
--       bucket.options                               options of `serve` with which files are found
--                                                    soon and events are believed
--       bucket.events                                are there events? A directory tells by itself
--       bucket:put(key, text), bucket:get(key) -> text or nil, bucket:keys(prefix) -> {key = true}
--       bucket:keep_versions() -> whether conditional writes work then; S3 only
--       bucket:remove()
local files = require("files")
local radosgw = require("radosgw")
local s3 = require("s3")

local buckets = {}

-- ---- a folder ----

local Folder = {}
Folder.__index = Folder

--- Put as a careful program would: written beside, then moved in.
function Folder:put(key, text)
  local temporary = self.argument .. ".dropped"
  files.write(temporary, text)
  assert(os.rename(temporary, self.argument .. "/" .. key))
end

function Folder:get(key) return files.read(self.argument .. "/" .. key) end

function Folder:keys(prefix)
  local found = {}
  local pipe = assert(io.popen(("cd '%s' && find . -type f"):format(self.argument)))
  for line in pipe:lines() do
    local key = line:sub(3)
    if key:sub(1, #prefix) == prefix then found[key] = true end
  end
  pipe:close()
  return found
end

function Folder:remove()
  if self.own then os.execute("rm -rf " .. self.own) end
end

--- A directory bucket at `path`.
function buckets.directory(path)
  return setmetatable({ argument = path, name = path:match("[^/]*$"), env = "", options = "" },
    Folder)
end

local function new_folder()
  local own = files.line(("mktemp -d %s/spec-XXXXXX"):format(os.getenv("ANOMALYD_BUILD") or
    "build"))
  os.execute(("mkdir -p %s/bucket/raw"):format(own))
  local bucket = buckets.directory(own .. "/bucket")
  bucket.own = own
  return bucket
end

-- ---- S3 ----

local Remote = {}
Remote.__index = Remote

function Remote:put(key, text) assert(self.client:put(key, text)) end

function Remote:get(key)
  local found, message, code = self.client:get(key)
  if not found and code ~= "NoSuchKey" then error(message, 2) end
  return found and found.body
end

function Remote:keys(prefix)
  local found = {}
  for page, message in self.client:list({ prefix = prefix }) do
    assert(page, message)
    for _, object in ipairs(page) do found[object.key] = true end
  end
  return found
end

--- Have it keep versions. @return whether conditional writes work then
function Remote:keep_versions()
  self.server:keep_versions(self.name)
  local first = assert(self.client:put("probe", "1"))
  local second = self.client:put("probe", "2", { if_match = first.etag })
  self.client:delete("probe")
  return second ~= nil
end

function Remote:remove()
  for key in pairs(self:keys("")) do self.client:delete(key) end
end

local made = 0

local function new_remote(server)
  made = made + 1
  local name = ("anomalyd-%d-%d"):format(os.time(), made)
  server:make_bucket(name)
  return setmetatable({ argument = name, name = name, env = server.env,
    options = "--reconcile-seconds 1 --insecure-sns", events = true, server = server,
    client = assert(s3.client({ bucket = name, endpoint = server.endpoint, region = server.region,
      credentials = server.keys })) }, Remote)
end

--- Both kinds: {name, new = function() -> bucket, or nil with the reason in `reason`}.
function buckets.kinds()
  local server, reason = radosgw.start()
  return {
    { name = "on a directory", new = new_folder },
    { name = "on a real S3 server", new = server and function() return new_remote(server) end,
      reason = reason, server = server },
  }
end

return buckets
