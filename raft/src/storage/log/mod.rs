//! The log: entries, vote and bookkeeping in RocksDB, written by one thread, read from memory.
//!
//! An entry is readable from the moment `LogStore::append` returns and acknowledged only after
//! the fsync. Votes, truncations and entries pass through one queue, so what lies on the disk is
//! always a prefix of what was asked for. After the first error nothing is written any more.
//!
//! Begin reading at [`LogStore`], then [`writer`] (how writes share an fsync), then [`tail`].

pub(crate) mod check;
pub(crate) mod format;
pub(crate) mod mark;
pub(crate) mod sink;
mod store;
pub(crate) mod tail;
pub(crate) mod writer;

#[cfg(test)]
mod store_test;

pub use format::EntryKind;
pub(crate) use store::LogStore;
pub use store::RawEntry;

/// Meta: the last vote.
pub(crate) const META_VOTE: &str = "vote";
/// Meta: the last position that is no longer in the log.
pub(crate) const META_PURGED: &str = "purged";
/// Meta: how far entries were known to be committed.
pub(crate) const META_COMMITTED: &str = "committed";
/// Meta: the snapshots that are kept.
pub(crate) const META_SNAPSHOT: &str = "snapshot";
/// Meta: version of the layout, and the disk the database belongs to.
pub(crate) const META_FORMAT: &str = "format";
