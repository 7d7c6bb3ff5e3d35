//! Users get clusters and give them back (spec 3.1, 3.2).
//!
//! The only way from nobody to a user is [`State::hand_out`]; the only way back is removal and a
//! replacement under a new id. So no cluster ever has two users, and a late retry about an old id
//! cannot touch what its next user has.

use std::sync::Arc;

use super::{
    Rejection, Reply, State,
    command::Condition,
    model::{Cluster, ClusterType, Health, Phase, Task},
    text,
};
use crate::domain::Context;

impl State {
    pub(super) fn hand_out(
        &mut self,
        context: &Context<'_>,
        user_id: &str,
        condition: &Condition,
        allows_multiple: bool,
    ) -> Result<Reply, Rejection> {
        text::judge_user(user_id)?;
        self.judge_condition(condition)?;
        if !allows_multiple && let Some(owned) = self.owned(user_id, condition) {
            return Ok(Reply::Cluster(Box::new(Cluster::clone(owned))));
        }
        let available = self.first_available(condition);
        let mut cluster = available
            .map(|cluster| Cluster::clone(cluster))
            .ok_or_else(|| Rejection::NothingAvailable(user_id.to_owned()))?;
        user_id.clone_into(&mut cluster.user_id);
        cluster.applied_ms = Some(context.time_ms);
        self.put_cluster(cluster.clone());
        Ok(Reply::Cluster(Box::new(cluster)))
    }

    pub(super) fn judge_condition(&self, condition: &Condition) -> Result<(), Rejection> {
        let has = |is_meant: &dyn Fn(&ClusterType) -> bool| {
            self.templates.iter().any(|template| is_meant(&template.kind))
        };
        if let Some(plugin) = &condition.plugin
            && !has(&|kind| kind.plugin == *plugin)
        {
            return Err(Rejection::InvalidPlugin);
        }
        if let Some(mode) = &condition.mode
            && !has(&|kind| !mode.is_empty() && kind.mode == *mode)
        {
            return Err(Rejection::InvalidMode);
        }
        if let Some(size) = condition.size
            && !has(&|kind| i64::from(kind.size) == size)
        {
            return Err(Rejection::InvalidSize);
        }
        Ok(())
    }

    /// What the user has already, on whatever host; `applied_ms` stays as it is.
    fn owned(&self, user_id: &str, condition: &Condition) -> Option<&Arc<Cluster>> {
        self.clusters_of_user(user_id).find(|cluster| {
            cluster.phase == Phase::Ready
                && cluster.health == Health::Ok
                && condition.is_met(cluster.kind())
        })
    }

    /// First fit: hosts in the order of creation, then their clusters.
    fn first_available(&self, condition: &Condition) -> Option<&Arc<Cluster>> {
        let is_open = |host_seq| {
            self.hosts.get(&host_seq).is_some_and(|host| host.is_active && host.is_schedulable)
        };
        let first = self.index.first_available(|kind| condition.is_met(kind), is_open);
        first.and_then(|(_, seq)| self.clusters.get(&seq))
    }

    /// What has this user, whatever its phase, in the order of creation.
    fn clusters_of_user(&self, user_id: &str) -> impl Iterator<Item = &Arc<Cluster>> {
        self.index.of_user(user_id).filter_map(|seq| self.clusters.get(&seq))
    }

    pub(super) fn release(
        &mut self,
        context: &Context<'_>,
        cluster_id: &str,
        user_id: Option<&str>,
    ) -> Result<Reply, Rejection> {
        let Ok(cluster) = self.cluster(cluster_id) else { return Ok(Reply::Unchanged) };
        let cluster = Arc::clone(cluster);
        match cluster.phase {
            Phase::Creating => Err(Rejection::ClusterNotReady(cluster.status().to_owned())),
            Phase::Deleting | Phase::Resetting => Ok(Reply::Unchanged),
            Phase::Ready if user_id.is_some_and(|user| user != cluster.user_id) => {
                Err(Rejection::NotOwner)
            }
            Phase::Ready if cluster.user_id.is_empty() => Ok(Reply::Unchanged),
            Phase::Ready => {
                self.take_back(context, &cluster);
                Ok(Reply::Clusters(vec![cluster.id.clone()]))
            }
        }
    }

    pub(super) fn release_user(
        &mut self,
        context: &Context<'_>,
        user_id: &str,
    ) -> Result<Reply, Rejection> {
        text::judge_user(user_id)?;
        let is_meant = |cluster: &&Arc<Cluster>| cluster.phase == Phase::Ready;
        let owned: Vec<_> = self.clusters_of_user(user_id).filter(is_meant).cloned().collect();
        let ids = owned.iter().map(|cluster| cluster.id.clone()).collect();
        for cluster in owned {
            self.take_back(context, &cluster);
        }
        Ok(Reply::Clusters(ids))
    }

    /// A start, stop or restart that goes on is overridden.
    fn take_back(&mut self, context: &Context<'_>, cluster: &Cluster) {
        self.remember(context, cluster);
        let released_ms = Some(context.time_ms);
        let cluster = Cluster { released_ms, ..cluster.clone() };
        self.destroy(context, &cluster, (Phase::Deleting, true));
    }

    /// Adds a cluster that a user gives back, or loses, to the history.
    pub(super) fn remember(&mut self, context: &Context<'_>, cluster: &Cluster) {
        let released =
            Cluster { released_ms: Some(context.time_ms), task: None::<Task>, ..cluster.clone() };
        self.released.push_back(Arc::new(released));
        self.trim_history();
    }

    pub(super) fn trim_history(&mut self) {
        while self.released.len() > self.settings.history_max as usize {
            self.released.pop_front();
        }
    }

    pub(super) fn drop_released(&mut self, cluster_id: &str) -> Result<Reply, Rejection> {
        let at = self.released.iter().position(|cluster| cluster.id == cluster_id);
        self.released.remove(at.ok_or(Rejection::ClusterNotFound)?);
        Ok(Reply::Done)
    }
}

impl Condition {
    /// Whether a kind of cluster is what is wanted.
    fn is_met(&self, kind: &ClusterType) -> bool {
        self.plugin.as_ref().is_none_or(|plugin| kind.plugin == *plugin)
            && self.mode.as_ref().is_none_or(|mode| kind.mode == *mode)
            && self.size.is_none_or(|size| i64::from(kind.size) == size)
    }
}
