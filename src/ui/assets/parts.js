// The pieces that pages are made of.

import { ago, count } from "./format.js";
import { h, s } from "./dom.js";

/// Data is marked that is so much older than it gets between two times of asking; a follower's state
/// is some hundred milliseconds old.
const OLD_MS = 5_000;
const STALE_MS = 15_000;

/// A titled part of a page. `subjects` are what it shows: their age stands in its head, and what
/// keeps them from being read.
export function panel({ id, title, subjects = [], actions = [], wide = false }, ...body) {
  const failed = subjects.find((subject) => subject.error);
  const isEmpty = subjects.some((subject) => subject.value === undefined);
  const heading = `${id}-title`;
  return h(
    "section",
    { key: id, id, class: wide ? "panel wide" : "panel", "aria-labelledby": heading },
    h(
      "header",
      { class: "panel-head" },
      h("h2", { id: heading }, title),
      subjects.length > 0 && age(subjects),
      actions.length > 0 && h("div", { class: "actions" }, actions),
    ),
    failed && h("p", { class: "fault", role: "alert" }, explain(failed)),
    isEmpty ? !failed && h("p", { class: "quiet" }, "Reading…") : body,
  );
}

function explain(subject) {
  const { error } = subject;
  const past = subject.value === undefined ? "" : " What is shown is from before.";
  if (error.status === 401) return `A token is needed to see this: ${error.message}.`;
  if (error.status === 403) return `Your token does not suffice for this: ${error.message}.`;
  return `Not read: ${error.message}.${past}`;
}

/// How old the oldest of some subjects is; ticks by itself.
export function age(subjects) {
  return h("span", { class: "age", facts: subjects, draw: drawAge });
}

function drawAge(node) {
  const known = node.ownFacts.filter((subject) => subject.value !== undefined);
  const oldest = Math.max(...known.map((subject) => subject.ageMs));
  const overdue = Math.max(...known.map((subject) => subject.ageMs - subject.everyMs));
  const text = known.length > 0 ? `${ago(oldest)} old` : "";
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle("is-old", overdue > OLD_MS);
  node.classList.toggle("is-stale", overdue > STALE_MS);
  node.title = overdue > STALE_MS ? "This is not current" : "How old what is shown here is";
}

setInterval(() => document.querySelectorAll(".age").forEach((node) => node.ownFacts && drawAge(node)), 500);

/// A table. Columns are `{ name, of, number, mono }`; `of` gives the cell of a row. On narrow
/// screens rows become cards, so every cell carries the name of its column; those of a log become
/// lines instead.
export function table({ columns, rows, key, empty, caption, isLog }) {
  if (rows.length === 0) return h("p", { class: "quiet" }, empty);
  const kind = (column) => [column.number && "number", column.mono && "mono"].filter(Boolean).join(" ") || null;
  const cell = (row) => (column, at) => {
    const content = column.of(row);
    const tag = at === 0 ? "th" : "td";
    return h(tag, { class: kind(column), "data-name": column.name, scope: at === 0 ? "row" : null }, content);
  };
  return h(
    "table",
    { class: isLog ? "log" : null },
    caption && h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => head(column, kind(column))))),
    h("tbody", {}, rows.map((row) => h("tr", { key: key(row) }, columns.map(cell(row))))),
  );
}

function head(column, kind) {
  if (column.name) return h("th", { scope: "col", class: kind }, column.name);
  return h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions"));
}

const SIGNS = { good: "●", warn: "▲", bad: "■", quiet: "○" };

/// A word with a colour and a sign, so that the colour is not alone.
export function badge(level, text) {
  const sign = h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[level]);
  return h("span", { class: `badge ${level}` }, sign, text);
}

/// A small label without a judgement.
export function tag(text) {
  return h("span", { class: "tag" }, text);
}

/// Names longer than this may be broken anywhere; shorter ones stay whole.
const NAME_MAX = 24;

/// A name that somebody chose, as long as it may be.
export function named(text) {
  return h("span", { class: text.length > NAME_MAX ? "long" : null }, text);
}

/// A button. It is named for those who do not see what it stands beside.
export function button(text, onclick, { kind = "", label, disabled, id } = {}) {
  return h("button", { type: "button", class: kind || null, "aria-label": label, disabled, onclick, id }, text);
}

/// One number with its name, for the head of a page.
export function figure(name, value, note) {
  return h("div", { class: "figure", key: name }, h("dt", {}, name), h("dd", {}, value, note && h("small", {}, note)));
}

/// Several of those.
export function figures(...all) {
  return h("dl", { class: "figures" }, all);
}

/// How much of something is in use.
export function meter(value, max, name) {
  const width = max > 0 ? Math.min(100, (100 * value) / max) : 0;
  return h(
    "span",
    { class: "meter" },
    s(
      "svg",
      { viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${value} of ${max}` },
      s("rect", { class: "track", width: 100, height: 8, rx: 2 }),
      s("rect", { class: "bar", width, height: 8, rx: 2 }),
    ),
    h("span", { class: "number" }, `${count(value)} / ${count(max)}`),
  );
}

/// A line of what was seen lately, the newest on the right.
export function spark(samples, { name, samplesMax }) {
  const known = samples.map((value) => value ?? 0);
  const top = Math.max(1e-9, ...known);
  const x = (at) => (100 * (at + samplesMax - known.length)) / Math.max(1, samplesMax - 1);
  const y = (value) => 23 - (22 * value) / top;
  const points = known.map((value, at) => `${x(at).toFixed(2)},${y(value).toFixed(2)}`).join(" ");
  return s(
    "svg",
    { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": name },
    s("line", { class: "base", x1: 0, x2: 100, y1: 23.5, y2: 23.5 }),
    s("polyline", { points, "vector-effect": "non-scaling-stroke" }),
  );
}

/// The head of a page.
export function pageHead(title, note, ...actions) {
  return h(
    "div",
    { class: "page-head", key: "page-head" },
    h("h1", {}, title, note && h("small", {}, note)),
    h("div", { class: "actions" }, actions),
  );
}
