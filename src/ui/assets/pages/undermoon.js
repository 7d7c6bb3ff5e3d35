// Undermoon: clusters with their slots and chunks, proxies by host with what is said against them.

import { change } from "../api.js";
import { ask } from "../dialog.js";
import { h } from "../dom.js";
import { ago, count, many, words } from "../format.js";
import { age, badge, button, figure, figures, pageHead, panel, table, tag } from "../parts.js";
import { slotMap } from "../slots.js";
import { spares, undermoon, undermoonSettings } from "../subjects.js";

const API = "/api/v3";
/// The interface takes paths as they are, so what need not be escaped must not be.
const part = (text) => encodeURIComponent(text).replaceAll("%3A", ":").replaceAll("%40", "@");

export function subjects() {
  return [undermoon, spares, undermoonSettings];
}

export function view([name]) {
  const metadata = undermoon.value;
  const chosen = metadata && (metadata.clusters[name] ?? Object.values(metadata.clusters)[0]);
  return [
    pageHead(
      "Undermoon",
      metadata && `epoch ${count(metadata.global_epoch)}`,
      age([undermoon]),
      button("Add proxy", addProxy),
      button("Create cluster", createCluster, { kind: "primary" }),
    ),
    metadata && summary(metadata),
    h("div", { class: "grid", key: "grid" }, clusters(chosen), spareCheck()),
    chosen && cluster(chosen, metadata),
    proxies(metadata),
  ];
}

function summary(metadata) {
  const all = Object.values(metadata.all_proxies);
  const free = all.filter((proxy) => proxy.cluster === null && !metadata.failed_proxies.includes(proxy.proxy_address));
  const moving = Object.values(metadata.clusters).reduce((sum, one) => sum + migrations(one).length, 0);
  return figures(
    figure("Clusters", count(Object.keys(metadata.clusters).length)),
    figure("Proxies", count(all.length), `${free.length} free`),
    figure("Failed", count(metadata.failed_proxies.length)),
    figure("Reported", count(Object.keys(metadata.failures).length)),
    figure("Migrations", count(moving)),
    undermoonSettings.value && figure("Failure quorum", count(undermoonSettings.value.failure_quorum), `for ${undermoonSettings.value.failure_ttl} s`),
  );
}

/// The halves of all chunks: who has slots, and who moves which to whom.
function halves(cluster) {
  return cluster.chunks.flatMap((chunk, at) => [0, 1].map((half) => ({ chunk, at, half })));
}

/// The address of the master of a half: after a failover one proxy has both.
function master({ chunk, half }) {
  const side = { FirstChunkMaster: 0, SecondChunkMaster: 1 }[chunk.role_position] ?? half;
  const node = side === half ? 2 * side : 2 * side + 1;
  return { node: chunk.node_addresses[node], proxy: chunk.proxy_addresses[side] };
}

/// A migration stands with both halves; it is the one of where it comes from.
function leaving({ chunk, half }) {
  return chunk.migrating_slots[half].filter((slots) => slots.is_migrating);
}

function migrations(cluster) {
  return halves(cluster).flatMap(leaving);
}

function owners(cluster) {
  const all = halves(cluster);
  const place = (meta) => all.findIndex((one) => one.at === meta.dst_chunk_index && one.half === meta.dst_chunk_part);
  return all.map((one) => ({
    name: master(one).node,
    ranges: one.chunk.stable_slots[one.half]?.range_list ?? [],
    moving: leaving(one).map((slots) => ({ ranges: slots.range_list, to: place(slots.meta) })),
  }));
}

function clusters(chosen) {
  const all = Object.values(undermoon.value?.clusters ?? {});
  const state = (one) => {
    const moving = migrations(one).length;
    return moving > 0 ? badge("warn", many(moving, "migration")) : badge("good", "stable");
  };
  return panel(
    { id: "clusters", title: "Clusters", subjects: [undermoon], wide: true },
    table({
      caption: "Clusters",
      rows: all,
      key: (one) => one.name,
      empty: "There is no cluster yet. Add proxies on two hosts, then create one.",
      columns: [
        { name: "Cluster", of: (one) => h("a", { href: `#/undermoon/${part(one.name)}`, "aria-current": one === chosen ? "true" : null }, one.name) },
        { name: "Epoch", number: true, of: (one) => count(one.epoch) },
        { name: "Chunks", number: true, of: (one) => count(one.chunks.length) },
        { name: "Nodes", number: true, of: (one) => count(4 * one.chunks.length) },
        { name: "Slots", of: state },
        { name: "Roles", of: roles },
      ],
    }),
  );
}

function roles(one) {
  const tilted = one.chunks.filter((chunk) => chunk.role_position !== "Normal").length;
  return tilted > 0 ? badge("warn", `${tilted} of ${one.chunks.length} chunks on one side`) : badge("good", "balanced");
}

function spareCheck() {
  const hosts = spares.value ?? [];
  const good = badge("good", "Every host can fail: spare proxies are there.");
  const list = h("ul", { class: "list" }, hosts.map((host) => h("li", { key: host }, badge("warn", host))));
  return panel(
    { id: "spares", title: "Spare check", subjects: [spares] },
    hosts.length === 0 ? h("p", {}, good) : [h("p", {}, "If one of these hosts fails, there is no spare proxy for each of its chunks on another host:"), list],
  );
}

function cluster(one, metadata) {
  const actions = [
    button("Scale", () => scale(one)),
    button("Balance", () => balance(one)),
    button("Config", () => config(one)),
    button("Delete free nodes", () => freeNodes(one)),
    button("Delete", () => remove(one), { kind: "danger", label: `Delete cluster ${one.name}` }),
  ];
  return panel(
    { id: "cluster", title: `Cluster ${one.name}`, subjects: [undermoon], actions, wide: true },
    slotMap({ id: "slot-map", name: one.name, owners: owners(one) }),
    h("h3", {}, "Chunks"),
    chunkTable(one, metadata),
    configLine(one.config),
  );
}

function configLine({ compression_strategy: compression, migration_config: migration }) {
  const text = `compression ${words(compression)}; a migration takes ${count(migration.max_migration_time)} s at most and blocks for ${count(migration.max_blocking_time)} ms at most, scanning ${migration.scan_count} keys every ${migration.scan_interval} ms.`;
  return h("p", { class: "quiet" }, `Config: ${text}`);
}

function chunkTable(one, metadata) {
  const side = (chunk, half) => {
    const address = chunk.proxy_addresses[half];
    return [h("span", { class: "mono" }, address), " ", stateOf(address, metadata)];
  };
  const nodes = (chunk, half) => {
    const masters = [0, 1].map((at) => master({ chunk, half: at }).node);
    return [0, 1].map((at) => {
      const address = chunk.node_addresses[2 * half + at];
      const isMaster = masters.includes(address);
      return h("span", { class: "node" }, h("span", { class: isMaster ? "role master" : "role" }, isMaster ? "M" : "R"), h("span", { class: "mono" }, address));
    });
  };
  return table({
    caption: `Chunks of ${one.name}`,
    rows: one.chunks.map((chunk, at) => ({ chunk, at })),
    key: (row) => row.at,
    empty: "No chunks.",
    columns: [
      { name: "Chunk", of: ({ at }) => String(at) },
      { name: "Roles", of: ({ chunk }) => position(chunk.role_position) },
      { name: "First proxy", of: ({ chunk }) => side(chunk, 0) },
      { name: "Its nodes", of: ({ chunk }) => nodes(chunk, 0) },
      { name: "Second proxy", of: ({ chunk }) => side(chunk, 1) },
      { name: "Its nodes", of: ({ chunk }) => nodes(chunk, 1) },
    ],
  });
}

const POSITIONS = {
  Normal: ["good", "one master each"],
  FirstChunkMaster: ["warn", "both on the first"],
  SecondChunkMaster: ["warn", "both on the second"],
};

function position(name) {
  const [level, text] = POSITIONS[name] ?? ["quiet", name];
  return badge(level, text);
}

function stateOf(address, metadata) {
  const reports = Object.entries(metadata.failures[address] ?? {});
  if (metadata.failed_proxies.includes(address)) return badge("bad", "failed");
  if (reports.length === 0) return null;
  const newest = Math.max(...reports.map(([, at]) => at));
  return badge("warn", `${many(reports.length, "report")}, last ${ago(Date.now() - 1_000 * newest)} ago`);
}

function proxies(metadata) {
  const rows = Object.values(metadata?.all_proxies ?? {});
  const order = (proxy) => `${proxy.host} ${proxy.proxy_address}`;
  rows.sort((a, b) => order(a).localeCompare(order(b), "en", { numeric: true }));
  const isFirst = (proxy) => rows.find((one) => one.host === proxy.host) === proxy;
  const home = (proxy) => (proxy.cluster ? h("a", { href: `#/undermoon/${part(proxy.cluster)}` }, proxy.cluster) : tag("free"));
  return panel(
    { id: "proxies", title: "Proxies by host", subjects: [undermoon], wide: true },
    table({
      caption: "Proxies by host",
      rows,
      key: (proxy) => proxy.proxy_address,
      empty: "No proxy is registered.",
      columns: [
        { name: "Host", mono: true, of: (proxy) => h("span", { class: isFirst(proxy) ? "first" : "quiet" }, proxy.host) },
        { name: "Proxy", mono: true, of: (proxy) => proxy.proxy_address },
        { name: "Nodes", mono: true, of: (proxy) => proxy.node_addresses.join(" ") },
        { name: "Cluster", of: home },
        { name: "State", of: (proxy) => stateOf(proxy.proxy_address, metadata) ?? badge("good", "no complaint") },
        { name: "", of: (proxy) => proxyActions(proxy, metadata) },
      ],
    }),
  );
}

function proxyActions(proxy, metadata) {
  const address = proxy.proxy_address;
  const isMarked = metadata.failed_proxies.includes(address) || metadata.failures[address];
  return h(
    "span",
    { class: "row-actions" },
    isMarked && button("Clear", () => clear(proxy), { label: `Clear what is said against ${address}` }),
    proxy.cluster && button("Fail over", () => failover(address), { label: `Fail over ${address}` }),
    !proxy.cluster && button("Remove", () => removeProxy(address), { label: `Remove ${address}` }),
  );
}

// Actions.

const NAME = { pattern: "[\\-_0-9A-Za-z@]{1,30}", wrong: "1 to 30 letters, digits, @, - and _" };
const NODES = { name: "nodes", label: "Nodes", kind: "number", required: true, min: 4, hint: "A multiple of 4: a chunk has four." };

function addProxy() {
  ask({
    title: "Add proxy",
    fields: [
      { name: "address", label: "Address of the server proxy", required: true, hint: "HOST:PORT" },
      { name: "first", label: "Its first node", required: true },
      { name: "second", label: "Its second node", required: true },
      { name: "host", label: "Host", hint: "What fails together. The proxy's own host if empty." },
    ],
    verb: "Add",
    done: "The proxy is registered.",
    act: ({ address, first, second, host }) =>
      change("POST", `${API}/proxies/meta`, { proxy_address: address, nodes: [first, second], host: host || null, index: null }),
  });
}

function createCluster() {
  ask({
    title: "Create cluster",
    fields: [{ name: "name", label: "Name", required: true, ...NAME }, { ...NODES, value: 4 }],
    verb: "Create",
    done: "The cluster is created.",
    act: async ({ name, nodes }) => {
      await change("POST", `${API}/clusters/meta/${part(name)}`, { node_number: nodes });
      location.hash = `#/undermoon/${part(name)}`;
    },
  });
}

const WAYS = [
  ["add", "Add nodes; no slot moves yet"],
  ["expand", "Move slots onto empty nodes"],
  ["shrink", "Move slots off, onto so many"],
  ["auto", "Add nodes, then move slots"],
];

function scale(one) {
  const path = `${API}/clusters`;
  const name = part(one.name);
  const ways = {
    add: (nodes) => change("PUT", `${path}/nodes/${name}`, { cluster_node_number: nodes }),
    expand: () => change("POST", `${path}/migrations/expand/${name}`),
    shrink: (nodes) => change("POST", `${path}/migrations/shrink/${name}/${nodes}`),
    auto: (nodes) => change("POST", `${path}/migrations/auto/${name}/${nodes}`, undefined, { timeoutMs: 150_000 }),
  };
  ask({
    title: `Scale ${one.name}`,
    note: h("p", {}, `It has ${4 * one.chunks.length} nodes now. Slots move one by one between proxies, and go on being served.`),
    fields: [{ name: "way", label: "How", options: WAYS, value: "add" }, { ...NODES, value: 4 * one.chunks.length + 4 }],
    verb: "Scale",
    done: `${one.name}: accepted.`,
    act: ({ way, nodes }) => ways[way](nodes),
  });
}

function balance(one) {
  ask({
    title: `Balance ${one.name}`,
    note: h("p", {}, "Gives every proxy of the cluster one master again, where a failover has put both on one side. Replicas that become masters must be in step."),
    verb: "Balance",
    done: "The masters are balanced.",
    act: () => change("PUT", `${API}/clusters/balance/${part(one.name)}`),
  });
}

function config(one) {
  const { compression_strategy: compression, migration_config: migration } = one.config;
  const number = (name, label) => ({ name, label, kind: "number", required: true, min: 0, value: migration[name] });
  const numbers = [
    number("max_migration_time", "Longest migration, seconds"),
    number("max_blocking_time", "Longest blocking, milliseconds"),
    number("scan_interval", "Pause between scans, milliseconds"),
    number("scan_count", "Keys a scan"),
  ];
  const choices = [["disabled", "off"], ["set_get_only", "SET and GET only"], ["allow_all", "all commands"]];
  ask({
    title: `Config of ${one.name}`,
    fields: [{ name: "compression", label: "Compression", options: choices, value: compression }, ...numbers],
    verb: "Change",
    done: "The config is changed.",
    act: (values) => {
      const pairs = numbers.filter(({ name }) => values[name] !== migration[name]).map(({ name }) => [`migration_${name}`, String(values[name])]);
      if (values.compression !== compression) pairs.push(["compression_strategy", values.compression]);
      if (pairs.length === 0) throw new Error("Nothing is changed.");
      return change("PATCH", `${API}/clusters/config/${part(one.name)}`, Object.fromEntries(pairs));
    },
  });
}

function freeNodes(one) {
  ask({
    title: `Delete the free nodes of ${one.name}`,
    note: h("p", {}, "Chunks without slots leave the cluster, and their proxies are free again."),
    verb: "Delete free nodes",
    done: "The free nodes are gone.",
    act: () => change("DELETE", `${API}/clusters/free_nodes/${part(one.name)}`),
  });
}

function remove(one) {
  ask({
    title: `Delete cluster ${one.name}`,
    note: h("p", {}, `All ${4 * one.chunks.length} nodes are taken out of it and emptied by their proxies. The data is lost.`),
    verb: "Delete cluster",
    typed: one.name,
    isDangerous: true,
    done: `${one.name} is deleted.`,
    act: async () => {
      await change("DELETE", `${API}/clusters/meta/${part(one.name)}`);
      location.hash = "#/undermoon";
    },
  });
}

function failover(address) {
  ask({
    title: `Fail over ${address}`,
    note: h("p", {}, "Its masters move to the other proxy of the chunk, the proxy is marked as failed and replaced by a free one on another host. What its masters had not replicated yet is lost."),
    verb: "Fail over",
    typed: address,
    isDangerous: true,
    done: `${address} is failed over.`,
    act: () => change("POST", `${API}/proxies/failover/${part(address)}`),
  });
}

function clear(proxy) {
  ask({
    title: `Clear ${proxy.proxy_address}`,
    note: h("p", {}, "Forgets the failed mark and all reports, for a proxy that is well again."),
    verb: "Clear",
    done: `${proxy.proxy_address} is as good as new.`,
    act: async () => {
      const body = { proxy_address: proxy.proxy_address, nodes: proxy.node_addresses, host: proxy.host, index: proxy.index };
      try {
        await change("POST", `${API}/proxies/meta`, body);
      } catch (failure) {
        // The answer for a proxy that is there already, after the mark is taken off.
        if (failure.code !== "ALREADY_EXISTED") throw failure;
      }
    },
  });
}

function removeProxy(address) {
  ask({
    title: `Remove ${address}`,
    verb: "Remove proxy",
    typed: address,
    isDangerous: true,
    done: `${address} is removed.`,
    act: () => change("DELETE", `${API}/proxies/meta/${part(address)}`),
  });
}
