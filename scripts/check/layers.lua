-- layers: checks that the sources keep to the layers they say they have.
--
--     lua5.4 scripts/check/layers.lua [ROOT]
--
-- scripts -> lua -> src/bind -> src/run -> src/core: what is below knows nothing of what is above.
-- One line per violation, exit code 1 when there is any. spec/unit/layers_spec.lua shows a
-- violation of each rule being found.
local MAX_LINES = { spec = 1000, other = 700 } -- a spec mirrors its source, with room for data

-- What stands at the top of the tree: true must be there, false may.
local TOP_LEVEL = {
  ["Makefile"] = true, ["README.md"] = true, ["lua"] = true, ["scripts"] = true, ["spec"] = true,
  ["src"] = true, ["vendor"] = true,
  [".busted"] = false, [".ci"] = false, [".clang-format"] = false, [".clang-tidy"] = false,
  [".gitignore"] = false, [".luacheckrc"] = false,
}

-- Which of our folders, and which libraries, the C files of a layer may include. A library not
-- named here is free to all.
local LAYERS = {
  { prefix = "src/core/", folders = { core = true }, headers = {} },
  { prefix = "src/run/", folders = { core = true, run = true }, headers = { event2 = true } },
  { prefix = "src/bind/", folders = { core = true, run = true, bind = true },
    headers = { lua = true, event2 = true } },
  { prefix = "src/main.c", folders = { core = true, run = true, bind = true },
    headers = { event2 = true } },
}

local function library_of(header)
  if header:match("^lua[%w]*%.h[p]*$") or header:match("^lauxlib%.h") or header:match("^lualib%.h")
    or header:match("^lua5%.%d/") then
    return "lua"
  end
  if header:match("^event2/") or header:match("^ev[%w]*%.h$") then return "event2" end
  return nil
end

local function layer_of(path)
  for _, layer in ipairs(LAYERS) do
    if path:sub(1, #layer.prefix) == layer.prefix then return layer end
  end
  return nil
end

--- The complaints about one C file, as a list of "path:line: text".
local function check_c(path, lines, complain)
  local layer = layer_of(path)
  if not layer then
    complain(path, 1, "no layer: C sources live in src/core, src/run, src/bind and src/main.c")
    return
  end
  for number, line in ipairs(lines) do
    local quoted = line:match('^%s*#%s*include%s*"([^"]+)"')
    local angled = line:match("^%s*#%s*include%s*<([^>]+)>")
    local library = library_of(quoted or angled or "")
    if library and not layer.headers[library] then
      complain(path, number, layer.prefix .. " may not know " .. (quoted or angled))
    end
    local folder = quoted and quoted:match("^([^/]+)/")
    if quoted and not folder and quoted ~= "paths.h" and not library then
      complain(path, number, 'say "folder/' .. quoted .. '", as seen from src/')
    elseif folder and not layer.folders[folder] and not library then
      complain(path, number, layer.prefix .. " is below " .. folder .. "/ and may not include it")
    end
  end
end

--- `known(name)` tells whether a Lua module of the layer above exists under that name.
local function check_lua(path, lines, known, complain)
  for number, line in ipairs(lines) do
    local code = line:gsub("%-%-.*$", "")
    for name in code:gmatch("require%s*%(?%s*[\"']([^\"']+)[\"']") do
      if name:match("^scripts[./]") or name:match("^spec[./]") or known(name) then
        complain(path, number, "lua/ is below scripts/ and may not require " .. name)
      end
    end
  end
end

local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  return lines
end

local function exists(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

--- The project's files below root: git's where there is git, else all but what is built.
local function list_files(root)
  local pipe = assert(io.popen(string.format(
    "cd '%s' && { git ls-files --cached --others --exclude-standard 2>/dev/null ||" ..
    " find . -type f -not -path './.git/*' -not -path './build*' | sed 's,^\\./,,'; }", root)))
  local files = {}
  for path in pipe:lines() do
    if exists(root .. "/" .. path) then files[#files + 1] = path end
  end
  pipe:close()
  table.sort(files)
  return files
end

local function check(root)
  local complaints = {}
  local function complain(path, line, text)
    complaints[#complaints + 1] = string.format("%s:%d: %s", path, line, text)
  end
  local function is_script(name)
    local file = name:gsub("%.", "/") .. ".lua"
    return exists(root .. "/scripts/" .. file) and not exists(root .. "/lua/" .. file)
  end

  local files, seen = list_files(root), {}
  for _, path in ipairs(files) do
    local top = path:match("^[^/]+")
    if TOP_LEVEL[top] == nil and not seen[top] then
      complain(path, 1, top .. " is not one of the names at the top of the tree")
    end
    seen[top] = true
    local source = path:match("%.[ch]$") or path:match("%.lua$") or path:match("%.sh$")
    if source then
      local lines = lines_of(root .. "/" .. path)
      local most = MAX_LINES[top] or MAX_LINES.other
      if #lines > most then
        complain(path, #lines, "longer than " .. most .. " lines: more than one idea")
      end
      if path:match("^src/.*%.[ch]$") then check_c(path, lines, complain) end
      if path:match("^lua/.*%.lua$") then check_lua(path, lines, is_script, complain) end
    end
  end
  for name, needed in pairs(TOP_LEVEL) do
    if needed and not seen[name] then complain(root, 1, name .. " is missing") end
  end
  return complaints, #files
end

local complaints, files = check(arg[1] or ".")
for _, text in ipairs(complaints) do io.stderr:write(text, "\n") end
if #complaints > 0 then os.exit(1) end
print("layers: " .. files .. " files in their places")
