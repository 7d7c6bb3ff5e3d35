//! `import cluster`: takes over what running nodes say of themselves.

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

/// What can be imported.
#[derive(Debug, Subcommand)]
pub(super) enum Resource {
    /// A cluster.
    Cluster {
        /// Name it gets.
        name: String,
        /// Addresses, `HOST:PORT`; the first is asked for the topology.
        #[arg(long, value_delimiter = ',')]
        nodes: Vec<String>,
        #[command(flatten)]
        password: PasswordArguments,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    let (name, nodes, password) = match resource {
        Resource::Cluster { name, nodes, password } => (name, nodes, password),
        Resource::Other(words) => return unsupported(words),
    };
    let path = format!("{}/import", scope.cluster_named(name)?);
    let nodes = given_nodes(nodes)?;
    let body = json!({ "nodes": nodes, "password": password.read_or_none()?.readable() });
    let data = session.change(Method::POST, &path, Some(body)).await?;
    session.report(data, &format!("import cluster: {name} successfully."))
}
