// Events: what happened, live; and the audit trail: who did it.

import { h } from "../dom.js";
import { feed } from "../feed.js";
import { ago, count, moment, words } from "../format.js";
import { age, badge, button, pageHead, panel, table } from "../parts.js";
import { tell } from "../store.js";
import { audit } from "../subjects.js";

/// Rows of a list, until more are asked for; fewer where the lists lie above each other.
const ROWS = 40;
const ROWS_NARROW = 15;
const narrow = matchMedia("(max-width: 700px)");
narrow.addEventListener("change", tell);
/// Events that repeat for as long as all is well, and would hide the others.
const ROUTINE = new Set(["health_reported", "scale_lease_renewed"]);
const FAMILIES = ["undermoon", "kvrocks", "cello", "admin"];

const filter = { text: "", family: "", outcome: "", hasRoutine: false };
let heldAt = null;
const moreRows = { events: 0, audit: 0 };
const limit = (list) => (narrow.matches ? ROWS_NARROW : ROWS) + moreRows[list];

export function subjects() {
  return [audit];
}

export function view() {
  return [
    pageHead("Audit and events", null, age([audit])),
    search(),
    h("div", { class: "pair", key: "lists" }, eventPanel(), auditPanel()),
  ];
}

function search() {
  const input = (name) => (event) => {
    filter[name] = event.target.value;
    tell();
  };
  const options = (first, all) => [h("option", { value: "" }, first), all.map((one) => h("option", { value: one }, one))];
  const routine = (event) => {
    filter.hasRoutine = event.target.checked;
    tell();
  };
  const hold = () => {
    heldAt = heldAt === null ? feed.events.length : null;
    tell();
  };
  return h(
    "div",
    { class: "filters", key: "filters", role: "search" },
    h("input", { id: "filter-text", type: "search", placeholder: "Search: what, on what, by whom", "aria-label": "Search events and audit trail", oninput: input("text") }),
    h("select", { id: "filter-family", "aria-label": "Family", oninput: input("family") }, options("all families", FAMILIES)),
    h("select", { id: "filter-outcome", "aria-label": "Outcome", oninput: input("outcome") }, options("done and refused", ["done", "refused"])),
    h("label", { class: "flag" }, h("input", { id: "filter-routine", type: "checkbox", onchange: routine }), "Routine reports too"),
    button(heldAt === null ? "Hold" : "Go on", hold, { label: heldAt === null ? "Hold the list of events" : "Let the list of events go on" }),
  );
}

function matches(family, ...texts) {
  if (filter.family && family !== filter.family) return false;
  const found = texts.join(" ").toLowerCase();
  return filter.text.toLowerCase().split(/\s+/).every((word) => found.includes(word));
}

function eventPanel() {
  const all = heldAt === null ? feed.events : feed.events.slice(0, heldAt);
  const kept = filter.hasRoutine ? all : all.filter((event) => !ROUTINE.has(event.kind));
  const rows = kept.filter((event) => matches(event.family, event.kind, words(event.kind), event.object, event.revision));
  const state = feed.state === "live" ? badge("good", "live") : badge("warn", `${feed.state} for ${ago(performance.now() - feed.since)}`);
  const shown = rows.slice(-limit("events")).reverse();
  return panel(
    { id: "events", title: "Events", actions: [heldAt === null ? state : badge("quiet", "held")], wide: true },
    h("p", { class: "quiet" }, `${count(shown.length)} of ${count(rows.length)} that match, of ${count(kept.length)} kept in this page, up to revision ${count(feed.lastRevision)}.`),
    table({
      caption: "Events",
      isLog: true,
      rows: shown.map((event, at) => ({ ...event, at: `${event.revision} ${event.kind} ${event.object} ${shown.slice(0, at).filter((other) => other.revision === event.revision && other.kind === event.kind && other.object === event.object).length}` })),
      key: (event) => event.at,
      empty: "No event matches.",
      columns: [
        { name: "Revision", number: true, of: (event) => count(event.revision) },
        { name: "When", of: (event) => moment(event.time_ms) },
        { name: "Family", of: (event) => event.family },
        { name: "What", of: (event) => words(event.kind) },
        { name: "On what", mono: true, of: (event) => event.object || "–" },
      ],
    }),
    more("events", rows),
  );
}

function more(list, rows) {
  if (rows.length <= limit(list)) return null;
  const grow = () => {
    moreRows[list] += 4 * ROWS;
    tell();
  };
  return h("p", { class: "more" }, button("Show more", grow, { label: `Show more of the ${list === "events" ? "events" : "audit trail"}` }));
}

function auditPanel() {
  const all = audit.value ?? [];
  const isMeant = (record) => !filter.outcome || record.outcome === filter.outcome;
  const rows = all.filter((record) => isMeant(record) && matches(record.family, record.action, words(record.action), record.actor, record.source, record.revision, record.request_id));
  const shown = rows.slice(-limit("audit")).reverse();
  return panel(
    { id: "audit", title: "Audit trail", subjects: [audit], wide: true },
    h("p", { class: "quiet" }, `${count(shown.length)} of ${count(rows.length)} that match, of the last ${count(all.length)} records.`),
    table({
      caption: "Audit trail",
      isLog: true,
      rows: shown,
      key: (record) => `${record.revision} ${record.action}`,
      empty: "No record matches.",
      columns: [
        { name: "Revision", number: true, of: (record) => count(record.revision) },
        { name: "When", of: (record) => moment(record.time_ms) },
        { name: "Who", of: (record) => record.actor },
        { name: "From", mono: true, of: (record) => record.source || "–" },
        { name: "Family", of: (record) => record.family },
        { name: "What", of: (record) => words(record.action) },
        { name: "Outcome", of: (record) => (record.outcome === "done" ? badge("good", "done") : badge("warn", record.outcome)) },
      ],
    }),
    more("audit", rows),
  );
}
