--- sns_handshake: which SNS topics this service believes, and what it answers them.
--
-- Edit and save; a running service takes it up. What can be set here:
--
--   topics          the ARNs that are believed. SNS_TOPIC_ARNS (separated by commas or spaces)
--                   fills it. When it is empty, the first topic that is confirmed is pinned in the
--                   bucket's state and is from then on the only one believed.
--   max_age         seconds after which a message is too old to be believed. SNS tries again for at
--                   most an hour.
--   clock_skew      seconds a message may come from the future.
--   raw             true takes raw message delivery (the bare S3 event, also from other servers
--                   with S3's interface). It is not signed: anybody who reaches the port can send
--                   it. SNS_RAW_DELIVERY=1 sets it.
--   chain           "when_possible", "require" or "off": see lua/sns_chain.lua.
--   confirm         asked about a SubscriptionConfirmation that is proven, from a believed topic.
--                   true: visit its SubscribeURL. "later": do not; it is logged, for a person to
--                   visit. false and a reason: refuse it.
--   on_unsubscribe  told of a proven UnsubscribeConfirmation. "log": only log it. "resubscribe":
--                   visit its SubscribeURL, which undoes the unsubscription.
--
-- Both functions get the message and {topic = {region, account, name, ...}, first = true when this
-- topic would be the first one and pinned, insecure = true when messages are not verified, peer}.
local topics = {}
for arn in (os.getenv("SNS_TOPIC_ARNS") or ""):gmatch("[^%s,]+") do
  topics[#topics + 1] = arn
end

return {
  topics = topics,
  max_age = 3900,
  clock_skew = 300,
  raw = os.getenv("SNS_RAW_DELIVERY") == "1",
  chain = "when_possible",

  confirm = function()
    return true
  end,

  on_unsubscribe = function()
    return "log"
  end,
}
