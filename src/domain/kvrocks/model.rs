//! What the state holds: clusters, shards, nodes, migrations, failovers, observers.
//!
//! The types are plain values. Only `apply` changes those inside the state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{command::DownNode, secret::Secret, slots::SlotRange};

/// Characters of a node id.
pub const NODE_ID_LEN: usize = 40;

/// Part a node plays in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Takes writes.
    Master,
    /// Follows the master.
    Slave,
}

impl Role {
    /// The word of the interface and of the nodes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
        }
    }
}

/// One Kvrocks process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// 40 characters.
    pub id: String,
    /// `host:port`.
    pub addr: String,
    /// Present part.
    pub role: Role,
    /// The node's `requirepass`.
    pub password: Secret,
    /// Unix seconds.
    pub created_at: u64,
    /// A replica that its cluster calls failed; only imported so far.
    pub is_failed: bool,
}

/// A migration that is going on, kept at its source shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Slots on the move.
    pub range: SlotRange,
    /// Index of the shard that will have them.
    pub target: u64,
    /// Job it belongs to.
    pub job: u64,
}

/// A master, its replicas and their slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// In the order they were added; exactly one is the master unless there is none at all.
    pub nodes: Vec<Node>,
    /// Ascending, neither overlapping nor touching.
    pub slots: Vec<SlotRange>,
    /// Migration away from this shard.
    pub mark: Option<Mark>,
}

impl Shard {
    /// The master.
    #[must_use]
    pub fn master(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.role == Role::Master)
    }

    /// A node by its exact id.
    #[must_use]
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Whether the shard has slots or gives some away (spec 1.1).
    #[must_use]
    pub fn is_servicing(&self) -> bool {
        !self.slots.is_empty() || self.mark.is_some()
    }
}

/// Where a migration job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for its shards.
    Queued,
    /// Marked; the source has not taken the order yet.
    Pending,
    /// The source took the order.
    Running,
    /// The slots have their new owner.
    Succeeded,
    /// Given up; slots are where they were.
    Failed,
    /// Taken out on request; slots are where they were.
    Cancelled,
}

impl Phase {
    /// The word the interface shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a mark stands for the job.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// One range on its way to another shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Unique in its cluster's life; grows.
    pub id: u64,
    /// Slots.
    pub range: SlotRange,
    /// Index of the shard that will have them; kept right when shards are removed. Of an ended
    /// job: as it was then.
    pub target: u64,
    /// Index of the shard that had them, once begun; kept right like `target`.
    pub source: Option<u64>,
    /// Master of the source when the attempt began.
    pub source_node: String,
    /// Master of the target when the attempt began.
    pub target_node: String,
    /// Where it stands.
    pub phase: Phase,
    /// Number of the present attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts before it is given up.
    pub attempts_max: u32,
    /// Somebody asked to end it.
    pub is_cancel_requested: bool,
    /// When it was asked for, milliseconds.
    pub queued_ms: u64,
    /// When the present attempt began, milliseconds.
    pub started_ms: u64,
    /// When the present attempt was accepted by the source, milliseconds.
    pub accepted_ms: u64,
    /// When it was over, milliseconds.
    pub ended_ms: u64,
    /// Why the last attempt failed.
    pub error: String,
}

/// Who wants a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailoverCause {
    /// A person or a program through the interface.
    Manual,
    /// The leader's loop, because observers agree that the master is dead.
    Automatic,
}

/// A failover that took place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// When, milliseconds.
    pub time_ms: u64,
    /// Index of the shard then.
    pub shard: u64,
    /// Master before.
    pub old_master: String,
    /// Master since.
    pub new_master: String,
    /// Version it made.
    pub version: u64,
    /// Who wanted it.
    pub cause: FailoverCause,
    /// Request of the client; zeros if none.
    pub request: [u8; 16],
}

/// A push that was asked for and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// Grows from request to request.
    pub id: u64,
    /// Also over higher versions of the nodes.
    pub is_forced: bool,
    /// When it was asked for, milliseconds.
    pub requested_ms: u64,
    /// Once over: address and error of every node that did not take it.
    pub failures: Option<Vec<(String, String)>>,
}

/// A cluster of nodes that share the slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Name in its namespace.
    pub name: String,
    /// Grows by one with every change of the topology.
    pub version: u64,
    /// Identified by their index only.
    pub shards: Vec<Shard>,
    /// Migrations: those to come and going on, and the last ones that ended. Ascending by id.
    pub jobs: Vec<Job>,
    /// The last failovers, oldest first.
    pub failovers: Vec<Failover>,
    /// The last push that was asked for.
    pub sync: Option<Sync>,
    /// Id of the next job or sync.
    pub next_id: u64,
}

impl Cluster {
    /// Every node with the index of its shard, in order.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.shards
            .iter()
            .enumerate()
            .flat_map(|(index, shard)| shard.nodes.iter().map(move |node| (index, node)))
    }

    /// A shard by its index.
    #[must_use]
    pub fn shard(&self, index: i64) -> Option<&Shard> {
        self.shards.get(usize::try_from(index).ok()?)
    }

    /// A job by its id.
    #[must_use]
    pub fn job(&self, id: u64) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    /// Jobs that marks stand for.
    pub fn active_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| job.phase.is_active())
    }

    /// Whether the shard takes part in a migration, as source or as target.
    #[must_use]
    pub fn is_migrating(&self, index: usize) -> bool {
        self.active_jobs().any(|job| job.source == Some(index as u64) || job.target == index as u64)
    }
}

/// What one replica of ours last reported about all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observer {
    /// When, by the entry's time, milliseconds.
    pub time_ms: u64,
    /// Nodes it probed.
    pub probed: u64,
    /// Nodes of them that did not answer.
    pub failed: u64,
    /// Nodes it finds dead, by id.
    pub down: BTreeMap<String, DownNode>,
}
