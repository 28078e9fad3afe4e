// The page: what its parts know of each other.

import { $, empty, h, tabs, toast } from "/page/dom.js";
import { ask } from "/page/server.js";
import { Editor } from "/page/editor.js";
import { addDefaults, showForm } from "/page/form.js";
import { countRecords, countRequests, showFlow, showLog, showRecords, showRequests } from "/page/results.js";
import { Capture } from "/page/capture.js";

/** How long after the last key the manifest is looked at. */
const PAUSE = 250;

const state = {
  start: null,
  saved: "",
  outline: null,
  config: {},
  /** Streams of templates, which the API has named. */
  dynamic: [],
  stream: null,
  /** The last read of each stream. */
  reads: new Map(),
  chosen: { slice: 0, page: 0 },
};

const editor = new Editor($("editor"), () => {
  showUnsaved();
  clearTimeout(state.waiting);
  state.waiting = setTimeout(look, PAUSE);
});
const left = tabs(document.querySelector(".left > .tabs"));
const right = tabs(document.querySelector(".result > .tabs"));
const capture = new Capture($("panel-capture"), () => ({ text: editor.text, config: state.config, streams: [] }));

const showUnsaved = () => ($("unsaved").hidden = editor.text === state.saved);
const report = (error) => toast(error.message, true);

/** Looks at the manifest: its problems, its streams, its form. Nothing is run. */
async function look() {
  const text = editor.text;
  let outline;
  try {
    outline = (await ask("/builder/outline", { text })).value;
  } catch (error) {
    report(error);
    return;
  }
  if (text !== editor.text) return;
  showProblems(outline.problems.sort((a, b) => a.line - b.line));
  // While there is a mistake in the YAML, the last form and the last streams stay.
  if (!outline.manifest) return;
  state.outline = outline;
  addDefaults(outline.fields, state.config);
  showForm($("config"), outline, state.config, () => {}, () => editor.text);
  $("find-dynamic").hidden = !outline.has_dynamic_streams;
  showStreams();
}

function showProblems(problems) {
  const lines = new Map();
  for (const { line, message } of problems) lines.set(line, lines.has(line) ? `${lines.get(line)}\n${message}` : message);
  editor.mark(lines);
  const item = ({ line, message }) =>
    h("li", {}, h("button", { type: "button", click: () => editor.go(line) }, h("span", { class: "where" }, `Line ${line}`), message));
  $("problems").replaceChildren(...problems.map(item));
  $("problems").hidden = problems.length === 0;
  $("problem-count").hidden = false;
  $("problem-count").className = `chip ${problems.length ? "bad" : "good"}`;
  $("problem-count").textContent = problems.length === 0 ? "Valid" : problems.length === 1 ? "1 problem" : `${problems.length} problems`;
}

function showStreams() {
  const streams = [...(state.outline?.streams ?? []), ...state.dynamic];
  if (!streams.some((it) => it.name === state.stream)) state.stream = streams[0]?.name ?? null;
  const about = (it) => [it.is_dynamic ? "dynamic" : it.is_incremental ? "incremental" : "full refresh", it.primary_key?.length ? it.primary_key.join(", ") : null];
  const item = (it) =>
    h("li", { role: "option", "aria-selected": String(it.name === state.stream), click: () => choose(it.name), dblclick: () => it.line && editor.go(it.line) },
      h("b", {}, it.name), h("span", {}, about(it).filter(Boolean).join(" · ")));
  $("streams").replaceChildren(...streams.map(item));
  showResults();
}

function choose(name) {
  state.stream = name;
  state.chosen = { slice: 0, page: 0 };
  showStreams();
}

$("streams").addEventListener("keydown", (event) => {
  const names = [...(state.outline?.streams ?? []), ...state.dynamic].map((it) => it.name);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && names.length) {
    event.preventDefault();
    choose(names[(names.indexOf(state.stream) + step + names.length) % names.length]);
  } else if (event.key === "Enter") testRead();
});

function showResults() {
  const read = state.reads.get(state.stream);
  const again = (chosen) => {
    state.chosen = chosen;
    showResults();
  };
  const count = (tab, value) => {
    tab.querySelector(".count")?.remove();
    if (value !== undefined) tab.append(h("span", { class: "chip count" }, value));
  };
  count($("tab-records"), read && !read.failed ? countRecords(read) : undefined);
  count($("tab-requests"), read && !read.failed ? countRequests(read) : undefined);
  $("cost").textContent = read?.cost ? read.cost : "";
  const panels = ["panel-records", "panel-requests", "panel-flow", "panel-log"].map($);
  if (!read || read.failed || read.pending) {
    const note = () =>
      read?.pending ? h("div", { class: "empty" }, h("span", { class: "busy" }, `Reading ${state.stream}`))
      : read?.failed ? h("div", { class: "alert", id: "read-error" }, read.failed)
      : state.stream ? empty(`Nothing was read of ${state.stream} yet`, "Press Ctrl+Enter, or Test read.")
      : empty("No streams", "The manifest has no streams yet.");
    panels.forEach((it) => it.replaceChildren(note()));
    return;
  }
  const [records, requests, flow, log] = panels;
  showRecords(records, read, state.chosen, again);
  showRequests(requests, read, state.chosen, again);
  showFlow(flow, read);
  showLog(log, read);
}

async function testRead() {
  const stream = state.stream;
  if (!stream || !state.outline) return;
  if (state.reads.get(stream)?.pending) return;
  state.chosen = { slice: 0, page: 0 };
  state.reads.set(stream, { pending: true });
  showResults();
  $("test-read").disabled = true;
  try {
    const body = {
      manifest: state.outline.manifest, config: state.config, stream_name: stream, state: [],
      record_limit: Number($("limit-records").value), page_limit: Number($("limit-pages").value), slice_limit: Number($("limit-slices").value),
      ...(state.start.components ? { custom_components_code: state.start.components } : {}),
    };
    const { value, cost } = await ask("/v1/manifest/test_read", body);
    state.reads.set(stream, { ...value, cost });
  } catch (error) {
    state.reads.set(stream, { failed: error.message });
  }
  $("test-read").disabled = false;
  showResults();
}

async function check() {
  const result = $("check-result");
  result.className = "note busy";
  result.textContent = "Checking";
  $("check").disabled = true;
  try {
    const { value } = await ask("/v1/manifest/check", { manifest: state.outline?.manifest ?? {}, config: state.config });
    result.className = `note ${value.success ? "good" : "bad"}`;
    result.textContent = value.success ? "The connection works." : value.message;
  } catch (error) {
    result.className = "note bad";
    result.textContent = error.message;
  }
  $("check").disabled = false;
}

async function findDynamic() {
  const button = $("find-dynamic");
  button.disabled = true;
  try {
    const { value } = await ask("/v1/manifest/full_resolve", { manifest: state.outline.manifest, config: state.config });
    const found = value.manifest.streams.filter((it) => it.dynamic_stream_name);
    const key = (it) => [it ?? []].flat(2);
    state.dynamic = found.map((it) => ({ name: it.name, primary_key: key(it.primary_key), is_dynamic: true }));
    showStreams();
  } catch (error) {
    report(error);
  }
  button.disabled = false;
}

async function save() {
  if (!state.start?.can_save) {
    download(state.start?.name ?? "manifest.yaml", editor.text);
    state.saved = editor.text;
    showUnsaved();
    return;
  }
  const text = editor.text;
  try {
    const { value } = await ask("/builder/save", { text });
    state.saved = text;
    showUnsaved();
    toast(`Saved ${value.saved}`);
  } catch (error) {
    report(error);
  }
}

function download(name, text) {
  // Not as a text: browsers would add .txt to the names.
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** The files of a shim, as `flow-shim init` writes them. */
async function files() {
  const dialog = $("files-dialog");
  const close = h("button", { type: "button", click: () => dialog.close() }, "Close");
  const frame = (body, ...buttons) =>
    dialog.replaceChildren(h("header", {}, h("h2", { id: "files-title" }, "Shim files")), h("div", { class: "body" }, body), h("footer", {}, buttons, close));
  frame(h("p", { class: "busy" }, "Asking the connector for its spec and its streams"));
  dialog.showModal();
  let found;
  try {
    found = (await ask("/builder/files", { text: editor.text, config: state.config })).value.files;
  } catch (error) {
    frame(h("div", { class: "alert" }, error.message));
    return;
  }
  found.push({ name: "manifest.yaml", text: editor.text });
  const shown = h("div", {});
  const buttons = found.map((it) => h("button", { type: "button", "aria-pressed": "false", click: () => choose(it) }, it.name));
  const save = h("button", { type: "button", id: "download-file" });
  const choose = (file) => {
    buttons.forEach((it) => it.setAttribute("aria-pressed", String(it.textContent === file.name)));
    shown.replaceChildren(h("pre", { class: "json", tabindex: 0 }, file.text));
    save.textContent = `Download ${file.name}`;
    save.onclick = () => download(file.name, file.text);
  };
  const all = h("button", { type: "button", class: "primary", id: "download-all", click: () => found.forEach((it) => download(it.name, it.text)) }, "Download all");
  choose(found[0]);
  frame([h("p", { class: "quiet" }, "Put them into a directory: it is a shim that flow-shim runs, and an image that Flow runs."), h("div", { class: "steps" }, buttons), shown], save, all);
}

$("read").addEventListener("submit", (event) => {
  event.preventDefault();
  testRead();
});
$("config").addEventListener("submit", (event) => {
  event.preventDefault();
  testRead();
});
$("check").addEventListener("click", check);
$("find-dynamic").addEventListener("click", findDynamic);
$("save").addEventListener("click", save);
$("files").addEventListener("click", files);
$("problem-count").addEventListener("click", () => {
  left("tab-manifest");
  document.querySelector("#problems button")?.click();
});
document.addEventListener("keydown", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  if (event.key === "s") {
    event.preventDefault();
    save();
  } else if (event.key === "Enter") {
    event.preventDefault();
    testRead();
  }
});
window.addEventListener("beforeunload", (event) => {
  if (editor.text !== state.saved) event.preventDefault();
});

async function start() {
  try {
    state.start = (await ask("/builder/start")).value;
  } catch (error) {
    report(error);
    return;
  }
  const { name, text, config, cdk, can_save, flow_shim } = state.start;
  document.title = `${name} – flow-shim builder`;
  $("file-name").textContent = name;
  $("save").textContent = can_save ? "Save" : "Download";
  $("engine").textContent = `flow-shim ${flow_shim} · airbyte-cdk ${cdk}`;
  state.config = config;
  state.saved = text;
  editor.text = text;
  showUnsaved();
  await look();
}

right("tab-records");
start();
