// Pool: hosts and how full they are, clusters by state and owner, what is to be done on hosts, and
// what clusters are made of.

import { change } from "../api.js";
import { act, ask } from "../dialog.js";
import { h } from "../dom.js";
import { count, many, words } from "../format.js";
import { age, badge, button, figure, figures, meter, named, pageHead, panel, table, tag } from "../parts.js";
import { tell } from "../store.js";
import { hosts, pooled, tasks, templates } from "../subjects.js";

const POOL = "/quorate/v1/pool";
const WAIT = { timeoutMs: 70_000 };

let filter = "";

export function subjects() {
  return [hosts, pooled, tasks, templates];
}

export function view() {
  return [
    pageHead("Pool", null, age([hosts, pooled]), button("Add host", addHost), button("Apply", apply, { kind: "primary", label: "Apply for a cluster" })),
    summary(),
    hostPanel(),
    clusterPanel(),
    templatePanel(),
    taskPanel(),
  ];
}

function summary() {
  const all = pooled.value;
  if (!all) return null;
  const phase = (name) => all.filter((one) => phaseOf(one) === name).length;
  const capacity = (hosts.value ?? []).reduce((sum, host) => sum + host.capacity, 0);
  return figures(
    figure("Hosts", count(hosts.value?.length)),
    figure("Capacity", count(capacity), "clusters"),
    figure("Free", count(phase("free"))),
    figure("Used", count(phase("used"))),
    figure("On the way", count(all.length - phase("free") - phase("used"))),
    figure("Unhealthy", count(all.filter((one) => one.health === "FAIL").length)),
  );
}

const nameOf = (id) => hosts.value?.find((host) => host.id === id)?.name ?? id.slice(0, 8);

function hostPanel() {
  const state = (host) => [
    badge(host.status === "active" ? "good" : "bad", host.status),
    host.status_reason && h("small", { class: "why" }, host.status_reason),
    host.last_error && host.status === "active" && h("small", { class: "why" }, host.last_error),
  ];
  const flags = (host) => [host.schedulable === "true" ? null : tag("not given out"), host.autofill === "true" ? tag("kept full") : null];
  return panel(
    { id: "hosts", title: "Hosts", subjects: [hosts], wide: true },
    table({
      caption: "Hosts",
      rows: hosts.value ?? [],
      key: (host) => host.id,
      empty: "There is no host yet. Add one with a Docker daemon.",
      columns: [
        { name: "Host", of: (host) => named(host.name) },
        { name: "State", of: state },
        { name: "Clusters", of: (host) => meter(host.clusters.length, host.capacity, `Clusters of ${host.name}`) },
        { name: "Daemon", mono: true, of: (host) => host.daemon_url },
        { name: "", of: flags },
        { name: "", of: hostActions },
      ],
    }),
  );
}

function hostActions(host) {
  const operate = (action, done) => act(() => change("POST", `${POOL}/host_op`, { id: host.id, action }, WAIT), done);
  return h(
    "span",
    { class: "row-actions" },
    button("Change", () => changeHost(host), { label: `Change host ${host.name}` }),
    button("Fill", () => operate("fillup", `${host.name} is being filled.`), { label: `Fill host ${host.name}` }),
    button("Clean", () => cleanHost(host), { label: `Clean host ${host.name}` }),
    button("Remove", () => removeHost(host), { label: `Remove host ${host.name}` }),
  );
}

function taskPanel() {
  const outcome = (task) => (task.failures > 0 ? [badge("warn", many(task.failures, "failure")), h("small", { class: "why" }, task.last_error)] : badge("quiet", "under way"));
  return panel(
    { id: "tasks", title: "To be done on hosts", subjects: [tasks] },
    table({
      caption: "Tasks",
      rows: (tasks.value ?? []).slice(0, 30),
      key: (task) => `${task.host_id} ${task.cluster_id} ${task.op}`,
      empty: "Nothing: every host is as it should be.",
      columns: [
        { name: "What", of: (task) => words(task.action) },
        { name: "Host", of: (task) => nameOf(task.host_id) },
        { name: "Cluster", mono: true, of: (task) => task.cluster_id?.slice(0, 8) ?? "–" },
        { name: "State", of: outcome },
      ],
    }),
  );
}

const PHASES = { free: "good", used: "good" };

/// What is going on with a cluster; of one that is ready, whether somebody has it.
function phaseOf(one) {
  if (one.phase !== "ready") return one.phase;
  return one.user_id ? "used" : "free";
}

function clusterPanel() {
  const all = pooled.value ?? [];
  const text = (one) => `${one.name} ${one.id} ${one.user_id} ${phaseOf(one)} ${one.health} ${nameOf(one.host_id)} ${one.consensus_plugin}`.toLowerCase();
  const rows = all.filter((one) => text(one).includes(filter.toLowerCase()));
  const state = (one) => [badge(PHASES[phaseOf(one)] ?? "warn", phaseOf(one)), one.last_error && h("small", { class: "why" }, one.last_error)];
  const health = (one) => (one.health === "OK" ? badge("good", "OK") : one.health === "FAIL" ? badge("bad", "FAIL") : badge("quiet", "not probed"));
  const search = h("input", {
    id: "pool-filter",
    type: "search",
    placeholder: "Name, owner, state, host",
    "aria-label": "Filter clusters",
    oninput: (event) => {
      filter = event.target.value;
      tell();
    },
  });
  return panel(
    { id: "clusters", title: "Clusters", subjects: [pooled], actions: [search], wide: true },
    table({
      caption: "Clusters of the pool",
      rows,
      key: (one) => one.id,
      empty: all.length === 0 ? "There is no cluster yet." : "No cluster matches.",
      columns: [
        { name: "Cluster", of: (one) => h("span", { title: one.id }, named(one.name)) },
        { name: "Phase", of: state },
        { name: "Health", of: health },
        { name: "Owner", of: (one) => (one.user_id ? named(one.user_id) : "–") },
        { name: "Kind", of: (one) => kindOf(one) },
        { name: "Host", of: (one) => named(nameOf(one.host_id)) },
        { name: "API", mono: true, of: (one) => one.api_url || "–" },
        { name: "", of: clusterActions },
      ],
    }),
  );
}

const kindOf = (one) => [one.consensus_plugin, one.consensus_mode, one.size].filter(Boolean).join("/");

function clusterActions(one) {
  const power = (action, done) => act(() => change("POST", `${POOL}/cluster_op`, { action, cluster_id: one.id }, WAIT), done);
  return h(
    "span",
    { class: "row-actions" },
    phaseOf(one) === "used" && button("Release", () => release(one), { label: `Release cluster ${one.name}` }),
    phaseOf(one) === "used" && button("Restart", () => power("restart", `${one.name} is restarted.`), { label: `Restart cluster ${one.name}` }),
    button("Delete", () => removeCluster(one), { label: `Delete cluster ${one.name}` }),
  );
}

function templatePanel() {
  const mega = (bytes) => (bytes > 0 ? `${Math.round(bytes / 1_048_576)} MiB` : "–");
  const actions = [button("Put template", putTemplate)];
  const remove = (one) =>
    h("span", { class: "row-actions" }, button("Edit", () => putTemplate(one), { label: `Edit template ${kindOf(one)}` }), button("Remove", () => removeTemplate(one), { label: `Remove template ${kindOf(one)}` }));
  return panel(
    { id: "templates", title: "Templates", subjects: [templates], actions, wide: true },
    table({
      caption: "Templates",
      rows: templates.value ?? [],
      key: kindOf,
      empty: "There is no template: no cluster can be made.",
      columns: [
        { name: "Kind", of: kindOf },
        { name: "Image", mono: true, of: (one) => one.image },
        { name: "Services", of: (one) => one.services.map((service) => service.name).join(", ") },
        { name: "Memory", number: true, of: (one) => mega(one.memory_bytes) },
        { name: "Hosts are filled with it", of: (one) => (one.is_filled ? "yes" : "no") },
        { name: "", of: remove },
      ],
    }),
  );
}

// Actions.

function addHost() {
  ask({
    title: "Add host",
    fields: [
      { name: "name", label: "Name", required: true },
      { name: "daemon_url", label: "Docker daemon", required: true, hint: "tcp:// with address and port, or unix:// with a path." },
      { name: "capacity", label: "Most clusters", kind: "number", value: 10, min: 0, max: 1000, required: true },
      { name: "service_ip", label: "Address that users are told", hint: "The daemon's if empty." },
      { name: "tls", label: "The daemon speaks TLS", kind: "flag" },
      { name: "schedulable", label: "Give its clusters out", kind: "flag", value: true },
      { name: "autofill", label: "Keep it full", kind: "flag" },
    ],
    verb: "Add",
    done: "The host is added.",
    act: (values) => change("POST", `${POOL}/host`, { ...values, log_type: "local" }, WAIT),
  });
}

function changeHost(host) {
  ask({
    title: `Change host ${host.name}`,
    fields: [
      { name: "name", label: "Name", value: host.name, required: true },
      { name: "capacity", label: "Most clusters", kind: "number", value: host.capacity, min: 0, max: 1000, required: true },
      { name: "schedulable", label: "Give its clusters out", kind: "flag", value: host.schedulable === "true" },
      { name: "autofill", label: "Keep it full", kind: "flag", value: host.autofill === "true" },
    ],
    verb: "Change",
    done: "The host is changed.",
    act: (values) => change("PUT", `${POOL}/host`, { id: host.id, ...values }),
  });
}

function cleanHost(host) {
  ask({
    title: `Clean host ${host.name}`,
    note: h("p", {}, "Its free clusters are deleted, and it is no longer kept full."),
    verb: "Clean host",
    typed: host.name,
    isDangerous: true,
    done: `${host.name} is being cleaned.`,
    act: () => change("POST", `${POOL}/host_op`, { id: host.id, action: "clean" }, WAIT),
  });
}

function removeHost(host) {
  ask({
    title: `Remove host ${host.name}`,
    note: h("p", {}, "Only a host without clusters is removed, unless it is forgotten by force, when its machine is gone."),
    fields: [{ name: "force", label: "By force, with its clusters", kind: "flag" }],
    verb: "Remove host",
    typed: host.name,
    isDangerous: true,
    done: `${host.name} is removed.`,
    act: ({ force }) => change("DELETE", `${POOL}/host`, { id: host.id, force }),
  });
}

function apply() {
  const kinds = (templates.value ?? []).map((one, at) => [String(at), kindOf(one)]);
  ask({
    title: "Apply for a cluster",
    fields: [
      { name: "user", label: "User", required: true },
      { name: "kind", label: "Kind", options: [["", "any"], ...kinds] },
    ],
    verb: "Apply",
    done: (said) => `${said.data.name} is given to ${said.data.user_id}.`,
    act: ({ user, kind }) => {
      const template = templates.value[kind];
      const wish = template && { consensus_plugin: template.consensus_plugin, consensus_mode: template.consensus_mode, size: template.size };
      return change("POST", `${POOL}/cluster_op`, { action: "apply", user_id: user, ...wish });
    },
  });
}

function release(one) {
  ask({
    title: `Release ${one.name}`,
    note: h("p", {}, `${one.user_id} loses it. The cluster is destroyed with its data, and replaced by a new one.`),
    verb: "Release",
    typed: one.name,
    isDangerous: true,
    done: `${one.name} is released.`,
    act: () => change("POST", `${POOL}/cluster_op`, { action: "release", cluster_id: one.id }),
  });
}

function removeCluster(one) {
  ask({
    title: `Delete ${one.name}`,
    note: h("p", {}, one.user_id ? `${one.user_id} uses it: only force takes it away.` : "Its containers are removed."),
    fields: [{ name: "force", label: "By force", kind: "flag" }],
    verb: "Delete cluster",
    typed: one.name,
    isDangerous: true,
    done: `${one.name} is being deleted.`,
    act: ({ force }) => change("DELETE", `${POOL}/cluster`, { id: one.id, col_name: "active", force }),
  });
}

const EXAMPLE = { consensus_plugin: "web", size: 2, image: "registry.lan/web:1", services: [{ name: "rest", offset: 0, container_port: 8080, is_published: true }] };

function putTemplate(one) {
  const begun = one?.image ? one : EXAMPLE;
  ask({
    title: one?.image ? `Template ${kindOf(one)}` : "Put template",
    note: h("p", {}, "What clusters of a plugin, mode and size are made of. Those that exist stay as they are."),
    fields: [{ name: "text", label: "Template", kind: "document", value: JSON.stringify(begun, null, 2), required: true }],
    verb: "Put",
    done: "The template is in force.",
    act: ({ text }) => change("PUT", `${POOL}/template`, parse(text)),
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}`);
  }
}

function removeTemplate(one) {
  ask({
    title: `Remove template ${kindOf(one)}`,
    note: h("p", {}, "No cluster of this kind is made any more; those that exist stay."),
    verb: "Remove template",
    typed: kindOf(one),
    isDangerous: true,
    done: "The template is removed.",
    act: () => change("DELETE", `${POOL}/template`, { consensus_plugin: one.consensus_plugin, consensus_mode: one.consensus_mode, size: one.size }),
  });
}
