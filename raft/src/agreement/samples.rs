//! States as of chosen indexes, kept until somebody asks for their digest.
//!
//! Taking one is an O(1) clone on the path on which entries are applied; nothing is digested
//! there. Replicas that apply thousands of entries a second are never at the same index when they
//! are asked, so every one keeps the state at each multiple of [`EVERY`]; and the state at the
//! index that was asked for last, which is how quiet replicas are compared.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::StateDigest;
use crate::{Machine, replicated::Replicated};

/// Every replica keeps its state at the multiples of this. The same on all of them.
const EVERY: u64 = 1024;
/// States that are kept. A replica further behind or ahead is asked about a later index.
const STATES_MAX: usize = 4;
/// Digests that are kept.
const DIGESTS_MAX: usize = 16;

/// The states that are kept, and the digests of some.
pub(crate) struct Samples<M> {
    wanted: AtomicU64,
    kept: Mutex<Kept<M>>,
}

struct Kept<M> {
    /// In ascending order of index.
    states: VecDeque<Replicated<M>>,
    digests: VecDeque<(u64, StateDigest)>,
    /// Grows when the state is replaced: digests of before are of another state.
    generation: u64,
}

impl<M: Machine> Samples<M> {
    /// Nothing is kept yet.
    pub(crate) fn new() -> Self {
        let kept = Kept { states: VecDeque::new(), digests: VecDeque::new(), generation: 0 };
        Self { wanted: AtomicU64::new(0), kept: Mutex::new(kept) }
    }

    /// Keeps the state after an entry, if it is one of those that are compared.
    pub(crate) fn offer(&self, state: &Replicated<M>) {
        let index = state.index();
        if index.is_multiple_of(EVERY) || index == self.wanted.load(Ordering::Acquire) {
            let mut kept = self.kept();
            kept.states.push_back(state.clone());
            if kept.states.len() > STATES_MAX {
                kept.states.pop_front();
            }
        }
    }

    /// Has the state at an index kept that is still to come.
    pub(crate) fn want(&self, index: u64) {
        self.wanted.store(index, Ordering::Release);
    }

    /// Forgets everything: the state was replaced.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept();
        kept.states.clear();
        kept.digests.clear();
        kept.generation += 1;
    }

    /// The state at an index, if it is kept, and the generation it belongs to.
    pub(crate) fn state(&self, index: u64) -> (u64, Option<Replicated<M>>) {
        let kept = self.kept();
        (kept.generation, kept.states.iter().find(|state| state.index() == index).cloned())
    }

    /// The newest multiple that is kept.
    pub(crate) fn newest_multiple(&self) -> Option<u64> {
        let kept = self.kept();
        let indexes = kept.states.iter().map(Replicated::index);
        indexes.filter(|index| index.is_multiple_of(EVERY)).max()
    }

    /// The digest at an index, if it is known.
    pub(crate) fn digest(&self, index: u64) -> Option<StateDigest> {
        let kept = self.kept();
        kept.digests.iter().find(|(at, _)| *at == index).map(|(_, digest)| *digest)
    }

    /// Remembers a digest, unless the state was replaced since.
    pub(crate) fn remember(&self, generation: u64, index: u64, digest: StateDigest) {
        let mut kept = self.kept();
        if kept.generation == generation {
            kept.digests.push_back((index, digest));
            if kept.digests.len() > DIGESTS_MAX {
                kept.digests.pop_front();
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<M>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
