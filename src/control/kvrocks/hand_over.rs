//! A leader that does not see the nodes cannot work on them: it hands over to a replica that does.
//! It also forgets what replicas reported that are no more.

use std::time::Duration;

use tokio::time::Instant;

use super::desk::Desk;
use crate::domain::kvrocks::{Command, State, query};

/// Least time between two attempts to hand over.
const PAUSE: Duration = Duration::from_secs(30);
/// Time for one attempt.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Remembers the last attempt.
#[derive(Debug, Default)]
pub(super) struct Watch {
    tried: Option<Instant>,
}

impl Watch {
    /// Looks whether somebody else should lead, or an observer is to be forgotten.
    pub(super) async fn look(&mut self, desk: &Desk) {
        let status = desk.broker.status();
        let members: Vec<u64> = status.peers.iter().map(|peer| peer.id).collect();
        let (better, stranger) = {
            let view = desk.broker.latest();
            let better = better_sighted(&view.kvrocks, status.replica_id, desk.now_ms());
            let mut known = query::observers(&view.kvrocks).map(|(id, _)| id);
            (better, known.find(|id| !members.contains(id)))
        };
        if let Some(observer) = stranger
            && let Err(error) = desk.propose(Command::ForgetObserver { observer }).await
        {
            tracing::debug!(%error, "an observer that is no more is still remembered");
        }
        let is_due = self.tried.is_none_or(|tried| tried.elapsed() >= PAUSE);
        let Some(to) = better.filter(|to| is_due && members.contains(to)) else { return };
        self.tried = Some(Instant::now());
        tracing::warn!(to, "this leader does not see the nodes and hands over to one that does");
        if let Err(error) = desk.broker.transfer_leadership(Some(to), TIMEOUT).await {
            tracing::warn!(to, %error, "not handed over");
        }
    }
}

/// A replica that sees the nodes, if this one, by its own fresh report, does not.
fn better_sighted(state: &State, own: u64, now_ms: u64) -> Option<u64> {
    let settings = query::settings(state);
    let mut observers = query::observers(state);
    let is_blind = observers.any(|(id, observer)| {
        let is_fresh = query::is_fresh(observer, settings, now_ms);
        id == own
            && is_fresh
            && observer.probed > 0
            && !query::is_sighted(observer, settings, now_ms)
    });
    let sighted = query::observers(state)
        .find(|(id, observer)| *id != own && query::is_sighted(observer, settings, now_ms));
    sighted.map(|(id, _)| id).filter(|_| is_blind)
}
