//! `delete`: namespaces, clusters, shards, nodes.

use clap::Subcommand;
use reqwest::Method;

use super::{
    Done, rehearsal,
    scope::{Scope, namespace_path, segment},
    session::Session,
    unsupported,
};

/// What can be deleted.
#[derive(Debug, Subcommand)]
pub(super) enum Resource {
    /// A namespace without clusters.
    Namespace {
        /// Name.
        name: String,
    },
    /// A cluster; its nodes are not touched.
    Cluster {
        /// Name.
        name: String,
    },
    /// A shard without slots.
    Shard {
        /// Index; `--shard` if not given.
        index: Option<String>,
        /// Only tell what would happen.
        #[arg(long)]
        dry_run: bool,
    },
    /// A replica.
    Node {
        /// Its id.
        id: String,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    let (path, line) = match resource {
        Resource::Namespace { name } => {
            (namespace_path(name), format!("delete namespace: {name} successfully."))
        }
        Resource::Cluster { name } => {
            (scope.cluster_named(name)?, format!("delete cluster: {name} successfully."))
        }
        Resource::Shard { index, dry_run } => {
            let (path, index) = scope.shard_or(index.as_deref())?;
            if *dry_run {
                return rehearsal::run(session, Method::DELETE, &path, None).await;
            }
            (path, format!("delete shard {index} successfully."))
        }
        Resource::Node { id } => {
            let (shard, _) = scope.shard_or(None)?;
            let path = format!("{shard}/nodes/{}", segment(id));
            (path, format!("delete node: {id} successfully."))
        }
        Resource::Other(words) => return unsupported(words),
    };
    let data = session.change(Method::DELETE, &path, None).await?;
    session.report(data, &line)
}
