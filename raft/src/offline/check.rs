//! Whether a disk holds together: every entry, every snapshot, and one against the other.

use std::io;

use serde::Serialize;

use super::{OfflineDisk, Position, disk::first_state};
use crate::{
    Machine, StartError,
    replicated::Replicated,
    storage::{identity::hex, log::check::refuse, state_digest, wire::damaged},
    types::LogId,
};

/// What a disk was found to hold.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Entries in the log, all of which were read and whose checksums hold.
    pub entries: u64,
    /// The first of them.
    pub first_index: Option<u64>,
    /// The last position of the log, purged or not.
    pub last: Option<Position>,
    /// Snapshots that were read and are the ones that were written.
    pub snapshots: u64,
    /// Where the replay of the log began: 0, or the index of the oldest snapshot that the log
    /// continues.
    pub replayed_from: u64,
    /// Whether the replay passed the newest snapshot, and came to the very same state there.
    pub is_newest_snapshot_confirmed: bool,
    /// Index of the state the replay ended with.
    pub index: u64,
    /// Digest over every entry up to there and what it came to, hexadecimal.
    pub log_chain: String,
    /// Digest of that state, hexadecimal.
    pub state: String,
}

impl OfflineDisk {
    /// Reads everything: the chain and the checksums of the log, what the mark, the vote and the
    /// commit index demand of it, every snapshot; then applies the log from the oldest snapshot
    /// on and compares what it comes to with the newest one. `initial` is the state before the
    /// first entry. Blocks on the disk.
    ///
    /// # Errors
    /// [`StartError::Damaged`] with the first fault.
    pub fn check<M: Machine>(&self, initial: M) -> Result<CheckReport, StartError> {
        let place = self.data_dir.display().to_string();
        let fail = |error: io::Error| refuse(&place, error);
        let newest = self.kept.load::<M>(&self.data_dir).map_err(fail)?;
        let older = self.kept.load_older::<M>(&self.data_dir).map_err(fail)?;
        let snapshots = u64::from(newest.is_some()) + u64::from(older.is_some());
        let tail = self.found.verify(self.kept.newest_position().as_ref())?;
        let first = self.found.purged.as_ref().map_or(0, |purged| purged.index() + 1);
        let end = tail.last().map_or(0, |last| last.index() + 1);
        let mut state = self.begin(initial, older, newest.as_ref());
        let replayed_from = state.index();
        let wanted = newest.as_ref().and_then(|newest| newest.applied().copied());
        let mut is_confirmed = false;
        let compare = |present: &Replicated<M>| -> io::Result<()> {
            if let (Some(newest), true) = (&newest, is_at(present, wanted.as_ref())) {
                same(present, newest)?;
                is_confirmed = true;
            }
            Ok(())
        };
        self.replay(&mut state, u64::MAX, compare).map_err(fail)?;
        Ok(CheckReport {
            entries: end.saturating_sub(first),
            first_index: (end > first).then_some(first),
            last: tail.last().map(Position::of),
            snapshots,
            replayed_from,
            is_newest_snapshot_confirmed: is_confirmed,
            index: state.index(),
            log_chain: hex(&state.log_chain()),
            state: hex(&state_digest(&state).map_err(fail)?),
        })
    }

    /// The oldest state that the log continues.
    fn begin<M: Machine>(
        &self,
        initial: M,
        older: Option<Replicated<M>>,
        newest: Option<&Replicated<M>>,
    ) -> Replicated<M> {
        let Some(purged) = &self.found.purged else {
            return first_state(initial);
        };
        let continued = older.filter(|older| older.index() >= purged.index());
        // The log was checked against the newest snapshot, so one of the two is there.
        continued.or_else(|| newest.cloned()).unwrap_or_else(|| first_state(initial))
    }
}

fn is_at<M>(state: &Replicated<M>, position: Option<&LogId>) -> bool {
    position.is_some() && state.applied() == position
}

fn same<M: Machine>(replayed: &Replicated<M>, stored: &Replicated<M>) -> io::Result<()> {
    if replayed.log_chain() != stored.log_chain()
        || state_digest(replayed)? != state_digest(stored)?
    {
        return Err(damaged(format!(
            "the log applied up to entry {} comes to another state than the newest snapshot has",
            replayed.index()
        )));
    }
    Ok(())
}
