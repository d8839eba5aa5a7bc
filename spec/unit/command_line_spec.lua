-- The command line and the environment: every command, every kind of option, what is wrong.
local options = require("options")

--- Parse a line; `environment` is {NAME = text}.
local function parse(words, environment)
  environment = environment or {}
  return options.parse(words, function(name) return environment[name] end)
end

local function refused(expected, words, environment)
  local value, message = parse(words, environment)
  assert.is_nil(value)
  assert.equal(expected, message)
end

describe("the command line", function()
  it("knows every command", function()
    assert.equal("help", parse({ "--help" }).command)
    assert.equal("help", parse({ "-h" }).command)
    assert.equal("version", parse({ "--version" }).command)
    assert.equal("version", parse({ "-V" }).command)
    for _, name in ipairs({ "serve", "repl", "check" }) do
      assert.equal(name, parse({ name }).command)
      assert.same({ command = "help", topic = name }, parse({ name, "--help" }))
      assert.truthy(options.help(name):find("^usage: anomalyd " .. name))
    end
    assert.equal("in.csv", parse({ "score", "in.csv" }).input)
    assert.same({ command = "run", file = "x.lua", arguments = { "a", "-b", "--help" } },
      parse({ "-l", "x.lua", "a", "-b", "--help" }))
  end)

  it("says what is wrong with a call", function()
    refused("no command (see anomalyd --help)", {})
    refused("-l needs a Lua file", { "-l" })
    refused("unknown command sreve; did you mean serve? (see anomalyd --help)", { "sreve" })
    refused("unknown command launch-missiles (see anomalyd --help)", { "launch-missiles" })
    refused("unknown option --buckte; did you mean --bucket? (see anomalyd --help)",
      { "serve", "--buckte", "x" })
    refused("unknown option --buckte; did you mean --bucket? (see anomalyd --help)",
      { "serve", "--buckte=./a-long-value-that-is-no-name" })
    refused("unknown option --port (see anomalyd --help)", { "check", "--port", "1" })
    refused("unknown option -port; did you mean --port? (see anomalyd --help)",
      { "serve", "-port", "1" })
    refused("unknown option --e; did you mean -e? (see anomalyd --help)", { "repl", "--e", "1" })
    refused("--port needs a value", { "serve", "--port" })
    refused("unexpected argument extra", { "serve", "extra" })
    refused("unexpected argument two.csv", { "score", "one.csv", "two.csv" })
    refused("input is missing: anomalyd score [options] INPUT.csv|-", { "score" })
  end)

  it("takes values in both forms, and words after --", function()
    local given = parse({ "serve", "--port=0", "--bucket", "./b=c", "--reload" })
    assert.equal(0, given.port)
    assert.equal("./b=c", given.bucket)
    assert.is_true(given.reload)
    assert.equal("-odd.csv", parse({ "score", "--", "-odd.csv" }).input)
    assert.equal("-", parse({ "score", "-" }).input)
    assert.equal("return 1 == 1", parse({ "repl", "-e", "return 1 == 1" }).e)
    assert.equal("x=1", parse({ "repl", "-e=x=1" }).e)
    assert.equal(2, parse({ "serve", "--port", "1", "--port", "2" }).port)
  end)

  it("checks each kind of value", function()
    local port = "expected a whole number from 0 to 65535"
    for _, text in ipairs({ "-1", "65536", "1.5", "http", "", "1e99", "nan" }) do
      refused(("--port %s: %s"):format(text, port), { "serve", "--port", text })
    end
    refused("--workers 65: expected a whole number from 1 to 64", { "serve", "--workers", "65" })
    refused("--log-level loud: expected one of debug, info, warning, error, critical",
      { "serve", "--log-level", "loud" })
    refused("--log-format=xml xml: expected one of text, json", { "serve", "--log-format=xml" })
    refused("--bucket : expected a text", { "serve", "--bucket", "" })
    refused("--reload=perhaps perhaps: expected 1 or 0", { "serve", "--reload=perhaps" })
    assert.is_false(parse({ "serve", "--reload=no" }).reload)
    assert.is_true(parse({ "serve", "--reload=TRUE" }).reload)
    assert.equal(0.5, parse({ "serve", "--keep-alive", "0.5" }).keep_alive)
  end)

  it("takes no value that the machine underneath cannot hold", function()
    for _, name in ipairs({ "head-timeout", "body-timeout", "keep-alive", "drain-timeout",
      "reconcile-seconds", "script-slice" }) do
      for _, text in ipairs({ "1e300", "1e999", "-1", "nan", "inf" }) do
        local value, message = parse({ "serve", "--" .. name, text })
        assert.is_nil(value, name .. " " .. text)
        assert.truthy(message:find("expected a number from", 1, true))
      end
    end
    for _, name in ipairs({ "max-body", "max-head", "max-connections", "queue-limit",
      "lua-memory" }) do
      for _, text in ipairs({ "9223372036854775807", "-9223372036854775808", "1e18", "0" }) do
        local value, message = parse({ "serve", "--" .. name, text })
        assert.is_nil(value, name .. " " .. text)
        assert.truthy(message:find("expected a whole number from", 1, true))
      end
    end
  end)
end)

describe("the environment", function()
  it("gives what the command line does not", function()
    local env = { ANOMALYD_PORT = "81", ANOMALYD_LOG_LEVEL = "debug", BUCKET_NAME = "b",
      ANOMALYD_RELOAD = "1", ANOMALYD_INSECURE_SNS = "", ANOMALYD_HEAD_TIMEOUT = "2.5" }
    local given = parse({ "serve", "--port", "82" }, env)
    assert.equal(82, given.port)
    assert.equal("debug", given.log_level)
    assert.equal("b", given.bucket)
    assert.equal(2.5, given.head_timeout)
    assert.is_true(given.reload)
    assert.is_false(given.insecure_sns)
    assert.equal("command line", given.sources.port)
    assert.equal("BUCKET_NAME", given.sources.bucket)
    assert.equal("default", given.sources.host)
  end)

  it("is checked as the command line is", function()
    refused("ANOMALYD_PORT=x: expected a whole number from 0 to 65535", { "serve" },
      { ANOMALYD_PORT = "x" })
    refused("ANOMALYD_RELOAD=maybe: expected 1 or 0", { "serve" }, { ANOMALYD_RELOAD = "maybe" })
    assert.equal(8000, parse({ "serve" }, { ANOMALYD_PORT = "" }).port)
  end)

  it("is not asked for what only a line can say", function()
    local asked = {}
    options.parse({ "score", "x" }, function(name) asked[name] = true end)
    assert.is_nil(asked.ANOMALYD_BASELINE)
    assert.is_true(asked.ANOMALYD_SCRIPTS)
  end)
end)

describe("the help", function()
  it("lists every option with its default and its variable", function()
    local text = options.help("serve")
    assert.truthy(text:find("--port N", 1, true))
    assert.truthy(text:find("(default: 8000) [ANOMALYD_PORT]", 1, true))
    assert.truthy(text:find("[BUCKET_NAME or ANOMALYD_BUCKET]", 1, true))
    assert.truthy(options.help("repl"):find("\n  -e TEXT", 1, true))
    assert.is_nil(options.help("repl"):find("--serve", 1, true))
    for _, name in ipairs({ "serve", "repl", "score", "check" }) do
      assert.truthy(options.help():find("anomalyd " .. name, 1, true))
    end
  end)
end)
