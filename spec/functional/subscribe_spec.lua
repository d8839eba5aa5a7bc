-- `anomalyd subscribe`, against a server that plays SNS.
local daemon = require("daemon")
local scripted = require("scripted")
local url = require("url")

local TOPIC = "arn:aws:sns:eu-west-3:111122223333:anomalyd"
local DONE = scripted.answer(200, { { "Content-Type", "text/xml" } },
  "<SubscribeResponse><SubscribeResult><SubscriptionArn>" .. TOPIC
  .. ":1c2d&amp;3</SubscriptionArn></SubscribeResult></SubscribeResponse>")

local function subscribe(server, arguments)
  return daemon.run("subscribe " .. arguments, nil, "AWS_ACCESS_KEY_ID=AKIDX "
    .. "AWS_SECRET_ACCESS_KEY=TOPSECRET AWS_SESSION_TOKEN=tok AWS_ENDPOINT_URL_SNS=" .. server.url)
end

local RIGHT = "--topic " .. TOPIC .. " --endpoint http://203.0.113.7:8000/notify"

describe("anomalyd subscribe", function()
  it("asks with a signed form and prints the subscription", function()
    local server <close> = scripted.start({ DONE })
    local code, out, err = subscribe(server, RIGHT)
    assert.equal("", err)
    assert.equal(0, code)
    assert.equal(TOPIC .. ":1c2d&3\n", out)
    local request = server:requests()[1]
    assert.equal("POST", request.method)
    local form = url.parse_query(request.body)
    assert.same({ Action = "Subscribe", Version = "2010-03-31", TopicArn = TOPIC, Protocol = "http",
      Endpoint = "http://203.0.113.7:8000/notify", ReturnSubscriptionArn = "true" }, form)
    assert.equal("tok", request.headers["x-amz-security-token"])
    assert.truthy(request.headers.authorization:find(
      "^AWS4%-HMAC%-SHA256 Credential=AKIDX/%d+/eu%-west%-3/sns/aws4_request, "
      .. "SignedHeaders=content%-type;host;x%-amz%-date;x%-amz%-security%-token, Signature=%x+$"))
  end)

  it("takes an https endpoint", function()
    local server <close> = scripted.start({ DONE })
    local endpoint = "https://anomalyd.example.org:8000/notify"
    local code, out = subscribe(server, "--topic " .. TOPIC .. " --endpoint " .. endpoint)
    assert.equal(0, code)
    assert.equal(TOPIC .. ":1c2d&3\n", out)
    local form = url.parse_query(server:requests()[1].body)
    assert.equal("https", form.Protocol)
    assert.equal(endpoint, form.Endpoint)
  end)

  it("signs what it sends", function()
    local sigv4 = require("sigv4")
    local server <close> = scripted.start({ DONE })
    subscribe(server, RIGHT)
    local request = server:requests()[1]
    local again = sigv4.sign({ method = "POST", path = "/", query = "", body = request.body,
      region = "eu-west-3", service = "sns", access_key_id = "AKIDX",
      secret_access_key = "TOPSECRET", session_token = "tok",
      date = request.headers["x-amz-date"],
      headers = { { "host", request.headers.host },
        { "content-type", request.headers["content-type"] } } })
    assert.truthy(request.headers.authorization:find("Signature=" .. again.signature, 1, true))
  end)

  it("tries again when SNS is busy, and not when it refuses", function()
    local busy = scripted.answer(503, {}, "")
    local throttled = scripted.answer(400, {},
      "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>")
    local server <close> = scripted.start({ busy, throttled, DONE })
    assert.equal(0, (subscribe(server, RIGHT)))
    assert.equal(3, #server:requests())
    local refused = scripted.answer(403, {}, "<ErrorResponse><Error><Code>AuthorizationError</Code>"
      .. "<Message>not allowed to perform: SNS:Subscribe</Message></Error></ErrorResponse>")
    local strict <close> = scripted.start({ refused })
    local code, out, err = subscribe(strict, RIGHT)
    assert.equal(1, code)
    assert.equal("", out)
    assert.equal("anomalyd: cannot subscribe to " .. TOPIC .. ": SNS answered 403 "
      .. "AuthorizationError: not allowed to perform: SNS:Subscribe\n", err)
    assert.equal(1, #strict:requests())
  end)

  it("refuses a wrong call before it asks anybody", function()
    local server <close> = scripted.start({ DONE })
    for _, arguments in ipairs({ "", "--topic " .. TOPIC, "--topic nonsense --endpoint http://a/",
      "--topic " .. TOPIC .. " --endpoint ftp://a/", "--topic arn:aws:s3:::bk --endpoint http://a/",
    }) do
      local code, _, err = subscribe(server, arguments)
      assert.equal(2, code)
      assert.truthy(err:find("^anomalyd: %-%-%a+ .*expected a"), err)
    end
    assert.equal(0, #server:requests())
  end)
end)
