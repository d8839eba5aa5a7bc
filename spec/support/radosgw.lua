--- radosgw: a real S3 server for the functional specs.
--
--     local server, reason = radosgw.start()      nil when there is none: mark the spec pending
--     server.endpoint, server.keys, server.env
--     server:make_bucket(name), server:keep_versions(name)
--     server:kill_gateway(), server:start_gateway()        nil for a server that is not ours
--
-- Starts Ceph's gateway where its Debian packages are installed (spec/support/radosgw.sh), once for
-- all specs of a process; it is stopped when that process has ended, however it did. With
-- ANOMALYD_TEST_S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN,
-- AWS_REGION) in the environment the specs run against that endpoint instead.
local digest = require "digest"
local files = require "files"
local http = require "http"
local sigv4 = require "sigv4"

local radosgw = {}

local SCRIPT = "spec/support/radosgw.sh"

local Server = {}
Server.__index = Server

local function succeeds(command)
  return os.execute(command .. " >/dev/null 2>&1") == true
end

local function is_free(port)
  local _, _, code = http.get("http://127.0.0.1:" .. port .. "/", { timeout = 1 })
  return code == "ConnectFailed"
end

local function free_port()
  math.randomseed(os.time(), tonumber(tostring({}):match("0x(%x+)"), 16))
  for _ = 1, 50 do
    local port = 20000 + math.random(0, 180) * 64
    if is_free(port) and is_free(port + 1) and is_free(port + 2) then return port end
  end
  error("no free port for radosgw")
end

-- What the environment of a program must be to use the server.
local function env_of(self)
  local parts = { "AWS_ENDPOINT_URL_S3=" .. self.endpoint, "AWS_REGION=" .. self.region,
    "AWS_ACCESS_KEY_ID=" .. self.keys.access_key_id,
    "AWS_SECRET_ACCESS_KEY='" .. self.keys.secret_access_key .. "'" }
  if self.keys.session_token then
    parts[#parts + 1] = "AWS_SESSION_TOKEN='" .. self.keys.session_token .. "'"
  end
  return table.concat(parts, " ")
end

local function given_server(endpoint)
  local self = setmetatable({ endpoint = endpoint, region = os.getenv("AWS_REGION") or "us-east-1",
    keys = { access_key_id = os.getenv("AWS_ACCESS_KEY_ID"),
      secret_access_key = os.getenv("AWS_SECRET_ACCESS_KEY"),
      session_token = os.getenv("AWS_SESSION_TOKEN") } }, Server)
  self.env = env_of(self)
  return self
end

local function start_once()
  local port = free_port()
  local dir = files.line("mktemp -d /tmp/anomalyd-radosgw-XXXXXX")
  local self = setmetatable({ dir = dir, region = "us-east-1",
    endpoint = "http://127.0.0.1:" .. port, keys = { access_key_id = "TESTACCESSKEY0000001",
      secret_access_key = "testSecretKey+with/slash0000000000000001" } }, Server)
  self.env = env_of(self)
  local ok = os.execute(("env %s sh %s start %s %d"):format(self.env, SCRIPT, dir, port))
  if not ok then return false end
  -- Who waits for the end of this process is a process of its own.
  os.execute(([[pid=$PPID; (
    while kill -0 $pid 2>/dev/null; do sleep 0.5; done
    sh %s stop %s
  ) </dev/null >/dev/null 2>&1 &]]):format(SCRIPT, dir))
  self.kill_gateway = function()
    os.execute(("kill -KILL $(cat %s/rgw.pid)"):format(dir))
  end
  self.start_gateway = function()
    assert(os.execute(("env %s sh %s gateway %s %d"):format(self.env, SCRIPT, dir, port)))
  end
  return self
end

local running

--- Start a server, or take the one that runs. @return the server; or nil and why there is none
function radosgw.start()
  if running then return running end
  local endpoint = os.getenv("ANOMALYD_TEST_S3_ENDPOINT")
  if endpoint then return given_server(endpoint) end
  for _, program in ipairs { "radosgw", "ceph-mon", "ceph-osd", "monmaptool", "curl" } do
    if not succeeds("command -v " .. program) then
      return nil, "radosgw, ceph-mon, ceph-osd, ceph-common and curl are not all installed"
    end
  end
  -- A monitor that is asked too early ends the start; then a second one does it.
  for _ = 1, 3 do
    running = start_once()
    if running then return running end
  end
  error("radosgw did not start")
end

local function put(self, path, query, body)
  local host = self.endpoint:match("^https?://(.-)/*$")
  local signed = sigv4.sign { method = "PUT", path = path, query = query, body = body,
    headers = { { "Host", host }, { "X-Amz-Content-Sha256", digest.sha256(body) } },
    region = self.region, service = "s3", access_key_id = self.keys.access_key_id,
    secret_access_key = self.keys.secret_access_key, session_token = self.keys.session_token }
  return assert(http.request { method = "PUT", headers = signed.headers, body = body,
    url = self.endpoint .. path .. (query ~= "" and "?" .. query or "") })
end

--- Make a bucket; it is no failure when it is ours already.
function Server:make_bucket(name)
  local answer = put(self, "/" .. name, "", "")
  assert(answer.status == 200 or answer.status == 409, answer.status .. ": " .. answer.body)
end

--- Have a bucket keep the versions of its objects.
function Server:keep_versions(name)
  local answer = put(self, "/" .. name, "versioning=", '<VersioningConfiguration xmlns='
    .. '"http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status>'
    .. "</VersioningConfiguration>")
  assert(answer.status == 200, answer.status .. ": " .. answer.body)
end

return radosgw
