// Operations: members, leadership, snapshots, backups, the feature level, and whether this replica
// is ready.

import { change, identity } from "../api.js";
import { act, ask, say } from "../dialog.js";
import { h } from "../dom.js";
import { bytes, count, moment, span } from "../format.js";
import { age, badge, button, figure, figures, pageHead, panel, table, tag } from "../parts.js";
import { backups, levels, members, readiness, status } from "../subjects.js";
import { health } from "./overview.js";

const API = "/quorate/v1";
const MEMBERS = `${API}/members`;

export function subjects() {
  return [readiness, levels, backups];
}

export function view() {
  return [
    pageHead("Operations", status.value && `through replica ${status.value.replica_id}`, age([status])),
    memberPanel(),
    h("div", { class: "grid", key: "grid" }, leadership(), logPanel(), levelPanel()),
    readinessPanel(),
    backupPanel(),
  ];
}

function memberPanel() {
  const all = members.value?.members ?? [];
  const removed = members.value?.removed ?? [];
  return panel(
    { id: "members", title: "Members", subjects: [members], actions: [button("Add member", addMember)], wide: true },
    members.value?.is_changing && h("p", {}, badge("warn", "A change is under way.")),
    table({
      caption: "Members",
      rows: all,
      key: (member) => member.id,
      empty: "No members are known.",
      columns: [
        { name: "Replica", of: (member) => [h("strong", {}, String(member.id)), member.id === status.value?.replica_id && tag("here")] },
        { name: "Role", of: (member) => member.role },
        { name: "Health", of: health },
        { name: "Lag", number: true, of: (member) => count(member.lag_entries) },
        { name: "Peers at", mono: true, of: (member) => member.peer_addr },
        { name: "Program", of: (member) => member.program ?? "–" },
        { name: "Replaces", of: (member) => (member.replaces === null ? "–" : `replica ${member.replaces}`) },
        { name: "", of: memberActions },
      ],
    }),
    removed.length > 0 && h("p", { class: "quiet" }, `Removed for ever: ${removed.join(", ")}.`),
  );
}

function memberActions(member) {
  const { id } = member;
  return h(
    "span",
    { class: "row-actions" },
    member.role === "learner" && button("Promote", () => act(() => change("POST", `${MEMBERS}/${id}/promote`), `Replica ${id} has its vote.`), { label: `Promote replica ${id}` }),
    member.role === "voter" && button("Make leader", () => transfer(id), { label: `Make replica ${id} the leader` }),
    member.health === "quarantined" && button("Heal", () => act(() => change("POST", `${MEMBERS}/${id}/heal`), `Replica ${id} takes over the leader's state.`), { label: `Heal replica ${id}` }),
    button("Move", () => moveMember(member), { label: `Change the addresses of replica ${id}` }),
    button("Replace", () => replaceMember(id), { label: `Replace replica ${id}` }),
    button("Remove", () => removeMember(id), { label: `Remove replica ${id}` }),
  );
}

function leadership() {
  const { value } = status;
  const leader = members.value?.leader ?? value?.leader;
  return panel(
    { id: "leadership", title: "Leadership", subjects: [status, members], actions: [button("Transfer", () => transfer(), { label: "Transfer leadership" })] },
    figures(figure("Leader", leader === null ? "none" : `replica ${leader}`), figure("Term", count(value?.term)), figure("Quorum", `${members.value?.quorum} of ${voters().length}`)),
    h("p", { class: "quiet" }, "Writes wait while leadership changes hands."),
  );
}

const voters = () => (members.value?.members ?? []).filter((member) => member.role !== "learner");

function logPanel() {
  const { value } = status;
  return panel(
    { id: "log", title: "Log and snapshot of this replica", subjects: [status], actions: [button("Take a snapshot", takeSnapshot)] },
    value &&
      figures(
        figure("Last entry", count(value.last_log_index)),
        figure("Committed", count(value.commit_index)),
        figure("Applied", count(value.applied_index)),
        figure("Snapshot up to", value.snapshot_index > 0 ? count(value.snapshot_index) : "none"),
        figure("Purged up to", value.purged_index > 0 ? count(value.purged_index) : "none"),
        figure("State age", span(value.age_ms)),
      ),
  );
}

function levelPanel() {
  const { value } = levels;
  const canRaise = value?.common > value?.level;
  return panel(
    { id: "level", title: "Feature level", subjects: [levels], actions: [button("Raise", raise, { disabled: !canRaise, label: "Raise the feature level" })] },
    value && figures(figure("In use", count(value.level)), figure("All members know", value.common === null ? "unknown" : count(value.common))),
    value && h("p", { class: "quiet" }, canRaise ? "All replicas know more than is used. There is no way back to an older release after raising it." : "Nothing to raise: the log uses all that every member knows."),
  );
}

/// What the checks of `/readyz` are about.
const CHECKS = {
  barrier: "It has caught up since it started.",
  founded: "Its cluster is founded.",
  leader: "It knows who leads.",
  lag: "Its state is as new as reads need it.",
  disk: "Its disk takes what is written.",
  agreement: "Its state is that of the majority.",
  stopping: "It is not about to stop.",
  secrets: "It has the keys to stored passwords.",
};

function readinessPanel() {
  const line = (check) =>
    h(
      "li",
      { key: check.name },
      badge(check.isGood ? "good" : "bad", check.name),
      h("small", {}, CHECKS[check.name]),
      check.fault && h("span", { class: "fault" }, check.fault),
    );
  return panel({ id: "readiness", title: "Is this replica ready?", subjects: [readiness], wide: true }, h("ul", { class: "checks" }, (readiness.value ?? []).map(line)));
}

function backupPanel() {
  const actions = [button("Take a backup", takeBackup, { kind: "primary" }), button("Download the present state", () => download(`${API}/backup`, "quorate.qback"))];
  const fetchIt = (backup) => button("Download", () => download(`${API}/backups/${encodeURIComponent(backup.name)}`, backup.name), { label: `Download ${backup.name}` });
  const { value } = backups;
  // A replica without a place for backups says what to set.
  if (backups.error?.status === 409) {
    return panel({ id: "backups", title: "Backups", actions: actions.slice(1), wide: true }, h("p", { class: "quiet" }, backups.error.message));
  }
  return panel(
    { id: "backups", title: "Backups", subjects: [backups], actions, wide: true },
    value && h("p", { class: "quiet" }, `Of replica ${value.replica}, in `, h("span", { class: "mono" }, value.directory)),
    table({
      caption: "Backups",
      rows: value?.backups ?? [],
      key: (backup) => backup.name,
      empty: "There is no backup yet.",
      columns: [
        { name: "Taken", of: (backup) => moment(backup.created_ms) },
        { name: "Up to revision", number: true, of: (backup) => count(backup.index) },
        { name: "Size", number: true, of: (backup) => bytes(backup.bytes) },
        { name: "Name", mono: true, of: (backup) => backup.name },
        { name: "", of: fetchIt },
      ],
    }),
  );
}

// Actions.

function transfer(to) {
  const others = voters().filter((member) => member.role !== "leader");
  ask({
    title: "Transfer leadership",
    fields: [{ name: "to", label: "To", options: [["", "the most advanced voter"], ...others.map((member) => [String(member.id), `replica ${member.id}`])], value: to ?? "" }],
    verb: "Transfer",
    done: (said) => `Replica ${said.leader} leads now.`,
    act: (values) => change("POST", `${API}/leader/transfer`, values.to ? { to: Number(values.to) } : {}),
  });
}

function takeSnapshot() {
  act(async () => {
    const { index } = await change("POST", `${API}/snapshot`);
    say(`The snapshot covers everything up to index ${count(index)}.`);
  });
}

function takeBackup() {
  act(async () => {
    const { bytes: size } = await change("POST", `${API}/backups`, undefined, { timeoutMs: 60_000 });
    say(`The backup is written: ${bytes(size)}.`);
  });
}

async function download(path, name) {
  await act(async () => {
    const response = await fetch(path, { headers: identity(), credentials: "omit" });
    if (!response.ok) throw new Error(`Not sent: answer ${response.status}.`);
    const url = URL.createObjectURL(await response.blob());
    h("a", { href: url, download: name }).click();
    URL.revokeObjectURL(url);
  });
}

function raise() {
  ask({
    title: "Raise the feature level",
    note: h("p", {}, `From ${levels.value.level} to ${levels.value.common}. There is no way back: replicas of older releases cannot take part any more.`),
    verb: "Raise",
    typed: String(levels.value.common),
    isDangerous: true,
    done: (said) => `The cluster uses feature level ${said.level}.`,
    act: () => change("POST", `${API}/feature-level`, { level: levels.value.common }),
  });
}

const ADDRESSES = [
  { name: "peer_addr", label: "Where the other replicas reach it", required: true, hint: "HOST:PORT" },
  { name: "client_url", label: "Where clients reach it", hint: "As an URL; may be empty." },
];

function addMember() {
  ask({
    title: "Add member",
    note: h("p", {}, "Registers a learner. Start it with --join; it gets its vote once it has caught up."),
    fields: ADDRESSES,
    verb: "Add",
    done: (said) => `Replica ${said.id} is registered; start it with --join.`,
    act: (values) => change("POST", MEMBERS, values),
  });
}

function moveMember(member) {
  ask({
    title: `Addresses of replica ${member.id}`,
    fields: ADDRESSES.map((field) => ({ ...field, value: member[field.name] })),
    verb: "Change",
    done: `The members know where replica ${member.id} is.`,
    act: (values) => change("PATCH", `${MEMBERS}/${member.id}`, values),
  });
}

function replaceMember(id) {
  ask({
    title: `Replace replica ${id}`,
    note: h("p", {}, "A new replica gets the vote in the step in which this one leaves for ever. Start the new one with --join."),
    fields: ADDRESSES,
    verb: "Replace replica",
    typed: `replica ${id}`,
    isDangerous: true,
    done: (said) => `Replica ${said.id} takes the place of replica ${id}; start it with --join.`,
    act: (values) => change("POST", `${MEMBERS}/${id}/replace`, values),
  });
}

function removeMember(id) {
  ask({
    title: `Remove replica ${id}`,
    note: h("p", {}, "It leaves for ever: its id is never used again, and its disk is worth nothing to the cluster."),
    verb: "Remove replica",
    typed: `replica ${id}`,
    isDangerous: true,
    done: `Replica ${id} is removed.`,
    act: () => change("DELETE", `${MEMBERS}/${id}`),
  });
}
