// Everything the pages read, and how often.

import { read } from "./api.js";
import { parseMetrics } from "./metrics.js";
import { Subject, at } from "./store.js";

/// The kvrocks family in the shapes of its program, whatever the listener speaks by default.
export const PROGRAM = { "quorate-profile": "program" };
const POOL = "/quorate/v1/pool";
const inside = (name) => (value) => value[name];

export const status = at("/quorate/v1/status", { everyMs: 1_000, timeoutMs: 2_500 });
export const members = at("/quorate/v1/members", { everyMs: 2_000, families: ["admin"] });
export const leaders = at("/quorate/v1/leaders", { everyMs: 3_000, pick: inside("changes") });
export const readiness = at("/readyz?verbose", { as: "text", accept: [503], everyMs: 3_000, pick: checks });
export const metrics = at("/metrics", { as: "text", everyMs: 2_000, pick: parseMetrics });
export const levels = at("/quorate/v1/feature-level", { everyMs: 5_000, families: ["admin"] });
export const backups = at("/quorate/v1/backups", { everyMs: 15_000, families: ["admin"] });
export const audit = new Subject(readAudit, { everyMs: 10_000, families: ["undermoon", "kvrocks", "cello", "admin"] });

export const undermoon = at("/api/v3/metadata", { everyMs: 5_000, families: ["undermoon"] });
export const undermoonSettings = at("/quorate/v1/undermoon/settings", { everyMs: 15_000, families: ["undermoon", "admin"] });
export const spares = at("/api/v3/resources/failures/check", {
  method: "POST",
  everyMs: 10_000,
  families: ["undermoon"],
  pick: inside("hosts_cannot_fail"),
});

export const kvrocks = at("/quorate/v1/kvrocks/status", { everyMs: 2_000, families: ["kvrocks"], pick: (value) => value.data.clusters });
export const namespaces = at("/api/v1/namespaces", {
  everyMs: 5_000,
  families: ["kvrocks"],
  headers: PROGRAM,
  pick: (value) => value.data.namespaces,
});

export const hosts = at(`${POOL}/hosts`, { everyMs: 4_000, families: ["cello"], pick: inside("data") });
export const pooled = at(`${POOL}/clusters`, { everyMs: 4_000, families: ["cello"], pick: inside("data") });
export const tasks = at(`${POOL}/tasks`, { everyMs: 4_000, families: ["cello"], pick: inside("data") });
export const templates = at(`${POOL}/templates`, { everyMs: 15_000, families: ["cello"], pick: inside("data") });

const clusters = new Map();

/// Path of a kvrocks cluster.
export function clusterPath(namespace, name) {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/clusters/${encodeURIComponent(name)}`;
}

/// The three views of one kvrocks cluster: what is recorded, what was seen, and past failovers.
export function kvrocksCluster(namespace, name) {
  const path = clusterPath(namespace, name);
  if (!clusters.has(path)) {
    const families = ["kvrocks"];
    const seen = `/quorate/v1/kvrocks/status/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
    clusters.set(path, {
      path,
      record: at(path, { everyMs: 3_000, families, headers: PROGRAM, pick: (value) => value.data.cluster }),
      seen: at(seen, { everyMs: 1_000, families, pick: inside("data") }),
      failovers: at(`${path}/failovers`, { everyMs: 10_000, families, headers: PROGRAM, pick: (value) => value.data.failovers }),
    });
  }
  return clusters.get(path);
}

/// Lines such as `[-] lag: 12 entries behind`.
function checks(text) {
  const found = [...text.matchAll(/^\[([-+!])\] (\w+)(?:: (.*))?$/gm)];
  return found.map(([, sign, name, fault]) => ({ name, isGood: sign === "+", fault: fault ?? "" }));
}

/// How much of the audit trail is shown: what was done under so many last revisions.
const AUDIT_REVISIONS = 5_000;

async function readAudit() {
  const present = await read("/quorate/v1/status");
  const from = Math.max(0, present.value.applied_index - AUDIT_REVISIONS);
  const answer = await read(`/quorate/v1/audit?from=${from}&limit=10000`, { as: "text" });
  const lines = answer.value.split("\n").filter((line) => line);
  return { ...answer, value: lines.map((line) => JSON.parse(line)) };
}
