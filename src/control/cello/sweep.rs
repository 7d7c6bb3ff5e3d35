//! Removes containers of ours that no record owns (spec 6.4).

use std::{collections::BTreeSet, time::Duration};

use super::{desk::Desk, effect, plan, plan::Records, render};
use crate::{
    client::runtime::{Container, RuntimeError, Which},
    domain::cello::{model::Host, query, settings::Settings},
};

/// Sweeps a host once; what fails is tried again with the next sweep.
pub(super) async fn sweep(desk: &Desk, host: &Host, settings: &Settings) {
    match remove_orphans(desk, host, Duration::from_millis(settings.call_timeout_ms)).await {
        Ok(0) => {}
        Ok(found) => {
            let address = &host.daemon_url;
            tracing::info!(address, found, "removed containers that no record owns");
        }
        Err(error) => tracing::debug!(%error, address = &host.daemon_url, "not swept"),
    }
}

async fn remove_orphans(desk: &Desk, host: &Host, time: Duration) -> Result<usize, RuntimeError> {
    // Without this, a leader that was deposed unnoticed would remove what its successor has made.
    if !desk.office.confirm().await {
        return Ok(0);
    }
    let (state, index) = desk.office.look();
    let Some(installation) = query::installation(&state) else { return Ok(0) };
    let daemon = effect::daemon(host);
    let which = Which::Labelled(render::labels_of(&installation));
    let found = desk.runtime.list(&daemon, &which, time).await?;
    let records = Records {
        index,
        host_id: &host.id,
        has_cluster: &|id| query::cluster(&state, id).is_some(),
        has_host: &|id| effect::has_host(&state, id),
        may_sweep: &|op| query::may_sweep(&state, op),
    };
    let orphans = plan::orphans(&found, &records);
    for orphan in &orphans {
        remove(desk, host, orphan, time).await?;
    }
    let clusters: BTreeSet<_> =
        orphans.iter().map(|orphan| orphan.label(render::CLUSTER)).collect();
    for cluster_id in clusters.into_iter().filter(|id| !id.is_empty()) {
        // What the orphans have made for themselves bears no label of ours.
        let which = Which::Named(format!("{cluster_id}-"));
        for child in desk.runtime.list(&daemon, &which, time).await? {
            remove(desk, host, &child, time).await?;
        }
    }
    Ok(orphans.len())
}

async fn remove(
    desk: &Desk,
    host: &Host,
    container: &Container,
    time: Duration,
) -> Result<(), RuntimeError> {
    if !desk.office.leads() {
        return Err(RuntimeError::Other("another replica leads".to_owned()));
    }
    desk.runtime.remove(&effect::daemon(host), &container.id, time).await
}
