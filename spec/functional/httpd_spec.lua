-- src/run/httpd as its clients see it. tls_spec runs the same over TLS: it loads this file with the
-- pair's options for the server, and the clients go through a relay.
local program = require("program")
local socket = require("socket")

local pair = (...)
local over = type(pair) == "string" and " over TLS" or ""
local plain_it = over == "" and it or function() end

local running = {}

--- Start the server of the specs; `under` is a shell command to come before.
local function start(options, under)
  local command = program.built("httpd_driver") .. " " .. (options or "")
  if over ~= "" then command = command .. " " .. pair end
  collectgarbage() -- sockets of earlier specs, which it would inherit
  local p = program.start(under and ("sh -c '%s; exec %s'"):format(under, command) or command)
  running[#running + 1] = p
  p.port = tonumber((p:line() or ""):match("^port (%d+)"))
  assert(p.port, "the server did not start")
  if over ~= "" then
    local relay = program.start(program.built("tls_relay") .. " " .. p.port)
    running[#running + 1] = relay
    p.relay = tonumber(relay:line():match("^port (%d+)"))
  end
  return p
end

local function start_slow(p, n)
  local slow = program.start(("%s %d %d %s"):format(program.built("slow_clients"), p.port, n,
    over ~= "" and "tls" or ""))
  running[#running + 1] = slow
  assert.equal("open " .. n, slow:line())
  return slow
end

local function dial(p, host)
  local s = assert((host == "::1" and socket.tcp6 or socket.tcp)())
  s:settimeout(10)
  assert(s:connect(host or "127.0.0.1", p.relay or p.port))
  return s
end

--- One answer: status, headers (names in lower case), body. With `bodiless`, none is read.
local function answer(s, bodiless)
  local line, err = s:receive("*l")
  if not line then return nil, err end
  local status = tonumber(line:match("^HTTP/1%.1 (%d%d%d) "))
  assert(status, "no status line: " .. line)
  local headers = {}
  for text in function() return s:receive("*l") end do
    if text == "" then break end
    local name, value = text:match("^([^:]+): (.*)$")
    headers[name:lower()] = value
  end
  local length = tonumber(headers["content-length"])
  if bodiless or not length then return status, headers, "" end
  return status, headers, length == 0 and "" or assert(s:receive(length))
end

--- Everything until the server closes; nil, "timeout" when it does not.
local function rest(s)
  local all, err, part = s:receive("*a")
  if err == "timeout" then return nil, err end
  return all or part
end

local function request(line, headers, body)
  return line .. " HTTP/1.1\r\nHost: here\r\n" .. (headers or "") .. "\r\n" .. (body or "")
end

local function ask(p, text, bodiless)
  local s = dial(p)
  s:send(text)
  local status, headers, body = answer(s, bodiless)
  s:close()
  return status, headers, body
end

local function counts(p)
  local _, _, body = ask(p, request("GET /counts"))
  local open, busy = body:match("(%d+) (%d+)")
  return tonumber(open), tonumber(busy)
end

--- Does `check` come true within `seconds`?
local function soon(seconds, check)
  local limit = socket.gettime() + seconds
  repeat
    if check() then return true end
    socket.sleep(0.02)
  until socket.gettime() > limit
  return false
end

local function finish()
  for i = #running, 1, -1 do
    local p = running[i]
    running[i] = nil
    if p.out then
      p:signal("KILL")
      p:close()
    end
  end
end

describe("httpd" .. over, function()
  local p

  setup(function() p = start() end)
  teardown(finish)

  it("answers and keeps the connection for the next request", function()
    local s = dial(p)
    for i = 1, 3 do
      s:send(request("GET /a?n=" .. i, "X-Two: 1\r\nX-Two:  2 \r\n"))
      local status, headers, body = answer(s)
      assert.equal(200, status)
      assert.equal("GET /a?n=" .. i .. " 1.1 0\nHost=here\nX-Two=1\nX-Two=2\n", body)
      assert.truthy(headers.date:match("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"))
      assert.is_nil(headers.connection)
      assert.is_nil(headers["content-type"])
    end
    s:close()
  end)

  it("sends no body for HEAD, and the length GET would have", function()
    local s = dial(p)
    s:send(request("HEAD /size/1000") .. request("GET /size/3"))
    local status, headers = answer(s, true)
    assert.equal(200, status)
    assert.equal("1000", headers["content-length"])
    assert.same({ 200, "xxx" }, (function()
      local st, _, body = answer(s)
      return { st, body }
    end)())
    s:close()
  end)

  it("sends neither body nor length for 204 and 304", function()
    local s = dial(p)
    for _, code in ipairs { 204, 304 } do
      s:send(request("GET /status/" .. code))
      local status, headers = answer(s)
      assert.equal(code, status)
      assert.is_nil(headers["content-length"])
    end
    s:send(request("GET /size/2"))
    assert.equal(200, (answer(s)))
    s:close()
  end)

  it("hands any method to the handler", function()
    for _, method in ipairs { "BREW", "PATCH", "TRACE", "PROPFIND", "M-SEARCH", "get" } do
      local status, _, body = ask(p, request(method .. " /x", "Content-Length: 2\r\n", "ab"))
      assert.equal(200, status)
      assert.equal(method .. " /x 1.1 2", body:match("^[^\n]*"))
    end
    local _, _, body = ask(p, request("OPTIONS *"))
    assert.equal("OPTIONS * 1.1 0", body:match("^[^\n]*"))
    _, _, body = ask(p, request("CONNECT example.org:443"))
    assert.equal("CONNECT example.org:443 1.1 0", body:match("^[^\n]*"))
  end)

  it("takes the path of an absolute target", function()
    for target, path in pairs {
      ["http://here/a/b?c"] = "/a/b?c", ["http://here"] = "/", ["HTTPS://here:1/"] = "/",
    } do
      local _, _, body = ask(p, request("GET " .. target))
      assert.equal("GET " .. path .. " 1.1 0", body:match("^[^\n]*"))
    end
  end)

  it("closes after HTTP/1.0, unless asked to keep the connection", function()
    local s = dial(p)
    s:send("GET /size/2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    local _, headers = answer(s)
    assert.equal("keep-alive", headers.connection)
    s:send("GET /size/2 HTTP/1.0\r\n\r\n")
    _, headers = answer(s)
    assert.equal("close", headers.connection)
    assert.equal("", rest(s))
    s:close()
  end)

  it("closes when the client says so", function()
    local s = dial(p)
    s:send(request("GET /size/2", "Connection: foo, Close\r\n"))
    local _, headers, body = answer(s)
    assert.equal("close", headers.connection)
    assert.equal("xx", body)
    assert.equal("", rest(s))
    s:close()
  end)

  it("answers requests sent ahead in their order", function()
    local s = dial(p)
    local text = request("GET /delay/100")
    for i = 1, 50 do
      text = text .. request("POST /body", "Content-Length: 3\r\n", ("%03d"):format(i))
    end
    s:send(text)
    assert.equal("late\n", select(3, answer(s)))
    for i = 1, 50 do assert.equal(("%03d"):format(i), select(3, answer(s))) end
    s:close()
  end)

  it("puts a request together that comes byte by byte", function()
    local s = dial(p)
    s:setoption("tcp-nodelay", true)
    local text = request("POST /body", "Transfer-Encoding: chunked\r\n",
      "3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n") .. request("GET /size/1")
    for c in text:gmatch(".") do s:send(c) end
    assert.equal("abc0123456789", select(3, answer(s)))
    assert.equal("x", select(3, answer(s)))
    s:close()
  end)

  it("takes empty lines before a request", function()
    assert.equal(200, (ask(p, "\r\n\r\n" .. request("GET /"))))
  end)

  it("reads bodies of every length whole, plain and chunked", function()
    local s = dial(p)
    for _, n in ipairs { 0, 1, 4095, 16384, 100000, 1048576 } do
      local body = ("0123456789abcdef"):rep(n // 16 + 1):sub(1, n)
      s:send(request("POST /body", "Content-Length: " .. n .. "\r\n", body))
      assert.is_true(select(3, answer(s)) == body)
      local chunks = body:gsub(("."):rep(1000), "3e8\r\n%0\r\n")
      local left = n % 1000
      if left > 0 then
        chunks = chunks:sub(1, #chunks - left) .. ("%x\r\n"):format(left) ..
          body:sub(n - left + 1) .. "\r\n"
      end
      s:send(request("POST /body", "Transfer-Encoding: chunked\r\n", chunks .. "0\r\n\r\n"))
      assert.is_true(select(3, answer(s)) == body)
    end
    s:close()
  end)

  it("says 100 Continue to who waits for it, and only then", function()
    local s = dial(p)
    for _ = 1, 2 do
      s:send(request("POST /body", "Expect: 100-Continue\r\nContent-Length: 3\r\n"))
      assert.equal("HTTP/1.1 100 Continue", s:receive("*l"))
      assert.equal("", s:receive("*l"))
      s:send("abc")
      assert.equal("abc", select(3, answer(s)))
      s:send(request("POST /body", "Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"))
      assert.equal("abc", select(3, answer(s)))
    end
    s:close()
    local large = "Expect: 100-continue\r\nContent-Length: 9999999\r\n"
    assert.equal(413, (ask(p, request("POST /body", large))))
    assert.equal(417, (ask(p, request("POST /", "Expect: a miracle\r\nContent-Length: 3\r\n"))))
  end)

  local refusals = {
    { "is not HTTP", "\22\3\1\2\0\1\0\1\252\3\3", 400 },
    { "has no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "is HTTP/0.9", "GET /\r\n\r\n", 400 },
    { "has a blank too many", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a wrong version", "GET / HTTP/1.x\r\nHost: a\r\n\r\n", 400 },
    { "is HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
    { "ends its lines with LF", "GET / HTTP/1.1\nHost: a\n\n", 400 },
    { "has a CR in a line", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400 },
    { "has a NUL in a value", "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400 },
    { "has a control byte in its target", "GET /\1 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has a relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
    { "has no host", "GET / HTTP/1.1\r\n\r\n", 400 },
    { "has two hosts", request("GET /", "Host: b\r\n"), 400 },
    { "folds a header", request("GET /", "A: b\r\n c\r\n"), 400 },
    { "has a blank before a colon", request("GET /", "A : b\r\n"), 400 },
    { "has a header without a name", request("GET /", ": b\r\n"), 400 },
    { "has two equal lengths",
      request("POST /", "Content-Length: 1\r\nContent-Length: 1\r\n", "a"), 400 },
    { "has two lengths",
      request("POST /", "Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), 400 },
    { "has a list of lengths", request("POST /", "Content-Length: 1, 1\r\n", "a"), 400 },
    { "has a signed length", request("POST /", "Content-Length: +1\r\n", "a"), 400 },
    { "has an empty length", request("POST /", "Content-Length:\r\n", "a"), 400 },
    { "has a length and chunks",
      request("POST /", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400 },
    { "is coded in another way", request("POST /", "Transfer-Encoding: gzip, chunked\r\n"), 501 },
    { "is chunked twice",
      request("POST /", ("Transfer-Encoding: chunked\r\n"):rep(2), "0\r\n\r\n"), 400 },
    { "is HTTP/1.0 with chunks",
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
    { "has a bad chunk size", request("POST /", "Transfer-Encoding: chunked\r\n", "g\r\n"), 400 },
    { "has an endless chunk size",
      request("POST /", "Transfer-Encoding: chunked\r\n", ("0"):rep(40) .. "1\r\n"), 400 },
    { "has a chunk longer than it says",
      request("POST /", "Transfer-Encoding: chunked\r\n", "1\r\nab\r\n"), 400 },
    { "is longer than an integer",
      request("POST /", "Content-Length: " .. ("9"):rep(30) .. "\r\n"), 413 },
    { "announces too much", request("POST /", "Content-Length: 1048577\r\n"), 413 },
    { "sends a chunk too large",
      request("POST /", "Transfer-Encoding: chunked\r\n", "100001\r\n"), 413 },
    { "has endless trailers",
      request("POST /", "Transfer-Encoding: chunked\r\n", "0\r\n" .. ("A: b\r\n"):rep(4000)), 431 },
    { "has an endless request line", "GET /" .. ("a"):rep(20000), 414 },
    { "has a head too large", request("GET /", "A: " .. ("b"):rep(20000) .. "\r\n"), 431 },
    { "has too many headers", request("GET /", ("A: b\r\n"):rep(101)), 431 },
  }
  for _, case in ipairs(refusals) do
    it("refuses a request that " .. case[1], function()
      local s = dial(p)
      s:send(case[2])
      local status, headers, body = answer(s)
      assert.equal(case[3], status)
      assert.equal("close", headers.connection)
      assert.truthy(#body > 0)
      assert.equal("", rest(s))
      s:close()
    end)
  end

  it("answers nothing after a refusal", function()
    local s = dial(p)
    s:send(request("POST /", "Content-Length: 1\r\nContent-Length: 2\r\n", "a") .. request("GET /"))
    assert.equal(400, (answer(s)))
    assert.equal("", rest(s))
    s:close()
  end)

  it("lets a client that sends on read why it was refused", function()
    local s = dial(p)
    s:send(request("POST /", "Content-Length: 30000000\r\n"))
    local part = ("x"):rep(1 << 20)
    for _ = 1, 5 do s:send(part) end
    assert.equal(413, (answer(s)))
    s:close()
  end)

  it("answers a client that has closed its sending side", function()
    local s = dial(p)
    s:send(request("GET /delay/100") .. request("GET /size/300000"))
    s:shutdown("send")
    assert.equal("late\n", select(3, answer(s)))
    assert.equal(300000, #select(3, answer(s)))
    assert.equal("", rest(s))
    s:close()
  end)

  it("lives on when clients go away while their requests are handled", function()
    for i = 1, 30 do
      local s = dial(p)
      s:send(request("GET /delay/50") .. request("GET /size/100000"))
      if i % 2 == 0 then s:setoption("linger", { on = true, timeout = 0 }) end
      s:close()
    end
    assert.is_true(soon(5, function() return select(2, counts(p)) == 1 end))
    assert.is_true(soon(10, function() return (counts(p)) <= 2 end))
  end)

  plain_it("tells each answer once to the access hook", function()
    local own = start()
    local s = dial(own)
    local _, port = s:getsockname()
    s:send(request("GET /size/3?q") .. request("HEAD /size/3") .. "NONSENSE\r\n\r\n")
    for i = 1, 3 do answer(s, i == 2) end
    local prefix = "127.0.0.1:" .. port .. " local "
    for _, wanted in ipairs {
      '1 "GET /size/3?q HTTP/1.1" 200 3 ',
      '2 "HEAD /size/3 HTTP/1.1" 200 0 ',
      '3 "  HTTP/1.1" 400 22 ',
    } do
      local line = own:line()
      assert.equal(prefix .. wanted, line:sub(1, #prefix + #wanted))
    end
    s:close()
  end)

  it("ends in order after all this", function()
    assert.equal(200, (ask(p, request("GET /stop"))))
    assert.equal(0, select(2, p:close(true)))
  end)
end)

describe("httpd's deadlines" .. over, function()
  local p

  setup(function()
    p = start("head_seconds=1 body_seconds=1 idle_seconds=0.5 write_seconds=0.5")
  end)
  teardown(finish)

  --- Send a byte each 50 ms until the server answers or `limit` seconds are over.
  local function drip(s, limit)
    local begun = socket.gettime()
    while socket.gettime() - begun < limit do
      s:send("x")
      if #socket.select({ s }, nil, 0.05) > 0 then break end
    end
    return socket.gettime() - begun
  end

  it("hold for a head that comes a byte at a time", function()
    local s = dial(p)
    s:send("GET / HTTP/1.1\r\nHost: here\r\nA: ")
    local took = drip(s, 5)
    assert.equal(408, (answer(s)))
    assert.is_true(took > 0.8 and took < 2, "took " .. took)
    s:close()
  end)

  it("hold for a body that comes a byte at a time", function()
    local s = dial(p)
    s:send(request("POST /body", "Content-Length: 100000\r\n"))
    local took = drip(s, 5)
    assert.equal(408, (answer(s)))
    assert.is_true(took > 0.8 and took < 2, "took " .. took)
    s:close()
  end)

  it("close a connection that says nothing, without an answer", function()
    local s, idle = dial(p), dial(p)
    idle:send(request("GET /size/1"))
    assert.equal(200, (answer(idle)))
    local begun = socket.gettime()
    assert.equal("", rest(idle))
    assert.is_true(socket.gettime() - begun > 0.4 and socket.gettime() - begun < 1)
    assert.equal("", rest(s))
    assert.is_true(socket.gettime() - begun < 2)
    s:close()
    idle:close()
  end)

  it("do not cut a handler that takes its time", function()
    local s = dial(p)
    s:send(request("GET /delay/2500"))
    assert.equal("late\n", select(3, answer(s)))
    s:send(request("GET /size/1"))
    assert.equal(200, (answer(s)))
    s:close()
  end)

  it("drop a client that does not take its answer", function()
    local s = dial(p)
    s:send(request("GET /size/100000000"))
    assert.is_true(soon(2, function() return select(2, counts(p)) == 2 end))
    assert.is_true(soon(5, function() return select(2, counts(p)) == 1 end))
    s:close()
  end)

  it("let a client take a large answer slowly", function()
    local s = dial(p)
    s:send(request("GET /size/12000000"))
    local begun = socket.gettime()
    for _ = 1, 12 do
      assert(s:receive(900000))
      socket.sleep(0.15)
    end
    assert.is_true(socket.gettime() - begun > 1.5)
    assert.truthy(s:receive(1200000))
    s:close()
  end)
end)

describe("httpd's cap on connections" .. over, function()
  after_each(finish)

  it("drops who has waited longest without a complete request", function()
    local p = start("max_connections=4")
    local busy, silent, partial = dial(p), dial(p), dial(p)
    busy:send(request("GET /delay/700"))
    partial:send("GET / HT")
    socket.sleep(0.1)
    local others = {}
    for i = 1, 3 do
      others[i] = dial(p)
      others[i]:send(request("GET /size/1"))
      assert.equal(200, (answer(others[i])))
    end
    assert.equal("", rest(silent))
    assert.equal("", rest(partial))
    others[2]:send(request("GET /size/1"))
    assert.equal(200, (answer(others[2])))
    assert.equal("late\n", select(3, answer(busy)))
  end)

  it("answers 503 when all connections are at work", function()
    local p = start("max_connections=3")
    local busy = {}
    for i = 1, 3 do
      busy[i] = dial(p)
      busy[i]:send(request("GET /delay/600"))
    end
    socket.sleep(0.1)
    for _ = 1, over == "" and 40 or 8 do
      local s = dial(p)
      s:send(request("GET /size/1"))
      local status, headers = answer(s)
      assert.equal(503, status)
      assert.equal("close", headers.connection)
      s:close()
    end
    for i = 1, 3 do assert.equal("late\n", select(3, answer(busy[i]))) end
    assert.equal(200, (ask(p, request("GET /size/1"))))
  end)

  -- Over TLS they come to their requests all at once, and some are told 503.
  plain_it("serves a rush of more clients than connections", function()
    local p = start("max_connections=8 quiet")
    local all = {}
    for i = 1, 100 do
      all[i] = dial(p)
      all[i]:send(request("GET /size/" .. i))
    end
    for i = 1, 100 do assert.equal(i, #select(3, answer(all[i]))) end
  end)

  it("stays within the limit of open files, and raises the soft one", function()
    for limit, least in pairs { ["ulimit -n 160"] = 50, ["ulimit -Sn 160"] = 200 } do
      local p = start("quiet max_connections=300", limit)
      local slow = start_slow(p, 400)
      assert.equal(200, (ask(p, request("GET /size/10"))))
      local open = counts(p)
      assert.is_true(open >= least, open .. " connections were open")
      slow:close()
    end
  end)

  it("keeps answering beside 1 000 slow connections", function()
    for _, cap in ipairs { 2000, 200 } do
      local p = start("max_connections=" .. cap .. " quiet")
      local slow = start_slow(p, 1000)
      local worst = 0
      for _ = 1, over == "" and 50 or 4 do
        local begun = socket.gettime()
        assert.equal(200, (ask(p, request("GET /size/10"))))
        worst = math.max(worst, socket.gettime() - begun)
      end
      assert.is_true(worst < (over == "" and 1 or 4), "the slowest answer took " .. worst)
      local open = counts(p)
      assert.is_true(open > math.min(cap, 1000) * 0.9, open .. " connections were open")
      slow:close()
      p:signal("KILL")
      p:close()
    end
  end)
end)

describe("httpd's end" .. over, function()
  after_each(finish)

  it("finishes what is in flight, closes what is idle, takes nothing new", function()
    local p = start("quiet")
    local busy, idle, sending, half = dial(p), dial(p), dial(p), dial(p)
    busy:send(request("GET /delay/400"))
    idle:send(request("GET /size/1"))
    answer(idle)
    sending:send(request("POST /body", "Content-Length: 4\r\n", "ab"))
    half:send("GET / HTTP/1.1\r\nHo")
    socket.sleep(0.1)
    assert.equal(200, (ask(p, request("GET /stop"))))
    assert.equal("", rest(idle))
    assert.equal("", rest(half))
    assert.is_nil((socket.connect("127.0.0.1", p.port)))
    sending:send("cd")
    local _, headers, body = answer(sending)
    assert.equal("abcd", body)
    assert.equal("close", headers.connection)
    assert.equal("late\n", select(3, answer(busy)))
    assert.equal("", rest(busy))
    assert.same({ "", 0 }, { p:close(true) })
  end)

  it("leaves a request in the handler's hands usable", function()
    local p = start("quiet")
    local s = dial(p)
    s:send(request("GET /abandon"))
    assert.equal("", rest(s))
    assert.same({ "", 0 }, { p:close(true) })
  end)
end)

describe("httpd_new" .. over, function()
  after_each(finish)

  local function refused(options)
    local p = program.start(program.built("httpd_driver") .. " " .. options)
    local line = p:line()
    p:close(true)
    return line
  end

  plain_it("names an address in use and the remedy", function()
    local p = start()
    assert.equal(("AddressInUse: 127.0.0.1:%d is in use by another program; stop it or choose " ..
      "another port"):format(p.port), refused("port=" .. p.port))
  end)

  plain_it("names an address that is not there, and a host that is none", function()
    assert.equal("AddressUnknown: 192.0.2.1 is not an address of this machine; choose one " ..
      "that is, or 0.0.0.0", refused("host=192.0.2.1"))
    assert.truthy(refused("host=no.such.host.invalid"):match(
      "^AddressUnknown: the host no.such.host.invalid cannot be listened on: "))
    assert.truthy(refused("port=70000"):match("^ListenFailed: 70000 is not a port"))
  end)

  plain_it("listens on IPv6, with and without brackets", function()
    for _, host in ipairs { "::1", "[::1]" } do
      local p = start("host=" .. host)
      local s = dial(p, "::1")
      s:send(request("GET /size/1"))
      assert.equal(200, (answer(s)))
      assert.truthy(p:line():match("^::1:%d+ local 1 "))
      s:close()
    end
  end)
end)
