//! Snapshots written, read, sent and installed.

use openraft::{
    RaftSnapshotBuilder,
    storage::{RaftLogStorage, RaftStateMachine},
};

use super::{SnapshotFile, format::SnapshotReader, read_file, state_digest};
use crate::{
    RecordSource,
    storage::{
        MachineStore, Opened,
        fixture::{append, entries, log_id, open},
        identity::hex,
        machine_store::Snapshot,
    },
    testing::register::{RegisterCommand, Registers},
    types::{Entry, Vote},
};

async fn apply(machine: &mut MachineStore<Registers>, entries: Vec<Entry>) {
    let entries = entries.into_iter().map(|entry| Ok((entry, None)));
    machine.apply(futures::stream::iter(entries)).await.expect("applied");
}

async fn write(machine: &mut MachineStore<Registers>) -> Snapshot {
    machine.get_snapshot_builder().await.build_snapshot().await.expect("written")
}

/// Sends a snapshot as the transport would.
async fn send(snapshot: &SnapshotFile, to: &Opened<Registers>) -> SnapshotFile {
    let bytes = std::fs::read(&snapshot.path).expect("read");
    let mut receiving = to.snapshots.receive().await.expect("begun");
    for chunk in bytes.chunks(100) {
        receiving.write(bytes::Bytes::copy_from_slice(chunk)).await.expect("written");
    }
    assert_eq!(receiving.bytes(), snapshot.bytes);
    receiving.finish(snapshot.bytes, snapshot.digest).await.expect("whole")
}

#[tokio::test]
async fn a_snapshot_read_and_written_again_has_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    apply(&mut opened.machine, entries(0, 50)).await;
    let snapshot = write(&mut opened.machine).await.snapshot;
    let (state, found) = read_file::<Registers>(&snapshot.path).expect("reads");
    assert_eq!(found, snapshot);
    let copy = dir.path().join("copy.qs");
    let written = super::write_file(&copy, &state).expect("writes");
    assert_eq!(written.digest, snapshot.digest);
    assert_eq!(std::fs::read(&copy).expect("read"), std::fs::read(&snapshot.path).expect("read"));
    let latest = opened.board.latest();
    assert_eq!(state.machine(), latest.machine());
    assert_eq!(state.log_chain(), latest.log_chain());
    assert_eq!(state.time_ms(), latest.time_ms());
    assert_eq!(state_digest(&state).expect("digests"), state_digest(&latest).expect("digests"));
}

#[tokio::test]
async fn the_layout_is_the_one_already_on_disks() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    apply(&mut opened.machine, entries(0, 4)).await;
    let snapshot = write(&mut opened.machine).await.snapshot;
    let bytes = std::fs::read(&snapshot.path).expect("read");
    crate::testing::golden::check("snapshot.txt", format!("{}\n", hex(&bytes)).as_bytes());
}

#[tokio::test]
async fn a_snapshot_and_the_tail_after_it_equal_the_whole_log() {
    let (dir, other) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut whole = open(dir.path());
    apply(&mut whole.machine, entries(0, 30)).await;
    let snapshot = write(&mut whole.machine).await;
    apply(&mut whole.machine, entries(30, 60)).await;

    let mut follower = open(other.path());
    let received = send(&snapshot.snapshot, &follower).await;
    follower.machine.install_snapshot(&snapshot.meta, received).await.expect("installed");
    assert_eq!(*follower.board.watch_applied().borrow(), 29);
    apply(&mut follower.machine, entries(30, 60)).await;
    let (left, right) = (whole.board.latest(), follower.board.latest());
    assert_eq!(left.log_chain(), right.log_chain());
    assert_eq!(state_digest(&left).expect("digests"), state_digest(&right).expect("digests"));
}

#[tokio::test]
async fn an_installed_snapshot_outlives_a_restart_and_moves_the_log_with_it() {
    let (dir, other) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut leader = open(dir.path());
    apply(&mut leader.machine, entries(0, 30)).await;
    let snapshot = write(&mut leader.machine).await;

    let mut follower = open(other.path());
    follower.log.save_vote(&Vote::new_committed(1, 1)).await.expect("saved");
    append(&mut follower.log, entries(0, 5)).await;
    let received = send(&snapshot.snapshot, &follower).await;
    follower.machine.install_snapshot(&snapshot.meta, received).await.expect("installed");
    // The core has not purged yet, and a crash here must not look like a log that lost its tail.
    drop(follower);
    let mut follower = open(other.path());
    assert_eq!(follower.log.last(), Some(log_id(1, 29)));
    assert_eq!(follower.log.purged(), Some(log_id(1, 29)));
    assert_eq!(follower.board.latest().index(), 29);
    append(&mut follower.log, entries(30, 35)).await;
    let current = follower.machine.get_current_snapshot().await.expect("read").expect("there");
    assert_eq!(current.meta, snapshot.meta);
    assert_eq!(std::fs::read_dir(other.path().join("recv")).expect("listed").count(), 0);
    drop(follower);
    assert_eq!(open(other.path()).log.last(), Some(log_id(1, 34)));
}

#[tokio::test]
async fn a_transfer_that_is_cut_off_or_damaged_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    apply(&mut opened.machine, entries(0, 30)).await;
    let snapshot = write(&mut opened.machine).await.snapshot;
    let bytes = std::fs::read(&snapshot.path).expect("read");
    let received = || std::fs::read_dir(dir.path().join("recv")).expect("listed").count();

    let mut cut = opened.snapshots.receive().await.expect("begun");
    cut.write(bytes::Bytes::copy_from_slice(&bytes[..100])).await.expect("written");
    assert_eq!(received(), 1);
    cut.finish(snapshot.bytes, snapshot.digest).await.expect_err("cut off");
    let mut damaged = opened.snapshots.receive().await.expect("begun");
    let mut wrong = bytes.clone();
    wrong[200] ^= 1;
    damaged.write(wrong.into()).await.expect("written");
    damaged.finish(snapshot.bytes, snapshot.digest).await.expect_err("damaged");
    let abandoned = opened.snapshots.receive().await.expect("begun");
    drop(abandoned);
    assert_eq!(received(), 0);
}

#[tokio::test]
async fn two_snapshots_are_kept_and_the_log_between_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    opened.log.save_vote(&Vote::new_committed(1, 1)).await.expect("saved");
    append(&mut opened.log, entries(0, 40)).await;
    let mut newest = opened.snapshots.watch_newest();
    for (from, to) in [(0, 10), (10, 20), (20, 30)] {
        apply(&mut opened.machine, entries(from, to)).await;
        write(&mut opened.machine).await;
        assert_eq!(*newest.borrow_and_update(), Some(log_id(1, to - 1)));
    }
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(dir.path().join("snap"))
            .expect("listed")
            .map(|file| file.expect("listed").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["snap-1-1-19.qs", "snap-1-1-29.qs"]);
    write(&mut opened.machine).await;
    assert_eq!(names(), ["snap-1-1-19.qs", "snap-1-1-29.qs"], "nothing new to write");
    opened.log.purge(log_id(1, 29)).await.expect("purged");
    assert_eq!(opened.log.purged(), Some(log_id(1, 19)), "the older snapshot needs the rest");
}

#[tokio::test]
async fn an_older_state_never_replaces_a_newer_snapshot() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    apply(&mut opened.machine, entries(0, 10)).await;
    let mut early = opened.machine.get_snapshot_builder().await;
    apply(&mut opened.machine, entries(10, 20)).await;
    write(&mut opened.machine).await;
    let snapshot = early.build_snapshot().await.expect("answered");
    assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, 19)));
}

#[tokio::test]
async fn a_batch_is_published_once_with_its_events() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    let mut events = opened.board.subscribe();
    let mut applied = opened.board.watch_applied();
    apply(&mut opened.machine, entries(0, 100)).await;
    assert!(applied.has_changed().expect("open"));
    assert_eq!(*applied.borrow_and_update(), 99);
    let batch = events.try_recv().expect("one batch");
    assert_eq!((batch.index, batch.events.len()), (99, 99));
    events.try_recv().expect_err("one batch alone");
    assert_eq!(opened.board.latest().machine().get("counter"), Some((1..100).sum()));
}

#[tokio::test]
async fn an_entry_that_does_not_decode_stops_the_replica_with_a_message() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    apply(&mut opened.machine, entries(0, 3)).await;
    let bad = crate::storage::fixture::bytes_entry(1, 3, vec![77, 1, 2]);
    let stream = futures::stream::iter([Ok((bad, None))]);
    opened.machine.apply(stream).await.expect_err("not applied");
    let message = opened.fatal.raised().await;
    assert!(message.contains("entry 3") && message.contains("version 77"), "{message}");
    assert_eq!(opened.board.latest().index(), 2, "nothing of it is published");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_stops_the_replica() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    apply(&mut opened.machine, entries(0, 3)).await;
    std::fs::remove_dir_all(dir.path().join("snap")).expect("removed");
    let mut builder = opened.machine.get_snapshot_builder().await;
    builder.build_snapshot().await.expect_err("there is no directory");
    let message = opened.fatal.raised().await;
    assert!(message.starts_with("writing a snapshot in "), "{message}");
}

#[test]
fn a_large_record_comes_back() {
    let mut registers = Registers::default();
    let context = crate::Context {
        index: 1,
        term: 1,
        time_ms: 1,
        actor: "",
        request_id: crate::RequestId([0; 16]),
    };
    let key = "k".repeat(3 << 20);
    let put = RegisterCommand::Put { key: key.clone(), value: 5 };
    crate::Machine::apply(&mut registers, &context, put, &mut Vec::new());
    let mut writer = super::SnapshotWriter::begin(Vec::new()).expect("begun");
    crate::Machine::export(&registers, &mut writer).expect("exported");
    let bytes = writer.finish().expect("finished").out;
    let mut reader = SnapshotReader::begin(bytes.as_slice()).expect("begun");
    let back: Registers = crate::Machine::import(&mut reader).expect("imported");
    assert_eq!(back.get(&key), Some(5));
    assert!(reader.next_record().expect("at the end").is_none());
}
