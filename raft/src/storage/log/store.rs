//! The log as the consensus library sees it.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use metrics::counter;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    EntryKind, META_SNAPSHOT, META_VOTE,
    check::Checked,
    format::{encode_value, payload_of},
    sink::{BatchSink, LogDb},
    tail::{Plan, Tail},
    writer::{Busy, Job, Writer},
};
use crate::{
    metrics::LOG_DISK_READS_TOTAL,
    rt,
    storage::{
        Fatal,
        lock::DirLock,
        wire::{damaged, encode_log_id, encode_vote, term_and_node},
    },
    types::{Entry, LogId, TypeConfig, Vote},
};

/// Most jobs that wait for the writer. Admission on the leader, and what a leader has in flight to
/// a follower, keep the queue far below; at the bound `append` waits.
const QUEUE_JOBS_MAX: usize = 16 * 1024;
/// Most bytes of entries in one append to a follower.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// An entry as it lies in the log, for inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// Its index.
    pub index: u64,
    /// Term of the leader that appended it.
    pub term: u64,
    /// The leader that appended it.
    pub leader: crate::ReplicaId,
    /// What it carries.
    pub kind: EntryKind,
    /// The bytes it carries; for a command, see [`crate::entry`].
    pub payload: Bytes,
}

/// The log, the vote and their bookkeeping; cheap to clone.
///
/// The last clone that is dropped waits for the writer to finish what was queued, and closes the
/// database.
#[derive(Clone)]
pub(crate) struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    tail: Arc<RwLock<Tail>>,
    meta: Mutex<Meta>,
    db: LogDb,
    /// `None` only while being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    busy: Busy,
    fatal: Fatal,
    appended_bytes: AtomicU64,
    /// Let go of after the database is closed.
    _lock: Option<Arc<DirLock>>,
}

/// What is known without reading the disk.
#[derive(Default)]
struct Meta {
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// Position of the older snapshot that is kept: a purge stops there, so that the older one is
    /// of use if the newest one is lost.
    purge_limit: Option<LogId>,
}

/// What a purge comes to.
struct PurgePlan {
    from: u64,
    upto: LogId,
}

impl LogStore {
    /// Starts the writer over a log that has been checked. `sink` is the database itself, except
    /// in tests.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        checked: Checked,
        sink: Box<dyn BatchSink>,
        fatal: Fatal,
        lock: Option<Arc<DirLock>>,
    ) -> io::Result<Self> {
        let Checked { db, mark, tail, vote, committed, place } = checked;
        let tail = Arc::new(RwLock::new(tail));
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let busy = Busy::default();
        let writer = Writer {
            sink,
            mark,
            busy: busy.clone(),
            tail: tail.clone(),
            fatal: fatal.clone(),
            place,
        };
        let writer = writer.spawn(queue)?;
        Ok(Self {
            inner: Arc::new(Inner {
                tail,
                meta: Mutex::new(Meta { vote, committed, purge_limit: None }),
                db,
                jobs: Some(jobs),
                writer,
                busy,
                fatal,
                appended_bytes: AtomicU64::new(0),
                _lock: lock,
            }),
        })
    }

    /// Bytes of entries appended since the start; for deciding when a snapshot is due.
    pub(crate) fn appended_bytes(&self) -> u64 {
        self.inner.appended_bytes.load(Ordering::Relaxed)
    }

    /// Since when the present write has not returned; `None` while nothing is written.
    pub(crate) fn writing_since(&self) -> Option<Instant> {
        self.inner.busy.since()
    }

    /// The last position of the log, purged or not.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.tail().last().cloned()
    }

    /// The last position that is no longer in the log.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.tail().purged().cloned()
    }

    /// The last vote saved.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.meta().vote
    }

    /// Entries of `[from, to)` for inspection, at most `limit` of them.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) async fn raw_entries(
        &self,
        from: u64,
        to: u64,
        limit: usize,
    ) -> io::Result<Vec<RawEntry>> {
        let to = to.min(from.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX)));
        let entries = self.read(from, to, None).await?;
        entries.iter().map(RawEntry::of).collect()
    }

    /// Entries of `[from, to)`; all of them, or an error.
    ///
    /// # Errors
    /// If the log cannot be read, or no longer has the entries.
    pub(crate) async fn whole_entries(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        self.read(from, to, None).await
    }

    /// Stores which snapshots are kept, durably. `covers` is the position a received snapshot
    /// reaches; a log that ends before it is purged up to it in the same write, so that no crash
    /// leaves a log that ends before its snapshot.
    ///
    /// # Errors
    /// If the write failed; the store is dead then.
    pub(crate) async fn save_snapshot_record(
        &self,
        record: Vec<u8>,
        purge_limit: Option<LogId>,
        covers: Option<LogId>,
    ) -> io::Result<()> {
        self.meta().purge_limit = purge_limit;
        let (done, answer) = oneshot::channel();
        let purge = covers.and_then(|covers| self.jump_over(covers));
        let mut values = vec![(META_SNAPSHOT, record)];
        let purge = purge.map(|PurgePlan { from, upto }| {
            values.push((super::META_PURGED, encode_log_id(&upto).to_vec()));
            (from, upto.index() + 1)
        });
        self.send(Job::Meta { values, purge, done }).await?;
        self.answer(answer).await
    }

    /// Limits purges from the start on; see [`Meta::purge_limit`].
    pub(crate) fn limit_purge(&self, purge_limit: Option<LogId>) {
        self.meta().purge_limit = purge_limit;
    }

    fn jump_over(&self, covers: LogId) -> Option<PurgePlan> {
        let mut tail = self.tail_mut();
        if tail.last().is_some_and(|last| last.index() >= covers.index()) {
            return None;
        }
        let from = tail.purged().map_or(0, |purged| purged.index() + 1);
        tail.purge(covers);
        Some(PurgePlan { from, upto: covers })
    }

    async fn read(&self, start: u64, end: u64, bytes_max: Option<usize>) -> io::Result<Vec<Entry>> {
        loop {
            let plan = self.tail().plan(start, end, bytes_max);
            let (start, end, rest, generation) = match plan {
                Plan::Memory(entries) => return Ok(entries),
                Plan::Disk { start, end, rest, generation } => (start, end, rest, generation),
            };
            let db = self.inner.db.clone();
            let found = rt::blocking(move || read_disk(&db, start, end, bytes_max)).await?;
            let (is_same, purged_end) = {
                let tail = self.tail();
                let purged_end = tail.purged().map_or(0, |purged| purged.index() + 1);
                (tail.generation() == generation, purged_end)
            };
            // The log changed under the read: what was read may be half of one log and half of
            // another. Changes of that kind are rare, so simply read again.
            if !is_same || purged_end > start {
                continue;
            }
            let mut entries = found?;
            let is_whole = match (entries.first(), entries.last()) {
                (Some(first), Some(last)) => {
                    let is_to_end = bytes_max.is_some() || last.log_id.index() + 1 == end;
                    (purged_end == 0 || first.log_id.index() == start) && is_to_end
                }
                _ => purged_end == 0,
            };
            if !is_whole {
                return Err(damaged(format!("entries of [{start}, {end}) are gone from the log")));
            }
            counter!(LOG_DISK_READS_TOTAL).increment(entries.len() as u64);
            entries.extend(rest);
            return Ok(entries);
        }
    }

    async fn send(&self, job: Job) -> io::Result<()> {
        self.inner.fatal.check()?;
        let jobs = self.inner.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(job).await.map_err(|_| closed())
    }

    async fn answer(&self, answer: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
        match answer.await {
            Ok(result) => result,
            Err(_) => self.inner.fatal.check().and(Err(closed())),
        }
    }

    fn check_follows(&self, log_id: &LogId) -> io::Result<()> {
        let wanted = self.tail().next_index();
        match wanted {
            Some(wanted) if wanted != log_id.index() => Err(io::Error::other(format!(
                "entry {} was to be appended where entry {wanted} belongs; this is a defect",
                log_id.index()
            ))),
            _ => Ok(()),
        }
    }

    fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.inner.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.inner.tail.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(&self) -> MutexGuard<'_, Meta> {
        self.inner.meta.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps less than usual in memory; for tests of reads from the disk.
    #[cfg(test)]
    pub(crate) fn shrink_tail(&self, entries_max: usize) {
        self.tail_mut().shrink(entries_max);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            // The thread has reported its own panic already.
            drop(writer.join());
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(&range);
        self.read(start, end, None).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let entries = self.read(start, end, Some(READ_BYTES_MAX)).await?;
        // An empty answer would be sent on as a heartbeat, and the range would never advance; one
        // that begins later would leave a hole in the follower's log.
        let first = entries.first().map(|entry| entry.log_id.index());
        if start < end && first != Some(start) {
            return Err(damaged(format!("entry {start} of [{start}, {end}) is not in the log")));
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.tail();
        Ok(LogState {
            last_purged_log_id: tail.purged().cloned(),
            last_log_id: tail.last().cloned(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, answer) = oneshot::channel();
        let values = vec![(META_VOTE, encode_vote(vote))];
        self.send(Job::Meta { values, purge: None, done }).await?;
        self.answer(answer).await?;
        self.meta().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else {
            return Ok(());
        };
        self.meta().committed = Some(committed);
        self.send(Job::Committed { committed: encode_log_id(&committed).to_vec() }).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.meta().committed)
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
        let mut encoded = Vec::new();
        let mut values = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            if encoded.is_empty() {
                self.check_follows(&entry.log_id)?;
            }
            let value = Bytes::from(encode_value(&entry)?);
            bytes += value.len();
            values.push((entry.log_id.index(), value.clone()));
            encoded.push((entry, value.len()));
        }
        {
            let mut tail = self.tail_mut();
            for (entry, bytes) in encoded {
                tail.push(entry, bytes);
            }
        }
        self.inner.appended_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.send(Job::Append { values, done: callback }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.as_ref().map_or(0, |last| last.index() + 1);
        let from = {
            let mut tail = self.tail_mut();
            let purged = tail.purged().cloned();
            let purged_end = purged.as_ref().map_or(0, |purged| purged.index() + 1);
            if tail.next_index().is_none_or(|next| from >= next) {
                return Ok(());
            }
            let keep = if from <= purged_end { purged } else { last_log_id };
            let from = from.max(purged_end);
            tail.truncate(from, keep);
            from
        };
        let (done, answer) = oneshot::channel();
        self.send(Job::Truncate { from, done }).await?;
        self.answer(answer).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let Some(PurgePlan { from, upto }) = self.plan_purge(log_id) else {
            return Ok(());
        };
        let to = upto.index() + 1;
        self.send(Job::Purge { from, to, purged: encode_log_id(&upto).to_vec() }).await
    }
}

impl LogStore {
    fn plan_purge(&self, wanted: LogId) -> Option<PurgePlan> {
        let limit = self.meta().purge_limit;
        let mut tail = self.tail_mut();
        let is_jump = tail.last().is_none_or(|last| last.index() < wanted.index());
        let upto = match limit {
            Some(limit) if !is_jump && limit.index() < wanted.index() => limit,
            _ => wanted,
        };
        let from = tail.purged().map_or(0, |purged| purged.index() + 1);
        if upto.index() < from {
            return None;
        }
        tail.purge(upto);
        Some(PurgePlan { from, upto })
    }
}

impl RawEntry {
    pub(crate) fn of(entry: &Entry) -> io::Result<Self> {
        let (kind, payload) = payload_of(entry)?;
        let (term, leader) = term_and_node(&entry.log_id);
        Ok(Self { index: entry.log_id.index(), term, leader, kind, payload })
    }
}

fn read_disk(db: &LogDb, start: u64, end: u64, bytes_max: Option<usize>) -> io::Result<Vec<Entry>> {
    let mut room = bytes_max.unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    db.scan(start, end, |entry, bytes| {
        if bytes > room && !entries.is_empty() {
            return Ok(false);
        }
        room = room.saturating_sub(bytes);
        entries.push(entry);
        Ok(true)
    })?;
    Ok(entries)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

fn closed() -> io::Error {
    io::Error::other("the log is closed")
}
