//! Values that queries answer: neutral of any wire shape, owned, computed from one state.

use serde::{Deserialize, Serialize};

use super::config::ClusterConfig;

/// Part of a replication pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeRole {
    /// Serves its part's slots.
    Master,
    /// Follows its peer.
    Replica,
}

/// Both ends of a migration, as shown in a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationView {
    /// Epoch of the entry.
    pub epoch: u64,
    /// Serving proxy of the source part.
    pub src_proxy_address: String,
    /// Master node of the source part.
    pub src_node_address: String,
    /// Serving proxy of the destination part.
    pub dst_proxy_address: String,
    /// Master node of the destination part.
    pub dst_node_address: String,
}

/// What a slot range is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TagView {
    /// Served, at rest.
    None,
    /// Leaving; shown at the source.
    Migrating(MigrationView),
    /// Arriving; shown at the destination.
    Importing(MigrationView),
}

/// Ranges that share a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRangeView {
    /// Inclusive ranges in stored order.
    pub range_list: Vec<(u64, u64)>,
    /// What they are doing.
    pub tag: TagView,
}

/// The other node of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplPeerView {
    /// Node.
    pub node_address: String,
    /// Its proxy.
    pub proxy_address: String,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Cluster; `None` for a node of a free proxy.
    pub cluster_name: Option<String>,
    /// Node.
    pub address: String,
    /// Its proxy.
    pub proxy_address: String,
    /// Slots; empty for a replica.
    pub slots: Vec<SlotRangeView>,
    /// Its part in the pair.
    pub role: NodeRole,
    /// The rest of the pair: one in a cluster, none when free.
    pub repl_peers: Vec<ReplPeerView>,
}

/// Another proxy of the same cluster that has a master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyPeerView {
    /// Proxy.
    pub proxy_address: String,
    /// Slots of its masters, concatenated in node order.
    pub slots: Vec<SlotRangeView>,
}

/// Spec 5.3. A free proxy has no cluster, no peers, no config, and its two nodes as masters
/// without slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyView {
    /// Cluster it serves.
    pub cluster_name: Option<String>,
    /// Proxy.
    pub address: String,
    /// Cluster epoch, or global epoch when free.
    pub epoch: u64,
    /// Its two nodes.
    pub nodes: Vec<NodeView>,
    /// The other proxies with masters.
    pub peers: Vec<ProxyPeerView>,
    /// The cluster's configuration.
    pub config: Option<ClusterConfig>,
}

/// Spec 5.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Cluster.
    pub name: String,
    /// Cluster epoch.
    pub epoch: u64,
    /// Nodes, chunk by chunk.
    pub nodes: Vec<NodeView>,
    /// Configuration.
    pub config: ClusterConfig,
}

/// Spec 5.4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// Cluster.
    pub name: String,
    /// All nodes.
    pub node_number: u64,
    /// Nodes of parts with viewed stable slots.
    pub node_number_with_slots: u64,
    /// Whether any migration is running, shown or hidden.
    pub is_migrating: bool,
}
