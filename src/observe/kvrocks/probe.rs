//! Asks one node what it is doing.

use std::time::Duration;

use super::{
    info::{ClusterInfo, Replication},
    sight::{Compared, Probed},
};
use crate::{
    client::node_call::{NodeAccess, NodeCall, NodeError, Password},
    domain::kvrocks::{
        model::{Cluster, Node, Role},
        nodes_text, slots,
        topology::Topology,
    },
};

/// Where a stored node is.
pub fn access(node: &Node) -> NodeAccess<'_> {
    let password = match node.password.sealed() {
        Some(sealed) => Password::Sealed(sealed),
        None => Password::Readable(node.password.readable().unwrap_or_default()),
    };
    NodeAccess { addr: &node.addr, password }
}

/// Probes a node (spec 4.3).
pub async fn probe(nodes: &dyn NodeCall, node: &Node, time: Duration) -> Probed {
    let commands: [&[&str]; 2] = [&["CLUSTER", "INFO"], &["INFO", "replication"]];
    let texts = match nodes.exchange(access(node), &commands, time).await {
        Ok(texts) => texts,
        Err(error) => return judge(&error),
    };
    let [cluster, replication] = &texts[..] else {
        return Probed::Refused("it did not answer every question".to_owned());
    };
    match ClusterInfo::parse(cluster) {
        Some(info) => Probed::Answered { info, replication: Replication::parse(replication) },
        None => Probed::Refused("its CLUSTER INFO cannot be read".to_owned()),
    }
}

/// What an error means. Texts are found anywhere: old servers put `ERR ` before them.
fn judge(error: &NodeError) -> Probed {
    match error {
        NodeError::Refused { text, .. } if text.contains("LOADING") => Probed::Loading,
        NodeError::Refused { text, .. } if text.contains("cluster is not initialized") => {
            Probed::Uninitialised
        }
        error @ NodeError::Sealed { .. } => Probed::Sealed(error.to_string()),
        error if error.is_answer() => Probed::Refused(error.to_string()),
        error => Probed::Silent(error.to_string()),
    }
}

/// Asks a node for its whole view and compares it with the record; `None` if it cannot be had, or
/// is of another version.
pub async fn compare(
    nodes: &dyn NodeCall,
    node: &Node,
    cluster: &Cluster,
    round: u64,
    time: Duration,
) -> Option<Compared> {
    let text = nodes.call(access(node), &["CLUSTER", "NODES"], time).await.ok()?;
    let topology = match nodes_text::parse(&text) {
        Ok(topology) => topology,
        Err(error) => {
            let fault = Some(error.to_string());
            return Some(Compared { version: cluster.version, round, fault });
        }
    };
    let fault = difference(cluster, &topology);
    (topology.version == cluster.version).then_some(Compared {
        version: cluster.version,
        round,
        fault,
    })
}

/// What is wrong with a node's view. Slots that the record gives to nobody do not matter: nodes
/// keep old owners of such slots (spec 5.2).
fn difference(cluster: &Cluster, topology: &Topology) -> Option<String> {
    if topology.nodes().count() != cluster.nodes().count() {
        return Some("it knows other nodes".to_owned());
    }
    for shard in &cluster.shards {
        let Some(master) = shard.master() else { continue };
        let seen = topology.shards.iter().find(|seen| seen.master.id == master.id);
        let Some(seen) = seen else {
            return Some(format!("it does not know {} as a master", master.addr));
        };
        if seen.master.addr != master.addr {
            return Some(format!("it knows {} as {}", master.addr, seen.master.addr));
        }
        for replica in shard.nodes.iter().filter(|node| node.role == Role::Slave) {
            let is_known = |seen: &&_| is_same(replica, seen);
            if seen.replicas.iter().find(is_known).is_none() {
                return Some(format!("it does not know {} as a replica", replica.addr));
            }
        }
        let lacking = seen
            .slots
            .iter()
            .fold(shard.slots.clone(), |lacking, have| slots::remove(&lacking, *have));
        if let Some(range) = lacking.first() {
            return Some(format!("it does not know {range} as slots of {}", master.addr));
        }
    }
    None
}

fn is_same(node: &Node, seen: &crate::domain::kvrocks::topology::TopologyNode) -> bool {
    node.id == seen.id && node.addr == seen.addr
}

#[cfg(test)]
#[path = "probe_test.rs"]
mod tests;
