//! Random histories: whatever is asked in whatever order, the invariants hold (spec 8.1).

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    Command, Reply, Secret, SlotRange, State,
    command::{ClusterKey, DownNode, FailOver, MigrationOutcome, NewNode},
    model::{Cluster, FailoverCause},
    query,
    rules_test::{id, key, new_node},
    settings::SettingsChange,
    slots,
};
use crate::domain::Context;

/// A wish in terms of whatever the state holds when it is applied.
#[derive(Clone, Debug)]
struct Wish {
    verb: u8,
    numbers: [u16; 4],
}

fn any_wish() -> impl Strategy<Value = Wish> {
    (0..20_u8, prop::array::uniform4(any::<u16>()))
        .prop_map(|(verb, numbers)| Wish { verb, numbers })
}

fn any_range([a, b, ..]: [u16; 4]) -> SlotRange {
    let is_single = b.is_multiple_of(2);
    let (a, b) = (i64::from(a % 16384), i64::from(b % 16384));
    let stop = if is_single { a } else { a.max(b) };
    SlotRange::new(a.min(stop), stop).unwrap()
}

/// Mostly sensible commands: names, nodes and jobs that may exist.
fn command(state: &State, wish: &Wish) -> Command {
    let [a, b, c, d] = wish.numbers;
    let cluster = key(["a", "b"][usize::from(a % 2)]);
    let found = query::cluster(state, &cluster);
    let shard = i64::from(b % 5) - 1;
    let port = c % 24;
    // Ids and addresses collide independently of each other.
    let node_id = |port: u16| id((port + d % 5) % 24);
    let node = |port: u16| NewNode { id: node_id(port), ..new_node(port) };
    let nodes = |count: u16| (0..count).map(|step| node((port + step) % 24)).collect();
    let password = Secret::new("pw");
    let job = found.as_ref().and_then(|found| {
        let job = found.jobs.get(usize::from(c) % found.jobs.len().max(1))?;
        Some((job.id, job.attempt))
    });
    let (job, attempt) = job.unwrap_or((1, 1));
    match wish.verb {
        0 => Command::CreateNamespace { namespace: "ns".to_owned() },
        1 => Command::DeleteNamespace { namespace: "ns".to_owned() },
        2 | 3 => {
            let replicas = i64::from(b % 3) - i64::from(b.is_multiple_of(11));
            Command::CreateCluster { cluster, nodes: nodes(d % 9), replicas, password }
        }
        4 if d.is_multiple_of(8) => Command::DeleteCluster { cluster },
        4 | 5 => Command::AddShard { cluster, nodes: nodes(1 + d % 2), password },
        6 => Command::RemoveShard { cluster, shard },
        7 | 8 => {
            let role = ["", "slave", "master", "boss"][usize::from(d % 4)].to_owned();
            Command::AddNode { cluster, shard, node: node(port), role, password }
        }
        9 => Command::RemoveNode { cluster, shard, node_id: node_id(port) },
        10 | 11 => fail_over(found.as_deref(), cluster, shard, d),
        12 => Command::MoveSlots { cluster, range: any_range(wish.numbers), target: shard },
        13 => Command::StartMigration { cluster, range: owned(found.as_deref(), d), target: shard },
        14 => {
            let ranges = vec![any_range(wish.numbers), owned(found.as_deref(), d)];
            Command::QueueMigrations { cluster, ranges, target: shard, attempts_max: 2 }
        }
        15 => Command::MigrationAccepted { cluster, job, attempt },
        16 | 17 => {
            let error = "it broke".to_owned();
            let outcome = match d % 4 {
                0 | 1 => MigrationOutcome::Moved,
                2 => MigrationOutcome::Failed { error },
                _ => MigrationOutcome::Cancelled,
            };
            Command::EndMigration { cluster, job, attempt, outcome }
        }
        18 if d.is_multiple_of(2) => Command::CancelMigration { cluster, job },
        18 => Command::RetryMigration { cluster, job },
        _ if d.is_multiple_of(4) => {
            let failovers = Some(b.is_multiple_of(2));
            let is_failover_automatic = failovers;
            Command::ChangeSettings(SettingsChange {
                is_failover_automatic,
                ..SettingsChange::default()
            })
        }
        _ => Command::ReportHealth {
            observer: u64::from(b % 3),
            probed: 8,
            failed: u64::from(d % 9),
            down: vec![DownNode { node_id: node_id(port), failures: 5, error: String::new() }],
        },
    }
}

fn owned(cluster: Option<&Cluster>, pick: u16) -> SlotRange {
    let ranges: Vec<SlotRange> = cluster
        .map(|cluster| cluster.shards.iter().flat_map(|shard| shard.slots.clone()).collect())
        .unwrap_or_default();
    ranges.get(usize::from(pick) % ranges.len().max(1)).copied().unwrap_or(SlotRange::ALL)
}

fn fail_over(found: Option<&Cluster>, cluster: ClusterKey, shard: i64, pick: u16) -> Command {
    let nodes = found.and_then(|found| found.shard(shard)).map(|shard| &shard.nodes[..]);
    let nodes = nodes.unwrap_or_default();
    let master = nodes.iter().find(|node| node.role == super::model::Role::Master);
    let new = nodes.get(usize::from(pick) % nodes.len().max(1));
    Command::FailOver(FailOver {
        cluster,
        shard,
        old_master: master.map(|node| node.id.clone()).unwrap_or_default(),
        new_master: new.map(|node| node.id.clone()).unwrap_or_default(),
        base_version: found.map_or(0, |found| found.version - u64::from(pick.is_multiple_of(7))),
        cause: if pick.is_multiple_of(5) {
            FailoverCause::Automatic
        } else {
            FailoverCause::Manual
        },
        request: [0; 16],
    })
}

fn assigned(cluster: &Cluster) -> u64 {
    cluster.shards.iter().map(|shard| slots::count(&shard.slots)).sum()
}

/// What must hold of any state at any time.
fn check(state: &State) {
    let mut addresses = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (key, cluster) in query::clusters(state) {
        cluster.validate().unwrap();
        assert_eq!(assigned(cluster), 16384, "every slot has an owner");
        for (_, node) in cluster.nodes() {
            assert!(addresses.insert(node.addr.clone()), "{} is used twice", node.addr);
            assert!(ids.insert(node.id.clone()), "{} is used twice", node.id);
            assert_eq!(query::owner_of_address(state, &node.addr), Some(&key));
        }
    }
    assert!(state.addresses.keys().eq(&addresses));
    assert!(state.node_ids.keys().eq(&ids));
}

/// What must hold between a state and its successor.
fn check_step(before: &State, after: &State, command: &Command) {
    for (key, cluster) in query::clusters(after) {
        let Some(old) = query::cluster(before, &key) else { continue };
        assert!(cluster.version >= old.version, "versions never fall");
        if cluster.shards != old.shards && !matches!(command, Command::ChangePassword { .. }) {
            assert!(cluster.version > old.version, "a change has a new version: {command:?}");
        }
        if cluster.version > old.version {
            let begun = |cluster: &Cluster| -> u64 {
                cluster.jobs.iter().map(|job| u64::from(job.attempt)).sum()
            };
            let steps = begun(cluster).saturating_sub(begun(&old)) + 1;
            assert!(cluster.version - old.version <= steps, "one step a change: {command:?}");
        }
    }
}

fn rebuilt(state: &State) -> State {
    let mut rebuilt = State::default();
    for record in state.records() {
        let bytes = postcard::to_allocvec(&record).unwrap();
        rebuilt.restore_record(postcard::from_bytes(&bytes).unwrap()).unwrap();
    }
    rebuilt
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_every_invariant(wishes in prop::collection::vec(any_wish(), 1..120)) {
        let mut state = State::default();
        let mut twin = State::default();
        let namespace = Command::CreateNamespace { namespace: "ns".to_owned() };
        for (step, wish) in wishes.iter().enumerate() {
            let command = if step == 0 { namespace.clone() } else { command(&state, wish) };
            let bytes = postcard::to_allocvec(&command).unwrap();
            let again: Command = postcard::from_bytes(&bytes).unwrap();
            prop_assert_eq!(&again, &command);
            let time_ms = 1_000_000 + 100 * step as u64;
            let context = Context { index: step as u64, term: 1, time_ms, actor: "" };
            let before = state.clone();
            let reply = state.apply(&context, command.clone());
            prop_assert_eq!(&twin.apply(&context, again), &reply);
            match &reply {
                Err(_) => prop_assert_eq!(&state, &before, "a refusal changes nothing"),
                Ok(Reply::Cluster(cluster)) => cluster.validate().unwrap(),
                Ok(_) => {}
            }
            check(&state);
            check_step(&before, &state, &command);
        }
        prop_assert_eq!(&state, &twin);
        let rebuilt = rebuilt(&state);
        prop_assert!(rebuilt.records().eq(state.records()));
        prop_assert_eq!(rebuilt, state);
    }
}
