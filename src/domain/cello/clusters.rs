//! Clusters come and go on the wish of operators and loops (spec 4.1, 4.3, 4.4).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Rejection, Reply, State,
    command::{HealthReport, NewCluster},
    model::{Cluster, Health, Host, Phase, Task, TaskKind},
    template::Template,
    text,
};
use crate::domain::Context;

impl State {
    /// A record of a cluster that is to be made; not in the state yet.
    pub(super) fn record(
        &mut self,
        context: &Context<'_>,
        host: &Host,
        (template, (port_start, port_count)): (Arc<Template>, (u16, u16)),
    ) -> Cluster {
        let seq = self.next_seq();
        Cluster {
            id: self.new_id(context),
            seq,
            name: self.generated_name(host, port_start),
            is_name_given: false,
            host_id: host.id.clone(),
            daemon_url: host.daemon_url.clone(),
            service_address: host.service_address.clone(),
            template,
            phase: Phase::Creating,
            user_id: String::new(),
            is_running: true,
            health: Health::Unknown,
            port_start,
            port_count,
            containers: BTreeMap::new(),
            created_ms: context.time_ms,
            applied_ms: None,
            released_ms: None,
            op: context.index,
            task: Some(Task::new(context, TaskKind::Create)),
            is_replaced: false,
            resets: 0,
            last_power: None,
            last_error: String::new(),
        }
    }

    pub(super) fn create_cluster(
        &mut self,
        context: &Context<'_>,
        new: &NewCluster,
    ) -> Result<Reply, Rejection> {
        let host = Arc::clone(self.open_host(&new.host_id)?);
        if !new.name.is_empty() {
            text::judge_name(&new.name)?;
        }
        let template = Arc::clone(self.template(&new.kind).ok_or(Rejection::NoTemplate)?);
        if self.cluster_count(&host.id) >= host.capacity as usize {
            return Err(Rejection::HostFull);
        }
        let mut taken = self.taken_ports(&host, context.time_ms);
        let block = match new.port_start {
            None => taken.take_lowest(),
            Some(start) => {
                Some((start, self.settings.port_step)).filter(|block| taken.is_free(*block))
            }
        };
        let block = block.ok_or(Rejection::NoPorts)?;
        let mut cluster = self.record(context, &host, (template, block));
        if !new.name.is_empty() {
            cluster.name.clone_from(&new.name);
            cluster.is_name_given = true;
        }
        self.put_cluster(cluster.clone());
        Ok(Reply::Cluster(Box::new(cluster)))
    }

    /// A host on which clusters can be made.
    pub(super) fn open_host(&self, host_id: &str) -> Result<&Arc<Host>, Rejection> {
        let host = self.host(host_id)?;
        if !host.is_active {
            return Err(Rejection::HostInactive(host.status_reason.clone()));
        }
        if host.task.is_some() {
            return Err(Rejection::HostBusy);
        }
        Ok(host)
    }

    pub(super) fn delete_cluster(
        &mut self,
        context: &Context<'_>,
        cluster_id: &str,
        is_forced: bool,
    ) -> Result<Reply, Rejection> {
        let cluster = Arc::clone(self.cluster(cluster_id)?);
        match cluster.phase {
            Phase::Ready if cluster.user_id.is_empty() => {}
            Phase::Ready if is_forced => self.remember(context, &cluster),
            Phase::Ready => return Err(Rejection::ClusterUsed),
            Phase::Creating if is_forced => {}
            Phase::Creating => {
                return Err(Rejection::ClusterNotReady(cluster.status().to_owned()));
            }
            Phase::Deleting | Phase::Resetting => {
                self.replace_not(&cluster);
                return Ok(Reply::Done);
            }
        }
        self.destroy(context, &cluster, (Phase::Deleting, false));
        Ok(Reply::Done)
    }

    /// Reports about clusters that changed since, or that say nothing new, change nothing.
    pub(super) fn report_health(&mut self, reports: Vec<HealthReport>) -> Reply {
        let mut has_news = false;
        for report in reports {
            let Ok(cluster) = self.cluster(&report.cluster_id) else { continue };
            let is_probed = cluster.phase == Phase::Ready
                && cluster.is_running
                && cluster.task.is_none()
                && cluster.op == report.seen_op;
            let is_news = report.health != Health::Unknown && report.health != cluster.health;
            if !is_probed || !is_news {
                continue;
            }
            let mut cluster = Cluster::clone(cluster);
            cluster.health = report.health;
            cluster.last_error = match report.health {
                Health::Fail => text::cut(report.reason),
                Health::Ok | Health::Unknown => String::new(),
            };
            if report.health == Health::Ok {
                cluster.resets = 0;
            }
            self.put_cluster(cluster);
            has_news = true;
        }
        if has_news { Reply::Done } else { Reply::Unchanged }
    }

    /// A free cluster that stays unhealthy makes room for a new one. One that was handed out, or
    /// found well, or touched since the probes began stays.
    pub(super) fn reset_cluster(
        &mut self,
        context: &Context<'_>,
        cluster_id: &str,
        seen_op: u64,
        reason: String,
    ) -> Result<Reply, Rejection> {
        let cluster = Arc::clone(self.cluster(cluster_id)?);
        let is_meant = cluster.phase == Phase::Ready
            && cluster.user_id.is_empty()
            && cluster.is_running
            && cluster.task.is_none()
            && cluster.op == seen_op
            && cluster.health == Health::Fail;
        if !is_meant {
            return Ok(Reply::Unchanged);
        }
        let resets = cluster.resets.saturating_add(1);
        let last_error = text::cut(reason);
        let cluster = Cluster { resets, last_error, ..Cluster::clone(&cluster) };
        self.destroy(context, &cluster, (Phase::Resetting, true));
        Ok(Reply::Done)
    }
}
