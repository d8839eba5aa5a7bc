--- line_history (kernel): the lines typed into the console, kept from one session to the next.
--
-- One entry is one line of the file, whose newlines and backslashes are written \n and \\. An entry
-- stands once, where it was typed last; one that may hold a secret is not kept. Entries are
-- appended as they are typed, so that two clients do not overwrite each other's.
local line_history = {}

local MOST = 1000

local History = {}
History.__index = History

local function encode(text) return (text:gsub("[\\\n]", { ["\\"] = "\\\\", ["\n"] = "\\n" })) end
local function decode(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

--- Each entry once, at its last place; the newest `MOST`.
local function unique(entries)
  local seen, kept = {}, {}
  for i = #entries, 1, -1 do
    if not seen[entries[i]] and #kept < MOST then
      seen[entries[i]] = true
      table.insert(kept, entries[i])
    end
  end
  local list = {}
  for i = #kept, 1, -1 do list[#list + 1] = kept[i] end
  return list
end

--- Where the file is: $XDG_STATE_HOME/anomalyd/history, else below ~/.local/state; nil without a
-- home.
function line_history.path(getenv)
  local state, home = getenv("XDG_STATE_HOME"), getenv("HOME")
  if state and state:sub(1, 1) == "/" then return state .. "/anomalyd/history" end
  if home and home:sub(1, 1) == "/" then return home .. "/.local/state/anomalyd/history" end
end

--- Read a history.
-- @param path the file, or nil: nothing is kept
-- @param files {append = function(path, text) -> whether it was written (mode 0600),
--   is_secret = function(text)}
function line_history.open(path, files)
  local self = setmetatable({ path = path, files = files, entries = {} }, History)
  local file = path and io.open(path, "r")
  if not file then return self end
  local n = 0
  for line in file:lines() do
    n = n + 1
    self.entries[n] = decode(line)
  end
  file:close()
  self.entries = unique(self.entries)
  if n > 2 * MOST then self:rewrite() end
  return self
end

--- Write the file anew, without what is there twice.
function History:rewrite()
  local lines = {}
  for i, entry in ipairs(self.entries) do lines[i] = encode(entry) .. "\n" end
  local fresh = self.path .. ".new"
  os.remove(fresh)
  if self.files.append(fresh, table.concat(lines)) then os.rename(fresh, self.path) end
end

--- Take an entry in. @return whether it is kept
function History:add(text)
  if text:find("^%s*$") or self.files.is_secret(text) then return false end
  local last = self.entries[#self.entries]
  self.entries[#self.entries + 1] = text
  self.entries = unique(self.entries)
  if self.path and text ~= last then self.files.append(self.path, encode(text) .. "\n") end
  return true
end

return line_history
