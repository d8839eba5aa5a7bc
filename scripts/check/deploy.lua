-- deploy: checks the templates in scripts/deploy against each other and against the code.
--
--     lua5.4 scripts/check/deploy.lua [ROOT]
--
-- What the instance's role may do must be what the sources ask of S3 and SNS, on the same prefixes,
-- no more and no less, in CloudFormation and in Terraform; names must be declared before they are
-- used; the cloud-init text must be the same everywhere. The files are read as the subset of YAML
-- and HCL that they are written in. One line per complaint, exit code 1 when there is any.
-- spec/unit/deploy_spec.lua shows complaints being made.
local ROOT = arg[1] or "."

local complaints = {}
local function complain(path, text, ...)
  complaints[#complaints + 1] = path .. ": " .. text:format(...)
end

local function check_has(path, text, list)
  for _, needs in ipairs(list) do
    if not text:find(needs, 1, true) then complain(path, "%s is missing", needs) end
  end
end

local function read(path)
  local file = assert(io.open(ROOT .. "/" .. path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

local function sorted(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- ---- what the code asks for ----

local VERBS = { get = "s3:GetObject", head = "s3:GetObject", put = "s3:PutObject",
  create_upload = "s3:PutObject", put_part = "s3:PutObject", complete_upload = "s3:PutObject",
  abort_upload = "s3:AbortMultipartUpload", delete = "s3:DeleteObject", list = "s3:ListBucket" }

local DELETED = { ["keys.failure"] = "/failed/*", ["keys.rejected"] = "/failed/*" }

--- The objects that the service deletes by itself (a person at the console has their own rights).
local function deleted()
  local places = {}
  local pipe = assert(io.popen("cd '" .. ROOT .. "' && ls lua/*.lua"))
  for path in pipe:lines() do
    local text = read(path)
    if not path:find("console_live") and not path:find("help_texts") then
      for what in text:gmatch("store:delete%(([%w_.]+)") do
        local literal = text:match("\nlocal " .. what:gsub("%.", "%%.") .. ' = "(state/[^"]+)"')
        local place = DELETED[what] or (literal and "/" .. literal)
        if place then places[place] = true
        else complain(path, "deletes %s: say in scripts/check/deploy.lua what that is", what) end
      end
    end
  end
  pipe:close()
  return places
end

--- Needed rights: "ACTION PLACE" -> true, and the prefixes that are listed.
local function needed()
  local rights, actions, listed = {}, {}, {}
  for verb in read("lua/s3.lua"):gmatch('verb = "([%w_]+)"') do
    if VERBS[verb] then actions[VERBS[verb]] = true
    else complain("lua/s3.lua", "verb %s: say in scripts/check/deploy.lua what it needs", verb) end
  end
  local prefixes = { "state/" }
  for prefix in read("lua/keys.lua"):match("local keys = (%b{})"):gmatch('= "(%w+/)"') do
    prefixes[#prefixes + 1] = prefix
  end
  for _, prefix in ipairs(prefixes) do
    rights["s3:GetObject /" .. prefix .. "*"] = actions["s3:GetObject"]
    for _, action in ipairs({ "s3:PutObject", "s3:AbortMultipartUpload" }) do
      if prefix ~= "raw/" then rights[action .. " /" .. prefix .. "*"] = actions[action] end
    end
  end
  for place in pairs(deleted()) do rights["s3:DeleteObject " .. place] = true end
  if actions["s3:ListBucket"] then rights["s3:ListBucket "] = true end
  local listing = read("lua/history.lua") .. read("lua/reconcile.lua")
  for name in listing:gmatch("%f[%w]keys%.(%l+)%f[%W]") do
    local prefix = read("lua/keys.lua"):match("%f[%w]" .. name .. ' = "(%w+/)"')
    if prefix then listed[prefix .. "*"] = true end
  end
  for action in read("lua/subscribe.lua"):gmatch('"Action", "(%w+)"') do
    rights["sns:" .. action .. " topic"] = true
  end
  return rights, listed
end

local function compare(path, what, wanted, given)
  for _, one in ipairs(sorted(wanted)) do
    if not given[one] then complain(path, "%s '%s' is missing", what, one) end
  end
  for _, one in ipairs(sorted(given)) do
    if not wanted[one] then complain(path, "%s '%s' is more than the code needs", what, one) end
  end
end

-- ---- CloudFormation ----

local CFN = "scripts/deploy/cloudformation.yaml"

local function place_of(resource)
  if resource:find("Topic") or resource:find("aws_sns_topic") then return "topic" end
  return (resource:gsub("^.*%${Bucket}", ""):gsub("^.*bucket_arn}?", ""):gsub("[\"']", ""))
end

--- The lines below the one that is `head` (a pattern), as far as they are indented deeper.
local function below(text, head)
  local lines, depth = {}, nil
  for line in text:gmatch("([^\n]*)\n") do
    local indent = #line:match("^ *")
    if depth and line:find("%S") and indent <= depth then break end
    if depth then lines[#lines + 1] = line:sub(1) end
    if not depth and line:find(head) then depth = indent end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function cfn_rights(text)
  local prefixes = {}
  local policies = below(text, "^      Policies:$")
  -- Statements are cut at their Sid lines.
  local found, cuts = {}, {}
  for at in policies:gmatch("()%- Sid:") do cuts[#cuts + 1] = at end
  for i, at in ipairs(cuts) do
    local statement = policies:sub(at, (cuts[i + 1] or #policies + 1) - 1)
    for action in below(statement, "^ *Action:$"):gmatch("%- (%w+:%w+)\n") do
      for resource in below(statement, "^ *Resource:$"):gmatch("%- ([^\n]+)\n") do
        found[action .. " " .. place_of(resource)] = true
      end
    end
    for prefix in below(statement, "s3:prefix:$"):gmatch("%- ([^\n]+)\n") do
      prefixes[prefix] = true
    end
  end
  return found, prefixes
end

local function check_yaml(path, text)
  local number = 0
  for line in text:gmatch("([^\n]*)\n") do
    number = number + 1
    if line:find("\t") then complain(path, "line %d: a tab", number) end
    if line:find("%s$") then complain(path, "line %d: blanks at the end", number) end
    if #line:match("^ *") % 2 == 1 then complain(path, "line %d: odd indentation", number) end
  end
end

--- Every name that is referred to must be a parameter or a resource.
local function check_cfn_names(text, embedded)
  local names = {}
  for _, section in ipairs({ "Parameters", "Resources" }) do
    for name in below(text, "^" .. section .. ":$"):gmatch("%f[^\n\0]  (%w+):\n") do
      names[name] = true
    end
  end
  local plain = text:gsub(embedded:gsub("%p", "%%%0"), "")
  local function check(name)
    local base = name:match("^%w+")
    local known = names[base] or name:find("^AWS::")
    if not known then complain(CFN, "%s is not declared", name) end
  end
  for name in plain:gmatch("!Ref ([%w:]+)") do check(name) end
  for name in plain:gmatch("!GetAtt ([%w.]+)") do check(name) end
  for name in plain:gmatch("DependsOn: (%w+)") do check(name) end
  for name in plain:gmatch("%${([%w:.]+)}") do check(name) end
  for name in embedded:gmatch("%${([^}]*)}") do
    if name ~= "Region" then check(name) end
  end
end

local function check_cfn(rights, listed, init)
  local text = read(CFN)
  check_yaml(CFN, text)
  local embedded = below(text, "^            %- |$")
  if embedded:gsub("%f[^\n\0]" .. (" "):rep(14), "") ~= init then
    complain(CFN, "UserData is not the text of cloud-init.yaml")
  end
  check_cfn_names(text, embedded)
  local given, prefixes = cfn_rights(text)
  compare(CFN, "right", rights, given)
  compare(CFN, "listed prefix", listed, prefixes)
  check_has(CFN, text, { "HttpTokens: required", "Event: s3:ObjectCreated:*", "Value: raw/",
    "Value: .csv", "- sns:Publish", "aws:SourceAccount", "SignatureVersion: '2'",
    "DependsOn: TopicPolicy" })
end

-- ---- Terraform ----

local TF = "scripts/deploy/terraform/main.tf"

local function without_comments(text)
  return (("\n" .. text):gsub("\n%s*#[^\n]*", "\n"):sub(2))
end

local function check_tf_names(text)
  local declared = {}
  for name in text:gmatch('variable "([%w_]+)"') do declared["var." .. name] = true end
  for kind, name in text:gmatch('resource "([%w_]+)" "([%w_]+)"') do
    declared[kind .. "." .. name] = true
  end
  for kind, name in text:gmatch('data "([%w_]+)" "([%w_]+)"') do
    declared["data." .. kind .. "." .. name] = true
  end
  for name in text:match("\nlocals (%b{})"):gmatch("\n%s+([%w_]+)%s*=") do
    declared["local." .. name] = true
  end
  local function check(name)
    if not declared[name] then complain(TF, "%s is not declared", name) end
  end
  for name in text:gmatch("%f[%w_.](var%.[%w_]+)") do check(name) end
  for name in text:gmatch("%f[%w_.](local%.[%w_]+)") do check(name) end
  for name in text:gmatch("%f[%w_.](data%.[%w_]+%.[%w_]+)") do check(name) end
  for name in text:gmatch("%f[%w_.\"](aws_[%w_]+%.[%w_]+)") do check(name) end
end

local function check_tf_form(text)
  for open, close in pairs({ ["{"] = "}", ["["] = "]", ["("] = ")" }) do
    local _, opened = text:gsub("%" .. open, "")
    local _, closed = text:gsub("%" .. close, "")
    if opened ~= closed then complain(TF, "%d %s but %d %s", opened, open, closed, close) end
  end
  local number = 0
  for line in text:gmatch("([^\n]*)\n") do
    number = number + 1
    local _, quotes = line:gsub('"', "")
    if quotes % 2 == 1 then complain(TF, "line %d: a quote is open", number) end
  end
end

local function strings(list)
  local set = {}
  for text in (list or ""):gmatch('"([^"]+)"') do set[text] = true end
  return set
end

local function check_tf(rights, listed, init)
  local text = without_comments(read(TF))
  check_tf_form(text)
  check_tf_names(text)
  local role = text:match('data "aws_iam_policy_document" "role" (%b{})') or ""
  local given, prefixes = {}, {}
  for statement in role:gmatch("statement (%b{})") do
    local resources = statement:match("resources%s*=%s*(%b[])") or ""
    for action in pairs(strings(statement:match("actions%s*=%s*(%b[])"))) do
      for resource in resources:gmatch("[^%[%],%s]+") do
        given[action .. " " .. place_of(resource)] = true
      end
    end
    for prefix in pairs(strings(statement:match('"s3:prefix"%s*values%s*=%s*(%b[])'))) do
      prefixes[prefix] = true
    end
  end
  compare(TF, "right", rights, given)
  compare(TF, "listed prefix", listed, prefixes)
  local filled = text:match("templatefile%b()") or ""
  for name in init:gmatch("%${([^}]*)}") do
    if not filled:find("\n%s+" .. name .. "%s+=") then
      complain(TF, "cloud-init.yaml's %s is not filled in", name)
    end
  end
  check_has(TF, text, { 'http_tokens                 = "required"', '"s3:ObjectCreated:*"',
    'filter_prefix = "raw/"', 'filter_suffix = ".csv"', '"sns:Publish"', '"aws:SourceAccount"',
    "signature_version = 2" })
end

-- ---- cloud-init ----

local INIT = "scripts/deploy/cloud-init.yaml"

local function check_init(init)
  check_yaml(INIT, init)
  if init:sub(1, 14) ~= "#cloud-config\n" then complain(INIT, "must begin with #cloud-config") end
  local scripts = 0
  for script in init:gmatch("content: |\n(      #!/bin/sh\n.-)\n  %- ") do
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write((script:gsub("%f[^\n\0]      ", "")), "\n")
    file:close()
    if not os.execute("sh -n " .. path) then complain(INIT, "a script that sh does not read") end
    os.remove(path)
    scripts = scripts + 1
  end
  if scripts == 0 then complain(INIT, "there is no script in it") end
  local order = { "git clone", "make -C", "apt-get -y", "daemon-reload", "enable --now anomalyd" }
  local at = 1
  for _, step in ipairs(order) do
    at = init:find(step, at, true)
    if not at then return complain(INIT, "%s is missing, or too early", step) end
  end
end

local init = read(INIT)
local rights, listed = needed()
check_init(init)
check_cfn(rights, listed, init)
check_tf(rights, listed, init)
for _, text in ipairs(complaints) do io.stderr:write(text, "\n") end
if #complaints > 0 then os.exit(1) end
print(("deploy: %d rights, the same in the code and in both templates"):format(#sorted(rights)))
