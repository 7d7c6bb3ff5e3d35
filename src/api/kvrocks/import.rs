//! `POST …/clusters/C/import` (spec 3.2): the first node tells the topology, the log takes it.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    body::Body,
    error::Failure,
    handle::{Answer, Ask, encode, unexpected},
    probe, wire,
};
use crate::{
    api::profile::Profile,
    client::node_call::{NodeAccess, Password},
    domain::kvrocks::{
        Command, Rejection, Reply, Secret, command::ClusterKey, name, nodes_text, query,
    },
};

/// Most time for the node to answer.
const ASK_TIME: Duration = Duration::from_secs(3);
/// Time for the proposal that follows.
const PROPOSE_TIME: Duration = Duration::from_secs(3);

pub(super) async fn import(ask: &Ask<'_>, key: ClusterKey, body: &Bytes) -> Answer {
    let view = ask.current().await?;
    if !query::has_namespace(&view.kvrocks, &key.namespace) {
        return Err(Rejection::NamespaceRequired.into());
    }
    let body = Body::parse(body)?;
    let nodes = body.texts("nodes")?;
    let password = body.text("password")?;
    let first = nodes.first().ok_or(Rejection::ClusterNodesEmpty)?;
    if let Some(bad) = nodes.iter().find(|addr| !name::is_address(addr)) {
        return Err(Rejection::InvalidAddress(bad.clone()).into());
    }
    let time = Duration::from_millis(query::settings(&view.kvrocks).node_timeout_ms).min(ASK_TIME);
    let node = NodeAccess { addr: first, password: Password::Readable(&password) };
    let text = probe::topology(ask.family.nodes.as_ref(), node, time).await;
    let text = text.map_err(|error| Failure::Node(error.to_string()))?;
    let topology =
        nodes_text::parse(&text).map_err(|error| Failure::Node(format!("{first}: {error}")))?;
    let password = Secret::new(password);
    let look = ask.look(&view).of_done();
    let command = Command::ImportCluster { cluster: key, topology, password };
    let (reply, done) = ask.propose_until(command, Instant::now() + PROPOSE_TIME).await?;
    let Reply::Cluster(cluster) = reply else { return Err(unexpected(&reply)) };
    let cluster = wire::ClusterJson::new(&cluster, look)?;
    match ask.visit.profile {
        Profile::Document => ask.created(&done, &()),
        Profile::Program => {
            ask.marked(encode(StatusCode::OK, &wire::ClusterAnswer { cluster })?, &done)
        }
    }
}
