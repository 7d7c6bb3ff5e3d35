//! Disks that lost or damaged something: each is refused with a message that says what.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use openraft::RaftSnapshotBuilder;
use openraft::storage::{RaftLogStorage, RaftStateMachine};

use super::{
    Disk, LogStore,
    fixture::{add, append, blank, command, config, log_id, open, refusal},
    log::{
        META_COMMITTED, META_VOTE,
        format::{encode_value, key_of},
        sink::{BatchSink, LogDb, Op},
    },
    wire::{encode_log_id, encode_vote},
};
use crate::{StartError, testing::register::Registers, types::Vote};

/// A disk with a vote, entries 0 to 49 of terms 1 and 2, and the first 30 committed.
async fn used_disk() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).log;
    append_50(&mut log).await;
    commit_30(&mut log).await;
    dir
}

async fn append_50(log: &mut LogStore) {
    log.save_vote(&Vote::new_committed(1, 1)).await.expect("saved");
    append(log, (0..20).map(|index| blank(1, index)).collect()).await;
    log.save_vote(&Vote::new_committed(2, 1)).await.expect("saved");
    append(log, (20..50).map(|index| blank(2, index)).collect()).await;
}

async fn commit_30(log: &mut LogStore) {
    log.save_committed(Some(log_id(2, 29))).await.expect("taken");
    log.save_vote(&Vote::new_committed(2, 1)).await.expect("takes the commit index along");
}

/// As [`used_disk`], with two snapshots, at 9 and 19, and the log purged up to the older one.
async fn disk_with_snapshots() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let mut opened = open(dir.path());
    append_50(&mut opened.log).await;
    for range in [0..10, 10..20] {
        let entries = range.map(|index| Ok((blank(1, index), None)));
        opened.machine.apply(futures::stream::iter(entries)).await.expect("applied");
        let mut builder = opened.machine.get_snapshot_builder().await;
        builder.build_snapshot().await.expect("written");
    }
    opened.log.purge(log_id(1, 19)).await.expect("purged");
    commit_30(&mut opened.log).await;
    assert_eq!(opened.log.purged(), Some(log_id(1, 9)), "the older snapshot limits the purge");
    dir
}

/// Changes the database behind the log's back.
fn tamper(dir: &Path, ops: &[Op]) {
    let mut db = LogDb::open(&dir.join("raft")).expect("opens");
    db.write(ops, true).expect("written");
}

fn check(dir: &Path, wanted: &[&str]) {
    let message = refusal(dir);
    for wanted in wanted {
        assert!(message.contains(wanted), "`{wanted}` is missing in: {message}");
    }
    let shown = dir.display().to_string();
    assert!(message.contains(&shown), "the place is missing in: {message}");
    assert_eq!(message, refusal(dir), "nothing is repaired by looking");
}

fn newest_wal(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("raft")).expect("listed");
    files
        .map(|file| file.expect("listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max_by_key(|path| fs::metadata(path).expect("there").len())
        .expect("a write-ahead log")
}

fn snapshot_file(dir: &Path, index: u64) -> PathBuf {
    dir.join("snap").join(format!("snap-1-1-{index}.qs"))
}

fn flip_byte(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x40], at).expect("written");
}

#[tokio::test]
async fn a_whole_disk_opens_again_with_everything() {
    let dir = used_disk().await;
    let opened = open(dir.path());
    assert!(!opened.is_virgin);
    assert_eq!(opened.log.last(), Some(log_id(2, 49)));
    assert_eq!(opened.log.vote(), Some(Vote::new_committed(2, 1)));
    drop(opened);
    let dir = disk_with_snapshots().await;
    let opened = open(dir.path());
    assert_eq!(opened.board.latest().index(), 29, "everything that is known to be committed");
    assert_eq!(opened.log.purged(), Some(log_id(1, 9)));
}

#[tokio::test]
async fn a_disk_is_virgin_until_it_has_promised_something() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = open(dir.path());
    assert!(first.is_virgin);
    let incarnation = first.identity.incarnation;
    drop(first);
    let second = open(dir.path());
    assert!(second.is_virgin, "a start alone promises nothing");
    assert_eq!(second.identity.incarnation, incarnation);
    second.log.clone().save_vote(&Vote::new(1, 2)).await.expect("saved");
    drop(second);
    assert!(!open(dir.path()).is_virgin);
    let other = tempfile::tempdir().expect("a directory");
    assert_ne!(open(other.path()).identity.incarnation, incarnation);
}

#[tokio::test]
async fn the_disk_of_another_replica_or_cluster_is_refused() {
    let dir = used_disk().await;
    let mut another_replica = config(dir.path());
    another_replica.replica_id = 2;
    let mut another_cluster = config(dir.path());
    another_cluster.cluster_token = "another".to_owned();
    for config in [another_replica, another_cluster] {
        let error = Disk::open(&config, Registers::default()).map(drop).expect_err("foreign");
        assert!(matches!(error, StartError::Foreign { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_disk_in_use_is_refused() {
    let dir = used_disk().await;
    let _held = open(dir.path());
    let error = Disk::open(&config(dir.path()), Registers::default()).map(drop).expect_err("held");
    assert!(matches!(error, StartError::Locked(_)), "{error}");
}

#[tokio::test]
async fn a_lost_or_damaged_identity_is_refused() {
    let dir = used_disk().await;
    flip_byte(&dir.path().join("identity"), 20);
    assert!(refusal(dir.path()).contains("checksum"));
    fs::remove_file(dir.path().join("identity")).expect("removed");
    assert!(refusal(dir.path()).contains("lost its identity"));
}

#[tokio::test]
async fn a_log_cut_off_before_its_mark_is_refused() {
    let dir = used_disk().await;
    let wal = newest_wal(dir.path());
    let length = fs::metadata(&wal).expect("there").len();
    let file = OpenOptions::new().write(true).open(&wal).expect("opens");
    file.set_len(length - 300).expect("cut");
    check(dir.path(), &["acknowledged entries are lost", "reached entry 49"]);
}

#[tokio::test]
async fn a_log_with_a_torn_record_in_its_middle_is_refused() {
    let dir = used_disk().await;
    let wal = newest_wal(dir.path());
    let length = fs::metadata(&wal).expect("there").len();
    flip_byte(&wal, length / 2);
    check(dir.path(), &["lost"]);
}

/// Opening the database for writing would drop the journal behind the damaged record.
#[tokio::test]
async fn a_refused_disk_is_left_as_it_is_and_opens_once_the_damage_is_undone() {
    let dir = used_disk().await;
    let wal = newest_wal(dir.path());
    let at = fs::metadata(&wal).expect("there").len() / 2;
    flip_byte(&wal, at);
    let damaged = fs::read(&wal).expect("read");
    check(dir.path(), &["lost"]);
    assert_eq!(fs::read(&wal).expect("still there"), damaged);
    flip_byte(&wal, at);
    assert_eq!(open(dir.path()).log.last(), Some(log_id(2, 49)), "nothing behind it is lost");
}

#[tokio::test]
async fn a_log_without_its_newest_file_is_refused() {
    let dir = used_disk().await;
    fs::remove_file(newest_wal(dir.path())).expect("removed");
    check(dir.path(), &["lost"]);
}

#[tokio::test]
async fn a_missing_database_is_refused() {
    let dir = used_disk().await;
    fs::remove_dir_all(dir.path().join("raft")).expect("removed");
    check(dir.path(), &["the database of the log is gone"]);
}

#[tokio::test]
async fn the_database_of_another_disk_is_refused() {
    let (dir, other) = (used_disk().await, used_disk().await);
    fs::remove_dir_all(dir.path().join("raft")).expect("removed");
    fs::rename(other.path().join("raft"), dir.path().join("raft")).expect("moved");
    check(dir.path(), &["belongs to another disk"]);
}

#[tokio::test]
async fn a_missing_or_damaged_mark_is_refused() {
    let dir = used_disk().await;
    flip_byte(&dir.path().join("mark"), 9);
    check(dir.path(), &["the mark is damaged"]);
    fs::remove_file(dir.path().join("mark")).expect("removed");
    check(dir.path(), &["`mark`", "is gone"]);
}

#[tokio::test]
async fn a_log_that_ends_before_its_commit_index_is_refused() {
    let dir = used_disk().await;
    let committed = encode_log_id(&log_id(2, 55)).to_vec();
    tamper(dir.path(), &[Op::Meta { key: META_COMMITTED, value: committed }]);
    check(dir.path(), &["the commit index", "ends at entry 49", "reached entry 55"]);
}

#[tokio::test]
async fn a_log_that_ends_before_its_snapshot_is_refused() {
    let dir = disk_with_snapshots().await;
    tamper(
        dir.path(),
        &[
            Op::Delete { from: 15, to: u64::MAX, is_purge: false },
            Op::Meta { key: META_COMMITTED, value: encode_log_id(&log_id(1, 14)).to_vec() },
        ],
    );
    // The mark is only a lower bound; without its help the snapshot must tell.
    fs::remove_file(dir.path().join("mark")).expect("removed");
    let mut mark = super::log::mark::Mark::create(dir.path()).expect("created");
    mark.found().expect("written");
    check(dir.path(), &["the newest snapshot", "ends at entry 14", "reached entry 19"]);
}

#[tokio::test]
async fn a_gap_in_the_log_is_refused() {
    let dir = used_disk().await;
    tamper(dir.path(), &[Op::Delete { from: 30, to: 32, is_purge: false }]);
    check(dir.path(), &["entry 29 and then entry 32"]);
}

#[tokio::test]
async fn a_log_without_its_beginning_is_refused() {
    let dir = used_disk().await;
    tamper(dir.path(), &[Op::Delete { from: 0, to: 5, is_purge: false }]);
    check(dir.path(), &["begins with entry 5 where entry 0 belongs"]);
}

#[tokio::test]
async fn a_flipped_bit_in_an_entry_is_refused() {
    let dir = used_disk().await;
    let mut value = encode_value(&blank(2, 33)).expect("encodes");
    value[5] ^= 1;
    tamper(dir.path(), &[Op::Put { index: 33, value: value.into() }]);
    check(dir.path(), &["entry 33 is damaged"]);
}

#[tokio::test]
async fn an_entry_under_a_wrong_index_is_refused() {
    let dir = used_disk().await;
    let value = encode_value(&blank(2, 34)).expect("encodes");
    assert_eq!(key_of(33).len(), 8);
    tamper(dir.path(), &[Op::Put { index: 33, value: value.into() }]);
    check(dir.path(), &["entry 33 is damaged"]);
}

#[tokio::test]
async fn falling_terms_are_refused() {
    let dir = used_disk().await;
    let value = encode_value(&blank(1, 33)).expect("encodes");
    tamper(dir.path(), &[Op::Put { index: 33, value: value.into() }]);
    check(dir.path(), &["entry 33 is of an older leader"]);
}

#[tokio::test]
async fn a_vote_older_than_the_last_entry_is_refused() {
    let dir = used_disk().await;
    let vote = encode_vote(&Vote::new_committed(1, 1));
    tamper(dir.path(), &[Op::Meta { key: META_VOTE, value: vote }]);
    check(dir.path(), &["a vote was lost"]);
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_wherever_it_is_damaged() {
    let dir = disk_with_snapshots().await;
    let newest = snapshot_file(dir.path(), 19);
    let length = fs::metadata(&newest).expect("there").len();
    for at in (0..length).step_by(7) {
        flip_byte(&newest, at);
        check(dir.path(), &["the newest snapshot", "snap-1-1-19.qs"]);
        flip_byte(&newest, at);
    }
    open(dir.path());
    let file = OpenOptions::new().write(true).open(&newest).expect("opens");
    file.set_len(length - 1).expect("cut");
    check(dir.path(), &["the newest snapshot", "cut off"]);
}

#[tokio::test]
async fn another_snapshot_under_the_same_name_is_refused() {
    let dir = disk_with_snapshots().await;
    fs::copy(snapshot_file(dir.path(), 9), snapshot_file(dir.path(), 19)).expect("copied");
    check(dir.path(), &["the file is not the one that was written"]);
}

#[tokio::test]
async fn a_missing_snapshot_is_refused() {
    let dir = disk_with_snapshots().await;
    fs::remove_file(snapshot_file(dir.path(), 19)).expect("removed");
    check(dir.path(), &["the newest snapshot"]);
}

#[tokio::test]
async fn a_log_that_begins_after_its_snapshot_is_refused() {
    let dir = disk_with_snapshots().await;
    let purged = encode_log_id(&log_id(2, 25)).to_vec();
    tamper(dir.path(), &[Op::Meta { key: super::log::META_PURGED, value: purged }]);
    check(dir.path(), &["begins after entry 25", "snapshot ends at entry 19"]);
}

#[tokio::test]
async fn what_an_interrupted_snapshot_left_is_removed() {
    let dir = disk_with_snapshots().await;
    let strays = ["snap/snap-9-9-9.qs", "snap/snap-1-1-30.tmp", "recv/recv-0.qs"];
    for stray in strays {
        fs::write(dir.path().join(stray), b"half a snapshot").expect("written");
    }
    let opened = open(dir.path());
    for stray in strays {
        assert!(!dir.path().join(stray).exists(), "{stray} is still there");
    }
    assert_eq!(opened.board.latest().index(), 29, "everything that is known to be committed");
    assert!(snapshot_file(dir.path(), 9).exists(), "the older one is kept");
}

#[tokio::test]
async fn a_truncation_takes_the_mark_back_with_it() {
    let dir = used_disk().await;
    let mut log = open(dir.path()).log;
    log.truncate_after(Some(log_id(2, 34))).await.expect("truncated");
    drop(log);
    assert_eq!(open(dir.path()).log.last(), Some(log_id(2, 34)));
}

#[tokio::test]
async fn a_command_written_by_this_program_is_readable_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).log;
    log.save_vote(&Vote::new_committed(1, 1)).await.expect("saved");
    let entry = command((1, 0), 1, 5, None, add("a", 2));
    append(&mut log, vec![entry.clone()]).await;
    let before = log.raw_entries(0, 10, 10).await.expect("readable");
    drop(log);
    let log = open(dir.path()).log;
    let after = log.raw_entries(0, 10, 10).await.expect("readable");
    assert_eq!(before, after);
    assert_eq!((after.len(), after[0].index, after[0].term, after[0].leader), (1, 0, 1, 1));
}
