// What a test read has brought: its records, its requests, and what Flow would get.

import { empty, h, json, number } from "/page/dom.js";

/** More rows are not shown. */
const MOST = 500;

const slicesOf = (read) => read?.slices ?? [];
const recordsOf = (slice) => slice.pages.flatMap((page) => page.records);

export const countRecords = (read) => slicesOf(read).reduce((sum, slice) => sum + recordsOf(slice).length, 0);
export const countRequests = (read) => slicesOf(read).reduce((sum, slice) => sum + slice.pages.length, 0);

/** Shows a part of the read; `chosen` is {slice, page}, which buttons change. */
export function showRecords(place, read, chosen, again) {
  if (countRequests(read) === 0) return place.replaceChildren(failure(read) ?? empty("No pages", "The stream was read, but nothing was asked for."));
  const page = read.slices[chosen.slice].pages[chosen.page];
  place.replaceChildren(
    ...[failure(read), limit(read)].filter(Boolean),
    steps(read, chosen, again),
    page?.records.length ? table(page.records) : empty("No records", page ? "This page has no records: look at its request." : "This slice was not read: a limit ended the read before."),
  );
}

export function showRequests(place, read, chosen, again) {
  if (countRequests(read) === 0) return place.replaceChildren(empty("No requests", "The read ended before a request was sent."));
  const slice = read.slices[chosen.slice];
  const page = slice.pages[chosen.page];
  const others = [...(read.auxiliary_requests ?? []), ...(slice.auxiliary_requests ?? [])];
  place.replaceChildren(
    steps(read, chosen, again),
    ...(page ? exchange(page.request, page.response) : [empty("No requests", "This slice was not read: a limit ended the read before.")]),
    block("Slice", null, json(typeof slice.slice_descriptor === "string" ? {} : slice.slice_descriptor)),
    ...(others.length ? [block("Other requests", "Logins, parent streams and the like.", ...others.map(other))] : []),
  );
}

export function showLog(place, read) {
  const logs = read?.logs ?? [];
  if (logs.length === 0) return place.replaceChildren(empty("No messages", "The CDK had nothing to say about this read."));
  const kind = { ERROR: "bad", FATAL: "bad", WARN: "warn" };
  place.replaceChildren(
    ...logs.map((it) =>
      h("div", { class: "block" },
        h("p", {}, h("span", { class: `chip ${kind[it.level] ?? ""}` }, it.level), " ", it.message),
        it.internal_message && it.internal_message !== it.message ? h("p", { class: "quiet" }, it.internal_message) : null,
        it.stacktrace ? h("details", {}, h("summary", {}, "Stack trace"), json(it.stacktrace, true)) : null,
      ),
    ),
  );
}

/** What Flow would get: `flow` of the read. */
export function showFlow(place, read) {
  const flow = read.flow;
  if (!flow.documents) {
    const why = flow.warnings?.map((it) => it.message).join(" ") ?? "";
    return place.replaceChildren(failure(read) ?? "", h("div", { class: "alert warn" }, why || "What Flow would get is not known."));
  }
  const changes = flow.warnings.filter((it) => it.kind === "value-changed");
  const refused = flow.warnings.filter((it) => it.kind === "record-refused" || it.kind === "capture-fails");
  const reason = flow.warnings.find((it) => it.kind === "no-source-key")?.message;
  const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  place.replaceChildren(
    ...[failure(read)].filter(Boolean),
    ...refused.map((it) => h("div", { class: "alert" }, it.message)),
    h("dl", { class: "facts" },
      fact("Collection", h("code", {}, flow.collection)),
      fact("Key", flow.key.map((it) => h("span", { class: "chip key" }, it)), reason ? h("span", { class: "quiet", title: reason }, " row id") : ""),
      fact("Mode", flow.mode === "incremental" ? `incremental, by ${flow.cursor ?? "its state"}` : "full refresh"),
      fact("Documents", number(flow.documents.length)),
    ),
    whatChanged(flow, changes, reason),
    documents(flow, changes),
    block("Schema", "What Flow's schema inference starts from. The write schema only asks for the key.",
      h("div", { class: "two" },
        h("div", {}, h("h4", {}, "Declared by the manifest"), json(flow.declared_schema)),
        h("div", {}, h("h4", {}, "In Flow"), json(flow.schema)),
      ),
      h("details", {}, h("summary", {}, "Write schema of the collection"), json(flow.write_schema)),
    ),
    block("State", "What Flow keeps at the checkpoint that commits these documents.", json(flow.state)),
  );
}

function documents(flow, changes) {
  const at = new Map(changes.map((it) => [it.at, it]));
  const rows = flow.documents.slice(0, MOST);
  const names = [...new Set(rows.flatMap((it) => Object.keys(it)))].filter((it) => it !== "_meta");
  const cell = (document, name) => {
    const change = at.get(`/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
    const value = document[name];
    const tip = change ? `Rewritten, like ${show(change.from)} to ${show(change.to)}` : null;
    return h("td", { class: change && value !== null && value !== undefined ? "changed" : null, title: tip }, shown(value));
  };
  const meta = ["row_id", "op"];
  const head = h("tr", {}, meta.map((it) => h("th", { class: "meta" }, `_meta/${it}`)), names.map((it) => h("th", {}, it)));
  const body = rows.map((it) => h("tr", {}, meta.map((name) => h("td", { class: "meta" }, String(it._meta?.[name] ?? ""))), names.map((name) => cell(it, name))));
  const view = h("div", { class: "table tall" }, h("table", { id: "documents" }, h("thead", {}, head), h("tbody", {}, body)));
  const raw = h("div", { class: "tall" }, json(rows.map((it) => JSON.stringify(it)).join("\n")));
  raw.hidden = true;
  const toggle = h("button", {
    type: "button", class: "small", id: "documents-json", "aria-pressed": "false",
    click: () => {
      raw.hidden = !raw.hidden;
      view.hidden = !raw.hidden;
      toggle.setAttribute("aria-pressed", String(!raw.hidden));
    },
  }, "JSON");
  const title = h("h3", {}, "Documents", h("span", { class: "chip" }, number(flow.documents.length)), h("span", { class: "space" }), toggle);
  const note = flow.documents.length > MOST ? `The first ${MOST} of them.` : "As a capture would write them.";
  return h("section", { class: "block" }, title, h("p", {}, note), view, raw);
}

function whatChanged(flow, changes, reason) {
  const records = (count) => `${number(count)} ${count === 1 ? "record" : "records"}`;
  const isDate = (it) => typeof it.to === "string" && /^\d{4}-\d\d-\d\d/.test(it.to);
  const rows = [
    ...changes.map((it) => ["value", it.at, [h("code", {}, show(it.from)), " becomes ", h("code", {}, show(it.to)), isDate(it) ? ", as RFC 3339 has dates" : "", `, in ${records(it.count)}`]]),
    ...flow.rewrites.map((it) => ["schema", it.at || "/", [h("b", {}, it.change), ": ", it.reason.replace(/^[\w-]+: /, "")]]),
  ];
  if (reason) rows.unshift(["key", flow.key.join(", "), reason]);
  if (rows.length === 0) return block("What was changed and why", "Nothing: documents and schema are as the source has them.");
  const body = rows.map(([kind, at, why]) => h("tr", {}, h("td", {}, h("span", { class: "chip" }, kind)), h("td", { class: "place" }, breakable(at)), h("td", { class: "prose" }, why)));
  return block("What was changed and why", null, h("div", { class: "table" }, h("table", { id: "changes" }, h("tbody", {}, body))));
}

function block(title, text, ...content) {
  return h("section", { class: "block" }, h("h3", {}, title), text ? h("p", {}, text) : null, content);
}

function failure(read) {
  const error = read?.flow?.error;
  return error ? h("div", { class: "alert", id: "read-error" }, error) : null;
}

function limit(read) {
  return read.test_read_limit_reached ? h("p", { class: "note" }, "A limit ended this read: there may be more records.") : null;
}

function steps(read, chosen, again) {
  const buttons = (name, count, present, choose) =>
    count < 2 ? [] : [
      h("span", { class: "label" }, name),
      ...Array.from({ length: count }, (_, index) =>
        h("button", { type: "button", "aria-pressed": String(index === present), "aria-label": `${name} ${index + 1}`, click: () => again(choose(index)) }, index + 1)),
    ];
  const pages = read.slices[chosen.slice].pages;
  return h("div", { class: "steps" },
    buttons("Slice", read.slices.length, chosen.slice, (slice) => ({ slice, page: 0 })),
    buttons("Page", pages.length, chosen.page, (page) => ({ ...chosen, page })),
    h("span", { class: "label" }, `${number(pages[chosen.page]?.records.length ?? 0)} records on this page, ${number(countRecords(read))} in all`),
  );
}

function exchange(request, response) {
  const status = response?.status ?? 0;
  const kind = status >= 400 ? "bad" : "good";
  const body = (text) => {
    try {
      return json(JSON.parse(text));
    } catch {
      return json(text ?? "", true);
    }
  };
  const headers = (them) => h("details", {}, h("summary", {}, `${Object.keys(them ?? {}).length} headers`), json(them ?? {}));
  return [
    block("Request", null,
      h("p", { class: "http" }, h("span", { class: "url" }, h("span", { class: "method" }, request?.http_method), request?.url)),
      headers(request?.headers),
      request?.body ? body(request.body) : null),
    block("Response", null,
      h("p", {}, h("span", { class: `chip ${kind}` }, status)),
      headers(response?.headers),
      body(response?.body)),
  ];
}

function other(it) {
  return h("details", {}, h("summary", {}, `${it.title} (${it.type})`), h("p", { class: "quiet" }, it.description), ...exchange(it.request, it.response));
}

function table(records) {
  const rows = records.slice(0, MOST);
  const names = [...new Set(rows.flatMap((it) => Object.keys(it)))];
  const cell = (value) => h("td", { class: typeof value === "number" ? "number" : null, title: typeof value === "string" && value.length > 40 ? value : null }, shown(value));
  return h("div", { class: "table" }, h("table", { id: "records" },
    h("thead", {}, h("tr", {}, names.map((it) => h("th", { class: rows.every((row) => typeof (row[it] ?? 0) === "number") ? "number" : null }, it)))),
    h("tbody", {}, rows.map((it) => h("tr", {}, names.map((name) => cell(it[name])))))));
}

/** A pointer that may be broken behind its slashes. */
const breakable = (text) => text.split(/(?<=[/_])/).flatMap((it) => [it, h("wbr")]);

const show = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function shown(value) {
  if (value === undefined) return "";
  if (value === null) return h("span", { class: "null" }, "null");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
