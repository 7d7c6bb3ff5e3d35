//! `list`: names of namespaces and clusters, one a line; shards and nodes as tables.

use clap::Subcommand;
use serde_json::Value;

use super::{
    Done,
    scope::Scope,
    session::{Session, cell, items, row},
    unsupported,
};
use crate::cli::output;

/// What can be listed.
#[derive(Debug, Subcommand)]
pub(super) enum Resource {
    /// All namespaces.
    Namespaces,
    /// Clusters of a namespace.
    Clusters,
    /// Shards of a cluster.
    Shards,
    /// Nodes of a cluster, or of one of its shards.
    Nodes,
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(resource: &Resource, session: &Session, scope: &Scope) -> Done {
    match resource {
        Resource::Namespaces => names(session, "/api/v1/namespaces", "namespace").await,
        Resource::Clusters => names(session, &scope.clusters()?, "cluster").await,
        Resource::Shards => {
            let mut data = session.get(&format!("{}/shards", scope.cluster()?)).await?;
            session.show(data["shards"].take(), shards)
        }
        Resource::Nodes => nodes(session, scope).await,
        Resource::Other(words) => unsupported(words),
    }
}

async fn names(session: &Session, path: &str, noun: &str) -> Done {
    let mut data = session.get(path).await?;
    let names = data[format!("{noun}s")].take();
    if session.is_json() {
        return session.report(names, "");
    }
    if items(&names).is_empty() {
        output::say(&format!("no {noun} found."));
    }
    items(&names).iter().for_each(|name| output::say(&cell(name)));
    Ok(())
}

fn shards(shards: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![row(["SHARD", "SLOTS", "MASTER", "REPLICAS", "MIGRATING"])];
    for (index, shard) in items(shards).iter().enumerate() {
        let (master, replicas): (Vec<_>, Vec<_>) =
            items(&shard["nodes"]).iter().partition(|node| node["role"] == "master");
        let slots: Vec<_> = items(&shard["slot_ranges"]).iter().map(cell).collect();
        rows.push(vec![
            index.to_string(),
            if slots.is_empty() { "-".to_owned() } else { slots.join(",") },
            master.first().map_or_else(|| "-".to_owned(), |node| cell(&node["addr"])),
            replicas.len().to_string(),
            migrating(shard),
        ]);
    }
    rows
}

/// Where slots of a shard are going, as the original shows it.
pub(super) fn migrating(shard: &Value) -> String {
    match (&shard["migrating_slot"], shard["target_shard_index"].as_i64()) {
        (Value::Null, _) | (_, None | Some(-1)) => "NO".to_owned(),
        (slots, Some(target)) => format!("{} --> {target}", cell(slots)),
    }
}

/// The nodes of a cluster with the index of their shard.
pub(super) fn with_shard(shards: &Value) -> impl Iterator<Item = (usize, &Value, &Value)> {
    items(shards).iter().enumerate().flat_map(|(index, shard)| {
        items(&shard["nodes"]).iter().map(move |node| (index, shard, node))
    })
}

async fn nodes(session: &Session, scope: &Scope) -> Done {
    let mut data = session.get(&scope.cluster()?).await?;
    let shards = data["cluster"]["shards"].take();
    let wanted = match scope.shard.as_deref() {
        None => None,
        Some(text) => {
            let index = text.parse::<usize>().map_err(|error| format!("shard {text}: {error}"))?;
            items(&shards).get(index).ok_or("index out of range")?;
            Some(index)
        }
    };
    let chosen = with_shard(&shards).filter(|(index, ..)| wanted.is_none_or(|only| only == *index));
    if session.is_json() {
        let nodes = chosen.map(|(index, _, node)| {
            let mut node = node.clone();
            node["shard"] = index.into();
            node
        });
        return session.report(nodes.collect(), "");
    }
    let mut rows = vec![row(["SHARD", "NODE ID", "ADDRESS", "ROLE", "CREATED AT"])];
    rows.extend(chosen.map(|(index, _, node)| {
        let [id, addr, role, created] =
            ["id", "addr", "role", "created_at"].map(|key| cell(&node[key]));
        vec![index.to_string(), id, addr, role, created]
    }));
    output::say_table(&rows);
    Ok(())
}
