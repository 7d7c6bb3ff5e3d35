//! What can be done with a replica's disk while no replica runs on it, and with archives of the
//! replicated state: read, check, and found a new cluster from.
//!
//! Reading changes nothing on a disk, not even a log file of the database. Founding writes a disk
//! that is new to every replica of the old cluster: its cluster, its incarnation, its term and its
//! log indexes are all beyond what the old cluster can have used.
//!
//! Begin reading at [`OfflineDisk`], then [`archive`](self::Archive), then [`found`](found_disk).

mod archive;
mod check;
mod disk;
mod found;
#[cfg(test)]
mod offline_test;
mod records;
mod swap;

use serde::{Deserialize, Serialize};

pub use archive::{Archive, ArchiveItem, ArchiveState, Recovered, scan_archive};
pub(crate) use archive::{ArchivePlan, Origin, write_archive};
pub use check::CheckReport;
pub use disk::{DiskFacts, OfflineDisk, SnapshotFacts};
pub use found::{Founded, Founding, INDEX_DISTANCE, Jump, TERM_DISTANCE, found_disk};
pub use records::{MemberFacts, RecordItem, SnapshotHead, describe_membership, scan_snapshot};
pub use swap::found_in_place;

use crate::{ReplicaId, storage::wire::term_and_node, types::LogId};

/// A position of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Index of the entry.
    pub index: u64,
    /// Term of the leader that appended it.
    pub term: u64,
    /// That leader.
    pub leader: ReplicaId,
}

impl Position {
    pub(crate) fn of(log_id: &LogId) -> Self {
        let (term, node) = term_and_node(log_id);
        Self { index: log_id.index(), term, leader: node }
    }
}
