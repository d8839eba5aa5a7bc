--- sns_chain: does a chain of certificates lead from SNS's signing certificate to a trusted root?
--
-- SNS serves its signing certificate alone, without the intermediate that issued it, and no trust
-- store holds intermediates; so the chain can only be built by asking Amazon's certificate
-- authority for the issuer, at the address the certificate names. AWS's own validators therefore
-- check no chain: they trust the https connection to the pinned SNS host. Three policies:
--
--   "when_possible"  (default) the issuer is asked for; a chain that can be built must hold, one
--                    that cannot (no route to the authority, a root this host does not have) is
--                    logged, and trust rests on the https fetch from the pinned host
--   "require"        a chain must be built and hold
--   "off"            no chain is asked for
--
-- The address is taken only from a certificate that came from SNS's host, and only when it lies on
-- Amazon's certificate authority. What comes from there needs no https: it is believed only when
-- its signatures lead to a root that is here already.
local certificate = require "certificate"

local sns_chain = {}

sns_chain.POLICIES = { when_possible = true, require = true, off = true }

local MAX_LINKS = 3

--- May an issuer's certificate be asked for at this address?
function sns_chain.check_issuer_url(url)
  return url:find("^https?://crt%.[a-z0-9-]+%.amazontrust%.com/[%w_-]+%.ce?rt?$") ~= nil
    and #url <= 256
end

-- The issuer's certificate from the address a certificate names, or nil, message, code.
local function issuer_of(cert, fetch)
  local url = cert.issuer_url
  if not url or not sns_chain.check_issuer_url(url) then
    return nil, "it names no address of Amazon's certificate authority", "ChainIncomplete"
  end
  local text, message = fetch(url)
  if type(text) ~= "string" then
    return nil, "its issuer cannot be had: " .. tostring(message), "CertificateUnavailable"
  end
  local parse = text:find("^%s*%-%-%-%-%-BEGIN") and certificate.parse or certificate.parse_der
  local issuer, reason = parse(text)
  if not issuer then return nil, "its issuer's file: " .. reason, "ChainIncomplete" end
  return issuer
end

-- Build the chain link by link. true, or nil, message, code.
local function build(cert, options, now)
  local issuers, last = {}, cert
  local ok, message, code = cert:chain(issuers, now, options.roots)
  while not ok and code == "ChainIncomplete" and #issuers < MAX_LINKS do
    last, message, code = issuer_of(last, options.fetch)
    if not last then return nil, message, code end
    issuers[#issuers + 1] = last
    ok, message, code = cert:chain(issuers, now, options.roots)
  end
  return ok, message, code
end

--- A function(pem) -> true | nil, message, code for sns.certificates' option `check`. `options`:
-- `fetch` = function(url) -> bytes | nil, message, code; `now` = function() -> seconds; `policy`;
-- `roots` = a list of certificates (default: the system's trust store); `log` =
-- function(level, text).
function sns_chain.checker(options)
  local policy = options.policy or "when_possible"
  assert(sns_chain.POLICIES[policy], "sns_chain: no such policy: " .. tostring(policy))
  return function(pem)
    if policy == "off" then return true end
    local cert, message, code = certificate.parse(pem)
    if not cert then return nil, message, code end
    local now = options.now()
    local ok
    ok, message, code = cert:check_time(now)
    if not ok then return nil, message, code end
    ok, message, code = build(cert, options, now)
    if ok then return true end
    local broken = code ~= "ChainIncomplete" and code ~= "CertificateUnavailable"
    if broken or policy == "require" then return nil, message, code end
    if options.log then
      options.log("warn", "sns: the chain of SNS's signing certificate is not checked ("
        .. message .. "); trusting the https connection it came over")
    end
    return true
  end
end

return sns_chain
