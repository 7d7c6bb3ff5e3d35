//! JSON of the stored document: what `GET /metadata` answers and `PUT /metadata` takes.
//!
//! Written as version 0.2. Version 0.1, which the documents show, lacks the ordered mode and the
//! proxies' index; it is read by the rules of the original upgrade script.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire_config::ConfigJson;
use crate::domain::undermoon::document::{
    ChunkStore, ClusterStore, Document, MigrationEntry, MigrationMeta, ProxyResource, RolePosition,
};

const VERSION: &str = "mem-broker-0.2";
const OLD_VERSION: &str = "mem-broker-0.1";

/// Why a body is no document.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The version is missing or unknown; looked at before anything else.
    #[error("the version of the metadata is missing or unknown")]
    Version,
    /// Not JSON, a member is missing, or has another type.
    #[error("the metadata does not decode: {0}")]
    Json(String),
}

/// Reads a stored document of either version; its content is not judged.
///
/// # Errors
/// [`DocumentError`].
pub fn decode(body: &[u8]) -> Result<Document, DocumentError> {
    let json = |error: serde_json::Error| DocumentError::Json(error.to_string());
    if body.trim_ascii_start().starts_with(b"{") {
        let versioned: Versioned = serde_json::from_slice(body).map_err(json)?;
        known(versioned.version.as_deref())?;
    }
    let document: DocumentJson = serde_json::from_slice(body).map_err(json)?;
    let is_old = known(Some(&document.version))?;
    document.into_document(is_old)
}

/// Encodes a document as version 0.2.
pub(super) fn encode(document: Document) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&DocumentJson::from(document))
}

/// Whether the version is the old one.
fn known(version: Option<&str>) -> Result<bool, DocumentError> {
    match version {
        Some(VERSION) => Ok(false),
        Some(OLD_VERSION) => Ok(true),
        _ => Err(DocumentError::Version),
    }
}

fn missing(member: &str) -> DocumentError {
    DocumentError::Json(format!("missing field `{member}`"))
}

#[derive(Deserialize)]
struct Versioned {
    version: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Metadata")]
pub(super) struct DocumentJson {
    version: String,
    global_epoch: u64,
    clusters: BTreeMap<String, ClusterJson>,
    all_proxies: BTreeMap<String, ProxyJson>,
    failed_proxies: BTreeSet<String>,
    failures: BTreeMap<String, BTreeMap<String, i64>>,
    enable_ordered_proxy: Option<bool>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoredCluster")]
struct ClusterJson {
    epoch: u64,
    name: String,
    chunks: Vec<ChunkJson>,
    config: ConfigJson,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoredProxy")]
struct ProxyJson {
    proxy_address: String,
    node_addresses: [String; 2],
    host: String,
    index: Option<u64>,
    cluster: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoredChunk")]
struct ChunkJson {
    role_position: RoleJson,
    stable_slots: [Option<StableJson>; 2],
    migrating_slots: [Vec<EntryJson>; 2],
    proxy_addresses: [String; 2],
    hosts: [String; 2],
    node_addresses: [String; 4],
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
enum RoleJson {
    Normal,
    FirstChunkMaster,
    SecondChunkMaster,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct StableJson {
    range_list: Vec<(u64, u64)>,
    tag: StableTag,
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum StableTag {
    None,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct EntryJson {
    range_list: Vec<(u64, u64)>,
    is_migrating: bool,
    meta: MetaJson,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct MetaJson {
    epoch: u64,
    src_chunk_index: u64,
    src_chunk_part: u64,
    dst_chunk_index: u64,
    dst_chunk_part: u64,
}

impl DocumentJson {
    fn into_document(self, is_old: bool) -> Result<Document, DocumentError> {
        let enable_ordered_proxy = match self.enable_ordered_proxy {
            Some(given) => given,
            None if is_old => false,
            None => return Err(missing("enable_ordered_proxy")),
        };
        let proxies = self.all_proxies.into_iter().map(|(key, proxy)| {
            let index = match proxy.index {
                Some(index) => index,
                None if is_old => 0,
                None => return Err(missing("index")),
            };
            Ok((key, proxy.into_resource(index)))
        });
        Ok(Document {
            global_epoch: self.global_epoch,
            all_proxies: proxies.collect::<Result<_, _>>()?,
            clusters: self.clusters.into_iter().map(|(key, json)| (key, json.into())).collect(),
            failed_proxies: self.failed_proxies,
            failures: self.failures,
            enable_ordered_proxy,
        })
    }
}

impl ProxyJson {
    fn into_resource(self, index: u64) -> ProxyResource {
        ProxyResource {
            proxy_address: self.proxy_address,
            node_addresses: self.node_addresses,
            host: self.host,
            index,
            cluster: self.cluster,
        }
    }
}

impl From<Document> for DocumentJson {
    fn from(document: Document) -> Self {
        let clusters = document.clusters.into_iter().map(|(key, store)| (key, store.into()));
        let proxies = document.all_proxies.into_iter().map(|(key, proxy)| (key, proxy.into()));
        Self {
            version: VERSION.to_owned(),
            global_epoch: document.global_epoch,
            clusters: clusters.collect(),
            all_proxies: proxies.collect(),
            failed_proxies: document.failed_proxies,
            failures: document.failures,
            enable_ordered_proxy: Some(document.enable_ordered_proxy),
        }
    }
}

impl From<ProxyResource> for ProxyJson {
    fn from(proxy: ProxyResource) -> Self {
        Self {
            proxy_address: proxy.proxy_address,
            node_addresses: proxy.node_addresses,
            host: proxy.host,
            index: Some(proxy.index),
            cluster: proxy.cluster,
        }
    }
}

impl From<ClusterStore> for ClusterJson {
    fn from(store: ClusterStore) -> Self {
        Self {
            epoch: store.epoch,
            name: store.name,
            chunks: store.chunks.into_iter().map(ChunkJson::from).collect(),
            config: store.config.into(),
        }
    }
}

impl From<ClusterJson> for ClusterStore {
    fn from(json: ClusterJson) -> Self {
        Self {
            epoch: json.epoch,
            name: json.name,
            chunks: json.chunks.into_iter().map(ChunkStore::from).collect(),
            config: json.config.into(),
        }
    }
}

impl From<ChunkStore> for ChunkJson {
    fn from(chunk: ChunkStore) -> Self {
        let stable = |slots: Option<Vec<(u64, u64)>>| {
            slots.map(|range_list| StableJson { range_list, tag: StableTag::None })
        };
        let entries = |list: Vec<MigrationEntry>| list.into_iter().map(EntryJson::from).collect();
        Self {
            role_position: chunk.role_position.into(),
            stable_slots: chunk.stable_slots.map(stable),
            migrating_slots: chunk.migrating_slots.map(entries),
            proxy_addresses: chunk.proxy_addresses,
            hosts: chunk.hosts,
            node_addresses: chunk.node_addresses,
        }
    }
}

impl From<ChunkJson> for ChunkStore {
    fn from(json: ChunkJson) -> Self {
        let entries = |list: Vec<EntryJson>| list.into_iter().map(MigrationEntry::from).collect();
        Self {
            role_position: json.role_position.into(),
            stable_slots: json.stable_slots.map(|slots| slots.map(|slots| slots.range_list)),
            migrating_slots: json.migrating_slots.map(entries),
            proxy_addresses: json.proxy_addresses,
            hosts: json.hosts,
            node_addresses: json.node_addresses,
        }
    }
}

impl From<RolePosition> for RoleJson {
    fn from(role: RolePosition) -> Self {
        match role {
            RolePosition::Normal => Self::Normal,
            RolePosition::FirstChunkMaster => Self::FirstChunkMaster,
            RolePosition::SecondChunkMaster => Self::SecondChunkMaster,
        }
    }
}

impl From<RoleJson> for RolePosition {
    fn from(json: RoleJson) -> Self {
        match json {
            RoleJson::Normal => Self::Normal,
            RoleJson::FirstChunkMaster => Self::FirstChunkMaster,
            RoleJson::SecondChunkMaster => Self::SecondChunkMaster,
        }
    }
}

impl From<MigrationEntry> for EntryJson {
    fn from(entry: MigrationEntry) -> Self {
        Self {
            range_list: entry.range_list,
            is_migrating: entry.is_migrating,
            meta: MetaJson {
                epoch: entry.meta.epoch,
                src_chunk_index: entry.meta.src_chunk_index,
                src_chunk_part: entry.meta.src_chunk_part,
                dst_chunk_index: entry.meta.dst_chunk_index,
                dst_chunk_part: entry.meta.dst_chunk_part,
            },
        }
    }
}

impl From<EntryJson> for MigrationEntry {
    fn from(json: EntryJson) -> Self {
        Self {
            range_list: json.range_list,
            is_migrating: json.is_migrating,
            meta: MigrationMeta {
                epoch: json.meta.epoch,
                src_chunk_index: json.meta.src_chunk_index,
                src_chunk_part: json.meta.src_chunk_part,
                dst_chunk_index: json.meta.dst_chunk_index,
                dst_chunk_part: json.meta.dst_chunk_part,
            },
        }
    }
}

#[cfg(test)]
#[path = "wire_document_test.rs"]
mod tests;
