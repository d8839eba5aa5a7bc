-- digest: known answers of RFC 4648, RFC 1321, RFC 4231 and FIPS 180-4.
local digest = require "digest"

local function bytes(hex)
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

describe("digest", function()
  it("computes SHA-256", function()
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      digest.sha256(""))
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      digest.sha256("abc"))
    assert.equal("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
      digest.sha256(("a"):rep(1000000)))
    assert.equal(digest.sha256("a\0b"), digest.hex(digest.sha256("a\0b", "raw")))
    assert.not_equal(digest.sha256("a"), digest.sha256("a\0b"))
  end)

  it("computes MD5", function()
    assert.equal("d41d8cd98f00b204e9800998ecf8427e", digest.md5(""))
    assert.equal("f96b697d7cb7938d525a2f31aaf161d0", digest.md5("message digest"))
    assert.equal(16, #digest.md5("", "raw"))
  end)

  it("computes HMAC-SHA256 (RFC 4231, cases 1, 2, 6)", function()
    assert.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      digest.hmac_sha256(("\x0b"):rep(20), "Hi There"))
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      digest.hmac_sha256("Jefe", "what do ya want for nothing?"))
    assert.equal("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      digest.hmac_sha256(("\xaa"):rep(131),
        "Test Using Larger Than Block-Size Key - Hash Key First"))
    assert.equal(bytes "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      digest.hmac_sha256(("\x0b"):rep(20), "Hi There", "raw"))
  end)

  it("encodes base64 and undoes it (RFC 4648)", function()
    local pairs_of = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==",
      fooba = "Zm9vYmE=", foobar = "Zm9vYmFy", ["\xff\xfe\xfb"] = "//77", ["\0\0"] = "AAA=",
      ["\xfb\xff\xbf"] = "+/+/" }
    for plain, coded in pairs(pairs_of) do
      assert.equal(coded, digest.base64(plain))
      assert.equal(plain, digest.unbase64(coded))
    end
    local long = {}
    for i = 0, 1000 do long[#long + 1] = string.char(i * 7 % 256) end
    long = table.concat(long)
    assert.equal(long, digest.unbase64(digest.base64(long)))
  end)

  it("refuses what is not base64", function()
    for _, text in ipairs { "Z", "Zg", "Zg=", "Zg==\n", "Z===", "====", "Zm9v Zg==", "Zh==", "Zm9=",
      "Zg==Zm9v", "Zm9\0", "=", "Zg==Zg==", " Zm9v", "Zm9v ", "Zm-v", "Zm_v", "Zg=A", "Z\0==",
      "Zm9\xff" } do
      local bytes_, message, code = digest.unbase64(text)
      assert.is_nil(bytes_)
      assert.equal("BadBase64", code)
      assert.is_string(message)
    end
  end)

  it("raises for the programmer's errors", function()
    assert.has_error(function() digest.sha256() end)
    assert.has_error(function() digest.sha256({}) end)
    assert.has_error(function() digest.md5("", "binary") end)
  end)
end)
