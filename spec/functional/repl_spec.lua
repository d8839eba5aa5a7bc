-- The console as its users meet it: piped, with -e, at a terminal, on a bucket by itself.
local daemon = require("daemon")
local outcome = require("outcome")
local terminal = require("terminal")
local socket = require("socket")

local function rows(n, seed) return outcome.rows(n, seed, 16) end

describe("anomalyd repl", function()
  local s

  setup(function()
    s = daemon.start()
    for i = 1, 4 do
      s:drop(("b%d.csv"):format(i), rows(50, i))
      s:summary("b" .. i)
    end
    s:drop("bad.csv", "no channel\nat all\n")
    s:wait_for(function() return s:object("failed/bad.csv_error.json") end, "the failure")
  end)

  teardown(function() s:remove() end)

  local function answer(code)
    local exit, out, err = s:repl("-e '" .. code:gsub("'", "'\\''") .. "'")
    assert.equal(0, exit, err)
    return (out:gsub("\n$", ""))
  end

  local function failure(code)
    local exit, out, err = s:repl("-e '" .. code:gsub("'", "'\\''") .. "'")
    assert.equal(1, exit, out)
    return err
  end

  describe("with -e", function()
    it("prints the result and ends with 0", function()
      assert.equal("2", answer("1+1"))
      assert.equal("2\t\"x\"", answer("2, 'x'"))
      assert.equal("text", answer("'text'"))
      assert.equal("", answer("x = 1"))
      assert.equal("nil", answer("x"))
      assert.equal("3", answer("=1+2"))
      assert.equal("1\n2", answer("for i = 1, 2 do print(i) end"))
    end)

    it("says what failed and where, and ends with 1", function()
      assert.equal("console:1: oops\nstack traceback (generation 1):\n\tconsole:1: in main chunk\n",
        failure("error('oops')"))
      assert.truthy(failure("x ="):find("not complete", 1, true))
      assert.truthy(failure("x = = 1"):find("^console:1: unexpected symbol near '='"))
      assert.truthy(failure("error({ code = 7 })"):find("{ code = 7 }", 1, true))
      assert.truthy(failure("require('keys').name(nil)"):find("lua/keys.lua:%d+: in "))
    end)

    it("gives bytes as they are", function()
      local _, out = s:repl("-e 'store:get(\"raw/b1.csv\").body'")
      assert.equal(rows(50, 1), out)
    end)

    it("runs commands", function()
      assert.truthy(answer(":gen"):find("^generation 1, scripts in "))
      assert.truthy(failure(":basline"):find("did you mean :baseline?", 1, true))
    end)
  end)

  it("takes piped lines until one fails", function()
    local code, out, err = s:repl("", "a = 20\nfor i = 1, 2 do\n  a = a + i\nend\na\nprint(a)\n_\n")
    assert.equal(0, code, err)
    assert.equal("23\n23\n23\n", out)
    code, out, err = s:repl("", "1\nerror('no')\n2\n")
    assert.equal(1, code)
    assert.equal("1\n", out)
    assert.truthy(err:find("console:1: no", 1, true))
    code, out, err = s:repl("", "1\nfor i = 1, 2 do\n")
    assert.equal(1, code)
    assert.equal("1\n", out)
    assert.truthy(err:find("ends within a statement", 1, true))
    code, out = s:repl("", "1\n:quit\n2\n")
    assert.equal(0, code)
    assert.equal("1\n", out)
  end)

  it("says who is not there", function()
    local code, _, err = daemon.run("repl --console " .. s.dir .. "/nobody.sock -e 1", nil,
      "-u BUCKET_NAME")
    assert.equal(1, code)
    assert.truthy(err:find("no service answers at .-nobody.sock: start `anomalyd serve`"), err)
    assert.equal(1, select(2, err:gsub("\n", "")))
  end)

  describe("inside the service", function()
    it("shows the baseline as it is now", function()
      assert.equal("200", answer("baseline.temperature.count"))
      assert.equal("true", answer("baseline.humidity.mature"))
      local shown = answer(":baseline")
      assert.truthy(shown:find("temperature +200 +2[12]%.%d+ +0%.%d+ +yes +2[12]"), shown)
      assert.truthy(shown:find("[▁▂▃▄▅▆▇█]"))
      assert.truthy(answer(":baseline wind_speed"):find("\nb4 +2026", 1))
      assert.truthy(failure(":baseline temprature"):find("did you mean 'temperature'?", 1, true))
      assert.truthy(failure("baseline.temprature"):find("did you mean 'temperature'?", 1, true))
      assert.equal("4", answer("#baseline:history('temperature')"))
      assert.equal("true", answer("(select(2, baseline:zscore('temperature', 90)))"))
      assert.equal("0.0\tfalse",
        answer("baseline:zscore('temperature', baseline.temperature.mean)"))
    end)

    it("shows batches, failures, queue, tasks, routes and memory", function()
      assert.truthy(answer(":batches"):find("raw/b4.csv +done +done"))
      assert.truthy(answer(":batches failed"):find("raw/bad.csv +failed"))
      assert.truthy(answer(":failed"):find("raw/bad.csv +2026%S+ +NoChannel"))
      assert.truthy(answer(":queue"):find("^0 waiting, 0 running"))
      assert.truthy(answer(":tasks"):find("task%.sleep"))
      assert.truthy(answer(":routes"):find("GET +/health +lua/status.lua:%d+"))
      assert.truthy(answer(":mem"):find("generations held 1", 1, true))
      assert.equal("4", answer("queue.finished.done"))
    end)

    it("lists and reads the bucket", function()
      assert.equal("5", answer("#store:list('raw/')"))
      assert.equal("raw/b1.csv", answer("store:list('raw/b1')[1].key"))
      assert.equal("nil\t\"NoSuchKey\"", answer("(function(a, _, c) return a, c end)"
        .. "(store:get('raw/none'))"))
    end)

    it("scores without writing anything", function()
      local before = s:object("state/baseline.json")
      assert.equal("50", answer("score('b1').rows"))
      assert.equal("true", answer("score('raw/b1.csv').counted"))
      s:drop("../fresh.csv", rows(40, 9))
      os.rename(s.bucket .. "/fresh.csv", s.bucket .. "/raw/sub.part")
      assert.truthy(failure("score('nothing')"):find("NoSuchKey", 1, true))
      assert.equal(before, s:object("state/baseline.json"))
    end)

    it("shows what another policy would flag, for this session only", function()
      local code, out, err = s:repl("", "policy.z_threshold\npolicy.z_threshold = 100\n"
        .. "policy.z_threshold\nw = whatif('b1')\nw.flagged.wind_speed.service\n"
        .. "w.flagged.wind_speed.session\nw.policy.z_threshold.session\npolicy.z_threshold = nil\n"
        .. "policy.z_threshold\n")
      assert.equal(0, code, err)
      assert.equal("3.0\n100\n1\n0\n100\n3.0\n", out)
      assert.equal("3.0", answer("policy.z_threshold"))
      assert.truthy(failure("policy.z_treshold = 1"):find("did you mean 'z_threshold'?", 1, true))
      assert.truthy(failure("policy.update = 'never'"):find("one of before, after", 1, true))
    end)

    it("keeps what a line assigns to its session", function()
      answer("leak = 1; string.leak = 1; csv.parse = nil; _G.other = 2")
      assert.equal('nil\tnil\tnil\t"function"', answer("leak, string.leak, other, type(csv.parse)"))
      s:drop("after.csv", rows(30))
      assert.equal(30, s:summary("after").total_rows)
    end)

    it("does not end or hold the service by mistake", function()
      assert.truthy(failure("os.exit()"):find("would end the service", 1, true))
      assert.truthy(failure("io.read()"):find("nobody at its input", 1, true))
      assert.equal(200, (s:get("/health")))
    end)

    it("ends what computes for ever", function()
      assert.truthy(failure("while true do end"):find("script ran too long", 1, true))
      assert.truthy(failure("while true do pcall(function() while true do end end) end"):find(
        "script ran too long", 1, true))
      local inner = failure("for _ in coroutine.wrap(function() while true do end end) do end")
      assert.truthy(inner:find("script ran too long", 1, true))
      assert.equal("2", answer("1+1"))
    end)

    it("cuts what prints for ever", function()
      local code, out, err = s:repl("-e 'while true do print((\"x\"):rep(1000000)) end'")
      assert.equal(1, code)
      assert.is_true(#out <= 33 * 1024 * 1024)
      assert.truthy(err:find("cut here", 1, true) or err:find("too long", 1, true), err)
    end)

    it("helps with everything", function()
      assert.truthy(answer(":help"):find(":baseline [channel]", 1, true))
      assert.truthy(answer(":help csv.parse"):find("^csv%.parse%(text"))
      assert.truthy(answer(":help json.encode"):find("^json%.encode%("))
      assert.truthy(failure(":help csv.prase"):find("no help on csv.prase", 1, true))
    end)

    it("logs every line and what it changes, with the user", function()
      assert.truthy(answer(":log debug"):find("debug (was info)", 1, true))
      assert.equal("debug", answer(":log"))
      answer(":log info")
      assert.truthy(s:log():find("console: log level before=info now=debug session=%d+ uid=%d+"))
      answer("store:put('raw/../x', '') and 1")
      answer("redrive('raw/b1.csv')")
      assert.truthy(s:log():find("console: queued again key=raw/b1.csv session=%d+ uid=%d+"))
      answer("api_token = 1")
      assert.is_nil(s:log():find("api_token", 1, true))
      assert.truthy(s:log():find("kept out of the log", 1, true))
    end)
  end)

  describe("at a terminal", function()
    local t

    local function start(arguments)
      t = terminal.start(("%s repl %s"):format(daemon.program, arguments or "--console " .. s.dir
        .. "/console.sock"), { env = ("HOME=%s XDG_STATE_HOME= TERM=xterm NO_COLOR=1"):format(
        io.popen("cd " .. s.dir .. " && pwd"):read("l")) })
      t:expect("anomalyd> ")
    end

    local function line(text, shown)
      t:type(text .. "\n")
      t:expect(text)
      t:expect(shown)
      t:expect("anomalyd> ")
    end

    after_each(function() t:close() end)

    it("edits lines of one or more rows, and remembers them", function()
      start()
      line("6*7", "42")
      t:type("for i = 1, 2 do\n")
      t:expect(".. ")
      t:type("print(i * 11) end\n")
      t:expect("22")
      t:expect("anomalyd> ")
      line("'a' .. _", '"a42"')
      line("x = 'my secret'", "")
      t:type("\27[A")
      t:expect("'a' .. _")
      t:type("\27[A\27[A")
      t:expect("6*7")
      t:type("\n")
      t:expect("42")
      t:type(":quit\n")
      assert.equal(0, t:ends())
      t:close()
      start()
      t:type("\27[A\27[A")
      t:expect("6*7")
      t:type("\n")
      t:expect("42")
      t:type("\4")
      assert.equal(0, t:ends())
      local path = s.dir .. "/.local/state/anomalyd/history"
      assert.is_nil(daemon.read(path):find("secret", 1, true))
      assert.truthy(daemon.read(path):find("for i = 1, 2 do\\nprint", 1, true))
      assert.equal("600", io.popen("stat -c %a " .. path):read("l"))
    end)

    it("completes on Tab", function()
      start()
      t:type("csv.pa\t")
      t:expect("rse")
      t:type("\3")
      t:expect("^Canomalyd> ") -- not the one that completion drew again
      t:type("baseline.t\t.me\t\n")
      t:expect(answer("baseline.temperature.mean"))
      t:type("column.\t")
      t:expect("above  any  below")
      t:type("\3")
      t:expect("^Canomalyd> ") -- not the one that completion drew again
      t:type(":fa\t\n")
      t:expect("NoChannel")
    end)

    it("gives the prompt back on Ctrl-C, whatever runs", function()
      start()
      for _, code in ipairs({ "while true do end", "task.sleep(60)",
        "while true do task.sleep(0) end", "while true do pcall(task.sleep, 1) end",
        ":watch 0.1 'tick'" }) do
        t:type(code .. "\n")
        t:expect(code)
        socket.sleep(0.15)
        local began = socket.gettime()
        t:type("\3")
        t:expect("anomalyd> ")
        assert.is_true(socket.gettime() - began < 0.5 * daemon.slowness, code)
      end
      line("1+1", "2")
      assert.equal(200, (s:get("/health")))
    end)

    it("watches an expression", function()
      start()
      t:type(":watch 0.05 1+1\n")
      for _ = 1, 3 do t:expect("  2\r\n") end
      t:type("\3")
      t:expect("interrupted")
    end)

    it("shows no control characters of what it is told", function()
      start()
      t:type("print('a\\27[2Jb\\7c')\n")
      t:expect("a\\x1B[2Jb\\x07c")
    end)

    it("says when the service goes away", function()
      local other = daemon.start()
      t = terminal.start(("%s repl --console %s/console.sock"):format(daemon.program, other.dir),
        { env = "HOME=/nonexistent XDG_STATE_HOME= TERM=xterm" })
      t:expect("anomalyd> ")
      other:stop()
      other:remove()
      t:type("1+1\n")
      t:expect("the connection to the console ended")
      assert.equal(1, (t:ends()))
    end)
  end)

  it("holds nobody up while a line waits", function()
    local pipe = assert(io.popen(("%s repl --console %s/console.sock -e 'task.sleep(1) "
      .. "return 1'"):format(daemon.program, s.dir)))
    local worst, n = 0, 0
    local stop = socket.gettime() + 0.8
    while socket.gettime() < stop do
      local began = socket.gettime()
      assert.equal(200, (s:get("/health")))
      worst, n = math.max(worst, socket.gettime() - began), n + 1
    end
    assert.equal("1\n", pipe:read("a"))
    pipe:close()
    assert.is_true(n > 20)
    assert.is_true(worst < 0.2 * daemon.slowness, "an answer took " .. worst)
  end)

  describe("socket", function()
    it("is private, and goes with the service", function()
      local other = daemon.start()
      local path = other.dir .. "/console.sock"
      assert.equal("600 socket", io.popen("stat -c '%a %F' " .. path):read("l"))
      other:stop()
      assert.is_nil(io.popen("ls " .. path .. " 2>/dev/null"):read("l"))
      other:remove()
    end)

    it("replaces that of a dead service, not that of a living one", function()
      local other = daemon.start()
      other:kill()
      assert.truthy(io.popen("ls " .. other.dir .. "/console.sock"):read("l"))
      other:restart()
      assert.equal(0, (other:repl("-e 1")))
      local code, _, err = daemon.run(("serve --port 0 --host 127.0.0.1 --bucket %s --console "
        .. "%s/console.sock"):format(other.bucket, other.dir))
      assert.equal(1, code)
      assert.truthy(err:find("belongs to a service that runs", 1, true), err)
      assert.equal(0, (other:repl("-e 1")))
      other:remove()
    end)

    it("never replaces a file that is no socket", function()
      local dir = daemon.directory()
      daemon.write(dir .. "/precious", "x")
      local code, _, err = daemon.run(("serve --port 0 --host 127.0.0.1 --bucket %s/b --console "
        .. "%s/precious"):format(dir, dir))
      assert.equal(1, code)
      assert.truthy(err:find("is there and no socket", 1, true), err)
      assert.equal("x", daemon.read(dir .. "/precious"))
      os.execute("rm -rf " .. dir)
    end)

    -- As root, where somebody else may run the program.
    if io.popen("id -u"):read("n") == 0 and os.execute(("setpriv --reuid=65534 --clear-groups %s "
      .. "--version >/dev/null 2>&1"):format(daemon.program)) then
      it("refuses other users, even when its mode was opened", function()
        os.execute(("chmod 666 %s/console.sock && chmod 711 %s"):format(s.dir, s.dir))
        local pipe = io.popen(("setpriv --reuid=65534 --clear-groups %s repl --console "
          .. "%s/console.sock -e 1 2>&1"):format(daemon.program, s.dir))
        local said = pipe:read("a")
        local _, _, code = pipe:close()
        os.execute(("chmod 600 %s/console.sock && chmod 700 %s"):format(s.dir, s.dir))
        assert.equal(1, code)
        assert.truthy(said:find("the console ended before it said anything", 1, true), said)
        assert.truthy(s:log():find("console: refused user 65534", 1, true))
      end)
    end

    it("can be left out", function()
      local other = daemon.start({ args = "--console none" })
      assert.is_nil(io.popen("ls " .. other.dir .. "/console.sock 2>/dev/null"):read("l"))
      other:remove()
    end)

    it("drops who speaks another language", function()
      local client = require("socket.unix")()
      assert(client:connect(s.dir .. "/console.sock"))
      client:settimeout(5)
      assert(client:send("GET / HTTP/1.1\r\n\r\n"))
      local _, why = client:receive(100000)
      assert.equal("closed", why)
      client:close()
      assert.equal("2", answer("1+1"))
    end)
  end)
end)

describe("anomalyd repl --bucket", function()
  local dir

  before_each(function()
    local s = daemon.start()
    s:drop("one.csv", rows(40))
    s:summary("one")
    s:stop()
    dir = s.dir
  end)

  after_each(function() os.execute("rm -rf " .. dir) end)

  local function run(code, options)
    return daemon.run(("repl --bucket %s/bucket %s -e '%s'"):format(dir, options or "",
      code:gsub("'", "'\\''")))
  end

  it("looks into a bucket without a service and writes nothing", function()
    local function sums()
      return io.popen("cd " .. dir .. "/bucket && find . -type f | sort | xargs md5sum"):read("a")
    end
    local before = sums()
    local code, out, err = run("baseline.temperature.count")
    assert.equal("40\n", out, err)
    assert.equal(0, code)
    assert.truthy(select(2, run(":batches")):find("raw/one.csv", 1, true))
    assert.truthy(select(2, run(":baseline")):find("temperature +40 "))
    assert.truthy(select(2, run("whatif('one').rows")):find("40", 1, true))
    code, out, err = run("store:put('raw/x.csv', 'y')")
    assert.equal(1, code)
    assert.equal("", out)
    assert.truthy(err:find("--write", 1, true))
    assert.equal(before, sums())
  end)

  it("may write when it is told to", function()
    local code, _, err = run("store:put('raw/x.txt', 'y')", "--write")
    assert.equal(0, code, err)
    assert.equal("y", daemon.read(dir .. "/bucket/raw/x.txt"))
  end)

  it("says what is wrong with the bucket", function()
    local code, _, err = daemon.run("repl --bucket ./nothing/here -e 1")
    assert.equal(1, code)
    assert.truthy(err:find("cannot open the bucket ./nothing/here", 1, true), err)
  end)

  it("ends a computing line on Ctrl-C", function()
    local t = terminal.start(("%s repl --bucket %s/bucket"):format(daemon.program, dir),
      { env = "HOME=/nonexistent XDG_STATE_HOME= TERM=xterm" })
    t:expect("anomalyd> ")
    t:type("while true do end\n")
    t:expect("end")
    socket.sleep(0.4)
    t:type("\3")
    t:expect("interrupted", 1)
    t:expect("anomalyd> ")
    t:type("6*7\n")
    t:expect("42")
    t:expect("anomalyd> ")
    t:type("\4")
    assert.equal(0, t:ends())
    t:close()
  end)
end)
