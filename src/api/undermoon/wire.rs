//! JSON of requests and answers, apart from the stored document.
//!
//! Answers borrow from the views they show and keep the programs' order of members. The two
//! generations share every shape but node, peer and proxy (spec 2.6).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{route::Generation, wire_config::ConfigJson};
use crate::domain::undermoon::{
    Action,
    view::{
        ClusterInfo, ClusterView, MigrationView, NodeRole, NodeView, ProxyPeerView, ProxyView,
        SlotRangeView, TagView,
    },
};

/// Body of route 7 and 9.
#[derive(Deserialize, JsonSchema)]
pub(super) struct NodeNumber {
    pub(super) node_number: u64,
}

/// Body of route 10.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ClusterNodeNumber {
    pub(super) cluster_node_number: u64,
}

/// Body of route 20.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RegisterProxy {
    proxy_address: String,
    nodes: [String; 2],
    host: Option<String>,
    index: Option<u64>,
}

impl From<RegisterProxy> for Action {
    fn from(body: RegisterProxy) -> Self {
        Self::RegisterProxy {
            address: body.proxy_address,
            nodes: body.nodes,
            host: body.host,
            index: body.index,
        }
    }
}

/// Body of route 15.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CommitMigration {
    pub(super) cluster_name: String,
    slot_range: CommitSlotRange,
}

#[derive(Deserialize, JsonSchema)]
struct CommitSlotRange {
    range_list: Vec<(u64, u64)>,
    tag: CommitTag,
}

#[derive(Deserialize, JsonSchema)]
enum CommitTag {
    Migrating(CommitTask),
    Importing(CommitTask),
    None,
}

/// The addresses must be there, as in the programs, but only the epoch counts.
#[derive(Deserialize, JsonSchema)]
struct CommitTask {
    epoch: u64,
    #[serde(rename = "src_proxy_address")]
    _src_proxy_address: String,
    #[serde(rename = "src_node_address")]
    _src_node_address: String,
    #[serde(rename = "dst_proxy_address")]
    _dst_proxy_address: String,
    #[serde(rename = "dst_node_address")]
    _dst_node_address: String,
}

impl From<CommitMigration> for Action {
    fn from(body: CommitMigration) -> Self {
        let epoch = match body.slot_range.tag {
            CommitTag::Migrating(task) | CommitTag::Importing(task) => Some(task.epoch),
            CommitTag::None => None,
        };
        Self::CommitMigration {
            cluster_name: body.cluster_name,
            range_list: body.slot_range.range_list,
            epoch,
        }
    }
}

/// Body of route 16: every value is text, numbers too.
pub(super) type ConfigPairs = BTreeMap<String, String>;

/// Body of routes 27 and 28.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct LocalConfig {
    pub(super) replica_addresses: Vec<String>,
}

/// Query of routes 4 and 18.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) offset: u64,
    pub(super) limit: Option<u64>,
}

/// Answer of route 4.
#[derive(Serialize, JsonSchema)]
pub(super) struct NamesJson {
    pub(super) names: Vec<String>,
}

/// Answer of routes 18, 22, 25, and of route 15 in the `document` profile.
#[derive(Serialize, JsonSchema)]
pub(super) struct AddressesJson {
    pub(super) addresses: Vec<String>,
}

/// Answer of route 26.
#[derive(Serialize, JsonSchema)]
pub(super) struct SparesJson {
    pub(super) hosts_cannot_fail: Vec<String>,
}

/// Answer of route 31.
#[derive(Serialize, JsonSchema)]
pub(super) struct RecoveryJson {
    pub(super) failed_addresses: Vec<String>,
}

/// Answer of route 5.
#[derive(Serialize, JsonSchema)]
pub(super) struct ClusterAnswer<'a> {
    cluster: Option<ClusterJson<'a>>,
}

impl<'a> ClusterAnswer<'a> {
    pub(super) fn new(generation: Generation, view: Option<&'a ClusterView>) -> Self {
        Self { cluster: view.map(|view| ClusterJson::new(generation, view)) }
    }
}

#[derive(Serialize, JsonSchema)]
struct ClusterJson<'a> {
    name: &'a str,
    epoch: u64,
    nodes: Vec<NodeJson<'a>>,
    config: ConfigJson,
}

impl<'a> ClusterJson<'a> {
    fn new(generation: Generation, view: &'a ClusterView) -> Self {
        Self {
            name: &view.name,
            epoch: view.epoch,
            nodes: nodes(generation, &view.nodes),
            config: view.config.into(),
        }
    }
}

/// Answer of route 6.
#[derive(Serialize, JsonSchema)]
pub(super) struct ClusterInfoJson<'a> {
    name: &'a str,
    node_number: u64,
    node_number_with_slots: u64,
    is_migrating: bool,
}

impl<'a> From<&'a ClusterInfo> for ClusterInfoJson<'a> {
    fn from(info: &'a ClusterInfo) -> Self {
        Self {
            name: &info.name,
            node_number: info.node_number,
            node_number_with_slots: info.node_number_with_slots,
            is_migrating: info.is_migrating,
        }
    }
}

/// Answer of routes 19 and 23.
#[derive(Serialize, JsonSchema)]
pub(super) struct ProxyAnswer<'a> {
    proxy: Option<ProxyJson<'a>>,
}

impl<'a> ProxyAnswer<'a> {
    pub(super) fn new(generation: Generation, view: Option<&'a ProxyView>) -> Self {
        Self { proxy: view.map(|view| ProxyJson::new(generation, view)) }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum ProxyJson<'a> {
    V2(ProxyV2<'a>),
    V3(ProxyV3<'a>),
}

#[derive(Serialize, JsonSchema)]
struct ProxyV3<'a> {
    cluster_name: Option<&'a str>,
    address: &'a str,
    epoch: u64,
    nodes: Vec<NodeJson<'a>>,
    peers: Vec<PeerJson<'a>>,
    cluster_config: Option<ConfigJson>,
}

#[derive(Serialize, JsonSchema)]
struct ProxyV2<'a> {
    address: &'a str,
    epoch: u64,
    nodes: Vec<NodeJson<'a>>,
    free_nodes: Vec<&'a str>,
    peers: Vec<PeerJson<'a>>,
    clusters_config: BTreeMap<&'a str, ConfigJson>,
}

#[derive(Serialize, JsonSchema)]
struct PeerJson<'a> {
    proxy_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<&'a str>,
    slots: Vec<SlotRangeJson<'a>>,
}

impl<'a> ProxyJson<'a> {
    fn new(generation: Generation, view: &'a ProxyView) -> Self {
        let cluster_name = view.cluster_name.as_deref();
        let peer = |peer: &'a ProxyPeerView| PeerJson {
            proxy_address: &peer.proxy_address,
            cluster_name: cluster_name.filter(|_| generation == Generation::V2),
            slots: peer.slots.iter().map(SlotRangeJson::from).collect(),
        };
        let peers = view.peers.iter().map(peer).collect();
        let config = view.config.map(ConfigJson::from);
        match generation {
            Generation::V3 => Self::V3(ProxyV3 {
                cluster_name,
                address: &view.address,
                epoch: view.epoch,
                nodes: nodes(generation, &view.nodes),
                peers,
                cluster_config: config,
            }),
            Generation::V2 => {
                let (member, free) = match cluster_name {
                    Some(_) => (nodes(generation, &view.nodes), Vec::new()),
                    None => {
                        let free = view.nodes.iter().map(|node| node.address.as_str());
                        (Vec::new(), free.collect())
                    }
                };
                Self::V2(ProxyV2 {
                    address: &view.address,
                    epoch: view.epoch,
                    nodes: member,
                    free_nodes: free,
                    peers,
                    clusters_config: cluster_name.into_iter().zip(config).collect(),
                })
            }
        }
    }
}

/// A node; an array of them answers routes 9 and 10.
#[derive(Serialize, JsonSchema)]
pub(super) struct NodeJson<'a> {
    address: &'a str,
    proxy_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<&'a str>,
    slots: Vec<SlotRangeJson<'a>>,
    repl: ReplJson<'a>,
}

/// Nodes in the shape of a generation.
pub(super) fn nodes(generation: Generation, views: &[NodeView]) -> Vec<NodeJson<'_>> {
    views
        .iter()
        .map(|view| NodeJson {
            address: &view.address,
            proxy_address: &view.proxy_address,
            cluster_name: match generation {
                Generation::V2 => view.cluster_name.as_deref(),
                Generation::V3 => None,
            },
            slots: view.slots.iter().map(SlotRangeJson::from).collect(),
            repl: ReplJson::from(view),
        })
        .collect()
}

#[derive(Serialize, JsonSchema)]
struct ReplJson<'a> {
    role: &'static str,
    peers: Vec<ReplPeerJson<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct ReplPeerJson<'a> {
    node_address: &'a str,
    proxy_address: &'a str,
}

impl<'a> From<&'a NodeView> for ReplJson<'a> {
    fn from(view: &'a NodeView) -> Self {
        let peers = view.repl_peers.iter().map(|peer| ReplPeerJson {
            node_address: &peer.node_address,
            proxy_address: &peer.proxy_address,
        });
        Self {
            role: match view.role {
                NodeRole::Master => "master",
                NodeRole::Replica => "replica",
            },
            peers: peers.collect(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct SlotRangeJson<'a> {
    range_list: &'a [(u64, u64)],
    tag: TagJson<'a>,
}

#[derive(Serialize, JsonSchema)]
enum TagJson<'a> {
    None,
    Migrating(MigrationJson<'a>),
    Importing(MigrationJson<'a>),
}

#[derive(Serialize, JsonSchema)]
struct MigrationJson<'a> {
    epoch: u64,
    src_proxy_address: &'a str,
    src_node_address: &'a str,
    dst_proxy_address: &'a str,
    dst_node_address: &'a str,
}

impl<'a> From<&'a SlotRangeView> for SlotRangeJson<'a> {
    fn from(view: &'a SlotRangeView) -> Self {
        Self {
            range_list: &view.range_list,
            tag: match &view.tag {
                TagView::None => TagJson::None,
                TagView::Migrating(task) => TagJson::Migrating(task.into()),
                TagView::Importing(task) => TagJson::Importing(task.into()),
            },
        }
    }
}

impl<'a> From<&'a MigrationView> for MigrationJson<'a> {
    fn from(view: &'a MigrationView) -> Self {
        Self {
            epoch: view.epoch,
            src_proxy_address: &view.src_proxy_address,
            src_node_address: &view.src_node_address,
            dst_proxy_address: &view.dst_proxy_address,
            dst_node_address: &view.dst_node_address,
        }
    }
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
