local program = require("program")
local socket = require("socket")

describe("watch", function()
  local root, w

  local function sh(command)
    assert(os.execute("cd '" .. root .. "' || exit 1; " .. command))
  end

  --- What is told until it is quiet, each line once, sorted; temporary names of tools left out.
  local function told()
    local seen, lines = {}, {}
    for line in function() return w:line() end do
      if line == "quiet" then break end
      if not seen[line] and not line:match("sed[%w]+$") then lines[#lines + 1] = line end
      seen[line] = true
    end
    table.sort(lines)
    return lines
  end

  local function start()
    w = program.start(program.built("watch_driver") .. " '" .. root .. "'")
    return w:line()
  end

  before_each(function()
    root = os.tmpname()
    os.remove(root)
    assert(os.execute("mkdir -p '" .. root .. "/old/deep' && touch '" .. root .. "/old/deep/a'"))
    assert.equal("ready 3", start())
  end)

  after_each(function()
    w:close(true)
    os.execute("rm -rf '" .. root .. "' '" .. root .. ".away'")
  end)

  it("tells what is written, in every directory, once it is closed", function()
    sh("echo 1 > one; echo 2 > old/two; echo 3 >> old/deep/a")
    assert.same({ "written old/deep/a", "written old/two", "written one" }, told())
    sh("(echo 1; sleep 0.3; echo 2) > slow & sleep 0.15; chmod 600 one; cat one > /dev/null")
    assert.same({ "written slow" }, told())
  end)

  it("tells what editors do: rename over, sed -i, delete and write anew", function()
    sh("echo 1 > f")
    told()
    sh("echo 2 > .f.tmp && mv .f.tmp f")
    assert.same({ "removed .f.tmp", "written .f.tmp", "written f" }, told())
    sh("sed -i s/2/3/ f")
    assert.same({ "written f" }, told())
    sh("rm f && echo 4 > f")
    assert.same({ "removed f", "written f" }, told())
  end)

  it("tells names that are linked into place", function()
    sh("echo 1 > .t")
    told()
    sh("ln .t hard && rm .t && ln -s hard soft")
    assert.same({ "removed .t", "written hard", "written soft" }, told())
  end)

  it("watches directories that appear, and misses nothing in them", function()
    sh("mkdir -p n/m/o && echo 1 > n/m/o/f && echo 1 > n/g")
    local names = {}
    for _, line in ipairs(told()) do names[line:match("^%w+ (.*)")] = true end
    assert.same({ ["n/m/o/f"] = true, ["n/g"] = true }, names)
    sh("echo 2 > n/m/o/f")
    assert.same({ "written n/m/o/f" }, told())
    sh("for i in $(seq 200); do mkdir -p d$i/e && echo x > d$i/e/f; done")
    local missing = 0
    names = {}
    for _, line in ipairs(told()) do names[line:match("^%w+ (.*)")] = true end
    for i = 1, 200 do
      if not names["d" .. i .. "/e/f"] then missing = missing + 1 end
    end
    assert.equal(0, missing)
  end)

  it("follows a directory that is renamed, and forgets one that is gone", function()
    sh("mv old new")
    assert.same({ "found new/deep/a", "removed old/" }, told())
    sh("echo 2 > new/deep/a")
    assert.same({ "written new/deep/a" }, told())
    sh("rm -r new")
    assert.same({ "removed new/", "removed new/deep/", "removed new/deep/a" }, told())
    sh("mkdir new && echo 1 > new/b")
    assert.equal("new/b", told()[1]:match("^%w+ (.*)"))
    sh("mv new '" .. root .. ".away' && echo 1 > '" .. root .. ".away/c' && echo 1 > z")
    assert.same({ "removed new/", "written z" }, told())
  end)

  it("does not follow links to directories", function()
    sh("ln -s /usr/share loop && mkdir -p in/x && ln -s ../in in/x/up")
    assert.same({ "found in/x/up", "written loop" }, (function()
      local lines = told()
      for i, line in ipairs(lines) do
        if line == "written in/x/up" then lines[i] = "found in/x/up" end
      end
      table.sort(lines)
      return lines
    end)())
  end)

  it("begins anew when the root is deleted and comes back", function()
    sh("rm -r '" .. root .. "'")
    local lines = told()
    assert.equal("rescan ", lines[#lines])
    assert(os.execute("mkdir -p '" .. root .. "/sub' && echo 1 > '" .. root .. "/sub/f'"))
    assert.same({ "rescan " }, told())
    sh("echo 2 > sub/f")
    assert.same({ "written sub/f" }, told())
  end)

  it("notices that another directory stands in the root's place", function()
    w:close(true)
    assert(os.execute(("mkdir '%s.away' && ln -s '%s.away' '%s/now'"):format(root, root, root)))
    local outer = root
    root = outer .. "/now"
    assert.equal("ready 1", start())
    assert(os.execute(("ln -sfn '%s/old' '%s/now'"):format(outer, outer)))
    assert.same({ "rescan " }, told())
    sh("echo 1 > f")
    assert.same({ "written f" }, told())
    root = outer
  end)

  it("asks for a rescan when events were lost", function()
    w:signal("STOP")
    sh("python3 -c 'for i in range(9000): open(str(i), \"w\").close()'")
    w:signal("CONT")
    local lines = told()
    assert.equal("rescan ", lines[1])
    sh("echo 1 > old/deep/after")
    assert.same({ "written old/deep/after" }, told())
  end)

  it("does not wait for quiet for ever", function()
    local begun = socket.gettime()
    sh("(for i in $(seq 100); do echo $i > busy; sleep 0.02; done; echo > done) &")
    assert.same({ "written busy" }, told())
    assert.is_true(socket.gettime() - begun < 1.5)
    repeat until table.concat(told(), " "):find("written done", 1, true)
  end)

  it("says what is wrong with a root", function()
    w:close(true)
    local file = os.tmpname()
    local outer = root
    root = file
    assert.equal("NotDirectory: " .. file .. " is not a directory", start())
    w:close(true)
    os.remove(file)
    assert.equal("NotFound: the directory " .. file .. " is not there; make it", start())
    root = outer
  end)
end)
