//! The undermoon state and the indexes kept beside it. Cloning is O(1).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::{
    config::ClusterConfig,
    document::{ChunkStore, ClusterStore, Document, ProxyResource},
    settings::{Seed, Settings},
};

/// Reporter to whole seconds since the epoch.
pub(super) type Reports = BTreeMap<String, i64>;

/// One cluster. A chunk is shared until it changes, so that a change of one chunk of a large
/// cluster stays cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) epoch: u64,
    pub(super) name: String,
    pub(super) chunks: Vec<Arc<ChunkStore>>,
    pub(super) config: ClusterConfig,
}

/// Who is scaling right now (spec 4.7): the replica that serves route 14 between its two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScaleLease {
    pub(super) run: [u8; 16],
    pub(super) expires_ms: u64,
}

/// State of the undermoon family.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) global_epoch: u64,
    pub(super) clusters: OrdMap<String, Arc<Cluster>>,
    pub(super) proxies: OrdMap<String, Arc<ProxyResource>>,
    pub(super) failed: OrdSet<String>,
    pub(super) failures: OrdMap<String, Arc<Reports>>,
    pub(super) is_ordered: bool,
    pub(super) settings: Settings,
    pub(super) scale_lease: Option<ScaleLease>,
    /// Index: free proxies by host; a host without any has no entry.
    pub(super) free: OrdMap<String, OrdSet<String>>,
    /// Index: chunks by both of their hosts, in either order; a chunk on one host counts twice.
    pub(super) links: OrdMap<String, OrdMap<String, u64>>,
}

impl State {
    /// The empty state with the settings of the founding replica.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self {
            is_ordered: seed.enable_ordered_proxy,
            settings: seed.settings.clone(),
            ..Self::default()
        }
    }

    /// Takes the settings of the founding replica; for a state nobody has used yet.
    pub fn seed(&mut self, seed: &Seed) {
        self.settings = seed.settings.clone();
        self.is_ordered = seed.enable_ordered_proxy;
    }

    /// Replaces everything a metadata document holds; settings and the scale lease stay.
    pub(super) fn load(&mut self, document: &Document) {
        self.global_epoch = document.global_epoch;
        self.is_ordered = document.enable_ordered_proxy;
        self.clusters = document
            .clusters
            .values()
            .map(|stored| (stored.name.clone(), Arc::new(Cluster::from(stored))))
            .collect();
        self.proxies = document
            .all_proxies
            .values()
            .map(|proxy| (proxy.proxy_address.clone(), Arc::new(proxy.clone())))
            .collect();
        self.failed = document.failed_proxies.iter().cloned().collect();
        self.failures = document
            .failures
            .iter()
            .map(|(address, reports)| (address.clone(), Arc::new(reports.clone())))
            .collect();
        self.rebuild_indexes();
    }

    /// Computes both indexes from the rest of the state.
    pub(super) fn rebuild_indexes(&mut self) {
        let mut free: OrdMap<String, OrdSet<String>> = OrdMap::new();
        self.links = OrdMap::new();
        for (address, proxy) in &self.proxies {
            if self.is_idle(address, proxy) {
                free.entry(proxy.host.clone()).or_default().insert(address.clone());
            }
        }
        self.free = free;
        let clusters: Vec<Arc<Cluster>> = self.clusters.values().cloned().collect();
        for chunk in clusters.iter().flat_map(|cluster| &cluster.chunks) {
            self.link(&chunk.hosts);
        }
    }

    /// Spec 1.1: registered, in no cluster, not failed, without any report.
    pub(super) fn is_free(&self, address: &str) -> bool {
        self.proxies.get(address).is_some_and(|proxy| self.is_idle(address, proxy))
    }

    fn is_idle(&self, address: &str, proxy: &ProxyResource) -> bool {
        proxy.cluster.is_none()
            && !self.failed.contains(address)
            && !self.failures.contains_key(address)
    }

    /// Brings the index of free proxies up to date for one registered proxy.
    pub(super) fn refresh_free(&mut self, address: &str) {
        let Some(host) = self.proxies.get(address).map(|proxy| proxy.host.clone()) else {
            return;
        };
        if self.is_free(address) {
            self.free.entry(host).or_default().insert(address.to_owned());
        } else {
            self.forget_free(&host, address);
        }
    }

    /// Takes one proxy out of the index of free proxies.
    pub(super) fn forget_free(&mut self, host: &str, address: &str) {
        let Some(addresses) = self.free.get_mut(host) else {
            return;
        };
        addresses.remove(address);
        if addresses.is_empty() {
            self.free.remove(host);
        }
    }

    /// Counts a chunk in the link table. Both ways round, hence twice for a chunk on one host.
    pub(super) fn link(&mut self, [one, other]: &[String; 2]) {
        for (from, to) in [(one, other), (other, one)] {
            let row = self.links.entry(from.clone()).or_default();
            let chunks = row.entry(to.clone()).or_insert(0);
            *chunks = chunks.saturating_add(1);
        }
    }

    /// Takes a chunk out of the link table.
    pub(super) fn unlink(&mut self, [one, other]: &[String; 2]) {
        for (from, to) in [(one, other), (other, one)] {
            let Some(row) = self.links.get_mut(from) else {
                continue;
            };
            match row.get_mut(to) {
                Some(chunks) if *chunks > 1 => *chunks = chunks.saturating_sub(1),
                _ => drop(row.remove(to)),
            }
            if row.is_empty() {
                self.links.remove(from);
            }
        }
    }

    /// Spec 3.1: number of chunks between two hosts.
    pub(super) fn links_between(&self, one: &str, other: &str) -> u64 {
        self.links.get(one).and_then(|row| row.get(other)).copied().unwrap_or_default()
    }

    /// Raises the global epoch and returns it.
    pub(super) fn bump(&mut self) -> u64 {
        self.global_epoch = self.global_epoch.saturating_add(1);
        self.global_epoch
    }

    /// Changes a cluster in place; nothing happens if there is none of that name.
    pub(super) fn edit_cluster(&mut self, name: &str, edit: impl FnOnce(&mut Cluster)) {
        if let Some(cluster) = self.clusters.get_mut(name) {
            edit(Arc::make_mut(cluster));
        }
    }

    /// Says which cluster a proxy serves, and keeps the index of free proxies.
    pub(super) fn assign(&mut self, address: &str, cluster: Option<&str>) {
        if let Some(proxy) = self.proxies.get_mut(address) {
            Arc::make_mut(proxy).cluster = cluster.map(ToOwned::to_owned);
        }
        self.refresh_free(address);
    }

    /// Gives every cluster the global epoch.
    pub(super) fn level_epochs(&mut self) {
        let names: Vec<String> = self.clusters.keys().cloned().collect();
        let epoch = self.global_epoch;
        for name in names {
            self.edit_cluster(&name, |cluster| cluster.epoch = epoch);
        }
    }

    /// The metadata as a document.
    pub(super) fn document(&self) -> Document {
        Document {
            global_epoch: self.global_epoch,
            clusters: self
                .clusters
                .iter()
                .map(|(name, cluster)| (name.clone(), ClusterStore::from(cluster.as_ref())))
                .collect(),
            all_proxies: self
                .proxies
                .iter()
                .map(|(address, proxy)| (address.clone(), proxy.as_ref().clone()))
                .collect(),
            failed_proxies: self.failed.iter().cloned().collect::<BTreeSet<_>>(),
            failures: self
                .failures
                .iter()
                .map(|(address, reports)| (address.clone(), reports.as_ref().clone()))
                .collect(),
            enable_ordered_proxy: self.is_ordered,
        }
    }
}

impl Cluster {
    /// Whether any slots are on their way.
    pub(super) fn is_migrating(&self) -> bool {
        self.chunks
            .iter()
            .any(|chunk| chunk.migrating_slots.iter().any(|entries| !entries.is_empty()))
    }

    /// Number of nodes.
    pub(super) fn node_number(&self) -> u64 {
        count(self.chunks.len()).saturating_mul(4)
    }

    /// Proxies in chunk order.
    pub(super) fn proxy_addresses(&self) -> Vec<String> {
        self.chunks.iter().flat_map(|chunk| chunk.proxy_addresses.iter().cloned()).collect()
    }

    /// The chunk and the index within it of a proxy.
    pub(super) fn place_of(&self, address: &str) -> Option<(usize, usize)> {
        self.chunks.iter().enumerate().find_map(|(chunk_index, chunk)| {
            let proxy_index = chunk.proxy_addresses.iter().position(|proxy| proxy == address)?;
            Some((chunk_index, proxy_index))
        })
    }

    /// A chunk to change.
    pub(super) fn chunk_mut(&mut self, index: usize) -> Option<&mut ChunkStore> {
        self.chunks.get_mut(index).map(Arc::make_mut)
    }
}

impl From<&ClusterStore> for Cluster {
    fn from(stored: &ClusterStore) -> Self {
        Self {
            epoch: stored.epoch,
            name: stored.name.clone(),
            chunks: stored.chunks.iter().cloned().map(Arc::new).collect(),
            config: stored.config,
        }
    }
}

impl From<&Cluster> for ClusterStore {
    fn from(cluster: &Cluster) -> Self {
        Self {
            epoch: cluster.epoch,
            name: cluster.name.clone(),
            chunks: cluster.chunks.iter().map(|chunk| chunk.as_ref().clone()).collect(),
            config: cluster.config,
        }
    }
}

impl ChunkStore {
    /// Whether no part has slots, at rest or on their way.
    pub(super) fn is_empty(&self) -> bool {
        self.stable_slots.iter().all(Option::is_none)
            && self.migrating_slots.iter().all(Vec::is_empty)
    }
}

/// A length as a number of the state.
pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
