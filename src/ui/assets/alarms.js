// What wants a person, from what the pages know already. Each alarm says what to do or where to look.

import { count, many, span } from "./format.js";

/// A member that lacks more is told.
const LAG_ENTRIES = 1_000;
/// A member that has been silent for longer is told.
const SILENCE_MS = 5_000;
/// A disk with less of it free is told.
const FREE_SHARE = 0.1;

/// Alarms as `{ level, text, where }`, the worst first.
export function alarms(known) {
  const found = [
    ...ofReplica(known.status, known.readiness ?? []),
    ...ofMembers(known.members),
    ...ofDisk(known.metrics),
    ...ofUndermoon(known.undermoon, known.spares ?? []),
    ...ofKvrocks(known.kvrocks ?? []),
    ...ofPool(known.hosts ?? [], known.pooled ?? []),
  ];
  const order = ["bad", "warn", "quiet"];
  return found.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level));
}

function ofReplica(status, readiness) {
  if (!status) return [];
  const found = [];
  if (status.leader === null) {
    found.push({ level: "bad", text: "No leader is known: changes are refused until one is elected.", where: "#/operations" });
  }
  if (status.agreement.quarantine) {
    found.push({ level: "bad", text: `Replica ${status.replica_id} is in quarantine: its state differs from the majority's.`, where: "#/operations" });
  }
  if (status.agreement.disputed_index !== null) {
    found.push({ level: "bad", text: "The replicas' states differ, and none of them has a majority.", where: "#/operations" });
  }
  const told = ["leader", "agreement"];
  for (const check of readiness.filter((check) => !check.isGood && !told.includes(check.name))) {
    found.push({ level: "bad", text: `Replica ${status.replica_id}, ${check.name}: ${check.fault}.`, where: "#/operations" });
  }
  return found;
}

function ofMembers(members) {
  if (!members) return [];
  const found = [];
  const where = "#/operations";
  const voters = members.members.filter((member) => member.role !== "learner");
  const healthy = voters.filter((member) => member.health === "healthy");
  if (members.leader !== null && healthy.length === members.quorum && voters.length > 1 && healthy.length < voters.length) {
    found.push({ level: "bad", text: `Only ${healthy.length} of ${voters.length} voters are healthy: one more loss stops all changes.`, where });
  }
  if (voters.length < 3) {
    found.push({ level: "warn", text: `The cluster has ${many(voters.length, "voter")}: it cannot lose a replica.`, where });
  }
  for (const member of members.members) {
    const name = `Replica ${member.id}`;
    if (member.health === "quarantined") found.push({ level: "bad", text: `${name} is in quarantine.`, where });
    else if (member.heard_ms > SILENCE_MS) found.push({ level: "bad", text: `${name} has been silent for ${span(member.heard_ms)}.`, where });
    else if (member.health === "silent") found.push({ level: "bad", text: `${name} does not answer.`, where });
    else if (member.lag_entries > LAG_ENTRIES) found.push({ level: "warn", text: `${name} lacks ${count(member.lag_entries)} entries.`, where });
  }
  const programs = new Set(members.members.map((member) => member.program).filter(Boolean));
  if (programs.size > 1) found.push({ level: "warn", text: `The replicas run different releases: ${[...programs].join(", ")}.`, where });
  return found;
}

function ofDisk(metrics) {
  if (!metrics?.size || metrics.free >= FREE_SHARE * metrics.size) return [];
  return [{ level: "warn", text: "Less than a tenth of this replica's disk is free.", where: "#/operations" }];
}

function ofUndermoon(metadata, spares) {
  if (!metadata) return [];
  const found = [];
  const where = "#/undermoon";
  const failed = metadata.failed_proxies;
  if (failed.length > 0) found.push({ level: "warn", text: `${many(failed.length, "proxy").replace("proxys", "proxies")} marked as failed: ${failed.join(", ")}.`, where });
  const reported = Object.keys(metadata.failures).filter((address) => !failed.includes(address));
  if (reported.length > 0) found.push({ level: "warn", text: `Coordinators report as failing: ${reported.join(", ")}.`, where });
  if (spares.length > 0) found.push({ level: "warn", text: `No spare proxies if one of these hosts fails: ${spares.join(", ")}.`, where });
  return found;
}

function ofKvrocks(clusters) {
  return clusters.flatMap((cluster) => {
    const name = `${cluster.namespace}/${cluster.cluster}`;
    const where = `#/kvrocks/${encodeURIComponent(cluster.namespace)}/${encodeURIComponent(cluster.cluster)}`;
    const found = [];
    if (cluster.nodes_silent > 0) found.push({ level: "bad", text: `${name}: ${many(cluster.nodes_silent, "node")} silent.`, where });
    const other = cluster.nodes - cluster.nodes_well - cluster.nodes_silent;
    if (other > 0) found.push({ level: "warn", text: `${name}: ${many(other, "node")} not as recorded.`, where });
    return found;
  });
}

function ofPool(hosts, clusters) {
  const where = "#/pool";
  const found = hosts
    .filter((host) => host.status !== "active")
    .map((host) => ({ level: "bad", text: `Host ${host.name} is inactive: ${host.status_reason || "it does not answer"}.`, where }));
  const sick = clusters.filter((cluster) => cluster.health === "FAIL");
  if (sick.length > 0) found.push({ level: "warn", text: `${many(sick.length, "cluster")} of the pool unhealthy.`, where });
  return found;
}
