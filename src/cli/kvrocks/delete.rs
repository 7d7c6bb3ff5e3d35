//! `delete`: namespaces, clusters, shards, nodes.

use clap::Subcommand;
use reqwest::Method;

use super::{
    Consent, Done, rehearsal,
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
        #[command(flatten)]
        consent: Consent,
    },
    /// A cluster; its nodes are not touched.
    Cluster {
        /// Name.
        name: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// A shard without slots.
    Shard {
        /// Index; `--shard` if not given.
        index: Option<String>,
        /// Only tell what would happen.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// A replica.
    Node {
        /// Its id.
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    let (path, line) = match resource {
        Resource::Namespace { name, consent } => {
            consent.to(&format!("namespace {name} will be deleted"))?;
            (namespace_path(name), format!("delete namespace: {name} successfully."))
        }
        Resource::Cluster { name, consent } => {
            consent.to(&format!("cluster {name} will be forgotten; its nodes go on alone"))?;
            (scope.cluster_named(name)?, format!("delete cluster: {name} successfully."))
        }
        Resource::Shard { index, dry_run, consent } => {
            let (path, index) = scope.shard_or(index.as_deref())?;
            if *dry_run {
                return rehearsal::run(session, Method::DELETE, &path, None).await;
            }
            consent.to(&format!("shard {index} will be deleted"))?;
            (path, format!("delete shard {index} successfully."))
        }
        Resource::Node { id, consent } => {
            consent.to(&format!("node {id} will be taken out of its shard"))?;
            let (shard, _) = scope.shard_or(None)?;
            let path = format!("{shard}/nodes/{}", segment(id));
            (path, format!("delete node: {id} successfully."))
        }
        Resource::Other(words) => return unsupported(words),
    };
    let data = session.change(Method::DELETE, &path, None).await?;
    session.report(data, &line)
}
