-- suites: what `make test` runs, and the sum of it.
--
--     lua5.4 spec/suites.lua unit host functional
--
--   unit         the unit specs in a stock lua5.4, with the modules in build/lua/
--   host         the same specs and those of spec/host inside build/anomalyd, modules linked in
--   functional   specs that start the real program
--
-- Each suite is a process of its own. The numbers are busted's; a suite that ends without
-- reporting any (a crash, a hang) counts as one failure. The last line is "N passed, N failed",
-- with ", N skipped" for pending specs, and is also left in build/test/total.
local build = os.getenv("ANOMALYD_BUILD") or "build"
local lua = os.getenv("LUA") or "lua5.4"
local program = build .. "/anomalyd"
-- Functional specs run in a Lua and on modules without sanitizers; what they start has them.
local plain_build = os.getenv("ANOMALYD_PLAIN_BUILD") or build
local plain_lua = os.getenv("ANOMALYD_PLAIN_LUA") or lua
local seconds = tonumber(os.getenv("ANOMALYD_SUITE_SECONDS")) or 600

local commands = {
  unit = lua .. " spec/runner.lua spec/unit",
  host = program .. " -l spec/runner.lua spec/unit spec/host",
  functional = string.format("env LUA='%s' ANOMALYD_BUILD=%s ANOMALYD_PROGRAM=%s %s %s", plain_lua,
    plain_build, program, plain_lua, "spec/runner.lua spec/functional"),
}

local function read_counts(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local numbers = { file:read("n", "n", "n", "n") }
  file:close()
  if #numbers < 4 then return nil end
  return { passed = numbers[1], failed = numbers[2] + numbers[3], skipped = numbers[4] }
end

local function line_of(counts)
  local line = string.format("%d passed, %d failed", counts.passed, counts.failed)
  if counts.skipped > 0 then line = line .. string.format(", %d skipped", counts.skipped) end
  return line
end

local function run_suite(name)
  local path = build .. "/test/" .. name .. ".counts"
  os.remove(path)
  print("== " .. name .. ": " .. commands[name])
  local clean, how, code = os.execute(string.format(
    "ANOMALYD_COUNTS='%s' timeout --foreground -k 10 %d %s </dev/null", path, seconds,
    commands[name]))
  local counts = read_counts(path)
  if not counts then
    print(string.format("%s: ended without a result (%s %d)", name, how, code))
    return { passed = 0, failed = 1, skipped = 0 }
  end
  if not clean and counts.failed == 0 then
    print(string.format("%s: failed after its specs (%s %d)", name, how, code))
    counts.failed = 1
  end
  print(name .. ": " .. line_of(counts))
  return counts
end

os.execute("mkdir -p '" .. build .. "/test'")
io.stdout:setvbuf("line")
local total = { passed = 0, failed = 0, skipped = 0 }
for _, name in ipairs(arg) do
  if not commands[name] then
    io.stderr:write("spec/suites.lua: no suite '", name, "'\n")
    os.exit(2)
  end
  local counts = run_suite(name)
  for key, number in pairs(counts) do total[key] = total[key] + number end
end

local file = assert(io.open(build .. "/test/total", "w"))
assert(file:write(line_of(total), "\n"))
assert(file:close())
print("\n" .. line_of(total))
os.exit(total.failed == 0 and total.passed > 0)
