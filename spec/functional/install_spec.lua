-- What `make install` leaves below a temporary root: a program that runs from there.
local daemon = require("daemon")
local files = require("files")

local output = files.output

local build = os.getenv("ANOMALYD_BUILD") or "build"

describe("the manual page", function()
  it("names every option of every command as --help does", function()
    local page = daemon.read("scripts/deploy/anomalyd.1"):gsub("\\%-", "-")
    local count = 0
    local _, all = daemon.run("--help")
    for command in all:gmatch("\n  anomalyd (%l+)") do
      -- config takes the options of serve, and is said to.
      local _, help = daemon.run((command == "config" and "serve" or command) .. " --help")
      local first = assert(page:find(".SH OPTIONS OF " .. (command == "config" and "SERVE"
        or command:upper()) .. "\n", 1, true), command)
      local section = page:sub(first, page:find("\n.SH ", first + 1, true))
      for name in help:gmatch("\n  (%-%-?[%w-]+)") do
        count = count + 1
        local pattern = "\n.B " .. name:gsub("%-", "%%-") .. "%f[%s]"
        assert.truthy((section .. " "):find(pattern), command .. " " .. name)
      end
      local _, listed = section:gsub("\n%.B %-", "")
      local _, helped = help:gsub("\n  %-", "")
      assert.equal(helped, listed, command)
    end
    assert.is_true(count > 30)
  end)
end)

describe("bash completion", function()
  local function complete(words)
    local text = output(("bash -c 'PATH=$PWD/%s:$PATH; . scripts/deploy/anomalyd.bash-completion; "
      .. "COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _anomalyd; "
      .. 'echo "${COMPREPLY[@]}"' .. "'"):format(build, words))
    return (text:gsub("\n", ""))
  end

  it("knows commands, options and choices", function()
    assert.equal("serve", complete("anomalyd ser"))
    assert.equal("--drain-timeout", complete("anomalyd serve --drain"))
    assert.equal("warning", complete("anomalyd serve --log-level w"))
    assert.equal("--topic", complete("anomalyd subscribe --to"))
    assert.equal("README.md", complete("anomalyd score READ"))
  end)
end)

describe("make install", function()
  it("leaves a program that runs from a temporary root, and keeps edited scripts", function()
    local root = files.line("mktemp -d")
    local cleanup <close> = setmetatable({}, { -- luacheck: ignore
      __close = function() os.execute("rm -rf " .. root) end })
    -- `-o all`: what is built stays as it is.
    local make = ("env -u MAKELEVEL -u MAKEFLAGS make -s -o all BOOTSTRAP=: BUILD=%s DESTDIR=%s "
      .. "install"):format(build, root)
    local text, ok = output(make)
    assert.is_true(ok, text)
    for _, path in ipairs({ "bin/anomalyd", "share/anomalyd/lua/boot.lua",
      "lib/anomalyd/iforest.so", "etc/anomalyd/scripts/app.lua", "etc/anomalyd/env",
      "share/man/man1/anomalyd.1", "lib/systemd/system/anomalyd.service",
      "share/bash-completion/completions/anomalyd" }) do
      assert.truthy(daemon.read(root .. "/usr/local/" .. path), path)
    end
    local unit = daemon.read(root .. "/usr/local/lib/systemd/system/anomalyd.service")
    assert.truthy(unit:find("\nExecStart=/usr/local/bin/anomalyd serve", 1, true))
    assert.truthy(unit:find("EnvironmentFile=-/usr/local/etc/anomalyd/env", 1, true))
    local program = root .. "/usr/local/bin/anomalyd"
    text, ok = output("cd / && " .. program .. " check")
    assert.is_true(ok, text)
    assert.truthy(text:find("^" .. root .. "/usr/local/etc/anomalyd/scripts: %d+ routes"), text)
    local edited = root .. "/usr/local/etc/anomalyd/scripts/detect.lua"
    daemon.write(edited, daemon.read(edited) .. "-- mine\n")
    text, ok = output(make)
    assert.is_true(ok, text)
    assert.truthy(text:find("was edited", 1, true))
    assert.truthy(daemon.read(edited):find("-- mine", 1, true))
    assert.falsy(daemon.read(edited .. ".new"):find("-- mine", 1, true))
  end)
end)
