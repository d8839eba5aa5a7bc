std = "lua54"
max_line_length = 100
codes = true
files["spec"] = { std = "+busted" }
-- These two set up what the host's Lua has beyond a stock one.
files["lua/boot.lua"] = { globals = { "arg" } }
files["lua/coro.lua"] = { globals = { "coroutine.resume", "coroutine.wrap" } }
