//! Who finds which node dead, and when that is enough to act.

use std::sync::Arc;

use super::{Rejection, Reply, State, command::DownNode, model::Observer, settings::Settings};
use crate::domain::Context;

/// Most dead nodes in one report.
pub(super) const DOWN_MAX: usize = 20_000;
/// Most observers; far more than replicas can be.
pub(super) const OBSERVERS_MAX: usize = 64;
/// Longest error text kept of a report, bytes.
const ERROR_BYTES_MAX: usize = 256;

/// What the observers say of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Observers that see the network and find the node dead.
    pub down: u64,
    /// Observers that see the network.
    pub sighted: u64,
}

impl Verdict {
    /// Whether a majority of those that see the network finds the node dead.
    #[must_use]
    pub const fn is_dead(self) -> bool {
        self.down * 2 > self.sighted
    }
}

/// Whether an observer's report counts: it is fresh, and it does not miss so many nodes that its
/// own network is the likelier fault (safe mode, spec 4.2).
#[must_use]
pub fn is_sighted(observer: &Observer, settings: &Settings, now_ms: u64) -> bool {
    if !is_fresh(observer, settings, now_ms) || observer.probed == 0 {
        return false;
    }
    if observer.failed >= observer.probed {
        return false;
    }
    let is_large = observer.probed > settings.min_alive_size;
    let share_max = observer.probed.saturating_mul(settings.failure_share_max_percent);
    !is_large || observer.failed.saturating_mul(100) <= share_max
}

/// Whether an observer's report is young enough to count.
#[must_use]
pub fn is_fresh(observer: &Observer, settings: &Settings, now_ms: u64) -> bool {
    let ttl_ms = settings.ping_interval_ms.saturating_mul(settings.observer_ttl_intervals);
    observer.time_ms.saturating_add(ttl_ms) >= now_ms
}

/// What the observers say of a node at `now_ms`.
#[must_use]
pub fn verdict(state: &State, node_id: &str, now_ms: u64) -> Verdict {
    let mut verdict = Verdict::default();
    for observer in state.observers.values() {
        if is_sighted(observer, &state.settings, now_ms) {
            verdict.sighted += 1;
            verdict.down += u64::from(observer.down.contains_key(node_id));
        }
    }
    verdict
}

impl State {
    pub(super) fn report_health(
        &mut self,
        context: &Context<'_>,
        observer: u64,
        (probed, failed): (u64, u64),
        down: Vec<DownNode>,
    ) -> Result<Reply, Rejection> {
        if down.len() > DOWN_MAX {
            return Err(Rejection::TooMany { what: "dead nodes".to_owned(), max: DOWN_MAX as u64 });
        }
        let known = down.into_iter().filter(|node| self.node_ids.contains_key(&node.node_id));
        let down = known
            .map(|mut node| {
                cut(&mut node.error, ERROR_BYTES_MAX);
                (node.node_id.clone(), node)
            })
            .collect();
        let report = Observer { time_ms: context.time_ms, probed, failed, down };
        self.observers.insert(observer, Arc::new(report));
        if self.observers.len() > OBSERVERS_MAX {
            let stalest = self.observers.iter().min_by_key(|(_, seen)| seen.time_ms);
            let stalest = stalest.map(|(id, _)| *id);
            stalest.map(|id| self.observers.remove(&id));
        }
        Ok(Reply::Done)
    }

    pub(super) fn forget_observer(&mut self, observer: u64) -> Reply {
        self.observers.remove(&observer);
        Reply::Done
    }
}

/// Shortens a text to at most `bytes_max`, at a character boundary.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
