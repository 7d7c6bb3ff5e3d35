//! The stored metadata document (spec 1.4), typed: what routes 2 and 3 carry.
//!
//! The types here are plain data; JSON shapes belong to `api::undermoon::wire`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::config::ClusterConfig;

/// The whole metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Global epoch.
    pub global_epoch: u64,
    /// Clusters by key of the map in the document.
    pub clusters: BTreeMap<String, ClusterStore>,
    /// Proxies by key of the map in the document.
    pub all_proxies: BTreeMap<String, ProxyResource>,
    /// Failed set.
    pub failed_proxies: BTreeSet<String>,
    /// Address to reporter to whole seconds since the epoch.
    pub failures: BTreeMap<String, BTreeMap<String, i64>>,
    /// Ordered proxy mode.
    pub enable_ordered_proxy: bool,
}

/// A cluster as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStore {
    /// Cluster epoch.
    pub epoch: u64,
    /// Name inside the document; must equal the key.
    pub name: String,
    /// Chunks in order.
    pub chunks: Vec<ChunkStore>,
    /// Configuration.
    pub config: ClusterConfig,
}

/// Which proxy of a chunk masters which part (spec 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolePosition {
    /// One part each.
    Normal,
    /// Proxy 0 masters both.
    FirstChunkMaster,
    /// Proxy 1 masters both.
    SecondChunkMaster,
}

/// A chunk as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkStore {
    /// Role position.
    pub role_position: RolePosition,
    /// Ranges at rest of both parts; `None` is JSON null.
    pub stable_slots: [Option<Vec<(u64, u64)>>; 2],
    /// Migration entries of both parts in stored order.
    pub migrating_slots: [Vec<MigrationEntry>; 2],
    /// Both proxies.
    pub proxy_addresses: [String; 2],
    /// Hosts of both proxies.
    pub hosts: [String; 2],
    /// Four nodes.
    pub node_addresses: [String; 4],
}

/// One end of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationEntry {
    /// Ranges.
    pub range_list: Vec<(u64, u64)>,
    /// Whether this end is the source.
    pub is_migrating: bool,
    /// Both ends and the epoch.
    pub meta: MigrationMeta,
}

/// Both ends and the epoch of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MigrationMeta {
    /// Epoch of the entry.
    pub epoch: u64,
    /// Source chunk.
    pub src_chunk_index: u64,
    /// Source part, 0 or 1.
    pub src_chunk_part: u64,
    /// Destination chunk.
    pub dst_chunk_index: u64,
    /// Destination part, 0 or 1.
    pub dst_chunk_part: u64,
}

/// A proxy as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyResource {
    /// Address inside the document; must equal the key.
    pub proxy_address: String,
    /// Its two nodes.
    pub node_addresses: [String; 2],
    /// Failure domain.
    pub host: String,
    /// Position in ordered mode; 0 otherwise.
    pub index: u64,
    /// Cluster it serves.
    pub cluster: Option<String>,
}
