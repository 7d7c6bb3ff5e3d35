//! A log in memory that forgets what was not flushed when it crashes.
//!
//! A test store that acknowledges inside `append` and loses nothing in a crash cannot show what a
//! crash does; this one flushes later, in order, and keeps only what was flushed.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::{Notify, oneshot};

use crate::{
    storage::snapshot::SnapshotIndex,
    types::{Entry, LogId, TypeConfig, Vote},
};

/// A disk that outlives the replica that writes to it.
#[derive(Clone)]
pub(crate) struct MemoryDisk {
    shared: Arc<Shared>,
}

/// A log on a [`MemoryDisk`]; dead once the disk has crashed or was opened again.
#[derive(Clone)]
pub(crate) struct MemoryLog {
    shared: Arc<Shared>,
    life: u64,
}

struct Shared {
    state: Mutex<State>,
    work: Notify,
    sync_time: Duration,
}

#[derive(Default)]
struct State {
    /// What a crash leaves.
    durable: Image,
    /// What the replica reads.
    live: Image,
    /// What separates the two, in order.
    pending: Vec<(Change, Option<Waiter>)>,
    /// Counts openings and crashes.
    life: u64,
}

#[derive(Clone, Default)]
struct Image {
    vote: Option<Vote>,
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    last: Option<LogId>,
    committed: Option<LogId>,
    snapshot: Option<Vec<u8>>,
}

#[derive(Clone)]
enum Change {
    Append(Vec<Entry>),
    Vote(Vote),
    Truncate(Option<LogId>),
    Purge(LogId),
    Committed(LogId),
    Snapshot { record: Vec<u8>, covers: Option<LogId> },
}

enum Waiter {
    Entries(IOFlushed<TypeConfig>),
    Caller(oneshot::Sender<()>),
}

impl MemoryDisk {
    /// An empty disk on which a sync takes that long.
    pub(crate) fn new(sync_time: Duration) -> Self {
        let state = Mutex::new(State::default());
        Self { shared: Arc::new(Shared { state, work: Notify::new(), sync_time }) }
    }

    /// Opens the log, as a process that starts would. Needs a tokio runtime, which does the
    /// flushing.
    pub(crate) fn open(&self) -> MemoryLog {
        self.crash();
        let life = self.shared.state().life;
        let shared = self.shared.clone();
        tokio::spawn(async move { while shared.flush(life).await {} });
        MemoryLog { shared: self.shared.clone(), life }
    }

    /// Forgets what was not flushed; nobody is told.
    pub(crate) fn crash(&self) {
        let mut state = self.shared.state();
        state.pending.clear();
        state.live = state.durable.clone();
        state.life += 1;
        self.shared.work.notify_one();
    }

    /// The record of the snapshots that are kept, as a start would find it.
    pub(crate) fn snapshot_record(&self) -> Option<Vec<u8>> {
        self.shared.state().durable.snapshot.clone()
    }
}

/// What the flushing task finds to do.
enum Work {
    Nothing,
    Flush,
    Over,
}

impl State {
    fn work_of(&self, life: u64) -> Work {
        if self.life != life {
            Work::Over
        } else if self.pending.iter().any(|(_, waiter)| waiter.is_some()) {
            Work::Flush
        } else {
            Work::Nothing
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes what waits, once somebody waits for it; false if this life is over.
    async fn flush(&self, life: u64) -> bool {
        loop {
            match self.state().work_of(life) {
                Work::Over => return false,
                Work::Flush => break,
                Work::Nothing => {}
            }
            self.work.notified().await;
        }
        let count = self.state().pending.len();
        tokio::time::sleep(self.sync_time).await;
        let mut waiters = Vec::new();
        {
            let mut state = self.state();
            if state.life != life {
                return false;
            }
            let State { durable, pending, .. } = &mut *state;
            for (change, waiter) in pending.drain(..count) {
                durable.change(change);
                waiters.extend(waiter);
            }
        }
        for waiter in waiters {
            match waiter {
                Waiter::Entries(done) => done.io_completed(Ok(())),
                Waiter::Caller(done) => drop(done.send(())),
            }
        }
        true
    }
}

impl Image {
    fn change(&mut self, change: Change) {
        match change {
            Change::Append(entries) => {
                for entry in entries {
                    self.last = Some(entry.log_id);
                    self.entries.insert(entry.log_id.index(), entry);
                }
            }
            Change::Vote(vote) => self.vote = Some(vote),
            Change::Truncate(keep) => {
                let from = keep.map_or(0, |keep| keep.index() + 1);
                if self.last.is_some_and(|last| last.index() >= from) {
                    self.entries.split_off(&from);
                    self.last = self.entries.values().next_back().map(|entry| entry.log_id);
                    self.last = self.last.or(self.purged);
                }
            }
            Change::Purge(upto) => self.purge(upto),
            Change::Committed(committed) => self.committed = Some(committed),
            Change::Snapshot { record, covers } => {
                self.snapshot = Some(record);
                if let Some(covers) = covers
                    && self.last.is_none_or(|last| last.index() < covers.index())
                {
                    self.purge(covers);
                }
            }
        }
    }

    fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged.index() >= upto.index()) {
            return;
        }
        self.entries = self.entries.split_off(&(upto.index() + 1));
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index() < upto.index()) {
            self.last = Some(upto);
        }
    }
}

impl MemoryLog {
    fn write(&self, change: Change, waiter: Option<Waiter>) -> io::Result<()> {
        let mut state = self.alive()?;
        state.live.change(change.clone());
        state.pending.push((change, waiter));
        self.shared.work.notify_one();
        Ok(())
    }

    async fn write_and_wait(&self, change: Change) -> io::Result<()> {
        let (done, flushed) = oneshot::channel();
        self.write(change, Some(Waiter::Caller(done)))?;
        flushed.await.map_err(|_| crashed())
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shared.state();
        if state.life == self.life { Ok(state) } else { Err(crashed()) }
    }
}

impl SnapshotIndex for MemoryLog {
    fn save(
        &self,
        record: Vec<u8>,
        _purge_limit: Option<LogId>,
        covers: Option<LogId>,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.write_and_wait(Change::Snapshot { record, covers }))
    }
}

impl RaftLogReader<TypeConfig> for MemoryLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.alive()?.live.entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.alive()?.live.vote)
    }
}

impl RaftLogStorage<TypeConfig> for MemoryLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.alive()?;
        Ok(LogState { last_purged_log_id: state.live.purged, last_log_id: state.live.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write_and_wait(Change::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        committed.map_or(Ok(()), |committed| self.write(Change::Committed(committed), None))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.alive()?.live.committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        self.write(Change::Append(entries), Some(Waiter::Entries(callback)))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.write_and_wait(Change::Truncate(last_log_id)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.write(Change::Purge(log_id), None)
    }
}

fn crashed() -> io::Error {
    io::Error::other("the disk in memory has crashed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixture::{blank, log_id, submit};

    #[tokio::test]
    async fn a_crash_forgets_what_was_not_flushed_and_only_that() {
        let disk = MemoryDisk::new(Duration::from_millis(5));
        let mut log = disk.open();
        log.save_vote(&Vote::new(1, 1)).await.expect("saved");
        submit(&mut log, vec![blank(1, 0)]).await.await.expect("answered").expect("flushed");
        log.save(vec![1], None, None).await.expect("saved");
        let lost = submit(&mut log, vec![blank(1, 1)]).await;
        assert_eq!(log.try_get_log_entries(..).await.expect("readable").len(), 2);
        disk.crash();
        lost.await.expect_err("nobody is told");
        log.save_vote(&Vote::new(2, 1)).await.expect_err("that process is gone");

        let mut log = disk.open();
        let state = log.get_log_state().await.expect("readable");
        assert_eq!(state.last_log_id, Some(log_id(1, 0)));
        assert_eq!(log.read_vote().await.expect("readable"), Some(Vote::new(1, 1)));
        assert_eq!(disk.snapshot_record(), Some(vec![1]));
    }
}
