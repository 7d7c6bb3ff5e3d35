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

/// Remembers since when this replica is blind, and the last attempt.
#[derive(Debug, Default)]
pub(super) struct Watch {
    blind_since_ms: Option<u64>,
    tried: Option<Instant>,
}

impl Watch {
    /// Looks whether somebody else should lead, or an observer is to be forgotten.
    pub(super) async fn look(&mut self, desk: &Desk) {
        let status = desk.broker.status();
        let members: Vec<u64> = status.peers.iter().map(|peer| peer.id).collect();
        let now_ms = desk.now_ms();
        let state = desk.broker.latest().kvrocks.clone();
        let mut known = query::observers(&state).map(|(id, _)| id);
        if let Some(observer) = known.find(|id| !members.contains(id))
            && let Err(error) = desk.propose(Command::ForgetObserver { observer }).await
        {
            tracing::debug!(%error, "an observer that is no more is still remembered");
        }
        let is_due = self.tried.is_none_or(|tried| tried.elapsed() >= PAUSE);
        let better = self.better_sighted(&state, status.replica_id, now_ms);
        let Some(to) = better.filter(|to| is_due && members.contains(to)) else { return };
        self.tried = Some(Instant::now());
        tracing::warn!(to, "this leader does not see the nodes and hands over to one that does");
        if let Err(error) = desk.broker.transfer_leadership(Some(to), TIMEOUT).await {
            tracing::warn!(to, %error, "not handed over");
        }
    }

    /// A replica that still sees the nodes a while after this one, by its own fresh report, went
    /// blind. When all nodes die at once the others only notice a little later.
    fn better_sighted(&mut self, state: &State, own: u64, now_ms: u64) -> Option<u64> {
        let settings = query::settings(state);
        let is_blind = query::observers(state).any(|(id, observer)| {
            let is_fresh = query::is_fresh(observer, settings, now_ms);
            let is_sighted = query::is_sighted(observer, settings, now_ms);
            id == own && is_fresh && observer.probed > 0 && !is_sighted
        });
        if !is_blind {
            self.blind_since_ms = None;
            return None;
        }
        let since_ms = *self.blind_since_ms.get_or_insert(now_ms);
        let noticed_ms = settings.ping_interval_ms.saturating_add(settings.node_timeout_ms);
        let sighted = query::observers(state).find(|(id, observer)| {
            let has_noticed = observer.time_ms >= since_ms.saturating_add(noticed_ms);
            *id != own && has_noticed && query::is_sighted(observer, settings, now_ms)
        });
        sighted.map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::kvrocks::fixture::{Fixture, id},
        domain::kvrocks::command::DownNode,
    };

    /// Replica `observer` reports at `time_ms` that it misses `failed` of four nodes.
    fn report(fixture: &mut Fixture, observer: u64, time_ms: u64, failed: u64) {
        fixture.time_ms = time_ms;
        let down = |number| DownNode { node_id: id(number), failures: 9, error: String::new() };
        let down = (1..=failed).map(down).collect();
        fixture.apply(Command::ReportHealth { observer, probed: 4, failed, down });
    }

    #[test]
    fn only_a_replica_that_sees_on_after_the_leader_went_blind_takes_over() {
        let mut fixture = Fixture::new();
        let mut watch = Watch::default();
        for observer in 1..=3 {
            report(&mut fixture, observer, 1_000_000, 0);
        }
        assert_eq!(watch.better_sighted(&fixture.state, 1, 1_000_000), None, "the leader sees");
        report(&mut fixture, 1, 1_003_000, 4);
        assert_eq!(watch.better_sighted(&fixture.state, 1, 1_003_000), None, "before it is sure");
        report(&mut fixture, 2, 1_004_000, 0);
        assert_eq!(watch.better_sighted(&fixture.state, 1, 1_004_000), None, "not noticed yet?");
        report(&mut fixture, 2, 1_010_000, 4);
        assert_eq!(watch.better_sighted(&fixture.state, 1, 1_010_000), None, "as blind");
        report(&mut fixture, 3, 1_011_000, 1);
        assert_eq!(watch.better_sighted(&fixture.state, 1, 1_011_000), Some(3));
        report(&mut fixture, 1, 1_012_000, 0);
        assert_eq!(watch.better_sighted(&fixture.state, 1, 1_012_000), None, "it sees again");
        assert_eq!(watch.blind_since_ms, None);
    }
}
