local console_place = require("console_place")

describe("console_place", function()
  it("looks into the user's runtime directory, then /run, then /tmp", function()
    local env = { XDG_RUNTIME_DIR = "/run/user/7" }
    assert.same({ "/run/user/7/anomalyd/console.sock", "/run/anomalyd/console.sock",
      "/tmp/anomalyd-7/console.sock" },
      console_place.list(function(name) return env[name] end, 7))
    assert.same({ "/run/anomalyd/console.sock", "/tmp/anomalyd-0/console.sock" },
      console_place.list(function() return nil end, 0))
  end)
end)
