//! The end of the log in memory: what followers and the state machine read.

use std::collections::VecDeque;

use crate::types::{Entry, LogId};

/// Most entries kept.
const TAIL_ENTRIES_MAX: usize = 100_000;
/// Most bytes of entries kept.
const TAIL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The last entries of the log, with the bounds of the whole log.
///
/// An entry is readable from the moment it is appended; it may leave only after it has been
/// flushed, because until then it is nowhere else.
#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<(Entry, usize)>,
    /// Index of the first entry held, or of the next one to come.
    first: u64,
    bytes: usize,
    /// Everything below this index is on the disk.
    flushed_end: u64,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// Grows whenever entries are taken off the end, so that a reader that went to the disk can
    /// tell that what it read may not be the log any more.
    generation: u64,
    entries_max: usize,
    bytes_max: usize,
}

/// Where the entries of a range are.
#[derive(Debug)]
pub(crate) enum Plan {
    /// All in memory.
    Memory(Vec<Entry>),
    /// The first ones, up to `end` (exclusive), only on the disk; the rest follows.
    Disk {
        /// First index.
        start: u64,
        /// End of what must come from the disk.
        end: u64,
        /// What is in memory after that.
        rest: Vec<Entry>,
        /// To be compared after the disk was read.
        generation: u64,
    },
}

impl Tail {
    /// The tail of a log that was purged up to `purged` and holds nothing in memory yet.
    pub(crate) fn new(purged: Option<LogId>) -> Self {
        let first = purged.as_ref().map_or(0, |purged| purged.index() + 1);
        Self {
            entries: VecDeque::new(),
            first,
            bytes: 0,
            flushed_end: first,
            purged,
            last: purged,
            generation: 0,
            entries_max: TAIL_ENTRIES_MAX,
            bytes_max: TAIL_BYTES_MAX,
        }
    }

    /// Keeps less than usual; for tests of what happens below the tail.
    #[cfg(test)]
    pub(crate) fn shrink(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
        self.evict();
    }

    /// The last position that is no longer in the log.
    pub(crate) fn purged(&self) -> Option<&LogId> {
        self.purged.as_ref()
    }

    /// The last position of the log, purged or not.
    pub(crate) fn last(&self) -> Option<&LogId> {
        self.last.as_ref()
    }

    /// See [`Tail::generation`].
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The index an appended entry must have; `None` if the log never held anything.
    pub(crate) fn next_index(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.index() + 1)
    }

    /// Adds an entry at the end. The caller has checked that it follows the last one.
    pub(crate) fn push(&mut self, entry: Entry, bytes: usize) {
        if self.entries.is_empty() {
            self.first = entry.log_id.index();
        }
        self.bytes += bytes;
        self.last = Some(entry.log_id);
        self.entries.push_back((entry, bytes));
    }

    /// Notes that everything below an index is on the disk.
    pub(crate) fn flushed(&mut self, end: u64) {
        let log_end = self.last.as_ref().map_or(0, |last| last.index() + 1);
        self.flushed_end = end.min(log_end);
        self.evict();
    }

    /// Takes off everything from an index on; `keep` is the position before it.
    pub(crate) fn truncate(&mut self, from: u64, keep: Option<LogId>) {
        while self.entries.back().is_some_and(|(entry, _)| entry.log_id.index() >= from) {
            if let Some((_, bytes)) = self.entries.pop_back() {
                self.bytes -= bytes;
            }
        }
        self.first = self.first.min(from);
        self.flushed_end = self.flushed_end.min(from);
        self.last = keep;
        self.generation += 1;
    }

    /// Drops everything up to and including a position.
    pub(crate) fn purge(&mut self, upto: LogId) {
        let end = upto.index() + 1;
        while self.entries.front().is_some_and(|(entry, _)| entry.log_id.index() < end) {
            self.pop_front();
        }
        self.first = self.first.max(end);
        if self.last.as_ref().is_none_or(|last| last.index() < upto.index()) {
            self.last = Some(upto);
            self.flushed_end = end;
            self.generation += 1;
        }
        if self.purged.as_ref().is_none_or(|purged| purged.index() < upto.index()) {
            self.purged = Some(upto);
        }
    }

    /// Says where the entries of `[start, end)` are, and copies those in memory: all of them, or
    /// at least one and at most `bytes_max` bytes.
    pub(crate) fn plan(&self, start: u64, end: u64, bytes_max: Option<usize>) -> Plan {
        let start = self.purged.as_ref().map_or(start, |purged| start.max(purged.index() + 1));
        let end = self.last.as_ref().map_or(0, |last| end.min(last.index() + 1));
        if start >= end {
            return Plan::Memory(Vec::new());
        }
        if start >= self.first {
            return Plan::Memory(self.copy(start, end, bytes_max));
        }
        let rest = match bytes_max {
            None if end > self.first => self.copy(self.first, end, None),
            _ => Vec::new(),
        };
        Plan::Disk { start, end: end.min(self.first), rest, generation: self.generation }
    }

    fn copy(&self, start: u64, end: u64, bytes_max: Option<usize>) -> Vec<Entry> {
        let skip = usize::try_from(start - self.first).unwrap_or(usize::MAX);
        let take = usize::try_from(end - start).unwrap_or(usize::MAX);
        let mut room = bytes_max.unwrap_or(usize::MAX);
        let mut copied = Vec::with_capacity(take.min(self.entries.len()));
        for (entry, bytes) in self.entries.iter().skip(skip).take(take) {
            if *bytes > room && !copied.is_empty() {
                break;
            }
            room = room.saturating_sub(*bytes);
            copied.push(entry.clone());
        }
        copied
    }

    fn evict(&mut self) {
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            let is_flushed = self
                .entries
                .front()
                .is_some_and(|(entry, _)| entry.log_id.index() < self.flushed_end);
            if !is_flushed {
                return;
            }
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some((entry, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes;
            self.first = entry.log_id.index() + 1;
        }
    }
}
