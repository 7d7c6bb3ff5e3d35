//! What a command answers when it is not refused.

use serde::{Deserialize, Serialize};

use super::model::{Cluster, Shard};

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Carried out; nothing to tell.
    Done,
    /// The cluster as it is now: after creation, import, a move of slots.
    Cluster(Box<Cluster>),
    /// The new shard.
    Shard(Box<Shard>),
    /// The id of the new node.
    NodeAdded {
        /// 40 characters.
        id: String,
    },
    /// The shard has a new master.
    FailedOver {
        /// Id of the new master.
        new_master: String,
        /// Version of the cluster from now on.
        version: u64,
    },
    /// A migration began: it is marked, the leader gives the order next.
    MigrationBegun {
        /// Job to follow.
        job: u64,
        /// The cluster with its marks.
        cluster: Box<Cluster>,
    },
    /// Migrations were queued; some may have begun.
    Queued {
        /// Jobs, one a range.
        jobs: Vec<u64>,
    },
    /// A push was asked for.
    SyncRequested {
        /// Request to follow.
        sync: u64,
    },
    /// Passwords were sealed.
    Resealed {
        /// How many; others had been changed meanwhile.
        changed: u64,
    },
}
