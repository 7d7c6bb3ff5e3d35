//! Route 31: after metadata was lost, proxies may hold higher epochs than the broker. Asks all of
//! them, then lifts the broker's epoch above what they hold.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::Response};
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    Dialect, Family,
    error::Failure,
    handle::{json, mark, propose},
    wire,
};
use crate::{
    api::{Visit, identity},
    broker::{Call, ReadMode},
    client::proxy::ProxyClient,
    domain::undermoon::{Action, query},
};

/// Most proxies asked at a time.
const PROXIES_ASKED_MAX: usize = 256;
/// Time for all proxies together; those not heard by then count as failed.
const GATHER_TIMEOUT: Duration = Duration::from_secs(20);

/// What the proxies said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gathered {
    /// Highest epoch; 0 if nobody answered.
    pub(super) highest: u64,
    /// Lowest epoch; `None` if nobody answered.
    pub(super) lowest: Option<u64>,
    /// Who did not answer, ascending.
    pub(super) failed: Vec<String>,
}

/// Asks all proxies for their epochs until `deadline`.
pub(super) async fn gather(
    proxies: &Arc<dyn ProxyClient>,
    addresses: Vec<String>,
    deadline: Instant,
) -> Gathered {
    let mut asked = stream::iter(addresses)
        .map(|address| {
            let proxies = Arc::clone(proxies);
            async move {
                let epoch = match timeout_at(deadline, proxies.epoch(&address)).await {
                    Ok(Ok(epoch)) => Some(epoch),
                    Ok(Err(error)) => {
                        tracing::debug!(address, %error, "proxy did not tell its epoch");
                        None
                    }
                    Err(_) => None,
                };
                (address, epoch)
            }
        })
        .buffer_unordered(PROXIES_ASKED_MAX);
    let mut gathered = Gathered::default();
    while let Some((address, epoch)) = asked.next().await {
        match epoch {
            Some(epoch) => {
                gathered.highest = gathered.highest.max(epoch);
                gathered.lowest = Some(gathered.lowest.map_or(epoch, |lowest| lowest.min(epoch)));
            }
            None => gathered.failed.push(address),
        }
    }
    gathered.failed.sort_unstable();
    gathered
}

/// Answers 200 even if no proxy answered; the entry carries only the highest epoch.
pub(super) async fn recover_epoch(
    family: &Family,
    visit: &Visit,
    dialect: Dialect,
) -> Result<Response<Body>, Failure> {
    let view = family.edge.broker.view(ReadMode::Linearizable, visit.call.deadline).await?;
    let addresses = query::proxy_addresses(&view.undermoon, 0, None);
    drop(view);
    let gathered = gather(&family.proxies, addresses, Instant::now() + GATHER_TIMEOUT).await;
    let deadline = Instant::now() + family.edge.settings.request_timeout;
    // What the proxies say differs from attempt to attempt, so a repeat is a wish of its own; it
    // raises the epoch once more, which is harmless.
    let step = format!("recover {}", gathered.highest);
    let request_id = visit.call.request_id.map(|id| identity::derived(id, &step));
    let call = Call { request_id, deadline, ..visit.call.clone() };
    let action = Action::RecoverEpoch { epoch_seen: gathered.highest };
    let (_, done) = propose(family, &call, dialect, action).await?;
    let mut response = json(&wire::RecoveryJson { failed_addresses: gathered.failed })?;
    mark(family, &mut response, &done);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::proxy::fake::{Behaviour, FakeProxies};

    #[tokio::test]
    async fn the_extremes_and_the_silent_are_told() {
        let fakes = FakeProxies::default()
            .with("b:1", &[Behaviour::Epoch(7)])
            .with("a:1", &[Behaviour::Epoch(90)])
            .with("s:1", &[Behaviour::Silent])
            .with("g:1", &[Behaviour::Garbage])
            .with("h:1", &[Behaviour::Hangs]);
        let proxies: Arc<dyn ProxyClient> = Arc::new(fakes);
        let addresses = ["s:1", "a:1", "b:1", "none:1", "g:1", "h:1"];
        let addresses = addresses.map(ToOwned::to_owned).to_vec();
        let gathered = gather(&proxies, addresses, Instant::now() + GATHER_TIMEOUT).await;
        assert_eq!((gathered.highest, gathered.lowest), (90, Some(7)));
        assert_eq!(gathered.failed, ["g:1", "h:1", "none:1", "s:1"]);
        let nobody = gather(&proxies, Vec::new(), Instant::now() + GATHER_TIMEOUT).await;
        assert_eq!(nobody, Gathered::default());
    }

    #[tokio::test]
    async fn the_whole_is_bounded_however_many_are_silent() {
        let mut fakes = FakeProxies::default();
        let addresses: Vec<_> = (0..10_000).map(|port| format!("s:{port}")).collect();
        for address in &addresses {
            fakes = fakes.with(address, &[Behaviour::Silent]);
        }
        let proxies: Arc<dyn ProxyClient> = Arc::new(fakes);
        let deadline = Instant::now() + Duration::from_millis(50);
        let gathered = gather(&proxies, addresses, deadline).await;
        assert_eq!(gathered.failed.len(), 10_000);
        // One by one, or even 256 at a time, their silence would take 40 s.
        assert!(deadline.elapsed() < Duration::from_secs(10));
    }
}
