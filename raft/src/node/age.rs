//! How old the local state is, on the monotonic clock alone.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Messages whose commit index is not applied yet that are remembered; beyond it the newer ones
/// are forgotten, which only makes the state look older than it is.
const PENDING_MAX: usize = 64;

/// When this replica last knew itself current.
#[derive(Debug)]
pub(crate) struct Contact {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When something was heard, and how far the log was committed by then.
    pending: VecDeque<(Instant, u64)>,
    /// When the state was last known to be current.
    current: Option<Instant>,
}

impl Contact {
    /// Nothing heard yet.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default() }
    }

    /// At a moment, the leader had committed up to an index.
    pub(crate) fn heard(&self, at: Instant, committed: u64, applied: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(applied);
        if committed <= applied {
            state.current = state.current.max(Some(at));
        } else if state.pending.len() < PENDING_MAX {
            state.pending.push_back((at, committed));
        }
    }

    /// How old the state is that has applied up to an index; `None` if it was never current.
    pub(crate) fn age(&self, applied: u64) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(applied);
        state.current.map(|at| at.elapsed())
    }
}

impl State {
    fn advance(&mut self, applied: u64) {
        while let Some((at, _)) = self.pending.pop_front_if(|(_, committed)| *committed <= applied)
        {
            self.current = self.current.max(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_counts_from_the_last_message_that_was_caught_up_with() {
        let contact = Contact::new();
        assert_eq!(contact.age(9), None);
        let start = Instant::now();
        contact.heard(start, 10, 9);
        contact.heard(start + Duration::from_millis(1), 12, 9);
        assert_eq!(contact.age(9), None);
        assert!(contact.age(10).expect("caught up once") >= Duration::ZERO);
        let state = contact.state.lock().expect("not poisoned");
        assert_eq!(state.current, Some(start));
        assert_eq!(state.pending.len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let contact = Contact::new();
        for commit in 1..1000 {
            contact.heard(Instant::now(), commit, 0);
        }
        assert_eq!(contact.state.lock().expect("not poisoned").pending.len(), PENDING_MAX);
    }
}
