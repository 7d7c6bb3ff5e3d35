//! Shapes of the answers, one for the documents and one for the program (spec 1.1, 2.8).

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::{
    api::profile::Profile,
    domain::kvrocks::{
        SlotRange,
        model::{Cluster, Failover, FailoverCause, Job, Node, Shard},
    },
    seal::{KeyRing, OpenError, Purpose},
};

/// A password cannot be shown. Names the node, and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("the password of {addr} cannot be shown: {source}")]
pub(super) struct NotOpened {
    addr: String,
    source: OpenError,
}

/// How an answer must look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'k> {
    /// Whose shapes.
    pub(super) profile: Profile,
    /// How passwords are shown.
    pub(super) passwords: Passwords<'k>,
}

/// How passwords are shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passwords<'k> {
    /// As dots.
    Hidden,
    /// As they are, or not at all.
    Shown(&'k KeyRing),
    /// As they are; as dots where the key is missing. For answers to what has been done already,
    /// which must not look as if it had not.
    ShownIfPossible(&'k KeyRing),
}

impl<'k> Look<'k> {
    /// For the answer to a change that was carried out.
    pub(super) fn of_done(self) -> Self {
        let passwords = match self.passwords {
            Passwords::Hidden => Passwords::Hidden,
            Passwords::Shown(keys) | Passwords::ShownIfPossible(keys) => {
                Passwords::ShownIfPossible(keys)
            }
        };
        Self { passwords, ..self }
    }

    fn password<'a>(&self, node: &'a Node) -> Result<Cow<'a, str>, NotOpened> {
        let keys = match self.passwords {
            Passwords::Hidden => return Ok(node.password.hidden().into()),
            Passwords::Shown(keys) | Passwords::ShownIfPossible(keys) => keys,
        };
        let Some(sealed) = node.password.sealed() else {
            return Ok(node.password.readable().unwrap_or_default().into());
        };
        match (keys.open(Purpose::NodePassword, sealed), self.passwords) {
            (Ok(text), _) => Ok(text.into()),
            (Err(_), Passwords::ShownIfPossible(_)) => Ok(node.password.hidden().into()),
            (Err(source), _) => Err(NotOpened { addr: node.addr.clone(), source }),
        }
    }
}

/// `{"data": X}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// `{"namespaces":[..]}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct NamespacesJson {
    pub(super) namespaces: Vec<String>,
}

/// `{"namespace":".."}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct NamespaceJson<'a> {
    pub(super) namespace: &'a str,
}

/// `{"clusters":[..]}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ClustersJson {
    pub(super) clusters: Vec<String>,
}

/// `{"cluster":{..}}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ClusterAnswer<'a> {
    pub(super) cluster: ClusterJson<'a>,
}

/// `{"shards":[..]}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShardsAnswer<'a> {
    pub(super) shards: Vec<ShardJson<'a>>,
}

/// `{"shard":{..}}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShardAnswer<'a> {
    pub(super) shard: ShardJson<'a>,
}

/// `{"nodes":[..]}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct NodesAnswer<'a> {
    pub(super) nodes: Vec<NodeJson<'a>>,
}

/// `{"new_master_id":".."}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct NewMasterJson<'a> {
    pub(super) new_master_id: &'a str,
}

/// A cluster; the documents name it first, the program its version.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ClusterJson<'a> {
    Document { name: &'a str, version: u64, shards: Vec<ShardJson<'a>> },
    Program { version: u64, name: &'a str, shards: Vec<ShardJson<'a>> },
}

impl<'a> ClusterJson<'a> {
    pub(super) fn new(cluster: &'a Cluster, look: Look<'_>) -> Result<Self, NotOpened> {
        let (name, version) = (cluster.name.as_str(), cluster.version);
        let shards = shards(cluster, look)?;
        Ok(match look.profile {
            Profile::Document => Self::Document { name, version, shards },
            Profile::Program => Self::Program { version, name, shards },
        })
    }
}

/// All shards of a cluster.
pub(super) fn shards<'a>(
    cluster: &'a Cluster,
    look: Look<'_>,
) -> Result<Vec<ShardJson<'a>>, NotOpened> {
    let indexes = 0..cluster.shards.len();
    indexes.map(|index| ShardJson::new(cluster, &cluster.shards[index], index, look)).collect()
}

/// A shard.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ShardJson<'a> {
    Document(DocumentShard<'a>),
    Program {
        nodes: Vec<NodeJson<'a>>,
        slot_ranges: Vec<Range>,
        target_shard_index: i64,
        migrating_slot: Option<Range>,
    },
}

/// A shard as the documents show it: no slots are `null`, no migration is -1.
#[derive(Serialize, JsonSchema)]
pub(super) struct DocumentShard<'a> {
    nodes: Vec<NodeJson<'a>>,
    slot_ranges: Option<Vec<Range>>,
    import_slot: SlotOrNone,
    migrating_slot: SlotOrNone,
    /// Not in the documents, but without it nobody could tell where slots go.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_shard_index: Option<u64>,
}

impl<'a> ShardJson<'a> {
    pub(super) fn new(
        cluster: &Cluster,
        shard: &'a Shard,
        index: usize,
        look: Look<'_>,
    ) -> Result<Self, NotOpened> {
        let nodes = shard.nodes.iter().map(|node| NodeJson::new(node, look, true));
        let nodes = nodes.collect::<Result<_, _>>()?;
        let slots: Vec<Range> = shard.slots.iter().copied().map(Range).collect();
        let range = shard.mark.map(|mark| mark.range);
        let target = shard.mark.map(|mark| mark.target);
        if look.profile == Profile::Program {
            return Ok(Self::Program {
                nodes,
                slot_ranges: slots,
                target_shard_index: target.and_then(|to| i64::try_from(to).ok()).unwrap_or(-1),
                migrating_slot: range.map(Range),
            });
        }
        let marks = cluster.shards.iter().filter_map(|shard| shard.mark);
        let mut imports = marks.filter(|mark| mark.target == index as u64);
        Ok(Self::Document(DocumentShard {
            nodes,
            slot_ranges: Some(slots).filter(|slots| !slots.is_empty()),
            import_slot: SlotOrNone(imports.next().map(|mark| mark.range)),
            migrating_slot: SlotOrNone(range),
            target_shard_index: target,
        }))
    }
}

/// `"5"` or `"5-10"`.
pub(super) struct Range(SlotRange);

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Range {
    fn schema_name() -> Cow<'static, str> {
        "SlotRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$",
            "description": "A slot, or the first and the last one of a range.",
        })
    }
}

/// -1, `5`, or `"5-10"`: the documents know single slots only.
pub(super) struct SlotOrNone(Option<SlotRange>);

impl Serialize for SlotOrNone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_i64(-1),
            Some(range) if range.count() == 1 => serializer.serialize_u16(range.start()),
            Some(range) => serializer.collect_str(&range),
        }
    }
}

impl JsonSchema for SlotOrNone {
    fn schema_name() -> Cow<'static, str> {
        "SlotOrNone".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let range = generator.subschema_for::<Range>();
        json_schema!({
            "description": "-1 for none, else a slot, or a range of them.",
            "anyOf": [{ "type": "integer", "minimum": -1, "maximum": 16_383 }, range],
        })
    }
}

/// A node; the program sorts its members by name.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum NodeJson<'a> {
    Document {
        id: &'a str,
        addr: &'a str,
        role: &'static str,
        password: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        master_auth: Option<&'static str>,
        created_at: u64,
    },
    Program {
        addr: &'a str,
        created_at: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
        id: &'a str,
        password: Cow<'a, str>,
        role: &'static str,
    },
}

impl<'a> NodeJson<'a> {
    /// The documents show `master_auth` wherever a node is part of a shard, and nowhere else.
    pub(super) fn new(
        node: &'a Node,
        look: Look<'_>,
        is_in_shard: bool,
    ) -> Result<Self, NotOpened> {
        let password = look.password(node)?;
        let (id, addr, role) = (node.id.as_str(), node.addr.as_str(), node.role.as_str());
        let created_at = node.created_at;
        Ok(match look.profile {
            Profile::Document => {
                let master_auth = is_in_shard.then_some("");
                Self::Document { id, addr, role, password, master_auth, created_at }
            }
            Profile::Program => {
                Self::Program { addr, created_at, failed: node.is_failed, id, password, role }
            }
        })
    }
}

/// A migration of the queue; the same in both profiles.
#[derive(Serialize, JsonSchema)]
pub(super) struct JobJson<'a> {
    id: u64,
    slot: Range,
    source: Option<u64>,
    target: u64,
    source_node: &'a str,
    target_node: &'a str,
    state: &'static str,
    attempt: u32,
    attempts_max: u32,
    cancel_requested: bool,
    queued_at_ms: u64,
    started_at_ms: u64,
    accepted_at_ms: u64,
    ended_at_ms: u64,
    error: &'a str,
}

impl<'a> From<&'a Job> for JobJson<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            id: job.id,
            slot: Range(job.range),
            source: job.source,
            target: job.target,
            source_node: &job.source_node,
            target_node: &job.target_node,
            state: job.phase.as_str(),
            attempt: job.attempt,
            attempts_max: job.attempts_max,
            cancel_requested: job.is_cancel_requested,
            queued_at_ms: job.queued_ms,
            started_at_ms: job.started_ms,
            accepted_at_ms: job.accepted_ms,
            ended_at_ms: job.ended_ms,
            error: &job.error,
        }
    }
}

/// `{"migrations":[..]}`: jobs, or ids of new ones.
#[derive(Serialize, JsonSchema)]
pub(super) struct MigrationsAnswer<T> {
    pub(super) migrations: Vec<T>,
}

/// `{"migration":{..}}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct MigrationAnswer<'a> {
    pub(super) migration: JobJson<'a>,
}

/// A failover that took place.
#[derive(Serialize, JsonSchema)]
pub(super) struct FailoverJson<'a> {
    time_ms: u64,
    shard: u64,
    old_master_id: &'a str,
    new_master_id: &'a str,
    version: u64,
    cause: &'static str,
}

impl<'a> From<&'a Failover> for FailoverJson<'a> {
    fn from(failover: &'a Failover) -> Self {
        Self {
            time_ms: failover.time_ms,
            shard: failover.shard,
            old_master_id: &failover.old_master,
            new_master_id: &failover.new_master,
            version: failover.version,
            cause: match failover.cause {
                FailoverCause::Manual => "manual",
                FailoverCause::Automatic => "automatic",
            },
        }
    }
}

/// `{"failovers":[..]}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct FailoversAnswer<'a> {
    pub(super) failovers: Vec<FailoverJson<'a>>,
}

/// `{"synced":true,"version":7}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct SyncAnswer {
    pub(super) synced: bool,
    pub(super) version: u64,
}

/// `{"leader":1,"peers":{"1":"http://.."}}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct PeersAnswer {
    pub(super) leader: u64,
    pub(super) peers: std::collections::BTreeMap<u64, String>,
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
