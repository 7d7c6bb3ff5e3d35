// The slot map: 16,384 slots, 256 a row, each in the colour of who has it. Slots on their way are
// striped in the colours of both sides. The same as text in a table of ranges.

import { h } from "./dom.js";
import { count, share } from "./format.js";
import { table } from "./parts.js";

/// Slots of every cluster.
export const SLOTS = 16_384;
const COLUMNS = 256;
const ROWS = SLOTS / COLUMNS;
/// Pixels of the drawing a slot.
const CELL = 4;
const COLOURS = 12;
const NOBODY = -1;
/// Names up to this many letters, of which the legend has more beside each other.
const SHORT = 20;
/// How a drag ends.
const ENDS = ["pointerup", "pointercancel"];

/// The class that has an owner's colour.
export function colour(owner) {
  return `slot-${owner % COLOURS}`;
}

/// A map of slots. Owners are `{ name, ranges: [[first, last]], moving: [{ ranges, to }] }`, `to`
/// being the position of another owner, or -1.
export function slotMap({ id, name, owners, onselect }) {
  const { of, to } = spread(owners);
  const held = owners.map((owner) => size(owner.ranges) + size(owner.moving.flatMap((part) => part.ranges)));
  const nobody = of.reduce((sum, owner) => sum + (owner === NOBODY ? 1 : 0), 0);
  const moving = to.reduce((sum, target) => sum + (target === NOBODY ? 0 : 1), 0);
  const parts = [`${owners.filter((_, at) => held[at] > 0).length} owners`];
  if (moving > 0) parts.push(`${count(moving)} slots on their way`);
  parts.push(nobody > 0 ? `${count(nobody)} slots belong to nobody` : "every slot has an owner");
  const told = (slot) => describe(owners, of, to, slot);
  return h(
    "figure",
    { class: "slots", key: id },
    h("canvas", {
      id,
      width: COLUMNS * CELL,
      height: ROWS * CELL,
      role: "img",
      "aria-label": `Slot map of ${name}: ${parts.join(", ")}. The ranges are in the table below.`,
      facts: { of, to, told, print: JSON.stringify(owners) },
      draw: paint,
      onpointermove: point,
      onpointerdown: onselect ? (event) => select(event, onselect) : undefined,
    }),
    h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, "slot 0"), h("output", {}), h("span", {}, "16383")),
    h("figcaption", { class: nobody > 0 ? "is-fault" : null }, `${parts.join(" · ")}.`),
    legend(owners, held),
    h("details", {}, h("summary", {}, "Ranges as a table"), ranges(owners, held, name)),
  );
}

function legend(owners, held) {
  const items = owners.map((owner, at) => {
    if (held[at] === 0) return null;
    const part = h("small", {}, `${count(held[at])} · ${share(held[at], SLOTS)}`);
    return h("li", {}, h("i", { class: `swatch ${colour(at)}` }), h("span", { class: "mono" }, owner.name), part);
  });
  const isShort = owners.every((owner) => owner.name.length <= SHORT);
  return h("ul", { class: isShort ? "legend is-short" : "legend" }, items);
}

function ranges(owners, held, name) {
  const rows = owners.flatMap((owner, at) => {
    const row = (list, state) => ({ owner: owner.name, text: list.map(range).join(", "), slots: size(list), state });
    const moving = owner.moving.map((part) => row(part.ranges, part.to === NOBODY ? "moving" : `moving to ${owners[part.to].name}`));
    return held[at] === 0 ? [] : [...(owner.ranges.length > 0 ? [row(owner.ranges, "stable")] : []), ...moving];
  });
  return table({
    caption: `Slot ranges of ${name}`,
    rows,
    key: (row) => `${row.owner} ${row.text}`,
    empty: "Nobody has slots.",
    columns: [
      { name: "Owner", mono: true, of: (row) => row.owner },
      { name: "Slots", mono: true, of: (row) => row.text },
      { name: "Count", number: true, of: (row) => count(row.slots) },
      { name: "State", of: (row) => row.state },
    ],
  });
}

/// `5` or `5-10`.
export function range([first, last]) {
  return first === last ? String(first) : `${first}-${last}`;
}

/// Slots of some ranges.
export function size(list) {
  return list.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

/// `5` or `5-10` as a pair.
export function parseRange(text) {
  const [first, last] = String(text).split("-").map(Number);
  return [first, last ?? first];
}

function spread(owners) {
  const of = new Int16Array(SLOTS).fill(NOBODY);
  const to = new Int16Array(SLOTS).fill(NOBODY);
  owners.forEach((owner, at) => {
    for (const [first, last] of owner.ranges) of.fill(at, first, last + 1);
    for (const part of owner.moving) {
      for (const [first, last] of part.ranges) {
        of.fill(at, first, last + 1);
        to.fill(part.to, first, last + 1);
      }
    }
  });
  return { of, to };
}

function describe(owners, of, to, slot) {
  if (of[slot] === NOBODY) return `slot ${slot}: nobody`;
  const onward = to[slot] === NOBODY ? "" : `, moving to ${owners[to[slot]].name}`;
  return `slot ${slot}: ${owners[of[slot]].name}${onward}`;
}

/// Colours as the style sheet has them at present, read from an element nobody sees; the last one is
/// nobody's.
function palette() {
  const probe = h("i", { class: "unseen" });
  document.body.append(probe);
  const read = (name) => {
    probe.className = `unseen ${name}`;
    return getComputedStyle(probe).backgroundColor;
  };
  const colours = [...Array(COLOURS).keys()].map((at) => read(`slot-${at}`));
  colours.push(read("slot-none"));
  probe.remove();
  return colours;
}

function paint(canvas) {
  const { of, to, print } = canvas.ownFacts;
  const colours = palette();
  const painted = print + colours.join();
  if (canvas.ownPainted === painted) return;
  canvas.ownPainted = painted;
  const context = canvas.getContext("2d");
  const colourOf = (owner) => (owner === NOBODY ? colours.at(-1) : colours[owner % COLOURS]);
  let begin = 0;
  for (let slot = 1; slot <= SLOTS; slot += 1) {
    const isEnd = slot % COLUMNS === 0 || of[slot] !== of[begin] || to[slot] !== to[begin];
    if (!isEnd) continue;
    run(context, colourOf, begin, slot, of[begin], to[begin]);
    begin = slot;
  }
}

/// Slots beside each other in one row, all alike.
function run(context, colourOf, begin, end, owner, target) {
  const x = (begin % COLUMNS) * CELL;
  const y = Math.floor(begin / COLUMNS) * CELL;
  const width = (end - begin) * CELL;
  context.fillStyle = colourOf(owner);
  context.fillRect(x, y, width, CELL);
  if (target === NOBODY) return;
  context.fillStyle = colourOf(target);
  for (let row = 0; row < CELL; row += 1) {
    for (let column = 0; column < width; column += 1) {
      if ((x + column + y + row) % 16 < 8) context.fillRect(x + column, y + row, 1, 1);
    }
  }
}

function slotAt(event) {
  const box = event.target.getBoundingClientRect();
  const part = (value, length, cells) => Math.min(cells - 1, Math.max(0, Math.floor((value / length) * cells)));
  const row = part(event.clientY - box.top, box.height, ROWS);
  return row * COLUMNS + part(event.clientX - box.left, box.width, COLUMNS);
}

/// Says what lies under the pointer; while slots are selected, which ones.
function point(event) {
  const canvas = event.target;
  const slot = slotAt(event);
  const output = canvas.parentNode.querySelector("output");
  const isSelecting = canvas.ownFirst !== undefined;
  output.textContent = isSelecting ? `slots ${range(ordered(canvas.ownFirst, slot))}` : canvas.ownFacts.told(slot);
}

const ordered = (one, other) => [Math.min(one, other), Math.max(one, other)];

/// Drags over the map select slots. One that the browser takes for scrolling selects nothing.
function select(event, onselect) {
  if (event.button !== 0) return;
  const canvas = event.target;
  canvas.ownFirst = slotAt(event);
  canvas.setPointerCapture(event.pointerId);
  const finish = (end) => {
    for (const type of ENDS) canvas.removeEventListener(type, finish);
    const first = canvas.ownFirst;
    canvas.ownFirst = undefined;
    if (end.type === "pointerup") onselect(...ordered(first, slotAt(end)));
  };
  for (const type of ENDS) canvas.addEventListener(type, finish);
}
