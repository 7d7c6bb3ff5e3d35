//! The bytes of commands, replies and records as they were released: logs, request windows and
//! snapshots must decode for ever.
//!
//! A line that changes is a broken format; a new variant is a new line. `QUORATE_GOLDEN=add`
//! adds lines that are not there yet, and leaves all others as they are; see `scripts/golden`.

use std::{fmt::Debug, fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Action, Command, Profile, Rejection, Reply,
    config::{ClusterConfig, CompressionStrategy, MigrationConfig},
    play_test::{
        Play, START_MS, add, add_up_to, auto, auto_expand, balance, commit, config, create, delete,
        delete_free, expand, fail_over, register, register_at, remove, report, shrink,
    },
    query,
    record::Record,
    reject::ConfigFault,
    settings::SettingsChange,
};

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

/// A busy state: two chunks, a running migration, a failed proxy, a report, a lease.
fn busy() -> Play {
    let mut play = Play::new().with_proxies(6).with_cluster(4);
    play.take(add(4));
    play.take(expand());
    let member = play.members()[0].clone();
    play.take(fail_over(&member));
    play.take(report("gone:1", "coordinator"));
    play
}

fn actions() -> Vec<Action> {
    let all = SettingsChange {
        failure_ttl_s: Some(1),
        failure_quorum: Some(2),
        migration_limit: Some(3),
        cluster_config: Some(ClusterConfig {
            compression_strategy: CompressionStrategy::AllowAll,
            migration_config: MigrationConfig::default(),
        }),
        list_failed_members: Some(true),
        enable_ordered_proxy: Some(false),
    };
    vec![
        register("a:1", "h"),
        register_at("a:1", "h", Some(5)),
        remove("a:1"),
        create("c", 8),
        delete(),
        add(4),
        add_up_to(8),
        delete_free(),
        expand(),
        shrink(4),
        auto(8),
        Action::RenewScaleLease { run: [2; 16], lease_ms: 300 },
        Action::ReleaseScaleLease { run: [3; 16] },
        auto_expand(8),
        commit(&[(0, 99), (200, 16383)], 7),
        config(&[("compression_strategy", "disabled")]),
        balance(),
        report("a:1", "r"),
        Action::PruneFailures,
        fail_over("a:1"),
        Action::SetEpoch { epoch: u64::MAX },
        Action::RecoverEpoch { epoch_seen: 9 },
        Action::Restore { document: Box::new(query::document(&busy().state)) },
        Action::ChangeSettings(all),
        Action::ChangeSettings(SettingsChange::default()),
    ]
}

fn replies() -> Vec<Result<Reply, Rejection>> {
    let play = busy();
    let member = query::proxy(&play.state, &play.members()[0]).map(Box::new);
    let nodes = query::cluster(&play.state, "c").expect("the cluster exists").nodes;
    let addresses = play.members();
    let invalid =
        |reason| Rejection::InvalidConfig { field: "f".to_owned(), value: "v".to_owned(), reason };
    vec![
        Ok(Reply::Done),
        Ok(Reply::NodesAdded(nodes)),
        Ok(Reply::FailedOver(member)),
        Ok(Reply::FailedOver(None)),
        Ok(Reply::Committed { addresses: addresses.clone() }),
        Ok(Reply::ScaleStarted { proxies: addresses, epoch: 9 }),
        Err(Rejection::InUse),
        Err(Rejection::NoAvailableResource),
        Err(Rejection::AlreadyExisted),
        Err(Rejection::ClusterNotFound),
        Err(Rejection::ProxyNotFound),
        Err(Rejection::FreeNodeNotFound),
        Err(Rejection::MigrationTaskNotFound),
        Err(Rejection::FreeNodeFound),
        Err(Rejection::NodeNumAlreadyEnough),
        Err(Rejection::InvalidClusterName),
        Err(Rejection::InvalidNodeNumber),
        Err(Rejection::InvalidProxyAddress),
        Err(Rejection::InvalidMigrationTask),
        Err(invalid(ConfigFault::FieldNotFound)),
        Err(invalid(ConfigFault::InvalidValue)),
        Err(Rejection::SlotsAlreadyEven),
        Err(Rejection::InvalidMetaVersion),
        Err(Rejection::InvalidMetadata("m".to_owned())),
        Err(Rejection::EpochSmallerThanCurrent),
        Err(Rejection::MigrationRunning),
        Err(Rejection::ProxyResourceOutOfOrder),
        Err(Rejection::OneClusterAlreadyExisted),
        Err(Rejection::MissingServerProxyIndex),
        Err(Rejection::NodeNumberChanging),
        Err(Rejection::FailoverInOrderedMode),
        Err(Rejection::InvalidSetting("s".to_owned())),
    ]
}

#[test]
fn released_bytes_decode_for_ever() {
    let mut lines = Lines::default();
    for (at, action) in actions().into_iter().enumerate() {
        let profile = if at == 0 { Profile::Document } else { Profile::Program };
        lines.add(&format!("command-{at}"), &Command { profile, action });
    }
    for (at, reply) in replies().iter().enumerate() {
        lines.add(&format!("reply-{at}"), reply);
    }
    let mut play = busy();
    play.state.scale_lease = Some(super::state::ScaleLease { run: [4; 16], expires_ms: START_MS });
    let records: Vec<Record> = play.state.records().collect();
    for (at, record) in records.iter().enumerate() {
        lines.add(&format!("record-{at}"), record);
    }
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
