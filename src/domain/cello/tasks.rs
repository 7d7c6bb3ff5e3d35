//! The life of tasks: begun, failed, over (spec 6.3, 6.4).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Reply, State,
    command::Failure,
    model::{Cluster, Health, Host, Phase, PowerOutcome, Task, TaskKind},
    settings::Settings,
    template::Template,
    text,
};
use crate::domain::Context;

impl Task {
    /// A task that may be done at once.
    pub(super) fn new(context: &Context<'_>, kind: TaskKind) -> Self {
        Self {
            op: context.index,
            kind,
            begun_ms: context.time_ms,
            failures: 0,
            counted_failures: 0,
            not_before_ms: context.time_ms,
            last_error: String::new(),
        }
    }

    /// One attempt more that failed; the next one waits longer.
    pub(super) fn failed(&mut self, settings: &Settings, context: &Context<'_>, reason: String) {
        self.failures = self.failures.saturating_add(1);
        self.not_before_ms = context.time_ms.saturating_add(settings.backoff_ms(self.failures));
        self.last_error = reason;
    }
}

impl State {
    /// The cluster, if this is its present task.
    fn with_task(&self, cluster_id: &str, op: u64) -> Option<(Cluster, Task)> {
        let cluster = self.cluster(cluster_id).ok()?;
        let task = cluster.task.clone().filter(|task| task.op == op)?;
        Some((Cluster::clone(cluster), task))
    }

    /// Has every container of a cluster removed; whatever was to be done before is not any more.
    pub(super) fn destroy(
        &mut self,
        context: &Context<'_>,
        cluster: &Cluster,
        (phase, is_replaced): (Phase, bool),
    ) {
        self.put_cluster(Cluster {
            phase,
            is_replaced,
            health: Health::Unknown,
            op: context.index,
            task: Some(Task::new(context, TaskKind::Destroy)),
            ..cluster.clone()
        });
    }

    /// No cluster shall come in place of one that is being removed.
    pub(super) fn replace_not(&mut self, cluster: &Cluster) {
        self.put_cluster(Cluster { is_replaced: false, ..cluster.clone() });
    }

    pub(super) fn cluster_created(
        &mut self,
        context: &Context<'_>,
        cluster_id: &str,
        op: u64,
        containers: Vec<(String, String)>,
    ) -> Reply {
        let Some((mut cluster, task)) = self.with_task(cluster_id, op) else {
            return Reply::Unchanged;
        };
        if task.kind != TaskKind::Create {
            return Reply::Unchanged;
        }
        let wanted: BTreeSet<_> =
            (0..cluster.kind().size).map(|index| cluster.container_name(index)).collect();
        let found: BTreeSet<_> = containers.iter().map(|(name, _)| name.clone()).collect();
        if wanted != found || containers.len() != wanted.len() {
            let reason = format!("{} containers were made, not as asked for", containers.len());
            return self.creation_failed(context, (cluster, task), Failure::Other, reason);
        }
        cluster.phase = Phase::Ready;
        cluster.user_id = String::new();
        cluster.is_running = true;
        cluster.health = Health::Unknown;
        cluster.containers = containers.into_iter().collect();
        cluster.task = None;
        cluster.last_error = String::new();
        let host_id = cluster.host_id.clone();
        self.put_cluster(cluster);
        self.succeeded_on(&host_id);
        Reply::Done
    }

    /// The containers are gone: the record goes too, and its replacement comes under a new id, with
    /// the same name and the same ports.
    pub(super) fn cluster_destroyed(
        &mut self,
        context: &Context<'_>,
        cluster_id: &str,
        op: u64,
    ) -> Reply {
        let Some((old, task)) = self.with_task(cluster_id, op) else { return Reply::Unchanged };
        if task.kind != TaskKind::Destroy {
            return Reply::Unchanged;
        }
        self.take_cluster(cluster_id);
        if let Ok(host) = self.host(&old.host_id).cloned()
            && old.is_replaced
        {
            let template = self.template_for(&old);
            let ports = (old.port_start, old.port_count);
            let mut new = self.record(context, &host, (template, ports));
            new.name = old.name;
            new.is_name_given = old.is_name_given;
            new.resets = old.resets;
            if let Some(task) = new.task.as_mut()
                && old.resets > 1
            {
                task.not_before_ms += self.settings.backoff_ms(old.resets - 1);
            }
            self.put_cluster(new);
        }
        Reply::Done
    }

    pub(super) fn power_done(&mut self, cluster_id: &str, op: u64) -> Reply {
        let Some((mut cluster, task)) = self.with_task(cluster_id, op) else {
            return Reply::Unchanged;
        };
        match task.kind {
            TaskKind::Start | TaskKind::Restart => cluster.is_running = true,
            TaskKind::Stop => {
                cluster.is_running = false;
                cluster.health = Health::Unknown;
            }
            TaskKind::Create | TaskKind::Destroy | TaskKind::ResetHost | TaskKind::CleanUpHost => {
                return Reply::Unchanged;
            }
        }
        cluster.task = None;
        cluster.last_power = Some(PowerOutcome { op, error: None });
        cluster.last_error = String::new();
        self.put_cluster(cluster);
        Reply::Done
    }

    pub(super) fn operation_failed(
        &mut self,
        context: &Context<'_>,
        (cluster_id, op): (&str, u64),
        failure: Failure,
        reason: String,
    ) -> Reply {
        let Some((cluster, task)) = self.with_task(cluster_id, op) else {
            return Reply::Unchanged;
        };
        let reason = text::cut(reason);
        match task.kind {
            TaskKind::Create => self.creation_failed(context, (cluster, task), failure, reason),
            TaskKind::Destroy => {
                self.failed_on(&cluster.host_id, &reason);
                self.destruction_failed(context, (cluster, task), reason)
            }
            TaskKind::Start | TaskKind::Stop | TaskKind::Restart => {
                self.failed_on(&cluster.host_id, &reason);
                self.power_failed(cluster, op, reason)
            }
            TaskKind::ResetHost | TaskKind::CleanUpHost => Reply::Unchanged,
        }
    }

    fn destruction_failed(
        &mut self,
        context: &Context<'_>,
        (mut cluster, mut task): (Cluster, Task),
        reason: String,
    ) -> Reply {
        cluster.last_error.clone_from(&reason);
        task.failed(&self.settings, context, reason);
        self.put_cluster(Cluster { task: Some(task), ..cluster });
        Reply::Done
    }

    fn power_failed(&mut self, mut cluster: Cluster, op: u64, reason: String) -> Reply {
        // Some containers may have changed; nobody is given the cluster until a probe was good.
        cluster.health = Health::Unknown;
        cluster.last_error.clone_from(&reason);
        cluster.last_power = Some(PowerOutcome { op, error: Some(reason) });
        cluster.task = None;
        self.put_cluster(cluster);
        Reply::Done
    }

    /// Tries again, with other ports if need be, or gives the cluster up. Every attempt is a task of
    /// its own and follows the template as it is now.
    fn creation_failed(
        &mut self,
        context: &Context<'_>,
        (mut cluster, mut task): (Cluster, Task),
        failure: Failure,
        reason: String,
    ) -> Reply {
        let host_id = cluster.host_id.clone();
        self.failed_on(&host_id, &reason);
        cluster.last_error.clone_from(&reason);
        task.op = context.index;
        task.failed(&self.settings, context, reason);
        let has_moved = failure == Failure::PortInUse && self.move_ports(context, &mut cluster);
        if has_moved && task.failures == 1 {
            task.not_before_ms = context.time_ms;
        }
        if !has_moved && failure != Failure::Unreachable {
            task.counted_failures = task.counted_failures.saturating_add(1);
        }
        cluster.op = context.index;
        if task.counted_failures >= self.settings.create_attempts_max {
            self.give_up(context, &cluster);
            return Reply::Done;
        }
        cluster.template = self.template_for(&cluster);
        self.put_cluster(Cluster { task: Some(task), ..cluster });
        Reply::Done
    }

    /// The template as it is now, unless it is gone or needs more ports than the cluster has.
    fn template_for(&self, cluster: &Cluster) -> Arc<Template> {
        let present = self.template(cluster.kind());
        let fitting = present.filter(|template| template.fits(cluster.port_count));
        Arc::clone(fitting.unwrap_or(&cluster.template))
    }

    fn give_up(&mut self, context: &Context<'_>, cluster: &Cluster) {
        self.destroy(context, cluster, (Phase::Deleting, false));
        let Ok(host) = self.host(&cluster.host_id) else { return };
        let mut host = Host::clone(host);
        host.creations_given_up = host.creations_given_up.saturating_add(1);
        let pause_ms = self.settings.backoff_ms(host.creations_given_up);
        host.fill_not_before_ms = context.time_ms.saturating_add(pause_ms);
        self.put_host(host);
    }

    /// Leaves the ports to whoever uses them; false if there are no others.
    fn move_ports(&mut self, context: &Context<'_>, cluster: &mut Cluster) -> bool {
        let Ok(host) = self.host(&cluster.host_id) else { return false };
        let mut host = Host::clone(host);
        let block = (cluster.port_start, cluster.port_count);
        self.block_ports(&mut host, block, (context.time_ms, &cluster.last_error));
        let lowest = self.taken_ports(&host, context.time_ms).take_lowest();
        if let Some((start, count)) = lowest {
            (cluster.port_start, cluster.port_count) = (start, count);
            if !cluster.is_name_given {
                cluster.name = self.generated_name(&host, start);
            }
        }
        self.put_host(host);
        lowest.is_some()
    }

    fn failed_on(&mut self, host_id: &str, reason: &str) {
        if let Ok(host) = self.host(host_id)
            && host.last_error != reason
        {
            let last_error = reason.to_owned();
            self.put_host(Host { last_error, ..Host::clone(host) });
        }
    }

    fn succeeded_on(&mut self, host_id: &str) {
        let Ok(host) = self.host(host_id) else { return };
        if host.last_error.is_empty() && host.creations_given_up == 0 {
            return;
        }
        let mut host = Host::clone(host);
        host.last_error = String::new();
        host.creations_given_up = 0;
        host.fill_not_before_ms = 0;
        self.put_host(host);
    }
}
