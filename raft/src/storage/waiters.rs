//! Who waits for an entry to be applied here, each woken once.
//!
//! Telling everybody of every batch would have all proposers of a busy follower wake for each of
//! them, and most go back to sleep.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// Waiters by the index they wait for. Only for indexes that are committed: a waiter that gives up
/// stays until then.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_index: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
}

impl Waiters {
    /// Resolves once an index is published; `None` if it is already. `applied` is asked after
    /// whoever publishes is sure to find the waiter.
    pub(crate) fn enter(
        &self,
        index: u64,
        applied: impl FnOnce() -> u64,
    ) -> Option<oneshot::Receiver<()>> {
        let mut by_index = self.by_index.lock().unwrap_or_else(PoisonError::into_inner);
        if applied() >= index {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        by_index.entry(index).or_default().push(sender);
        Some(receiver)
    }

    /// Wakes everybody who waits for an index up to this one, which is published.
    pub(crate) fn publish(&self, index: u64) {
        let reached = {
            let mut by_index = self.by_index.lock().unwrap_or_else(PoisonError::into_inner);
            let later = match index.checked_add(1) {
                Some(next) => by_index.split_off(&next),
                None => BTreeMap::new(),
            };
            mem::replace(&mut *by_index, later)
        };
        for waiter in reached.into_values().flatten() {
            // Whoever has given up need not be told.
            let _ = waiter.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_are_woken_once_theirs_is_published_and_not_before() {
        let waiters = Waiters::default();
        assert!(waiters.enter(5, || 5).is_none(), "published already");
        let mut first = waiters.enter(6, || 5).expect("not yet");
        let mut second = waiters.enter(8, || 5).expect("not yet");
        drop(waiters.enter(7, || 5));
        waiters.publish(7);
        assert!(first.try_recv().is_ok());
        assert!(second.try_recv().is_err());
        waiters.publish(9);
        assert!(second.try_recv().is_ok());
        assert!(waiters.by_index.lock().expect("whole").is_empty(), "nothing stays");
    }
}
