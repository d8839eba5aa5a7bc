--- suggest: the right name nearest to a misspelled one, for error messages.
local suggest = {}

local LONGEST = 64 -- longer names are not compared: nobody misspells a paragraph

--- The number of single-character insertions, deletions, substitutions and swaps of neighbours that
-- turn `a` into `b` (the optimal string alignment distance).
function suggest.distance(a, b)
  local before, last = {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return last[#b]
end

--- The name in `names` (a list, or a table whose keys are the names) nearest to `wrong`, or nil
-- when none is near: at most a third of the letters may differ, two in a short name. Case costs
-- nothing.
function suggest.nearest(wrong, names)
  if type(wrong) ~= "string" or #wrong > LONGEST then return nil end
  local candidates = {}
  for key, value in pairs(names) do
    candidates[#candidates + 1] = type(key) == "string" and key or value
  end
  table.sort(candidates)
  local best, least = nil, math.huge
  for _, name in ipairs(candidates) do
    if #name <= LONGEST then
      local distance = suggest.distance(wrong:lower(), name:lower())
      local limit = math.max(#name, #wrong) // 3
      if #name > 3 and limit < 2 then limit = 2 end
      if distance < least and distance <= limit then best, least = name, distance end
    end
  end
  return best
end

--- A phrase for the end of a message: "; did you mean 'summary'?", or "; one of a, b, c" when no
-- name is near.
function suggest.phrase(wrong, names)
  local nearest = suggest.nearest(wrong, names)
  if nearest then return "; did you mean '" .. nearest .. "'?" end
  local all = {}
  for key, value in pairs(names) do
    all[#all + 1] = type(key) == "string" and key or value
  end
  table.sort(all)
  return "; one of " .. table.concat(all, ", ")
end

return suggest
