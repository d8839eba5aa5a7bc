local options = require("options")

local function parse(arguments, env)
  return options.parse(arguments, function(name) return (env or {})[name] end)
end

describe("options", function()
  it("gives defaults, then the environment, then the command line", function()
    local given = parse({ "serve" })
    assert.equal(8000, given.port)
    assert.equal("default", given.sources.port)
    given = parse({ "serve" }, { ANOMALYD_PORT = "81" })
    assert.equal(81, given.port)
    assert.equal("ANOMALYD_PORT", given.sources.port)
    given = parse({ "serve", "--port", "82" }, { ANOMALYD_PORT = "81" })
    assert.equal(82, given.port)
    assert.equal(83, parse({ "serve", "--port=83" }).port)
    assert.equal("./b", parse({ "serve" }, { BUCKET_NAME = "./b" }).bucket)
    assert.equal(0.5, parse({ "serve", "--script-slice", "0.5" }).script_slice)
  end)

  it("reads flags", function()
    assert.is_nil(parse({ "serve" }).reload)
    assert.is_true(parse({ "serve", "--reload" }).reload)
    assert.is_true(parse({ "serve" }, { ANOMALYD_RELOAD = "yes" }).reload)
    assert.is_false(parse({ "serve", "--reload=0" }, { ANOMALYD_RELOAD = "1" }).reload)
  end)

  it("reads the options of repl", function()
    local given = parse({ "repl", "--console", "/c", "-e", "-1 + 1" })
    assert.equal("repl", given.command)
    assert.equal("/c", given.console)
    assert.equal("-1 + 1", given.e)
    assert.is_true(parse({ "repl", "--bucket", "./b", "--write" }).write)
    assert.is_nil(parse({ "repl" }, { ANOMALYD_E = "os.exit()" }).e)
  end)

  it("reads a file to run and its arguments", function()
    local given = parse({ "-l", "x.lua", "--port", "a" })
    assert.equal("x.lua", given.file)
    assert.same({ "--port", "a" }, given.arguments)
  end)

  it("names what is wrong and the nearest right thing", function()
    for _, case in ipairs({
      { {}, "no command" },
      { { "sreve" }, "did you mean serve?" },
      { { "serve", "--prot", "1" }, "did you mean --port?" },
      { { "serve", "-port", "1" }, "unknown option -port" },
      { { "serve", "--port" }, "--port needs a value" },
      { { "serve", "--port", "x" }, "--port x: expected a whole number from 0 to 65535" },
      { { "serve", "--port", "70000" }, "a whole number from 0 to 65535" },
      { { "serve", "--log-level", "loud" }, "one of debug, info" },
      { { "serve", "extra" }, "unexpected argument extra" },
      { { "score" }, "input is missing" },
      { { "-l" }, "-l needs a Lua file" },
    }) do
      local given, message = parse(case[1])
      assert.is_nil(given)
      assert.truthy(message:find(case[2], 1, true), message)
    end
    local _, message = parse({ "serve" }, { ANOMALYD_PORT = "many" })
    assert.equal("ANOMALYD_PORT=many: expected a whole number from 0 to 65535", message)
  end)

  it("helps with every option but the hidden ones", function()
    for _, command in ipairs({ "serve", "repl", "score", "check" }) do
      assert.truthy(options.help():find("anomalyd " .. command, 1, true))
      assert.truthy(options.help(command):find("--scripts", 1, true))
    end
    assert.truthy(options.help("serve"):find("[ANOMALYD_PORT]", 1, true))
    assert.truthy(options.help("repl"):find("-e TEXT", 1, true))
    assert.is_nil(options.help("repl"):find("--serve", 1, true))
  end)
end)
