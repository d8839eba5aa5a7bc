local certificate = require "certificate"
local files = require "files"
local x509 = require "x509"

local NOW = 1750000000 -- 2025-06-15

local function fixture(name) return files.fixture("sns/" .. name) end

describe("certificate", function()
  local maker, leaf, text, signature
  local amazon = fixture("SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem")

  setup(function()
    maker = x509.open()
    leaf = maker:certificate {
      subject = "/CN=common.example",
      extensions = "subjectAltName=DNS:one.example,DNS:*.two.example\n"
        .. "authorityInfoAccess=caIssuers;URI:http://crt.r2m01.amazontrust.com/r2m01.cer\n",
    }
    text = "what was signed\n"
    signature = maker:sign(leaf, "sha256", text)
  end)

  teardown(function() maker:close() end)

  it("tells the names, dates, key and issuer's address of a real one", function()
    local c = assert(certificate.parse(amazon))
    assert.same({ "sns.amazonaws.com" }, c.names)
    assert.equal(1630972800, c.not_before) -- 2021-09-07T00:00:00Z
    assert.equal(1660780799, c.not_after)  -- 2022-08-17T23:59:59Z
    assert.equal(2048, c.rsa_bits)
    assert.equal("http://crt.sca1b.amazontrust.com/sca1b.crt", c.issuer_url)
    assert.is_nil(c.no_such_field)
    assert.is_nil(c[1])
  end)

  it("has a name only to the letter, without case, and never by a wildcard", function()
    local c = assert(certificate.parse(leaf.pem))
    assert.same({ "one.example", "*.two.example" }, c.names)
    assert.is_true(c:has_name("one.example"))
    assert.is_true(c:has_name("ONE.example"))
    assert.is_false(c:has_name("a.two.example"))
    assert.is_false(c:has_name("common.example"))
    assert.is_false(c:has_name("one.example\0.evil"))
    assert.is_false(c:has_name(""))
  end)

  it("takes the common name when there is no alternative name", function()
    local c = assert(certificate.parse(maker:certificate { subject = "/CN=old.example" }.pem))
    assert.same({ "old.example" }, c.names)
    local ca = maker:certificate { subject = "/CN=Some Root CA" }
    assert.same({}, assert(certificate.parse(ca.pem)).names)
  end)

  it("knows its dates by the clock it is given", function()
    local c = assert(certificate.parse(amazon))
    assert.is_true(c:check_time(c.not_before))
    assert.is_true(c:check_time(c.not_after))
    local ok, message, code = c:check_time(c.not_after + 1)
    assert.is_nil(ok)
    assert.equal("CertificateExpired", code)
    assert.matches("2022%-08%-17T23:59:59Z.*2022%-08%-18T00:00:00Z", message)
    assert.equal("CertificateNotYetValid", select(3, c:check_time(c.not_before - 1)))
  end)

  describe("as PEM", function()
    local function refused(pem, pattern)
      local c, message, code = certificate.parse(pem)
      assert.is_nil(c)
      assert.equal("BadCertificate", code)
      assert.matches(pattern, message)
    end

    it("may have white space around it and lines that end in CR LF", function()
      assert(certificate.parse("\n  " .. amazon .. "\n\n"))
      assert(certificate.parse((amazon:gsub("\n", "\r\n"))))
      assert(certificate.parse((amazon:gsub("\n$", ""))))
    end)

    it("is one block and nothing else", function()
      refused("", "does not start")
      refused("x" .. amazon, "does not start")
      refused(amazon .. "x", "something follows the PEM block at byte")
      refused(amazon .. amazon, "something follows")
      refused(amazon .. "\0", "something follows")
      refused((amazon:gsub("CERTIFICATE", "PUBLIC KEY")), "does not start")
      refused((amazon:gsub("BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE")), "does not start")
    end)

    it("is whole", function()
      for cut = 1, #amazon - 1, 97 do
        assert.is_nil((certificate.parse(amazon:sub(1, cut))))
      end
      refused((amazon:gsub("\n%-%-%-%-%-END.*", "\n")), "without its END")
      refused("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "empty")
    end)

    it("may have lines of any length", function()
      local inside = amazon:match("BEGIN CERTIFICATE%-%-%-%-%-(.*)%-%-%-%-%-END"):gsub("%s", "")
      assert(certificate.parse("-----BEGIN CERTIFICATE-----\n" .. inside
        .. "\n-----END CERTIFICATE-----"))
    end)

    it("has only base64 inside", function()
      refused((amazon:gsub("\nM", "\n!", 1)), "not base64 in the four characters from 1 on")
      refused((amazon:gsub("\n", "\n\n", 2)), "an empty line at byte 29 of")
      refused((amazon:gsub("\n", " \n", 2)), "does not start")
      refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is not X.509")
    end)

    it("is no longer than a certificate is", function()
      local c, _, code = certificate.parse(("A"):rep(40000))
      assert.is_nil(c)
      assert.equal("TooLarge", code)
    end)
  end)

  it("is read from DER, of which nothing may be left over", function()
    local der = maker:der(leaf)
    assert.same({ "one.example", "*.two.example" }, assert(certificate.parse_der(der)).names)
    local c, message, code = certificate.parse_der(der .. "\0")
    assert.is_nil(c)
    assert.equal("BadCertificate", code)
    assert.matches("followed by other bytes", message)
    assert.is_nil((certificate.parse_der("")))
    assert.is_nil((certificate.parse_der(der:sub(1, -2))))
  end)

  describe("verifying", function()
    it("accepts what its key signed, and nothing else", function()
      local c = assert(certificate.parse(leaf.pem))
      assert.is_true(c:verify("sha256", text, signature))
      for _, case in ipairs {
        { "sha1", text, signature }, { "sha256", text .. " ", signature },
        { "sha256", "", signature }, { "sha256", text, signature:reverse() },
        { "sha256", text, ("\0"):rep(256) }, { "sha256", text, ("\255"):rep(256) },
      } do
        local ok, _, code = c:verify(table.unpack(case))
        assert.is_nil(ok)
        assert.equal("BadSignature", code)
      end
      local ok, message, code = c:verify("sha256", text, signature .. "\0")
      assert.is_nil(ok)
      assert.equal("BadSignature", code)
      assert.matches("257 bytes.*256", message)
      assert.equal("BadSignature", select(3, c:verify("sha256", text, "")))
    end)

    it("accepts SHA1, and a key of 1024 bits as SNS's first ones were", function()
      local old = maker:certificate { subject = "/CN=sns.amazonaws.com", bits = 1024 }
      local c = assert(certificate.parse(old.pem))
      assert.equal(1024, c.rsa_bits)
      assert.is_true(c:verify("sha1", text, (maker:sign(old, "sha1", text))))
    end)

    it("refuses keys that are too short or not RSA", function()
      for _, options in ipairs { { bits = 768 }, { key = "ec" } } do
        options.subject = "/CN=a.example"
        local c = assert(certificate.parse(maker:certificate(options).pem))
        local ok, _, code = c:verify("sha256", text, signature)
        assert.is_nil(ok)
        assert.equal("BadCertificate", code)
      end
    end)

    it("reports a programmer's mistakes as errors", function()
      local c = assert(certificate.parse(leaf.pem))
      assert.has_error(function() c:verify("md5", text, signature) end)
      assert.has_error(function() c:verify("sha1", text) end)
      assert.has_error(function() c.verify({}, "sha1", text, signature) end)
      assert.has_error(function() c:check_time(0 / 0) end)
      assert.has_error(function() c:check_time() end)
      assert.has_error(function() certificate.parse() end)
      assert.has_error(function() c:chain({ "x" }, NOW) end)
      assert.has_error(function() c:chain({}, NOW, {}) end)
      local closed = assert(certificate.parse(leaf.pem))
      do local _ <close> = closed end
      assert.has_error(function() return closed.names end)
      assert.has_error(function() closed:verify("sha1", text, signature) end)
      assert.has_error(function() c:chain({ closed }, NOW) end)
    end)
  end)

  describe("the chain", function()
    local CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
    local root, middle, low, other

    setup(function()
      local root_made = maker:certificate { subject = "/CN=Root", extensions = CA }
      local middle_made =
        maker:certificate { subject = "/CN=Middle", extensions = CA, issuer = root_made }
      local other_made = maker:certificate { subject = "/CN=Root", extensions = CA }
      local low_made = maker:certificate { subject = "/CN=low.example", issuer = middle_made,
        from = "20250101000000Z", to = "20251231235959Z" }
      root = assert(certificate.parse(root_made.pem))
      middle = assert(certificate.parse(middle_made.pem))
      other = assert(certificate.parse(other_made.pem))
      low = assert(certificate.parse(low_made.pem))
    end)

    it("leads through the issuers to a root", function()
      assert.is_true(low:chain({ middle }, NOW, { root }))
      assert.is_true(low:chain({ other, middle }, NOW, { other, root }))
      assert.is_true(middle:chain({}, NOW, { root }))
    end)

    it("is incomplete without an issuer or without the root", function()
      local ok, message, code = low:chain({}, NOW, { root })
      assert.is_nil(ok)
      assert.equal("ChainIncomplete", code)
      assert.matches("issuer", message)
      assert.equal("ChainIncomplete", select(3, low:chain(nil, NOW, { root })))
      assert.equal("ChainIncomplete", select(3, low:chain({ middle }, NOW)))
      assert.equal("ChainIncomplete", select(3, low:chain({ middle }, NOW, { other })))
    end)

    it("is bad when a signature, a date or an issuer's right is", function()
      local bare = "subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n"
      local true_root = maker:certificate { subject = "/CN=R", extensions = CA .. bare }
      local false_root = maker:certificate { subject = "/CN=R", extensions = CA .. bare }
      local site = assert(certificate.parse(maker:certificate {
        subject = "/CN=site.example", extensions = bare, issuer = true_root }.pem))
      assert.is_true(site:chain({}, NOW, { assert(certificate.parse(true_root.pem)) }))
      local ok, message, code = site:chain({}, NOW, { assert(certificate.parse(false_root.pem)) })
      assert.is_nil(ok)
      assert.equal("BadChain", code)
      assert.matches("signature failure", message)
      assert.equal("BadChain", select(3, low:chain({ middle }, 1800000000, { root })))
      assert.equal("BadChain", select(3, low:chain({ middle }, 1700000000, { root })))
      assert.equal("BadChain", select(3, root:chain({}, NOW)))
      local rogue = maker:certificate { subject = "/CN=Rogue", extensions = CA }
      local below = maker:certificate { subject = "/CN=sns.amazonaws.com",
        issuer = maker:certificate { subject = "/CN=Leaf", issuer = rogue } }
      assert.is_nil((assert(certificate.parse(below.pem)):chain({}, NOW, { root })))
    end)

    it("does not let an end certificate issue others", function()
      local ca = maker:certificate { subject = "/CN=Top", extensions = CA }
      local site = maker:certificate { subject = "/CN=site.example", issuer = ca }
      local forged = maker:certificate { subject = "/CN=sns.amazonaws.com", issuer = site }
      local ok, _, code = assert(certificate.parse(forged.pem)):chain(
        { assert(certificate.parse(site.pem)) }, NOW, { assert(certificate.parse(ca.pem)) })
      assert.is_nil(ok)
      assert.equal("BadChain", code)
    end)
  end)
end)
