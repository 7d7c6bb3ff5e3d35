// What can be done to Kvrocks clusters.

import { change } from "../api.js";
import { ask } from "../dialog.js";
import { h } from "../dom.js";
import { count } from "../format.js";
import { badge, table } from "../parts.js";
import { clusterPath, PROGRAM } from "../subjects.js";

const API = "/api/v1/namespaces";
const part = encodeURIComponent;
const send = (method, path, body) => change(method, path, body, { headers: PROGRAM, timeoutMs: 30_000 });

const NODES = { name: "nodes", label: "Nodes", kind: "lines", required: true, hint: "HOST:PORT, separated by spaces or lines." };
const PASSWORD = { name: "password", label: "Password of the nodes", kind: "password", hint: "Empty if they have none." };
const namespaceField = (all) => ({ name: "namespace", label: "Namespace", options: all, required: true, hint: all.length === 0 ? "Create a namespace first." : undefined });

export function createNamespace() {
  ask({
    title: "Create namespace",
    fields: [{ name: "name", label: "Name", required: true }],
    verb: "Create",
    done: "The namespace is created.",
    act: ({ name }) => send("POST", API, { namespace: name }),
  });
}

export function removeNamespace(name) {
  ask({
    title: `Delete namespace ${name}`,
    verb: "Delete namespace",
    typed: name,
    isDangerous: true,
    done: `${name} is deleted.`,
    act: () => send("DELETE", `${API}/${part(name)}`),
  });
}

export function createCluster(namespaces) {
  ask({
    title: "Create cluster",
    note: h("p", {}, "Slots are spread over the shards in the order of the nodes: the first of each shard is its master."),
    fields: [
      namespaceField(namespaces),
      { name: "name", label: "Name", required: true },
      NODES,
      { name: "replicas", label: "Nodes a shard", kind: "number", value: 1, min: 1, required: true, hint: "1 is a master alone, 2 a master and a replica." },
      PASSWORD,
    ],
    verb: "Create",
    done: "The cluster is created.",
    act: async ({ namespace, name, nodes, replicas, password }) => {
      await send("POST", `${API}/${part(namespace)}/clusters`, { name, nodes, replicas, password });
      location.hash = `#/kvrocks/${part(namespace)}/${part(name)}`;
    },
  });
}

export function importCluster(namespaces) {
  ask({
    title: "Import cluster",
    note: h("p", {}, "One node of a running cluster tells the topology; from then on it is kept here."),
    fields: [namespaceField(namespaces), { name: "name", label: "Name", required: true }, { ...NODES, label: "A node of it" }, PASSWORD],
    verb: "Import",
    done: "The cluster is imported.",
    act: async ({ namespace, name, nodes, password }) => {
      await send("POST", `${clusterPath(namespace, name)}/import`, { nodes, password });
      location.hash = `#/kvrocks/${part(namespace)}/${part(name)}`;
    },
  });
}

export function removeCluster(path, name) {
  ask({
    title: `Delete cluster ${name}`,
    note: h("p", {}, "It is forgotten here. Its nodes keep their data and what they know of the cluster."),
    verb: "Delete cluster",
    typed: name,
    isDangerous: true,
    done: `${name} is deleted.`,
    act: async () => {
      await send("DELETE", path);
      location.hash = "#/kvrocks";
    },
  });
}

export function addShard(path) {
  ask({
    title: "Add shard",
    note: h("p", {}, "The new shard has no slots until some are moved to it. The first node is its master."),
    fields: [NODES, PASSWORD],
    verb: "Add shard",
    done: "The shard is added.",
    act: ({ nodes, password }) => send("POST", `${path}/shards`, { nodes, password }),
  });
}

export function removeShard(path, at) {
  ask({
    title: `Remove shard ${at}`,
    note: h("p", {}, "Only a shard without slots can be removed. The shards behind it get new numbers."),
    verb: "Remove shard",
    typed: `shard ${at}`,
    isDangerous: true,
    done: `Shard ${at} is removed.`,
    act: () => send("DELETE", `${path}/shards/${at}`),
  });
}

export function addNode(path, at) {
  ask({
    title: `Add a node to shard ${at}`,
    fields: [{ name: "addr", label: "Address", required: true, hint: "HOST:PORT" }, PASSWORD],
    verb: "Add node",
    done: "The node is added as a replica.",
    act: ({ addr, password }) => send("POST", `${path}/shards/${at}/nodes`, { addr, role: "slave", password }),
  });
}

export function removeNode(path, at, node) {
  ask({
    title: `Remove node ${node.addr}`,
    verb: "Remove node",
    typed: node.addr,
    isDangerous: true,
    done: `${node.addr} is removed.`,
    act: () => send("DELETE", `${path}/shards/${at}/nodes/${part(node.id)}`),
  });
}

export function migrate(path, one, { slots = "", target } = {}) {
  const options = one.shards.map((shard, at) => [String(at), `shard ${at}${masterOf(shard)}`]);
  ask({
    title: `Migrate slots of ${one.name}`,
    note: h("p", {}, "Slots move one job after the other, and their shard serves them until they have arrived."),
    fields: [
      { name: "slots", label: "Slots", value: slots, required: true, pattern: "\\d+(-\\d+)?([ ,]+\\d+(-\\d+)?)*", wrong: "Slots and ranges, such as 5 or 100-199", hint: "A slot or a range; several with spaces." },
      { name: "target", label: "To", options, value: target ?? String(one.shards.length - 1) },
    ],
    verb: "Migrate",
    done: "The migration is in the queue.",
    act: (values) => send("POST", `${path}/migrations`, { target: Number(values.target), slots: values.slots.split(/[\s,]+/) }),
  });
}

function masterOf(shard) {
  const master = shard.nodes.find((node) => node.role === "master");
  return master ? `, ${master.addr}` : "";
}

/// The rehearsal comes first; only what it finds possible can be confirmed, by typing.
export function failover(path, one, at) {
  const nodes = one.shards[at].nodes;
  const address = (id) => nodes.find((node) => node.id === id)?.addr ?? id;
  const replicas = nodes.filter((node) => node.role !== "master").map((node) => [node.id, node.addr]);
  const url = `${path}/shards/${at}/failover`;
  const body = ({ preferred, graceful }) => ({ ...(preferred && { preferred_node_id: preferred }), ...(graceful && { graceful: true }) });
  ask({
    title: `Fail over shard ${at} of ${one.name}`,
    note: h("p", {}, `Master now: ${address(nodes.find((node) => node.role === "master")?.id)}. What would happen is asked of the nodes first; nothing changes by that.`),
    fields: [
      { name: "preferred", label: "New master", options: [["", "the replica that has most"], ...replicas] },
      { name: "graceful", label: "Pause writes until the new master has them all", kind: "flag", value: true },
    ],
    look: {
      verb: "Rehearse again",
      isFirst: true,
      act: async (values) => rehearsed(await send("POST", `${url}?dry_run=true`, body(values)), address),
    },
    verb: "Fail over",
    typed: `shard ${at}`,
    isDangerous: true,
    done: (said) => `The new master is ${address(said.data.new_master_id)}.`,
    act: (values) => send("POST", url, body(values)),
  });
}

function rehearsed({ data }, address) {
  const verdict = data.accepted ? badge("good", `The new master would be ${address(data.new_master_id)}.`) : badge("bad", `It would be refused: ${data.error}`);
  return [
    h("p", { class: "verdict" }, verdict),
    table({
      caption: "Candidates",
      rows: data.candidates,
      key: (candidate) => candidate.id,
      empty: "No replica was asked.",
      columns: [
        { name: "Replica", mono: true, of: (candidate) => address(candidate.id) },
        { name: "Sequence", number: true, of: (candidate) => count(candidate.sequence) },
        { name: "Fit", of: (candidate) => (candidate.unfit ? badge("bad", candidate.unfit) : badge("good", "fit")) },
      ],
    }),
  ];
}
