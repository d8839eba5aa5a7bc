local files = require "files"
local s3_events = require "s3_events"
local shared = require "shared"

local function fixture(name) return files.fixture("s3-events/" .. name) end

local function events(document)
  return s3_events.events(document)
end

-- A record with some of its fields changed; `false` takes one out.
local function record(changes, object_changes)
  local made = {
    eventVersion = "2.1", eventSource = "aws:s3", eventName = "ObjectCreated:Put",
    s3 = { bucket = { name = "b" }, object = { key = "raw/a.csv", size = 3, eTag = "e" } },
  }
  for name, value in pairs(changes or {}) do made[name] = value or nil end
  for name, value in pairs(object_changes or {}) do made.s3.object[name] = value or nil end
  return { Records = { made } }
end

local function one(document)
  local list = assert(events(document))
  assert.equal(1, #list)
  return list[1]
end

local function refused(pattern, document)
  local list, message, code = events(document)
  assert.is_nil(list)
  assert.equal("BadEvent", code)
  assert.matches(pattern, message)
end

describe("s3_events", function()
  it("reads AWS's own example", function()
    assert.same({ {
      bucket = "mybucket", key = "red flower.jpg", size = 1024,
      etag = "d41d8cd98f00b204e9800998ecf8427e", version_id = "096fKKXTRTtl3on89fVO.nfljtsv6qko",
      sequencer = "0055AED6DCD90281E5", event_name = "ObjectCreated:Put", kind = "created",
    } }, events(fixture("aws-doc-put-space-key.json")))
  end)

  it("reads Ceph's, whose keys are bare and whose version is empty", function()
    assert.same({ {
      bucket = "evb-rgw", key = "raw/a b+cü.csv", size = 4,
      etag = "3ecfad755fa825f7a17c5526ec44e651", sequencer = "3488026BA258EC1D",
      event_name = "ObjectCreated:Put", kind = "created",
    } }, events(fixture("radosgw-push-1.json")))
  end)

  it("reads every reference document", function()
    if not shared.path("aws/s3-events/README.md") then return pending("no reference data") end
    local keys = {
      ["aws-multipart-versioned-percent-key.json"] =
        "databases/airbyte/faker_users/ds=2024-01-25/1706216212007_0.parquet",
      ["aws-put-2015-v2.0.json"] = "KDAX/734/20151228-200051-001-S",
    }
    for name, key in pairs(keys) do
      assert.equal(key, one(shared.read("aws/s3-events/" .. name)).key)
    end
  end)

  it("decodes keys as forms are decoded", function()
    for encoded, key in pairs {
      ["a+b"] = "a b", ["a%2Bb"] = "a+b", ["a%2bb"] = "a+b", ["a%20b"] = "a b",
      ["%C3%BC"] = "ü", ["a%2Fb"] = "a/b", ["a/b"] = "a/b", ["%25"] = "%", ["%2525"] = "%25",
      ["100%"] = "100%", ["%zz%2"] = "%zz%2", ["%3D%26%3F"] = "=&?", ["ü"] = "ü",
    } do
      assert.equal(key, one(record(nil, { key = encoded })).key)
    end
  end)

  it("finds nothing in a test event, an empty list or an empty document, and says so", function()
    for text, note in pairs {
      [fixture("aws-test-event.json")] = "a test event", ['{"Records":[]}'] = "no records",
      ["{}"] = "an empty document",
    } do
      assert.same({ n = 2, {}, note }, table.pack(events(text)))
    end
  end)

  it("tells creations, removals and other news apart", function()
    for name, kind in pairs {
      ["ObjectCreated:Put"] = "created", ["ObjectCreated:CompleteMultipartUpload"] = "created",
      ["s3:ObjectCreated:Copy"] = "created", ["ObjectRemoved:Delete"] = "removed",
      ["ObjectRemoved:DeleteMarkerCreated"] = "removed", ["LifecycleExpiration:Delete"] = "removed",
      ["ObjectRestore:Post"] = "other", ["ReducedRedundancyLostObject"] = "other",
      ["XObjectCreated:Put"] = "other",
    } do
      assert.equal(kind, one(record { eventName = name }).kind)
    end
    local bare = one(record({ eventName = false, eventVersion = false, eventSource = false }))
    assert.equal("created", bare.kind)
    assert.is_nil(bare.event_name)
    assert.is_nil(one(record(nil, { size = false, eTag = false })).size)
  end)

  it("reads many records, in their order", function()
    local list = { Records = {} }
    for i = 1, 100 do list.Records[i] = record(nil, { key = "k" .. i }).Records[1] end
    local got = assert(events(list))
    assert.equal(100, #got)
    assert.equal("k1", got[1].key)
    assert.equal("k100", got[100].key)
    list.Records[50].s3 = nil
    refused("Records%[49%]%.s3 is missing", list)
  end)

  it("reads the EventBridge shape, whose keys are bare", function()
    local document = {
      version = "0", source = "aws.s3", ["detail-type"] = "Object Created",
      detail = { bucket = { name = "b" }, reason = "PutObject",
        object = { key = "raw/a+b.csv", size = 5, etag = "e", ["version-id"] = "v",
          sequencer = "00AB" } },
    }
    assert.same({ bucket = "b", key = "raw/a+b.csv", size = 5, etag = "e", version_id = "v",
      sequencer = "00AB", event_name = "Object Created", kind = "created" }, one(document))
    document["detail-type"] = "Object Deleted"
    assert.equal("removed", one(document).kind)
    document["detail-type"] = "Object Tags Added"
    assert.equal("other", one(document).kind)
    document.detail.object.key = nil
    refused("detail%.object%.key is missing", document)
    document.detail = "x"
    refused("detail is a string", document)
    document.source = "aws.ec2"
    refused("source is not aws%.s3", document)
  end)

  it("strips the quotes of an ETag", function()
    assert.equal("abc", one(record(nil, { eTag = '"abc"' })).etag)
    assert.is_nil(one(record(nil, { eTag = '""' })).etag)
  end)

  it("names the field of what it cannot read", function()
    refused("no JSON", "")
    refused("no JSON", "{")
    refused("no JSON object", "5")
    refused("no JSON object", "null")
    refused("no JSON object", nil)
    refused("Records is missing", '{"Hello": 1}')
    refused("Records is null", '{"Records": null}')
    refused("Records is a string", '{"Records": "x"}')
    refused("Records is an object", '{"Records": {"s3": {}}}')
    refused("Records%[0%] is null", '{"Records": [null]}')
    refused("Records%[0%] is a number", '{"Records": [5]}')
    refused("Records%[0%]%.s3 is missing", '{"Records": [{}]}')
    refused("Records%[0%]%.s3 is a boolean", '{"Records": [{"s3": true}]}')
    refused("Records%[0%]%.s3%.bucket is missing", '{"Records": [{"s3": {"object": {}}}]}')
    refused("Records%[0%]%.s3%.object is missing", '{"Records": [{"s3": {"bucket": {}}}]}')
    refused("s3%.bucket%.name is missing",
      '{"Records": [{"s3": {"bucket": {}, "object": {"key": "k"}}}]}')
    refused("s3%.object%.key is missing", record(nil, { key = "" }))
    refused("s3%.object%.key is a number", record(nil, { key = 5 }))
    refused("s3%.object%.key is a table", record(nil, { key = {} }))
    refused("s3%.object%.key is not UTF%-8", record(nil, { key = "a%00b" }))
    refused("s3%.object%.key is not UTF%-8", record(nil, { key = "%FF" }))
    refused("s3%.object%.key is longer", record(nil, { key = ("k"):rep(1025) }))
    for _, size in ipairs { -1, 1.5, "3", 0 / 0, 1e300, true, {} } do
      refused("s3%.object%.size is no size", record(nil, { size = size }))
    end
    refused("eventVersion is not 2", record { eventVersion = "3.0" })
    refused("eventVersion is not 2", record { eventVersion = "20.1" })
    refused("eventVersion is a number", record { eventVersion = 2.1 })
    refused("eventSource is not S3's", record { eventSource = "aws:ses" })
    refused("eventName is a table", record { eventName = {} })
    refused("sequencer is a number", record(nil, { sequencer = 5 }))
    assert.equal("created", one(record { eventVersion = "2.3" }).kind)
  end)

  it("does not hide a defect as a bad event", function()
    local trap = setmetatable({}, { __index = function() error("defect") end })
    assert.has_error(function() s3_events.events(trap) end)
  end)
end)
