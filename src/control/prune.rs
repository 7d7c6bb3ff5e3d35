//! Drops failure reports that expired a while ago (undermoon spec 9, row 2).
//!
//! Reports are pruned whenever a coordinator lists failures. Where none does, as with
//! `disable_failover`, a proxy that was reported once would never be free again; this loop keeps
//! that from happening. It leaves coordinators a head start, so that what they see of a report
//! that has just expired is what the original broker shows.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    broker::{Actor, Broker, Call},
    domain::{
        self,
        undermoon::{Action, Command, Profile, query},
    },
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a report stays after it expired, unless somebody lists failures.
const HEAD_START_MS: u64 = 10_000;
/// Time for the command.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Runs for ever.
pub(super) async fn run(broker: Broker) {
    let leadership = broker.watch_leadership();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_leader_here = leadership.borrow().is_leader_here;
        if is_leader_here && is_due(&broker) {
            prune(&broker).await;
        }
    }
}

fn is_due(broker: &Broker) -> bool {
    let expired_before_ms = broker.now_ms().saturating_sub(HEAD_START_MS);
    broker.is_founded()
        && query::has_expired_failures(&broker.latest().undermoon, expired_before_ms)
}

async fn prune(broker: &Broker) {
    let call =
        Call { request_id: None, actor: Actor::Own("prune"), deadline: Instant::now() + TIMEOUT };
    let command = Command { profile: Profile::Program, action: Action::PruneFailures };
    if let Err(error) = broker.propose(&call, domain::Command::Undermoon(command)).await {
        // The next look finds them again.
        tracing::debug!(%error, "expired failure reports stay for now");
    }
}
