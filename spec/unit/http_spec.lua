-- http: one request, one answer, and what keeps an answer from coming.
local http = require "http"
local scripted = require "scripted"

local answer = scripted.answer

describe("http.request", function()
  it("sends what it is told and gives what comes", function()
    local server <close> = scripted.start { answer(201, { { "X-One", "1" }, { "x-two", "a" },
      { "X-Two", "b" }, { "Empty", "" } }, "body\0with zero") }
    local got = assert(http.request { method = "PATCH", url = server.url .. "/a/../b?c=%2f#d",
      headers = { { "X-Test", "v" }, { "x-empty", "" } }, body = "some\0bytes" })
    assert.equal(201, got.status)
    assert.equal("body\0with zero", got.body)
    assert.equal("1", got.headers["x-one"])
    assert.equal("a, b", got.headers["x-two"])
    assert.equal("", got.headers.empty)
    local request = server:requests()[1]
    assert.equal("PATCH", request.method)
    assert.equal("/a/../b?c=%2f", request.target)
    assert.equal("v", request.headers["x-test"])
    assert.equal("", request.headers["x-empty"])
    assert.equal("some\0bytes", request.body)
    assert.is_nil(request.headers.expect)
    assert.is_nil(request.headers["content-type"])
  end)

  it("gets by default, with no body", function()
    local server <close> = scripted.start { answer(200, {}, "x"), answer(200, {}, "y") }
    assert.equal("x", http.request { url = server.url }.body)
    assert.equal("y", http.get(server.url .. "/y", { headers = { Accept = "text/plain" } }).body)
    local requests = server:requests()
    assert.equal("GET", requests[1].method)
    assert.is_nil(requests[1].headers["content-length"])
    assert.equal("text/plain", requests[2].headers.accept)
  end)

  it("does not follow a redirect", function()
    local server <close> = scripted.start { answer(302, { { "Location", "http://127.0.0.1:1/" } }) }
    local got = assert(http.get(server.url))
    assert.equal(302, got.status)
    assert.equal("http://127.0.0.1:1/", got.headers.location)
  end)

  it("reads chunks, an old fold, and an interim answer", function()
    local server <close> = scripted.start { scripted.raw(
      "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n" ..
      "HTTP/1.1 200 OK\r\nX-Fold: a\r\n  b\r\nTransfer-Encoding: chunked\r\n\r\n" ..
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") }
    local got = assert(http.get(server.url))
    assert.equal("abcde", got.body)
    assert.matches("^a%s+b$", got.headers["x-fold"])
    assert.is_nil(got.headers["x-early"])
  end)

  it("tells what kept the answer from coming", function()
    local function fails(bytes, code, pattern, options)
      local server <close> = scripted.start { bytes }
      local got, message, word = http.get(server.url .. "/secret/path?token=secret", options)
      assert.is_nil(got)
      assert.equal(code, word)
      assert.matches("^127%.0%.0%.1:%d+: " .. pattern, message)
      assert.is_nil(message:find("secret", 1, true))
    end
    fails(scripted.raw("", "close"), "Cut", "")
    fails(scripted.raw("HTTP/1.1 200 OK\r\nContent-Le", "close"), "Cut", "")
    fails(answer(200, {}, "0123456789", { cut = 3 }), "Cut", "")
    fails(scripted.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), "Cut", "")
    fails(answer(200, {}, "0123456789"), "TooLarge", "the answer is longer than 9 bytes",
      { limit = 9 })
    fails(answer(200, {}, "0123456789", { length = false, how = "close" }), "TooLarge",
      "the answer is longer than 9 bytes", { limit = 9 })
    fails(answer(200, { { "X-Long", ("x"):rep(300000) } }), "TooLarge", "the answer's headers")
    local many, long = {}, {}
    for i = 1, 10 do long[i] = { "x-" .. i, ("x"):rep(50000) } end
    fails(answer(200, long), "TooLarge", "the answer's headers")
    for i = 1, 300 do many[i] = { "x-" .. i, "v" } end
    fails(answer(200, many), "TooLarge", "the answer's headers")
    fails(scripted.raw("", "stall"), "Timeout", "no whole answer within 0.1 s", { timeout = 0.1 })
    fails(scripted.raw("HTTP/1.1 200 OK\r\n", "stall"), "Timeout", "nothing moved for 1 s",
      { stall_timeout = 1 })
  end)

  it("tells apart a host that is not there and one that does not answer", function()
    assert.equal("ConnectFailed", select(3, http.get("http://127.0.0.1:1/")))
    assert.equal("ResolveFailed", select(3, http.get("http://nosuch.invalid/")))
    local _, message = http.get("http://user:password@127.0.0.1:1/")
    assert.is_nil(message:find("password", 1, true))
  end)

  it("speaks TLS only with whom it can trust", function()
    local path = os.tmpname()
    assert(os.execute(("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost " ..
      "-addext subjectAltName=DNS:localhost -keyout %s.key -out %s.pem 2>/dev/null"):format(path,
      path)))
    local pipe = assert(io.popen(("echo $$; exec openssl s_server -accept 127.0.0.1:0 -www " ..
      "-cert %s.pem -key %s.key -naccept 4 2>/dev/null"):format(path, path)))
    local pid = pipe:read("l")
    local port
    repeat port = pipe:read("l"):match("^ACCEPT .*:(%d+)$") until port
    local function get(host, ca_file)
      return http.get("https://" .. host .. ":" .. port .. "/", { ca_file = ca_file, timeout = 5 })
    end
    local trusted = get("localhost", path .. ".pem")
    local _, message, unknown = get("localhost")
    local other_name = select(3, get("127.0.0.1", path .. ".pem"))
    local plain = select(3, http.get("http://127.0.0.1:" .. port .. "/", { timeout = 5 }))
    os.execute("kill " .. pid)
    pipe:close()
    os.execute(("rm -f %s %s.key %s.pem"):format(path, path, path))
    assert.equal(200, trusted and trusted.status)
    assert.equal("TlsFailed", unknown)
    assert.matches("certificate", message)
    assert.equal("TlsFailed", other_name)
    assert.equal("Cut", plain)
  end)

  it("raises for the programmer's errors", function()
    local function refuses(pattern, options)
      assert.error_matches(function() http.request(options) end, pattern)
    end
    refuses("'url' is missing", {})
    refuses("'url' must be a string", { url = 1 })
    refuses("must begin with http", { url = "file:///etc/passwd" })
    refuses("blank or a control", { url = "http://h/a b" })
    refuses("blank or a control", { url = "http://h/\r\nX: y" })
    refuses("zero byte", { url = "http://h/\0" })
    refuses("cannot be sent", { url = "http://h", headers = { ["a b"] = "c" } })
    refuses("cannot be sent", { url = "http://h", headers = { a = "b\r\nc: d" } })
    refuses("'method' is not a word", { url = "http://h", method = "GET /" })
    refuses("'limit' must be 0 or more", { url = "http://h", limit = -1 })
    refuses("'timeout' must be a number", { url = "http://h", timeout = "1" })
    assert.has_error(function() http.get() end)
    assert.has_error(function() http.request "http://h" end)
  end)
end)
