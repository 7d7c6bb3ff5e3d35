//! The family's part of the replicated state.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use super::{
    ClusterType, Rejection,
    index::Index,
    model::{Cluster, Host, Task},
    settings::Settings,
    template::Template,
};

/// Everything the family replicates. Cloning is O(1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Random id of this installation, once there was a host; marks its containers.
    pub(super) installation: Option<[u8; 16]>,
    /// Last `seq` of a host or a cluster.
    pub(super) last_seq: u64,
    pub(super) settings: Settings,
    /// In the order in which ties are broken.
    pub(super) templates: Vector<Arc<Template>>,
    /// In the order of creation.
    pub(super) hosts: OrdMap<u64, Arc<Host>>,
    /// Follows from the hosts.
    pub(super) host_ids: OrdMap<String, u64>,
    /// In the order of creation.
    pub(super) clusters: OrdMap<u64, Arc<Cluster>>,
    /// Follows from the clusters.
    pub(super) cluster_ids: OrdMap<String, u64>,
    /// Clusters by host, of hosts that have any. Follows from the clusters.
    pub(super) by_host: OrdMap<String, OrdSet<u64>>,
    /// Follows from the hosts and clusters.
    pub(super) index: Index,
    /// Released clusters as they were when they were released, oldest first.
    pub(super) released: Vector<Arc<Cluster>>,
    /// Hosts that are forgotten but for what is left on them, oldest first.
    pub(super) departed: Vector<Arc<Host>>,
    /// Left out by recoveries, oldest first.
    pub(super) lost: Vector<LostOps>,
}

/// Log indexes between a state that outlived its cluster and the first one of the cluster that went
/// on from it. Containers that bear one of them as their `op` were made by the lost cluster, for
/// records that this state has never seen; users may be working with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostOps {
    /// Index of the state.
    pub after: u64,
    /// Last index that was left out.
    pub upto: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            installation: None,
            last_seq: 0,
            settings: Settings::default(),
            templates: Template::defaults().into_iter().map(Arc::new).collect(),
            hosts: OrdMap::new(),
            host_ids: OrdMap::new(),
            clusters: OrdMap::new(),
            cluster_ids: OrdMap::new(),
            by_host: OrdMap::new(),
            index: Index::default(),
            released: Vector::new(),
            departed: Vector::new(),
            lost: Vector::new(),
        }
    }
}

impl State {
    /// After a recovery: whatever was made for an intent within these indexes is left alone by every
    /// sweep from now on. Tasks that are not over begin anew under the index after them: the lost
    /// cluster may have begun on one again under a later `op` than this state has, and what bears a
    /// later `op` than its task is somebody else's.
    pub fn leave_out(&mut self, lost: LostOps) {
        self.lost.push_back(lost);
        let op = lost.upto.saturating_add(1);
        let renewed = |task: &Option<Task>| task.clone().map(|task| Task { op, ..task });
        let clusters: Vec<_> =
            self.clusters.values().filter(|c| c.task.is_some()).cloned().collect();
        for cluster in clusters {
            let task = renewed(&cluster.task);
            self.put_cluster(Cluster { op, task, ..Cluster::clone(&cluster) });
        }
        let hosts: Vec<_> =
            self.hosts.values().filter(|host| host.task.is_some()).cloned().collect();
        for host in hosts {
            let task = renewed(&host.task);
            self.put_host(Host { task, ..Host::clone(&host) });
        }
        for host in self.departed.iter_mut().filter(|host| host.task.is_some()) {
            let task = renewed(&host.task);
            Arc::make_mut(host).task = task;
        }
    }

    pub(super) fn host(&self, id: &str) -> Result<&Arc<Host>, Rejection> {
        let seq = self.host_ids.get(id).ok_or(Rejection::HostNotFound)?;
        self.hosts.get(seq).ok_or(Rejection::HostNotFound)
    }

    pub(super) fn cluster(&self, id: &str) -> Result<&Arc<Cluster>, Rejection> {
        let seq = self.cluster_ids.get(id).ok_or(Rejection::ClusterNotFound)?;
        self.clusters.get(seq).ok_or(Rejection::ClusterNotFound)
    }

    /// Clusters of a host in the order of creation.
    pub(super) fn clusters_of(&self, host_id: &str) -> impl Iterator<Item = &Arc<Cluster>> {
        let seqs = self.by_host.get(host_id);
        seqs.into_iter().flatten().filter_map(|seq| self.clusters.get(seq))
    }

    pub(super) fn cluster_count(&self, host_id: &str) -> usize {
        self.by_host.get(host_id).map_or(0, OrdSet::len)
    }

    pub(super) fn template(&self, kind: &ClusterType) -> Option<&Arc<Template>> {
        self.templates.iter().find(|template| template.kind == *kind)
    }

    /// Puts a host in, or in place of what had its `seq`.
    pub(super) fn put_host(&mut self, host: Host) {
        self.host_ids.insert(host.id.clone(), host.seq);
        self.hosts.insert(host.seq, Arc::new(host));
    }

    pub(super) fn take_host(&mut self, id: &str) -> Option<Arc<Host>> {
        self.hosts.remove(&self.host_ids.remove(id)?)
    }

    /// Puts a cluster in, or in place of what had its `seq`. Id, `seq` and host never change.
    pub(super) fn put_cluster(&mut self, cluster: Cluster) {
        self.cluster_ids.insert(cluster.id.clone(), cluster.seq);
        self.by_host.entry(cluster.host_id.clone()).or_default().insert(cluster.seq);
        let host_seq = self.host_ids.get(&cluster.host_id).copied();
        if let Some(old) = self.clusters.get(&cluster.seq) {
            self.index.remove(old, host_seq);
        }
        self.index.add(&cluster, host_seq);
        self.clusters.insert(cluster.seq, Arc::new(cluster));
    }

    pub(super) fn take_cluster(&mut self, id: &str) -> Option<Arc<Cluster>> {
        let cluster = self.clusters.remove(&self.cluster_ids.remove(id)?)?;
        self.index.remove(&cluster, self.host_ids.get(&cluster.host_id).copied());
        if let Some(seqs) = self.by_host.get_mut(&cluster.host_id) {
            seqs.remove(&cluster.seq);
            if seqs.is_empty() {
                self.by_host.remove(&cluster.host_id);
            }
        }
        Some(cluster)
    }

    pub(super) fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }
}
