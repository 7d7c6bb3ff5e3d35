//! `get cluster`, in the form of the original.

use clap::Subcommand;
use serde_json::Value;

use super::{
    Done, list,
    scope::Scope,
    session::{Session, cell, row},
    unsupported,
};
use crate::cli::output;

/// What can be shown.
#[derive(Debug, Subcommand)]
pub(super) enum Resource {
    /// A cluster with its nodes.
    Cluster {
        /// Name.
        name: String,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    let name = match resource {
        Resource::Cluster { name } => name,
        Resource::Other(words) => return unsupported(words),
    };
    let mut data = session.get(&scope.cluster_named(name)?).await?;
    let cluster = data["cluster"].take();
    if session.is_json() {
        return session.report(cluster, "");
    }
    say_cluster(&cluster);
    Ok(())
}

/// Says a cluster as the original's client does.
pub(super) fn say_cluster(cluster: &Value) {
    output::say("");
    output::say(&format!("cluster: {}", cell(&cluster["name"])));
    output::say(&format!("version: {}", cell(&cluster["version"])));
    let mut rows = vec![row(["SHARD", "NODE ID", "ADDRESS", "ROLE", "MIGRATING"])];
    for (index, shard, node) in list::with_shard(&cluster["shards"]) {
        rows.push(vec![
            index.to_string(),
            cell(&node["id"]),
            cell(&node["addr"]),
            cell(&node["role"]).to_uppercase(),
            list::migrating(shard),
        ]);
    }
    output::say_barred_table(&rows);
}
