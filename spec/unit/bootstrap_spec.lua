-- scripts/bootstrap.sh, with a dpkg-query, an apt-get, an id and a sudo that only take notes.
local files = require("files")

local function write(path, text)
  files.write(path, text)
  assert(os.execute("chmod +x '" .. path .. "'"))
end

local RUN = "gcc libc6-dev make pkgconf lua5.4 liblua5.4-dev lua-cjson libevent-dev " ..
  "libcurl4-openssl-dev libssl-dev libexpat1-dev libedit-dev"

describe("bootstrap", function()
  local dir

  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir -p '" .. dir .. "/bin'"))
    for _, name in ipairs { "sh", "tr", "sed", "mktemp", "rm", "cat", "env", "grep" } do
      assert(os.execute("ln -s \"$(command -v " .. name .. ")\" '" .. dir .. "/bin/'"))
    end
    -- What is installed stands in a file; apt-get install adds to it.
    write(dir .. "/bin/dpkg-query", "#!/bin/sh\nshift 3\nfor p; do\n  grep -qx \"$p\" " .. dir ..
      "/installed && printf 'installed=%s ' \"$p\"\ndone\nexit 1\n")
    write(dir .. "/bin/apt-get", "#!/bin/sh\necho \"$DEBIAN_FRONTEND: $*\" >>" .. dir .. "/apt\n" ..
      "[ ! -e " .. dir .. "/broken ] || exit 100\nfor word; do echo \"$word\"; done >>" ..
      dir .. "/installed\n")
    write(dir .. "/bin/id", "#!/bin/sh\necho 0\n")
  end)

  after_each(function()
    os.execute("rm -rf '" .. dir .. "'")
  end)

  local function installed(names)
    write(dir .. "/installed", (names:gsub("%s+", "\n")) .. "\n")
  end

  local function bootstrap(groups)
    local output, _, code = files.output("PATH='" .. dir .. "/bin' /bin/sh scripts/bootstrap.sh " ..
      groups .. " </dev/null")
    return code, output, files.read(dir .. "/apt") or ""
  end

  it("does and says nothing when all is there", function()
    installed(RUN)
    local code, output, apt = bootstrap("run")
    assert.same({ 0, "", "" }, { code, output, apt })
  end)

  it("is content with another package that serves as well", function()
    installed((RUN:gsub("libcurl4%-openssl%-dev", "libcurl4-gnutls-dev")
      :gsub("pkgconf", "pkg-config")))
    local code, output, apt = bootstrap("run")
    assert.same({ 0, "", "" }, { code, output, apt })
  end)

  it("installs what is missing, and only that, after one update of the lists", function()
    installed((RUN:gsub("lua%-cjson libevent%-dev ", "")))
    local code, output, apt = bootstrap("run")
    assert.equal(0, code, output)
    assert.equal("bootstrap: installing with apt: lua-cjson libevent-dev\n", output)
    local update, install, rest = apt:match("^([^\n]*)\n([^\n]*)\n(.*)$")
    assert.matches("^noninteractive: .* update$", update)
    assert.matches(" install %-%-no%-install%-recommends lua%-cjson libevent%-dev$", install)
    assert.equal("", rest)
  end)

  it("takes several groups, and refuses one that is none", function()
    installed(RUN)
    local code, output = bootstrap("run test")
    assert.equal(0, code)
    assert.matches("apt: lua%-busted ", output)
    code, output = bootstrap("nonsense")
    assert.equal(1, code)
    assert.equal("bootstrap: no group 'nonsense': it is run, test, check or deb\n", output)
  end)

  it("names the packages where there is no apt", function()
    installed("gcc")
    os.remove(dir .. "/bin/apt-get")
    local code, output = bootstrap("run")
    assert.equal(1, code)
    assert.matches("^bootstrap: this machine has no apt%-get; [^\n]*libevent%-dev[^\n]*\n$", output)
    os.remove(dir .. "/bin/dpkg-query")
    code, output = bootstrap("run")
    assert.equal(1, code)
    assert.matches("^bootstrap: [^\n]*: gcc [^\n]*libevent%-dev[^\n|]*\n$", output)
  end)

  it("asks sudo when it is not root, and says so when there is none", function()
    installed((RUN:gsub("libevent%-dev ", "")))
    write(dir .. "/bin/id", "#!/bin/sh\necho 1000\n")
    local code, output, apt = bootstrap("run")
    assert.same({ 1, "bootstrap: neither root nor sudo here; as root: apt-get install " ..
      "libevent-dev\n", "" }, { code, output, apt })
    write(dir .. "/bin/sudo", "#!/bin/sh\necho \"sudo $1\" >>" .. dir ..
      "/apt\n[ \"$1\" = -n ] && shift\nexec \"$@\"\n")
    code, output, apt = bootstrap("run")
    assert.equal(0, code, output)
    assert.matches("^sudo %-n\nnoninteractive: [^\n]* update\n" ..
      "sudo %-n\nnoninteractive: [^\n]* libevent%-dev\n$", apt)
  end)

  it("fails with the packages' names when apt fails", function()
    installed((RUN:gsub("libevent%-dev ", "")))
    write(dir .. "/broken", "")
    local code, output = bootstrap("run")
    assert.equal(1, code)
    assert.matches("bootstrap: apt could not install: libevent%-dev\n$", output)
  end)
end)
