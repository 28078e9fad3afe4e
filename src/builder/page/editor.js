// A plain editor for YAML: a textarea, whose text is transparent, over the same text in colours. Lines with problems are marked.

import { h } from "/page/dom.js";

const WORDS = /^(true|false|null|~)$/i;
const NUMBER = /^[-+]?(\d[\d_]*)(\.\d+)?([eE][-+]?\d+)?$/;

/** The coloured parts of a line of YAML: [class, text]. Multi-line strings are coloured line by line, as if they were YAML. */
function parts(line) {
  const found = [];
  let rest = line;
  const take = (kind, length) => {
    if (length > 0) found.push([kind, rest.slice(0, length)]);
    rest = rest.slice(length);
  };
  take("", /^\s*(- +)*-?(?= |$)|^\s*/.exec(rest)[0].length);
  while (rest) {
    let it;
    if (/^#/.test(rest) && (found.length === 0 || /\s$/.test(found.at(-1)[1]))) take("t-comment", rest.length);
    else if ((it = /^("(?:\\.|[^"\\])*"|'(?:''|[^'])*')(\s*:(?=\s|$))?/.exec(rest))) {
      if (it[2]) take("t-key", it[1].length);
      else strings(it[1]);
    } else if ((it = /^[A-Za-z_$<][\w$./<*-]*(?=\s*:(\s|$))/.exec(rest))) take("t-key", it[0].length);
    else if ((it = /^[&*][\w-]+/.exec(rest))) take("t-word", it[0].length);
    else if ((it = /^[\s{}[\],:|>-]+/.exec(rest))) take("", it[0].length);
    else {
      it = /^(?:\{\{.*?\}\}|[^\s,{}[\]#]|#|\s+(?![#\s]))+/.exec(rest)?.[0] ?? rest[0];
      const kind = WORDS.test(it) ? "t-word" : NUMBER.test(it) ? "t-number" : "t-string";
      if (kind === "t-string") strings(it);
      else take(kind, it.length);
    }
  }
  return found;

  /** A string, in which templates have another colour. */
  function strings(text) {
    for (const piece of text.split(/(\{\{.*?\}\})/)) take(piece.startsWith("{{") ? "t-template" : "t-string", piece.length);
  }
}

export class Editor {
  constructor(place, changed) {
    this.gutter = h("div", { class: "gutter", "aria-hidden": true });
    this.shown = h("pre", { "aria-hidden": true });
    this.input = h("textarea", {
      id: "manifest-text", spellcheck: "false", wrap: "off", autocapitalize: "off", autocomplete: "off",
      "aria-label": "Manifest, in YAML. Tab indents; press Escape, then Tab, to leave the editor.",
    });
    this.lines = [];
    this.problems = new Map();
    this.leaves = false;
    place.append(this.gutter, h("div", { class: "code" }, this.shown, this.input));
    this.input.addEventListener("input", () => {
      this.show();
      changed();
    });
    this.input.addEventListener("scroll", () => this.follow());
    this.input.addEventListener("keydown", (event) => this.key(event));
  }

  get text() {
    return this.input.value;
  }

  set text(value) {
    this.input.value = value;
    this.show();
  }

  /** Marks lines: a map from line numbers to texts. */
  mark(problems) {
    this.problems = problems;
    for (const [index, line] of this.lines.entries()) this.markLine(index, line);
  }

  /** Puts the cursor at the beginning of a line. */
  go(line) {
    const before = this.text.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    this.input.focus();
    this.input.setSelectionRange(before, before);
    this.input.scrollTop = Math.max(0, (line - 6) * 20);
    this.input.scrollLeft = 0;
  }

  markLine(index, line) {
    const problem = this.problems.get(index + 1);
    line.number.className = line.code.className = problem ? "line problem" : "line";
    line.number.title = line.code.title = problem ?? "";
  }

  /** Colours the lines that have changed. */
  show() {
    const texts = this.text.split("\n");
    const old = this.lines;
    let first = 0;
    while (first < Math.min(texts.length, old.length) && old[first].text === texts[first]) first += 1;
    let last = 0;
    while (last < Math.min(texts.length, old.length) - first && old[old.length - 1 - last].text === texts[texts.length - 1 - last]) last += 1;
    const fresh = texts.slice(first, texts.length - last).map((text) => ({
      text,
      code: h("div", {}, parts(text).map(([kind, it]) => (kind ? h("span", { class: kind }, it) : it))),
      number: h("div", {}),
    }));
    const removed = old.splice(first, old.length - last - first, ...fresh);
    for (const it of removed) {
      it.code.remove();
      it.number.remove();
    }
    const next = old[first + fresh.length];
    for (const it of fresh) {
      this.shown.insertBefore(it.code, next?.code ?? null);
      this.gutter.insertBefore(it.number, next?.number ?? null);
    }
    for (let index = first; index < old.length; index += 1) {
      if (old[index].number.textContent !== String(index + 1)) old[index].number.textContent = index + 1;
      this.markLine(index, old[index]);
    }
    this.follow();
  }

  follow() {
    this.shown.scrollTop = this.gutter.scrollTop = this.input.scrollTop;
    this.shown.scrollLeft = this.input.scrollLeft;
  }

  key(event) {
    if (event.key === "Escape") this.leaves = true;
    else if (event.key === "Tab" && !this.leaves && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      this.indent(event.shiftKey);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const start = this.text.lastIndexOf("\n", this.input.selectionStart - 1) + 1;
      const line = this.text.slice(start, this.input.selectionStart);
      this.insert("\n" + /^\s*/.exec(line)[0] + (/:\s*$/.test(line) ? "  " : ""));
    } else if (event.key !== "Shift") this.leaves = false;
  }

  /** Through the browser's own editing, so that it can be undone. */
  insert(text) {
    document.execCommand("insertText", false, text);
  }

  /** Indents the selected lines by two blanks, or takes them back. */
  indent(back) {
    const { selectionStart: start, selectionEnd: end } = this.input;
    const from = this.text.lastIndexOf("\n", start - 1) + 1;
    if (start === end && !back) {
      this.insert("  ");
      return;
    }
    const lines = this.text.slice(from, end).split("\n");
    const changed = lines.map((it) => (back ? it.replace(/^ {1,2}/, "") : "  " + it)).join("\n");
    this.input.setSelectionRange(from, end);
    this.insert(changed);
    this.input.setSelectionRange(from, from + changed.length);
  }
}
