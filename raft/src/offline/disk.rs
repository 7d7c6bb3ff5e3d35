//! The disk of a replica that does not run.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::Position;
use crate::{
    Digest, Machine, Published, RawEntry, ReplicaId, StartError,
    config::WindowLimits,
    replicated::Replicated,
    storage::{
        identity::{DISK_FORMAT, IDENTITY_FILE, Identity, hex},
        lock::DirLock,
        log::check::{Found, refuse},
        snapshot::{Kept, SNAP_DIR},
        state_digest,
    },
    types::{Entry, LogId},
};

/// A data directory, open for reading while no replica runs on it.
pub struct OfflineDisk {
    pub(super) data_dir: PathBuf,
    pub(super) identity: Identity,
    pub(super) found: Found,
    pub(super) kept: Kept,
    /// A copy has no lock file, and nobody to be kept away.
    _lock: Option<DirLock>,
}

/// What the bookkeeping of a disk says.
#[derive(Clone, Debug, Serialize)]
pub struct DiskFacts {
    /// The cluster it belongs to.
    pub cluster_id: String,
    /// The replica it belongs to.
    pub replica_id: ReplicaId,
    /// Random bits that name the disk, hexadecimal.
    pub incarnation: String,
    /// Version of everything on it.
    pub format: u16,
    /// Term of the last vote, and for whom.
    pub vote: Option<(u64, ReplicaId)>,
    /// The last position that is no longer in the log.
    pub purged: Option<Position>,
    /// How far entries were known to be committed; may lag behind what was.
    pub committed: Option<Position>,
    /// Everything below this index is known to have been flushed.
    pub flushed_end: u64,
    /// The snapshots, newest first.
    pub snapshots: Vec<SnapshotFacts>,
}

/// What the bookkeeping says of a snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotFacts {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The last entry it covers.
    pub last: Option<Position>,
}

impl std::fmt::Debug for OfflineDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfflineDisk").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl OfflineDisk {
    /// Opens a data directory for reading.
    ///
    /// # Errors
    /// [`StartError`]: a replica runs on it, it is none, or it cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, StartError> {
        if !data_dir.is_dir() {
            return Err(no_disk(data_dir, "there is no such directory"));
        }
        let lock = DirLock::take_existing(data_dir)?;
        let Some(identity) = Identity::read(data_dir)? else {
            return Err(no_disk(data_dir, &format!("it has no file `{IDENTITY_FILE}`")));
        };
        let place = data_dir.display().to_string();
        let found = Found::open_read_only(data_dir, &identity)?;
        let kept =
            Kept::decode(found.snapshot.as_deref()).map_err(|error| refuse(&place, error))?;
        Ok(Self { data_dir: data_dir.to_owned(), identity, found, kept, _lock: lock })
    }

    /// What the bookkeeping says.
    #[must_use]
    pub fn facts(&self) -> DiskFacts {
        let snap_dir = self.data_dir.join(SNAP_DIR);
        let snapshots = self.kept.records().map(|record| SnapshotFacts {
            path: snap_dir.join(&record.name),
            bytes: record.bytes,
            sha256: hex(&record.digest),
            last: record.position().as_ref().map(Position::of),
        });
        DiskFacts {
            cluster_id: self.identity.cluster_id(),
            replica_id: self.identity.replica_id,
            incarnation: hex(&self.identity.incarnation),
            format: DISK_FORMAT,
            vote: self.found.vote.map(|vote| (vote.leader_id.term, vote.leader_id.node_id)),
            purged: self.found.purged.as_ref().map(Position::of),
            committed: self.found.committed.as_ref().map(Position::of),
            flushed_end: self.found.mark.record().flushed_end,
            snapshots: snapshots.collect(),
        }
    }

    /// Hands over the entries of `[from, to)` that the log has, until told to stop.
    ///
    /// # Errors
    /// What `take` returns; `InvalidData` if an entry is damaged or one is missing between two.
    pub fn entries(
        &self,
        from: u64,
        to: u64,
        mut take: impl FnMut(RawEntry) -> io::Result<bool>,
    ) -> io::Result<()> {
        let first = self.found.purged.as_ref().map_or(0, |purged| purged.index() + 1);
        self.found.db.scan(from.max(first), to, |entry, _| take(RawEntry::of(&entry)?))
    }

    /// The state as of an index, or as of the last entry: the best snapshot below it with the
    /// entries after it, committed or not. `initial` is the state before the first entry.
    ///
    /// # Errors
    /// [`StartError::Damaged`] if the snapshots and the log do not lead there.
    pub fn state_at<M: Machine>(
        &self,
        initial: M,
        index: Option<u64>,
    ) -> Result<Published<M>, StartError> {
        let place = self.data_dir.display().to_string();
        let fail = |error: io::Error| refuse(&place, error);
        let is_wanted = |position: Option<LogId>| {
            position.is_some_and(|p| index.is_none_or(|index| p.index() <= index))
        };
        let begin = if is_wanted(self.kept.newest_position()) {
            self.kept.load::<M>(&self.data_dir).map_err(fail)?
        } else if is_wanted(self.kept.older_position()) {
            self.kept.load_older::<M>(&self.data_dir).map_err(fail)?
        } else {
            None
        };
        if let (None, Some(purged), Some(index)) = (&begin, &self.found.purged, index) {
            return Err(refuse(
                &place,
                format!(
                    "entry {index} cannot be reached: the log begins after entry {}, and no \
                     snapshot reaches back further",
                    purged.index()
                ),
            ));
        }
        let mut state = begin.unwrap_or_else(|| first_state(initial));
        self.replay(
            &mut state,
            index.map_or(u64::MAX, |index| index.saturating_add(1)),
            |_| Ok(()),
        )
        .map_err(fail)?;
        match index {
            Some(index) if state.index() != index => Err(refuse(
                &place,
                format!(
                    "entry {index} cannot be reached: the snapshots and the log lead to entry {}",
                    state.index()
                ),
            )),
            _ => Ok(state),
        }
    }

    /// Fingerprint of the state as of an index: what every replica has, or had, there.
    ///
    /// # Errors
    /// As [`OfflineDisk::state_at`].
    pub fn digest_at<M: Machine>(&self, initial: M, index: u64) -> Result<Digest, StartError> {
        let state = self.state_at(initial, Some(index))?;
        let place = self.data_dir.display().to_string();
        let digest = state_digest(&state).map_err(|error| refuse(&place, error))?;
        Ok(Digest { index, log_chain: hex(&state.log_chain()), state: hex(&digest) })
    }

    /// Applies the entries after a state, up to and without `end`.
    pub(super) fn replay<M: Machine>(
        &self,
        state: &mut Replicated<M>,
        end: u64,
        mut after: impl FnMut(&Replicated<M>) -> io::Result<()>,
    ) -> io::Result<()> {
        let from = state.applied().map_or(0, |applied| applied.index() + 1);
        self.found.db.scan(from, end, |entry: Entry, _| {
            state.apply_entry(&entry, &mut Vec::new()).map_err(io::Error::other)?;
            after(state)?;
            Ok(true)
        })
    }
}

/// The state before the first entry.
pub(super) fn first_state<M: Machine>(initial: M) -> Replicated<M> {
    Replicated::new(initial, WindowLimits::default())
}

fn no_disk(data_dir: &Path, why: &str) -> StartError {
    StartError::Damaged(format!(
        "{} is not the data directory of a replica: {why}; name the directory that `data_dir` of \
         its configuration names",
        data_dir.display()
    ))
}
