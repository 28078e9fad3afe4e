// A form for the connector's config, made from the fields of its spec.

import { h, toast } from "/page/dom.js";
import { stream } from "/page/server.js";

/** What a config has in place of a secret that flow-shim keeps. */
const KEPT = /^\{flow-shim keeps this secret: \d+\}$/;

/** Where the OAuth app has to send users back to. */
const REDIRECT = "http://localhost:16963";

let ids = 0;

/** Shows the fields of `outline` with the values of `config`, which is changed in place; `changed` is called after that. */
export function showForm(place, outline, config, changed, text) {
  const parts = [];
  if (outline.sign_in) parts.push(signIn(outline.sign_in, config, text, changed, () => showForm(place, outline, config, changed, text)));
  parts.push(...outline.fields.map((it) => field(it, config, changed)));
  if (parts.length === 0) parts.push(h("p", { class: "quiet" }, "The manifest's spec declares no fields."));
  const heading = h("h2", {}, outline.title ?? "Config");
  const link = outline.documentation_url && /^https?:/.test(outline.documentation_url);
  const documentation = link && h("a", { href: outline.documentation_url, target: "_blank", rel: "noreferrer" }, "Documentation");
  place.replaceChildren(heading, ...(documentation ? [documentation] : []), ...parts);
}

/** Adds the defaults of required fields that have no value. */
export function addDefaults(fields, config) {
  for (const it of fields) {
    if (config[it.name] === undefined && it.default !== undefined && it.required) config[it.name] = it.default;
  }
}

function field(it, config, changed) {
  if (it.fields?.length && it.type === "object" || it.branches?.length) return group(it, config, changed);
  const id = `field-${(ids += 1)}`;
  const value = config[it.name];
  const set = (next) => {
    if (next === undefined || next === "") delete config[it.name];
    else config[it.name] = next;
    changed();
  };
  const label = [it.title ?? it.name, it.required ? h("span", { class: "required", title: "Required" }, " *") : ""];
  const help = it.description && it.description !== it.title ? h("span", { class: "help", id: `${id}-help` }, it.description) : null;
  const common = { id, name: it.name, "aria-describedby": help ? `${id}-help` : null, required: it.required };
  if (it.type === "boolean") {
    const box = h("input", { ...common, required: false, type: "checkbox", change: () => set(box.checked) });
    box.checked = value ?? it.default ?? false;
    return h("div", { class: "field" }, h("span", { class: "check" }, box, h("label", { for: id }, label)), help);
  }
  return h("div", { class: "field" }, h("label", { for: id }, label), input(it, common, value, set), help);
}

function input(it, common, value, set) {
  if (it.values?.length && !it.type.startsWith("array")) {
    const texts = it.values.map((one) => String(one));
    const options = texts.map((text) => h("option", { value: text }, text));
    const chosen = h("select", { ...common, change: () => set(it.values[texts.indexOf(chosen.value)]) }, h("option", { value: "" }, ""), options);
    chosen.value = value === undefined ? "" : String(value);
    return chosen;
  }
  if (it.type === "integer" || it.type === "number") {
    const place = it.default === undefined ? "" : String(it.default);
    const box = h("input", {
      ...common, type: "number", step: it.type === "integer" ? 1 : "any", placeholder: place,
      input: () => set(box.value === "" ? undefined : Number(box.value)),
    });
    box.value = value ?? "";
    return box;
  }
  if (it.type.startsWith("string") || it.secret) {
    const kept = typeof value === "string" && KEPT.test(value);
    const place = kept ? "kept by flow-shim" : it.default === undefined ? "" : String(it.default);
    const box = h("input", {
      ...common, required: it.required && !kept, type: it.secret ? "password" : "text", placeholder: place,
      autocomplete: it.secret ? "new-password" : "off", spellcheck: "false", input: () => set(box.value === "" && kept ? value : box.value),
    });
    box.value = kept ? "" : value ?? "";
    return box;
  }
  // Lists and other values, as JSON; a list of texts has a text on each line.
  const lines = it.type === "array of string";
  const shown = (given) => (given === undefined ? "" : lines && Array.isArray(given) ? given.join("\n") : JSON.stringify(given, null, 2));
  const box = h("textarea", {
    ...common, rows: 4, spellcheck: "false", placeholder: lines ? "One on each line" : "JSON",
    input: () => {
      try {
        const text = box.value.trim();
        set(text === "" ? undefined : lines ? text.split("\n").map((one) => one.trim()).filter(Boolean) : JSON.parse(text));
        box.setCustomValidity("");
      } catch {
        box.setCustomValidity("This is not JSON.");
      }
    },
  });
  box.value = shown(value);
  return box;
}

/** An object with fields, or with alternatives of which one is chosen. */
function group(it, config, changed) {
  const own = typeof config[it.name] === "object" && config[it.name] !== null ? config[it.name] : {};
  const keep = () => {
    if (Object.keys(own).length) config[it.name] = own;
    else delete config[it.name];
    changed();
  };
  const legend = h("legend", {}, it.title ?? it.name, it.required ? h("span", { class: "required" }, " *") : "");
  const help = it.description && it.description !== it.title ? h("span", { class: "help" }, it.description) : null;
  const fixed = (it.fields ?? []).map((one) => field(one, own, keep));
  if (!it.branches?.length) return h("fieldset", {}, legend, help, fixed);
  const fits = (branch) => Object.entries(branch.chosenBy).every(([name, value]) => own[name] === value);
  const inside = h("div", { class: "form" });
  const show = (branch) => inside.replaceChildren(...branch.fields.map((one) => field(one, own, keep)));
  const titles = it.branches.map((branch, index) => branch.title || Object.values(branch.chosenBy).join(", ") || `Variant ${index + 1}`);
  const chosen = h("select", {
    "aria-label": it.title ?? it.name,
    change: () => {
      const branch = it.branches[chosen.selectedIndex];
      Object.keys(own).forEach((name) => delete own[name]);
      Object.assign(own, branch.chosenBy);
      keep();
      show(branch);
    },
  }, titles.map((title) => h("option", {}, title)));
  const present = Math.max(0, it.branches.findIndex((branch) => Object.keys(branch.chosenBy).length && fits(branch)));
  chosen.selectedIndex = present;
  Object.assign(own, it.branches[present].chosenBy, own);
  if (it.required) config[it.name] = own;
  show(it.branches[present]);
  return h("fieldset", {}, legend, help, chosen, fixed, inside);
}

/** The sign-in that the manifest declares. */
function signIn(declared, config, text, changed, again) {
  if (declared.missing) {
    return h("div", { class: "alert warn" }, `The manifest declares OAuth, but Flow can't sign users in: ${declared.missing}.`);
  }
  const id = h("input", { id: "client-id", placeholder: "Client id", "aria-label": "Client id", autocomplete: "off", spellcheck: "false" });
  const secret = h("input", { id: "client-secret", type: "password", placeholder: "Client secret", "aria-label": "Client secret", autocomplete: "new-password" });
  const status = h("p", { class: "note", role: "status", id: "sign-in-status" });
  const start = async () => {
    if (!id.value || !secret.value) {
      (id.value ? secret : id).focus();
      return;
    }
    // Opened at once: browsers allow a window only as the answer to a click.
    const window_ = window.open("about:blank", "_blank");
    status.textContent = "Waiting for the sign-in";
    status.className = "note busy";
    button.disabled = true;
    try {
      await stream("/builder/sign_in", { text: text(), config, client_id: id.value, client_secret: secret.value }, (line) => {
        if (line.url && window_) {
          window_.opener = null;
          window_.location = line.url;
        }
        if (line.error) throw new Error(line.error);
        if (line.config) {
          Object.keys(config).forEach((name) => delete config[name]);
          Object.assign(config, line.config);
          changed();
          again();
          document.getElementById("sign-in-status").textContent = "Signed in. The tokens are kept by flow-shim.";
          document.getElementById("sign-in-status").className = "note good";
          toast("Signed in");
        }
      });
    } catch (error) {
      window_?.close();
      status.textContent = error.message;
      status.className = "note bad";
      button.disabled = false;
    }
  };
  const button = h("button", { type: "button", class: "primary", id: "sign-in", click: start }, `Sign in with ${declared.provider}`);
  const redirect = h("span", { class: "help" }, "Register ", h("code", {}, REDIRECT), " as a redirect URI of your OAuth app.");
  return h("div", { class: "sign-in" }, h("div", { class: "row" }, id, secret, button), redirect, status);
}
