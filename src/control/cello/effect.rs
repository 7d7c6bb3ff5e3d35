//! Carries out what the state wants done on a host, and says how it ended (spec 5.2, 6.4).
//!
//! Every effect can be begun again from any point at which somebody died: it first looks at what is
//! there. Before each change it makes sure that it is still wanted, and that this replica still
//! leads for all a majority knows.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{desk::Desk, plan, render};
use crate::{
    client::runtime::{Answer, Container, Daemon, RuntimeError, Which},
    domain::cello::{
        Command, State,
        command::Failure,
        model::{Cluster, Host, TaskKind},
        query::{self, Effect},
        settings::Settings,
        template::Pull,
    },
    observe::side_by_side,
    telemetry,
};

/// Calls for the containers of one cluster that go on at a time.
const CALLS_MAX: usize = 4;
/// Pause before it is looked again whether containers are gone.
const GONE_PAUSE: Duration = Duration::from_millis(200);

/// Why an effect did not come about.
#[derive(Debug)]
enum Trouble {
    /// Something failed on the host.
    Failed(Failure, String),
    /// It is not wanted any more, or no longer ours to do.
    Superseded,
}

impl From<RuntimeError> for Trouble {
    fn from(error: RuntimeError) -> Self {
        let failure = match &error {
            RuntimeError::Unreachable(_) => Failure::Unreachable,
            RuntimeError::PortInUse(_) => Failure::PortInUse,
            RuntimeError::NameTaken(_) => Failure::NameTaken,
            RuntimeError::ImageMissing(_) => Failure::ImageMissing,
            RuntimeError::NotFound(_) | RuntimeError::Other(_) => Failure::Other,
        };
        Self::Failed(failure, error.to_string())
    }
}

/// How carrying out an effect ended, for whoever paces the work on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// The daemon does not answer.
    Unreachable,
    /// It is not wanted any more, or no longer ours to do.
    Superseded,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Superseded => "superseded",
        }
    }
}

/// The daemon of a host.
pub(super) fn daemon(host: &Host) -> Daemon {
    Daemon { url: host.daemon_url.clone(), is_tls: host.is_tls }
}

/// Carries one effect out and has its outcome applied.
pub(super) async fn carry_out(desk: &Desk, effect: &Effect) -> Ended {
    let (state, _) = desk.office.look();
    let Some(installation) = query::installation(&state) else { return Ended::Superseded };
    let settings = query::settings(&state).clone();
    let site = Site { desk, effect, daemon: daemon(&effect.host), settings, installation };
    let outcome = site.bring_about().await;
    let (command, ended) = match outcome {
        Ok(command) => (command, Ended::Done),
        Err(Trouble::Superseded) => return Ended::Superseded,
        Err(Trouble::Failed(failure, reason)) => {
            let ended = match failure {
                Failure::Unreachable => Ended::Unreachable,
                _ => Ended::Failed,
            };
            (site.failed(failure, reason), ended)
        }
    };
    let (kind, host) = (effect.task.kind.as_str(), &effect.host.name);
    let cluster = effect.cluster.as_ref().map(|cluster| &cluster.id);
    let outcome = ended.as_str();
    tracing::debug!(job = kind, ?cluster, address = host, outcome, "carried out on a host");
    let labels = [("kind", kind), ("outcome", outcome)];
    metrics::counter!(telemetry::POOL_EFFECTS_TOTAL, &labels).increment(1);
    // Whoever leads now will find that there is nothing left to do.
    if desk.report(command).await { ended } else { Ended::Superseded }
}

/// One effect at its daemon.
struct Site<'a> {
    desk: &'a Desk,
    effect: &'a Effect,
    daemon: Daemon,
    settings: Settings,
    installation: String,
}

impl Site<'_> {
    async fn bring_about(&self) -> Result<Command, Trouble> {
        let op = self.effect.task.op;
        let Some(cluster) = &self.effect.cluster else {
            self.clear_host().await?;
            return Ok(Command::HostTaskDone { host_id: self.effect.host.id.clone(), op });
        };
        let cluster_id = cluster.id.clone();
        match self.effect.task.kind {
            TaskKind::Create => {
                let containers = self.create(cluster).await?;
                Ok(Command::ClusterCreated { cluster_id, op, containers })
            }
            TaskKind::Destroy => {
                self.destroy(cluster).await?;
                Ok(Command::ClusterDestroyed { cluster_id, op })
            }
            TaskKind::Start | TaskKind::Stop | TaskKind::Restart => {
                self.power(cluster).await?;
                Ok(Command::PowerDone { cluster_id, op })
            }
            TaskKind::ResetHost | TaskKind::CleanUpHost => Err(Trouble::Superseded),
        }
    }

    fn failed(&self, failure: Failure, reason: String) -> Command {
        let op = self.effect.task.op;
        match &self.effect.cluster {
            Some(cluster) => {
                Command::OperationFailed { cluster_id: cluster.id.clone(), op, failure, reason }
            }
            None => Command::HostTaskFailed { host_id: self.effect.host.id.clone(), op, reason },
        }
    }

    /// Time for one call that does not wait for a container to stop.
    const fn time(&self) -> Duration {
        Duration::from_millis(self.settings.call_timeout_ms)
    }

    fn time_with_grace(&self, grace_s: u32) -> Duration {
        self.time() + Duration::from_secs(grace_s.into())
    }

    /// To be asked before every change.
    async fn step(&self) -> Result<(), Trouble> {
        if self.desk.may_go_on(self.effect).await { Ok(()) } else { Err(Trouble::Superseded) }
    }

    async fn labelled(&self, cluster: &Cluster) -> Result<Vec<Container>, Trouble> {
        let labels = render::labels_of_cluster(&self.installation, &cluster.id);
        let which = Which::Labelled(labels);
        Ok(self.desk.runtime.list(&self.daemon, &which, self.time()).await?)
    }

    /// Containers whose names begin so, but for those of another installation.
    async fn named(&self, prefix: String) -> Result<Vec<Container>, Trouble> {
        let which = Which::Named(prefix);
        let mut found = self.desk.runtime.list(&self.daemon, &which, self.time()).await?;
        let is_ours = |found: &Container| {
            let installation = found.label(render::INSTALLATION);
            installation.is_empty() || installation == self.installation
        };
        found.retain(is_ours);
        Ok(found)
    }

    /// Calls for many containers, several at a time; the first failure counts.
    async fn each<'a>(&self, calls: Vec<Answer<'a, ()>>) -> Result<(), Trouble> {
        let done = side_by_side(calls, CALLS_MAX).await;
        Ok(done.into_iter().collect::<Result<(), _>>()?)
    }

    async fn create(&self, cluster: &Arc<Cluster>) -> Result<Vec<(String, String)>, Trouble> {
        let (host, op) = (&self.effect.host, self.effect.task.op);
        let specs = render::containers(cluster, host, &self.installation, op);
        self.fetch_image(cluster).await?;
        self.ensure_network(cluster).await?;
        let found = self.labelled(cluster).await?;
        let plan = plan::creation(&specs, &found, op).ok_or(Trouble::Superseded)?;
        let (runtime, daemon) = (&self.desk.runtime, &self.daemon);
        if !plan.remove.is_empty() {
            self.step().await?;
            let remove = plan.remove.iter().map(|name| runtime.remove(daemon, name, self.time()));
            self.each(remove.collect()).await?;
        }
        let mut start = plan.start;
        if !plan.create.is_empty() {
            self.step().await?;
            let made =
                plan.create.iter().map(|at| runtime.create(daemon, &specs[*at], self.time()));
            let made = side_by_side(made.collect(), CALLS_MAX).await;
            made.into_iter().collect::<Result<Vec<_>, _>>()?;
            start.extend(plan.create.iter().map(|at| specs[*at].name.clone()));
        }
        if !start.is_empty() {
            self.step().await?;
            start.sort();
            let start = start.iter().map(|name| runtime.start(daemon, name, self.time()));
            self.each(start.collect()).await?;
        }
        let found = self.labelled(cluster).await?;
        all_run(cluster, &found)
    }

    async fn fetch_image(&self, cluster: &Cluster) -> Result<(), Trouble> {
        let (runtime, image) = (&self.desk.runtime, &cluster.template.image);
        let is_wanted = match cluster.template.pull {
            Pull::Never => false,
            Pull::Always => true,
            Pull::Missing => !runtime.has_image(&self.daemon, image, self.time()).await?,
        };
        if is_wanted {
            self.step().await?;
            let time = Duration::from_millis(self.settings.pull_timeout_ms);
            runtime.pull(&self.daemon, image, time).await?;
        }
        Ok(())
    }

    async fn ensure_network(&self, cluster: &Cluster) -> Result<(), Trouble> {
        let network = render::network(cluster, &self.effect.host);
        if network.is_empty() {
            return Ok(());
        }
        self.step().await?;
        let labels = render::network_labels(&self.installation);
        let runtime = &self.desk.runtime;
        Ok(runtime.ensure_network(&self.daemon, &network, &labels, self.time()).await?)
    }

    /// Starts, stops or restarts: the cluster's own containers, then those that these have made for
    /// themselves under its name.
    async fn power(&self, cluster: &Arc<Cluster>) -> Result<(), Trouble> {
        let kind = self.effect.task.kind;
        let is_stop = kind == TaskKind::Stop;
        let found = self.labelled(cluster).await?;
        let own = names(cluster);
        let present = own.iter().filter(|name| found.iter().any(|found| found.name == **name));
        if present.count() < own.len() && !is_stop {
            let reason = format!("{} of {} containers are there", found.len(), own.len());
            return Err(Trouble::Failed(Failure::Other, reason));
        }
        let children = self.named(format!("{}-", cluster.id)).await?;
        let own = found.iter().map(|found| found.name.as_str());
        let children = children.iter().map(|found| found.name.as_str());
        for group in [own.collect::<Vec<_>>(), children.collect()] {
            if !group.is_empty() {
                self.step().await?;
                self.each(group.into_iter().map(|name| self.call(kind, name)).collect()).await?;
            }
        }
        let found = self.labelled(cluster).await?;
        if !is_stop {
            return all_run(cluster, &found).map(drop);
        }
        match found.iter().filter(|found| found.is_running()).count() {
            0 => Ok(()),
            left => Err(Trouble::Failed(Failure::Other, format!("{left} containers still run"))),
        }
    }

    fn call<'b>(&'b self, kind: TaskKind, name: &'b str) -> Answer<'b, ()> {
        let (runtime, daemon) = (&self.desk.runtime, &self.daemon);
        match kind {
            TaskKind::Stop => {
                let grace_s = self.settings.stop_grace_s;
                runtime.stop(daemon, name, grace_s, self.time_with_grace(grace_s))
            }
            TaskKind::Restart => {
                let grace_s = self.settings.restart_grace_s;
                runtime.restart(daemon, name, grace_s, self.time_with_grace(grace_s))
            }
            _ => runtime.start(daemon, name, self.time()),
        }
    }

    /// Everything that bears the cluster's label or name.
    async fn belongings(&self, cluster: &Cluster) -> Result<Vec<Container>, Trouble> {
        let mut found = self.labelled(cluster).await?;
        for prefix in [format!("{}_", cluster.id), format!("{}-", cluster.id)] {
            found.extend(self.named(prefix).await?);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.id == b.id);
        Ok(found)
    }

    async fn destroy(&self, cluster: &Arc<Cluster>) -> Result<(), Trouble> {
        let grace_s = self.settings.stop_grace_s;
        let deadline = Instant::now() + self.time_with_grace(grace_s);
        let mut found = self.belongings(cluster).await?;
        let (runtime, daemon) = (&self.desk.runtime, &self.daemon);
        let running = found.iter().filter(|found| found.is_running());
        let running: Vec<_> = running.map(|found| found.id.as_str()).collect();
        if !running.is_empty() {
            self.step().await?;
            let calls = running.into_iter().map(|id| self.call(TaskKind::Stop, id)).collect();
            // What does not stop is removed all the same; a daemon that is away shows there.
            let stopped = side_by_side(calls, CALLS_MAX).await;
            if let Some(Err(error)) = stopped.into_iter().find(is_unreachable) {
                return Err(error.into());
            }
        }
        while !found.is_empty() {
            self.step().await?;
            let calls = found.iter().map(|found| runtime.remove(daemon, &found.id, self.time()));
            self.each(calls.collect()).await?;
            found = self.belongings(cluster).await?;
            if found.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                let reason = format!("{} containers are still there", found.len());
                return Err(Trouble::Failed(Failure::Other, reason));
            }
            sleep(GONE_PAUSE).await;
        }
        Ok(())
    }

    /// Removes what this installation has left on a host without clusters; strangers' containers,
    /// and those of another record for the same daemon, stay. Networks are made again with the next
    /// cluster that needs them.
    async fn clear_host(&self) -> Result<(), Trouble> {
        let which = Which::Labelled(render::labels_of(&self.installation));
        let found = self.desk.runtime.list(&self.daemon, &which, self.time()).await?;
        let (state, _) = self.desk.office.look();
        let is_meant = |found: &&Container| {
            let host_id = found.label(render::HOST);
            host_id == self.effect.host.id || !has_host(&state, host_id)
        };
        let meant: Vec<_> = found.iter().filter(is_meant).collect();
        let (runtime, daemon) = (&self.desk.runtime, &self.daemon);
        self.step().await?;
        let calls = meant.iter().map(|found| runtime.remove(daemon, &found.id, self.time()));
        self.each(calls.collect()).await?;
        self.step().await?;
        let label = (render::INSTALLATION, self.installation.as_str());
        Ok(runtime.remove_networks(daemon, label, self.time()).await?)
    }
}

/// Whether a host has a record, or waits to be cleaned up.
pub(super) fn has_host(state: &State, id: &str) -> bool {
    query::host(state, id).is_some() || query::departed(state).any(|host| host.id == id)
}

/// Names of a cluster's own containers.
pub(super) fn names(cluster: &Cluster) -> Vec<String> {
    (0..cluster.kind().size).map(|index| cluster.container_name(index)).collect()
}

fn is_unreachable(answer: &Result<(), RuntimeError>) -> bool {
    matches!(answer, Err(RuntimeError::Unreachable(_)))
}

/// Name and id of every container, if all are there and run.
fn all_run(cluster: &Cluster, found: &[Container]) -> Result<Vec<(String, String)>, Trouble> {
    let names = names(cluster);
    let running = found.iter().filter(|found| found.is_running() && names.contains(&found.name));
    let running: Vec<_> = running.map(|found| (found.name.clone(), found.id.clone())).collect();
    if running.len() == names.len() && found.len() == names.len() {
        return Ok(running);
    }
    let reason = format!("{} of {} containers run", running.len(), names.len());
    Err(Trouble::Failed(Failure::Other, reason))
}
