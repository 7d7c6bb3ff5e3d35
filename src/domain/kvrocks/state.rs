//! The family's part of the replicated state.

use std::sync::Arc;

use imbl::OrdMap;

use super::{
    Rejection,
    command::ClusterKey,
    model::{Cluster, Observer},
    settings::Settings,
};

/// Clusters of one namespace, by name.
pub(super) type Namespace = OrdMap<String, Arc<Cluster>>;

/// Everything the family replicates. Cloning is O(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(super) namespaces: OrdMap<String, Namespace>,
    /// Where each address is used. Follows from the clusters.
    pub(super) addresses: OrdMap<String, ClusterKey>,
    /// Where each node id is used. Follows from the clusters.
    pub(super) node_ids: OrdMap<String, ClusterKey>,
    pub(super) observers: OrdMap<u64, Arc<Observer>>,
    pub(super) settings: Settings,
}

impl State {
    /// A cluster, shared.
    pub(super) fn find(&self, key: &ClusterKey) -> Result<&Arc<Cluster>, Rejection> {
        self.namespaces
            .get(&key.namespace)
            .and_then(|clusters| clusters.get(&key.name))
            .ok_or(Rejection::ClusterNotFound)
    }

    /// Puts a cluster in place of what the key had, and keeps the indexes right.
    pub(super) fn put(&mut self, key: &ClusterKey, cluster: Cluster) {
        self.unindex(key);
        for (_, node) in cluster.nodes() {
            self.addresses.insert(node.addr.clone(), key.clone());
            self.node_ids.insert(node.id.clone(), key.clone());
        }
        let clusters = self.namespaces.entry(key.namespace.clone()).or_default();
        let old = clusters.insert(key.name.clone(), Arc::new(cluster));
        self.forget_reports(old.as_deref());
    }

    /// Takes a cluster out.
    pub(super) fn take(&mut self, key: &ClusterKey) -> Option<Arc<Cluster>> {
        self.unindex(key);
        let old = self.namespaces.get_mut(&key.namespace)?.remove(&key.name);
        self.forget_reports(old.as_deref());
        old
    }

    /// Forgets what observers said of nodes that are gone, so that a node that comes back under
    /// its old id is judged anew.
    fn forget_reports(&mut self, old: Option<&Cluster>) {
        let nodes = old.into_iter().flat_map(Cluster::nodes);
        for (_, node) in nodes.filter(|(_, node)| !self.node_ids.contains_key(&node.id)) {
            let told = self.observers.iter().filter(|(_, seen)| seen.down.contains_key(&node.id));
            let told: Vec<u64> = told.map(|(id, _)| *id).collect();
            for id in told {
                if let Some(observer) = self.observers.get_mut(&id) {
                    Arc::make_mut(observer).down.remove(&node.id);
                }
            }
        }
    }

    fn unindex(&mut self, key: &ClusterKey) {
        let Ok(cluster) = self.find(key).cloned() else { return };
        for (_, node) in cluster.nodes() {
            self.addresses.remove(&node.addr);
            self.node_ids.remove(&node.id);
        }
    }
}
