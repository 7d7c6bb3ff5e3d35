//! Whether hosts and clusters are well (spec 4.4, 4.5).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{desk::Desk, effect, render};
use crate::{
    client::{
        runtime::{Container, Which},
        service_probe::ServiceProbe,
    },
    domain::cello::{
        Command,
        model::{Cluster, Health, Host, Phase},
        query,
        settings::Settings,
        template::Probe,
    },
};

/// What a look at a cluster came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad(String),
    /// Nothing could be found out.
    Unknown,
}

/// One cluster, as it was when the look began, and what the look came to.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) cluster: Arc<Cluster>,
    pub(super) verdict: Verdict,
}

/// Pings a host, several times if need be, and reports what is new about it.
pub(super) async fn ping(desk: &Desk, host: &Host, settings: &Settings) {
    let (daemon, mut reason) = (effect::daemon(host), String::new());
    let attempts = if host.is_active { settings.ping_attempts_max } else { 1 };
    let mut is_reachable = false;
    for attempt in 0..attempts {
        if attempt > 0 {
            sleep(Duration::from_millis(settings.ping_pause_ms)).await;
        }
        let time = Duration::from_millis(settings.ping_timeout_ms);
        match desk.runtime.ping(&daemon, time).await {
            Ok(()) => {
                is_reachable = true;
                break;
            }
            Err(error) => reason = error.to_string(),
        }
    }
    if is_reachable != host.is_active {
        let address = &host.daemon_url;
        if is_reachable {
            tracing::info!(address, "a host answers again");
        } else {
            tracing::warn!(address, reason, "a host does not answer");
        }
        let host_id = host.id.clone();
        desk.report(Command::ReportHost { host_id, is_reachable, reason }).await;
    }
}

/// Looks at clusters of a host, all of them with one question to its daemon.
pub(super) async fn look(
    desk: &Desk,
    host: &Host,
    clusters: Vec<Arc<Cluster>>,
    settings: &Settings,
) -> Vec<Finding> {
    let Some(installation) = query::installation(&desk.office.look().0) else {
        return Vec::new();
    };
    let time = Duration::from_millis(settings.probe_timeout_ms);
    let which = Which::Labelled(render::labels_of(&installation));
    let Ok(found) = desk.runtime.list(&effect::daemon(host), &which, time).await else {
        let unknown = |cluster| Finding { cluster, verdict: Verdict::Unknown };
        return clusters.into_iter().map(unknown).collect();
    };
    let mut by_cluster: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for container in &found {
        by_cluster.entry(container.label(render::CLUSTER)).or_default().push(container);
    }
    let mut findings = Vec::new();
    for cluster in clusters {
        let own = by_cluster.get(cluster.id.as_str()).map_or(&[][..], Vec::as_slice);
        let mut verdict = judge(&cluster, own);
        if verdict == Verdict::Good && cluster.is_running {
            verdict = ask(&*desk.services, &cluster, time).await;
        }
        findings.push(Finding { cluster, verdict });
    }
    findings
}

/// Judges by the containers alone.
fn judge(cluster: &Cluster, found: &[&Container]) -> Verdict {
    let running = found.iter().filter(|found| found.is_running()).count();
    let names = effect::names(cluster);
    let strangers = found.iter().filter(|found| !names.contains(&found.name)).count();
    match cluster.is_running {
        true if running == names.len() && strangers == 0 => Verdict::Good,
        false if running == 0 => Verdict::Good,
        true => Verdict::Bad(format!("{running} of {} containers run", names.len())),
        false => Verdict::Bad(format!("{running} containers run although it is stopped")),
    }
}

/// Asks the services, if the template wants it.
async fn ask(services: &dyn ServiceProbe, cluster: &Cluster, time: Duration) -> Verdict {
    match &cluster.template.probe {
        Probe::Containers => Verdict::Good,
        Probe::Tcp => {
            let published = cluster.template.services.iter().zip(cluster.service_urls());
            for (service, (name, address)) in published {
                if !service.is_published {
                    continue;
                }
                if let Err(reason) = services.connect(&address, time).await {
                    return Verdict::Bad(format!("{name} at {address}: {reason}"));
                }
            }
            Verdict::Good
        }
        Probe::HttpPeers { path, pointer } => {
            let url = format!("{}{path}", cluster.api_url());
            // Services that do not answer say nothing of the cluster (spec 4.4).
            let Some(answer) = services.get(&url, time).await else { return Verdict::Unknown };
            match answer.pointer(pointer).and_then(|found| found.as_array()) {
                Some(found) if found.len() == cluster.kind().size as usize => Verdict::Good,
                Some(found) => Verdict::Bad(format!("{} peers answer at {url}", found.len())),
                None => Verdict::Bad(format!("no peers are listed at {url}")),
            }
        }
    }
}

/// Has the containers of a cluster run, or not run, as its record says, and looks again. A late call
/// of an earlier leader may have undone what the record says (spec 6.4), or the host was started
/// anew; neither is a reason to throw a cluster away.
pub(super) async fn mend(
    desk: &Desk,
    host: &Host,
    finding: Finding,
    settings: &Settings,
) -> Finding {
    let is_untouched = |cluster: &Cluster| {
        let now = query::cluster(&desk.office.look().0, &cluster.id);
        now.is_some_and(|now| {
            now.op == cluster.op && now.task.is_none() && now.phase == Phase::Ready
        })
    };
    let cluster = Arc::clone(&finding.cluster);
    let (daemon, time) = (effect::daemon(host), Duration::from_millis(settings.call_timeout_ms));
    for name in effect::names(&cluster) {
        if !desk.office.confirm().await || !is_untouched(&cluster) {
            return Finding { verdict: Verdict::Unknown, ..finding };
        }
        let grace_s = settings.stop_grace_s;
        // What fails here shows in the look that follows.
        let _ = match cluster.is_running {
            true => desk.runtime.start(&daemon, &name, time).await,
            false => {
                let time = time + Duration::from_secs(grace_s.into());
                desk.runtime.stop(&daemon, &name, grace_s, time).await
            }
        };
    }
    let again = look(desk, host, vec![cluster], settings).await;
    again.into_iter().next().unwrap_or(Finding { verdict: Verdict::Unknown, ..finding })
}

/// What the state should know of a cluster that is meant to run; `None` if it does already.
pub(super) fn news(finding: &Finding) -> Option<(Health, String)> {
    let cluster = &finding.cluster;
    let (health, reason) = match &finding.verdict {
        Verdict::Good => (Health::Ok, String::new()),
        Verdict::Bad(reason) => (Health::Fail, reason.clone()),
        Verdict::Unknown => return None,
    };
    (cluster.is_running && cluster.health != health).then_some((health, reason))
}
