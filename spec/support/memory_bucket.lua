--- memory_bucket: a bucket in memory, for specs of what reads one; it counts what is asked of it.
--
--   local b = memory_bucket.new()      b.set(key, body)
--   b.objects, b.gets, b.lists         b.hook()   called before each page of a list is given
-- An object's `changed` moves with each set. A list is one page.
local memory_bucket = {}

function memory_bucket.new()
  local self = { objects = {}, clock = 0, gets = 0, lists = 0 }
  function self.set(key, body)
    self.clock = self.clock + 1
    self.objects[key] = { body = body, size = #body, changed = self.clock }
  end
  function self.get(_, key)
    self.gets = self.gets + 1
    local object = self.objects[key]
    if not object then return nil, "none", "NoSuchKey" end
    return { body = object.body, size = object.size, changed = object.changed }
  end
  function self.list(_, options)
    self.lists = self.lists + 1
    local page = {}
    for key, object in pairs(self.objects) do
      if key:sub(1, #options.prefix) == options.prefix and
        key > (options.start_after or "") then
        page[#page + 1] = { key = key, size = object.size, changed = object.changed }
      end
    end
    table.sort(page, function(a, b) return a.key < b.key end)
    local done = #page == 0
    return function()
      if done then return nil end
      done = true
      if self.hook then self.hook() end
      return page
    end
  end
  return self
end

return memory_bucket
