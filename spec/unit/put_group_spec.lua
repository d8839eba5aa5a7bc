-- Small puts of many tasks, gathered into groups.
local put_group = require "put_group"

-- Tasks of our own: each runs until it waits, and goes on when run() comes round. pause() raises in
-- a task that was cancelled, as a wait does.
local function scheduler()
  local ready, task, cancelled = {}, {}, {}
  function task.spawn(fn, ...)
    local arguments = table.pack(...)
    ready[#ready + 1] = coroutine.create(function() fn(table.unpack(arguments)) end)
  end
  function task.signal()
    local signal, waiting = {}, {}
    function signal.wait()
      waiting[#waiting + 1] = coroutine.running()
      coroutine.yield()
    end
    function signal.fire()
      for _, waiter in ipairs(waiting) do ready[#ready + 1] = waiter end
      waiting = {}
    end
    return signal
  end
  local function run()
    while #ready > 0 do assert(coroutine.resume(table.remove(ready, 1))) end
  end
  local function pause()
    local this = coroutine.running()
    if not cancelled[this] then
      ready[#ready + 1] = this
      coroutine.yield()
    end
    if cancelled[this] then error("the task was cancelled", 0) end
  end
  local function cancel(one) cancelled[one] = true end
  return task, run, pause, cancel
end

describe("put_group", function()
  local task, run, pause, cancel, writer, groups, singles, put

  before_each(function()
    task, run, pause, cancel = scheduler()
    groups, singles, writer = {}, {}, nil
    local bucket = {}
    function bucket.put(_, key, body)
      if type(key) ~= "string" then error("bad key", 0) end
      singles[#singles + 1] = key
      pause()
      return { etag = "single " .. body }
    end
    function bucket.put_all(_, puts)
      local group, results = {}, {}
      for i, one in ipairs(puts) do
        if type(one.key) ~= "string" then error("bad key", 0) end
        group[i] = one.key
        results[i] = one.key == "fails" and { message = "no", code = "NoSpace" }
          or { etag = "group " .. one.body }
      end
      groups[#groups + 1] = group
      writer = coroutine.running()
      pause()
      return results, 0
    end
    put = put_group.of(bucket, task)
  end)

  it("writes a put alone at once, and gathers while it is written", function()
    local answers = {}
    for i = 1, 5 do
      task.spawn(function() answers[i] = put("k" .. i, tostring(i)).etag end)
      if i == 1 then
        task.spawn(function() pause() end)
      end
    end
    run()
    assert.same({ "group 1", "group 2", "group 3", "group 4", "group 5" }, answers)
    local sum = 0
    for _, group in ipairs(groups) do sum = sum + #group end
    assert.equal(5, sum)
    assert.is_true(#groups < 5)
    task.spawn(function() put("alone", "") end)
    run()
    assert.same({ "alone" }, groups[#groups])
  end)

  it("takes no more than 128 together, in their order", function()
    local done = 0
    for i = 1, 300 do
      task.spawn(function()
        if put("k" .. i, "") then done = done + 1 end
      end)
    end
    run()
    assert.equal(300, done)
    local order = {}
    for _, group in ipairs(groups) do
      assert.is_true(#group <= 128)
      table.move(group, 1, #group, #order + 1, order)
    end
    for i = 1, 300 do assert.equal("k" .. i, order[i]) end
  end)

  it("tells each task of its own failure", function()
    local good, result, message, code
    task.spawn(function() good = put("good", "") end)
    task.spawn(function() result, message, code = put("fails", "") end)
    run()
    assert.equal("group ", good.etag)
    assert.is_nil(result)
    assert.equal("no", message)
    assert.equal("NoSpace", code)
  end)

  it("raises in the task whose call was wrong, and only there", function()
    local good, ok, message
    task.spawn(function() ok, message = pcall(put, {}, "") end)
    task.spawn(function() good = put("good", "x") end)
    run()
    assert.is_false(ok)
    assert.matches("bad key", message)
    assert.equal("single x", good.etag)
  end)

  it("leaves nobody waiting when the task that writes is cancelled or fails", function()
    local answers, ended = {}, 0
    local function start(n)
      task.spawn(function()
        local ok, result = pcall(put, "k" .. n, tostring(n))
        ended = ended + 1
        answers[n] = ok and result.etag
      end)
    end
    for i = 1, 3 do start(i) end
    -- While the first group is in its hands and others wait.
    task.spawn(function()
      while not writer do pause() end
      for i = 4, 200 do start(i) end
      cancel(writer)
    end)
    run()
    assert.equal(200, ended)
    for i = 1, 3 do assert.equal("single " .. i, answers[i]) end
    for i = 4, 200 do assert.matches(" " .. i .. "$", answers[i]) end
    start(201)
    run()
    assert.equal("group 201", answers[201])
  end)

  it("leaves nobody waiting when no task can be had", function()
    local spawn, ok, answer = task.spawn, nil, nil
    spawn(function()
      task.spawn = function() error("not enough memory", 0) end
      ok = pcall(put, "a", "1")
      task.spawn = spawn
      answer = put("b", "2")
    end)
    run()
    assert.is_false(ok)
    assert.equal("group 2", answer.etag)
  end)

  it("lets replacements, metadata and large bodies go their own way", function()
    task.spawn(function()
      put("a", "", { if_match = "x" })
      put("c", "", { metadata = { a = "b" } })
      put("d", ("x"):rep(1024 * 1024 + 1))
      put("e", "", { content_type = "text/csv" })
      put("f", "", { if_none_match = "*" })
    end)
    run()
    assert.same({ "a", "c", "d" }, singles)
    assert.same({ { "e" }, { "f" } }, groups)
  end)
end)
