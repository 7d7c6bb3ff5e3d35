//! `failover shard` and the failovers that took place.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use super::{
    Done, rehearsal,
    scope::Scope,
    session::{PATIENCE, Session, cell, items, row},
    unsupported,
};

/// What can fail over.
#[derive(Debug, Subcommand)]
pub(super) enum Resource {
    /// A shard.
    Shard(Shard),
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Arguments of `failover shard`.
#[derive(Debug, Args)]
pub(super) struct Shard {
    /// Index; `--shard` if not given.
    index: Option<String>,
    /// Id of the replica to be master; the one with most of the data if not given.
    #[arg(long)]
    preferred: Option<String>,
    /// Stop writes at the old master until the new one has them all. Needs nodes that can pause.
    #[arg(long)]
    graceful: bool,
    /// Go on if the new master does not catch up in time; implies `--graceful`.
    #[arg(long)]
    force_on_timeout: bool,
    /// Time for the new master to catch up, milliseconds; implies `--graceful`.
    #[arg(long)]
    sync_timeout_ms: Option<u64>,
    /// Longest pause of writes, milliseconds, more than `--sync-timeout-ms`; implies `--graceful`.
    #[arg(long)]
    pause_timeout_ms: Option<u64>,
    /// Only tell what would happen.
    #[arg(long)]
    dry_run: bool,
}

impl Shard {
    fn body(&self) -> Value {
        let mut body = Map::new();
        let members = [
            ("preferred_node_id", self.preferred.clone().map(Value::from)),
            ("graceful", self.graceful.then_some(Value::Bool(true))),
            ("force_on_timeout", self.force_on_timeout.then_some(Value::Bool(true))),
            ("sync_timeout_ms", self.sync_timeout_ms.map(Value::from)),
            ("pause_timeout_ms", self.pause_timeout_ms.map(Value::from)),
        ];
        for (key, value) in members {
            body.extend(value.map(|value| (key.to_owned(), value)));
        }
        Value::Object(body)
    }
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    let shard = match resource {
        Resource::Shard(shard) => shard,
        Resource::Other(words) => return unsupported(words),
    };
    let (path, index) = scope.shard_or(shard.index.as_deref())?;
    let (path, body) = (format!("{path}/failover"), Some(shard.body()));
    if shard.dry_run {
        return rehearsal::run(session, Method::POST, &path, body).await;
    }
    let patience = PATIENCE + Duration::from_millis(shard.sync_timeout_ms.unwrap_or(0));
    let data = session.change_within(Method::POST, &path, body, patience).await?;
    let id = cell(&data["new_master_id"]);
    session.report(data, &format!("failover shard {index} successfully, new master id: {id}."))
}

/// Says the failovers of a cluster, the oldest first.
pub(super) async fn list(session: &Session, scope: &Scope) -> Done {
    let mut data = session.get(&format!("{}/failovers", scope.cluster()?)).await?;
    session.show(data["failovers"].take(), |failovers| {
        let mut rows =
            vec![row(["TIME MS", "SHARD", "OLD MASTER", "NEW MASTER", "VERSION", "CAUSE"])];
        let keys = ["time_ms", "shard", "old_master_id", "new_master_id", "version", "cause"];
        rows.extend(items(failovers).iter().map(|one| keys.map(|key| cell(&one[key])).to_vec()));
        rows
    })
}
