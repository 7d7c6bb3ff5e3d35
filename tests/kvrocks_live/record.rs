//! The record of a cluster as tests compare it with what nodes show.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::kvrocks_node::Node;

/// A node as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedNode {
    pub id: String,
    pub addr: String,
    pub is_master: bool,
}

/// A shard as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedShard {
    pub nodes: Vec<RecordedNode>,
    pub slots: Vec<String>,
    pub migrating: Option<String>,
}

impl RecordedShard {
    pub fn master(&self) -> &RecordedNode {
        self.nodes.iter().find(|node| node.is_master).unwrap()
    }

    pub fn replicas(&self) -> impl Iterator<Item = &RecordedNode> {
        self.nodes.iter().filter(|node| !node.is_master)
    }
}

/// A cluster as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub version: i64,
    pub shards: Vec<RecordedShard>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Record {
    pub fn parse(cluster: &Value) -> Self {
        let node = |node: &Value| RecordedNode {
            id: text(&node["id"]),
            addr: text(&node["addr"]),
            is_master: node["role"] == "master",
        };
        let shard = |shard: &Value| RecordedShard {
            nodes: shard["nodes"].as_array().unwrap().iter().map(node).collect(),
            slots: shard["slot_ranges"].as_array().unwrap().iter().map(text).collect(),
            migrating: shard["migrating_slot"].as_str().map(ToOwned::to_owned),
        };
        Self {
            version: cluster["version"].as_i64().unwrap(),
            shards: cluster["shards"].as_array().unwrap().iter().map(shard).collect(),
        }
    }

    /// A node and its shard.
    pub fn node(&self, addr: &str) -> Option<(&RecordedShard, &RecordedNode)> {
        self.shards.iter().find_map(|shard| {
            shard.nodes.iter().find(|node| node.addr == addr).map(|node| (shard, node))
        })
    }

    /// What a node shows that is not so.
    pub async fn faults_of(&self, node: &Node) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |what: &str, found: String, wanted: String| {
            if found != wanted {
                faults.push(format!("{}: {what}: {found}, not {wanted}", node.addr));
            }
        };
        let (shard, recorded) = self.node(&node.addr).unwrap();
        check("id", node.ask(&["CLUSTERX", "MYID"]).await.text(), recorded.id.clone());
        let version = node.ask(&["CLUSTERX", "VERSION"]).await.text();
        check("version", version, self.version.to_string());
        let role = node.ask(&["ROLE"]).await.text();
        let role: Vec<&str> = role.split(' ').collect();
        if recorded.is_master {
            check("role", role[0].to_owned(), "master".to_owned());
        } else {
            let master = shard.master().addr.replace(':', " ");
            let shown = role.get(..3).unwrap_or(&role[..1]).join(" ");
            check("role", shown, format!("slave {master}"));
        }
        let nodes = node.ask(&["CLUSTER", "NODES"]).await.text();
        check("slots", format!("{:?}", shown_slots(&nodes)), format!("{:?}", self.slots()));
        faults
    }

    /// Slots by master.
    fn slots(&self) -> BTreeMap<String, BTreeSet<String>> {
        let shards = self.shards.iter().filter(|shard| !shard.slots.is_empty());
        shards
            .map(|shard| (shard.master().id.clone(), shard.slots.iter().cloned().collect()))
            .collect()
    }
}

fn shown_slots(nodes: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lines = nodes.lines().filter(|line| line.contains("master"));
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let slots = fields.get(8..).unwrap_or_default().iter();
            let slots = slots.filter(|slot| !slot.starts_with('['));
            let slots: BTreeSet<String> = slots.map(|slot| (*slot).to_owned()).collect();
            (!slots.is_empty()).then(|| (fields[0].to_owned(), slots))
        })
        .collect()
}
