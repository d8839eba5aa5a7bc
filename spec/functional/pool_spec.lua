-- The worker pool, by a C program that submits jobs to it.
local program = require("program")

describe("the worker pool", function()
  it("does every part of every job once, on any number of threads", function()
    local path = program.built("pool_check")
    local file = io.open(path, "rb")
    if not file then return pending("make spec-programs builds what this needs") end
    file:close()
    local pipe = assert(io.popen("timeout 60 " .. path .. " 2>&1"))
    local said = pipe:read("a")
    pipe:close()
    assert.equal("fine\n", said)
  end)
end)
