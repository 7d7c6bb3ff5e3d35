//! The log on a real disk: shared syncs, failing writes, reads below the tail, and random
//! histories against a model.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use openraft::{
    RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};
use proptest::prelude::*;

use super::{
    mark::Mark,
    sink::{BatchSink, LogDb, Op},
};
use crate::{
    storage::{
        Disk, LogStore, Opened,
        fixture::{append, blank, bytes_entry, config, copy_as_after_kill, log_id, open, submit},
    },
    testing::{harness::PATIENCE, register::Registers},
    types::{Entry, LogId, TypeConfig, Vote},
};

/// A database that can be held back and made to fail.
struct Gate {
    db: LogDb,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    is_open: Mutex<bool>,
    opened: Condvar,
    begun_writes: AtomicUsize,
    synced_writes: AtomicUsize,
    fails_from: AtomicUsize,
}

impl Control {
    fn open(&self) {
        *self.is_open.lock().expect("not poisoned") = true;
        self.opened.notify_all();
    }
}

impl BatchSink for Gate {
    fn write(&mut self, ops: &[Op], is_synced: bool) -> io::Result<()> {
        self.control.begun_writes.fetch_add(1, Ordering::SeqCst);
        let mut is_open = self.control.is_open.lock().expect("not poisoned");
        while !*is_open {
            is_open = self.control.opened.wait(is_open).expect("not poisoned");
        }
        drop(is_open);
        if is_synced {
            let number = 1 + self.control.synced_writes.fetch_add(1, Ordering::SeqCst);
            let fails_from = self.control.fails_from.load(Ordering::SeqCst);
            if fails_from != 0 && number >= fails_from {
                return Err(io::Error::other("no space left on device"));
            }
        }
        self.db.write(ops, is_synced)
    }
}

/// Opens the gate when a test ends, also by failing: the log waits for its writer when dropped.
struct Keeper(Arc<Control>);

impl std::ops::Deref for Keeper {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.0
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn open_gated(dir: &std::path::Path) -> (Opened<Registers>, Keeper) {
    let control = Arc::new(Control::default());
    let gate = control.clone();
    let opened = Disk::open_with(&config(dir), Registers::default(), |checked| {
        Box::new(Gate { db: checked.db.clone(), control: gate })
    });
    (opened.expect("the disk opens"), Keeper(control))
}

#[tokio::test]
async fn what_queues_up_during_a_sync_shares_the_next_one_and_is_answered_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (opened, control) = open_gated(dir.path());
    let mut log = opened.log.clone();
    let mut answers = Vec::new();
    for index in 0..200 {
        answers.push(submit(&mut log, vec![blank(1, index)]).await);
        let entries = log.try_get_log_entries(index..=index).await.expect("readable");
        assert_eq!(entries, [blank(1, index)], "readable before it is flushed");
    }
    assert_eq!(control.synced_writes.load(Ordering::SeqCst), 0, "nothing is flushed yet");
    log.shrink_tail(1);
    let entries = log.try_get_log_entries(..).await.expect("readable");
    assert_eq!(entries.len(), 200, "what is not flushed never leaves the memory");
    // Otherwise nobody could have been told anything yet.
    let writing = async {
        while control.begun_writes.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, writing).await.expect("the writer begins");
    for answer in &mut answers {
        let told = tokio::task::unconstrained(answer).now_or_never();
        assert!(told.is_none(), "acknowledged before the sync");
    }
    control.open();
    let last = answers.pop().expect("200 answers");
    last.await.expect("answered").expect("written");
    for (index, answer) in answers.into_iter().enumerate() {
        // Unconstrained: tokio lets a task receive only so often before it must yield.
        let told = tokio::task::unconstrained(answer).now_or_never();
        assert!(matches!(told, Some(Ok(Ok(())))), "the last was told before entry {index}");
    }
    let syncs = control.synced_writes.load(Ordering::SeqCst);
    assert!((1..=3).contains(&syncs), "200 appends took {syncs} syncs");
}

#[tokio::test]
async fn a_callback_never_overtakes_an_earlier_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let (opened, control) = open_gated(dir.path());
    control.open();
    let mut log = opened.log.clone();
    let mut earlier = None::<openraft::alias::OneshotReceiverOf<TypeConfig, io::Result<()>>>;
    for index in 0..300 {
        let mut answer = submit(&mut log, vec![blank(1, index)]).await;
        if index % 7 == 0 {
            (&mut answer).await.expect("answered").expect("written");
            if let Some(mut earlier) = earlier.take() {
                let told = (&mut earlier).now_or_never();
                assert!(matches!(told, Some(Ok(Ok(())))), "entry {index} was told before");
            }
        } else {
            earlier = Some(answer);
        }
    }
}

#[tokio::test]
async fn appends_votes_and_truncations_are_synced_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let (opened, control) = open_gated(dir.path());
    control.open();
    let mut log = opened.log.clone();
    let syncs = || control.synced_writes.load(Ordering::SeqCst);
    log.save_vote(&Vote::new_committed(1, 1)).await.expect("saved");
    assert_eq!(syncs(), 1);
    append(&mut log, (0..10).map(|index| blank(1, index)).collect()).await;
    assert_eq!(syncs(), 2);
    log.truncate_after(Some(log_id(1, 7))).await.expect("truncated");
    assert_eq!(syncs(), 3);
    log.save_snapshot_record(vec![1], None, None).await.expect("saved");
    assert_eq!(syncs(), 4);
    log.save_committed(Some(log_id(1, 5))).await.expect("queued");
    log.purge(log_id(1, 3)).await.expect("queued");
    // Dropping the log waits until everything queued is written.
    drop((log, opened));
    assert_eq!(syncs(), 4);
}

#[tokio::test]
async fn a_failed_write_reaches_every_waiter_and_nothing_is_written_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (opened, control) = open_gated(dir.path());
    control.fails_from.store(1, Ordering::SeqCst);
    let mut log = opened.log.clone();
    let mut answers = Vec::new();
    for index in 0..20 {
        answers.push(submit(&mut log, vec![blank(1, index)]).await);
    }
    control.open();
    for answer in answers {
        let error = answer.await.expect("answered").expect_err("not written");
        assert!(error.to_string().contains("no space left"), "{error}");
    }
    let message = opened.fatal.raised().await;
    assert!(message.contains("no space left on device"), "{message}");
    assert!(message.contains("disk"), "{message}");
    // The disk has recovered, the store has not: an fsync that failed is never repeated.
    control.fails_from.store(0, Ordering::SeqCst);
    let (done, _answer) = TypeConfig::oneshot();
    log.append(vec![blank(1, 20)], IOFlushed::signal(done)).await.expect_err("the store is dead");
    log.save_vote(&Vote::new(9, 1)).await.expect_err("the store is dead");
    log.truncate_after(Some(log_id(1, 3))).await.expect_err("the store is dead");
    log.purge(log_id(1, 1)).await.expect_err("the store is dead");
    assert_eq!(control.synced_writes.load(Ordering::SeqCst), 1);
    drop((log, opened));
    let log = open(dir.path()).log;
    assert_eq!(log.last(), None, "nothing was written");
}

#[tokio::test]
async fn entries_that_left_the_tail_are_read_from_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let opened = open(dir.path());
    let mut log = opened.log.clone();
    let all: Vec<Entry> = (0..100).map(|index| bytes_entry(1, index, vec![7; 40_000])).collect();
    for entries in all.chunks(10) {
        append(&mut log, entries.to_vec()).await;
    }
    log.shrink_tail(10);
    assert_eq!(log.try_get_log_entries(0..100).await.expect("readable"), all);
    assert_eq!(log.try_get_log_entries(85..95).await.expect("readable"), all[85..95]);
    let limited = log.limited_get_log_entries(3, 100).await.expect("readable");
    assert_eq!(limited, all[3..3 + limited.len()]);
    assert!((20..=27).contains(&limited.len()), "about 1 MiB, not {} entries", limited.len());
    let limited = log.limited_get_log_entries(95, 100).await.expect("readable");
    assert_eq!(limited, all[95..]);
    log.limited_get_log_entries(100, 101).await.expect_err("never an empty list");

    log.truncate_after(Some(log_id(1, 50))).await.expect("truncated");
    append(&mut log, vec![blank(2, 51)]).await;
    let entries = log.try_get_log_entries(49..).await.expect("readable");
    assert_eq!(entries, [all[49].clone(), all[50].clone(), blank(2, 51)]);
    log.purge(log_id(1, 30)).await.expect("purged");
    assert_eq!(log.try_get_log_entries(..).await.expect("readable")[0], all[31]);
    log.limited_get_log_entries(30, 40).await.expect_err("a later beginning leaves a hole");
}

#[tokio::test]
async fn an_entry_larger_than_an_append_is_still_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).log;
    let entries = vec![blank(1, 0), bytes_entry(1, 1, vec![1; 3 << 20]), blank(1, 2)];
    append(&mut log, entries.clone()).await;
    assert_eq!(log.limited_get_log_entries(0, 3).await.expect("readable"), entries[..1]);
    assert_eq!(log.limited_get_log_entries(1, 3).await.expect("readable"), entries[1..2]);
    log.shrink_tail(0);
    assert_eq!(log.limited_get_log_entries(1, 3).await.expect("readable"), entries[1..2]);
}

#[tokio::test]
async fn a_truncation_lowers_the_mark_before_it_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let (opened, control) = open_gated(dir.path());
    control.open();
    let mut log = opened.log.clone();
    append(&mut log, (0..10).map(|index| blank(1, index)).collect()).await;
    let marked = || Mark::open(dir.path()).expect("readable").expect("there").record().flushed_end;
    assert_eq!(marked(), 10);
    control.fails_from.store(1, Ordering::SeqCst);
    log.truncate_after(Some(log_id(1, 4))).await.expect_err("the write fails");
    assert_eq!(marked(), 5, "a kill right after the write must not find a mark above the log");
}

#[tokio::test]
async fn nothing_is_lost_when_write_ahead_logs_are_recycled_and_files_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open_log(dir.path(), None);
    log.save_vote(&Vote::new_committed(1, 1)).await.expect("saved");
    let mut purged = None;
    for index in 0..220 {
        append(&mut log, vec![bytes_entry(1, index, vec![index as u8; 1 << 20])]).await;
        if index % 50 == 49 {
            purged = Some(log_id(1, index - 20));
            log.purge(log_id(1, index - 20)).await.expect("purged");
        }
    }
    let copy = tempfile::tempdir().expect("a directory");
    copy_as_after_kill(dir.path(), copy.path());
    let mut copied = open_log(copy.path(), purged);
    for log in [&mut log, &mut copied] {
        let entries = log.try_get_log_entries(..).await.expect("readable");
        assert_eq!(entries.len(), 220 - 180);
        for (entry, index) in entries.iter().zip(180..) {
            assert_eq!(*entry, bytes_entry(1, index, vec![index as u8; 1 << 20]));
        }
    }
}

#[tokio::test]
async fn a_gap_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).log;
    append(&mut log, vec![blank(1, 0)]).await;
    let (done, _answer) = TypeConfig::oneshot();
    let result = log.append(vec![blank(1, 2)], IOFlushed::signal(done)).await;
    result.expect_err("entry 1 is missing");
}

#[tokio::test]
async fn a_purge_stops_at_the_older_snapshot_but_not_a_jump() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).log;
    append(&mut log, (0..20).map(|index| blank(1, index)).collect()).await;
    log.limit_purge(Some(log_id(1, 5)));
    log.purge(log_id(1, 9)).await.expect("purged");
    assert_eq!(log.purged(), Some(log_id(1, 5)));
    log.purge(log_id(1, 40)).await.expect("purged");
    assert_eq!((log.purged(), log.last()), (Some(log_id(1, 40)), Some(log_id(1, 40))));
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Append { count: u64, is_new_term: bool },
    Truncate { back: u64 },
    Purge { ahead: u64 },
    Vote,
    Committed { back: u64 },
    Reopen,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u64..6, any::<bool>())
            .prop_map(|(count, is_new_term)| Step::Append { count, is_new_term }),
        2 => (0_u64..5).prop_map(|back| Step::Truncate { back }),
        2 => (0_u64..5).prop_map(|ahead| Step::Purge { ahead }),
        1 => Just(Step::Vote),
        1 => (0_u64..3).prop_map(|back| Step::Committed { back }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What the log must hold.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    vote: Option<Vote>,
    term: u64,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries.values().next_back().map(|entry| entry.log_id).or(self.purged)
    }

    fn at(&self, index: u64) -> Option<LogId> {
        self.entries.get(&index).map(|entry| entry.log_id)
    }
}

/// A log under test, and where it lies.
struct Subject {
    dir: tempfile::TempDir,
    log: LogStore,
}

impl Subject {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = open_log(dir.path(), None);
        Self { dir, log }
    }

    async fn step(&mut self, model: &mut Model, step: &Step) {
        match *step {
            Step::Append { count, is_new_term } => self.append(model, count, is_new_term).await,
            Step::Truncate { back } => {
                let committed = model.committed.map_or(0, |committed| committed.index() + 1);
                let next = model.last().map_or(0, |last| last.index() + 1);
                let from = next.saturating_sub(back).max(committed);
                let keep = from.checked_sub(1).and_then(|index| model.at(index));
                if from < next && (keep.is_some() || model.purged.is_none() && from == 0) {
                    self.log.truncate_after(keep).await.expect("truncated");
                    model.entries.split_off(&from);
                }
            }
            Step::Purge { ahead } => {
                let first = model.purged.map_or(0, |purged| purged.index() + 1);
                let committed = model.committed.map(|committed| committed.index());
                let upto = committed.and_then(|committed| model.at((first + ahead).min(committed)));
                if let Some(upto) = upto {
                    self.log.purge(upto).await.expect("purged");
                    model.entries = model.entries.split_off(&(upto.index() + 1));
                    model.purged = Some(upto);
                }
            }
            Step::Vote => self.vote(model).await,
            Step::Committed { back } => {
                let index = model.last().map_or(0, |last| last.index().saturating_sub(back));
                let is_later = model.committed.is_none_or(|committed| committed.index() < index);
                if let Some(committed) = model.at(index).filter(|_| is_later) {
                    self.log.save_committed(Some(committed)).await.expect("saved");
                    model.committed = Some(committed);
                }
            }
            Step::Reopen => self.reopen(model, false).await,
            Step::Kill => self.reopen(model, true).await,
        }
    }

    async fn append(&mut self, model: &mut Model, count: u64, is_new_term: bool) {
        if is_new_term || model.vote.is_none() {
            self.vote(model).await;
        }
        let next = model.last().map_or(0, |last| last.index() + 1);
        let entries: Vec<Entry> =
            (next..next + count).map(|index| bytes_entry(model.term, index, vec![1; 10])).collect();
        append(&mut self.log, entries.clone()).await;
        model.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index(), entry)));
    }

    async fn vote(&mut self, model: &mut Model) {
        model.term += 1;
        let vote = Vote::new_committed(model.term, 1);
        self.log.save_vote(&vote).await.expect("saved");
        model.vote = Some(vote);
    }

    /// Opens the log again, or a copy of its files as a kill would leave them.
    async fn reopen(&mut self, model: &Model, is_killed: bool) {
        // The queue is in order, so this is written after everything before it.
        if let Some(vote) = &model.vote {
            self.log.save_vote(vote).await.expect("saved");
        }
        if is_killed {
            let copy = tempfile::tempdir().expect("a directory");
            copy_as_after_kill(self.dir.path(), copy.path());
            self.log = open_log(copy.path(), model.purged);
            self.dir = copy;
        } else {
            let empty = tempfile::tempdir().expect("a directory");
            self.log = open_log(empty.path(), None);
            self.log = open_log(self.dir.path(), model.purged);
        }
    }

    async fn check(&mut self, model: &Model) {
        let entries = self.log.try_get_log_entries(..).await.expect("readable");
        assert_eq!(entries, model.entries.values().cloned().collect::<Vec<_>>());
        assert_eq!(self.log.last(), model.last());
        assert_eq!(self.log.purged(), model.purged);
        assert_eq!(self.log.vote(), model.vote);
        assert_eq!(self.log.read_committed().await.expect("readable"), model.committed);
    }
}

/// Opens a log whose snapshot, if it was purged, ends where the purge did.
fn open_log(dir: &std::path::Path, snapshot: Option<LogId>) -> LogStore {
    use super::check::Found;
    use crate::storage::{Fatal, identity::Identity, lock::DirLock};
    let config = config(dir);
    let lock = Arc::new(DirLock::take(dir).expect("free"));
    let identity = Identity::claim(&config).expect("ours");
    let found = Found::open(dir, &identity).expect("opens");
    let checked = found.check(snapshot.as_ref(), None).expect("whole");
    let sink = Box::new(checked.db.clone());
    let log = LogStore::start(checked, sink, Fatal::new(), Some(lock)).expect("starts");
    log.shrink_tail(4);
    log
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_random_history_leaves_what_the_model_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut subject = Subject::new();
            let mut model = Model::default();
            for step in &steps {
                subject.step(&mut model, step).await;
                subject.check(&model).await;
            }
            if model.vote.is_some() {
                subject.reopen(&model, false).await;
                subject.check(&model).await;
            }
        });
    }
}
