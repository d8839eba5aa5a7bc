-- `anomalyd config`: what the service would run with, and where each value comes from.
local daemon = require("daemon")

--- Value and source of a setting in what was printed.
local function setting(text, name)
  local value, source = ("\n" .. text):match("\n" .. name:gsub("%-", "%%-") .. "  +(.-)  +([^\n]+)")
  return { value, source }
end

describe("anomalyd config", function()
  it("prints each value with its source, the command line before the environment", function()
    local code, out, err = daemon.run("config --port=9001 --max-body 4096", nil,
      "BUCKET_NAME=bk ANOMALYD_PORT=9000 ANOMALYD_KEEP_ALIVE=7.5 ANOMALYD_RELOAD=1 "
      .. "AWS_REGION= AWS_DEFAULT_REGION=eu-west-3 AWS_ENDPOINT_URL=http://127.0.0.1:9")
    assert.equal(0, code)
    assert.same({ "9001", "command line" }, setting(out, "port"))
    assert.same({ "4096", "command line" }, setting(out, "max-body"))
    assert.same({ "7.5", "ANOMALYD_KEEP_ALIVE" }, setting(out, "keep-alive"))
    assert.same({ "yes", "ANOMALYD_RELOAD" }, setting(out, "reload"))
    assert.same({ "bk (S3)", "BUCKET_NAME" }, setting(out, "bucket"))
    assert.same({ "0.0.0.0", "default" }, setting(out, "host"))
    assert.same({ "eu-west-3", "AWS_DEFAULT_REGION" }, setting(out, "aws region"))
    assert.same({ "http://127.0.0.1:9", "AWS_ENDPOINT_URL" }, setting(out, "aws endpoint"))
    assert.falsy(err:find("ANOMALYD_PORT"))
  end)

  it("lists every option of serve", function()
    local _, help = daemon.run("serve --help")
    local _, out = daemon.run("config --bucket ./b")
    local count = 0
    for name in help:gmatch("\n  %-%-([%w-]+)") do
      assert.truthy(setting(out, name)[1], name)
      count = count + 1
    end
    assert.is_true(count > 20)
    assert.same({ "./b (a directory)", "command line" }, setting(out, "bucket"))
    assert.falsy(out:find("aws region", 1, true))
  end)

  it("shows no secret", function()
    local _, out, err = daemon.run("config --bucket bk", nil,
      "AWS_ACCESS_KEY_ID=AKIDSECRET AWS_SECRET_ACCESS_KEY=TOPSECRET AWS_SESSION_TOKEN=TOKSECRET")
    assert.falsy((out .. err):find("SECRET"))
  end)

  it("refuses a wrong value with the right ones", function()
    local cases = {
      ["ANOMALYD_LOG_LEVEL=wraning"] = "expected one of debug, info, warning, error, critical; "
        .. "did you mean warning?",
      ["ANOMALYD_PORT=80000"] = "expected a whole number from 0 to 65535",
      ["ANOMALYD_RELOAD=perhaps"] = "expected 1 or 0",
    }
    for env, message in pairs(cases) do
      for _, command in ipairs({ "config", "serve" }) do
        local code, _, err = daemon.run(command .. " --bucket bk", nil, env)
        assert.equal(2, code)
        assert.equal("anomalyd: " .. env .. ": " .. message .. "\n", err)
      end
    end
    local code, _, err = daemon.run("config")
    assert.equal(2, code)
    assert.truthy(err:find("set BUCKET_NAME or --bucket", 1, true))
  end)

  it("warns of a variable that is no setting, with the nearest one", function()
    local _, _, err = daemon.run("config --bucket bk", nil, "ANOMALYD_CONSOL=x ANOMALYD_QUUX=1")
    assert.truthy(err:find("ANOMALYD_CONSOL is no setting; did you mean ANOMALYD_CONSOLE?", 1,
      true))
    assert.truthy(err:find("ANOMALYD_QUUX is no setting (see anomalyd serve --help)", 1, true))
    local s = daemon.start({ env = "ANOMALYD_DRAIN_TIMOUT=1" })
    assert.truthy(s:log():find("did you mean ANOMALYD_DRAIN_TIMEOUT?", 1, true))
    s:remove()
  end)

  it("takes the bucket from ANOMALYD_BUCKET, as any option's name, before BUCKET_NAME", function()
    local _, out = daemon.run("config", nil, "ANOMALYD_BUCKET=one BUCKET_NAME=two")
    assert.same({ "one (S3)", "ANOMALYD_BUCKET" }, setting(out, "bucket"))
  end)
end)
