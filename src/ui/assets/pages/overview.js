// Overview: who is there and how they do, how much is written and how fast, what wants a person.

import { alarms } from "../alarms.js";
import { h } from "../dom.js";
import { bytes, count, many, moment, span } from "../format.js";
import { History } from "../metrics.js";
import { age, badge, figure, figures, pageHead, panel, spark, table, tag } from "../parts.js";
import * as known from "../subjects.js";

/// Two minutes of looks two seconds apart.
const SAMPLES = 60;
/// A little less than that, because looks are not quite even.
const SAMPLE_MS = 1_900;
const history = new History(SAMPLES);
const entries = { samples: [], last: null };

export function subjects() {
  const { leaders, readiness, metrics, undermoon, spares, kvrocks, hosts, pooled } = known;
  return [leaders, readiness, metrics, undermoon, spares, kvrocks, hosts, pooled];
}

export function view() {
  history.take(known.metrics.value);
  countEntries();
  const { status } = known;
  return [
    pageHead("Overview", status.value && `cluster ${status.value.cluster_id.slice(0, 8)}`, age([status])),
    summary(),
    h("div", { class: "grid", key: "grid" }, replicas(), alarmPanel(), traffic(), h("div", { class: "stack" }, families(), changes())),
  ];
}

/// Entries of the whole cluster, as this replica applies them.
function countEntries() {
  const { status } = known;
  if (!status.value || status.readAt === entries.last?.at) return;
  const look = { at: status.readAt, index: status.value.applied_index };
  const passed = look.at - entries.last?.at;
  if (passed < SAMPLE_MS) return;
  if (entries.last) entries.samples.push((1_000 * (look.index - entries.last.index)) / passed);
  if (entries.samples.length > SAMPLES) entries.samples.shift();
  entries.last = look;
}

function summary() {
  const { status, members } = known;
  if (!status.value) return null;
  const all = members.value?.members ?? [];
  const healthy = all.filter((member) => member.health === "healthy").length;
  return figures(
    figure("Leader", status.value.leader === null ? "none" : `replica ${status.value.leader}`),
    figure("Term", count(status.value.term)),
    figure("Healthy", all.length > 0 ? `${healthy} of ${all.length}` : "–"),
    figure("Applied", count(status.value.applied_index), "index"),
    figure("Feature level", `${status.value.feature_level}`, status.value.feature_level_max > status.value.feature_level ? `${status.value.feature_level_max} known here` : null),
  );
}

function alarmPanel() {
  const value = (subject) => (subject.error?.isSilence ? undefined : subject.value);
  const { status, readiness, members, metrics, undermoon, spares, kvrocks, hosts, pooled } = known;
  const read = { status, readiness, members, metrics, undermoon, spares, kvrocks, hosts, pooled };
  const found = alarms(Object.fromEntries(Object.entries(read).map(([name, subject]) => [name, value(subject)])));
  const line = (alarm) => h("li", { key: alarm.text }, badge(alarm.level, alarm.level === "bad" ? "Now" : "Soon"), h("a", { href: alarm.where }, alarm.text));
  const body = found.length > 0 ? h("ul", { class: "alarms" }, found.map(line)) : h("p", {}, badge("good", "Nothing wants attention."));
  return panel({ id: "alarms", title: "Alarms", subjects: [status, members, readiness] }, body);
}

const HEALTH = { healthy: "good", lagging: "warn", silent: "bad", awaited: "quiet", unknown: "quiet", quarantined: "bad" };

/// How a member does, in a word.
export function health(member) {
  return badge(HEALTH[member.health] ?? "warn", member.health);
}

/// How long ago a member was heard of by the leader, who hears itself; without one, by this replica.
function heard(member) {
  const { leader } = known.members.value;
  if (member.id === (leader ?? known.status.value?.replica_id)) return "now";
  return member.heard_ms === null ? "not yet" : `${span(member.heard_ms)} ago`;
}

function replicas() {
  const { members, status } = known;
  const rows = members.value?.members ?? [];
  const url = (member) => `${member.client_url.replace(/\/$/, "")}/ui`;
  return panel(
    { id: "replicas", title: "Replicas", subjects: [members], wide: true },
    members.value?.leader === null && h("p", { class: "fault" }, "No leader answers; this is what this replica knows."),
    table({
      caption: "Replicas",
      rows,
      key: (member) => member.id,
      empty: "No members are known.",
      columns: [
        { name: "Replica", of: (member) => [h("strong", {}, String(member.id)), member.id === status.value?.replica_id && tag("here")] },
        { name: "Role", of: (member) => (member.role === "leader" ? h("strong", {}, "leader") : member.role) },
        { name: "Health", of: health },
        { name: "Term", number: true, of: () => count(members.value.term) },
        { name: "Lag", number: true, of: (member) => (member.lag_entries === null ? "–" : count(member.lag_entries)) },
        { name: "Last heard", number: true, of: heard },
        { name: "Program", of: (member) => member.program ?? "–" },
        { name: "Clients at", mono: true, of: (member) => (member.client_url ? h("a", { href: url(member) }, member.client_url) : "–") },
      ],
    }),
  );
}

function traffic() {
  const { metrics, status } = known;
  const newest = history.newest;
  const rate = (value) => (value === undefined ? "–" : `${value < 10 ? value.toFixed(1) : count(Math.round(value))} /s`);
  const samples = history.samples;
  const p99 = samples.findLast((sample) => sample.p99 !== null);
  const chart = (title, value, note, line) =>
    h("div", { class: "chart", key: title }, h("div", {}, h("h3", {}, title), h("strong", {}, value), h("small", {}, note)), spark(line, { name: `${title}, last two minutes`, samplesMax: SAMPLES }));
  const latency = p99 ? `${span(p99.p50)} · ${span(p99.p99)}` : "–";
  return panel(
    { id: "traffic", title: "Writes", subjects: [metrics, status], wide: true },
    chart("Entries applied", rate(entries.samples.at(-1)), "whole cluster", entries.samples),
    chart("Changes proposed here", rate(newest?.writes), "by clients and loops of this replica", samples.map((sample) => sample.writes)),
    chart("Their latency", latency, "half and 99 % below, last two seconds with changes", samples.map((sample) => sample.p99)),
    metrics.value && h("p", { class: "quiet" }, `Data ${bytes(metrics.value.data)} on this replica, ${bytes(metrics.value.free)} free.`),
  );
}

function families() {
  const { undermoon, kvrocks, pooled, hosts } = known;
  const line = (href, name, text) => h("li", {}, h("a", { href }, name), h("span", {}, text));
  const metadata = undermoon.value;
  const moon = metadata ? `${many(Object.keys(metadata.clusters).length, "cluster")}, ${count(Object.keys(metadata.all_proxies).length)} proxies, epoch ${count(metadata.global_epoch)}` : "–";
  const nodes = (kvrocks.value ?? []).reduce((sum, cluster) => sum + cluster.nodes, 0);
  const rocks = kvrocks.value ? `${many(kvrocks.value.length, "cluster")}, ${many(nodes, "node")}` : "–";
  const used = (pooled.value ?? []).filter((cluster) => cluster.user_id).length;
  const pool = pooled.value ? `${many(hosts.value?.length ?? 0, "host")}, ${many(pooled.value.length, "cluster")}, ${used} in use` : "–";
  const list = h("ul", { class: "facts" }, line("#/undermoon", "Undermoon", moon), line("#/kvrocks", "Kvrocks", rocks), line("#/pool", "Pool", pool));
  return panel({ id: "families", title: "What it keeps", subjects: [] }, list);
}

function changes() {
  const { leaders } = known;
  return panel(
    { id: "leaders", title: "Leader changes", subjects: [leaders] },
    h("p", { class: "quiet" }, "As this replica has seen them since it started."),
    table({
      caption: "Recent leader changes",
      rows: [...(leaders.value ?? [])].reverse().slice(0, 12),
      key: (change) => `${change.term} ${change.leader} ${change.time_ms}`,
      empty: "None yet.",
      columns: [
        { name: "When", of: (change) => moment(change.time_ms) },
        { name: "Term", number: true, of: (change) => count(change.term) },
        { name: "Leader", of: (change) => (change.leader === null ? badge("warn", "none") : `replica ${change.leader}`) },
      ],
    }),
  );
}
