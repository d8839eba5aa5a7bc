-- The worker pool, by a C program that submits jobs to it.
local files = require("files")
local program = require("program")

describe("the worker pool", function()
  it("does every part of every job once, on any number of threads", function()
    local path = program.built("pool_check")
    if not files.exists(path) then return pending("make spec-programs builds what this needs") end
    assert.equal("fine\n", (files.output("timeout 60 " .. path)))
  end)
end)
