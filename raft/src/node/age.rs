//! How old the local state is, on the monotonic clock alone.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Messages whose commit index is not applied yet that are remembered; beyond it the newer ones
/// are forgotten, which only makes the state look older than it is.
const PENDING_MAX: usize = 64;

/// Bits of a moment that count milliseconds; those above tell processes apart.
const MOMENT_BITS: u32 = 44;

/// When this replica last knew itself current.
///
/// A message shows how far the log was committed when it was sent, or rather when a quorum last
/// confirmed its sender, and not when it is read: it may have lain in a buffer while this process
/// stood still, or come from a leader that nobody but this replica follows any more. Clocks of two
/// replicas cannot be compared. So every answer to the leader names a moment of this replica, the
/// leader hands the last one back, and no message counts as newer than the moment it carries.
#[derive(Debug)]
pub(crate) struct Contact {
    state: Mutex<State>,
    began: Instant,
    nonce: u64,
}

#[derive(Debug, Default)]
struct State {
    /// When something was heard, and how far the log was committed by then.
    pending: VecDeque<(Instant, u64)>,
    /// When the state was last known to be current.
    current: Option<Instant>,
}

impl Contact {
    /// Nothing heard yet. `salt` is another one in every process on the same disk.
    pub(crate) fn new(salt: u64) -> Self {
        Self { state: Mutex::default(), began: Instant::now(), nonce: salt << MOMENT_BITS }
    }

    /// The present moment, for the leader to hand back.
    pub(crate) fn moment(&self) -> u64 {
        self.nonce | u64::try_from(self.began.elapsed().as_millis()).unwrap_or_default()
    }

    /// When a message showed the truth that was sent after a moment, by somebody whom a quorum
    /// had confirmed some milliseconds before; `None` if that cannot be told, or was before this
    /// process began.
    pub(crate) fn shown_at(&self, moment: Option<u64>, confirmed_ms: u64) -> Option<Instant> {
        let since = moment?.checked_sub(self.nonce).filter(|since| since >> MOMENT_BITS == 0)?;
        let at = self.began.checked_add(Duration::from_millis(since))?;
        let shown = at.checked_sub(Duration::from_millis(confirmed_ms))?;
        (shown >= self.began).then_some(shown)
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
        let contact = Contact::new(0);
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
    fn a_message_is_as_old_as_the_moment_it_hands_back() {
        let contact = Contact::new(5);
        let moment = contact.moment();
        let at = contact.shown_at(Some(moment), 0).expect("its own moment");
        assert!(at <= Instant::now());
        assert!(at + Duration::from_secs(60) > Instant::now());
        let older = contact.shown_at(Some(moment), 20).or(Some(contact.began));
        assert!(older <= Some(at), "confirmed before it was sent");
        for (moment, confirmed_ms) in
            [(None, 0), (Some(moment), u64::MAX), (Some(Contact::new(6).moment()), 0), (Some(3), 0)]
        {
            assert_eq!(contact.shown_at(moment, confirmed_ms), None, "{moment:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let contact = Contact::new(0);
        for commit in 1..1000 {
            contact.heard(Instant::now(), commit, 0);
        }
        assert_eq!(contact.state.lock().expect("not poisoned").pending.len(), PENDING_MAX);
    }
}
