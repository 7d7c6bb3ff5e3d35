//! What a replica keeps on its disk, and the one place that touches it.
//!
//! ```text
//! <data>/identity   whose disk this is; written once, before anything else
//! <data>/LOCK       held for the life of the process
//! <data>/raft/      the log, the vote and their bookkeeping, in RocksDB
//! <data>/mark       the last index known to be flushed; a lower bound
//! <data>/snap/      complete snapshots
//! <data>/recv/      snapshots being received
//! <data>/standing   only of a replica that cannot be believed, or not yet; see `agreement`
//! ```
//!
//! It never acknowledges before the fsync, never retries a failed write, and never repairs what it
//! finds at start: a disk that lost something it had acknowledged is refused with a message.
//!
//! Begin reading at [`disk`] (what is opened, and the guards), then [`log`] (the log and its
//! writer), then [`machine_store`] (the replicated state and its snapshots).

pub(crate) mod disk;
pub(crate) mod fatal;
pub(crate) mod files;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod guards_test;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod machine_store;
mod replay;
#[cfg(test)]
mod replay_test;
pub(crate) mod snapshot;
#[cfg(test)]
mod suite_test;
mod waiters;
pub(crate) mod wire;

pub(crate) use disk::{Disk, Opened};
pub(crate) use fatal::Fatal;
pub(crate) use log::LogStore;
pub(crate) use machine_store::{Board, MachineStore};
pub(crate) use snapshot::{SnapshotFile, Snapshots, state_digest};
