//! Route 14: scale a cluster to a number of nodes in one call (spec 4.6).
//!
//! The first entry adds the nodes and takes the scale lease; then this replica waits until the
//! cluster's proxies know the new metadata; a last entry moves the slots and gives the lease back.
//! While it waits it renews the lease. If it fails, or the client goes away, it gives the lease
//! back; if it dies, the lease expires. Nothing resumes the operation: repeating the call is clean.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, http::Response};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Dialect, Family,
    error::Failure,
    handle::{empty, mark, propose},
    recover::gather,
};
use crate::{
    api::{Visit, identity},
    broker::{Actor, Broker, Call},
    client::proxy::ProxyClient,
    domain::{
        self,
        undermoon::{Action, Command, Profile, Rejection, Reply},
    },
};

/// How the proxies are waited for.
const PACE: Pace = Pace {
    round_pause: Duration::from_secs(1),
    failed_rounds_max: 31,
    timeout: Duration::from_secs(120),
};
/// How long the lease outlives its last renewal.
const LEASE: Duration = Duration::from_secs(10);
/// Between two renewals.
const RENEW_PAUSE: Duration = Duration::from_secs(3);

/// Bounds of the wait.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Before each round of asking the proxies.
    round_pause: Duration,
    /// Rounds in which some proxy does not answer before the operation gives up.
    failed_rounds_max: u32,
    /// Longest wait for proxies that answer but lag.
    timeout: Duration,
}

/// Scales `name` to `node_number` nodes; answers an empty body.
pub(super) async fn auto_scale(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
    name: String,
    node_number: u64,
) -> Result<Response<Body>, Failure> {
    let broker = &family.edge.broker;
    let id = visit.call.request_id.unwrap_or_else(|| broker.new_request_id());
    let (run, lease_ms) = (id.0, lease_ms());
    let start = Action::AutoScale { name: name.clone(), node_number, run, lease_ms };
    let (reply, done) = propose(family, &visit.call, dialect, start).await?;
    let Reply::ScaleStarted { proxies, epoch } = reply else {
        let mut response = empty(dialect);
        mark(family, &mut response, &done);
        return Ok(response);
    };
    let lease = Lease { broker: broker.clone(), actor: visit.call.actor.clone(), run: Some(run) };
    let synced = tokio::select! {
        synced = wait_for_epoch(&family.proxies, &proxies, epoch, PACE) => synced,
        lost = renew(family, visit, dialect, run) => match lost { Err(failure) => Err(failure) },
    };
    let call = Call {
        request_id: Some(identity::derived(id, "expand")),
        deadline: Instant::now() + family.edge.settings.request_timeout,
        ..visit.call.clone()
    };
    let expand = Action::AutoExpand { name, node_number, run };
    let expanded = match synced {
        Ok(()) => propose(family, &call, dialect, expand).await,
        Err(failure) => Err(failure),
    };
    match expanded {
        Ok((_, done)) => {
            lease.forget();
            let mut response = empty(dialect);
            mark(family, &mut response, &done);
            Ok(response)
        }
        Err(failure) => {
            lease.give_back().await;
            Err(failure)
        }
    }
}

/// Waits until every proxy knows `epoch`. Rounds in which some only lag are bounded by time alone.
async fn wait_for_epoch(
    proxies: &Arc<dyn ProxyClient>,
    addresses: &[String],
    epoch: u64,
    pace: Pace,
) -> Result<(), Failure> {
    let deadline = Instant::now() + pace.timeout;
    let mut failed_rounds = 0;
    while Instant::now() < deadline {
        sleep(pace.round_pause).await;
        let gathered = gather(proxies, addresses.to_vec(), deadline).await;
        if !gathered.failed.is_empty() {
            failed_rounds += 1;
            if failed_rounds >= pace.failed_rounds_max {
                break;
            }
        } else if gathered.lowest.is_none_or(|lowest| lowest >= epoch) {
            return Ok(());
        }
    }
    Err(Failure::ProxyNotSync)
}

/// Keeps the lease; returns only when it is lost. A renewal that fails otherwise is repeated: the
/// last step tells whether the lease was still there.
async fn renew(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
    run: [u8; 16],
) -> Result<Infallible, Failure> {
    loop {
        sleep(RENEW_PAUSE).await;
        let deadline = Instant::now() + RENEW_PAUSE;
        let call = Call { request_id: None, deadline, ..visit.call.clone() };
        let action = Action::RenewScaleLease { run, lease_ms: lease_ms() };
        let renewed = timeout_at(deadline, propose(family, &call, dialect, action)).await;
        if let Ok(Err(Failure::Rejected(why @ Rejection::NodeNumberChanging, operation))) = renewed
        {
            return Err(Failure::Rejected(why, operation));
        }
    }
}

fn lease_ms() -> u64 {
    u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX)
}

/// Gives the scale lease back when dropped, unless it is known to be gone.
struct Lease {
    broker: Broker,
    actor: Actor,
    run: Option<[u8; 16]>,
}

impl Lease {
    /// The last step has given the lease back.
    fn forget(mut self) {
        self.run = None;
    }

    /// Gives the lease back before the caller hears of the failure, so that it can start over.
    async fn give_back(mut self) {
        if let Some(run) = self.run.take() {
            release(self.broker.clone(), self.actor.clone(), run).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (Some(run), Ok(runtime)) = (self.run, tokio::runtime::Handle::try_current()) {
            let actor = self.actor.clone();
            runtime.spawn(release(self.broker.clone(), actor, run));
        }
    }
}

async fn release(broker: Broker, actor: Actor, run: [u8; 16]) {
    let call = Call { request_id: None, actor, deadline: Instant::now() + RENEW_PAUSE };
    let command = domain::Command::Undermoon(Command {
        profile: Profile::Program,
        action: Action::ReleaseScaleLease { run },
    });
    if let Err(error) = broker.propose(&call, command).await {
        tracing::warn!(%error, "scale lease not given back, it will expire");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::proxy::fake::{Behaviour, FakeProxies};

    const QUICK: Pace = Pace {
        round_pause: Duration::from_millis(1),
        failed_rounds_max: 31,
        timeout: Duration::from_millis(300),
    };

    async fn wait(fakes: FakeProxies, addresses: &[&str], epoch: u64) -> bool {
        let proxies: Arc<dyn ProxyClient> = Arc::new(fakes);
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        wait_for_epoch(&proxies, &addresses, epoch, QUICK).await.is_ok()
    }

    /// Refuses `rounds` times, then knows epoch 9.
    fn late(rounds: usize) -> Vec<Behaviour> {
        let mut script = vec![Behaviour::Refuses; rounds];
        script.push(Behaviour::Epoch(9));
        script
    }

    #[tokio::test]
    async fn proxies_that_know_the_epoch_end_the_wait() {
        let fakes = FakeProxies::default()
            .with("a:1", &[Behaviour::Epoch(9)])
            .with("b:1", &[Behaviour::Epoch(12)]);
        assert!(wait(fakes, &["a:1", "b:1"], 9).await);
        assert!(wait(FakeProxies::default(), &[], 9).await, "a cluster without proxies is in step");
    }

    #[tokio::test]
    async fn proxies_that_lag_are_waited_for_until_the_time_is_up() {
        let lagging = [Behaviour::Epoch(1), Behaviour::Epoch(8), Behaviour::Epoch(9)];
        let fakes =
            FakeProxies::default().with("a:1", &lagging).with("b:1", &[Behaviour::Epoch(9)]);
        assert!(wait(fakes, &["a:1", "b:1"], 9).await);
        let stuck = FakeProxies::default().with("a:1", &[Behaviour::Epoch(8)]);
        let began = Instant::now();
        assert!(!wait(stuck, &["a:1"], 9).await);
        assert!(began.elapsed() >= QUICK.timeout);
    }

    #[tokio::test]
    async fn the_31st_round_with_an_unreachable_proxy_is_the_last() {
        assert!(wait(FakeProxies::default().with("a:1", &late(30)), &["a:1"], 9).await);
        assert!(!wait(FakeProxies::default().with("a:1", &late(31)), &["a:1"], 9).await);
    }
}
