//! A topology as nodes report it and as it is pushed to them: no passwords, no history.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{
    model::{Cluster, Role},
    slots::SlotRange,
};

/// A node in a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyNode {
    /// 40 characters.
    pub id: String,
    /// `host:port`.
    pub addr: String,
    /// Called failed by its cluster; replicas only.
    pub is_failed: bool,
}

/// A master with its replicas and slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyShard {
    /// The master.
    pub master: TopologyNode,
    /// Its replicas.
    pub replicas: Vec<TopologyNode>,
    /// Ascending, neither overlapping nor touching.
    pub slots: Vec<SlotRange>,
    /// A migration that was going on: its slots and the id of the receiving master.
    pub migrating: Option<(SlotRange, String)>,
}

/// What `CLUSTER NODES` of one node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The node's epoch.
    pub version: u64,
    /// By first slot, those without slots last.
    pub shards: Vec<TopologyShard>,
}

/// A shard has no master, so no node can be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing master node")]
pub struct MissingMaster;

/// The text of `CLUSTERX SETNODES` (spec 4.6), the same for every node of the cluster.
///
/// # Errors
/// [`MissingMaster`] if a shard with nodes has none.
pub fn render(cluster: &Cluster) -> Result<String, MissingMaster> {
    let mut text = String::new();
    for shard in cluster.shards.iter().filter(|shard| !shard.nodes.is_empty()) {
        let master = shard.master().ok_or(MissingMaster)?;
        for node in &shard.nodes {
            let (host, port) = node.addr.split_once(':').unwrap_or((&node.addr, ""));
            text.push_str(&node.id);
            text.push(' ');
            text.push_str(host);
            text.push(' ');
            text.push_str(port);
            match node.role {
                Role::Master => {
                    let slots: Vec<_> = shard.slots.iter().map(ToString::to_string).collect();
                    // Writing to a string cannot fail.
                    let _ = write!(text, " master - {}", slots.join(" "));
                }
                Role::Slave => {
                    let _ = write!(text, " slave {}", master.id);
                }
            }
            text.push('\n');
        }
    }
    Ok(text)
}
