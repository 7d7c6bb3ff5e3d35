//! `POST /quorate/v1/kvrocks/load` and `GET /quorate/v1/kvrocks/export`: records come from the store
//! of the original and go back to it, with ids, versions and passwords as they are (spec 6.1).
//!
//! A record is in the program's shape. What older programs stored is put into that shape by whoever
//! sends it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

use super::{
    error::Failure,
    handle::{Answer, Ask, encode, unexpected},
    rehearse,
    wire::{ClusterJson, Look, Passwords},
};
use crate::{
    api::profile::Profile,
    domain::kvrocks::{
        Command, Reply, Secret, SlotRange,
        command::ClusterKey,
        model::{Cluster, Node, Role, Shard},
        query,
    },
    seal::{KeyRing, Purpose},
};

/// Where the original keeps everything.
const METADATA: &str = "/kvrocks/metadata";
/// Time for the proposal of a large record.
const PROPOSE_TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadJson {
    namespace: String,
    cluster: RecordJson,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordJson {
    name: String,
    version: u64,
    shards: Vec<RecordShard>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordShard {
    nodes: Vec<RecordNode>,
    slot_ranges: Vec<String>,
    target_shard_index: i64,
    migrating_slot: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordNode {
    id: String,
    addr: String,
    role: RecordRole,
    #[schemars(with = "String")]
    password: Secret,
    created_at: u64,
    #[serde(default)]
    failed: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RecordRole {
    Master,
    Slave,
}

/// Whether the record is new here, and the version the cluster has.
#[derive(Serialize, JsonSchema)]
pub(super) struct LoadedJson {
    loaded: bool,
    version: u64,
}

impl From<RecordNode> for Node {
    fn from(node: RecordNode) -> Self {
        Self {
            id: node.id,
            addr: node.addr,
            role: match node.role {
                RecordRole::Master => Role::Master,
                RecordRole::Slave => Role::Slave,
            },
            password: node.password,
            created_at: node.created_at,
            is_failed: node.failed,
        }
    }
}

impl RecordJson {
    /// The record as the state keeps it; a migration that it marks goes on.
    fn cluster(self, time_ms: u64) -> Result<Cluster, Failure> {
        let bad = |index: usize, what: &str| {
            Failure::BadRequest(format!("invalid argument: shard {index}: {what}"))
        };
        let mut cluster = Cluster { name: self.name, version: self.version, ..Cluster::default() };
        let mut marks = Vec::new();
        for (index, shard) in self.shards.into_iter().enumerate() {
            let range = |text: &String| {
                text.parse::<SlotRange>().map_err(|error| bad(index, &error.to_string()))
            };
            match (&shard.migrating_slot, shard.target_shard_index) {
                (None, -1) => {}
                (Some(slots), target) if target >= 0 => marks.push((index, range(slots)?, target)),
                _ => return Err(bad(index, "half a migration")),
            }
            cluster.shards.push(Shard {
                slots: shard.slot_ranges.iter().map(range).collect::<Result<_, _>>()?,
                nodes: shard.nodes.into_iter().map(Node::from).collect(),
                mark: None,
            });
        }
        for (source, range, target) in marks {
            let target = usize::try_from(target).unwrap_or(usize::MAX);
            if !cluster.take_over(source, range, target, time_ms) {
                return Err(bad(source, "an impossible migration"));
            }
        }
        Ok(cluster)
    }
}

/// `POST /quorate/v1/kvrocks/load`: takes one cluster over, and makes its namespace. The same record
/// again changes nothing; 201 if the cluster is new, else 200.
pub(super) async fn load(ask: &Ask<'_>, body: &Bytes) -> Answer {
    let body: LoadJson =
        serde_json::from_slice(body).map_err(|error| Failure::BadRequest(error.to_string()))?;
    let key = ClusterKey { namespace: body.namespace, name: body.cluster.name.clone() };
    let mut record = body.cluster.cluster(ask.family.edge.broker.now_ms())?;
    let view = ask.current().await?;
    let present = query::cluster(&view.kvrocks, &key);
    let is_new = present.is_none();
    if let Some(present) = present {
        let keys = ask.family.edge.broker.keys();
        recognise(&mut record, &present, keys);
        // On its way into the log it would be sealed, and not be known again by what is readable.
        let has_bare = present.nodes().any(|(_, node)| node.password.is_bare());
        if has_bare && !keys.is_empty() && present.is_same_record(&record) && !ask.is_rehearsal() {
            let answer = LoadedJson { loaded: false, version: present.version };
            return ask.shown(&view, &answer);
        }
    }
    let command = Command::LoadCluster { cluster: key.clone(), record: Box::new(record) };
    if ask.is_rehearsal() {
        return rehearse::answer(ask, &key, command).await;
    }
    let (reply, done) = ask.propose_until(command, Instant::now() + PROPOSE_TIME).await?;
    let Reply::Cluster(cluster) = reply else { return Err(unexpected(&reply)) };
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let answer = LoadedJson { loaded: is_new, version: cluster.version };
    ask.marked(encode(status, &answer)?, &done)
}

/// Puts the stored form in place of every password that is the stored one, so that the same record
/// is known again although its passwords are sealed.
fn recognise(record: &mut Cluster, present: &Cluster, keys: &KeyRing) {
    let stored: BTreeMap<&str, &Secret> =
        present.nodes().map(|(_, node)| (node.id.as_str(), &node.password)).collect();
    for node in record.shards.iter_mut().flat_map(|shard| &mut shard.nodes) {
        let Some(secret) = stored.get(node.id.as_str()) else { continue };
        let Some(sealed) = secret.sealed() else { continue };
        let opened = keys.open(Purpose::NodePassword, sealed).ok();
        if opened.as_deref() == node.password.readable() {
            node.password = Secret::clone(secret);
        }
    }
}

/// The value of a key: the name of a namespace, or a cluster.
#[derive(Serialize)]
#[serde(untagged)]
enum ValueJson<'a> {
    Namespace(String),
    Cluster(ClusterJson<'a>),
}

/// `GET /quorate/v1/kvrocks/export`: every key the original would have, all of one moment. Passwords
/// are part of it; where the settings hide them there is no export.
pub(super) async fn export(ask: &Ask<'_>) -> Answer {
    let view = ask.view().await?;
    if query::settings(&view.kvrocks).hides_passwords {
        let text = "an export has passwords, which the setting hide_passwords forbids to show";
        return Err(Failure::Forbidden(text.to_owned()));
    }
    let passwords = Passwords::Shown(ask.family.edge.broker.keys());
    let look = Look { profile: Profile::Program, passwords };
    let mut keys = BTreeMap::new();
    for namespace in query::namespaces(&view.kvrocks) {
        keys.insert(format!("{METADATA}/{namespace}"), ValueJson::Namespace(namespace));
    }
    for (key, cluster) in query::clusters(&view.kvrocks) {
        let path = format!("{METADATA}/{}/cluster/{}", key.namespace, key.name);
        keys.insert(path, ValueJson::Cluster(ClusterJson::new(cluster, look)?));
    }
    ask.shown(&view, &keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(shards: &str) -> Result<Cluster, String> {
        let text = format!(r#"{{"name":"c","version":7,"shards":{shards}}}"#);
        let record: RecordJson = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match record.cluster(9) {
            Ok(cluster) => Ok(cluster),
            Err(Failure::BadRequest(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn shard(id: char, slots: &str, marks: &str) -> String {
        let id = id.to_string().repeat(40);
        let node = format!(
            r#"{{"id":"{id}","addr":"{}:1","role":"master","password":"p","created_at":5}}"#,
            &id[..1]
        );
        format!(r#"{{"nodes":[{node}],"slot_ranges":[{slots}],{marks}}}"#)
    }

    const IDLE: &str = r#""target_shard_index":-1,"migrating_slot":null"#;

    #[test]
    fn records_are_kept_as_they_are_and_marks_become_running_jobs() {
        let marks = r#""target_shard_index":1,"migrating_slot":"5-6""#;
        let (first, second) = (shard('a', r#""0-9""#, marks), shard('b', "", IDLE));
        let cluster = record(&format!("[{first},{second}]")).unwrap();
        assert_eq!(cluster.validate(), Ok(()));
        assert_eq!((cluster.version, cluster.jobs.len()), (7, 1));
        let node = &cluster.shards[0].nodes[0];
        assert_eq!((node.created_at, node.password.readable()), (5, Some("p")));
        assert!(cluster.is_same_record(&record(&format!("[{first},{second}]")).unwrap()));
        let idle = shard('a', r#""0-9""#, IDLE);
        assert!(!cluster.is_same_record(&record(&format!("[{idle},{second}]")).unwrap()));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (marks, slots, expected) in [
            (r#""target_shard_index":1,"migrating_slot":null"#, "", "shard 0: half a migration"),
            (r#""target_shard_index":-1,"migrating_slot":"5""#, "", "shard 0: half a migration"),
            (r#""target_shard_index":4,"migrating_slot":"5""#, r#""5""#, "an impossible migration"),
            (IDLE, r#""9-5""#, "shard 0: start slot id greater than stop slot id"),
            (r#""migrating_slot":null"#, "", "missing field `target_shard_index`"),
        ] {
            let found = record(&format!("[{}]", shard('a', slots, marks))).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
        assert!(record("null").is_err());
    }
}
