//! What requests ask of nodes, and how their texts are read (spec 4.7, 5.4, 5.7).

use std::time::Duration;

use futures::future::join_all;

use crate::{
    client::node_call::{NodeAccess, NodeCall, NodeError},
    domain::kvrocks::{
        candidate::{Candidate, Reading},
        model::{Node, Role, Shard},
    },
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
        Ok(text) => match field(&text, "cluster_current_epoch").map(str::parse) {
            Some(Ok(epoch)) => Ok(epoch),
            _ => Err(NodeError::Protocol { addr: node.addr.to_owned() }),
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
    let access = access(node);
    nodes.call(access, &["CLUSTER", "INFO"], time).await?;
    let text = nodes.call(access, &["INFO"], time).await?;
    parse_reading(&text).ok_or_else(|| NodeError::Protocol { addr: node.addr.clone() })
}

/// Where a stored node is.
pub(super) fn access(node: &Node) -> NodeAccess<'_> {
    NodeAccess { addr: &node.addr, password: node.password.expose() }
}

fn parse_reading(text: &str) -> Option<Reading> {
    if field(text, "loading") == Some("1") {
        return None;
    }
    let role = match field(text, "role")? {
        "master" => Role::Master,
        "slave" => Role::Slave,
        _ => return None,
    };
    let offset = match role {
        Role::Master => "master_repl_offset",
        Role::Slave => "slave_repl_offset",
    };
    let number = |name: &str| field(text, name).and_then(|value| value.parse::<u64>().ok());
    let is_linked = field(text, "master_link_status").map(|status| status == "up");
    Some(Reading { role, sequence: number("sequence").or_else(|| number(offset))?, is_linked })
}

/// The value of a `name:value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.trim().split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_read_from_info() {
        let replica = "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\n\
                       slave_repl_offset:7\r\n# Keyspace\r\nsequence:9\r\n";
        for (text, expected) in [
            (replica.to_owned(), Some((Role::Slave, 9, Some(true)))),
            (replica.replace("sequence:9\r\n", ""), Some((Role::Slave, 7, Some(true)))),
            (replica.replace(":up", ":down"), Some((Role::Slave, 9, Some(false)))),
            ("role:master\r\nmaster_repl_offset:5\r\n".to_owned(), Some((Role::Master, 5, None))),
            ("loading:1\r\nrole:slave\r\nsequence:1\r\n".to_owned(), None),
            ("loading:0\r\n".to_owned(), None),
        ] {
            let found = parse_reading(&text);
            let found = found.map(|found| (found.role, found.sequence, found.is_linked));
            assert_eq!(found, expected, "{text}");
        }
    }
}
