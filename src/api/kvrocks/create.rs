//! `POST /namespaces/N/clusters` (spec 3.1): nodes are asked whether they are free, between the
//! judgement of the request and that of the name.

use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use super::{
    body::Body,
    error::Failure,
    handle::{Answer, Ask, unexpected},
    probe, wire,
};
use crate::{
    client::node_call::{NodeAccess, Password},
    domain::kvrocks::{
        Command, Rejection, Reply, Secret, command::ClusterKey, query, settings::NodeCheck,
    },
};

/// Skips the check with `yes` or `true`.
const SKIP_HEADER: &str = "x-dont-check-cluster-mode";
/// What earlier programs called it.
const CLASSIC_SKIP_HEADER: &str = "x-dont-detect-host";
/// Time for a node to say whether it is free; all are asked at once.
const CHECK_TIME: Duration = Duration::from_millis(1_500);
/// Time for the proposal that follows.
const PROPOSE_TIME: Duration = Duration::from_secs(3);

pub(super) async fn create(ask: &Ask<'_>, namespace: String, body: &Bytes) -> Answer {
    let view = ask.current().await?;
    if !query::has_namespace(&view.kvrocks, &namespace) {
        return Err(Rejection::NamespaceRequired.into());
    }
    let body = Body::parse(body)?;
    let key = ClusterKey { namespace, name: body.text("name")? };
    let addresses = body.texts("nodes")?;
    // Some clients of the original send the singular.
    let replicas = if body.has("replicas") { "replicas" } else { "replica" };
    let replicas = body.integer(replicas)?;
    let password = body.text("password")?;
    let refs: Vec<&str> = addresses.iter().map(String::as_str).collect();
    // A name that is taken is judged after the nodes, and a retry of what was done already must
    // reach the log: both are left to the proposal.
    let is_new = query::cluster(&view.kvrocks, &key).is_none();
    if query::judge_new_cluster(&view.kvrocks, &key, &refs, replicas).is_ok() && is_new {
        let check = node_check(&ask.head.headers, query::settings(&view.kvrocks).node_check);
        check_nodes(ask, &refs, &password, check).await?;
    }
    let nodes = ask.new_nodes(&key, addresses);
    let password = Secret::new(password);
    let look = ask.look(&view).of_done();
    let command = Command::CreateCluster { cluster: key, nodes, replicas, password };
    let (reply, done) = ask.propose_until(command, Instant::now() + PROPOSE_TIME).await?;
    let Reply::Cluster(cluster) = reply else { return Err(unexpected(&reply)) };
    let cluster = wire::ClusterJson::new(&cluster, look)?;
    ask.created(&done, &wire::ClusterAnswer { cluster })
}

/// What the headers make of the setting. `no` or `false` asks for every node.
fn node_check(headers: &HeaderMap, setting: NodeCheck) -> NodeCheck {
    let is = |name: &str, words: [&str; 2]| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
    };
    if is(SKIP_HEADER, ["yes", "true"]) || is(CLASSIC_SKIP_HEADER, ["true", "yes"]) {
        return NodeCheck::Off;
    }
    if is(SKIP_HEADER, ["no", "false"]) { NodeCheck::All } else { setting }
}

/// Refuses nodes that have a topology already, or that cannot be clustered at all.
async fn check_nodes(
    ask: &Ask<'_>,
    addresses: &[&str],
    password: &str,
    check: NodeCheck,
) -> Result<(), Failure> {
    if check == NodeCheck::Off {
        return Ok(());
    }
    let nodes = ask.family.nodes.as_ref();
    let asked = addresses.iter().map(|addr| {
        let node = NodeAccess { addr, password: Password::Readable(password) };
        async move { probe::epoch(nodes, node, CHECK_TIME).await }
    });
    for (addr, epoch) in addresses.iter().zip(join_all(asked).await) {
        match epoch {
            Ok(-1) => {}
            Ok(_) => {
                return Err(Failure::BadRequest("node is already in cluster mode".to_owned()));
            }
            Err(error) if !error.is_answer() && check == NodeCheck::Reachable => {
                tracing::warn!(address = addr, %error, "a node of a new cluster was not checked");
            }
            Err(error) => {
                let text = format!("error while checking node cluster mode: {error}");
                return Err(Failure::Node(text));
            }
        }
    }
    Ok(())
}
