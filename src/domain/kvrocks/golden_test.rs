//! The bytes of commands, replies and records as they were released: logs, request windows and
//! snapshots must decode for ever.
//!
//! A line that changes is a broken format; a new variant is a new line. `QUORATE_GOLDEN=add`
//! adds lines that are not there yet, and leaves all others as they are; see `scripts/golden`.

use std::{fmt::Debug, fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Command, Rejection, Reply, Secret, SlotRange, State,
    command::{DownNode, FailOver, MigrationOutcome, NewNode},
    model::FailoverCause,
    property_test::context,
    query,
    record::Record,
    reseal::Resealed,
    rules_test::{id, key, new_node, told},
    settings::{AdoptPolicy, NodeCheck, SettingsChange},
};
use crate::domain::sealed::{NONCE_BYTES, Sealed, head};

const GOLDEN: &str = include_str!("golden.txt");

/// Lines of the golden file as they should be, each checked to decode to what it came from.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = postcard::to_stdvec(value).expect("the value encodes");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.push(format!("{name} {hex}"));
        let released = GOLDEN.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        if let Some(released) = released {
            let decoded: T = postcard::from_bytes(&bytes_of(released)).expect("the line decodes");
            assert_eq!(decoded, *value, "{name} decodes to something else by now");
        }
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("hexadecimal") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn range(text: &str) -> SlotRange {
    text.parse().expect("a range")
}

fn nodes(ports: std::ops::Range<u16>) -> Vec<NewNode> {
    ports.map(new_node).collect()
}

fn fail_over(cause: FailoverCause) -> Command {
    Command::FailOver(FailOver {
        cluster: key("c"),
        shard: 2,
        old_master: id(5),
        new_master: id(6),
        base_version: 3,
        cause,
        request: [7; 16],
    })
}

/// Commands that make a busy state one after another: running, waiting and ended migrations, a
/// failover, a sync with a failure, observers, changed settings.
fn history() -> Vec<Command> {
    let cluster = key("c");
    let password = Secret::new("word");
    let error = "it broke".to_owned();
    let down = DownNode { node_id: id(5), failures: 4, error: error.clone() };
    let all = SettingsChange {
        ping_interval_ms: Some(1_000),
        ping_failures_max: Some(3),
        node_timeout_ms: Some(2_000),
        is_failover_automatic: Some(true),
        min_alive_size: Some(11),
        failure_share_max_percent: Some(61),
        observer_ttl_intervals: Some(6),
        failover_lag_max: Some(7),
        adopt_policy: Some(AdoptPolicy::Always),
        node_check: Some(NodeCheck::All),
        migration_attempts_max: Some(3),
        hides_passwords: Some(true),
    };
    let end = |job, outcome| Command::EndMigration { cluster: key("c"), job, attempt: 1, outcome };
    vec![
        Command::CreateNamespace { namespace: "ns".to_owned() },
        Command::CreateCluster {
            cluster: cluster.clone(),
            nodes: nodes(1..7),
            replicas: 2,
            password: password.clone(),
        },
        Command::ChangeSettings(all),
        Command::ChangeSettings(SettingsChange::default()),
        Command::AddShard { cluster: cluster.clone(), nodes: nodes(7..9), password },
        Command::RemoveShard { cluster: cluster.clone(), shard: 3 },
        Command::ReportHealth { observer: 1, probed: 8, failed: 1, down: vec![down] },
        fail_over(FailoverCause::Automatic),
        Command::AddNode {
            cluster: cluster.clone(),
            shard: 0,
            node: new_node(9),
            role: "slave".to_owned(),
            password: Secret::default(),
        },
        Command::RemoveNode { cluster: cluster.clone(), shard: 0, node_id: id(9) },
        Command::MoveSlots { cluster: cluster.clone(), range: range("5"), target: 1 },
        Command::StartMigration { cluster: cluster.clone(), range: range("10-20"), target: 1 },
        Command::MigrationAccepted { cluster: cluster.clone(), job: 1, attempt: 1 },
        Command::QueueMigrations {
            cluster: cluster.clone(),
            ranges: vec![range("30"), range("40-50"), range("60")],
            target: 2,
            attempts_max: 1,
        },
        end(1, MigrationOutcome::Moved),
        end(2, MigrationOutcome::Failed { error: error.clone() }),
        Command::CancelMigration { cluster: cluster.clone(), job: 4 },
        Command::RetryMigration { cluster: cluster.clone(), job: 2 },
        Command::RequestSync { cluster: cluster.clone(), is_forced: true },
        Command::FinishSync {
            cluster: cluster.clone(),
            sync: 6,
            failures: vec![("10.0.0.1:1".to_owned(), error)],
        },
        Command::ChangePassword {
            cluster,
            node_id: Some(id(1)),
            password: Secret::new("other word"),
        },
        Command::ReportHealth { observer: 2, probed: 6, failed: 0, down: Vec::new() },
        Command::ForgetObserver { observer: 2 },
    ]
}

fn busy() -> State {
    let mut state = State::default();
    for (at, command) in history().into_iter().enumerate() {
        let at = at as u64 + 1;
        let reply = state.apply(&context(at, 1_760_000_000_000 + at * 1_000), command.clone());
        reply.unwrap_or_else(|rejection| panic!("{command:?}: {rejection}"));
    }
    state
}

/// Commands that the history has no place for.
fn others(state: &State) -> Vec<Command> {
    let record = query::cluster(state, &key("c")).expect("the cluster exists").as_ref().clone();
    let mut topology = told(&record, 9);
    topology.shards[0].migrating = Some((range("7"), id(3)));
    let cluster = key("d");
    let end = |outcome| Command::EndMigration { cluster: key("c"), job: 3, attempt: 2, outcome };
    vec![
        Command::DeleteNamespace { namespace: "ns".to_owned() },
        Command::ImportCluster {
            cluster: cluster.clone(),
            topology: topology.clone(),
            password: Secret::default(),
        },
        Command::LoadCluster { cluster: cluster.clone(), record: Box::new(record) },
        Command::DeleteCluster { cluster: cluster.clone() },
        fail_over(FailoverCause::Manual),
        end(MigrationOutcome::Refused { error: "no".to_owned() }),
        end(MigrationOutcome::Cancelled),
        Command::AdoptTopology { cluster: cluster.clone(), base_version: 8, topology },
        Command::ChangePassword { cluster, node_id: None, password: Secret::default() },
    ]
}

fn rejections() -> Vec<Rejection> {
    let text = || "t".to_owned();
    vec![
        Rejection::NamespaceEmpty,
        Rejection::ClusterNameEmpty,
        Rejection::InvalidName,
        Rejection::NamespaceExists,
        Rejection::NamespaceNotFound,
        Rejection::NamespaceRequired,
        Rejection::NamespaceNotEmpty,
        Rejection::ClusterNotFound,
        Rejection::ClusterExists,
        Rejection::AddressesUsed(vec![text()]),
        Rejection::ClusterNodesEmpty,
        Rejection::NodesEmpty,
        Rejection::ReplicasNegative,
        Rejection::NotDivisible,
        Rejection::InvalidAddress(text()),
        Rejection::AddressRepeated(text()),
        Rejection::InvalidNodeId(text()),
        Rejection::TooMany { what: text(), max: 3 },
        Rejection::IndexOutOfRange,
        Rejection::ShardServicing,
        Rejection::NodeExists,
        Rejection::MasterExists,
        Rejection::InvalidRole,
        Rejection::NodeNotFound,
        Rejection::RemoveMaster,
        Rejection::NoReplica,
        Rejection::NoOldMaster,
        Rejection::OldNodeNotMaster,
        Rejection::NoNewMaster,
        Rejection::Updated,
        Rejection::NotAgreed { down: 1, sighted: 3 },
        Rejection::FailoverDisabled,
        Rejection::SameShard,
        Rejection::SlotUnassigned,
        Rejection::SlotsDivided,
        Rejection::ShardMigrating,
        Rejection::JobNotFound,
        Rejection::JobPhase { job: 4, phase: text() },
        Rejection::NotAdopted(text()),
        Rejection::SyncNotFound,
        Rejection::Invalid(text()),
        Rejection::InvalidSetting(text()),
    ]
}

fn replies(state: &State) -> Vec<Result<Reply, Rejection>> {
    let cluster = query::cluster(state, &key("c")).expect("the cluster exists");
    let shard = Box::new(cluster.shards[0].clone());
    let cluster = Box::new(cluster.as_ref().clone());
    let done = [
        Reply::Done,
        Reply::Cluster(cluster.clone()),
        Reply::Shard(shard),
        Reply::NodeAdded { id: id(3) },
        Reply::FailedOver { new_master: id(4), version: 9 },
        Reply::MigrationBegun { job: 5, cluster },
        Reply::Queued { jobs: vec![5, 6] },
        Reply::SyncRequested { sync: 7 },
    ];
    done.into_iter().map(Ok).chain(rejections().into_iter().map(Err)).collect()
}

/// What came with feature level 3.
fn sealed(lines: &mut Lines) {
    let sealed = |key_id| Secret::from(Sealed::new(&head(key_id), [5; NONCE_BYTES], &[6; 48]));
    let mut state = busy();
    state.note_bare(77);
    let from = |node, old| Resealed { node_id: id(node), old, new: sealed("k2") };
    let commands = [
        Command::ChangePassword { cluster: key("c"), node_id: None, password: sealed("k1") },
        Command::ResealPasswords {
            cluster: key("c"),
            base_index: 78,
            changes: vec![from(1, None), from(2, Some(sealed("k1")))],
        },
    ];
    for (at, command) in commands.into_iter().enumerate() {
        lines.add(&format!("sealed-command-{at}"), &command);
        let reply = state.apply(&context(79, 1_770_000_000_000), command);
        lines.add(&format!("sealed-reply-{at}"), &reply);
    }
    for (at, record) in state.records().enumerate() {
        lines.add(&format!("sealed-record-{at}"), &record);
    }
}

#[test]
fn released_bytes_decode_for_ever() {
    let mut lines = Lines::default();
    let state = busy();
    for (at, command) in history().iter().chain(&others(&state)).enumerate() {
        lines.add(&format!("command-{at}"), command);
    }
    for (at, reply) in replies(&state).iter().enumerate() {
        lines.add(&format!("reply-{at}"), reply);
    }
    let records: Vec<Record> = state.records().collect();
    for (at, record) in records.iter().enumerate() {
        lines.add(&format!("record-{at}"), record);
    }
    sealed(&mut lines);
    let found = lines.0.join("\n") + "\n";
    if std::env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "add") {
        let lines: Vec<&str> = found.lines().collect();
        let stays = GOLDEN.lines().all(|released| lines.contains(&released));
        assert!(stays, "a released line would change; a new meaning is a new variant");
        let path = Path::new(file!()).with_file_name("golden.txt");
        fs::write(path, &found).expect("the sources are writable");
        return;
    }
    for (found, released) in found.lines().zip(GOLDEN.lines()) {
        assert_eq!(found, released, "differs from the released format");
    }
    assert_eq!(found.lines().count(), GOLDEN.lines().count(), "a line came or went");
}
