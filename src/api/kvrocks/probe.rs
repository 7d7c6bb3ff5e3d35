//! What requests ask of nodes (spec 4.7).

use std::time::Duration;

use futures::future::join_all;

pub(super) use crate::observe::kvrocks::probe::access;
use crate::{
    client::node_call::{NodeAccess, NodeCall, NodeError},
    domain::kvrocks::{
        candidate::{Candidate, Reading},
        model::{Node, Shard},
    },
    observe::kvrocks::info::{ClusterInfo, Replication},
};

/// What an uninitialised node answers, whatever stands before it.
const UNINITIALISED: &str = "cluster is not initialized";

/// The epoch of a node; -1 if it has no topology yet.
pub(super) async fn epoch(
    nodes: &dyn NodeCall,
    node: NodeAccess<'_>,
    time: Duration,
) -> Result<i64, NodeError> {
    match nodes.call(node, &["CLUSTER", "INFO"], time).await {
        Ok(text) => match ClusterInfo::parse(&text) {
            Some(info) => Ok(info.epoch),
            None => Err(NodeError::Protocol { addr: node.addr.to_owned() }),
        },
        Err(NodeError::Refused { text, .. }) if text.contains(UNINITIALISED) => Ok(-1),
        Err(error) => Err(error),
    }
}

/// What `CLUSTER NODES` says.
pub(super) async fn topology(
    nodes: &dyn NodeCall,
    node: NodeAccess<'_>,
    time: Duration,
) -> Result<String, NodeError> {
    nodes.call(node, &["CLUSTER", "NODES"], time).await
}

/// Asks every node of a shard for what a failover is decided on, all at once.
pub(super) async fn candidates(
    nodes: &dyn NodeCall,
    shard: &Shard,
    time: Duration,
) -> Vec<Candidate> {
    let asked = shard.nodes.iter().map(|node| async move {
        let reading = reading(nodes, node, time).await;
        Candidate { node_id: node.id.clone(), reading: reading.map_err(|error| error.to_string()) }
    });
    join_all(asked).await
}

/// What a node says of its replication. One that has no topology or is loading does not qualify.
pub(super) async fn reading(
    nodes: &dyn NodeCall,
    node: &Node,
    time: Duration,
) -> Result<Reading, NodeError> {
    let commands: [&[&str]; 2] = [&["CLUSTER", "INFO"], &["INFO"]];
    let texts = nodes.exchange(access(node), &commands, time).await?;
    let said = texts.last().and_then(|text| Replication::parse(text));
    said.map(Reading::from).ok_or_else(|| NodeError::Protocol { addr: node.addr.clone() })
}
