local certificate = require "certificate"
local sns_chain = require "sns_chain"
local x509 = require "x509"

local NOW = 1750000000 -- 2025-06-15
local CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
local URL = "http://crt.r2m01.amazontrust.com/r2m01.cer"
local TOP_URL = "http://crt.rootca1.amazontrust.com/rootca1.cer"

local function access(url)
  return "authorityInfoAccess=caIssuers;URI:" .. url .. "\n"
end

describe("sns_chain", function()
  local maker, root, middle, leaf, stranger
  local files, asked, logged

  setup(function()
    maker = x509.open()
    root = maker:certificate { subject = "/CN=Root", extensions = CA }
    middle = maker:certificate { subject = "/CN=Middle", extensions = CA .. access(TOP_URL),
      issuer = root }
    leaf = maker:certificate { subject = "/CN=sns.amazonaws.com", extensions = access(URL),
      issuer = middle, to = "20251231235959Z" }
    stranger = maker:certificate { subject = "/CN=Middle", extensions = CA }
  end)

  teardown(function() maker:close() end)

  before_each(function()
    files, asked, logged = { [URL] = maker:der(middle) }, {}, {}
  end)

  local function check(policy, pem, now)
    return sns_chain.checker {
      policy = policy, roots = { assert(certificate.parse(root.pem)) },
      now = function() return now or NOW end,
      log = function(level, text) logged[#logged + 1] = level .. " " .. text end,
      fetch = function(url)
        asked[#asked + 1] = url
        if files[url] then return files[url] end
        return nil, "no route", "ConnectFailed"
      end,
    }(pem)
  end

  it("asks the authority for the issuer, in DER or in PEM", function()
    assert.is_true(check("require", leaf.pem))
    assert.same({ URL }, asked)
    files[URL] = middle.pem
    assert.is_true(check("when_possible", leaf.pem))
    assert.same({}, logged)
  end)

  it("asks nobody when the chain is there, or is not wanted", function()
    assert.is_true(check("require", middle.pem))
    assert.is_true(check("off", leaf.pem))
    assert.same({}, asked)
  end)

  it("goes on without the issuer when that is the policy, and says so", function()
    files = {}
    assert.is_true(check("when_possible", leaf.pem))
    assert.equal(1, #logged)
    assert.matches("^warn .*not checked.*no route", logged[1])
    assert.equal("CertificateUnavailable", select(3, check("require", leaf.pem)))
    files[URL] = "<html>captive portal</html>"
    assert.is_true(check("when_possible", leaf.pem))
    assert.equal("ChainIncomplete", select(3, check("require", leaf.pem)))
  end)

  it("is incomplete with an issuer that is not the issuer, or without an address", function()
    files[URL] = maker:der(stranger)
    assert.equal("ChainIncomplete", select(3, check("require", leaf.pem)))
    local bare = maker:certificate { subject = "/CN=sns.amazonaws.com", issuer = middle }
    assert.equal("ChainIncomplete", select(3, check("require", bare.pem)))
    assert.is_true(check("when_possible", bare.pem))
  end)

  it("refuses a chain that is broken, whatever the policy", function()
    local own = maker:certificate { subject = "/CN=sns.amazonaws.com" }
    for _, policy in ipairs { "require", "when_possible" } do
      assert.equal("BadChain", select(3, check(policy, own.pem)))
      assert.equal("CertificateExpired", select(3, check(policy, leaf.pem, 1800000000)))
      assert.equal("BadCertificate", select(3, check(policy, "x")))
    end
  end)

  it("asks only Amazon's authority", function()
    for _, url in ipairs {
      "http://evil.example/r2m01.cer", "http://169.254.169.254/latest.cer",
      "http://crt.r2m01.amazontrust.com.evil.example/a.cer",
      "ftp://crt.r2m01.amazontrust.com/a.cer",
      "http://u@crt.r2m01.amazontrust.com/a.cer", "http://crt.r2m01.amazontrust.com:80/a.cer",
      "http://crt.r2m01.amazontrust.com/a.cer?b", "http://crt.a.b.amazontrust.com/a.cer",
      "http://crt.r2m01.amazontrust.com/../a.cer", "http://amazontrust.com/a.cer",
    } do
      assert.is_false(sns_chain.check_issuer_url(url), url)
    end
    assert.is_true(sns_chain.check_issuer_url(URL))
    assert.is_true(sns_chain.check_issuer_url("https://crt.sca1b.amazontrust.com/sca1b.crt"))
    local evil = maker:certificate { subject = "/CN=sns.amazonaws.com", issuer = middle,
      extensions = access("http://169.254.169.254/latest.cer") }
    assert.equal("ChainIncomplete", select(3, check("require", evil.pem)))
    assert.same({}, asked)
  end)

  it("climbs only so far", function()
    local issuer = stranger
    files = {}
    for i = 1, 6 do
      local url = ("http://crt.n%d.amazontrust.com/a.cer"):format(i)
      files[url] = maker:der(issuer)
      issuer = maker:certificate { subject = "/CN=N" .. i, issuer = issuer,
        extensions = CA .. access(url) }
    end
    assert.equal("ChainIncomplete", select(3, check("require", issuer.pem)))
    assert.equal(3, #asked)
  end)

  it("knows its policies", function()
    assert.has_error(function() sns_chain.checker { policy = "maybe" } end)
  end)
end)
