--- put_group: small puts of many tasks, made durable together.
--
-- On a directory bucket most of a small put is waiting for the disk, and the disk makes a hundred
-- files durable in little more time than one. So while a group of puts is being written, further
-- ones gather, and are written together when it is done. Each task waits for its own put only, and
-- gets the answer that bucket:put would have given. A put alone is written at once.
--
-- Puts in the place of another object or with metadata, and large ones, go their own way: nobody
-- should wait for them, nor they for others.
local put_group = {}

local MOST = 128
local LARGE = 1024 * 1024

local function write_one_by_one(self, group)
  for _, entry in ipairs(group) do
    local ok, put, message, code = pcall(self.bucket.put, self.bucket, entry.put.key,
      entry.put.body, entry.put)
    if not ok then entry.raised = put end
    entry.result = ok and put or { message = message, code = code }
  end
end

local function write(self, group)
  local puts = {}
  for i, entry in ipairs(group) do puts[i] = entry.put end
  local ok, results = pcall(self.bucket.put_all, self.bucket, puts)
  if not ok then
    -- One of them is no put at all, which is for its task alone to hear.
    write_one_by_one(self, group)
    return
  end
  for i, entry in ipairs(group) do entry.result = results[i] end
end

local function write_all(self)
  while #self.waiting > 0 do
    local group = table.move(self.waiting, 1, math.min(#self.waiting, MOST), 1, {})
    self.waiting = table.move(self.waiting, #group + 1, #self.waiting, 1, {})
    write(self, group)
    self.written:fire()
  end
  self.running = false
end

--- A function put(key, body, options), like that of the bucket, which gathers.
-- @param bucket a directory bucket
-- @param task the host's module `task`
function put_group.of(bucket, task)
  local self = { bucket = bucket, waiting = {}, written = task.signal(), running = false }
  return function(key, body, options)
    options = options or {}
    if options.if_match or options.metadata or #body > LARGE then
      return bucket:put(key, body, options)
    end
    local entry = { put = { key = key, body = body, content_type = options.content_type,
      if_none_match = options.if_none_match } }
    self.waiting[#self.waiting + 1] = entry
    if not self.running then
      self.running = true
      task.spawn(write_all, self)
    end
    while not entry.result do self.written:wait() end
    if entry.raised then error(entry.raised, 2) end
    if not entry.result.etag then return nil, entry.result.message, entry.result.code end
    return entry.result
  end
end

return put_group
