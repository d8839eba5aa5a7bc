-- A step of the build: compile the Lua files that are read from standard input as lines of
-- md5sum, and write them to the file `arg[1]` for compiled.c: for each the MD5 of its text (32
-- hexadecimal digits), the length of its binary chunk (8 decimal digits) and the chunk. Debugging
-- information is kept, for tracebacks. The first one is the probe: see compiled.h.
local out = assert(io.open(arg[1], "wb"))

local function write(mark, code)
  assert(out:write(("%s%8d"):format(mark, #code), code))
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

write(("0"):rep(32), string.dump(assert(load(read("lua/coro.lua"), "=probe")), true))
for line in io.lines() do
  local mark, path = line:match("^(%x+)  (.+)$")
  write(mark, string.dump(assert(load(read(path), "@" .. path))))
end
assert(out:close())
