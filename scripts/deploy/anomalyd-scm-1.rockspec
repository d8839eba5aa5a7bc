-- The modules for a stock Lua 5.4: `luarocks make scripts/deploy/anomalyd-scm-1.rockspec` in the
-- source tree. C modules are built by make; needed are pkg-config, libcurl, libcrypto and expat.
rockspec_format = "3.0"
package = "anomalyd"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "Isolation forest, CSV columns, S3, AWS signatures and SNS checks for Lua",
  detailed = "What anomalyd's service is made of, without the service.",
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.4, < 5.5", "lua-cjson >= 2.1" }
build = {
  type = "make",
  install_pass = false, -- the files below are all that is installed
  build_target = "so",
  build_variables = { BOOTSTRAP = ":" },
  install = {
    lib = {
      certificate = "build/lua/certificate.so",
      column = "build/lua/column.so",
      csv = "build/lua/csv.so",
      digest = "build/lua/digest.so",
      directory = "build/lua/directory.so",
      http = "build/lua/http.so",
      iforest = "build/lua/iforest.so",
      json_reader = "build/lua/json_reader.so",
      json_writer = "build/lua/json_writer.so",
      number = "build/lua/number.so",
      s3_call = "build/lua/s3_call.so",
      sigv4 = "build/lua/sigv4.so",
    },
    lua = {
      aws_settings = "lua/aws_settings.lua",
      credential_sources = "lua/credential_sources.lua",
      credentials = "lua/credentials.lua",
      json = "lua/json.lua",
      metrics = "lua/metrics.lua",
      openapi = "lua/openapi.lua",
      response = "lua/response.lua",
      router = "lua/router.lua",
      s3 = "lua/s3.lua",
      s3_events = "lua/s3_events.lua",
      schema = "lua/schema.lua",
      sns = "lua/sns.lua",
      sns_certificates = "lua/sns_certificates.lua",
      sns_chain = "lua/sns_chain.lua",
      suggest = "lua/suggest.lua",
      url = "lua/url.lua",
    },
  },
}
