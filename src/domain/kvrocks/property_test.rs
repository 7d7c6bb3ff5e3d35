//! Generated sequences of commands, sensible and hostile, against the invariants of spec 8.1.

use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::{
    Command, Rejection, Reply, Secret, SlotRange, State,
    command::{ClusterKey, DownNode, FailOver, MigrationOutcome, NewNode},
    damage_test::{damage, distort},
    invariant_test::{bytes_of, check_step, through_snapshot},
    model::{Cluster, FailoverCause, Role},
    nodes_text, query,
    rules_test::{id, told},
    settings::{AdoptPolicy, NodeCheck, SettingsChange},
    slots,
    topology::{Topology, TopologyNode, TopologyShard},
};
use crate::domain::Context;

/// Sequences in a run of the tests.
const SEQUENCES: u32 = 10_000;
/// Texts and lists in a run of the tests.
const TEXTS: u32 = 2_000;
/// Nodes in the play: few, so that they meet again.
const NODES: u16 = 24;

#[derive(Clone, Copy, Debug)]
enum Verb {
    CreateNamespace,
    DeleteNamespace,
    Create,
    Import,
    Load,
    Delete,
    AddShard,
    RemoveShard,
    AddNode,
    RemoveNode,
    FailOver,
    Bury,
    Move,
    Start,
    Queue,
    Accept,
    End,
    Cancel,
    Retry,
    Adopt,
    RequestSync,
    FinishSync,
    Report,
    Forget,
    Settings,
    Password,
    Again,
    Wait,
}

/// What to do next. Numbers pick among what the state has, so that most commands make sense.
#[derive(Clone, Debug)]
pub(super) struct Step {
    verb: Verb,
    cluster: u8,
    shard: u8,
    pick: u16,
    /// Low values make the command hostile.
    twist: u8,
    slots: (u16, u16),
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        1 => Just(Verb::CreateNamespace),
        1 => Just(Verb::DeleteNamespace),
        4 => Just(Verb::Create),
        2 => Just(Verb::Import),
        2 => Just(Verb::Load),
        1 => Just(Verb::Delete),
        4 => Just(Verb::AddShard),
        4 => Just(Verb::RemoveShard),
        4 => Just(Verb::AddNode),
        3 => Just(Verb::RemoveNode),
        4 => Just(Verb::FailOver),
        3 => Just(Verb::Bury),
        5 => Just(Verb::Move),
        6 => Just(Verb::Start),
        8 => Just(Verb::Queue),
        4 => Just(Verb::Accept),
        12 => Just(Verb::End),
        3 => Just(Verb::Cancel),
        3 => Just(Verb::Retry),
        5 => Just(Verb::Adopt),
        1 => Just(Verb::RequestSync),
        1 => Just(Verb::FinishSync),
        3 => Just(Verb::Report),
        1 => Just(Verb::Forget),
        1 => Just(Verb::Settings),
        1 => Just(Verb::Password),
        4 => Just(Verb::Again),
        1 => Just(Verb::Wait),
    ]
}

pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    // Most of what happens, happens to the first cluster.
    let cluster = prop_oneof![16 => Just(0_u8), 2 => 1..4_u8, 1 => 4..6_u8];
    let slots = (any::<u16>(), any::<u16>());
    let step = (verb(), cluster, 0..8_u8, any::<u16>(), 0..64_u8, slots).prop_map(
        |(verb, cluster, shard, pick, twist, slots)| Step {
            verb,
            cluster,
            shard,
            pick,
            twist,
            slots,
        },
    );
    // Most sequences begin with something to play with: shards of two nodes, or of one.
    let shape = prop_oneof![Just((3, 2)), Just((3, 30)), Just((2, 3)), Just((2, 1))];
    (shape, vec(step, 1..most)).prop_map(|((shard, pick), steps)| {
        let begin = |verb, pick| Step { verb, cluster: 0, shard, pick, twist: 63, slots: (0, 0) };
        let begun = [begin(Verb::CreateNamespace, 0), begin(Verb::Create, pick)];
        begun.into_iter().chain(steps).collect()
    })
}

/// The name of a cluster of the play; the last ones do not exist.
pub(super) fn key_of(cluster: u8) -> ClusterKey {
    let (namespace, name) =
        [("ns", "a"), ("ns", "b"), ("two", "a"), ("two", "b"), ("ns", "no/such"), ("nowhere", "a")]
            [usize::from(cluster % 6)];
    ClusterKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// A node of the play; ids and addresses collide independently of each other.
fn new_node(port: u16, shift: u16) -> NewNode {
    let port = port % NODES;
    NewNode { id: id((port + shift) % NODES), addr: format!("10.0.0.1:{}", port + 1) }
}

fn new_nodes(step: &Step, count: u16) -> Vec<NewNode> {
    let shift = if step.twist < 8 { u16::from(step.twist) } else { 0 };
    let mut nodes: Vec<NewNode> =
        (0..count).map(|at| new_node(step.pick / 7 + at, shift)).collect();
    let hostile = ["", "h", "[::1]:7", "h:1@2", "a/b:1", "h:0"];
    if let (8..14, Some(node)) = (step.twist, nodes.last_mut()) {
        node.addr = hostile[usize::from(step.twist - 8)].to_owned();
    }
    if let (14, Some(node)) = (step.twist, nodes.last_mut()) {
        node.id.push('x');
    }
    nodes
}

/// Part of what some shard owns, or anything.
fn range_of(found: Option<&Cluster>, step: &Step) -> SlotRange {
    let (a, b) = (i64::from(step.slots.0), i64::from(step.slots.1));
    let owned = found.into_iter().flat_map(|found| &found.shards).flat_map(|shard| &shard.slots);
    let owned: Vec<SlotRange> = owned.copied().collect();
    let have = match usize::from(step.pick).checked_rem(owned.len()) {
        Some(at) if step.twist > 5 => owned[at],
        _ => SlotRange::ALL,
    };
    let count = have.count() as i64;
    let start = i64::from(have.start()) + if step.twist.is_multiple_of(3) { 0 } else { a % count };
    let stop = start + b % 4;
    SlotRange::new(start.min(16383), stop.min(i64::from(have.stop())).max(start)).unwrap()
}

fn node_id_of(found: Option<&Cluster>, pick: u16) -> String {
    let nodes = found.map_or(0, |found| found.nodes().count());
    let at = usize::from(pick).checked_rem(nodes + 1).unwrap_or(0);
    let node = found.and_then(|found| found.nodes().nth(at));
    node.map_or_else(|| id(999), |(_, node)| node.id.clone())
}

/// A job of the cluster with an attempt, mostly the present one.
fn job_of(found: Option<&Cluster>, step: &Step) -> (u64, u32) {
    let jobs = found.map(|found| &found.jobs[..]).unwrap_or_default();
    // The active ones are the interesting ones.
    let is_wanted = |job: &&super::model::Job| step.twist < 16 || job.phase.is_active();
    let wanted: Vec<_> = jobs.iter().filter(is_wanted).collect();
    let Some(at) = usize::from(step.pick).checked_rem(wanted.len()) else { return (7, 1) };
    match step.twist {
        0 => (wanted[at].id, wanted[at].attempt.wrapping_sub(1)),
        1 => (wanted[at].id, wanted[at].attempt.saturating_add(1)),
        2 => (u64::MAX, u32::MAX),
        _ => (wanted[at].id, wanted[at].attempt),
    }
}

fn fail_over(found: Option<&Cluster>, step: &Step, cause: FailoverCause) -> FailOver {
    let shard = shard_of(found, step);
    let nodes = found.and_then(|found| found.shard(shard)).map(|shard| &shard.nodes[..]);
    let nodes = nodes.unwrap_or_default();
    let master = nodes.iter().find(|node| node.role == Role::Master);
    let new = nodes.iter().filter(|node| step.twist < 4 || node.role == Role::Slave);
    let new: Vec<_> = new.collect();
    let at = usize::from(step.pick).checked_rem(new.len());
    FailOver {
        cluster: key_of(step.cluster),
        shard,
        old_master: match (step.twist, master) {
            (4, _) | (_, None) => node_id_of(found, step.pick),
            (_, Some(master)) => master.id.clone(),
        },
        new_master: at.map_or_else(|| id(998), |at| new[at].id.clone()),
        base_version: match (step.twist, found) {
            (5, Some(found)) => found.version.wrapping_sub(1),
            (_, Some(found)) => found.version,
            (_, None) => 1,
        },
        cause,
        request: [step.twist; 16],
    }
}

/// An index, mostly of a shard that is there.
fn shard_of(found: Option<&Cluster>, step: &Step) -> i64 {
    let shards = found.map_or(1, |found| found.shards.len().max(1));
    match step.twist {
        0 => -1,
        1 => i64::MAX,
        2 => i64::MIN,
        _ => i64::from(step.shard) % (shards as i64 + i64::from(step.twist < 8)),
    }
}

fn topology_of(found: Option<&Cluster>, earlier: &[Cluster], step: &Step) -> Topology {
    let pick = usize::from(step.pick);
    let base = match pick.checked_rem(earlier.len()) {
        Some(at) if step.twist % 4 == 1 => Some(&earlier[at]),
        _ => found,
    };
    let mut topology = base.map_or_else(|| fresh_topology(step), |base| told(base, base.version));
    topology.version += u64::from(step.slots.0 % 4);
    distort(&mut topology, step.twist, step.pick, range_of(base, step));
    topology
}

/// Masters with one replica each that share the first slots; the last one may have none.
fn fresh_topology(step: &Step) -> Topology {
    let node = |port: u16| {
        let NewNode { id, addr } = new_node(port % NODES, 0);
        TopologyNode { id, addr, is_failed: false }
    };
    let count = 1 + step.pick % 3;
    let shard = |at: u16| TopologyShard {
        master: node(step.pick % NODES + 2 * at),
        replicas: vec![TopologyNode {
            is_failed: step.twist.is_multiple_of(5),
            ..node(step.pick % NODES + 2 * at + 1)
        }],
        slots: SlotRange::new(i64::from(at) * 100, i64::from(at) * 100 + 99).into_iter().collect(),
        migrating: None,
    };
    let mut shards: Vec<TopologyShard> = (0..count).map(shard).collect();
    if step.twist.is_multiple_of(3) {
        shards[usize::from(count) - 1].slots.clear();
    }
    Topology { version: u64::from(step.pick % 9), shards }
}

fn report(observer: u64, step: &Step, down: Vec<String>) -> Command {
    let down = down.into_iter().map(|node_id| DownNode {
        node_id,
        failures: 5,
        error: "é".repeat(usize::from(step.twist) * 4),
    });
    Command::ReportHealth {
        observer,
        probed: u64::from(step.shard) * 3,
        failed: u64::from(step.slots.0 % 24),
        down: down.collect(),
    }
}

/// Two observers that see the network find a master dead, and the leader's loop acts on it.
fn bury(found: Option<&Cluster>, step: &Step) -> Vec<Command> {
    let mut commands = Vec::new();
    let swap = fail_over(found, step, FailoverCause::Automatic);
    let failed = if step.twist < 8 { 9 } else { 1 };
    for observer in 0..2 + u64::from(step.twist.is_multiple_of(4)) {
        let node_id = swap.old_master.clone();
        let down = DownNode { node_id, failures: 5, error: String::new() };
        let down = if observer < 2 { vec![down] } else { Vec::new() };
        commands.push(Command::ReportHealth { observer, probed: 9, failed, down });
    }
    commands.push(Command::FailOver(swap));
    commands
}

fn settings(step: &Step) -> Command {
    let value = u64::from(step.pick);
    let policies = [AdoptPolicy::SameNodes, AdoptPolicy::Always, AdoptPolicy::Never];
    Command::ChangeSettings(SettingsChange {
        ping_interval_ms: step.twist.is_multiple_of(2).then_some(value),
        is_failover_automatic: step.twist.is_multiple_of(7).then_some(value.is_multiple_of(2)),
        migration_attempts_max: step.twist.is_multiple_of(5).then_some(u32::from(step.pick % 120)),
        min_alive_size: step.twist.is_multiple_of(3).then_some(value % 12),
        adopt_policy: Some(policies[usize::from(step.pick % 3)]),
        node_check: step.twist.is_multiple_of(9).then_some(NodeCheck::All),
        ..SettingsChange::default()
    })
}

/// The cluster of `command` again, after the one that has its name.
fn anew(found: Option<&Cluster>, command: Command) -> Vec<Command> {
    let delete = match &command {
        Command::ImportCluster { cluster, .. } | Command::LoadCluster { cluster, .. } => {
            Command::DeleteCluster { cluster: cluster.clone() }
        }
        _ => return vec![command],
    };
    if found.is_some() { vec![delete, command] } else { vec![command] }
}

/// The commands of a step in a state; none if the step only passes time. `earlier` are clusters of
/// the same run, `log` is what was applied.
fn commands_of(state: &State, (earlier, log): (&[Cluster], &Log), step: &Step) -> Vec<Command> {
    let found = query::cluster(state, &key_of(step.cluster));
    let found = found.as_deref();
    let is_idle = found.is_none_or(|found| found.active_jobs().next().is_none());
    match step.verb {
        Verb::CreateNamespace
        | Verb::DeleteNamespace
        | Verb::Create
        | Verb::Import
        | Verb::Load
        | Verb::Delete => arrival(found, earlier, step),
        Verb::AddShard | Verb::RemoveShard | Verb::AddNode | Verb::RemoveNode => {
            vec![part(found, step)]
        }
        Verb::FailOver => vec![Command::FailOver(fail_over(found, step, FailoverCause::Manual))],
        Verb::Bury => bury(found, step),
        // Without a migration there is nothing to accept and nothing to end.
        Verb::Accept | Verb::End if is_idle && step.twist > 16 => {
            vec![slot_command(found, &Step { verb: Verb::Start, ..step.clone() })]
        }
        Verb::Move
        | Verb::Start
        | Verb::Queue
        | Verb::Accept
        | Verb::End
        | Verb::Cancel
        | Verb::Retry => vec![slot_command(found, step)],
        Verb::Adopt
        | Verb::RequestSync
        | Verb::FinishSync
        | Verb::Report
        | Verb::Forget
        | Verb::Settings
        | Verb::Password => vec![loop_command(found, earlier, step)],
        Verb::Again => match usize::from(step.pick).checked_rem(log.len()) {
            Some(at) => vec![log[at].1.clone()],
            None => Vec::new(),
        },
        Verb::Wait => Vec::new(),
    }
}

fn password_of(step: &Step) -> Secret {
    Secret::new(format!("pw{}", step.pick % 3))
}

/// Namespaces and clusters come and go.
fn arrival(found: Option<&Cluster>, earlier: &[Cluster], step: &Step) -> Vec<Command> {
    let (cluster, password) = (key_of(step.cluster), password_of(step));
    let namespaces = ["ns", "two", "", "a/b", ".."];
    let namespace = namespaces[usize::from(step.pick % 12).saturating_sub(7)].to_owned();
    match step.verb {
        Verb::CreateNamespace => vec![Command::CreateNamespace { namespace }],
        Verb::DeleteNamespace => vec![Command::DeleteNamespace { namespace }],
        Verb::Create => {
            let replicas = (i64::from(step.shard) - 1).min(2);
            let nodes = new_nodes(step, u16::from(step.shard.max(1)) * (step.pick % 4));
            vec![Command::CreateCluster { cluster, nodes, replicas, password }]
        }
        Verb::Import => {
            let topology = topology_of(found.filter(|_| step.twist > 20), earlier, step);
            anew(found, Command::ImportCluster { cluster, topology, password })
        }
        Verb::Load => {
            let at = usize::from(step.pick).checked_rem(earlier.len());
            let mut record = match (found, at) {
                (Some(found), _) if step.twist.is_multiple_of(2) => found.clone(),
                (_, Some(at)) => earlier[at].clone(),
                _ => Cluster::default(),
            };
            damage(&mut record, step.twist / 2, step.slots.0);
            anew(found, Command::LoadCluster { cluster, record: Box::new(record) })
        }
        _ => vec![Command::DeleteCluster { cluster }],
    }
}

/// Shards and nodes come and go.
fn part(found: Option<&Cluster>, step: &Step) -> Command {
    let (cluster, password) = (key_of(step.cluster), password_of(step));
    let shard = shard_of(found, step);
    match step.verb {
        Verb::AddShard => {
            Command::AddShard { cluster, nodes: new_nodes(step, step.pick % 3), password }
        }
        Verb::RemoveShard => {
            let is_empty = |shard: &super::model::Shard| shard.slots.is_empty();
            let idle = found.and_then(|found| found.shards.iter().position(is_empty));
            let idle = idle.filter(|_| step.twist > 16).map(|index| index as i64);
            Command::RemoveShard { cluster, shard: idle.unwrap_or(shard) }
        }
        Verb::AddNode => {
            let role = ["", "slave", "slave", "master", "boss"][usize::from(step.pick % 5)];
            let node = new_nodes(step, 1).remove(0);
            Command::AddNode { cluster, shard, node, role: role.to_owned(), password }
        }
        _ => Command::RemoveNode { cluster, shard, node_id: node_id_of(found, step.pick) },
    }
}

/// Slots move.
fn slot_command(found: Option<&Cluster>, step: &Step) -> Command {
    let cluster = key_of(step.cluster);
    let (target, range) = (shard_of(found, step), range_of(found, step));
    let (job, attempt) = job_of(found, step);
    match step.verb {
        Verb::Move => Command::MoveSlots { cluster, range, target },
        Verb::Start => Command::StartMigration { cluster, range, target },
        Verb::Queue => {
            let other = range_of(found, &Step { slots: (step.slots.1, 1), ..step.clone() });
            let ranges = [range, other].into_iter().take(usize::from(step.pick % 3)).collect();
            let attempts_max = u32::from(step.slots.0 % 5);
            Command::QueueMigrations { cluster, ranges, target, attempts_max }
        }
        Verb::Accept => Command::MigrationAccepted { cluster, job, attempt },
        Verb::End => {
            let error = "it broke ".repeat(usize::from(step.twist));
            let outcome = match step.shard {
                0..4 => MigrationOutcome::Moved,
                4 | 5 => MigrationOutcome::Failed { error },
                6 => MigrationOutcome::Refused { error },
                _ => MigrationOutcome::Cancelled,
            };
            Command::EndMigration { cluster, job, attempt, outcome }
        }
        Verb::Cancel => Command::CancelMigration { cluster, job: any_job(found, step) },
        _ => Command::RetryMigration { cluster, job: any_job(found, step) },
    }
}

/// What loops and operators ask besides.
fn loop_command(found: Option<&Cluster>, earlier: &[Cluster], step: &Step) -> Command {
    let cluster = key_of(step.cluster);
    let node_id = node_id_of(found, step.pick);
    match step.verb {
        Verb::Adopt => {
            let stale = u64::from(step.twist == 3);
            let base_version = found.map_or(1, |found| found.version.wrapping_sub(stale));
            let topology = topology_of(found, earlier, step);
            Command::AdoptTopology { cluster, base_version, topology }
        }
        Verb::RequestSync => Command::RequestSync { cluster, is_forced: step.twist < 32 },
        Verb::FinishSync => {
            let sync = found.and_then(|found| found.sync.as_ref()).map_or(1, |sync| sync.id);
            let error = "x".repeat(usize::from(step.pick % 999));
            Command::FinishSync { cluster, sync, failures: vec![(error.clone(), error)] }
        }
        Verb::Report => {
            let observer = if step.twist < 8 { u64::from(step.pick) } else { 1 };
            report(observer, step, vec![node_id, id(step.pick % NODES)])
        }
        Verb::Forget => Command::ForgetObserver { observer: u64::from(step.pick % 3) },
        Verb::Settings => settings(step),
        _ => {
            let node_id = (step.twist > 16).then_some(node_id);
            Command::ChangePassword { cluster, node_id, password: password_of(step) }
        }
    }
}

fn any_job(found: Option<&Cluster>, step: &Step) -> u64 {
    job_of(found, &Step { twist: step.twist % 16, ..step.clone() }).0
}

/// The log of a run: what `apply` was given.
pub(super) type Log = Vec<(u64, Command)>;

pub(super) fn context(index: u64, time_ms: u64) -> Context<'static> {
    Context { index, term: 1, time_ms, actor: "" }
}

/// Runs the steps, checks every invariant after each command, and returns the log.
pub(super) fn run(steps: &[Step]) -> Result<(Log, State), TestCaseError> {
    let mut state = State::default();
    let mut log = Log::new();
    let mut earlier: Vec<Cluster> = Vec::new();
    let mut time_ms = 1_760_000_000_000;
    for (at, step) in steps.iter().enumerate() {
        time_ms += 300;
        if let Verb::Wait = step.verb {
            time_ms += u64::from(step.pick);
        }
        for command in commands_of(&state, (&earlier, &log), step) {
            let before = state.clone();
            log.push((time_ms, command.clone()));
            let reply = state.apply(&context(log.len() as u64, time_ms), command.clone());
            check_step(&before, &state, (&command, time_ms), &reply)?;
        }
        if at % 6 == 5 {
            earlier.extend(query::clusters(&state).map(|(_, cluster)| cluster.as_ref().clone()));
        }
    }
    Ok((log, state))
}

fn replay(
    state: &mut State,
    log: &[(u64, Command)],
    first: usize,
) -> Vec<Result<Reply, Rejection>> {
    let numbered = log.iter().enumerate().skip(first);
    numbered
        .map(|(at, (time_ms, command))| {
            let bytes = postcard::to_stdvec(command).expect("commands encode");
            let command: Command = postcard::from_bytes(&bytes).expect("commands decode");
            state.apply(&context(at as u64 + 1, *time_ms), command)
        })
        .collect()
}

/// A failing case is printed whole and becomes a test of its own; no file of seeds is kept.
fn config(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(SEQUENCES))]

    #[test]
    fn every_sequence_keeps_the_invariants_and_replays_to_the_same_bytes(
        steps in steps(50),
        cut in any::<prop::sample::Index>(),
    ) {
        let (log, state) = run(&steps)?;

        let mut again = State::default();
        let replies = replay(&mut again, &log, 0);
        prop_assert_eq!(bytes_of(&again), bytes_of(&state), "I17: same log, other bytes");

        let cut = cut.index(log.len() + 1);
        let mut early = State::default();
        replay(&mut early, &log[..cut], 0);
        let mut resumed = through_snapshot(&early);
        prop_assert_eq!(&resumed, &early, "a snapshot loses something");
        let tail = replay(&mut resumed, &log, cut);
        prop_assert_eq!(&tail[..], &replies[cut..], "snapshot plus tail, other replies");
        prop_assert_eq!(bytes_of(&resumed), bytes_of(&state), "snapshot plus tail, other bytes");
    }
}

fn any_range() -> impl Strategy<Value = SlotRange> {
    (0..16384_i64, 0..16384_i64, 0..6_i64).prop_map(|(a, b, near)| {
        let stop = if near < 4 { (a + near).min(16383) } else { a.max(b) };
        SlotRange::new(a.min(stop), stop).unwrap()
    })
}

fn any_list() -> impl Strategy<Value = Vec<SlotRange>> {
    vec(any_range(), 0..12).prop_map(|ranges| {
        ranges.into_iter().fold(Vec::new(), |list, range| slots::add(&list, range))
    })
}

proptest! {
    #![proptest_config(config(TEXTS))]

    #[test]
    fn a_range_is_what_its_text_says(range in any_range()) {
        prop_assert_eq!(range.to_string().parse::<SlotRange>(), Ok(range), "I15");
        let bytes = serde_json::to_vec(&range).unwrap();
        prop_assert_eq!(serde_json::from_slice::<SlotRange>(&bytes).unwrap(), range);
    }

    #[test]
    fn adding_and_removing_slots_agrees_with_a_set_of_them(
        list in any_list(),
        range in any_range(),
    ) {
        let of = |list: &[SlotRange]| {
            let slots = list.iter().flat_map(|range| range.start()..=range.stop());
            slots.collect::<std::collections::BTreeSet<u16>>()
        };
        let (mut wider, mut narrower) = (of(&list), of(&list));
        for slot in range.start()..=range.stop() {
            wider.insert(slot);
            narrower.remove(&slot);
        }
        let (added, removed) = (slots::add(&list, range), slots::remove(&list, range));
        prop_assert_eq!(of(&added), wider);
        prop_assert_eq!(of(&removed), narrower);
        for list in [&added, &removed] {
            let is_apart = |pair: &[SlotRange]| pair[0].stop() + 1 < pair[1].start();
            prop_assert!(list.windows(2).all(is_apart), "I4: {:?}", list);
        }
        if of(&list).is_disjoint(&of(&[range])) {
            prop_assert_eq!(slots::remove(&added, range), list, "I14");
        }
    }

    #[test]
    fn no_text_breaks_the_readers(text in "[0-9a-f:@,\\[\\]<>\\- \n]{0,200}|(\\PC|\n){0,100}") {
        drop(nodes_text::parse(&text));
        drop(text.parse::<SlotRange>());
    }

    #[test]
    fn an_even_split_covers_every_slot(parts in 1..=16384_u16) {
        let split = slots::split(parts);
        prop_assert_eq!(split.len(), usize::from(parts));
        let whole = split.iter().fold(Vec::new(), |list, range| slots::add(&list, *range));
        prop_assert_eq!(whole, vec![SlotRange::ALL]);
        prop_assert_eq!(slots::count(&split), 16384);
    }
}
