//! What readers ask of the state: the interface, and the loops on the leader and on observers.

use std::sync::Arc;

use super::{
    State,
    command::ClusterKey,
    model::{Cluster, Observer},
    settings::Settings,
};

/// Names of all namespaces, ascending.
#[must_use]
pub fn namespaces(state: &State) -> Vec<String> {
    state.namespaces.keys().cloned().collect()
}

/// Whether the namespace is there.
#[must_use]
pub fn has_namespace(state: &State, namespace: &str) -> bool {
    state.namespaces.contains_key(namespace)
}

/// Names of a namespace's clusters, ascending; `None` without the namespace.
#[must_use]
pub fn cluster_names(state: &State, namespace: &str) -> Option<Vec<String>> {
    Some(state.namespaces.get(namespace)?.keys().cloned().collect())
}

/// Whether two states are the same one: no command of the family was carried out in between. Costs
/// nothing; may say no of states that are equal.
#[must_use]
pub fn is_untouched(before: &State, now: &State) -> bool {
    before.namespaces.ptr_eq(&now.namespaces) && before.observers.ptr_eq(&now.observers)
}

/// A cluster; sharing it costs nothing.
#[must_use]
pub fn cluster(state: &State, key: &ClusterKey) -> Option<Arc<Cluster>> {
    state.find(key).ok().cloned()
}

/// Every cluster with its key, ascending. What the loops walk over.
pub fn clusters(state: &State) -> impl Iterator<Item = (ClusterKey, &Arc<Cluster>)> {
    state.namespaces.iter().flat_map(|(namespace, clusters)| {
        clusters.iter().map(move |(name, cluster)| {
            (ClusterKey { namespace: namespace.clone(), name: name.clone() }, cluster)
        })
    })
}

/// How many clusters there are.
#[must_use]
pub fn cluster_count(state: &State) -> u64 {
    state.namespaces.values().map(|clusters| clusters.len() as u64).sum()
}

/// The cluster that has a node with this address.
#[must_use]
pub fn owner_of_address<'a>(state: &'a State, addr: &str) -> Option<&'a ClusterKey> {
    state.addresses.get(addr)
}

/// The cluster that has a node with this id.
#[must_use]
pub fn owner_of_node<'a>(state: &'a State, id: &str) -> Option<&'a ClusterKey> {
    state.node_ids.get(id)
}

/// The replicated settings.
#[must_use]
pub const fn settings(state: &State) -> &Settings {
    &state.settings
}

/// Last reports of our replicas, ascending by their id.
pub fn observers(state: &State) -> impl Iterator<Item = (u64, &Arc<Observer>)> {
    state.observers.iter().map(|(id, observer)| (*id, observer))
}

pub use super::health::{Verdict, is_fresh, is_sighted, verdict};

/// What [`Command::CreateCluster`](super::Command::CreateCluster) judges before the nodes of the
/// new cluster are asked (spec 3.1).
///
/// # Errors
/// The [`super::Rejection`] that the command would meet.
pub fn judge_new_cluster(
    state: &State,
    key: &ClusterKey,
    addresses: &[&str],
    replicas: i64,
) -> Result<(), super::Rejection> {
    state.judge_new_cluster(key, addresses, replicas).map(|_| ())
}

/// The last migration that took any of these slots away from a node of the target shard. Such a
/// node refuses writes to slots that come back without their data (spec 5.6).
#[must_use]
pub fn returned_by(
    cluster: &Cluster,
    range: super::SlotRange,
    target: i64,
) -> Option<&super::model::Job> {
    let shard = cluster.shard(target)?;
    cluster.jobs.iter().rev().find(|job| {
        job.phase == super::model::Phase::Succeeded
            && job.range.overlaps(range)
            && shard.node(&job.source_node).is_some()
    })
}
