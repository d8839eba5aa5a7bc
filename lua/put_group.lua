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

-- Write a group. When that raises (one of them is no put at all, or this task was cancelled) each
-- task puts its own by itself, and hears itself what is wrong with it.
local function write(self, group)
  local puts = {}
  for i, entry in ipairs(group) do puts[i] = entry.put end
  local ok, results = pcall(self.bucket.put_all, self.bucket, puts)
  if not ok then return end
  for i, entry in ipairs(group) do entry.result = results[i] end
end

-- However the writer ends, nobody waits in vain: who was in its hands is told, and of those that
-- still wait the first to be woken starts another.
local function write_all(self)
  local group = {}
  local function tell()
    for _, entry in ipairs(group) do entry.over = true end
    self.written:fire()
  end
  local _ <close> = setmetatable({}, { __close = function()
    self.running = false
    tell()
  end })
  while #self.waiting > 0 do
    group = table.move(self.waiting, 1, math.min(#self.waiting, MOST), 1, {})
    self.waiting = table.move(self.waiting, #group + 1, #self.waiting, 1, {})
    write(self, group)
    tell()
  end
end

local function start_writer(self)
  self.running = true
  local ok, message = pcall(self.task.spawn, write_all, self)
  if ok then return end
  self.running = false
  error(message, 0)
end

--- A function put(key, body, options), like that of the bucket, which gathers.
-- @param bucket a directory bucket
-- @param task the host's module `task`
function put_group.of(bucket, task)
  local self = { bucket = bucket, task = task, waiting = {}, written = task.signal(),
    running = false }
  return function(key, body, options)
    options = options or {}
    if options.if_match or options.metadata or #body > LARGE then
      return bucket:put(key, body, options)
    end
    local entry = { put = { key = key, body = body, content_type = options.content_type,
      if_none_match = options.if_none_match } }
    self.waiting[#self.waiting + 1] = entry
    while not entry.over do
      if self.running then self.written:wait() else start_writer(self) end
    end
    if not entry.result then return bucket:put(key, body, options) end
    if not entry.result.etag then return nil, entry.result.message, entry.result.code end
    return entry.result
  end
end

return put_group
