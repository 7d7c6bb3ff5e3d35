//! Catches up with what was known to be committed when the replica stopped.
//!
//! A start reads and checks the whole log in any case. One thread does that; another reads the
//! newest snapshot meanwhile, and applies the committed entries behind it as they come. Nothing of
//! what it comes to is used before the whole log has been found good.

use std::{
    io,
    panic::resume_unwind,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{
    history::History,
    log::{
        check::{Found, refuse, refuse_io},
        tail::Tail,
    },
    snapshot::Kept,
};
use crate::{
    LevelUnknown, Machine, StartError, config::WindowLimits, replicated::Replicated, types::Entry,
};

/// Entries that are handed over at once.
const BATCH_ENTRIES: usize = 256;
/// Batches that wait to be applied; whoever reads waits then.
const BATCHES_MAX: usize = 64;

/// Where a replica goes on.
pub(crate) struct Resumed<M: Machine> {
    /// The newest snapshot with the committed entries behind it, or the state before the first
    /// entry.
    pub(crate) state: Replicated<M>,
    /// What those entries led to.
    pub(crate) history: History<M::Event>,
}

/// What a replica begins with.
pub(crate) struct Origin<'a, M> {
    /// Where its disk is.
    pub(crate) data_dir: &'a Path,
    /// The state before the first entry.
    pub(crate) initial: M,
    /// Highest feature level it applies.
    pub(crate) level_max: u64,
}

impl<M: Machine> Resumed<M> {
    /// Reads the newest snapshot that is kept.
    ///
    /// # Errors
    /// [`StartError::Damaged`], or [`StartError::Newer`] if it is above the feature level.
    pub(crate) fn from_snapshot(kept: &Kept, origin: Origin<'_, M>) -> Result<Self, StartError> {
        let Origin { data_dir, initial, level_max } = origin;
        let place = data_dir.display();
        let newer = |unknown: LevelUnknown| StartError::Newer(format!("{place}: {unknown}"));
        let state = kept.load::<M>(data_dir);
        let state = state.map_err(|error| refuse_io(&place.to_string(), error))?;
        let state = state.unwrap_or_else(|| Replicated::new(initial, WindowLimits::default()));
        let state = state.knowing(level_max).map_err(newer)?;
        Ok(Self { history: History::new(state.index()), state })
    }

    /// Checks a log, and applies what it says is committed to the newest snapshot; returns the end
    /// of the log as well.
    ///
    /// # Errors
    /// [`StartError::Damaged`]: the log, the snapshot or an entry is not what it must be. Whatever
    /// is wrong with the log comes first.
    pub(crate) fn from_log(
        found: &Found,
        origin: Origin<'_, M>,
    ) -> Result<(Tail, Self), StartError> {
        let place = origin.data_dir.display().to_string();
        let kept = Kept::decode(found.snapshot.as_deref()).map_err(|e| refuse(&place, e))?;
        thread::scope(|scope| {
            let (batches, queue) = sync_channel(BATCHES_MAX);
            let check = || check(found, &kept, batches);
            let checker = thread::Builder::new().name("log-check".to_owned());
            let checker = checker.spawn_scoped(scope, check).map_err(no_thread)?;
            // Takes the queue with it: if nothing can be applied, the check goes on by itself.
            let resumed = Self::from_snapshot(&kept, origin).and_then(|mut resumed| {
                resumed.apply(queue).map_err(|reason| StartError::Replay { place, reason })?;
                Ok(resumed)
            });
            let tail = checker.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            Ok((tail, resumed?))
        })
    }

    fn apply(&mut self, queue: Receiver<Vec<Entry>>) -> Result<(), String> {
        let mut of_entry = Vec::new();
        for batch in queue {
            let mut events = Vec::new();
            for entry in batch {
                let applied = self.state.apply_entry(&entry, &mut of_entry);
                applied.map_err(|error| error.to_string())?;
                let index = self.state.index();
                events.extend(of_entry.drain(..).map(|event| (index, event)));
            }
            self.history.extend(self.state.index(), events);
        }
        Ok(())
    }
}

/// Reads the whole log, and hands on what is committed and not in the snapshot.
fn check(found: &Found, kept: &Kept, batches: SyncSender<Vec<Entry>>) -> Result<Tail, StartError> {
    let snapshot = kept.newest_position();
    let begin = snapshot.as_ref().map_or(0, |snapshot| snapshot.index() + 1);
    let end = found.committed.as_ref().map_or(0, |committed| committed.index() + 1);
    let mut batch = Vec::with_capacity(BATCH_ENTRIES);
    let tail = found.verify_each(snapshot.as_ref(), |entry| {
        if (begin..end).contains(&entry.log_id.index()) {
            batch.push(entry.clone());
            if batch.len() == BATCH_ENTRIES {
                // Nobody takes it any more if something is wrong already.
                drop(
                    batches.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ENTRIES))),
                );
            }
        }
    });
    drop(batches.send(batch));
    tail
}

fn no_thread(source: io::Error) -> StartError {
    StartError::Io { doing: "starting a thread that checks the log failed".to_owned(), source }
}
