-- The directory bucket: a folder that behaves like an S3 bucket.
local directory = require "directory"
local files = require "files"

local output, write = files.line, files.write

local function shell(command)
  return (os.execute(command .. " 2>/dev/null"))
end

local MD5_EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
local MD5_A = "0cc175b9c0f1b6a831c399e269772661"
local MD5_B = "92eb5ffee6ae2fec3ad71c777531578f"

describe("directory", function()
  local root, bucket

  before_each(function()
    root = os.tmpname()
    os.remove(root)
    bucket = assert(directory.open(root, { create = true }))
  end)

  after_each(function()
    bucket:close()
    shell("chmod -R u+rwX " .. root .. "; rm -rf " .. root)
  end)

  local function keys(options)
    local found = {}
    for page in bucket:list(options) do
      for _, object in ipairs(page) do found[#found + 1] = object.key end
    end
    return found
  end

  describe("open", function()
    it("refuses what is no folder, and says so", function()
      local none, message, code = directory.open(root .. "/nothing")
      assert.is_nil(none)
      assert.equal("NoSuchBucket", code)
      assert.matches("nothing", message)
      write(root .. "/file", "")
      assert.equal("NoSuchBucket", select(3, directory.open(root .. "/file")))
    end)

    it("makes the folder, and those above it, when asked to", function()
      local made = assert(directory.open(root .. "/x/y/z/", { create = true }))
      assert.equal("z", made.name)
      assert.equal(output("cd " .. root .. " && pwd -P") .. "/x/y/z", made.path)
      assert.is_true(made:writable())
      made:close()
    end)

    it("takes its name from the path as written, or from where it leads", function()
      assert.is_true(shell("ln -s " .. root .. " " .. root .. "-link"))
      local link = assert(directory.open(root .. "-link"))
      os.remove(root .. "-link")
      assert.equal(root:match("[^/]+$") .. "-link", link.name)
      link:close()
      assert(bucket:put("sub/a", ""))
      local dots = assert(directory.open(root .. "/sub/.."))
      assert.equal(root:match("[^/]+$"), dots.name)
      dots:close()
    end)

    it("writes nothing when opened for reading only", function()
      shell("rm -rf " .. root .. "/.anomalyd")
      write(root .. "/a", "a")
      local reader = assert(directory.open(root, { read_only = true }))
      assert.is_true(reader.read_only)
      assert.equal("a", reader:get("a").body)
      assert.equal("AccessDenied", select(3, reader:put("b", "b")))
      assert.equal("AccessDenied", select(3, reader:delete("a")))
      assert.equal("AccessDenied", select(3, reader:writable()))
      assert.equal("a", output("ls -A " .. root))
      reader:close()
    end)

    it("removes unfinished files of dead processes, and only those", function()
      shell("mkdir " .. root .. "/.anomalyd/tmp/999999-dead")
      write(root .. "/.anomalyd/tmp/999999-dead/0", "half")
      local before = output("ls " .. root .. "/.anomalyd/tmp | wc -l")
      local second = assert(directory.open(root))
      assert.equal("2", before)
      assert.equal("2", output("ls " .. root .. "/.anomalyd/tmp | wc -l"))
      assert.is_false(output("ls " .. root .. "/.anomalyd/tmp"):find("dead") ~= nil)
      second:close()
      assert.equal("1", output("ls " .. root .. "/.anomalyd/tmp | wc -l"))
      assert(bucket:put("a", "a"))
    end)

    it("raises for a wrong call, and after close", function()
      assert.has_error(function() directory.open("") end)
      assert.has_error(function() directory.open({}) end)
      assert.has_error(function() directory.open(root, true) end)
      bucket:close()
      assert.has_error(function() bucket:get("a") end)
      assert.equal("bucket(closed)", tostring(bucket))
    end)
  end)

  describe("put and get", function()
    it("keep every byte, and give ETag, size and time", function()
      local all = {}
      for i = 0, 255 do all[#all + 1] = string.char(i) end
      local body = table.concat(all):rep(1000)
      local put = assert(bucket:put("raw/deep/er/x.bin", body))
      local got = assert(bucket:get("raw/deep/er/x.bin"))
      assert.is_true(got.body == body)
      assert.equal(256000, got.size)
      assert.equal(output("md5sum < " .. root .. "/raw/deep/er/x.bin | cut -c1-32"), got.etag)
      assert.equal(put.etag, got.etag)
      assert.same({}, got.metadata)
      assert.is_true(math.abs(got.last_modified - os.time()) < 10)
      assert.equal("integer", math.type(got.last_modified))
    end)

    it("know the MD5 of nothing, a and b", function()
      assert.equal(MD5_EMPTY, bucket:put("e", "").etag)
      assert.equal(MD5_A, bucket:put("a", "a").etag)
      assert.equal(MD5_B, bucket:put("b", "b").etag)
      assert.equal("", bucket:get("e").body)
      assert.equal(MD5_EMPTY, bucket:head("e").etag)
    end)

    it("replace what is there", function()
      bucket:put("k", "long old content")
      bucket:put("k", "new")
      assert.equal("new", bucket:get("k").body)
    end)

    it("say what is missing or too large", function()
      local got, message, code = bucket:get("no/such")
      assert.is_nil(got)
      assert.equal("NoSuchKey", code)
      assert.matches("no/such", message)
      bucket:put("five", "12345")
      assert.equal("TooLarge", select(3, bucket:get("five", { limit = 4 })))
      assert.equal("12345", bucket:get("five", { limit = 5 }).body)
      assert.equal("NoSuchKey", select(3, bucket:get("five/below")))
      assert.equal("NoSuchKey", select(3, bucket:head("no")))
    end)

    it("leave no unfinished file behind", function()
      bucket:put("a", "a", { metadata = { x = "1" } })
      bucket:put("a", "b", { if_match = "nonsense" })
      bucket:put("a", "b", { if_none_match = "*" })
      assert.equal("", output("find " .. root .. "/.anomalyd/tmp -type f"))
    end)

    it("make a file with the rights of any other new file", function()
      bucket:put("a", "a")
      write(root .. "/plain", "")
      local plain = output("stat -c %a " .. root .. "/plain")
      assert.equal(plain, output("stat -c %a " .. root .. "/a"))
    end)

    it("go on when .anomalyd is removed under a living bucket", function()
      bucket:put("a", "1", { metadata = { m = "1" } })
      shell("rm -rf " .. root .. "/.anomalyd")
      assert.same({}, bucket:get("a").metadata)
      assert(bucket:put("a", "2", { metadata = { m = "2" } }))
      assert.same({ m = "2" }, bucket:get("a").metadata)
    end)

    it("raise for wrong arguments", function()
      assert.has_error(function() bucket:put("a") end)
      assert.has_error(function() bucket:put("a", "b", "c") end)
      assert.has_error(function() bucket:put("a", "b", { if_none_match = "etag" }) end)
      assert.has_error(function() bucket:put("a", "b", { if_match = 5 }) end)
      assert.has_error(function() bucket:put("a", "b", { metadata = "x" }) end)
      assert.has_error(function() bucket:put("a", "b", { metadata = { 1 } }) end)
      assert.has_error(function() bucket:get("a", { limit = -1 }) end)
      assert.has_error(function() bucket:get() end)
    end)
  end)

  describe("conditions", function()
    it("if_none_match puts only what is not there", function()
      assert.equal(MD5_A, bucket:put("k", "a", { if_none_match = "*" }).etag)
      local put, message, code = bucket:put("k", "b", { if_none_match = "*" })
      assert.is_nil(put)
      assert.equal("PreconditionFailed", code)
      assert.matches('"k"', message, 1, true)
      assert.equal("a", bucket:get("k").body)
    end)

    it("if_match replaces only that content, quoted or not", function()
      bucket:put("k", "a")
      assert.equal("PreconditionFailed", select(3, bucket:put("k", "x", { if_match = MD5_B })))
      assert.equal("PreconditionFailed",
        select(3, bucket:put("k", "x", { if_match = MD5_A .. "0" })))
      assert.equal("PreconditionFailed", select(3, bucket:put("k", "x", { if_match = "" })))
      assert.equal("a", bucket:get("k").body)
      assert.equal(MD5_B, bucket:put("k", "b", { if_match = MD5_A }).etag)
      assert(bucket:put("k", "c", { if_match = '"' .. MD5_B .. '"' }))
      assert.equal("c", bucket:get("k").body)
    end)

    it("if_match of a missing object is NoSuchKey", function()
      assert.equal("NoSuchKey", select(3, bucket:put("k", "x", { if_match = MD5_A })))
      assert.equal("NoSuchKey", select(3, bucket:head("k")))
    end)

    it("see a file that was changed by hand", function()
      bucket:put("k", "a")
      write(root .. "/k", "b")
      assert.equal("PreconditionFailed", select(3, bucket:put("k", "x", { if_match = MD5_A })))
      assert(bucket:put("k", "x", { if_match = MD5_B }))
    end)

    it("a failed condition leaves content and metadata", function()
      bucket:put("k", "a", { metadata = { v = "1" } })
      bucket:put("k", "b", { if_match = MD5_B, metadata = { v = "2" } })
      bucket:put("k", "a", { if_none_match = "*", metadata = { v = "3" } })
      assert.same({ v = "1" }, bucket:get("k").metadata)
    end)
  end)

  describe("metadata", function()
    it("comes back with get and head, names in lower case, blanks around values gone", function()
      local ledger = "raw/a.csv raw/b.csv"
      local metadata = { Ledger = " " .. ledger .. " ", ["x-1"] = "", object = MD5_A, key = "end" }
      assert(bucket:put("state/b.json", "a", { metadata = metadata }))
      local expected = { ledger = ledger, ["x-1"] = "", object = MD5_A, key = "end" }
      assert.same(expected, bucket:get("state/b.json").metadata)
      assert.same(expected, bucket:head("state/b.json").metadata)
    end)

    it("is replaced with the content", function()
      bucket:put("k", "a", { metadata = { v = "1" } })
      bucket:put("k", "b", { metadata = { v = "2", w = "x" } })
      assert.same({ v = "2", w = "x" }, bucket:get("k").metadata)
    end)

    it("is replaced when the content stays the same", function()
      bucket:put("k", "a", { metadata = { v = "1" } })
      bucket:put("k", "a", { metadata = { v = "2" }, if_match = MD5_A })
      assert.same({ v = "2" }, bucket:get("k").metadata)
      bucket:put("k", "a")
      assert.same({}, bucket:get("k").metadata)
    end)

    it("does not come back with older content", function()
      bucket:put("k", "a", { metadata = { v = "1" } })
      bucket:put("k", "b")
      assert.same({}, bucket:get("k").metadata)
      bucket:put("k", "a")
      assert.same({}, bucket:get("k").metadata)
      assert.equal("", output("ls " .. root .. "/.anomalyd/meta"))
    end)

    it("goes with the object", function()
      bucket:put("k", "a", { metadata = { v = "1" } })
      assert.is_true(bucket:delete("k"))
      assert.equal("", output("ls " .. root .. "/.anomalyd/meta"))
      bucket:put("k", "a")
      assert.same({}, bucket:get("k").metadata)
    end)

    it("is empty for a file replaced by hand", function()
      bucket:put("k", "a", { metadata = { v = "1" } })
      write(root .. "/k", "by hand")
      assert.same({}, bucket:get("k").metadata)
    end)

    it("stays with the key it was put to", function()
      bucket:put("k/a", "a", { metadata = { v = "1" } })
      bucket:put("k/b", "a")
      assert.same({}, bucket:get("k/b").metadata)
    end)

    it("may have 2048 bytes in all", function()
      local put = { metadata = { n = ("v"):rep(2047) } }
      assert(bucket:put("k", "a", put))
      assert.equal(2047, #bucket:get("k").metadata.n)
      put.metadata.n = ("v"):rep(2048)
      assert.equal("MetadataTooLarge", select(3, bucket:put("k", "b", put)))
      assert.equal("a", bucket:get("k").body)
      local many = {}
      for i = 256, 767 do many[string.format("%03x", i)] = "1" end
      assert(bucket:put("k", "b", { metadata = many }))
      assert(bucket:put("k", "c", { metadata = many }))
      assert.same(many, bucket:get("k").metadata)
    end)

    it("refuses what no header could carry", function()
      local function code(metadata)
        return select(3, bucket:put("k", "a", { metadata = metadata }))
      end
      assert.equal("InvalidMetadata", code { ["a b"] = "1" })
      assert.equal("InvalidMetadata", code { [""] = "1" })
      assert.equal("InvalidMetadata", code { a = "1\n2" })
      assert.equal("InvalidMetadata", code { a = "1\0" })
      assert.equal("InvalidMetadata", code { a = "1", A = "2" })
      assert.equal("InvalidMetadata", code { ["a\0"] = "1" })
      assert.equal("NoSuchKey", select(3, bucket:get("k")))
    end)

    it("that is damaged is said, and mended by a put", function()
      bucket:put("k", "a", { metadata = { v = "1" } })
      local file = output("find " .. root .. "/.anomalyd/meta -type f")
      write(file, files.read(file):sub(1, -2))
      local got, message, code = bucket:get("k")
      assert.is_nil(got)
      assert.equal("MetadataCorrupt", code)
      assert.matches('"k"', message, 1, true)
      assert(bucket:put("k", "b", { metadata = { v = "2" } }))
      assert.same({ v = "2" }, bucket:get("k").metadata)
    end)
  end)

  describe("keys", function()
    local bad = {
      "", "/a", "a/", "/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "./a", "a\0b",
      "a\nb", "\127", ("k"):rep(1025), "x/" .. ("k"):rep(256), ".anomalyd", ".anomalyd/lock",
      ".anomalyd/tmp/x",
    }

    it("that could leave the bucket are refused everywhere", function()
      for _, key in ipairs(bad) do
        assert.equal("InvalidKey", select(3, bucket:put(key, "x")), key)
        assert.equal("InvalidKey", select(3, bucket:get(key)), key)
        assert.equal("InvalidKey", select(3, bucket:head(key)), key)
        assert.equal("InvalidKey", select(3, bucket:delete(key)), key)
        assert.equal("InvalidKey", select(3, bucket:complete(key)), key)
      end
      assert.same({}, keys())
    end)

    it("may be anything else", function()
      local good = {
        "...", "..a", "a..", "a/.b", ".anomalyd2", "a/.anomalyd", "Größe/ü.csv", "a b",
        "a+b%2F?#&=", "\\", "-rf", "*", "'\"`$(x)", "~", "\xff", ("k"):rep(255),
        (("d"):rep(200) .. "/"):rep(5) .. "x",
      }
      for i, key in ipairs(good) do assert(bucket:put(key, tostring(i))) end
      for i, key in ipairs(good) do assert.equal(tostring(i), bucket:get(key).body) end
      table.sort(good)
      assert.same(good, keys())
    end)

    it("conflict where one is the folder of another", function()
      bucket:put("a/b", "1")
      assert.equal("KeyConflict", select(3, bucket:put("a", "2")))
      assert.equal("KeyConflict", select(3, bucket:put("a/b/c", "3")))
      assert.equal("NoSuchKey", select(3, bucket:get("a")))
      assert.is_true(bucket:delete("a"))
      assert.equal("1", bucket:get("a/b").body)
    end)

    it("never lead through a link", function()
      local outside = os.tmpname()
      os.remove(outside)
      shell("mkdir " .. outside)
      write(outside .. "/secret", "secret")
      shell("ln -s " .. outside .. " " .. root .. "/folder")
      shell("ln -s " .. outside .. "/secret " .. root .. "/file")
      assert.equal("NoSuchKey", select(3, bucket:get("folder/secret")))
      assert.equal("NoSuchKey", select(3, bucket:get("file")))
      assert.equal("NoSuchKey", select(3, bucket:head("file")))
      assert.equal("KeyConflict", select(3, bucket:put("folder/new", "x")))
      assert.is_true(bucket:delete("folder/secret"))
      assert.same({}, keys())
      assert.same({}, keys { prefix = "folder/" })
      assert(bucket:put("file", "mine"))
      assert.equal("mine", bucket:get("file").body)
      assert.equal("secret", output("ls " .. outside))
      assert.equal("secret", output("cat " .. outside .. "/secret"))
      shell("rm -r " .. outside)
    end)

    it("of pipes and folders are no objects, and nothing waits for a pipe", function()
      shell("mkfifo " .. root .. "/pipe; mkdir " .. root .. "/folder")
      assert.equal("NoSuchKey", select(3, bucket:get("pipe")))
      assert.equal("NoSuchKey", select(3, bucket:head("pipe")))
      assert.equal("NoSuchKey", select(3, bucket:complete("pipe")))
      assert.equal("NoSuchKey", select(3, bucket:get("folder")))
      assert.same({}, keys())
    end)
  end)

  describe("delete", function()
    it("removes, and is content when there is nothing", function()
      bucket:put("a/b", "1")
      assert.is_true(bucket:delete("a/b"))
      assert.is_true(bucket:delete("a/b"))
      assert.is_true(bucket:delete("x/y/z"))
      assert.equal("NoSuchKey", select(3, bucket:get("a/b")))
    end)
  end)

  describe("list", function()
    it("gives keys in the order of their bytes, folders or not", function()
      local all = {
        "a-b", "a/b", "a/b-c/d", "a/b/c", "a/b0", "a0", "a", "b/x", "é", "Z", "z/1", "z.1",
      }
      -- `a` and `a/b` are a file and its folder: they cannot stand beside each other.
      local expected = {}
      for _, key in ipairs(all) do
        if bucket:put(key, key) then expected[#expected + 1] = key end
      end
      table.sort(expected)
      assert.same(expected, keys())
      assert.is_true(#expected >= 9)
    end)

    it("gives size and time, and an ETag only when it knows", function()
      bucket:put("a", "12345")
      local page = bucket:list{}()
      assert.equal(5, page[1].size)
      assert.is_true(math.abs(page[1].last_modified - os.time()) < 10)
      assert.is_nil(page[1].etag)
    end)

    it("takes prefixes of any kind", function()
      for _, key in ipairs { "raw/a", "raw/b", "raw/b2/c", "rawest", "r" } do
        bucket:put(key, "")
      end
      assert.same({ "raw/a", "raw/b", "raw/b2/c" }, keys { prefix = "raw/" })
      assert.same({ "raw/a", "raw/b", "raw/b2/c", "rawest" }, keys { prefix = "raw" })
      assert.same({ "raw/b", "raw/b2/c" }, keys { prefix = "raw/b" })
      assert.same({ "raw/b2/c" }, keys { prefix = "raw/b2/" })
      assert.same({ "raw/b2/c" }, keys { prefix = "raw/b2" })
      for _, prefix in ipairs {
        "x", "raw/a/", "../", "raw/../", "/", "//", ".anomalyd/", ".anomalyd/tmp/", "./", "raw//",
        ("k"):rep(3000) .. "/", ".anomalyd",
      } do
        assert.same({}, keys { prefix = prefix }, prefix)
      end
    end)

    it("agrees with a sorted set for every prefix, start and page size", function()
      math.randomseed(7)
      local letters, set, puts = { "a", "b", "-", "0", "/", "." }, {}, {}
      for _ = 1, 300 do
        local key = {}
        for i = 1, math.random(1, 7) do key[i] = letters[math.random(#letters)] end
        key = table.concat(key)
        puts[#puts + 1] = { key = key, body = "" }
      end
      for i, result in ipairs(bucket:put_all(puts)) do
        if result.etag then set[puts[i].key] = true end
      end
      local sorted = {}
      for key in pairs(set) do sorted[#sorted + 1] = key end
      table.sort(sorted)
      assert.is_true(#sorted > 60)
      assert.same(sorted, keys())
      local starts = { "", "a", "a/", "a/b", "a0", "b-", "b/.", "/", "a//", "0/a/a", "zz", "-" }
      for _, key in ipairs(sorted) do starts[#starts + 1] = key end
      for _, prefix in ipairs { "", "a", "a/", "b/-", "0", "0/a", "-/" } do
        for i, start in ipairs(starts) do
          local expected = {}
          for _, key in ipairs(sorted) do
            if key:sub(1, #prefix) == prefix and key > start then expected[#expected + 1] = key end
          end
          local limit = 1 + i % 13
          assert.same(expected, keys { prefix = prefix, start_after = start, limit = limit },
            prefix .. " after " .. start)
        end
      end
    end)

    it("gives full pages of at most 1000", function()
      shell("cd " .. root .. " && mkdir p && seq -f p/%05g 0 2299 | xargs touch")
      local sizes, last = {}, ""
      for page in bucket:list { prefix = "p/" } do
        sizes[#sizes + 1] = #page
        for _, object in ipairs(page) do
          assert.is_true(object.key > last)
          last = object.key
        end
      end
      assert.same({ 1000, 1000, 300 }, sizes)
      assert.equal("p/02299", last)
    end)

    it("keeps the order in a folder of more names than it holds at once", function()
      local place = output("mktemp -d /dev/shm/list-XXXXXX 2>/dev/null")
      if place == "" then return pending("no /dev/shm to make so many files in") end
      shell("cd " .. place .. " && mkdir r r/069000-d r/070500 && seq -f r/%06g 1 70000 | "
        .. "xargs touch r/069000-d/x r/070500/y r/068999- r/0690000")
      local many = assert(directory.open(place, { read_only = true }))
      local count, last, ordered = 0, "", true
      for page in many:list { prefix = "r/0" } do
        for _, object in ipairs(page) do
          count = count + 1
          ordered = ordered and object.key > last
          last = object.key
        end
      end
      many:close()
      shell("rm -rf " .. place)
      assert.is_true(ordered)
      assert.equal(70004, count)
      assert.equal("r/070500/y", last)
    end)

    it("skips files whose names are no keys", function()
      write(root .. "/a\nb", "")
      write(root .. "/ok", "")
      assert.same({ "ok" }, keys())
    end)

    it("raises for wrong options", function()
      assert.has_error(function() bucket:list(5) end)
      assert.has_error(function() bucket:list { limit = 0 } end)
      assert.has_error(function() bucket:list { limit = 1001 } end)
      assert.has_error(function() bucket:list { prefix = "a\0" } end)
    end)
  end)

  describe("put_all", function()
    it("writes each, and tells of each what became of it", function()
      bucket:put("old", "a")
      local results, failures = bucket:put_all {
        { key = "x/1", body = "a" },
        { key = "x/2", body = "b", metadata = { m = "2" } },
        { key = "../bad", body = "" },
        { key = "old", body = "b", if_none_match = "*" },
        { key = "old", body = "b", if_match = MD5_A },
        { key = "old/below", body = "" },
        { key = "x/1", body = "b" },
        { key = "x/3", body = "", metadata = { m = ("v"):rep(3000) } },
      }
      assert.equal(4, failures)
      assert.equal(MD5_A, results[1].etag)
      assert.equal(MD5_B, results[2].etag)
      assert.equal("InvalidKey", results[3].code)
      assert.equal("PreconditionFailed", results[4].code)
      assert.equal(MD5_B, results[5].etag)
      assert.equal("KeyConflict", results[6].code)
      assert.equal(MD5_B, results[7].etag)
      assert.equal("MetadataTooLarge", results[8].code)
      assert.equal("b", bucket:get("x/1").body)
      assert.same({ m = "2" }, bucket:get("x/2").metadata)
      assert.same({ "old", "x/1", "x/2" }, keys())
      assert.equal("", output("find " .. root .. "/.anomalyd/tmp -type f"))
    end)

    it("takes more than one group, and none", function()
      local puts = {}
      for i = 1, 300 do puts[i] = { key = "d" .. i % 3 .. "/" .. i, body = tostring(i) } end
      local results, failures = bucket:put_all(puts)
      assert.equal(0, failures)
      assert.equal(300, #results)
      for i = 1, 300 do assert.equal(tostring(i), bucket:get("d" .. i % 3 .. "/" .. i).body) end
      assert.same({}, bucket:put_all {})
    end)

    it("raises for what is no list of objects", function()
      assert.has_error(function() bucket:put_all { "x" } end)
      assert.has_error(function() bucket:put_all { { key = "x" } } end)
      assert.has_error(function() bucket:put_all { { body = "x" } } end)
    end)
  end)

  describe("files changed by others", function()
    it("are never given out half", function()
      write(root .. "/grows", ("x"):rep(20000000))
      shell("(timeout 5 sh -c 'while test -e " .. root .. "/grows; do printf x >> " .. root
        .. "/grows; done') >/dev/null &")
      shell("while test $(stat -c %s " .. root .. "/grows) = 20000000; do sleep 0.01; done")
      local got, message, code = bucket:get("grows")
      os.remove(root .. "/grows")
      assert.is_nil(got)
      assert.equal("Changing", code)
      assert.matches('"grows"', message, 1, true)
    end)

    it("are read again, however their ETag was known", function()
      bucket:put("k", "a")
      shell("sleep 3.1")
      assert.equal(MD5_A, bucket:head("k").etag)
      assert.equal(MD5_A, bucket:list {}()[1].etag)
      write(root .. "/k", "b")
      shell("touch -d '1 hour ago' " .. root .. "/k")
      assert.is_nil(bucket:list {}()[1].etag)
      assert.equal(MD5_B, bucket:head("k").etag)
    end)
  end)

  describe("complete", function()
    it("tells whether a process still writes the file", function()
      bucket:put("done", "x")
      assert.is_true(bucket:complete("done"))
      local file = assert(io.open(root .. "/copy", "wb"))
      file:write("half")
      file:flush()
      assert.is_false(bucket:complete("copy"))
      file:close()
      assert.is_true(bucket:complete("copy"))
      assert.equal("NoSuchKey", select(3, bucket:complete("none")))
    end)
  end)

  describe("writable", function()
    it("is true, and otherwise says what to do", function()
      assert.is_true(bucket:writable())
      if not shell("test $(id -u) = 0 && command -v setpriv >/dev/null") then return end
      bucket:put("shut/x", "")
      shell("rm -rf " .. root .. "/.anomalyd; chmod 755 " .. root .. "; chmod 700 " .. root
        .. "/shut")
      local script = os.tmpname()
      write(script, string.format([[
        package.cpath = %q
        local bucket = assert(require("directory").open(%q))
        print(select(3, bucket:writable()), select(2, bucket:writable()))
        print(select(3, bucket:put("a", "b")))
        for page, _, code in bucket:list() do print(page and #page, code) end]], package.cpath,
        root))
      local said = output("chmod 644 " .. script .. "; setpriv --reuid=65534 --clear-groups "
        .. (os.getenv("LUA") or "lua5.4") .. " " .. script .. " 2>&1")
      os.remove(script)
      assert.matches("^AccessDenied", said)
      assert.matches("chmod or chown", said)
      assert.matches("\nAccessDenied\nfalse\tAccessDenied$", said)
    end)
  end)

  -- Built by `make spec-programs` from spec/support.
  describe("under attack", function()
    local function run(name, arguments)
      local program = (os.getenv("ANOMALYD_BUILD") or "build") .. "/spec/" .. name
      if not files.exists(program) then return pending(program .. " is not built") end
      -- In memory where there is such a place: the order of the calls counts, not the disk.
      local place = output("mktemp -d /dev/shm/attack-XXXXXX 2>/dev/null || mktemp -d")
      local said = output(string.format("%s %s/bucket %s 2>&1 >/dev/null && echo done",
        program, place, arguments))
      shell("rm -rf " .. place)
      assert.equal("done", said)
    end

    it("keeps old or new at a crash between any two steps", function()
      run("directory_crash", "")
    end)

    it("loses no conditional put among processes and threads", function()
      run("directory_race", "3 2 10")
    end)
  end)
end)
