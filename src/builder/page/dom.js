// Small helpers to build the page. Texts are always set as texts, never as HTML.

/** An element: `h("p", { class: "note" }, "text", other)`. Functions are listeners, `true` is an attribute without a value. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  set(element, attributes);
  element.append(...children.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false));
  return element;
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(element, attributes);
  element.append(...children.flat(Infinity));
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
}

export const $ = (id) => document.getElementById(id);

/** Tabs: arrow keys move between them. Gives a function that selects a tab by its id. */
export function tabs(list) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const select = (id, focus) => {
    for (const tab of all) {
      const chosen = tab.id === id;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
  };
  for (const [index, tab] of all.entries()) {
    tab.addEventListener("click", () => select(tab.id));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) select(all[(index + step + all.length) % all.length].id, true);
    });
  }
  select(all[0].id);
  return select;
}

let hiding;

/** Shows a message for a while. */
export function toast(text, bad = false) {
  const box = $("toast");
  box.textContent = text;
  box.className = bad ? "bad" : "";
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.hidden = true), bad ? 9000 : 4000);
}

/** A value as coloured JSON. */
export function json(value, wrap = false) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const pre = h("pre", { class: wrap ? "json wrap" : "json", tabindex: 0 });
  const token = /("(?:\\.|[^"\\])*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;
  let end = 0;
  for (const it of text.matchAll(token)) {
    pre.append(text.slice(end, it.index));
    const kind = it[2] ? "t-key" : it[1] ? "t-string" : it[3] ? "t-number" : "t-word";
    pre.append(h("span", { class: kind }, it[1] ?? it[0]), it[2] ?? "");
    end = it.index + it[0].length;
  }
  pre.append(text.slice(end));
  return pre;
}

export function empty(title, text) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("span", {}, text));
}

export const number = (value) => value.toLocaleString("en");
