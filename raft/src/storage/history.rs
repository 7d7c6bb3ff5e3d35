//! What the last entries led to, kept in memory for watchers that come late or fall behind.
//!
//! Every replica keeps its own history, of what it has applied since its last snapshot: it is not
//! part of the replicated state, so what a newer program has to tell never makes it differ from
//! an older one. Watchers take from it at their own pace; whoever is too slow finds that what
//! comes next is no longer kept, and nobody who writes ever waits for a watcher.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most events that are kept unless somebody says otherwise.
pub(crate) const EVENTS_KEPT: usize = 65_536;

/// Events of consecutive entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage<E> {
    /// With the index of their entry, in the order in which they happened; all events of an entry
    /// or none.
    pub events: Vec<(u64, E)>,
    /// Everything below this index that was asked for is here; the next question begins with it.
    pub next: u64,
}

/// The events that were asked for are no longer kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("events before entry {oldest} are no longer kept here")]
pub struct Compacted {
    /// The first entry whose events are kept.
    pub oldest: u64,
}

/// The history of one replica.
pub(crate) struct History<E> {
    inner: Mutex<Inner<E>>,
}

struct Inner<E> {
    /// The first entry whose events are kept, if it has any.
    oldest: u64,
    /// The entry after the last one that was applied.
    next: u64,
    kept_max: usize,
    events: VecDeque<(u64, E)>,
}

impl<E: Clone> History<E> {
    /// The history of a replica that has applied everything up to `applied`.
    pub(crate) fn new(applied: u64) -> Self {
        let next = applied + 1;
        let inner = Inner { oldest: next, next, kept_max: EVENTS_KEPT, events: VecDeque::new() };
        Self { inner: Mutex::new(inner) }
    }

    /// Keeps at most `kept_max` events from here on.
    pub(crate) fn keep(&self, kept_max: usize) {
        let mut inner = self.lock();
        inner.kept_max = kept_max;
        inner.trim();
    }

    /// Everything up to `applied` was applied, and led to `events`.
    pub(crate) fn extend(&self, applied: u64, events: impl IntoIterator<Item = (u64, E)>) {
        let mut inner = self.lock();
        inner.events.extend(events);
        inner.next = applied + 1;
        inner.trim();
    }

    /// The state was replaced by one as of `applied`: what led there is not known here.
    pub(crate) fn reset(&self, applied: u64) {
        let mut inner = self.lock();
        inner.events.clear();
        inner.next = applied + 1;
        inner.oldest = inner.next;
    }

    /// The first entry whose events are kept, and the entry after the last applied one.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.oldest, inner.next)
    }

    /// Events from the entry `from` on, about `limit` of them: an entry's events stay together.
    /// Empty if that entry has not been applied yet.
    pub(crate) fn page(&self, from: u64, limit: usize) -> Result<EventPage<E>, Compacted> {
        let inner = self.lock();
        if from < inner.oldest {
            return Err(Compacted { oldest: inner.oldest });
        }
        let begin = inner.events.partition_point(|(index, _)| *index < from);
        let mut events: Vec<(u64, E)> = Vec::new();
        for (index, event) in inner.events.range(begin..) {
            let last = events.last().map(|(index, _)| *index);
            if events.len() >= limit && last != Some(*index) {
                return Ok(EventPage { events, next: *index });
            }
            events.push((*index, event.clone()));
        }
        Ok(EventPage { events, next: inner.next.max(from) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner<E>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Inner<E> {
    /// An entry whose events are not all kept has none.
    fn trim(&mut self) {
        while self.events.len() > self.kept_max {
            let Some((gone, _)) = self.events.pop_front() else { return };
            self.oldest = gone + 1;
            while self.events.front().is_some_and(|(index, _)| *index == gone) {
                self.events.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(kept_max: usize) -> History<&'static str> {
        let history = History::new(4);
        history.keep(kept_max);
        history.extend(6, [(5, "a"), (5, "b"), (6, "c")]);
        // Entries without events are part of the history, too.
        history.extend(9, [(8, "d")]);
        history
    }

    fn check(
        history: &History<&'static str>,
        from: u64,
        limit: usize,
        expected: Result<(&str, u64), u64>,
    ) {
        let page = history.page(from, limit);
        let found = page.map(|page| {
            let texts: String = page.events.iter().map(|(_, text)| *text).collect();
            (texts, page.next)
        });
        let expected = expected
            .map(|(texts, next)| (texts.to_owned(), next))
            .map_err(|oldest| Compacted { oldest });
        assert_eq!(found, expected, "from {from}, {limit}");
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let history = filled(10);
        check(&history, 5, 10, Ok(("abcd", 10)));
        check(&history, 5, 1, Ok(("ab", 6)));
        check(&history, 6, 1, Ok(("c", 8)));
        check(&history, 7, 10, Ok(("d", 10)));
        check(&history, 9, 10, Ok(("", 10)));
        check(&history, 10, 10, Ok(("", 10)));
        check(&history, 12, 10, Ok(("", 12)));
    }

    #[test]
    fn what_is_no_longer_kept_is_told() {
        let history = filled(10);
        check(&history, 4, 10, Err(5));
        history.keep(3);
        check(&history, 5, 10, Err(6));
        check(&history, 6, 10, Ok(("cd", 10)));
        history.keep(0);
        check(&history, 8, 10, Err(9));
        check(&history, 9, 10, Ok(("", 10)));
    }

    #[test]
    fn a_replaced_state_has_no_history() {
        let history = filled(10);
        history.reset(20);
        check(&history, 10, 10, Err(21));
        check(&history, 21, 10, Ok(("", 21)));
        assert_eq!(history.bounds(), (21, 21));
    }
}
