//! What the state answers (spec 5). Free functions on one state: local and peer data of an answer
//! never come from two.

use std::sync::{Arc, Weak};

use super::{
    Rejection, State,
    document::{ChunkStore, Document, MigrationEntry, ProxyResource, RolePosition},
    settings::Settings,
    slots::{self, RangeList},
    state::{Cluster, Reports, count},
    view::{
        ClusterInfo, ClusterView, MigrationView, NodeRole, NodeView, ProxyPeerView, ProxyView,
        ReplPeerView, SlotRangeView, TagView,
    },
};

/// The global epoch.
#[must_use]
pub fn global_epoch(state: &State) -> u64 {
    state.global_epoch
}

/// The replicated settings.
#[must_use]
pub fn settings(state: &State) -> &Settings {
    &state.settings
}

/// Whether ordered proxy mode is on.
#[must_use]
pub fn is_ordered(state: &State) -> bool {
    state.is_ordered
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clusters.
    pub clusters: u64,
    /// Registered proxies that failed.
    pub proxies_failed: u64,
    /// Those that were reported and have not failed yet.
    pub proxies_suspected: u64,
    /// The rest of those that belong to a cluster.
    pub proxies_used: u64,
    /// The rest of those that belong to none.
    pub proxies_free: u64,
    /// Migrations that are not committed.
    pub migrations: u64,
}

/// Counts everything.
#[must_use]
pub fn counts(state: &State) -> Counts {
    let mut counts = Counts { clusters: count(state.clusters.len()), ..Counts::default() };
    for (address, proxy) in &state.proxies {
        let count = if state.failed.contains(address) {
            &mut counts.proxies_failed
        } else if state.failures.contains_key(address) {
            &mut counts.proxies_suspected
        } else if proxy.cluster.is_some() {
            &mut counts.proxies_used
        } else {
            &mut counts.proxies_free
        };
        *count += 1;
    }
    let chunks = state.clusters.values().flat_map(|cluster| &cluster.chunks);
    let ends = chunks.flat_map(|chunk| chunk.migrating_slots.iter().flatten());
    counts.migrations = count(ends.filter(|end| end.is_migrating).count());
    counts
}

/// Route 2.
#[must_use]
pub fn document(state: &State) -> Document {
    state.document()
}

/// Route 4, ascending; `limit` `None` gives all from `offset` on.
#[must_use]
pub fn cluster_names(state: &State, offset: u64, limit: Option<u64>) -> Vec<String> {
    page(state.clusters.keys(), offset, limit)
}

/// Route 18, ascending, failed proxies included.
#[must_use]
pub fn proxy_addresses(state: &State, offset: u64, limit: Option<u64>) -> Vec<String> {
    page(state.proxies.keys(), offset, limit)
}

/// Route 22, ascending.
#[must_use]
pub fn failed_proxies(state: &State) -> Vec<String> {
    state.failed.iter().cloned().collect()
}

/// Route 25, ascending: registered proxies with enough live reports.
#[must_use]
pub fn failures(state: &State, now_ms: u64) -> Vec<String> {
    let ttl_s = state.settings.failure_ttl_s;
    let quorum = state.settings.failure_quorum.max(1);
    let reported = state.failures.iter().filter(|(_, reports)| {
        let live = reports.values().filter(|time_s| !is_expired(**time_s, ttl_s, now_ms));
        count(live.count()) >= quorum
    });
    let mut listed: Vec<String> = reported
        .map(|(address, _)| address)
        .filter(|address| state.proxies.contains_key(*address))
        .cloned()
        .collect();
    if state.settings.list_failed_members {
        let is_member = |address: &&String| {
            state.proxies.get(*address).is_some_and(|proxy| proxy.cluster.is_some())
        };
        listed.extend(state.failed.iter().filter(is_member).cloned());
        listed.sort_unstable();
        listed.dedup();
    }
    listed
}

/// Whether pruning would drop a report.
#[must_use]
pub fn has_expired_failures(state: &State, now_ms: u64) -> bool {
    let ttl_s = state.settings.failure_ttl_s;
    state.failures.values().any(|reports| is_prunable(reports, ttl_s, now_ms))
}

/// Route 26, ascending.
///
/// # Errors
/// Only what inconsistent data leads to.
pub fn hosts_cannot_fail(state: &State) -> Result<Vec<String>, Rejection> {
    state.hosts_without_spares()
}

/// Route 6, on the limited view.
#[must_use]
pub fn cluster_info(state: &State, name: &str) -> Option<ClusterInfo> {
    let cluster = state.clusters.get(name)?;
    let parts = limited_parts(cluster, state.settings.migration_limit);
    let parts_with_slots = parts.iter().filter(|part| part.stable.is_some()).count();
    Some(ClusterInfo {
        name: cluster.name.clone(),
        node_number: cluster.node_number(),
        node_number_with_slots: count(parts_with_slots).saturating_mul(2),
        is_migrating: cluster.is_migrating(),
    })
}

/// Route 5, on the limited view.
#[must_use]
pub fn cluster(state: &State, name: &str) -> Option<ClusterView> {
    let cluster = state.clusters.get(name)?;
    Some(ClusterView {
        name: cluster.name.clone(),
        epoch: cluster.epoch,
        nodes: nodes_of(cluster, state.settings.migration_limit),
        config: cluster.config,
    })
}

/// Route 19, on the limited view.
#[must_use]
pub fn proxy(state: &State, address: &str) -> Option<ProxyView> {
    let proxy = state.proxies.get(address)?;
    let cluster = proxy.cluster.as_ref().and_then(|name| state.clusters.get(name));
    Some(match cluster {
        None => free_proxy(proxy, state.global_epoch),
        Some(cluster) => member(cluster, address, state.settings.migration_limit),
    })
}

/// What an answer about a cluster, or about a proxy of one, depends on. Answers of equal origins
/// are equal, so whoever keeps an answer with its origin need not make it again.
///
/// A cluster is changed where nobody else holds it, and otherwise copied; whoever holds it weakly
/// does not keep it alive, but keeps its place from being used again, so the same place is the same
/// content.
#[derive(Clone, Debug)]
pub struct Origin {
    cluster: Weak<Cluster>,
    migration_limit: u64,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.cluster.ptr_eq(&other.cluster) && self.migration_limit == other.migration_limit
    }
}

impl Eq for Origin {}

impl Origin {
    fn new(state: &State, cluster: &Arc<Cluster>) -> Self {
        let migration_limit = state.settings.migration_limit;
        Self { cluster: Arc::downgrade(cluster), migration_limit }
    }

    /// One that stands for no cluster; equal for equal numbers.
    #[cfg(test)]
    pub(crate) fn of_nothing(migration_limit: u64) -> Self {
        Self { cluster: Weak::new(), migration_limit }
    }
}

/// What the answer of route 5 depends on; `None` if there is no such cluster.
#[must_use]
pub fn cluster_origin(state: &State, name: &str) -> Option<Origin> {
    Some(Origin::new(state, state.clusters.get(name)?))
}

/// What the answer of route 19 depends on; `None` for a proxy that is unknown or free, whose
/// answer is small and follows the global epoch.
#[must_use]
pub fn proxy_origin(state: &State, address: &str) -> Option<Origin> {
    cluster_origin(state, state.proxies.get(address)?.cluster.as_ref()?)
}

/// Whether pruning changes the reports about one proxy. A restored document may hold a proxy
/// without any: it goes too, or else the proxy would never be free again.
pub(super) fn is_prunable(reports: &Reports, ttl_s: u64, now_ms: u64) -> bool {
    reports.is_empty() || reports.values().any(|time_s| is_expired(*time_s, ttl_s, now_ms))
}

/// Whether a report of whole second `time_s` has expired at `now_ms`.
pub(super) fn is_expired(time_s: i64, ttl_s: u64, now_ms: u64) -> bool {
    let expires_ms = i128::from(time_s).saturating_add(i128::from(ttl_s)).saturating_mul(1000);
    i128::from(now_ms) >= expires_ms
}

/// One part as it is shown.
struct PartView<'a> {
    stable: Option<RangeList>,
    entries: Vec<&'a MigrationEntry>,
}

/// Spec 4.8: at most `limit` migrations of a cluster are shown, at most one out of each part; the
/// source still owns what is hidden. 0 shows everything.
fn limited_parts(cluster: &Cluster, limit: u64) -> Vec<PartView<'_>> {
    let stored: Vec<(&Option<RangeList>, &Vec<MigrationEntry>)> = cluster
        .chunks
        .iter()
        .flat_map(|chunk| chunk.stable_slots.iter().zip(&chunk.migrating_slots))
        .collect();
    let mut parts: Vec<PartView<'_>> = stored
        .iter()
        .map(|(stable, entries)| PartView {
            stable: (*stable).clone(),
            entries: if limit == 0 { entries.iter().collect() } else { Vec::new() },
        })
        .collect();
    if limit == 0 {
        return parts;
    }
    let mut shown = 0_u64;
    for (source, (_, entries)) in stored.iter().enumerate() {
        let mut is_out = false;
        for entry in entries.iter().filter(|entry| entry.is_migrating) {
            if shown < limit && !is_out {
                shown = shown.saturating_add(1);
                is_out = true;
                show(cluster, &mut parts, source, entry);
            } else if let Some(part) = parts.get_mut(source) {
                let mut owned = part.stable.take().unwrap_or_default();
                owned.extend(entry.range_list.iter().copied());
                part.stable = Some(slots::compact(owned));
            }
        }
    }
    parts
}

fn show<'a>(
    cluster: &'a Cluster,
    parts: &mut [PartView<'a>],
    source: usize,
    entry: &'a MigrationEntry,
) {
    if let Some(part) = parts.get_mut(source) {
        part.entries.push(entry);
    }
    let (chunk_index, part_index) = entry.meta.destination();
    let Some((_, incoming)) = part_at(cluster, chunk_index, part_index) else {
        return;
    };
    let twin = incoming.iter().find(|twin| {
        !twin.is_migrating && twin.meta == entry.meta && twin.range_list == entry.range_list
    });
    let destination = chunk_index.saturating_mul(2).saturating_add(part_index);
    let destination = usize::try_from(destination).unwrap_or(usize::MAX);
    if let (Some(twin), Some(part)) = (twin, parts.get_mut(destination)) {
        part.entries.push(twin);
    }
}

fn part_at(cluster: &Cluster, chunk: u64, part: u64) -> Option<(&ChunkStore, &[MigrationEntry])> {
    let chunk = cluster.chunks.get(usize::try_from(chunk).ok()?)?;
    let entries = chunk.migrating_slots.get(usize::try_from(part).ok()?)?;
    Some((chunk, entries))
}

/// The part a node of a chunk belongs to (spec 1.2).
fn part_of_node(node: usize) -> usize {
    usize::from(node == 1 || node == 2)
}

/// The node that masters a part (spec 1.2).
fn master_of_part(role: RolePosition, part: u64) -> usize {
    match (role, part) {
        (RolePosition::Normal | RolePosition::FirstChunkMaster, 0) => 0,
        (RolePosition::SecondChunkMaster, 0) => 3,
        (RolePosition::Normal | RolePosition::SecondChunkMaster, _) => 2,
        (RolePosition::FirstChunkMaster, _) => 1,
    }
}

fn node_address(chunk: &ChunkStore, node: usize) -> String {
    chunk.node_addresses.get(node).cloned().unwrap_or_default()
}

fn proxy_of_node(chunk: &ChunkStore, node: usize) -> String {
    chunk.proxy_addresses.get(node / 2).cloned().unwrap_or_default()
}

fn nodes_of(cluster: &Cluster, limit: u64) -> Vec<NodeView> {
    let parts = limited_parts(cluster, limit);
    let mut nodes = Vec::with_capacity(cluster.chunks.len().saturating_mul(4));
    for (chunk_index, chunk) in cluster.chunks.iter().enumerate() {
        for node in 0..4 {
            let part = part_of_node(node);
            let is_master = master_of_part(chunk.role_position, count(part)) == node;
            let peer = 3_usize.saturating_sub(node);
            let shown = parts.get(chunk_index.saturating_mul(2).saturating_add(part));
            nodes.push(NodeView {
                cluster_name: Some(cluster.name.clone()),
                address: node_address(chunk, node),
                proxy_address: proxy_of_node(chunk, node),
                slots: shown
                    .filter(|_| is_master)
                    .map(|part| slots_of(cluster, part))
                    .unwrap_or_default(),
                role: if is_master { NodeRole::Master } else { NodeRole::Replica },
                repl_peers: vec![ReplPeerView {
                    node_address: node_address(chunk, peer),
                    proxy_address: proxy_of_node(chunk, peer),
                }],
            });
        }
    }
    nodes
}

fn slots_of(cluster: &Cluster, part: &PartView<'_>) -> Vec<SlotRangeView> {
    let stable = part
        .stable
        .iter()
        .map(|ranges| SlotRangeView { range_list: ranges.clone(), tag: TagView::None });
    let moving = part.entries.iter().filter_map(|entry| {
        let view = migration_view(cluster, entry)?;
        let tag =
            if entry.is_migrating { TagView::Migrating(view) } else { TagView::Importing(view) };
        Some(SlotRangeView { range_list: entry.range_list.clone(), tag })
    });
    stable.chain(moving).collect()
}

/// Addresses of both ends as they are now (spec 4.9).
fn migration_view(cluster: &Cluster, entry: &MigrationEntry) -> Option<MigrationView> {
    let end = |(chunk_index, part): (u64, u64)| {
        let (chunk, _) = part_at(cluster, chunk_index, part)?;
        let node = master_of_part(chunk.role_position, part);
        Some((proxy_of_node(chunk, node), node_address(chunk, node)))
    };
    let (src_proxy_address, src_node_address) = end(entry.meta.source())?;
    let (dst_proxy_address, dst_node_address) = end(entry.meta.destination())?;
    Some(MigrationView {
        epoch: entry.meta.epoch,
        src_proxy_address,
        src_node_address,
        dst_proxy_address,
        dst_node_address,
    })
}

fn free_proxy(proxy: &ProxyResource, global_epoch: u64) -> ProxyView {
    let nodes = proxy.node_addresses.iter().map(|address| NodeView {
        cluster_name: None,
        address: address.clone(),
        proxy_address: proxy.proxy_address.clone(),
        slots: Vec::new(),
        role: NodeRole::Master,
        repl_peers: Vec::new(),
    });
    ProxyView {
        cluster_name: None,
        address: proxy.proxy_address.clone(),
        epoch: global_epoch,
        nodes: nodes.collect(),
        peers: Vec::new(),
        config: None,
    }
}

fn member(cluster: &Cluster, address: &str, limit: u64) -> ProxyView {
    let mut nodes = Vec::new();
    let mut peers: Vec<ProxyPeerView> = Vec::new();
    for node in nodes_of(cluster, limit) {
        if node.proxy_address == address {
            nodes.push(node);
        } else if node.role == NodeRole::Master {
            // The nodes of a proxy stand side by side, so its entry is the last one if it exists.
            match peers.last_mut() {
                Some(peer) if peer.proxy_address == node.proxy_address => {
                    peer.slots.extend(node.slots);
                }
                _ => peers
                    .push(ProxyPeerView { proxy_address: node.proxy_address, slots: node.slots }),
            }
        }
    }
    ProxyView {
        cluster_name: Some(cluster.name.clone()),
        address: address.to_owned(),
        epoch: cluster.epoch,
        nodes,
        peers,
        config: Some(cluster.config),
    }
}

fn page<'a>(all: impl Iterator<Item = &'a String>, offset: u64, limit: Option<u64>) -> Vec<String> {
    let bound = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    all.skip(bound(offset)).take(bound(limit.unwrap_or(u64::MAX))).cloned().collect()
}
