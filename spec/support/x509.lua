--- x509: certificates and signatures made for one run of the specs with the openssl program, so
-- that no private key lies in the repository.
local files = require("files")
local x509 = {}

local read, write = files.read, files.write

local function run(format, ...)
  local command = string.format(format, ...)
  local output, ok = files.output(command)
  assert(ok, command .. "\n" .. output)
  return output
end

local Issuer = {}
Issuer.__index = Issuer

--- A directory for one run; remove it with x509.close.
function x509.open()
  local dir = run("mktemp -d"):gsub("%s+$", "")
  return setmetatable({ dir = dir, count = 0 }, Issuer)
end

function Issuer:close()
  run("rm -rf '%s'", self.dir)
end

--- A certificate {pem, key = path, path}. `options`: subject ("/CN=name"), bits, days (a valid span
-- from 2024-01-01 on, default 3650), issuer (another one, default itself), extensions (lines of
-- an openssl extension section), key = "ec" for one that is not RSA.
function Issuer:certificate(options)
  self.count = self.count + 1
  local base = self.dir .. "/" .. self.count
  local made = { path = base .. ".pem", key = base .. ".key" }
  if options.key == "ec" then
    run("openssl ecparam -name prime256v1 -genkey -noout -out '%s'", made.key)
  else
    run("openssl genrsa -out '%s' %d", made.key, options.bits or 2048)
  end
  run("openssl req -new -key '%s' -subj '%s' -out '%s.csr'", made.key, options.subject, base)
  write(base .. ".ext", options.extensions or "basicConstraints=CA:FALSE\n")
  local issuer = options.issuer or made
  write(base .. ".cnf", ("[ca]\ndefault_ca=d\n[d]\ndatabase=%s.db\nserial=%s.srl\n"):format(base,
    base) .. "new_certs_dir=" .. self.dir .. "\ndefault_md=sha256\npolicy=p\n"
    .. "unique_subject=no\n[p]\ncommonName=optional\norganizationName=optional\n")
  write(base .. ".db", "")
  write(base .. ".srl", ("%04X"):format(0x1000 + self.count))
  run("openssl ca -batch -notext -config '%s.cnf' %s -keyfile '%s' -in '%s.csr' -out '%s' "
    .. "-extfile '%s.ext' -startdate %s -enddate %s", base,
    options.issuer and ("-cert '" .. issuer.path .. "'") or "-selfsign", issuer.key, base,
    made.path, base, options.from or "20240101000000Z", options.to or "20331231235959Z")
  made.pem = read(made.path)
  return made
end

--- The DER of a certificate.
function Issuer.der(_, made)
  run("openssl x509 -in '%s' -outform DER -out '%s.der'", made.path, made.path)
  return read(made.path .. ".der")
end

--- The RSA PKCS#1 v1.5 signature of a text by a certificate's key, as bytes, and as base64.
function Issuer:sign(made, digest, text)
  write(self.dir .. "/text", text)
  run("openssl dgst -%s -sign '%s' -out '%s/signature' '%s/text'", digest, made.key, self.dir,
    self.dir)
  return read(self.dir .. "/signature"),
    (run("openssl base64 -A -in '%s/signature'", self.dir):gsub("%s", ""))
end

return x509
