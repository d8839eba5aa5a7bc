--- docs_page: the page at /docs: every route, its parameters, and a form that tries it.
--
-- One page that needs nothing else: no network beyond this service, whose /openapi.json it reads.
-- Whatever comes from outside is put in as text, never as markup, and the policy in its head lets
-- no script run but this one: its hash stands there, so a change of SCRIPT changes SCRIPT_HASH (the
-- spec computes it and says which).
local docs_page = {}

local STYLE = [==[
:root { color-scheme: light dark; --line: #d5d9e0; --soft: #f4f6f9; --dim: #566073;
  --get: #1d6fb8; --post: #1a7f4b; --put: #9a5b00; --delete: #b3261e; --patch: #6a45b8;
  --text: #1b2230; --page: #fff; --focus: #1d6fb8; }
@media (prefers-color-scheme: dark) {
  :root { --line: #39414f; --soft: #1d232d; --dim: #a3adbd; --text: #e6eaf1; --page: #14181f;
    --get: #6fb3f0; --post: #62c48f; --put: #e0a348; --delete: #f08a82; --patch: #b39af0;
    --focus: #6fb3f0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main, header { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
h1 { margin: 0; font-size: 1.7rem; }
h1 small { color: var(--dim); font-size: .95rem; font-weight: normal; margin-left: .5rem; }
p { margin: .5rem 0; }
.dim { color: var(--dim); }
code, pre, textarea, .path { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
a { color: var(--get); }
details { border: 1px solid var(--line); border-radius: 8px; margin: .6rem 0; }
summary { cursor: pointer; padding: .6rem .8rem; display: flex; flex-wrap: wrap; gap: .3rem .8rem;
  align-items: baseline; border-radius: 8px; }
summary:hover { background: var(--soft); }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
.method { font-weight: 700; font-size: .85rem; min-width: 4.2rem; }
.GET { color: var(--get); } .POST { color: var(--post); } .PUT { color: var(--put); }
.DELETE { color: var(--delete); } .PATCH { color: var(--patch); }
.path { font-size: .95rem; overflow-wrap: anywhere; }
.inside { padding: .2rem .8rem 1rem; border-top: 1px solid var(--line); }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .3rem; }
h3 { font-size: .95rem; margin: 1rem 0 .3rem; }
.field { display: grid; grid-template-columns: minmax(9rem, 16rem) 1fr; gap: .2rem 1rem;
  padding: .4rem 0; align-items: start; }
.field small { display: block; color: var(--dim); }
@media (max-width: 34rem) { .field { grid-template-columns: 1fr; } }
input, select, textarea, button { font: inherit; color: inherit; background: var(--page);
  border: 1px solid var(--dim); border-radius: 6px; padding: .35rem .6rem; width: 100%; }
textarea { min-height: 7rem; resize: vertical;
  font: .9rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
button { width: auto; cursor: pointer; background: var(--soft); font-weight: 600; }
button[disabled] { opacity: .6; cursor: wait; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
td, th { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top; }
th { font-weight: 600; }
pre { background: var(--soft); border-radius: 6px; padding: .7rem .8rem; margin: .4rem 0;
  overflow: auto; max-height: 26rem; font-size: .85rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.status { font-weight: 600; }
.bad { color: var(--delete); }
]==]

local SCRIPT = [==[
"use strict";
const METHODS = ["get", "post", "put", "delete", "patch"];
const LONGEST = 200000;

/* An element with attributes and children; texts become text nodes. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== undefined && value !== false) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/* What a schema asks for, in words. */
function limits(schema, required) {
  const words = [schema.type || "any"];
  if (required) words.push("required");
  if (schema.minimum !== undefined) words.push("from " + schema.minimum);
  if (schema.maximum !== undefined) words.push("to " + schema.maximum);
  if (schema.minLength !== undefined) words.push("at least " + schema.minLength + " characters");
  if (schema.maxLength !== undefined) words.push("at most " + schema.maxLength + " characters");
  if (schema.default !== undefined) words.push("default " + JSON.stringify(schema.default));
  return words.join(", ");
}

function control(id, parameter) {
  const schema = parameter.schema || {};
  const choices = schema.enum || (schema.type === "boolean" ? [true, false] : null);
  if (!choices) {
    return make("input", { id, autocomplete: "off", spellcheck: "false",
      required: parameter.required && "", value: parameter.example,
      inputmode: schema.type === "integer" ? "numeric" : undefined,
      placeholder: schema.default === undefined ? undefined : String(schema.default) });
  }
  const select = make("select", { id, required: parameter.required && "" });
  if (!parameter.required) select.append(make("option", { value: "" }, "(not given)"));
  for (const choice of choices) select.append(make("option", {}, String(choice)));
  return select;
}

function field(id, title, notes, input) {
  return make("div", { class: "field" },
    make("label", { for: id }, make("code", {}, title),
      ...notes.filter(Boolean).map((note) => make("small", {}, note))), input);
}

/* The target of a request, from what is filled in; an empty optional field is left out. */
function target(path, inputs) {
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path")
      path = path.replace("{" + parameter.name + "}", () => encodeURIComponent(input.value));
    else if (input.value !== "" || parameter.required) query.append(parameter.name, input.value);
  }
  const text = query.toString();
  return text ? path + "?" + text : path;
}

function quote(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

function curl(method, address, kind, body) {
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  if (body !== undefined)
    words.push("-H", quote("content-type: " + kind), "--data-raw", quote(body));
  words.push(quote(address));
  return words.join(" ");
}

function pretty(text, kind) {
  if (text.length > LONGEST)
    return text.slice(0, LONGEST) + "\n... (" + text.length + " characters in all)";
  if (!/json/.test(kind)) return text;
  try {
    JSON.parse(text);
  } catch (error) {
    return text;
  }
  return spread(text);
}

/* JSON text broken into lines; its numbers stay as they are written (22.0 stays 22.0). */
function spread(text) {
  let out = "", depth = 0, before = "";
  const line = () => "\n" + "  ".repeat(depth);
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+/g)) {
    if (token === "{" || token === "[") { depth++; out += token + line(); }
    else if (token === "}" || token === "]") {
      depth--;
      out = (before === "{" || before === "[" ? out.trimEnd() : out + line()) + token;
    }
    else if (token === ",") out += token + line();
    else if (token === ":") out += ": ";
    else out += token;
    before = token;
  }
  return out;
}

async function send(method, path, inputs, kind, area, button, answer) {
  const address = new URL(target(path, inputs).replace(/^\//, ""), document.baseURI).href;
  const body = area && (area.value !== "" || area.required) ? area.value : undefined;
  const options = { method, cache: "no-store", redirect: "follow" };
  if (body !== undefined) { options.body = body; options.headers = { "content-type": kind }; }
  button.disabled = true;
  const began = performance.now();
  const parts = [make("pre", {}, curl(method, address, kind, body))];
  try {
    const reply = await fetch(address, options);
    const text = await reply.text();
    const type = reply.headers.get("content-type") || "";
    const took = Math.round(performance.now() - began);
    parts.push(make("p", { class: reply.ok ? "status" : "status bad" },
      reply.status + " " + reply.statusText + " \u00b7 " + took + " ms \u00b7 " + type));
    parts.push(make("pre", { tabindex: "0" }, text === "" ? "(no body)" : pretty(text, type)));
  } catch (error) {
    parts.push(make("p", { class: "status bad" }, "No answer: " + error.message));
  }
  answer.replaceChildren(make("h3", {}, "Answer"), ...parts);
  button.disabled = false;
}

function responses(operation) {
  const table = make("table", {}, make("tr", {}, make("th", { scope: "col" }, "Status"),
    make("th", { scope: "col" }, "Meaning"), make("th", { scope: "col" }, "Type")));
  for (const [status, about] of Object.entries(operation.responses || {})) {
    const kinds = Object.entries(about.content || {});
    table.append(make("tr", {}, make("td", {}, make("code", {}, status)),
      make("td", {}, about.description, ...kinds.filter(([, c]) => c.example !== undefined)
        .map(([, c]) => make("pre", {}, JSON.stringify(c.example, null, 2)))),
      make("td", {}, kinds.map(([kind]) => kind).join(", "))));
  }
  return table;
}

/* What a JSON body may hold: its fields as rows. */
function bodyFields(schema) {
  const rows = Object.entries((schema && schema.properties) || {}).map(([name, about]) =>
    make("tr", {}, make("td", {}, make("code", {}, name)),
      make("td", {}, limits(about, (schema.required || []).includes(name))),
      make("td", {}, about.description || "")));
  return rows.length ? make("table", {}, ...rows) : undefined;
}

function bodyPart(id, requestBody) {
  const [kind, content] = Object.entries(requestBody.content)[0];
  const example = content.example;
  const area = make("textarea", { id: id + "-body", spellcheck: "false",
    required: requestBody.required && "" });
  if (example !== undefined)
    area.value = typeof example === "string" ? example : JSON.stringify(example, null, 2);
  const part = make("div", {}, make("h3", {}, "Body"), bodyFields(content.schema),
    field(id + "-body", kind, [requestBody.description, requestBody.required && "required"], area));
  return { part, area, kind };
}

function operationPart(path, method, operation) {
  const id = operation.operationId;
  const inputs = (operation.parameters || []).map((parameter, i) => (
    { parameter, input: control(id + "-" + i, parameter) }));
  const body = operation.requestBody && bodyPart(id, operation.requestBody);
  const button = make("button", { type: "submit" }, "Send");
  const answer = make("div", { "aria-live": "polite" });
  const form = make("form", { "aria-label": "Try " + method + " " + path },
    inputs.length ? make("h3", {}, "Parameters") : undefined,
    ...inputs.map(({ parameter, input }) => field(input.id, parameter.name,
      [parameter.in + ", " + limits(parameter.schema || {}, parameter.required),
        parameter.description], input)),
    body && body.part, make("p", {}, button));
  form.noValidate = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, body && body.kind, body && body.area, button, answer);
  });
  return make("details", { id },
    make("summary", {}, make("span", { class: "method " + method }, method),
      make("span", { class: "path" }, path),
      make("span", { class: "dim" }, operation.summary || "")),
    make("div", { class: "inside" },
      operation.description ? make("p", {}, operation.description) : undefined,
      form, answer, make("h3", {}, "Answers"), responses(operation)));
}

function show(api) {
  document.title = api.info.title + ": routes";
  const title = document.querySelector("h1");
  title.replaceChildren(api.info.title, make("small", {}, api.info.version));
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths))
    for (const method of METHODS) {
      if (!item[method]) continue;
      const tag = (item[method].tags || [""])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationPart(path, method.toUpperCase(), item[method]));
    }
  const main = document.querySelector("main");
  main.replaceChildren();
  for (const [tag, parts] of groups) main.append(...(tag ? [make("h2", {}, tag)] : []), ...parts);
  if (groups.size === 0) main.append(make("p", {}, "No routes are declared."));
  const chosen = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (chosen) { chosen.open = true; chosen.scrollIntoView(); }
}

fetch("openapi.json", { cache: "no-store" })
  .then((reply) => {
    if (!reply.ok) throw new Error("openapi.json: " + reply.status);
    return reply.json();
  })
  .then(show)
  .catch((error) => document.querySelector("main").replaceChildren(
    make("p", { class: "bad", role: "alert" }, "The routes cannot be shown: " + error.message)));
]==]

local SCRIPT_HASH = "sha256-INP738q7SwU9ehv1B9nJI5T3j+JcWQxeegBV6w/6HRQ="

local PAGE = [==[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="content-security-policy" content="default-src 'none'; connect-src 'self'; %s">
<link rel="icon" href="data:,">
<title>Routes</title>
<style>
%s</style>
</head>
<body>
<header>
<h1>Routes</h1>
<p class="dim">Machine-readable: <a href="openapi.json">openapi.json</a></p>
</header>
<main><p>Reading openapi.json ...</p><noscript><p>This page needs JavaScript; the routes are in
<a href="openapi.json">openapi.json</a> too.</p></noscript></main>
<script>%s</script>
</body>
</html>
]==]

local policy = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
  .. "script-src '" .. SCRIPT_HASH .. "'"

--- The page, as text/html in UTF-8. It expects openapi.json beside it.
function docs_page.html()
  return PAGE:format(policy, STYLE, SCRIPT)
end

--- The script's text, exactly as it stands between its tags, and the hash that the policy names.
function docs_page.script()
  return SCRIPT, SCRIPT_HASH
end

return docs_page
