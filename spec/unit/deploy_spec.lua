-- scripts/check/deploy.lua: finds what does not fit. Each case changes one text of a copy.
local files = require("files")
local output, write = files.output, files.write

local CFN, TF = "scripts/deploy/cloudformation.yaml", "scripts/deploy/terraform/main.tf"
local INIT = "scripts/deploy/cloud-init.yaml"

local CASES = {
  { "a right too many", CFN, "- s3:AbortMultipartUpload", "- s3:AbortMultipartUpload\n"
    .. (" "):rep(18) .. "- s3:DeleteBucket", "DeleteBucket.*more than the code needs" },
  { "a right missing", CFN, "                  %- s3:ListBucket\n", "", "ListBucket ' is missing" },
  { "a prefix missing", CFN, "                  %- !Sub [^\n]*/state/%*'\n", "",
    "GetObject /state/%*' is missing" },
  { "a place too wide", TF, "/state/sns_topic%.json", "/*", "DeleteObject /%*' is more" },
  { "a right missing in Terraform", TF, ', "s3:AbortMultipartUpload"', "",
    "main.tf: right 's3:AbortMultipartUpload /failed/%*' is missing" },
  { "a listed prefix missing", TF, '"failed/%*"%]', '"faild/*"]', "listed prefix 'failed/%*'" },
  { "a new verb in the code", "lua/s3.lua", 'verb = "head"', 'verb = "copy"', "verb copy: say" },
  { "a new deletion in the code", "lua/notify.lua", "store:delete%(PIN%)", "store:delete(pin)",
    "deletes pin" },
  { "a right that the code no longer needs", "lua/s3.lua", 'verb = "abort_upload"', "verb = nil",
    "AbortMultipartUpload /failed/%*' is more" },
  { "IMDSv1", CFN, "HttpTokens: required", "HttpTokens: optional", "HttpTokens: required" },
  { "IMDSv1 in Terraform", TF, '= "required"', '= "optional"', "http_tokens" },
  { "an undeclared name", CFN, "!Ref Profile", "!Ref Profil", "Profil is not declared" },
  { "an undeclared name in Terraform", TF, "%[aws_sns_topic_policy%.topic%]",
    "[aws_sns_topic_policy.topc]", "topc is not declared" },
  { "an open bracket", TF, "identifiers = %[\"ec2.amazonaws.com\"%]",
    "identifiers = [\"ec2.amazonaws.com\"", "but %d+ ]" },
  { "another user data", INIT, "ANOMALYD_PORT=8000", "ANOMALYD_PORT=8001", "UserData is not" },
  { "a shell script with an error", INIT, "      done\n", "", "sh does not read" },
  { "a name that nobody fills in", INIT, "${Region}", "${Reggion}", "Reggion is not filled in" },
  { "a tab", CFN, "  Topic:", "\tTopic:", "a tab" },
}

describe("the instance's subscribe script", function()
  it("asks IMDSv2 for the address and subscribes it to each topic", function()
    local dir = files.line("mktemp -d")
    local cleanup <close> = setmetatable({}, { -- luacheck: ignore
      __close = function() os.execute("rm -rf " .. dir) end })
    local script = files.read(INIT):match("anomalyd%-subscribe\n.-content: |\n(.-)\n  %- ")
    write(dir .. "/script", (("\n" .. script .. "\n"):gsub("\n      ", "\n")))
    write(dir .. "/curl", [[#!/bin/sh
case "$*" in
"-sf -m 5 -X PUT -H X-aws-ec2-metadata-token-ttl-seconds: 60 "*/latest/api/token)
    echo TOKEN ;;
"-sf -m 5 -H X-aws-ec2-metadata-token: TOKEN http://169.254.169.254/latest/meta-data/public-ipv4")
    echo 203.0.113.9 ;;
*) exit 22 ;;
esac
]])
    write(dir .. "/anomalyd", "#!/bin/sh\necho \"$@\" >>" .. dir .. "/calls\n")
    os.execute(("chmod +x %s/curl %s/anomalyd"):format(dir, dir))
    local text, ok = output(("env PATH=%s:$PATH SNS_TOPIC_ARNS=arn:a,arn:b ANOMALYD_PORT=8000 "
      .. "sh %s/script"):format(dir, dir))
    assert.is_true(ok, text)
    assert.equal("subscribe --topic arn:a --endpoint http://203.0.113.9:8000/notify\n"
      .. "subscribe --topic arn:b --endpoint http://203.0.113.9:8000/notify\n",
      files.read(dir .. "/calls"))
  end)
end)

describe("the check of the templates", function()
  local root
  setup(function() root = files.line("mktemp -d") end)
  teardown(function() os.execute("rm -rf " .. root) end)

  local function run() return output("lua5.4 scripts/check/deploy.lua " .. root) end

  before_each(function()
    os.execute(("cd %s && rm -rf * && mkdir scripts"):format(root))
    os.execute(("cp -r lua %s/ && cp -r scripts/deploy %s/scripts/"):format(root, root))
  end)

  it("is content with what is there", function()
    local text, ok = run()
    assert.is_true(ok, text)
    assert.truthy(text:find("^deploy: 1%d rights"))
  end)

  for _, case in ipairs(CASES) do
    local name, path, old, new, complaint = table.unpack(case)
    it("finds " .. name, function()
      local text = files.read(root .. "/" .. path)
      local changed, count = text:gsub(old:gsub("^%${", "%%${"), (new:gsub("%%", "%%%%")), 1)
      assert.equal(1, count, "nothing to change")
      write(root .. "/" .. path, changed)
      local said, ok = run()
      assert.is_false(ok)
      assert.truthy(said:find(complaint), said)
    end)
  end
end)
