//! Start, stop, restart (spec 3.3).

use super::{
    Rejection, Reply, State,
    command::Power,
    model::{Cluster, Health, Phase, Task, TaskKind},
};
use crate::domain::Context;

impl Power {
    /// The task that does it.
    #[must_use]
    pub const fn task(self) -> TaskKind {
        match self {
            Self::Start => TaskKind::Start,
            Self::Stop => TaskKind::Stop,
            Self::Restart => TaskKind::Restart,
        }
    }
}

impl State {
    /// One action at a time: the same one is joined, another one is refused. What is known to be as
    /// asked is not touched; a running cluster whose health is in doubt is started all the same.
    pub(super) fn power(
        &mut self,
        context: &Context<'_>,
        cluster_id: &str,
        user_id: Option<&str>,
        power: Power,
    ) -> Result<Reply, Rejection> {
        let cluster = self.cluster(cluster_id)?;
        if cluster.phase != Phase::Ready {
            return Err(Rejection::ClusterNotReady(cluster.status().to_owned()));
        }
        if user_id.is_some_and(|user| user != cluster.user_id) {
            return Err(Rejection::NotOwner);
        }
        let host = self.host(&cluster.host_id)?;
        if !host.is_active {
            return Err(Rejection::HostInactive(host.status_reason.clone()));
        }
        match &cluster.task {
            Some(task) if task.kind == power.task() => {
                return Ok(Reply::Power { op: Some(task.op) });
            }
            Some(task) => return Err(Rejection::ClusterBusy(task.kind.as_str().to_owned())),
            None => {}
        }
        let is_so = match power {
            Power::Start => cluster.is_running && cluster.health == Health::Ok,
            Power::Stop => !cluster.is_running,
            Power::Restart => false,
        };
        if is_so {
            return Ok(Reply::Power { op: None });
        }
        let task = Some(Task::new(context, power.task()));
        let op = context.index;
        self.put_cluster(Cluster { op, task, ..Cluster::clone(cluster) });
        Ok(Reply::Power { op: Some(op) })
    }
}
