//! The keys of a node and the history of its writes. Outlives the process it belongs to.

use std::collections::{BTreeMap, VecDeque};

use super::topology::{Range, slot_of};

/// Writes a node remembers; a replica further behind takes a copy of everything.
const HISTORY_MAX: usize = 50_000;

/// One write. `None` deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Position in the history; the first write is 1.
    pub seq: u64,
    /// Marks the term of mastership in which it was written; compared only with `use-rsid-psync`.
    pub history: String,
    /// Key.
    pub key: String,
    /// New value.
    pub value: Option<String>,
}

/// The store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Keys and values.
    pub keys: BTreeMap<String, String>,
    /// Position of the last write.
    pub seq: u64,
    /// The last writes, oldest first.
    pub writes: VecDeque<Write>,
}

impl Store {
    /// Writes here first.
    pub fn put(&mut self, history: &str, key: &str, value: Option<String>) {
        let write =
            Write { seq: self.seq + 1, history: history.to_owned(), key: key.to_owned(), value };
        self.take(write);
    }

    /// Goes to a position, as if writes to nothing had led there.
    pub fn jump(&mut self, seq: u64) {
        self.seq = seq;
        self.writes.clear();
    }

    /// Writes what a master wrote before.
    pub fn take(&mut self, write: Write) {
        self.seq = write.seq;
        match &write.value {
            Some(value) => self.keys.insert(write.key.clone(), value.clone()),
            None => self.keys.remove(&write.key),
        };
        self.writes.push_back(write);
        if self.writes.len() > HISTORY_MAX {
            self.writes.pop_front();
        }
    }

    /// Writes after a position, at most `count`; `None` if they are no longer known.
    pub fn after(&self, seq: u64, count: usize) -> Option<Vec<Write>> {
        if seq > self.seq {
            return None;
        }
        let first = self.writes.front().map_or(self.seq + 1, |write| write.seq);
        if seq + 1 < first {
            return None;
        }
        let skip = usize::try_from(seq + 1 - first).ok()?;
        Some(self.writes.iter().skip(skip).take(count).cloned().collect())
    }

    /// In which history a position was written.
    pub fn history_at(&self, seq: u64) -> Option<&str> {
        let first = self.writes.front()?.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.writes.get(index).map(|write| write.history.as_str())
    }

    /// Keys of a range of slots.
    pub fn keys_of(&self, (low, high): Range) -> Vec<String> {
        let is_inside = |key: &&String| (low..=high).contains(&slot_of(key));
        self.keys.keys().filter(is_inside).cloned().collect()
    }

    /// Deletes the keys of a range; each deletion is a write.
    pub fn clear(&mut self, history: &str, range: Range) {
        for key in self.keys_of(range) {
            self.put(history, &key, None);
        }
    }
}
