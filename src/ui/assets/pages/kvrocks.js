// Kvrocks: namespaces and their clusters; of one cluster its slots, its shards with what is recorded
// and what was seen, its migrations.

import { change } from "../api.js";
import { act, ask } from "../dialog.js";
import { h } from "../dom.js";
import { count, many, moment, span } from "../format.js";
import { age, badge, button, figure, figures, named, pageHead, panel, table, tag } from "../parts.js";
import { parseRange, range, size, slotMap } from "../slots.js";
import { clusterPath, kvrocks, kvrocksCluster, namespaces, PROGRAM } from "../subjects.js";
import * as actions from "./kvrocks-actions.js";

const part = encodeURIComponent;
const link = (one) => `#/kvrocks/${part(one.namespace)}/${part(one.cluster)}`;

/// The cluster of the address, or the first one there is.
function chosenOf([namespace, name]) {
  const all = kvrocks.value ?? [];
  return all.find((one) => one.namespace === namespace && one.cluster === name) ?? (name ? undefined : all[0]);
}

export function subjects([namespace, name]) {
  const shared = [kvrocks, namespaces];
  const chosen = name ? { namespace, cluster: name } : kvrocks.value?.[0];
  if (!chosen) return shared;
  const { record, seen, failovers } = kvrocksCluster(chosen.namespace, chosen.cluster);
  return [...shared, record, seen, failovers];
}

export function view(rest) {
  const chosen = chosenOf(rest);
  // The first cluster is not known until it is read; from then on it is asked for too.
  if (chosen && rest.length === 0) location.replace(link(chosen));
  return [
    pageHead(
      "Kvrocks",
      null,
      age([kvrocks]),
      button("Create namespace", actions.createNamespace),
      button("Import cluster", () => actions.importCluster(namespaces.value ?? [])),
      button("Create cluster", () => actions.createCluster(namespaces.value ?? []), { kind: "primary" }),
    ),
    h("div", { class: "grid", key: "grid" }, clusters(chosen), namespacePanel()),
    chosen && detail(chosen),
  ];
}

function clusters(chosen) {
  const sight = (one) => {
    const other = one.nodes - one.nodes_well - one.nodes_silent;
    if (one.nodes_silent > 0) return badge("bad", `${one.nodes_silent} silent`);
    return other > 0 ? badge("warn", `${other} not as recorded`) : badge("good", "as recorded");
  };
  return panel(
    { id: "clusters", title: "Clusters", subjects: [kvrocks], wide: true },
    table({
      caption: "Clusters",
      rows: kvrocks.value ?? [],
      key: (one) => `${one.namespace}/${one.cluster}`,
      empty: "There is no cluster yet.",
      columns: [
        { name: "Cluster", of: (one) => h("a", { href: link(one), "aria-current": one === chosen ? "true" : null }, named(one.cluster)) },
        { name: "Namespace", of: (one) => named(one.namespace) },
        { name: "Version", number: true, of: (one) => count(one.version) },
        { name: "Shards", number: true, of: (one) => count(one.shards) },
        { name: "Nodes", number: true, of: (one) => `${one.nodes_well} / ${one.nodes}` },
        { name: "Seen", of: sight },
        { name: "Migrations", of: (one) => (one.migrations > 0 ? badge("warn", count(one.migrations)) : "none") },
      ],
    }),
  );
}

const inRow = (...buttons) => h("span", { class: "row-actions" }, buttons);

function namespacePanel() {
  const holds = (name) => (kvrocks.value ?? []).filter((one) => one.namespace === name).length;
  const remove = (name) => inRow(button("Delete", () => actions.removeNamespace(name), { label: `Delete namespace ${name}`, disabled: holds(name) > 0 }));
  return panel(
    { id: "namespaces", title: "Namespaces", subjects: [namespaces] },
    table({
      caption: "Namespaces",
      rows: namespaces.value ?? [],
      key: (name) => name,
      empty: "There is no namespace yet.",
      columns: [
        { name: "Namespace", of: named },
        { name: "Clusters", number: true, of: (name) => count(holds(name)) },
        { name: "", of: remove },
      ],
    }),
  );
}

function detail(chosen) {
  const { record, seen, failovers } = kvrocksCluster(chosen.namespace, chosen.cluster);
  const one = record.value;
  const path = clusterPath(chosen.namespace, chosen.cluster);
  const name = chosen.cluster;
  const buttons = [
    button("Add shard", () => actions.addShard(path)),
    button("Migrate slots", () => actions.migrate(path, one), { disabled: !one }),
    button("Push", () => act(() => change("POST", `${path}/sync`, {}, { headers: PROGRAM }), "All nodes have the recorded topology."), { label: "Push the topology to all nodes" }),
    button("Delete", () => actions.removeCluster(path, name), { kind: "danger", label: `Delete cluster ${name}` }),
  ];
  return [
    panel(
      { id: "cluster", title: `Cluster ${name}`, subjects: [record, seen], actions: buttons, wide: true },
      one && summary(one, seen.value),
      one && map(path, one),
      h("h3", {}, "Shards"),
      h("p", { class: "quiet" }, "Drag a range of slots onto another shard to move it there, or use Migrate slots."),
      h("div", { class: "shards" }, one?.shards.map((shard, at) => shardCard({ path, one, shard, at, seen: seen.value }))),
    ),
    h("div", { class: "grid", key: "after" }, migrations(path, seen), past(failovers, one)),
  ];
}

function summary(one, seen) {
  const nodes = seen?.nodes ?? [];
  const well = nodes.filter((node) => node.state === "ok").length;
  const lag = Math.max(0, ...nodes.map((node) => node.lag_entries ?? 0));
  return figures(
    figure("Wanted version", count(one.version)),
    figure("Nodes as recorded", `${well} of ${nodes.length}`),
    figure("Largest lag", count(lag), "entries"),
    figure("Migrations", count((seen?.migrations ?? []).filter(isOpen).length)),
  );
}

const isOpen = (job) => ["queued", "pending", "running"].includes(job.state);

/// A shard by its master, which is how clients know it.
export function shardName(shard, at) {
  const master = shard.nodes.find((node) => node.role === "master");
  // No line begins or ends within the number: only the address may go to the next one.
  return `shard\u00a0${at}${master ? `\u00a0· ${master.addr}` : ""}`;
}

/// What a shard holds, and what of it is on its way. Slots that move stay with their shard until
/// they have arrived.
function holdings(shard) {
  const ranges = (shard.slot_ranges ?? []).map(parseRange);
  if (shard.migrating_slot === null || shard.migrating_slot === undefined) return { ranges, moving: [] };
  const moving = parseRange(shard.migrating_slot);
  const stable = ranges.flatMap(([first, last]) => [
    [first, Math.min(last, moving[0] - 1)],
    [Math.max(first, moving[1] + 1), last],
  ]);
  return { ranges: stable.filter(([first, last]) => first <= last), moving: [{ ranges: [moving], to: shard.target_shard_index }] };
}

function map(path, one) {
  const owners = one.shards.map((shard, at) => ({ name: shardName(shard, at), ...holdings(shard) }));
  const onselect = (first, last) => actions.migrate(path, one, { slots: range([first, last]) });
  return slotMap({ id: "slot-map", name: one.name, owners, onselect });
}

const STATES = { ok: "good", wrong: "warn", uninitialised: "warn", loading: "warn", refused: "bad", sealed: "bad", silent: "bad", unseen: "quiet" };

function shardCard({ path, one, shard, at, seen }) {
  const nodes = shard.nodes.map((node) => ({ ...node, seen: seen?.nodes.find((found) => found.id === node.id) }));
  const chips = (shard.slot_ranges ?? []).map((slots) => chip(path, one, slots, at));
  const onward = shard.migrating_slot === null ? null : badge("warn", `${shard.migrating_slot} to shard ${shard.target_shard_index}`);
  return h(
    "section",
    { class: "shard", key: at, "data-shard": at, "aria-label": `Shard ${at}` },
    h(
      "header",
      { class: "panel-head" },
      h("h4", {}, `Shard ${at}`, h("small", {}, `${count(size((shard.slot_ranges ?? []).map(parseRange)))} slots`)),
      h(
        "div",
        { class: "actions" },
        button("Fail over", () => actions.failover(path, one, at), { label: `Fail over shard ${at}` }),
        button("Add node", () => actions.addNode(path, at), { label: `Add a node to shard ${at}` }),
        button("Remove", () => actions.removeShard(path, at), { label: `Remove shard ${at}`, disabled: chips.length > 0 || one.shards.length === 1 }),
      ),
    ),
    h("p", { class: "chips" }, chips.length > 0 ? chips : tag("no slots"), " ", onward),
    nodeTable(path, nodes, at),
  );
}

function nodeTable(path, nodes, at) {
  const version = ({ seen }) => (seen ? `${seen.wanted_version} / ${seen.observed_version ?? "–"}` : "–");
  const state = ({ seen }) => {
    if (!seen) return badge("quiet", "unseen");
    const fault = seen.trouble || seen.error;
    return [badge(STATES[seen.state] ?? "warn", seen.state), fault && h("small", { class: "why" }, fault)];
  };
  const remove = (node) => inRow(button("Remove", () => actions.removeNode(path, at, node), { label: `Remove node ${node.addr}` }));
  return table({
    caption: `Nodes of shard ${at}`,
    rows: nodes,
    key: (node) => node.id,
    empty: "No nodes.",
    columns: [
      { name: "Node", mono: true, of: (node) => h("span", { title: node.id }, node.addr) },
      { name: "Role", of: (node) => (node.role === "master" ? h("strong", {}, "master") : "replica") },
      { name: "Seen", of: state },
      { name: "Version wanted / seen", number: true, of: version },
      { name: "Lag", number: true, of: ({ seen }) => count(seen?.lag_entries) },
      { name: "Looked", number: true, of: ({ seen }) => (seen?.seen_ago_ms === undefined || seen.seen_ago_ms === null ? "–" : `${span(seen.seen_ago_ms)} ago`) },
      { name: "", of: (node) => node.role !== "master" && remove(node) },
    ],
  });
}

/// A range that can be dragged to another shard, or pressed.
function chip(path, one, slots, at) {
  const begin = (event) => {
    if (event.button !== 0) return;
    const from = { x: event.clientX, y: event.clientY };
    const held = event.currentTarget;
    held.setPointerCapture(event.pointerId);
    const over = (move) => document.elementFromPoint(move.clientX, move.clientY)?.closest("[data-shard]");
    const mark = (move) => {
      for (const card of document.querySelectorAll("[data-shard]")) card.classList.toggle("is-target", card === over(move) && Number(card.dataset.shard) !== at);
    };
    const finish = (end) => {
      held.removeEventListener("pointermove", mark);
      for (const card of document.querySelectorAll(".is-target")) card.classList.remove("is-target");
      const moved = Math.hypot(end.clientX - from.x, end.clientY - from.y) > 8;
      const target = over(end)?.dataset.shard;
      if (!moved || end.type !== "pointerup") return;
      if (target !== undefined && Number(target) !== at) actions.migrate(path, one, { slots, target });
    };
    held.addEventListener("pointermove", mark);
    held.addEventListener("pointerup", finish, { once: true });
    held.addEventListener("pointercancel", finish, { once: true });
  };
  const press = (event) => event.detail === 0 && actions.migrate(path, one, { slots });
  return h("button", { type: "button", class: "chip mono", key: slots, onpointerdown: begin, onclick: press, "aria-label": `Move slots ${slots} of shard ${at}` }, slots);
}

const PHASES = { queued: "quiet", pending: "quiet", running: "warn", succeeded: "good", failed: "bad", cancelled: "quiet" };

function migrations(path, seen) {
  const jobs = [...(seen.value?.migrations ?? [])].sort((a, b) => isOpen(b) - isOpen(a) || b.id - a.id);
  const progress = (job) => {
    const sides = [job.source_state && `source: ${job.source_state}`, job.target_state && `target: ${job.target_state}`].filter(Boolean).join(", ");
    return [badge(PHASES[job.state] ?? "quiet", job.state), (sides || job.error) && h("small", { class: "why" }, job.error || sides)];
  };
  const buttons = (job) => {
    if (isOpen(job)) return inRow(button("Cancel", () => act(() => change("DELETE", `${path}/migrations/${job.id}`, undefined, { headers: PROGRAM }), "The migration ends."), { label: `Cancel migration ${job.id}` }));
    if (job.state === "failed" || job.state === "cancelled") return inRow(button("Retry", () => act(() => change("POST", `${path}/migrations/${job.id}/retry`, undefined, { headers: PROGRAM }), "The migration is in the queue again."), { label: `Retry migration ${job.id}` }));
    return null;
  };
  return panel(
    { id: "migrations", title: "Migrations", subjects: [seen], wide: true },
    table({
      caption: "Migrations",
      rows: jobs.slice(0, 50),
      key: (job) => job.id,
      empty: "No slots have been moved.",
      columns: [
        { name: "Job", number: true, of: (job) => String(job.id) },
        { name: "Slots", mono: true, of: (job) => job.slot },
        { name: "From, to", of: (job) => `shard ${job.source ?? "?"} to ${job.target}` },
        { name: "State", of: progress },
        { name: "Attempt", number: true, of: (job) => `${job.attempt} / ${job.attempts_max}` },
        { name: "Takes", number: true, of: (job) => span(job.age_ms) },
        { name: "", of: buttons },
      ],
    }),
  );
}

function past(failovers, one) {
  const address = (id) => one?.shards.flatMap((shard) => shard.nodes).find((node) => node.id === id)?.addr ?? `${id.slice(0, 8)}…`;
  return panel(
    { id: "failovers", title: "Failovers", subjects: [failovers] },
    table({
      caption: "Failovers",
      rows: [...(failovers.value ?? [])].reverse(),
      key: (failover) => failover.version,
      empty: "None yet.",
      columns: [
        { name: "When", of: (failover) => moment(failover.time_ms) },
        { name: "Shard", number: true, of: (failover) => String(failover.shard) },
        { name: "New master", mono: true, of: (failover) => address(failover.new_master_id) },
        { name: "Cause", of: (failover) => failover.cause },
      ],
    }),
  );
}
