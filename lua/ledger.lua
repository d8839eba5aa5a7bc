--- ledger: which batches are counted in the baseline but may still lack their summary.
--
-- It travels with the baseline object, atomically, as one metadata value: the marks of the batches,
-- 16 hex digits each, with no separator. S3 gives 2 KB to all metadata, which bounds the batches
-- between their count and their summary.
local digest = require("digest")

local ledger = { metadata = "ledger", length = 16, limit = 112 }

--- The mark of one batch: it tells key and content apart from all others.
function ledger.mark(key, etag)
  return digest.sha256(key .. "\n" .. etag):sub(1, ledger.length)
end

--- {mark = true} from a metadata value (nil: none).
function ledger.parse(text)
  local marks = {}
  for mark in (text or ""):gmatch(("%x"):rep(ledger.length)) do marks[mark] = true end
  return marks
end

--- The metadata value, sorted, so that equal ledgers are equal texts.
function ledger.format(marks)
  local list = {}
  for mark in pairs(marks) do list[#list + 1] = mark end
  table.sort(list)
  return table.concat(list)
end

--- How many batches it names.
function ledger.count(marks)
  local n = 0
  for _ in pairs(marks) do n = n + 1 end
  return n
end

return ledger
