//! The thread that writes the log.
//!
//! It takes one job, then everything else that has queued up meanwhile, and turns it into one
//! batch, one synced write, and then all the answers in order. There is no timer and no linger:
//! while one fsync runs, the next batch collects itself.

use std::{
    io, mem, panic,
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread,
};

use bytes::Bytes;
use futures::executor::block_on;
use metrics::{gauge, histogram};
use openraft::storage::IOFlushed;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    mark::Mark,
    sink::{BatchSink, Op},
    tail::Tail,
};
use crate::{
    metrics::{LOG_BATCH_BYTES, LOG_BATCH_ENTRIES, LOG_QUEUE_JOBS, LOG_SYNC_SECONDS},
    storage::Fatal,
    types::TypeConfig,
};

/// Most bytes of entries in one batch.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most changes in one batch, however small they are.
const BATCH_OPS_MAX: usize = 16 * 1024;

/// Something to be written. Jobs are written in the order in which they were queued.
pub(crate) enum Job {
    /// Entries at the end of the log.
    Append {
        /// Index and value of each.
        values: Vec<(u64, Bytes)>,
        /// Told when they are durable.
        done: IOFlushed<TypeConfig>,
    },
    /// Removes all entries from an index on.
    Truncate {
        /// The first index that goes.
        from: u64,
        /// Told when that is durable.
        done: Done,
    },
    /// Removes the entries `[from, to)` at the beginning of the log.
    Purge {
        /// First index.
        from: u64,
        /// First index that stays.
        to: u64,
        /// The position before `to`, encoded.
        purged: Vec<u8>,
    },
    /// Something about the log that others wait for.
    Meta {
        /// Names and values.
        values: Vec<(&'static str, Vec<u8>)>,
        /// A purge that must not be separated from the values.
        purge: Option<(u64, u64)>,
        /// Told when that is durable.
        done: Done,
    },
    /// How far entries are committed; rides along with the next synced batch.
    Committed {
        /// The position, encoded.
        committed: Vec<u8>,
    },
}

/// Tells one caller what came of a job.
pub(crate) type Done = oneshot::Sender<io::Result<()>>;

/// Who to tell once the batch is written.
enum Waiter {
    Entries(IOFlushed<TypeConfig>),
    Caller(Done),
}

impl Waiter {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Entries(done) => done.io_completed(result),
            // A caller that went away does not need the answer.
            Self::Caller(done) => drop(done.send(result)),
        }
    }
}

/// Jobs that are written together.
#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    /// How far entries are committed, if that is to be written.
    committed: Option<Vec<u8>>,
    waiters: Vec<Waiter>,
    is_synced: bool,
    entries: usize,
    bytes: usize,
    /// Lowest index a truncation of this batch begins at.
    truncated_from: Option<u64>,
    /// Everything below is flushed once the batch is written; `None` if it does not say.
    flushed_end: Option<u64>,
}

/// Since when the thread has been busy with one write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Arc<Mutex<Option<Instant>>>);

impl Busy {
    /// Since when; `None` while nothing is written.
    pub(crate) fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// What the thread owns.
pub(crate) struct Writer {
    /// Where batches go.
    pub(crate) sink: Box<dyn BatchSink>,
    /// See [`Mark`].
    pub(crate) mark: Mark,
    /// Told when a write begins and ends.
    pub(crate) busy: Busy,
    /// Told what may be evicted.
    pub(crate) tail: Arc<RwLock<Tail>>,
    /// Raised at the first error.
    pub(crate) fatal: Fatal,
    /// Where the log lies, for messages.
    pub(crate) place: String,
}

impl Writer {
    /// Starts the thread; it ends when the queue is closed and empty. A simulated disk has a task
    /// instead.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn spawn(
        self,
        jobs: mpsc::Receiver<Job>,
    ) -> io::Result<Option<thread::JoinHandle<()>>> {
        #[cfg(test)]
        if crate::testing::sim::runtime::is_simulated() {
            drop(crate::rt::spawn(self.run(jobs)));
            return Ok(None);
        }
        let fatal = self.fatal.clone();
        let thread = thread::Builder::new().name("raft-io".to_owned()).spawn(move || {
            let run = panic::AssertUnwindSafe(|| block_on(self.run(jobs)));
            if panic::catch_unwind(run).is_err() {
                fatal.raise("the thread that writes the log panicked; this is a defect");
            }
        });
        thread.map(Some)
    }

    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // Not worth a write of its own: a start learns from the leader what else is committed.
        let mut committed = None;
        while let Some(first) = jobs.recv().await {
            let mut batch = Batch { committed: committed.take(), ..Batch::default() };
            batch.add(first);
            while batch.has_room() {
                match jobs.try_recv() {
                    Ok(job) => batch.add(job),
                    Err(_) => break,
                }
            }
            if batch.ops.is_empty() {
                committed = batch.committed;
                continue;
            }
            #[allow(clippy::cast_precision_loss)]
            gauge!(LOG_QUEUE_JOBS).set(jobs.len() as f64);
            self.busy.set(Some(Instant::now()));
            self.commit(batch).await;
            self.busy.set(None);
        }
        if committed.is_some() {
            self.commit(Batch { committed, ..Batch::default() }).await;
        }
    }

    async fn commit(&mut self, mut batch: Batch) {
        if let Some(value) = batch.committed.take() {
            batch.ops.push(Op::Meta { key: super::META_COMMITTED, value });
        }
        let waiters = mem::take(&mut batch.waiters);
        match self.write(&batch).await {
            Ok(()) => {
                if let Some(end) = batch.flushed_end {
                    self.tail.write().unwrap_or_else(|poisoned| poisoned.into_inner()).flushed(end);
                }
                waiters.into_iter().for_each(|waiter| waiter.tell(Ok(())));
            }
            Err(error) => self.fail(&error, waiters),
        }
    }

    async fn write(&mut self, batch: &Batch) -> io::Result<()> {
        self.fatal.check()?;
        if let Some(from) = batch.truncated_from {
            self.mark.retreat(from)?;
        }
        let begun = Instant::now();
        if let Some(pause) = self.sink.pause(&batch.ops) {
            pause.await;
        }
        self.sink.write(&batch.ops, batch.is_synced)?;
        if batch.is_synced {
            measure(begun, batch.entries, batch.bytes);
        }
        batch.flushed_end.map_or(Ok(()), |end| self.mark.advance(end))
    }

    fn fail(&self, error: &io::Error, waiters: Vec<Waiter>) {
        self.fatal.raise(format!(
            "writing the raft log in {} failed: {error}. The replica stops, because a write that \
             failed cannot be repeated safely. Look for a full disk or for I/O errors in the \
             kernel's log, mend the disk, and start the replica again",
            self.place
        ));
        for waiter in waiters {
            waiter.tell(Err(io::Error::new(error.kind(), error.to_string())));
        }
    }
}

impl Batch {
    fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES_MAX && self.ops.len() < BATCH_OPS_MAX
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Append { values, done } => {
                self.entries += values.len();
                if let Some((last, _)) = values.last() {
                    self.flushed_end = Some(last + 1);
                }
                for (index, value) in values {
                    self.bytes += value.len();
                    self.ops.push(Op::Put { index, value });
                }
                self.synced_for(Waiter::Entries(done));
            }
            Job::Truncate { from, done } => {
                self.ops.push(Op::Delete { from, to: u64::MAX, is_purge: false });
                self.truncated_from = Some(self.truncated_from.map_or(from, |at| at.min(from)));
                self.flushed_end = Some(from);
                self.synced_for(Waiter::Caller(done));
            }
            Job::Purge { from, to, purged } => {
                self.ops.push(Op::Delete { from, to, is_purge: true });
                self.ops.push(Op::Meta { key: super::META_PURGED, value: purged });
            }
            Job::Meta { values, purge, done } => {
                if let Some((from, to)) = purge {
                    self.ops.push(Op::Delete { from, to, is_purge: true });
                    self.flushed_end = Some(to);
                }
                let ops = values.into_iter().map(|(key, value)| Op::Meta { key, value });
                self.ops.extend(ops);
                self.synced_for(Waiter::Caller(done));
            }
            Job::Committed { committed } => {
                self.committed = Some(committed);
            }
        }
    }

    fn synced_for(&mut self, waiter: Waiter) {
        self.is_synced = true;
        self.waiters.push(waiter);
    }
}

#[allow(clippy::cast_precision_loss)]
fn measure(begun: Instant, entries: usize, bytes: usize) {
    histogram!(LOG_SYNC_SECONDS).record(begun.elapsed());
    if entries > 0 {
        histogram!(LOG_BATCH_ENTRIES).record(entries as f64);
        histogram!(LOG_BATCH_BYTES).record(bytes as f64);
    }
}
