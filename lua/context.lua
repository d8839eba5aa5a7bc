--- context: what the modules of one generation share: the open bucket, the checked policy, the log.
--
-- service.lua fills it when a generation becomes ready to serve; before that it is empty. Scripts
-- reach the service through the modules that use it (history, baseline_view, batches), not
-- directly.
return {}
