//! `create`: namespaces, clusters, shards, nodes.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::{
    Done,
    password::PasswordArguments,
    scope::{Scope, given_nodes},
    session::Session,
    unsupported,
};

/// What can be created.
#[derive(Debug, Subcommand)]
pub(super) enum Resource {
    /// A namespace.
    Namespace {
        /// Name.
        name: String,
    },
    /// A cluster with all slots.
    Cluster {
        /// Name.
        name: String,
        /// Addresses, `HOST:PORT`; consecutive groups make shards, the first of each is its master.
        #[arg(long, value_delimiter = ',')]
        nodes: Vec<String>,
        /// Nodes of a shard, its master included.
        #[arg(short, long, visible_alias = "replicas", default_value_t = 1)]
        #[arg(allow_negative_numbers = true)]
        replica: i64,
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// A shard without slots.
    Shard {
        /// Addresses, `HOST:PORT`; the first is the master.
        #[arg(long, value_delimiter = ',')]
        nodes: Vec<String>,
        #[command(flatten)]
        password: PasswordArguments,
    },
    /// A replica of a shard.
    Node {
        /// Address, `HOST:PORT`.
        address: String,
        #[command(flatten)]
        password: PasswordArguments,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    let (path, body, line) = match resource {
        Resource::Namespace { name } => (
            "/api/v1/namespaces".to_owned(),
            json!({ "namespace": name }),
            format!("create namespace: {name} successfully."),
        ),
        Resource::Cluster { name, nodes, replica, password } => {
            let (path, nodes) = (scope.clusters()?, given_nodes(nodes)?);
            let password = password.read_or_none()?;
            let password = password.readable();
            let body = json!({
                "name": name, "nodes": nodes, "replicas": replica, "password": password,
            });
            (path, body, format!("create cluster: {name} successfully."))
        }
        Resource::Shard { nodes, password } => {
            let (path, nodes) = (format!("{}/shards", scope.cluster()?), given_nodes(nodes)?);
            let body = json!({ "nodes": nodes, "password": password.read_or_none()?.readable() });
            (path, body, "create the new shard successfully.".to_owned())
        }
        Resource::Node { address, password } => {
            let (shard, _) = scope.shard_or(None)?;
            let body = json!({ "addr": address, "password": password.read_or_none()?.readable() });
            (format!("{shard}/nodes"), body, format!("create node: {address} successfully."))
        }
        Resource::Other(words) => return unsupported(words),
    };
    let data = session.change(Method::POST, &path, Some(body)).await?;
    session.report(data, &line)
}
