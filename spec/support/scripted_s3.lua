--- scripted_s3: an S3 client against a scripted server, for specs.
--
-- scripted_s3.against(answers, fn, options) calls fn(client, server) and then checks that every
-- request that came was rightly signed.
local digest = require "digest"
local s3 = require "s3"
local scripted = require "scripted"
local signature = require "signature"

local scripted_s3 = {}

local SECRET = "wJalr/XUtnFEMI+bPxRfiCYEXAMPLEKEY"
scripted_s3.ID = "AKIDEXAMPLE"
scripted_s3.SECRET = SECRET
scripted_s3.TOKEN = "FwoGZXIvYXdzEXAMPLETOKENTOKENTOKENTOKEN//////////"

--- Keys, with `more` fields.
function scripted_s3.keys(more)
  local given = { access_key_id = scripted_s3.ID, secret_access_key = SECRET }
  for name, value in pairs(more or {}) do given[name] = value end
  return given
end

--- A client of the server, with `options` beside the usual ones.
function scripted_s3.client(server, options)
  local given = { bucket = "bucket", region = "us-east-1", endpoint = server.url,
    credentials = scripted_s3.keys(), backoff = 0.01 }
  for name, value in pairs(options or {}) do given[name] = value end
  return assert(s3.client(given))
end

--- Run `fn(client, server)` against these answers; every request must be rightly signed.
function scripted_s3.against(answers, fn, options)
  local server <close> = scripted.start(answers)
  fn(scripted_s3.client(server, options), server)
  for i, request in ipairs(server:requests()) do
    local region = request.headers.authorization:match("/%d+/([^/]+)/s3/")
    local ok, what = signature.verify(request, SECRET, region)
    assert(ok, ("request %d (%s): %s"):format(i, request.target, what))
    assert(request.headers.host == server.host, "another host")
  end
end

--- The answer to a get of this body.
function scripted_s3.object(body, headers)
  headers = headers or {}
  headers[#headers + 1] = { "ETag", '"' .. digest.md5(body) .. '"' }
  return scripted.answer(200, headers, body)
end

scripted_s3.OK_PUT = scripted.answer(200, { { "ETag", '"0123456789abcdef0123456789abcdef"' } })

function scripted_s3.http_date(seconds) return os.date("!%a, %d %b %Y %H:%M:%S GMT", seconds) end

return scripted_s3
