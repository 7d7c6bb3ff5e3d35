//! The family's part of the replicated state.

use std::sync::Arc;

use imbl::OrdMap;

use super::{
    Rejection,
    command::ClusterKey,
    model::{Cluster, Observer},
    settings::Settings,
};

/// Highest version that a recovery gives: nodes count in signed numbers, and what is left above is
/// room for some four billion changes.
const VERSION_MAX: u64 = i64::MAX as u64 - u32::MAX as u64;

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
    /// Last log index at which a readable password may have been stored; 0 below feature level 3.
    pub(super) bare_index: u64,
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

    /// After a recovery: past every version that the lost controller can have pushed, on the
    /// assumption that it raised each no more than `distance` times after this state, so that nodes
    /// take what is pushed from now on. What its replicas saw of the nodes is forgotten: nothing
    /// is to be failed over because of an old view.
    pub fn move_clocks(&mut self, distance: u64) {
        let names: Vec<String> = self.namespaces.keys().cloned().collect();
        for name in names {
            let Some(clusters) = self.namespaces.get_mut(&name) else { continue };
            let keys: Vec<String> = clusters.keys().cloned().collect();
            for key in keys {
                let Some(cluster) = clusters.get_mut(&key) else { continue };
                let moved = cluster.version.saturating_add(distance).min(VERSION_MAX);
                Arc::make_mut(cluster).version = moved.max(cluster.version);
            }
        }
        self.observers = OrdMap::new();
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
