-- HTTP requests as tasks, and answers fetched side by side: server and http in one process.
local host = require("host")
local http = require("http")
local server = require("server")
local task = require("task")

local handlers = {}

--- Open a server whose handler is `fn` until the spec is over.
local function listen(fn, options)
  options = options or {}
  options.host, options.port, options.handler = "127.0.0.1", 0, fn
  local s = assert(server.listen(options))
  handlers[#handlers + 1] = s
  return s
end

local function ask(s, path, options)
  local request = { url = ("http://127.0.0.1:%d%s"):format(s.port, path or "/"), timeout = 5 }
  for name, value in pairs(options or {}) do request[name] = value end
  return http.request(request)
end

--- Call fn in a task of its own and wait for what it gives.
local function all(list)
  local left, changed = #list, task.signal()
  for _, fn in ipairs(list) do
    task.spawn(function()
      fn()
      left = left - 1
      changed:fire()
    end)
  end
  while left > 0 do assert(changed:wait(10), "a task hangs") end
end

describe("a server", function()
  local level
  setup(function()
    level = host.log_level()
    host.log_setup({ level = "critical" }) -- handlers fail here on purpose
  end)
  teardown(function() host.log_setup({ level = level }) end)
  after_each(function()
    for _, s in ipairs(handlers) do s:stop() end
    handlers = {}
  end)

  it("gives a handler the request and sends what it returns", function()
    local seen
    local s = listen(function(request)
      seen = request
      return 201, { ["x-one"] = "1", ["set-cookie"] = { "a=1", "b=2" } }, "body\0more"
    end)
    local answer = assert(ask(s, "/p%20q?x=1", { method = "POST", body = "in\0side",
      headers = { ["X-Mixed"] = "Case" } }))
    assert.equal(201, answer.status)
    assert.equal("body\0more", answer.body)
    assert.equal("1", answer.headers["x-one"])
    assert.truthy(answer.headers["set-cookie"]:find("a=1.*b=2"))
    assert.equal("POST", seen.method)
    assert.equal("/p%20q?x=1", seen.target)
    assert.equal("1.1", seen.version)
    assert.equal("in\0side", seen.body)
    assert.equal("Case", seen.headers["x-mixed"])
    assert.equal("127.0.0.1", seen.peer.address)
    assert.is_true(seen.peer.loopback)
    assert.is_true(seen.peer.port > 0)
    assert.is_nil(seen.refused)
  end)

  it("sends no body for HEAD, but its length", function()
    local s = listen(function() return 200, {}, "12345" end)
    local answer = assert(ask(s, "/", { method = "HEAD" }))
    assert.equal("", answer.body)
    assert.equal("5", answer.headers["content-length"])
  end)

  it("says 500 for a handler that raises or returns what is no answer", function()
    local bad = {
      function() error("oh") end,
      function() error() end,
      function() error(setmetatable({}, { __tostring = function() error("again") end })) end,
      function() end,
      function() return "200" end,
      function() return 200 end,
      function() return 99, {}, "" end,
      function() return 600, {}, "" end,
      function() return 200.5, {}, "" end,
      function() return 200, {}, {} end,
      function() return 200, { [1] = "x" }, "" end,
      function() return 200, { x = 1 }, "" end,
      function() return 200, { x = { "a", 2 } }, "" end,
      function() return 200, { x = {}, y = { {} } }, "" end,
      function() return coroutine.yield() end,
    }
    local s = listen(function(request) return bad[tonumber(request.target:sub(2))]() end)
    for i = 1, #bad do
      local answer = assert(ask(s, "/" .. i))
      assert.equal(500, answer.status, "handler " .. i)
      assert.equal("Internal Server Error", answer.body)
    end
    assert.equal(0, s:in_flight())
  end)

  it("lets no handler forge a header", function()
    local s = listen(function()
      return 200, { ["x-good"] = "1", ["x-bad"] = "a\r\nx-forged: 1", ["x\r\ny"] = "2" }, "ok"
    end)
    local answer = assert(ask(s))
    assert.equal(200, answer.status)
    assert.equal("1", answer.headers["x-good"])
    assert.is_nil(answer.headers["x-forged"])
    assert.is_nil(answer.headers["x-bad"])
    assert.equal("ok", answer.body)
  end)

  it("says that a request was refused, through its handler", function()
    local refused
    local s = listen(function(request)
      refused = request.refused
      return refused.status, {}, refused.reason
    end, { max_body = 10 })
    local answer = assert(ask(s, "/", { method = "POST", body = ("x"):rep(11) }))
    assert.equal(413, answer.status)
    assert.equal(413, refused.status)
    assert.equal(answer.body, refused.reason)
  end)

  it("joins headers that come twice", function()
    local joined
    local s = listen(function(request)
      joined = request.headers["x-a"]
      return 200, {}, ""
    end)
    local pipe = assert(io.popen(([[exec timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d
      printf "GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\nConnection: close\r\n\r\n" >&3
      cat <&3']]):format(s.port)))
    for _ = 1, 500 do
      if joined and s:connections() == 0 then break end
      task.sleep(0.01)
    end
    pipe:close()
    assert.equal("1, 2", joined)
  end)

  it("answers others while a handler waits", function()
    local gate = task.signal()
    local s = listen(function(request)
      if request.target == "/slow" then gate:wait(5) end
      return 200, {}, request.target
    end)
    local order = {}
    all({
      function()
        local body = assert(ask(s, "/slow")).body
        order[#order + 1] = body
      end,
      function()
        while s:in_flight() == 0 do task.sleep(0.001) end
        local body = assert(ask(s, "/quick")).body
        order[#order + 1] = body
        gate:fire()
      end,
    })
    assert.same({ "/quick", "/slow" }, order)
    assert.equal(0, s:in_flight())
  end)

  it("answers many at once, each with its own", function()
    local s = listen(function(request)
      task.sleep(0.002)
      return 200, {}, request.target
    end)
    local list, wrong = {}, 0
    for i = 1, 200 do
      list[i] = function()
        local answer = ask(s, "/" .. i)
        if not answer or answer.body ~= "/" .. i then wrong = wrong + 1 end
      end
    end
    all(list)
    assert.equal(0, wrong)
  end)

  it("refuses options that make no sense, by name", function()
    local function fn() return 200, {}, "" end
    for _, case in ipairs({
      { { port = 65536 }, "port must be a number from 0 to 65535" },
      { { port = -1 }, "port must be a number" }, { { port = {} }, "port must be a number" },
      { { max_body = 1e300 }, "max_body must be a number" },
      { { idle_seconds = 0 / 0 }, "idle_seconds must be a number" },
      { { head_seconds = math.huge }, "head_seconds must be a number" },
      { { host = {} }, "host must be a text" }, { {}, "handler is no function", true },
    }) do
      local options = case[1]
      if not case[3] then options.handler = fn end
      local ok, message = pcall(server.listen, options)
      assert.is_false(ok)
      assert.truthy(message:find(case[2], 1, true), message)
    end
    assert.is_false(pcall(server.listen))
  end)

  it("says why it cannot listen", function()
    local s = listen(function() return 200, {}, "" end)
    local second, message, code = server.listen({ host = "127.0.0.1", port = s.port,
      handler = function() end })
    assert.is_nil(second)
    assert.equal("AddressInUse", code)
    assert.truthy(message:find(tostring(s.port), 1, true))
  end)

  it("is collected with its handler when nobody holds it", function()
    local weak = setmetatable({}, { __mode = "v" })
    do
      local big = { function() return 200, {}, "" end }
      weak[1] = big
      local s = assert(server.listen({ port = 0, handler = function() return big end }))
      s:stop()
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)
end)

describe("a transfer", function()
  after_each(function()
    for _, s in ipairs(handlers) do s:stop() end
    handlers = {}
  end)

  it("ends when its time is over", function()
    local gate = task.signal()
    local s = listen(function()
      gate:wait(5)
      return 200, {}, ""
    end)
    local began = host.now()
    local answer, message, code = ask(s, "/", { timeout = 0.1 })
    assert.is_nil(answer)
    assert.is_string(message)
    assert.is_string(code)
    assert.is_true(host.now() - began < 3)
    gate:fire()
    task.sleep(0.01)
  end)

  it("ends with the task that waits for it", function()
    local gate, reached, message = task.signal(), false, nil
    local s = listen(function()
      if not reached then
        reached = true
        gate:wait(5)
      end
      return 200, {}, ""
    end)
    local id = task.spawn(function() message = select(2, pcall(ask, s)) end)
    for _ = 1, 500 do
      if reached then break end
      task.sleep(0.005)
    end
    assert.is_true(task.cancel(id))
    task.sleep(0.01)
    assert.truthy(message:find("cancelled while waiting for http.request", 1, true), message)
    gate:fire()
    task.sleep(0.01)
    assert.equal(200, assert(ask(s, "/", { timeout = 10 })).status)
  end)

  it("may be cancelled at any moment, a hundred at a time", function()
    local s = listen(function()
      task.sleep(0.003)
      return 200, {}, ("x"):rep(20000)
    end)
    local before, ids = host.stats().tasks, {}
    for i = 1, 100 do
      ids[i] = task.spawn(function() pcall(ask, s) end)
    end
    for i = 1, 100 do
      if i % 10 == 0 then task.sleep(0.002) end
      task.cancel(ids[i])
    end
    for _ = 1, 200 do
      if host.stats().tasks <= before and s:in_flight() == 0 then break end
      task.sleep(0.01)
    end
    assert.equal(before, host.stats().tasks)
    assert.equal(200, assert(ask(s)).status)
  end)

  it("that cannot begin says so", function()
    local s = listen(function() return 200, {}, "" end)
    local port = s.port
    s:stop()
    task.sleep(0.01)
    local answer, message, code = http.request({ url = ("http://127.0.0.1:%d/"):format(port),
      timeout = 2 })
    assert.is_nil(answer)
    assert.is_string(message)
    assert.is_string(code)
  end)
end)
