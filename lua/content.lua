--- content: is what a list shows of an input the content that a summary or a record tells of?
--
-- A content is known by its etag. A directory's list has none: there it is known by when its file
-- changed, which summaries and records tell too.
local content = {}

--- When a file changed, as summaries tell it; nil for nil.
-- @param changed nanoseconds since 1970
function content.changed_text(changed)
  return changed and ("%d.%09d"):format(changed // 1000000000, changed % 1000000000)
end

--- Does the list tell that `entry` is about this content?
-- @param object {etag, changed} of a list, as far as it has them
-- @param entry {etag, changed} as a summary or a record tells them, or nil
-- @return true, false, or nil when it does not tell
function content.tells(object, entry)
  if not entry then return false end
  if object.etag and entry.etag then return object.etag == entry.etag end
  if entry.changed and object.changed and content.changed_text(object.changed) == entry.changed then
    return true
  end
  if not entry.etag then return false end
end

--- Is object `a` of a list older than `b`? Of two of one age the key decides.
function content.is_older(a, b)
  local at, bt = a.last_modified or 0, b.last_modified or 0
  if at ~= bt then return at < bt end
  return a.key < b.key
end

return content
