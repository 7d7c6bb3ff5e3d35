//! What a replica knows right after it has opened its disk.

use openraft::{
    RaftSnapshotBuilder,
    storage::{RaftLogStorage, RaftStateMachine},
};

use super::{
    LogStore,
    fixture::{append, bytes_entry, entries, log_id, open, refusal},
};
use crate::types::{Entry, Vote};

/// A log of some entries, committed up to an index that is on the disk.
async fn log_with(dir: &std::path::Path, entries: Vec<Entry>, committed: u64) -> LogStore {
    let mut log = open(dir).log;
    log.save_vote(&Vote::new_committed(1, 1)).await.expect("saved");
    append(&mut log, entries).await;
    log.save_committed(Some(log_id(1, committed))).await.expect("taken");
    log.save_vote(&Vote::new_committed(1, 1)).await.expect("takes the commit index along");
    log
}

#[tokio::test]
async fn what_is_known_to_be_committed_is_applied_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    // More than fit into what may wait to be applied.
    drop(log_with(dir.path(), entries(0, 20_000), 19_000).await);
    let opened = open(dir.path());
    let state = opened.board.latest();
    assert_eq!(state.index(), 19_000);
    assert_eq!(state.machine().get("counter"), Some((1..=19_000).sum()));
    assert_eq!(opened.log.last(), Some(log_id(1, 19_999)));
    let page = opened.board.history().page(18_999, 10).expect("kept");
    let indexes: Vec<u64> = page.events.iter().map(|(index, _)| *index).collect();
    assert_eq!((indexes, page.next), (vec![18_999, 19_000], 19_001), "with what it led to");
}

#[tokio::test]
async fn what_a_snapshot_covers_is_not_applied_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = log_with(dir.path(), entries(0, 50), 9).await;
    drop(log);
    let mut opened = open(dir.path());
    let rest = entries(10, 30).into_iter().map(|entry| Ok((entry, None)));
    opened.machine.apply(futures::stream::iter(rest)).await.expect("applied");
    let mut builder = opened.machine.get_snapshot_builder().await;
    builder.build_snapshot().await.expect("written");
    opened.log.save_committed(Some(log_id(1, 39))).await.expect("taken");
    opened.log.save_vote(&Vote::new_committed(1, 1)).await.expect("takes the commit index along");
    drop((opened, builder));
    let opened = open(dir.path());
    let state = opened.board.latest();
    assert_eq!((state.index(), state.machine().get("counter")), (39, Some((1..=39).sum())));
    assert_eq!(opened.board.history().bounds(), (30, 40), "what lies in the snapshot is not told");
}

#[tokio::test]
async fn a_committed_entry_that_cannot_be_applied_is_named_and_the_disk_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = entries(0, 50);
    all[7] = bytes_entry(1, 7, vec![77, 1, 2]);
    drop(log_with(dir.path(), all, 20).await);
    let message = refusal(dir.path());
    assert!(message.contains("committed entry 7 cannot be applied"), "{message}");
    assert!(message.contains("version 77"), "{message}");
    assert!(message.starts_with(&dir.path().display().to_string()), "{message}");
    assert_eq!(refusal(dir.path()), message, "nothing is repaired by looking");
}
