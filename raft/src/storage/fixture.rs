//! What the tests of this module share.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    time::Duration,
};

use crate::{
    Config, PeerConfig, Proposal, RequestId, Timers,
    config::SnapshotPolicy,
    entry,
    storage::{Disk, LogStore, Opened, wire::leader},
    testing::register::{RegisterCommand, Registers},
    types::{Entry, LogId, Payload, TypeConfig},
};
use openraft::{
    EntryPayload,
    alias::OneshotReceiverOf,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

/// How often a copy of files that change is begun again.
const COPIES_MAX: u32 = 100;

pub(crate) fn config(data_dir: &Path) -> Config {
    let peer = |id| PeerConfig {
        id,
        peer_addr: format!("127.0.0.1:{}", 7800 + id),
        client_url: String::new(),
    };
    Config {
        replica_id: 1,
        cluster_token: "test".to_owned(),
        peers: vec![peer(1), peer(2), peer(3)],
        join: None,
        promote_after: Duration::from_millis(300),
        data_dir: data_dir.to_owned(),
        peer_listen: "127.0.0.1:0".to_owned(),
        peer_tls: None,
        timers: Timers::default(),
        proposals_in_flight_max: 1024,
        proposal_bytes_in_flight_max: 64 << 20,
        snapshot: SnapshotPolicy { age_max: Duration::from_secs(60), ..SnapshotPolicy::default() },
        wall_clock_ms: || 0,
        levels: crate::config::LevelConfig::default(),
        digest_interval: Duration::from_millis(200),
        unsafe_leader_restore: false,
    }
}

pub(crate) fn open(data_dir: &Path) -> Opened<Registers> {
    Disk::open(&config(data_dir), Registers::default()).expect("the disk opens")
}

/// The message of a refusal to open.
pub(crate) fn refusal(data_dir: &Path) -> String {
    match Disk::open(&config(data_dir), Registers::default()) {
        Ok(_) => panic!("the disk was opened"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(leader(term, 1), index)
}

pub(crate) fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Blank }
}

pub(crate) fn bytes_entry(term: u64, index: u64, bytes: Vec<u8>) -> Entry {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Payload(bytes.into())) }
}

/// An entry with a command, as a leader would append it.
pub(crate) fn command(
    (term, index): (u64, u64),
    request: u64,
    time_ms: u64,
    fence_term: Option<u64>,
    command: RegisterCommand,
) -> Entry {
    let mut request_id = [0; 16];
    request_id[..8].copy_from_slice(&request.to_le_bytes());
    let proposal = Proposal {
        request_id: RequestId(request_id),
        actor: "test".to_owned(),
        fence_term,
        command,
    };
    let bytes = entry::encode(&proposal).expect("encodes");
    let bytes = entry::restamp(bytes, time_ms).expect("restamps");
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Payload(bytes)) }
}

pub(crate) fn add(key: &str, amount: u64) -> RegisterCommand {
    RegisterCommand::Add { key: key.to_owned(), amount }
}

/// A blank entry, and commands of which each adds its index to the counter.
pub(crate) fn entries(from: u64, to: u64) -> Vec<Entry> {
    let one = |index| match index {
        0 => blank(1, 0),
        _ => command((1, index), index, 1000 + index, None, add("counter", index)),
    };
    (from..to).map(one).collect()
}

/// Hands entries to the log; the answer comes through the receiver.
pub(crate) async fn submit<L: RaftLogStorage<TypeConfig>>(
    log: &mut L,
    entries: Vec<Entry>,
) -> OneshotReceiverOf<TypeConfig, std::io::Result<()>> {
    let (done, answer) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await.expect("the log takes entries");
    answer
}

pub(crate) async fn append(log: &mut LogStore, entries: Vec<Entry>) {
    submit(log, entries).await.await.expect("answered").expect("written");
}

/// What a `kill -9` at this moment would leave: the files as they are, nothing closed. A file that
/// the database removes meanwhile makes it another moment.
pub(crate) fn copy_as_after_kill(from: &Path, to: &Path) {
    for _ in 0..COPIES_MAX {
        match copy_all(from, to) {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::remove_dir_all(to).expect("removed");
            }
            Err(error) => panic!("not copied: {error}"),
        }
    }
    panic!("files vanish from {} all the time", from.display());
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            copy_all(&file.path(), &target)?;
        } else {
            fs::copy(file.path(), target)?;
        }
    }
    Ok(())
}
