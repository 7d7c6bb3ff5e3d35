//! Hosts come, change and go (spec 4.1, 4.2).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Rejection, Reply, State,
    command::{HostChange, NewHost},
    model::{CLEAN_UP_MS, Host, HostKind, LogType, Phase, PowerOutcome, Task, TaskKind},
    text,
};
use crate::domain::Context;

/// Most hosts.
const HOSTS_MAX: usize = 10_000;
/// Most clusters of one host; there are not many more blocks of ports.
const CAPACITY_MAX: u32 = 1_000;
/// Most forgotten hosts that wait to be cleaned up.
const DEPARTED_MAX: usize = 64;

impl State {
    pub(super) fn add_host(
        &mut self,
        context: &Context<'_>,
        new: NewHost,
    ) -> Result<Reply, Rejection> {
        text::judge_name(&new.name)?;
        let daemon_url = text::daemon_url(&new.daemon_url)?;
        self.judge_url(&daemon_url, None)?;
        judge_capacity(new.capacity)?;
        let service_address = text::service_address(&new.service_address, &daemon_url)?;
        let log_level = text::log_level(&new.log_level)?;
        let log_server = text::log_server(new.log_type, &new.log_server)?;
        if self.hosts.len() >= HOSTS_MAX {
            return Err(Rejection::TooMany { what: "hosts".to_owned(), max: HOSTS_MAX as u64 });
        }
        self.installation.get_or_insert(new.installation);
        let seq = self.next_seq();
        let host = Host {
            id: self.new_id(context),
            seq,
            name: new.name,
            daemon_url,
            is_tls: new.is_tls,
            service_address,
            capacity: new.capacity,
            kind: HostKind::Docker,
            is_active: true,
            status_reason: String::new(),
            status_since_ms: context.time_ms,
            is_schedulable: new.is_schedulable,
            is_autofill: new.is_autofill,
            log_level,
            log_type: new.log_type,
            log_server,
            created_ms: context.time_ms,
            blocked: BTreeMap::new(),
            creations_given_up: 0,
            fill_not_before_ms: 0,
            last_error: String::new(),
            task: None,
            last_reset: None,
        };
        let id = host.id.clone();
        self.put_host(host);
        if new.is_autofill {
            self.fill(context, &id)?;
        }
        self.reply_host(&id)
    }

    /// Gives a host another address, which it may have only while it has no clusters. Forms send
    /// every member, changed or not; what is as it was is no change.
    fn move_host(
        &self,
        host: &mut Host,
        change: &HostChange,
        clusters: usize,
    ) -> Result<(), Rejection> {
        let mut moved = host.clone();
        if let Some(url) = &change.daemon_url {
            let url = text::daemon_url(url)?;
            if url != host.daemon_url {
                self.judge_url(&url, Some(&host.id))?;
                moved.service_address = text::service_address("", &url)?;
                moved.daemon_url = url;
            }
        }
        if let Some(address) = &change.service_address {
            moved.service_address = text::service_address(address, &moved.daemon_url)?;
        }
        moved.is_tls = change.is_tls.unwrap_or(host.is_tls);
        if moved != *host && clusters > 0 {
            return Err(Rejection::HostNotEmpty(clusters as u64));
        }
        *host = moved;
        Ok(())
    }

    pub(super) fn change_host(
        &mut self,
        host_id: &str,
        change: HostChange,
    ) -> Result<Reply, Rejection> {
        let mut host = Host::clone(self.host(host_id)?);
        let clusters = self.cluster_count(host_id);
        self.move_host(&mut host, &change, clusters)?;
        if let Some(name) = change.name {
            text::judge_name(&name)?;
            host.name = name;
        }
        if let Some(capacity) = change.capacity {
            judge_capacity(capacity)?;
            if (capacity as usize) < clusters {
                let clusters = clusters as u64;
                return Err(Rejection::CapacityBelowUse { clusters, capacity });
            }
            host.capacity = capacity;
        }
        if let Some(level) = change.log_level {
            host.log_level = text::log_level(&level)?;
        }
        change_logs(&mut host, change.log_type, change.log_server)?;
        host.is_schedulable = change.is_schedulable.unwrap_or(host.is_schedulable);
        host.is_autofill = change.is_autofill.unwrap_or(host.is_autofill);
        self.put_host(host);
        self.reply_host(host_id)
    }

    pub(super) fn remove_host(
        &mut self,
        context: &Context<'_>,
        host_id: &str,
        is_forced: bool,
    ) -> Result<Reply, Rejection> {
        self.host(host_id)?;
        let clusters: Vec<_> = self.clusters_of(host_id).cloned().collect();
        if !clusters.is_empty() && !is_forced {
            return Err(Rejection::HostNotEmpty(clusters.len() as u64));
        }
        for cluster in clusters {
            if cluster.phase == Phase::Ready && !cluster.user_id.is_empty() {
                self.remember(context, &cluster);
            }
            self.take_cluster(&cluster.id);
        }
        if let Some(host) = self.take_host(host_id) {
            let task = Some(Task::new(context, TaskKind::CleanUpHost));
            // Nobody pings it any more; the clean-up finds out by itself whether it is there.
            let departed = Host { task, is_active: true, ..Host::clone(&host) };
            self.departed.push_back(Arc::new(departed));
            while self.departed.len() > DEPARTED_MAX {
                self.departed.pop_front();
            }
        }
        Ok(Reply::Done)
    }

    /// Takes away what no user has, for good. Replacements on their way do not come.
    pub(super) fn clean_host(
        &mut self,
        context: &Context<'_>,
        host_id: &str,
    ) -> Result<Reply, Rejection> {
        let mut host = Host::clone(self.host(host_id)?);
        host.is_autofill = false;
        self.put_host(host);
        let mut deleted = Vec::new();
        for cluster in self.clusters_of(host_id).cloned().collect::<Vec<_>>() {
            match cluster.phase {
                Phase::Ready if !cluster.user_id.is_empty() => continue,
                Phase::Ready | Phase::Creating => {
                    self.destroy(context, &cluster, (Phase::Deleting, false));
                }
                Phase::Deleting | Phase::Resetting => self.replace_not(&cluster),
            }
            deleted.push(cluster.id.clone());
        }
        Ok(Reply::Clusters(deleted))
    }

    pub(super) fn reset_host(
        &mut self,
        context: &Context<'_>,
        host_id: &str,
    ) -> Result<Reply, Rejection> {
        let mut host = Host::clone(self.host(host_id)?);
        let clusters = self.cluster_count(host_id);
        if clusters > 0 {
            return Err(Rejection::HostNotEmpty(clusters as u64));
        }
        if !host.is_active {
            return Err(Rejection::HostInactive(host.status_reason));
        }
        if let Some(task) = &host.task {
            return Ok(Reply::HostTask { op: task.op });
        }
        host.task = Some(Task::new(context, TaskKind::ResetHost));
        self.put_host(host);
        Ok(Reply::HostTask { op: context.index })
    }

    pub(super) fn report_host(
        &mut self,
        context: &Context<'_>,
        host_id: &str,
        is_reachable: bool,
        reason: String,
    ) -> Result<Reply, Rejection> {
        let mut host = Host::clone(self.host(host_id)?);
        if host.is_active == is_reachable {
            return Ok(Reply::Unchanged);
        }
        host.is_active = is_reachable;
        host.status_reason = if is_reachable { String::new() } else { text::cut(reason) };
        host.status_since_ms = context.time_ms;
        if is_reachable {
            host.fill_not_before_ms = 0;
            if let Some(task) = &mut host.task {
                task.not_before_ms = context.time_ms;
            }
        }
        self.put_host(host);
        if is_reachable {
            self.wake_tasks(context, host_id);
        }
        Ok(Reply::Done)
    }

    /// What waited for the host to come back need not wait any longer.
    fn wake_tasks(&mut self, context: &Context<'_>, host_id: &str) {
        for cluster in self.clusters_of(host_id).cloned().collect::<Vec<_>>() {
            let Some(task) = &cluster.task else { continue };
            if task.not_before_ms > context.time_ms {
                let task = Some(Task { not_before_ms: context.time_ms, ..task.clone() });
                self.put_cluster(super::model::Cluster { task, ..(*cluster).clone() });
            }
        }
    }

    pub(super) fn host_task_done(&mut self, host_id: &str, op: u64) -> Reply {
        if let Some(mut host) = self.host_with_task(host_id, op) {
            host.task = None;
            host.last_error = String::new();
            host.last_reset = Some(PowerOutcome { op, error: None });
            self.put_host(host);
            return Reply::Done;
        }
        match self.departed_with_task(host_id, op) {
            Some(at) => {
                self.departed.remove(at);
                Reply::Done
            }
            None => Reply::Unchanged,
        }
    }

    pub(super) fn host_task_failed(
        &mut self,
        context: &Context<'_>,
        host_id: &str,
        op: u64,
        reason: String,
    ) -> Reply {
        let reason = text::cut(reason);
        if let Some(mut host) = self.host_with_task(host_id, op) {
            host.task = None;
            host.last_error.clone_from(&reason);
            host.last_reset = Some(PowerOutcome { op, error: Some(reason) });
            self.put_host(host);
            return Reply::Done;
        }
        let Some(at) = self.departed_with_task(host_id, op) else { return Reply::Unchanged };
        let mut host = Host::clone(&self.departed[at]);
        let Some(task) = host.task.as_mut() else { return Reply::Unchanged };
        if context.time_ms.saturating_sub(task.begun_ms) >= CLEAN_UP_MS {
            self.departed.remove(at);
            return Reply::Done;
        }
        task.failed(&self.settings, context, reason);
        self.departed.set(at, Arc::new(host));
        Reply::Done
    }

    fn host_with_task(&self, host_id: &str, op: u64) -> Option<Host> {
        let host = self.host(host_id).ok()?;
        let is_current = host.task.as_ref().is_some_and(|task| task.op == op);
        is_current.then(|| Host::clone(host))
    }

    fn departed_with_task(&self, host_id: &str, op: u64) -> Option<usize> {
        let is_meant = |host: &Arc<Host>| {
            host.id == host_id && host.task.as_ref().is_some_and(|task| task.op == op)
        };
        self.departed.iter().position(is_meant)
    }

    fn judge_url(&self, url: &str, own: Option<&str>) -> Result<(), Rejection> {
        let mut hosts = self.hosts.values();
        let other = hosts.find(|host| host.daemon_url == url && own != Some(&*host.id));
        other.map_or(Ok(()), |host| Err(Rejection::UrlUsed(host.id.clone())))
    }

    pub(super) fn reply_host(&self, id: &str) -> Result<Reply, Rejection> {
        Ok(Reply::Host(Box::new(Host::clone(self.host(id)?))))
    }
}

fn judge_capacity(capacity: u32) -> Result<(), Rejection> {
    if capacity > CAPACITY_MAX {
        return Err(Rejection::InvalidHost(format!("capacity is 0 to {CAPACITY_MAX}")));
    }
    Ok(())
}

fn change_logs(
    host: &mut Host,
    log_type: Option<LogType>,
    log_server: Option<String>,
) -> Result<(), Rejection> {
    if log_type.is_none() && log_server.is_none() {
        return Ok(());
    }
    let log_type = log_type.unwrap_or(host.log_type);
    let server = log_server.unwrap_or_else(|| host.log_server.clone());
    host.log_server = text::log_server(log_type, &server)?;
    host.log_type = log_type;
    Ok(())
}
