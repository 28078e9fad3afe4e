// A capture that runs as in Flow, with a chart of the rows per second of each stream.

import { empty, h, number, svg } from "/page/dom.js";
import { stream } from "/page/server.js";

const HEIGHT = 220;
const EDGE = { left: 52, right: 12, top: 10, bottom: 24 };

/** Rates are of the last second: counts come in pieces. */
const WINDOW = 1;

export class Capture {
  /** `request` gives the body of the request. */
  constructor(place, request) {
    this.place = place;
    this.request = request;
    this.points = [];
    this.running = null;
    this.outcome = null;
    this.show();
  }

  async start() {
    this.points = [];
    this.outcome = null;
    this.running = new AbortController();
    this.show();
    try {
      await stream("/builder/capture", this.request(), (line) => this.take(line), this.running.signal);
      this.outcome ??= ["bad", "The connection to flow-shim has ended."];
    } catch (error) {
      this.outcome = error.name === "AbortError" ? ["warn", "Stopped. What a checkpoint covers was committed."] : ["bad", error.message];
    }
    this.running = null;
    this.show();
  }

  stop() {
    this.running?.abort();
  }

  take(line) {
    if (line.error) this.outcome = ["bad", line.error];
    else if (line.end) this.outcome = ["good", "Complete: everything is committed."];
    else {
      this.points.push(line);
      this.show();
    }
  }

  show() {
    const last = this.points.at(-1);
    const active = this.running !== null;
    const button = active
      ? h("button", { type: "button", id: "capture-stop", click: () => this.stop() }, "Stop")
      : h("button", { type: "button", class: "primary", id: "capture-start", click: () => this.start() }, this.points.length ? "Capture again" : "Start capture");
    const status = active
      ? h("span", { class: "quiet busy", id: "capture-status" }, last?.status || "starting the connector")
      : h("span", { class: `chip ${this.outcome?.[0] ?? ""}`, id: "capture-outcome" }, this.outcome?.[1] ?? "");
    // The button keeps the focus while the rest is drawn anew.
    const focused = document.activeElement?.id.startsWith("capture-st");
    const tools = h("div", { class: "capture-tools" }, button, this.outcome || active ? status : null);
    if (!last?.streams.length) {
      const note = active ? "" : empty("See the whole stream go by", "Runs the connector as Flow would, with the preview of flow-shim. Documents are counted, not kept.");
      this.place.replaceChildren(tools, note);
    } else {
      this.place.replaceChildren(tools, this.chart(), this.table(last));
    }
    if (focused) button.focus();
  }

  /** Rows per second at each point, of each stream. */
  rates() {
    const points = this.points.filter((it) => it.streams.length);
    return points.at(-1).streams.map((_, index) =>
      points.map((point, at) => {
        let before = at;
        while (before > 0 && point.seconds - points[before].seconds < WINDOW) before -= 1;
        const since = points[before];
        const time = point.seconds - (before === at ? 0 : since.seconds);
        const rows = point.streams[index].records - (before === at ? 0 : since.streams[index].records);
        return { seconds: point.seconds, rate: time > 0 ? rows / time : 0 };
      }));
  }

  chart() {
    const rates = this.rates();
    const width = Math.max(320, this.place.clientWidth - 64);
    const end = Math.max(5, rates[0]?.at(-1).seconds ?? 0);
    const most = nice(Math.max(1, ...rates.flat().map((it) => it.rate)));
    const x = (seconds) => EDGE.left + (seconds / end) * (width - EDGE.left - EDGE.right);
    const y = (rate) => HEIGHT - EDGE.bottom - (rate / most) * (HEIGHT - EDGE.top - EDGE.bottom);
    const lines = [0, 0.25, 0.5, 0.75, 1].map((part) => [
      svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(most * part), y2: y(most * part) }),
      svg("text", { x: EDGE.left - 8, y: y(most * part) + 4, "text-anchor": "end" }, number(Math.round(most * part))),
    ]);
    const step = nice(end / 6);
    const ticks = Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => index * step);
    const times = ticks.map((it) => svg("text", { x: x(it), y: HEIGHT - 6, "text-anchor": "middle" }, `${number(it)} s`));
    const path = (points) => points.map((it, at) => `${at ? "L" : "M"}${x(it.seconds).toFixed(1)} ${y(it.rate).toFixed(1)}`).join("");
    const series = rates.map((points, index) => svg("path", { class: `series-${index % 6}`, d: path(points) }));
    const label = "Rows per second of each stream";
    return h("div", { class: "chart" }, h("h3", {}, "Rows per second"),
      svg("svg", { id: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label }, lines, times, series));
  }

  table(last) {
    const rates = this.rates();
    const head = h("tr", {}, h("th", {}, "Stream"), ["Rows/s", "Rows", "Committed", "Size"].map((it) => h("th", { class: "number" }, it)));
    const cell = (text) => h("td", { class: "number" }, text);
    const rows = last.streams.map((it, index) =>
      h("tr", {},
        h("td", { class: `series-${index % 6}` }, h("span", { class: "swatch" }), it.name),
        cell(this.running ? number(Math.round(rates[index].at(-1).rate)) : "–"), cell(number(it.records)), cell(number(it.committed)), cell(size(it.bytes))));
    const note = `${last.seconds.toFixed(1)} s, ${number(last.checkpoints)} ${last.checkpoints === 1 ? "checkpoint" : "checkpoints"}`;
    return h("div", {}, h("div", { class: "table" }, h("table", { id: "counts" }, h("thead", {}, head), h("tbody", {}, rows))), h("p", { class: "note" }, note));
  }
}

/** The next round number. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((it) => it * power).find((it) => it >= value - 1e-9);
}

function size(bytes) {
  for (const unit of ["B", "kB", "MB"]) {
    if (bytes < 1000) return `${unit === "B" ? bytes : bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} GB`;
}
