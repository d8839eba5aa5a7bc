--- tls (kernel): the certificate of the service's HTTPS port: when it is loaded anew, and what is
-- said about it. The server owns the pair (src/run/tls.h); one that is refused changes nothing.
local host = require("host")
local supervisor = require("supervisor")
local task = require("task")

local tls = {}

local LOOK = 1 -- seconds between two looks at the files
local SOON = 7 * 86400

--- What is missing when only one of the two options was given. @return sentence, or nil
function tls.incomplete(options)
  if options.tls_cert and not options.tls_key then
    return "--tls-cert needs the private key as well: set --tls-key FILE"
  elseif options.tls_key and not options.tls_cert then
    return "--tls-key needs the certificate as well: set --tls-cert FILE"
  end
end

local function date(seconds) return os.date("!%Y-%m-%dT%H:%M:%SZ", seconds) end

--- Warn about what is served but should not be so.
local function remark(shared)
  local pair, now = shared.server:tls(), host.time()
  local cert, key = shared.options.tls_cert, shared.options.tls_key
  if now > pair.not_after then
    host.log("warning", ("the certificate %s has expired; clients will refuse it: renew it")
      :format(cert), { expired = date(pair.not_after) })
  elseif now < pair.not_before then
    host.log("warning", ("the certificate %s is not valid yet; is the clock right?"):format(cert),
      { begins = date(pair.not_before) })
  elseif pair.not_after - now < SOON then
    host.log("warning", ("the certificate %s expires soon: renew it"):format(cert),
      { expires = date(pair.not_after) })
  end
  if pair.key_exposed then
    host.log("warning", ("the private key %s can be read by everybody: chmod o= it"):format(key))
  end
end

--- Load the pair anew.
function tls.reload(shared, cause)
  local ok, message = shared.server:reload_tls()
  if ok then
    shared.tls_error = nil
    host.log("info", "the certificate was loaded anew", { cause = cause,
      expires = date(shared.server:tls().not_after) })
    remark(shared)
  else
    shared.tls_error = "the certificate before stays in force: " .. message
    host.log("error", shared.tls_error, { cause = cause })
  end
  supervisor.tell(shared)
end

--- A task that says what is wrong with the pair, then loads it anew when a file has changed and
-- rested for one look. The files are looked at, not watched, so that a link to them may change
-- anywhere on its way.
function tls.keep_fresh(shared)
  remark(shared)
  local last
  while not shared.draining do
    local now = shared.server:tls()
    if now.changed and now.stamp == last then tls.reload(shared, "change") end
    last = now.stamp
    task.sleep(LOOK)
  end
end

return tls
