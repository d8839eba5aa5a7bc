--- files: whole files, and what commands say, for specs and what supports them.
local files = {}

--- The text of a file, or nil when it cannot be opened.
function files.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

--- Make a file of this text, in place of the one that may be there.
function files.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

--- Can it be opened?
function files.exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- The text of a file below spec/fixtures.
function files.fixture(name) return assert(files.read("spec/fixtures/" .. name), name) end

--- What a shell command says on both outputs, whether it ended with 0, and its code.
function files.output(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1", "r"))
  local text = pipe:read("a")
  local ok, _, code = pipe:close()
  return text, ok == true, code
end

--- What it says, without the blanks at its end.
function files.line(command) return (files.output(command):gsub("%s+$", "")) end

return files
