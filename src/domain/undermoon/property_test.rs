//! Generated sequences of commands against the invariants of spec 10.1.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::{
    Action, Command, Profile, Rejection, Reply, State,
    document::Document,
    invariant_test::{History, check, check_refusal, check_restored},
    query,
    record::{Loader, Record},
    settings::{Seed, Settings, SettingsChange},
};
use crate::domain::Context;

/// Sequences in a run of the tests.
const SEQUENCES: u32 = 10_000;
/// Damaged documents in a run of the tests.
const DOCUMENTS: u32 = 4_000;
/// Hosts in the play: few, so that chunks meet again.
const HOSTS: u8 = 5;
/// Cluster names in the play.
const NAMES: [&str; 3] = ["orders", "users", "x@y-_Z"];

/// What to do next. Numbers pick among what the state has, so that most commands make sense.
#[derive(Clone, Debug)]
enum Step {
    Register { host: u8, proxy: u8 },
    Remove { pick: u8 },
    Create { name: u8, node_number: u8 },
    Delete { name: u8 },
    AddNodes { name: u8, node_number: u8 },
    AddNodesUpTo { name: u8, node_number: u8 },
    DeleteFreeNodes { name: u8 },
    Expand { name: u8 },
    Shrink { name: u8, node_number: u8 },
    AutoScale { name: u8, node_number: u8 },
    AutoExpand { name: u8, node_number: u8 },
    Commit { name: u8, pick: u8 },
    WrongCommit { name: u8, epoch: u8 },
    ChangeConfig { name: u8, value: u8 },
    Balance { name: u8 },
    Report { pick: u8, reporter: u8 },
    Prune,
    Failover { pick: u8 },
    SetEpoch { ahead: u8 },
    RecoverEpoch { ahead: u8 },
    RestoreSelf { ahead: u8 },
    RestoreEarlier { pick: u8, ahead: u8 },
    RenewLease { run: u8 },
    ReleaseLease { run: u8 },
    Limit { limit: u8 },
    Wait { seconds: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..4_u8;
    let small = prop_oneof![4 => (1..5_u8).prop_map(|chunks| chunks * 4), 1 => 0..14_u8];
    let pick = any::<u8>();
    let step = prop_oneof![
        12 => (0..HOSTS, 0..6_u8).prop_map(|(host, proxy)| Step::Register { host, proxy }),
        1 => pick.prop_map(|pick| Step::Remove { pick }),
        4 => (name.clone(), small.clone())
            .prop_map(|(name, node_number)| Step::Create { name, node_number }),
        1 => name.clone().prop_map(|name| Step::Delete { name }),
        4 => (name.clone(), small.clone())
            .prop_map(|(name, node_number)| Step::AddNodes { name, node_number }),
        2 => (name.clone(), small.clone())
            .prop_map(|(name, node_number)| Step::AddNodesUpTo { name, node_number }),
        2 => name.clone().prop_map(|name| Step::DeleteFreeNodes { name }),
        5 => name.clone().prop_map(|name| Step::Expand { name }),
        4 => (name.clone(), small.clone())
            .prop_map(|(name, node_number)| Step::Shrink { name, node_number }),
        2 => (name.clone(), small.clone())
            .prop_map(|(name, node_number)| Step::AutoScale { name, node_number }),
        2 => (name.clone(), small)
            .prop_map(|(name, node_number)| Step::AutoExpand { name, node_number }),
        14 => (name.clone(), pick).prop_map(|(name, pick)| Step::Commit { name, pick }),
        1 => (name.clone(), pick).prop_map(|(name, epoch)| Step::WrongCommit { name, epoch }),
        1 => (name.clone(), pick).prop_map(|(name, value)| Step::ChangeConfig { name, value }),
        2 => name.prop_map(|name| Step::Balance { name }),
        4 => (pick, 0..3_u8).prop_map(|(pick, reporter)| Step::Report { pick, reporter }),
        2 => Just(Step::Prune),
        6 => pick.prop_map(|pick| Step::Failover { pick }),
        1 => pick.prop_map(|ahead| Step::SetEpoch { ahead }),
        1 => pick.prop_map(|ahead| Step::RecoverEpoch { ahead }),
        1 => (0..3_u8).prop_map(|ahead| Step::RestoreSelf { ahead }),
        1 => (pick, 0..4_u8).prop_map(|(pick, ahead)| Step::RestoreEarlier { pick, ahead }),
        1 => (0..4_u8).prop_map(|run| Step::RenewLease { run }),
        1 => (0..4_u8).prop_map(|run| Step::ReleaseLease { run }),
        1 => (0..4_u8).prop_map(|limit| Step::Limit { limit }),
        2 => (1..40_u8).prop_map(|seconds| Step::Wait { seconds }),
    ];
    (1..=HOSTS, 1..6_u8, 0..5_u8, vec(step, 1..50)).prop_map(|(hosts, proxies, chunks, steps)| {
        // Most sequences begin with something to play with.
        let proxies = (0..hosts).flat_map(|host| (0..proxies).map(move |proxy| (host, proxy)));
        let registered = proxies.map(|(host, proxy)| Step::Register { host, proxy });
        let created = Step::Create { name: 0, node_number: chunks * 4 };
        registered.chain([created]).chain(steps).collect()
    })
}

fn seed() -> impl Strategy<Value = Seed> {
    (0..4_u64, 0..3_u64, 0..60_u64, prop::bool::weighted(0.2)).prop_map(
        |(migration_limit, failure_quorum, failure_ttl_s, enable_ordered_proxy)| Seed {
            settings: Settings {
                migration_limit,
                failure_quorum,
                failure_ttl_s,
                ..Settings::default()
            },
            enable_ordered_proxy,
        },
    )
}

/// The command of a step in a state; `None` if the step only passes time. `earlier` are documents
/// of the same run.
fn action_of(state: &State, earlier: &[Document], step: &Step) -> Option<Action> {
    let name = |index: u8| NAMES.get(usize::from(index)).copied().unwrap_or("no.such").to_owned();
    let node_number = |number: u8| u64::from(number);
    Some(match *step {
        Step::Register { host, proxy } => Action::RegisterProxy {
            address: format!("h{host}:{}", 7000 + u16::from(proxy)),
            nodes: [format!("h{host}:{proxy}a"), format!("h{host}:{proxy}b")],
            host: (proxy % 2 == 0).then(|| format!("h{host}")),
            index: Some(u64::from(host) * 6 + u64::from(proxy)),
        },
        Step::Remove { pick } => Action::RemoveProxy { address: proxy_of(state, pick) },
        Step::Create { name: index, node_number: number } => {
            Action::CreateCluster { name: name(index), node_number: node_number(number) }
        }
        Step::Delete { name: index } => Action::DeleteCluster { name: name(index) },
        Step::AddNodes { name: index, node_number: number } => {
            Action::AddNodes { name: name(index), node_number: node_number(number) }
        }
        Step::AddNodesUpTo { name: index, node_number: number } => {
            Action::AddNodesUpTo { name: name(index), node_number: node_number(number) }
        }
        Step::DeleteFreeNodes { name: index } => Action::DeleteFreeNodes { name: name(index) },
        Step::Expand { name: index } => Action::Expand { name: name(index) },
        Step::Shrink { name: index, node_number: number } => {
            Action::Shrink { name: name(index), node_number: node_number(number) }
        }
        Step::AutoScale { name: index, node_number: number } => Action::AutoScale {
            name: name(index),
            node_number: node_number(number),
            run: [index; 16],
            lease_ms: 5_000,
        },
        Step::AutoExpand { name: index, node_number: number } => Action::AutoExpand {
            name: name(index),
            node_number: node_number(number),
            run: [index; 16],
        },
        Step::Commit { name: index, pick } => task_of(state, &name(index), pick)?,
        Step::WrongCommit { name: index, epoch } => Action::CommitMigration {
            cluster_name: name(index),
            range_list: vec![(0, 1)],
            epoch: (epoch > 100).then_some(u64::from(epoch)),
        },
        Step::ChangeConfig { name: index, value } => Action::ChangeConfig {
            name: name(index),
            pairs: vec![("migration_scan_count".to_owned(), (value % 4).to_string())],
        },
        Step::Balance { name: index } => Action::BalanceMasters { name: name(index) },
        Step::Report { pick, reporter } => Action::ReportFailure {
            address: proxy_of(state, pick),
            reporter: format!("coordinator-{reporter}"),
        },
        Step::Prune => Action::PruneFailures,
        Step::Failover { pick } => Action::Failover { address: proxy_of(state, pick) },
        Step::SetEpoch { ahead } => {
            Action::SetEpoch { epoch: query::global_epoch(state) + u64::from(ahead / 64) }
        }
        Step::RecoverEpoch { ahead } => Action::RecoverEpoch { epoch_seen: u64::from(ahead) },
        Step::RestoreSelf { ahead } => restore(query::document(state), state, ahead),
        Step::RestoreEarlier { pick, ahead } => {
            let pick = usize::from(pick).checked_rem(earlier.len())?;
            restore(earlier.get(pick)?.clone(), state, ahead)
        }
        Step::RenewLease { run } => Action::RenewScaleLease { run: [run; 16], lease_ms: 2_000 },
        Step::ReleaseLease { run } => Action::ReleaseScaleLease { run: [run; 16] },
        Step::Limit { limit } => Action::ChangeSettings(SettingsChange {
            migration_limit: Some(u64::from(limit)),
            ..SettingsChange::default()
        }),
        Step::Wait { .. } => return None,
    })
}

/// A restore with a global epoch near the present one, sometimes below it.
fn restore(mut document: Document, state: &State, ahead: u8) -> Action {
    let near = (query::global_epoch(state) + u64::from(ahead)).saturating_sub(1);
    let highest = document.clusters.values().map(|cluster| cluster.epoch).max();
    document.global_epoch = near.max(highest.unwrap_or(0));
    Action::Restore { document: Box::new(document) }
}

fn proxy_of(state: &State, pick: u8) -> String {
    let addresses = query::proxy_addresses(state, 0, None);
    match usize::from(pick).checked_rem(addresses.len() + 1) {
        Some(index) if index < addresses.len() => addresses[index].clone(),
        _ => "unknown:1".to_owned(),
    }
}

/// A commit of any running task, shown or not: nothing in the machine depends on what was shown.
fn task_of(state: &State, name: &str, pick: u8) -> Option<Action> {
    let document = query::document(state);
    let tasks: Vec<_> = document
        .clusters
        .get(name)?
        .chunks
        .iter()
        .flat_map(|chunk| chunk.migrating_slots.iter().flatten())
        .filter(|entry| entry.is_migrating)
        .collect();
    let task = tasks.get(usize::from(pick).checked_rem(tasks.len())?)?;
    Some(Action::CommitMigration {
        cluster_name: name.to_owned(),
        range_list: task.range_list.clone(),
        epoch: Some(task.meta.epoch),
    })
}

/// The log of a run: what `apply` was given.
type Log = Vec<(u64, Command)>;

fn context(index: u64, time_ms: u64) -> Context<'static> {
    Context { index, term: 1, time_ms, actor: "" }
}

/// Runs the steps, checks every invariant after each, and returns the log.
fn run(seed: &Seed, profile: Profile, steps: &[Step]) -> Result<(Log, State), TestCaseError> {
    let mut state = State::new(seed);
    let mut history = History::default();
    let mut log = Log::new();
    let mut earlier = Vec::new();
    let mut time_ms = 1_760_000_000_000;
    for (at, step) in steps.iter().enumerate() {
        if at % 8 == 7 {
            earlier.push(query::document(&state));
        }
        time_ms += 300;
        if let Step::Wait { seconds } = step {
            time_ms += u64::from(*seconds) * 1000;
        }
        let Some(action) = action_of(&state, &earlier, step) else {
            continue;
        };
        let before = state.clone();
        let command = Command { profile, action };
        log.push((time_ms, command.clone()));
        let reply = state.apply(&context(log.len() as u64, time_ms), command.clone());
        if let Err(rejection) = &reply {
            check_refusal(&before, &state, &command.action, rejection)?;
        }
        history.observe(&before, &state, &command.action, &reply)?;
        check(&state)?;
    }
    Ok((log, state))
}

fn bytes_of(state: &State) -> Vec<u8> {
    let records: Vec<Record> = state.records().collect();
    postcard::to_stdvec(&records).expect("records encode")
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

fn through_snapshot(state: &State) -> State {
    let records: Vec<Record> = postcard::from_bytes(&bytes_of(state)).expect("records decode");
    let mut loader = Loader::default();
    for record in records {
        loader.add(record).expect("each record comes once");
    }
    loader.finish().expect("a head comes with them")
}

/// A failing case is printed whole and becomes a test of its own; no file of seeds is kept.
fn config(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(SEQUENCES))]

    #[test]
    fn every_sequence_keeps_the_invariants_and_replays_to_the_same_bytes(
        seed in seed(),
        is_document in any::<bool>(),
        steps in steps(),
        cut in any::<prop::sample::Index>(),
    ) {
        let profile = if is_document { Profile::Document } else { Profile::Program };
        let (log, state) = run(&seed, profile, &steps)?;

        let mut again = State::new(&seed);
        let replies = replay(&mut again, &log, 0);
        prop_assert_eq!(bytes_of(&again), bytes_of(&state), "same log, other bytes");

        let cut = cut.index(log.len() + 1);
        let mut early = State::new(&seed);
        replay(&mut early, &log[..cut], 0);
        let mut resumed = through_snapshot(&early);
        let tail = replay(&mut resumed, &log, cut);
        prop_assert_eq!(&tail[..], &replies[cut..], "snapshot plus tail, other replies");
        prop_assert_eq!(bytes_of(&resumed), bytes_of(&state), "snapshot plus tail, other bytes");
        prop_assert_eq!(&resumed.free, &state.free, "the index of free proxies is not restored");
        prop_assert_eq!(&resumed.links, &state.links, "the link table is not restored");
    }
}

proptest! {
    #![proptest_config(config(DOCUMENTS))]

    #[test]
    fn a_document_with_any_damage_is_refused_or_harmless(
        seed in seed(),
        steps in steps(),
        damages in vec((any::<u8>(), any::<u16>()), 1..4),
        after in steps(),
    ) {
        let (_, state) = run(&seed, Profile::Program, &steps)?;
        let mut document = query::document(&state);
        for (kind, value) in damages {
            damage(&mut document, kind, u64::from(value));
        }
        let is_valid = document.validate().is_ok();
        let mut target = State::new(&seed);
        let command = Command {
            profile: Profile::Program,
            action: Action::Restore { document: Box::new(document.clone()) },
        };
        let reply = target.apply(&context(1, 1_760_000_000_000), command);
        prop_assert_eq!(reply.is_ok(), is_valid);
        if is_valid {
            prop_assert_eq!(&query::document(&target), &document, "restored, but not the same");
            check_restored(&target)?;
        } else {
            prop_assert_eq!(query::document(&target), query::document(&State::new(&seed)));
        }
        for step in &after {
            if let Some(action) = action_of(&target, &[], step) {
                let command = Command { profile: Profile::Program, action };
                drop(target.apply(&context(2, 1_760_000_001_000), command));
                check_restored(&target)?;
            }
        }
    }
}

/// Changes one thing of a document, sensible or not.
fn damage(document: &mut Document, kind: u8, value: u64) {
    let count = document.clusters.len().max(1);
    let cluster = document.clusters.values_mut().nth(usize::from(kind) % count);
    let proxies = document.all_proxies.len().max(1);
    let proxy = document.all_proxies.values_mut().nth(usize::from(kind) % proxies);
    match kind % 16 {
        0 => document.global_epoch = value,
        1 => drop(document.failed_proxies.insert(format!("ghost:{value}"))),
        2 => {
            let reports = BTreeMap::from([("r".to_owned(), i64::MIN + i64::from(value as u16))]);
            document.failures.insert(format!("h0:{value}"), reports);
        }
        3 => document.enable_ordered_proxy = !document.enable_ordered_proxy,
        4 => drop(proxy.map(|proxy| proxy.cluster = Some("orders".to_owned()))),
        5 => drop(proxy.map(|proxy| proxy.cluster = None)),
        6 => drop(proxy.map(|proxy| proxy.host = "elsewhere".to_owned())),
        7 => drop(proxy.map(|proxy| proxy.index = u64::MAX - value)),
        8 => drop(proxy.map(|proxy| proxy.proxy_address.push('9'))),
        _ => drop(cluster.map(|cluster| damage_cluster(cluster, kind, value))),
    }
}

fn damage_cluster(cluster: &mut super::document::ClusterStore, kind: u8, value: u64) {
    let chunks = cluster.chunks.len().max(1);
    let chunk = cluster.chunks.get_mut(usize::from(kind / 16) % chunks);
    match (kind % 16, chunk) {
        (9, _) => cluster.epoch = value,
        (10, _) => cluster.chunks.reverse(),
        (11, _) => drop(cluster.chunks.pop()),
        (12, Some(chunk)) => chunk.stable_slots[0] = Some(vec![(value, value.saturating_mul(2))]),
        (13, Some(chunk)) => chunk.stable_slots.swap(0, 1),
        (14, Some(chunk)) => {
            for entry in chunk.migrating_slots.iter_mut().flatten() {
                entry.meta.dst_chunk_index = value;
                entry.meta.dst_chunk_part = value;
            }
        }
        (15, Some(chunk)) => {
            for entry in chunk.migrating_slots.iter_mut().flatten() {
                entry.is_migrating = !entry.is_migrating;
            }
        }
        _ => {}
    }
}
