//! The client of Kvrocks nodes against stand-ins: kept connections, passwords, faults.

#![allow(clippy::unwrap_used)]

#[path = "support/kvrocks_node/mod.rs"]
mod kvrocks_node;

use std::time::Duration;

use kvrocks_node::{Node, Options};
use quorate::client::{
    node_call::{NodeAccess, NodeCall, NodeError, Password},
    node_pool::NodePool,
};

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(200);

async fn version(nodes: &dyn NodeCall, addr: &str, password: &str) -> Result<String, NodeError> {
    nodes
        .call(
            NodeAccess { addr, password: Password::Readable(password) },
            &["CLUSTERX", "VERSION"],
            SOON,
        )
        .await
}

async fn start(password: &str) -> Node {
    let options = Options { password: password.to_owned(), ..Options::default() };
    Node::start(0, options).await.unwrap()
}

#[tokio::test]
async fn connections_are_kept_until_the_password_changes() {
    let node = start("first").await;
    let pool = NodePool::default();
    for _ in 0..3 {
        assert_eq!(version(&pool, &node.addr, "first").await.unwrap(), "-1");
    }
    assert_eq!(format!("{pool:?}"), "NodePool { connections: 1, .. }");
    // A connection that is logged on stays so at the node; a new password needs a new one.
    node.configure(|options| options.password = "second".to_owned());
    let refused = version(&pool, &node.addr, "wrong").await.unwrap_err();
    assert_eq!(refused.to_string(), "ERR Invalid password");
    assert_eq!(version(&pool, &node.addr, "second").await.unwrap(), "-1");
    for error in [
        version(&NodePool::default(), &node.addr, "third").await.unwrap_err(),
        version(&pool, &node.addr, "third").await.unwrap_err(),
    ] {
        assert!(!format!("{error} {error:?}").contains("third"), "{error:?}");
    }
    assert!(!format!("{pool:?}").contains("second"));
}

#[tokio::test]
async fn a_restarted_node_is_reached_at_once() {
    let mut node = start("").await;
    let pool = NodePool::default();
    version(&pool, &node.addr, "").await.unwrap();
    node.kill().await;
    let gone = version(&pool, &node.addr, "").await.unwrap_err();
    assert!(matches!(gone, NodeError::Connect { .. }), "{gone:?}");
    node.restart(true).await.unwrap();
    version(&pool, &node.addr, "").await.unwrap();
    node.restart(true).await.unwrap();
    version(&pool, &node.addr, "").await.expect("the broken connection is not used");
}

#[tokio::test]
async fn a_silent_node_takes_no_longer_than_allowed_and_costs_the_connection() {
    let node = start("").await;
    let pool = NodePool::default();
    version(&pool, &node.addr, "").await.unwrap();
    node.fault(|faults| faults.is_silent = true);
    let access = NodeAccess { addr: &node.addr, password: Password::Readable("") };
    let late = pool.call(access, &["CLUSTERX", "VERSION"], SHORT).await.unwrap_err();
    assert_eq!(late.to_string(), format!("{} did not answer in time", node.addr));
    assert_eq!(format!("{pool:?}"), "NodePool { connections: 0, .. }");
    node.fault(|faults| faults.is_silent = false);
    let text = pool.call(access, &["CLUSTERX", "MYID"], SOON).await.unwrap();
    assert_eq!(text, "", "not the answer to the question before");
}

#[tokio::test]
async fn refusals_keep_the_connection_and_the_words() {
    let node = start("").await;
    let pool = NodePool::default();
    let access = NodeAccess { addr: &node.addr, password: Password::Readable("") };
    let refused = pool.call(access, &["CLUSTER", "INFO"], SOON).await.unwrap_err();
    assert_eq!(refused.to_string(), "CLUSTERDOWN The cluster is not initialized");
    assert_eq!(format!("{pool:?}"), "NodePool { connections: 1, .. }");
}
