--- coro (kernel): coroutines made by scripts may wait too.
--
-- A wait yields the task's coroutine with a private first value. When it happens inside a coroutine
-- that a script made itself, that yield lands in the script's resume, which must hand it outward
-- and later carry the wake-up inward. These replacements of coroutine.resume and coroutine.wrap do
-- so; everything else about coroutines is as in stock Lua.
local sentinel = require("host").sentinel

local create, resume, yield, close = coroutine.create, coroutine.resume, coroutine.yield,
  coroutine.close

local function carry(co, ok, first, ...)
  if ok and rawequal(first, sentinel) then
    yield(sentinel)
    return carry(co, resume(co))
  end
  return ok, first, ...
end

local function results(co, ok, first, ...)
  if ok then return first, ... end
  close(co)
  if type(first) == "string" then error(first, 3) end
  error(first, 0)
end

function coroutine.resume(co, ...)
  return carry(co, resume(co, ...))
end

function coroutine.wrap(fn)
  local co = create(fn)
  return function(...)
    return results(co, carry(co, resume(co, ...)))
  end
end

return coroutine
