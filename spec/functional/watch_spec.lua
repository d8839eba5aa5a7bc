local program = require("program")
local socket = require("socket")

describe("watch", function()
  local root, w

  local function sh(command)
    assert(os.execute("cd '" .. root .. "' || exit 1; " .. command))
  end

  --- What is told, each line once and sorted, until it is quiet and all of `wanted` was told (or
  -- the program has ended). Temporary names of tools are left out.
  local function told(wanted)
    local seen, lines, open = {}, {}, {}
    for _, line in ipairs(wanted or {}) do open[line] = true end
    for line in function() return w:line() end do
      if line == "quiet" then
        if not next(open) then break end
      elseif not seen[line] and not line:match("sed[%w]+$") then
        lines[#lines + 1] = line
      end
      seen[line] = true
      open[line] = nil
    end
    table.sort(lines)
    return lines
  end

  --- Exactly these lines are told.
  local function expect(lines)
    assert.same(lines, told(lines))
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
    expect { "written old/deep/a", "written old/two", "written one" }
    local begun = socket.gettime()
    sh("(echo 1; sleep 0.4; echo 2) > slow & sleep 0.1; chmod 600 one; cat one > /dev/null")
    expect { "written slow" }
    assert.is_true(socket.gettime() - begun > 0.4)
  end)

  it("tells what editors do: rename over, sed -i, delete and write anew", function()
    sh("echo 1 > f")
    expect { "written f" }
    sh("echo 2 > .f.tmp && mv .f.tmp f")
    expect { "removed .f.tmp", "written .f.tmp", "written f" }
    sh("sed -i s/2/3/ f")
    expect { "written f" }
    sh("rm f && echo 4 > f")
    expect { "removed f", "written f" }
  end)

  it("tells names that are linked into place", function()
    sh("echo 1 > .t")
    expect { "written .t" }
    sh("ln .t hard && rm .t && ln -s hard soft")
    expect { "removed .t", "written hard", "written soft" }
  end)

  it("watches directories that appear, and misses nothing in them", function()
    sh("mkdir -p n/m/o && echo 1 > n/m/o/f && echo 1 > n/g")
    local names = {}
    repeat
      for _, line in ipairs(told()) do names[line:match("^%w+ (.*)")] = true end
    until names["n/g"]
    assert.same({ ["n/m/o/f"] = true, ["n/g"] = true }, names)
    sh("echo 2 > n/m/o/f")
    expect { "written n/m/o/f" }
    sh("for i in $(seq 200); do mkdir -p d$i/e && echo x > d$i/e/f; done")
    sh("echo > end")
    local missing = 0
    names = {}
    for _, line in ipairs(told { "written end" }) do names[line:match("^%w+ (.*)")] = true end
    for i = 1, 200 do
      if not names["d" .. i .. "/e/f"] then missing = missing + 1 end
    end
    assert.equal(0, missing)
  end)

  it("follows a directory that is renamed, and forgets one that is gone", function()
    sh("mv old new")
    expect { "found new/deep/a", "removed old/" }
    sh("echo 2 > new/deep/a")
    expect { "written new/deep/a" }
    sh("rm -r new")
    expect { "removed new/", "removed new/deep/", "removed new/deep/a" }
    sh("mkdir new && echo 1 > new/b")
    assert.equal("new/b", told()[1]:match("^%w+ (.*)"))
    sh("mv new '" .. root .. ".away' && echo 1 > '" .. root .. ".away/c' && echo 1 > z")
    expect { "removed new/", "written z" }
  end)

  it("does not follow links to directories", function()
    sh("mkdir -p in/x && ln -s /usr/share loop && echo > end")
    expect { "written end", "written loop" }
    sh("ln -s .. in/x/up")
    expect { "written in/x/up" }
  end)

  it("begins anew when the root is deleted and comes back", function()
    sh("rm -r '" .. root .. "'")
    local lines = told { "rescan " }
    assert.equal("rescan ", lines[#lines])
    assert(os.execute("mkdir -p '" .. root .. "/sub' && echo 1 > '" .. root .. "/sub/f'"))
    expect { "rescan " }
    sh("echo 2 > sub/f")
    expect { "written sub/f" }
  end)

  it("notices that another directory stands in the root's place", function()
    w:close(true)
    assert(os.execute(("mkdir '%s.away' && ln -s '%s.away' '%s/now'"):format(root, root, root)))
    local outer = root
    root = outer .. "/now"
    assert.equal("ready 1", start())
    assert(os.execute(("ln -sfn '%s/old' '%s/now'"):format(outer, outer)))
    expect { "rescan " }
    sh("echo 1 > f")
    expect { "written f" }
    root = outer
  end)

  it("asks for a rescan when events were lost", function()
    w:signal("STOP")
    sh("seq 9000 | xargs touch")
    w:signal("CONT")
    local lines = told { "rescan " }
    assert.equal("rescan ", lines[1])
    sh("echo 1 > old/deep/after")
    expect { "written old/deep/after" }
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
