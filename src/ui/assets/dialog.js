// Dialogs: forms for actions, and asking before what cannot be undone. The browser's own `dialog`
// keeps the focus inside; it goes back to where it was.

import { h, show } from "./dom.js";
import { refresh } from "./store.js";

/// How long a note stays.
const NOTE_MS = 6_000;

/// Asks for values and does something with them. Fields are `{ name, label, value, hint, kind,
/// options, required, pattern }`; `act` gets the values, and what it throws is shown in the dialog.
/// With `typed`, that text has to be typed first. `note` goes above the fields.
export function ask({ title, note, fields = [], verb, typed, isDangerous = false, done, act, look }) {
  const before = document.activeElement;
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const finding = h("div", { class: "finding" });
  const confirm = typed && field({ name: "typed", label: `Type ${typed} to go on`, required: true });
  const submit = h("button", { type: "submit", class: isDangerous ? "danger" : "primary", disabled: Boolean(typed) }, verb);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const values = () => read(form, fields);
  const update = () => {
    if (typed) submit.disabled = form.elements.typed.value !== typed;
  };
  const form = h(
    "form",
    { method: "dialog", novalidate: true, oninput: update },
    h("h2", { id: "dialog-title" }, title),
    note && h("div", { class: "note" }, note),
    fields.map(field),
    finding,
    confirm,
    fault,
    h("div", { class: "dialog-foot" }, cancel, look && lookButton(), submit),
  );
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);

  function lookButton() {
    const begin = () => attempt(async () => show(finding, await look.act(values())));
    return h("button", { type: "button", onclick: begin }, look.verb);
  }

  async function attempt(work) {
    fault.hidden = true;
    form.setAttribute("aria-busy", "true");
    const buttons = [...form.querySelectorAll("button")].filter((one) => !one.disabled && one !== cancel);
    for (const one of buttons) one.disabled = true;
    try {
      return await work();
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
      return undefined;
    } finally {
      form.removeAttribute("aria-busy");
      for (const one of buttons) one.disabled = false;
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wrong = form.querySelector(":invalid");
    if (wrong) {
      wrong.focus();
      fault.textContent = wrong.title || wrong.validationMessage;
      fault.hidden = false;
      return;
    }
    const outcome = await attempt(async () => ({ said: await act(values()) }));
    if (!outcome) return;
    dialog.close();
    refresh();
    say(typeof done === "function" ? done(outcome.said) : done);
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    // What was there may have gone with what was done.
    (before?.isConnected ? before : document.getElementById("main")).focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  // The first field, not the first button.
  form.querySelector("input, select, textarea")?.focus();
  if (look?.isFirst) attempt(async () => show(finding, await look.act(values())));
  return dialog;
}

let fields = 0;

function field({ name, label, value = "", hint, kind = "text", options, required = false, pattern, min, max, wrong }) {
  const id = `field-${++fields}`;
  const shared = { id, name, required, "aria-describedby": hint && `${id}-hint`, autocomplete: "off", title: wrong };
  let input;
  if (options) {
    const choices = options.map((option) => {
      const [choice, text] = Array.isArray(option) ? option : [option, option];
      return h("option", { value: choice, selected: String(choice) === String(value) }, text);
    });
    input = h("select", shared, choices);
  } else if (kind === "lines" || kind === "document") {
    input = h("textarea", { ...shared, class: "mono", rows: kind === "lines" ? 4 : 18, spellcheck: "false" }, value);
  } else if (kind === "flag") {
    input = h("input", { ...shared, type: "checkbox", checked: Boolean(value) });
    return h("label", { class: "flag", for: id }, input, label);
  } else {
    input = h("input", { ...shared, type: kind, value, pattern, min, max, spellcheck: "false" });
  }
  return h("div", { class: "field" }, h("label", { for: id }, label), input, hint && h("p", { id: `${id}-hint`, class: "hint" }, hint));
}

function read(form, all) {
  const values = {};
  for (const { name, kind } of all) {
    const input = form.elements[name];
    if (kind === "flag") values[name] = input.checked;
    else if (kind === "number") values[name] = input.value === "" ? undefined : Number(input.value);
    else if (kind === "lines") values[name] = input.value.split(/[\s,]+/).filter(Boolean);
    else values[name] = input.value.trim();
  }
  return values;
}

/// Tells in passing what was done.
export function say(text, isFault = false) {
  if (!text) return;
  const notes = document.getElementById("notes");
  const note = h("p", { class: isFault ? "is-fault" : null }, text);
  notes.append(note);
  setTimeout(() => note.remove(), NOTE_MS);
}

/// Does something at once, without a dialog, and tells how it went.
export async function act(work, done) {
  try {
    await work();
    say(done);
  } catch (error) {
    say(error.message, true);
  }
  refresh();
}
