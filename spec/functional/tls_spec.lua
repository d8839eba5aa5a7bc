-- HTTPS: the rules of httpd hold over TLS too, a handshake is bounded, and the certificate changes
-- under load without a failed request.
local daemon = require("daemon")
local files = require("files")
local http = require("http")
local program = require("program")
local socket = require("socket")
local x509 = require("x509")

local NAMES = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
local AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
local SECOND = 1 * daemon.slowness

local issuer = x509.open()
local root = issuer:certificate({ subject = "/CN=root", key = "ec", extensions = AUTHORITY })

local function certificate(options)
  options = options or {}
  return issuer:certificate({ subject = options.subject or "/CN=localhost", extensions = NAMES,
    issuer = options.issuer or root, from = options.from, to = options.to,
    key = options.rsa and "rsa" or "ec", bits = options.rsa })
end

local made = certificate()
local PAIR = ("tls_cert=%s tls_key=%s"):format(made.path, made.key)

-- All of httpd's own specs, through a relay that speaks TLS and passes a connection that ends
-- without close_notify on as a reset.
assert(loadfile("spec/functional/httpd_spec.lua", "t", _ENV))(PAIR)

local function shell(command, ...) return (files.output(command:format(...))) end

--- What openssl's client says after a handshake.
local function s_client(port, options, input)
  return shell("{ printf '%s'; sleep 0.3; } | timeout 20 openssl s_client -connect 127.0.0.1:%d "
    .. "-CAfile '%s' %s", input or "", port, root.path, options or "")
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

describe("a TLS port", function()
  local p
  local running = {}

  local function run(command)
    collectgarbage()
    running[#running + 1] = program.start(command)
    return running[#running]
  end

  local function start(options)
    local started = run(("%s quiet %s %s"):format(program.built("httpd_driver"), PAIR,
      options or ""))
    started.port = tonumber(started:line():match("^port (%d+)"))
    return started
  end

  local function relay(port, drip)
    local started = run(("%s %d %d"):format(program.built("tls_relay"), port, drip or 0))
    return tonumber(started:line():match("^port (%d+)"))
  end

  local function dial(port)
    local s = assert(socket.tcp())
    s:settimeout(10 * SECOND)
    assert(s:connect("127.0.0.1", port))
    return s
  end

  local function ask(path, options)
    options = options or {}
    options.url = ("https://localhost:%d%s"):format(p.port, path)
    options.ca_file, options.timeout = root.path, 30 * SECOND
    return assert(http.request(options))
  end

  local function connections() return tonumber(ask("/counts").body:match("^%d+")) end

  local HELLO = "\22\3\1\2\0\1\0\1\252\3\3"

  setup(function() p = start("head_seconds=1 idle_seconds=5") end)
  teardown(function()
    for i = #running, 1, -1 do running[i]:close() end
  end)

  it("takes and gives large bodies whole", function()
    local body = ("0123456789abcdef"):rep(65536)
    for _ = 1, 3 do
      assert.is_true(ask("/body", { method = "POST", body = body }).body == body)
      assert.equal(30000000, #ask("/size/30000000").body)
    end
  end)

  it("keeps requests apart that come in one record", function()
    local s, ahead = dial(relay(p.port)), {}
    for i = 1, 700 do
      ahead[i] = ("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n%03d"):format(i)
    end
    s:send(table.concat(ahead))
    for i = 1, 700 do
      repeat local line = assert(s:receive("*l")) until line == ""
      assert.equal(("%03d"):format(i), s:receive(3))
    end
    s:close()
  end)

  it("says 100 Continue, and answers after it, however the body comes", function()
    local port = relay(p.port)
    for i = 1, 40 do
      local s = dial(port)
      s:send("POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n"
        .. "\r\n")
      if i % 2 == 0 then socket.sleep(0.002) end
      s:send("abc")
      local text = {}
      repeat text[#text + 1] = assert(s:receive("*l")) until text[#text] == "Content-Length: 3"
      repeat local line = assert(s:receive("*l")) until line == ""
      assert.equal("abc", s:receive(3))
      -- Who has sent the body by then needs no leave.
      if text[1] ~= "HTTP/1.1 100 Continue" then assert.equal("HTTP/1.1 200 OK", text[1]) end
      s:close()
    end
  end)

  it("speaks TLS 1.2 and 1.3, and nothing older", function()
    assert.truthy(s_client(p.port, "-tls1_3"):find("New, TLSv1.3", 1, true))
    assert.truthy(s_client(p.port, "-tls1_2"):find("New, TLSv1.2", 1, true))
    local old = s_client(p.port, "-tls1_1 -cipher DEFAULT@SECLEVEL=0")
    assert.truthy(old:find("alert protocol version", 1, true), old)
    local weak = s_client(p.port, "-tls1_2 -cipher NULL:RC4:3DES:aNULL@SECLEVEL=0")
    assert.falsy(weak:find("New, TLSv1.2", 1, true), weak)
  end)

  it("agrees on http/1.1, and with a client that wants something else on nothing", function()
    assert.truthy(s_client(p.port, "-alpn h2,http/1.1"):find("ALPN protocol: http/1.1", 1, true))
    local other = s_client(p.port, "-alpn h2")
    assert.truthy(other:find("no application protocol", 1, true), other)
    assert.truthy(s_client(p.port):find("No ALPN negotiated", 1, true))
  end)

  it("resumes sessions, and neither compresses nor negotiates again", function()
    local text = s_client(p.port, "-tls1_2 -reconnect")
    assert.truthy(text:find("Reused, TLSv1.2", 1, true), text)
    assert.truthy(text:find("Compression: NONE", 1, true))
    text = s_client(p.port, "-tls1_2", "R\\n")
    assert.truthy(text:find("no renegotiation", 1, true), text)
  end)

  it("tells who speaks plain HTTP what is wrong, and closes in order", function()
    for _, text in ipairs({ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\n\r\nabc" }) do
      local s = dial(p.port)
      s:send(text)
      local answer, err, part = s:receive("*a")
      assert.is_nil(err)
      assert.truthy((answer or part):find("^HTTP/1.1 400 .*ask with https://\r\n$"))
      s:close()
    end
  end)

  it("ends a connection that does not come to the end of its handshake in time", function()
    local silent, partial = dial(p.port), dial(p.port)
    partial:send(HELLO)
    local begun = socket.gettime()
    local slow = dial(relay(p.port, 8)) -- some 300 bytes
    slow:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for i, s in ipairs({ silent, partial, slow }) do
      local text, err, part = s:receive("*a")
      assert.not_equal("timeout", err)
      assert.equal("", text or part)
      s:close()
      local took = socket.gettime() - begun
      -- The relay sees the end only when it has said all that it wanted to.
      assert.is_true(took > 0.8 and (i == 3 or took < 2.5 * SECOND), "took " .. took)
    end
  end)

  it("bears a handshake that comes byte by byte in time", function()
    local own = start("head_seconds=10")
    local s = dial(relay(own.port, 1))
    s:send("GET /size/3 HTTP/1.0\r\nHost: a\r\n\r\n")
    assert.truthy((s:receive("*a") or ""):find("\r\n\r\nxxx$"))
    s:close()
  end)

  it("keeps nothing of handshakes that were begun and dropped", function()
    for round = 1, 4 do
      local all = {}
      for i = 1, 100 do
        all[i] = dial(p.port)
        all[i]:send(round % 2 == 0 and HELLO or ("\22\3\1\0\200"):rep(50))
        if i % 3 == 0 then all[i]:setoption("linger", { on = true, timeout = 0 }) end
      end
      for i = 1, 100 do all[i]:close() end
    end
    assert.is_true(soon(5 * SECOND, function() return connections() <= 2 end))
  end)

  it("bears a rush of handshakes", function()
    local port, all = relay(p.port), {}
    for i = 1, 60 do
      all[i] = dial(port)
      all[i]:send("GET /size/" .. i .. " HTTP/1.0\r\nHost: a\r\n\r\n")
    end
    for i = 1, 60 do
      assert.truthy(all[i]:receive("*a"):find("\r\n\r\n" .. ("x"):rep(i) .. "$"))
      all[i]:close()
    end
  end)

  it("is still the one it was", function()
    assert.equal("stopping\n", ask("/stop").body)
    assert.same({ "", 0 }, { p:close(true) })
  end)
end)

describe("anomalyd serve --tls-cert", function()
  local s
  local dir = issuer.dir .. "/live"
  os.execute("mkdir -p " .. dir)
  local CERT, KEY = dir .. "/fullchain.pem", dir .. "/privkey.pem"

  --- Put a pair in place, each file by a rename, as careful programs do.
  local function install(pair)
    daemon.write(dir .. "/new", pair.pem)
    assert(os.rename(dir .. "/new", CERT))
    daemon.write(dir .. "/new", daemon.read(pair.key))
    assert(os.execute(("chmod 640 '%s/new'"):format(dir)))
    assert(os.rename(dir .. "/new", KEY))
  end

  local function start(options)
    options = options or {}
    return daemon.start({ ca = options.ca or root.path, env = options.env,
      args = options.args or ("--tls-cert %s --tls-key %s"):format(CERT, KEY) })
  end

  local function said(text)
    return s:wait_for(function() return s:log():find(text, 1, true) end, text, 20 * SECOND)
  end

  --- The common name of the certificate that new connections get.
  local function served()
    return s_client(s.port):match("subject=CN ?= ?(%S+)")
  end

  before_each(function() install(made) end)
  after_each(function()
    if s then s:remove() end
    s = nil
  end)
  teardown(function() issuer:close() end)

  it("serves over HTTPS, says so, and drains", function()
    s = start({ args = "", env = ("ANOMALYD_TLS_CERT=%s ANOMALYD_TLS_KEY=%s"):format(CERT, KEY) })
    assert.truthy(s:log():find("on https://127.0.0.1:", 1, true))
    local status, health = s:get("/health")
    assert.equal(200, status)
    local names = {}
    for name in pairs(health) do names[#names + 1] = name end
    table.sort(names)
    assert.equal("bucket bucket_reachable generation status timestamp uptime_seconds version",
      table.concat(names, " "))
    assert.equal(413, (s:post("/notify", ("x"):rep(3000000))))
    s:drop("a.csv", "temperature,humidity\n" .. ("1,2\n"):rep(40))
    assert.equal(40, s:summary("a").total_rows)
    local idle = assert(socket.connect("127.0.0.1", s.port))
    assert.equal(0, s:stop())
    idle:close()
  end)

  it("gives the certificate's end and the failed handshakes to /metrics", function()
    s = start({ args = ("--head-timeout %g --tls-cert %s --tls-key %s"):format(0.5 * SECOND, CERT,
      KEY) })
    s_client(s.port, "-tls1_1 -cipher DEFAULT@SECLEVEL=0")
    local silent = assert(socket.connect("127.0.0.1", s.port))
    local plain = assert(socket.connect("127.0.0.1", s.port))
    plain:send("GET / HTTP/1.1\r\n\r\n")
    plain:receive("*a")
    local gone = assert(socket.connect("127.0.0.1", s.port))
    gone:close()
    local function metric(name)
      local answer = http.request({ url = ("https://127.0.0.1:%d/metrics"):format(s.port),
        ca_file = root.path })
      return tonumber(answer.body:match("\n" .. name:gsub("%p", "%%%0") .. " (%S+)"))
    end
    local failures = 'anomalyd_tls_handshake_failures_total{reason="%s"}'
    s:wait_for(function() return metric(failures:format("closed")) == 1 end, "the closed one")
    assert.equal(1, metric(failures:format("plain_http")))
    assert.equal(1, metric(failures:format("protocol")))
    s:wait_for(function() return metric(failures:format("timeout")) == 1 end, "the silent one")
    silent:close()
    local left = os.time({ year = 2033, month = 12, day = 31, hour = 23, min = 59, sec = 59 })
      - os.time()
    assert.is_true(math.abs(metric("anomalyd_tls_certificate_expiry_seconds") - left) < 100000)
  end)

  it("serves the whole chain", function()
    local middle = issuer:certificate({ subject = "/CN=middle", key = "ec",
      extensions = AUTHORITY, issuer = root })
    local leaf = certificate({ subject = "/CN=leaf", issuer = middle, rsa = 2048 })
    install({ pem = leaf.pem .. middle.pem, key = leaf.key })
    s = start()
    local text = s_client(s.port, "-showcerts")
    assert.equal(2, select(2, text:gsub("BEGIN CERTIFICATE", "")))
    assert.truthy(text:find("Verify return code: 0", 1, true), text)
    assert.equal(200, (s:get("/health")))
  end)

  it("takes a renewed certificate while requests go on, and no request fails", function()
    s = start()
    assert.equal("localhost", served())
    -- Every second request is the last of its connection: new handshakes all the time.
    daemon.write(s.dir .. "/load.lua", ([[
      local http, task, host = require("http"), require("task"), require("host")
      local limit, good, bad, left = host.now() + %d, 0, {}, 4
      for _ = 1, left do
        task.spawn(function()
          local n = 0
          while host.now() < limit do
            n = n + 1
            local answer, message = http.request({ url = "https://127.0.0.1:%d/health",
              ca_file = "%s", timeout = 10,
              headers = { connection = n %% 2 == 0 and "close" or "keep-alive" } })
            if answer and answer.status == 200 then good = good + 1
            else bad[#bad + 1] = message or answer.status end
          end
          left = left - 1
        end)
      end
      while left > 0 do task.sleep(0.05) end
      print(good, #bad, bad[1])
    ]]):format(6, s.port, root.path))
    local load = io.popen(("%s -l %s/load.lua 2>&1"):format(daemon.program, s.dir))
    for _, name in ipairs({ "first", "second" }) do
      install(certificate({ subject = "/CN=" .. name }))
      s:wait_for(function() return served() == name end, "the " .. name .. " certificate")
      s:signal("HUP")
    end
    local text = load:read("a")
    load:close()
    local good, bad = text:match("^(%d+)\t(%d+)")
    assert.equal("0", bad, text)
    assert.is_true(tonumber(good) > 50, text)
    assert.equal("second", served())
    said("the certificate was loaded anew cause=SIGHUP")
    assert.equal(0, s:stop())
  end)

  it("goes on with the pair it has when the new one is not right", function()
    s = start()
    local old = assert(http.request({ url = ("https://127.0.0.1:%d/health"):format(s.port),
      ca_file = root.path }))
    assert.equal(200, old.status)
    for _, case in ipairs({
      { pem = "not a certificate\n", key = made.key, text = "cannot be used: no start line" },
      { pem = certificate().pem, key = made.key, text = "does not belong to the certificate" },
      { pem = made.pem, key = root.path, text = "the private key " .. KEY .. " cannot be used" },
    }) do
      install(case)
      said(case.text)
      assert.equal("localhost", served())
    end
    os.remove(KEY)
    said(KEY .. " cannot be read: No such file or directory")
    local _, count = s:log():gsub("the certificate before stays in force: ", "")
    assert.equal(4, count)
    local _, health = s:get("/health")
    assert.equal("ok", health.status)
    install(certificate({ subject = "/CN=again" }))
    s:wait_for(function() return served() == "again" end, "the good certificate")
    said("the certificate was loaded anew cause=change")
  end)

  it("warns of what clients will not like, and of a key that everybody may read", function()
    install(certificate({ from = "20200101000000Z", to = "20210101000000Z" }))
    os.execute("chmod 644 " .. KEY)
    s = start()
    said(("WARNING:  the certificate %s has expired; clients will refuse it: renew it "
      .. "expired=2021-01-01T00:00:00Z"):format(CERT))
    said(("WARNING:  the private key %s can be read by everybody: chmod o= it"):format(KEY))
    assert.equal("localhost", served())
    install(certificate({ from = "20320101000000Z", to = "20330101000000Z" }))
    said("is not valid yet")
  end)

  it("refuses at the start what cannot be served, and names file and remedy", function()
    local locked, weak = dir .. "/locked.pem", certificate({ rsa = 512 })
    shell("openssl pkey -in '%s' -aes256 -passout pass:x -out '%s'", made.key, locked)
    local other = certificate({ rsa = 2048 })
    local cases = {
      { dir .. "/none.pem", made.key, "none.pem cannot be read: No such file or directory; put" },
      { made.path, dir .. "/none.pem", "private key " .. dir .. "/none.pem cannot be read" },
      { dir, made.key, "is no file of PEM text; give --tls-cert" },
      { "/dev/zero", made.key, "is no file of PEM text" },
      { made.path, "/dev/zero", "is no file of PEM text; give --tls-key" },
      { made.key, made.key, "--tls-cert takes a PEM file" },
      { made.path, made.path, "--tls-key takes a PEM file" },
      { made.path, other.key, "the private key " .. other.key .. " does not belong to the "
        .. "certificate " .. made.path },
      { made.path, root.key, "does not belong to the certificate" },
      { made.path, locked, "is encrypted; decrypt it" },
      { weak.path, weak.key, "ee key too small" },
    }
    for _, case in ipairs(cases) do
      local code, out, err = daemon.run(("serve --host 127.0.0.1 --port 0 --bucket %s/b --console "
        .. "none --tls-cert %s --tls-key %s"):format(dir, case[1], case[2]))
      assert.equal(1, code, out .. err)
      assert.truthy(err:find(case[3], 1, true), err)
    end
    for option, missing in pairs({ ["--tls-cert"] = "--tls-key", ["--tls-key"] = "--tls-cert" }) do
      local code, _, err = daemon.run(("serve --bucket %s/b --console none %s x"):format(dir,
        option))
      assert.equal(2, code)
      assert.truthy(err:find("set " .. missing .. " FILE", 1, true), err)
    end
  end)
end)
