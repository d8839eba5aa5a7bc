-- The C modules when Lua's memory runs out in the middle of a call.
local files = require("files")

describe("a C module whose memory runs out", function()
  it("raises, leaks nothing and goes on", function()
    local build = os.getenv("ANOMALYD_BUILD") or "build"
    local torture = build .. "/spec/torture"
    if not files.exists(torture) then
      return pending(torture .. " is not built: make spec-programs")
    end
    local text = files.output(([[
      dir=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
      TORTURE_DIRECTORY=$dir timeout 60 %s '%s/lua/?.so' spec/support/torture_cases.lua
      echo "code $?"
      rm -rf "$dir"]]):format(torture, build))
    assert.truthy(text:find("\ncode 0\n", 1, true), text)
    local failed = 0
    for n in text:gmatch("[^\n]* (%d+)\n") do failed = failed + tonumber(n) end
    assert.is_true(failed > 200, text)
  end)
end)
