--- help_texts: what :help says about what has no Lua source to read: the live objects of the
-- console and the modules written in C. "NAME" is a module or an object, "NAME.part" one of its
-- functions; the first line of a text is its call.
return {
  -- the console's live objects
  baseline = [=[baseline: the channels as they are now
baseline.temperature.mean, .count, .std, .M2, .mature; see baseline.history, baseline.zscore]=],
  ["baseline.history"] = [=[baseline:history(channel [, n = 20]) -> rows
What the newest batches held of a channel: batch, count, mean, std, and the distance of their mean
from the baseline's, in its deviations.]=],
  ["baseline.zscore"] = [=[baseline:zscore(channel, value) -> score, whether it is flagged
The distance of a value from the baseline's mean in its deviations, under the session's policy. nil
and the reason while the channel is not mature.]=],
  ["baseline.channel"] = [=[baseline:channel(name) -> channel
For a channel whose name is no name of Lua, or that of a method.]=],
  policy = [=[policy: the detection and baseline policy
policy.z_threshold = 2.5 holds in this session only: for score, whatif and baseline:zscore. nil
takes it back. The service's own policy is scripts/baseline_policy.lua.]=],
  store = [=[store: the bucket, with the calls list, get, head, put, delete
store.name, store.kind, store.read_only]=],
  ["store.list"] = [=[store:list(prefix | {prefix =, start_after =, limit = 1000}) -> rows
Each row: key, size, last_modified, and the etag where it is known.]=],
  ["store.get"] = [=[
store:get(key) -> {body, etag, size, last_modified, metadata} | nil, message, code]=],
  ["store.head"] = [=[store:head(key) -> the same without body | nil, message, code]=],
  ["store.put"] = [=[store:put(key, body [, options]) -> {etag} | nil, message, code
Writes into the bucket, and is logged. Options: if_match, if_none_match = "*", metadata.]=],
  ["store.delete"] = [=[store:delete(key) -> true | nil, message, code
Deletes from the bucket, and is logged.]=],
  queue = [=[
queue: .waiting, .running, .width, .limit, .finished = {done =, failed =, duplicate =}]=],
  ["queue.list"] = [=[queue:list([state [, limit = 100]]) -> rows
state: "queued", "running", "retrying", "done" or "failed".]=],
  score = [=[score(key) -> {key, rows, anomalies, rate, counted, channels, flagged, first}
A dry run: scores the batch as if it landed now, under the session's policy. Nothing is written.
counted: the baseline has learned this content before, so it is not learned again. first: the first
flagged rows, and why they are.]=],
  whatif = [=[whatif(key) -> {key, rows, counted, anomalies, flagged, policy}
The same batch under the service's policy and under the session's (see policy), side by side.
Nothing is written.]=],
  redrive = [=[redrive(key) -> "queued" | "known" | nil, message, code
Has a batch looked at again, as an event would. It is logged.]=],

  -- modules
  column = [=[column: numbers of one channel, NaN where missing; #c, c[i], c:totable()]=],
  ["column.new"] = [=[column.new{1, 2.5, false, ...} -> column
From numbers; false and "" stand for a missing cell.]=],
  ["column.constant"] = [=[column.constant(n, value) -> column of n cells]=],
  ["column.moments"] = [=[column.moments(c [, state [, keep]]) -> {count, mean, M2, std}
Welford's recurrence in row order, going on from state; only rows where keep is not 0.]=],
  ["column.moments_all"] = [=[
column.moments_all(columns [, states [, keeps]]) -> list of {count, mean, M2, std}
The moments of several columns, faster than one by one; a state or a keep may be false.]=],
  ["column.zscore"] = [=[
column.zscore(c, mean, std) -> column of |c - mean| / std; 0 where std is 0]=],
  ["column.above"] = [=[column.above(c, limit) -> column: 1 where c > limit, else 0]=],
  ["column.below"] = [=[column.below(c, limit) -> column: 1 where c < limit, else 0]=],
  ["column.both"] = [=[column.both(a, b) -> column: 1 where neither is 0 or missing]=],
  ["column.any"] = [=[column.any{c1, c2, ...} -> column: 1 where any is not 0]=],
  ["column.none"] = [=[column.none{c1, ...} -> column: 1 where all are 0]=],
  ["column.equal"] = [=[column.equal(c, value) -> column: 1 where c == value, else 0]=],
  ["column.count"] = [=[column.count(c) -> how many cells are neither 0 nor missing]=],
  ["column.missing"] = [=[column.missing(c) -> how many cells are missing]=],
  ["column.totable"] = [=[column.totable(c) -> list of numbers, NaN where missing]=],

  csv = [=[csv: delimited text as a frame of columns; every byte of it is kept]=],
  ["csv.file"] = [=[csv.file(path [, most]) -> file | nil, message, code
A file's bytes for csv.parse, without a copy where that is safe; #file, file:md5(), file:close().
Who wants to write into the file meanwhile may have to wait until it is closed.]=],
  ["csv.parse"] = [=[csv.parse(text | file [, options]) -> frame | nil, message, code, line
Options: delimiter, max_bytes, max_rows, max_columns, max_row_bytes, text_only. See frame.]=],
  ["csv.scan_path"] = [=[
csv.scan_path([name]) -> name: which way of scanning is used (for tests)]=],
  frame = [=[frame: what csv.parse gives: .rows, .names, .delimiter, .rejected]=],
  ["frame.column"] = [=[frame:column(name) -> column | nil]=],
  ["frame.numbers"] = [=[frame:numbers(name) -> {cells, finite, bad, missing, booleans, first}]=],
  ["frame.cell"] = [=[frame:cell(row, name) -> text | nil]=],
  ["frame.set"] = [=[frame:set(name, column [, format])
format: "shortest", "fixed4", "integer", "boolean"; or a list of texts in the column's place.]=],
  ["frame.drop"] = [=[frame:drop(name) -> whether there was such a column]=],
  ["frame.format"] = [=[frame:format() -> the file as text]=],
  ["frame.save"] = [=[frame:save(file) -> bytes written into an open file]=],
  ["frame.select"] = [=[frame:select(name, text, limit) -> rows, names
The first rows of the input whose cell is this text.]=],
  ["frame.rejected_text"] = [=[frame:rejected_text() -> the rows that did not fit, as CSV]=],
  ["frame.close"] = [=[frame:close(): release its memory now]=],

  digest = [=[digest: SHA-256, MD5, HMAC, base64]=],
  ["digest.sha256"] = [=[digest.sha256(text [, "raw"]) -> hex, or 32 bytes]=],
  ["digest.md5"] = [=[digest.md5(text [, "raw"]) -> hex, or 16 bytes]=],
  ["digest.hmac_sha256"] = [=[digest.hmac_sha256(key, text [, "raw"]) -> hex, or 32 bytes]=],
  ["digest.hex"] = [=[digest.hex(bytes) -> hex]=],
  ["digest.base64"] = [=[digest.base64(bytes) -> text]=],
  ["digest.unbase64"] = [=[digest.unbase64(text) -> bytes | nil, message, "BadBase64"]=],

  host = [=[host: the program itself: .version, .root]=],
  ["host.exit"] = [=[host.exit([code]): end the whole service at once]=],
  ["host.on_signal"] = [=[
host.on_signal(fn): fn(name) for SIGTERM, SIGINT and SIGHUP; replaces the service's]=],
  ["host.configure"] = [=[host.configure{workers, slice, lua_memory}]=],
  ["host.log"] = [=[host.log(level, message [, fields])]=],
  ["host.log_setup"] = [=[host.log_setup{level, json, stderr}]=],
  ["host.log_level"] = [=[host.log_level() -> name]=],
  ["host.now"] = [=[host.now() -> seconds on a clock that never jumps]=],
  ["host.time"] = [=[host.time() -> seconds since 1970]=],
  ["host.utc"] = [=[host.utc([seconds]) -> "2026-02-27T01:56:54.825950"]=],
  ["host.stats"] = [=[host.stats() -> {tasks, lua_memory, workers, jobs, memory}]=],
  ["host.is_terminal"] = [=[host.is_terminal(0 | 1 | 2) -> boolean]=],
  ["host.pid"] = [=[host.pid() -> number of the process]=],
  ["host.uid"] = [=[host.uid() -> number of the user it runs as]=],
  ["host.notify"] = [=[
host.notify{ready, reloading, stopping, status, extend} -> whether a service manager listens]=],
  ["host.trim"] = [=[host.trim(): give freed memory back to the system; waits for a worker]=],
  ["host.compiled"] = [=[host.compiled([md5]) -> the binary chunk of a file of the library | nil
Known by the MD5 of its text; without it that of the probe, see lua/precompiled.lua.]=],
  ["host.make_directory"] = [=[host.make_directory(path) -> true | nil, message]=],

  http = [=[http: one request, one answer; waits]=],
  ["http.request"] = [=[
http.request{method, url, headers, body, timeout, limit, ...} -> {status, headers, body}
| nil, message, code]=],
  ["http.get"] = [=[http.get(url [, options]) -> {status, headers, body} | nil, message, code]=],

  iforest = [=[iforest: isolation forests, scikit-learn's to the bit]=],
  ["iforest.fit"] = [=[iforest.fit(columns [, options]) -> forest
Options: n_estimators = 100, max_samples = "auto", contamination = 0.05, random_state = 42.]=],
  ["iforest.fit_score"] = [=[
iforest.fit_score(columns [, options]) -> {scores, decisions, labels, offset}]=],
  forest = [=[
forest: what iforest.fit gives: .offset, .n_estimators, .n_rows, .n_features, .n_nodes]=],
  ["forest.score_samples"] = [=[forest:score_samples(columns) -> column]=],
  ["forest.decision_function"] = [=[forest:decision_function(columns) -> column]=],
  ["forest.predict"] = [=[forest:predict(columns) -> column of 1 and -1]=],
  ["forest.explain"] = [=[
forest:explain(columns, row) -> {channel = how far it shortened the row's paths}]=],
  ["forest.tree"] = [=[forest:tree(number) -> the tree in scikit-learn's terms]=],

  number = [=[number: doubles as text, the same on every machine]=],
  ["number.shortest"] = [=[number.shortest(x) -> the fewest digits that read back]=],
  ["number.fixed4"] = [=[number.fixed4(x) -> text, rounded to 4 decimals]=],
  ["number.round4"] = [=[number.round4(x) -> number, rounded to 4 decimals]=],
  ["number.parse"] = [=[number.parse(text) -> number | nil]=],

  sigv4 = [=[sigv4: AWS Signature Version 4]=],
  ["sigv4.sign"] = [=[sigv4.sign{method, path, query, headers, body | payload_hash, region, service,
access_key_id, secret_access_key, session_token, date} -> {canonical_request, string_to_sign,
signature, headers}]=],

  task = [=[task: start tasks, let them wait]=],
  ["task.spawn"] = [=[task.spawn(fn, ...) -> id: run fn as a task; its failure is logged]=],
  ["task.start"] = [=[task.start(fn, ...) -> job: job:wait([seconds]), job:failure(), job:id()]=],
  ["task.sleep"] = [=[task.sleep(seconds): let others run meanwhile]=],
  ["task.signal"] = [=[task.signal() -> signal: signal:wait([seconds]), signal:fire()]=],
  ["task.id"] = [=[task.id() -> number of the task that runs]=],
  ["task.cancel"] = [=[
task.cancel(id) -> whether there was such a task; it gets an error from its wait]=],
  ["task.list"] = [=[task.list() -> {{id, name, waits, age}, ...}]=],

  zscore = [=[zscore(cells, name, channel, policy) -> score column, flag column]=],
  print = [=[print(...): shows its values in this console]=],
}
