local docs_page = require("docs_page")
local files = require("files")

local function sha256(text)
  if not os.execute("command -v openssl >/dev/null 2>&1") then return nil end
  local path = os.tmpname()
  files.write(path, text)
  local hash = files.line("openssl dgst -sha256 -binary " .. path .. " | openssl base64")
  os.remove(path)
  return hash
end

describe("docs_page", function()
  local page = docs_page.html()

  it("names its own script's hash in its policy, so that the script runs and no other", function()
    local script, hash = docs_page.script()
    assert.equal(script, page:match("<script>(.*)</script>"))
    assert.is_truthy(page:find("script-src '" .. hash .. "'", 1, true))
    local computed = sha256(script)
    if not computed then return pending("no openssl here") end
    assert.equal("sha256-" .. computed, hash)
  end)

  it("asks no other host for anything", function()
    assert.is_nil(page:find("https?://"))
    assert.is_nil(page:find("src="))
    assert.is_nil(page:find("@import"))
    for target in page:gmatch('href="([^"]*)"') do
      assert.is_true(target == "openapi.json" or target == "data:,", target)
    end
    assert.matches("default-src 'none'; connect-src 'self'", page, 1, true)
  end)

  it("puts nothing in as markup", function()
    for _, way in ipairs({ "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write",
      "eval", "new Function", "srcdoc" }) do
      assert.is_nil(page:find(way, 1, true), way)
    end
  end)

  it("is one whole page that says its language and encoding", function()
    assert.matches("^<!doctype html>\n<html lang=\"en\">", page)
    assert.matches('<meta charset="utf-8">', page, 1, true)
    assert.matches("</html>\n$", page)
    assert.is_nil(page:find("%%s"))
    assert.is_truthy(utf8.len(page))
  end)
end)
