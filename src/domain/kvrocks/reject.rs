//! Why a command was refused. A refusal is an ordinary reply, replicated like any other.
//!
//! The texts are those the original program answers wherever it has one; clients match on them.

use serde::{Deserialize, Serialize};

/// A refusal; the edge maps it to a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// A namespace without a name.
    #[error("namespace should NOT be empty")]
    NamespaceEmpty,
    /// A cluster without a name.
    #[error("cluster name should NOT be empty")]
    ClusterNameEmpty,
    /// A name with other characters than letters, digits, `.`, `_` and `-`, or too long.
    #[error("invalid argument: name")]
    InvalidName,
    /// The namespace is there.
    #[error("already exists")]
    NamespaceExists,
    /// The namespace that was asked for is not there.
    #[error("not found")]
    NamespaceNotFound,
    /// The namespace a cluster was asked for in is not there.
    #[error("namespace not found")]
    NamespaceRequired,
    /// The namespace has clusters.
    #[error("forbidden: please delete clusters first")]
    NamespaceNotEmpty,
    /// No such cluster.
    #[error("cluster: not found")]
    ClusterNotFound,
    /// The cluster is there.
    #[error("cluster: already exists")]
    ClusterExists,
    /// Addresses that a cluster has already, in the order given.
    #[error("node: already exists: [{}]", .0.join(" "))]
    AddressesUsed(Vec<String>),
    /// A cluster without nodes.
    #[error("cluster nodes should NOT be empty")]
    ClusterNodesEmpty,
    /// A shard without nodes.
    #[error("nodes should NOT be empty")]
    NodesEmpty,
    /// Negative replicas.
    #[error("replicas should NOT be less than 0")]
    ReplicasNegative,
    /// The nodes do not make full shards.
    #[error("cluster nodes should be divisible by replicas")]
    NotDivisible,
    /// Not `host:port`.
    #[error("invalid argument: node address must be host:port, got {0:?}")]
    InvalidAddress(String),
    /// An address twice in one request.
    #[error("invalid argument: node address {0:?} is given twice")]
    AddressRepeated(String),
    /// Not 40 characters, or in use.
    #[error("invalid node id: {0}")]
    InvalidNodeId(String),
    /// More of something than the controller serves.
    #[error("invalid argument: too many {what}, at most {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        max: u64,
    },
    /// No shard has the index.
    #[error("index out of range")]
    IndexOutOfRange,
    /// The shard has slots, or takes part in a migration.
    #[error("shard is servicing")]
    ShardServicing,
    /// The address is in the shard already.
    #[error("already exists")]
    NodeExists,
    /// The shard has a master already.
    #[error("master node already exists")]
    MasterExists,
    /// Neither `master` nor `slave`.
    #[error("invalid argument: role")]
    InvalidRole,
    /// No such node in the shard.
    #[error("not found")]
    NodeNotFound,
    /// A master cannot be removed.
    #[error("cannot remove master node: invalid argument")]
    RemoveMaster,
    /// The shard has one node at most.
    #[error("no replica in shard")]
    NoReplica,
    /// The shard has no master.
    #[error("old master node not found")]
    NoOldMaster,
    /// The master changed since the decision.
    #[error("the old node is not master")]
    OldNodeNotMaster,
    /// No replica qualifies.
    #[error("no match new master in shard")]
    NoNewMaster,
    /// The cluster changed since the decision.
    #[error("the cluster has been updated by others")]
    Updated,
    /// An automatic failover without a majority of observers that agree.
    #[error("failover refused: {down} of {sighted} observers find the master dead")]
    NotAgreed {
        /// Observers that find it dead.
        down: u64,
        /// Observers that see the network.
        sighted: u64,
    },
    /// Automatic failovers are switched off.
    #[error("failover refused: automatic failover is disabled")]
    FailoverDisabled,
    /// Source and target are the same shard.
    #[error("source and target shard is same")]
    SameShard,
    /// No shard has the slots.
    #[error("slot not belong to any shard")]
    SlotUnassigned,
    /// No single range of one shard has all the slots.
    #[error("slot range belongs to multiple shards")]
    SlotsDivided,
    /// One of the shards takes part in a migration.
    #[error("shard slot is migrating")]
    ShardMigrating,
    /// No such job.
    #[error("migration: not found")]
    JobNotFound,
    /// The job is not in a state for that.
    #[error("migration {job} is {phase}")]
    JobPhase {
        /// Job.
        job: u64,
        /// Its phase.
        phase: String,
    },
    /// The settings do not let this topology in.
    #[error("topology not adopted: {0}")]
    NotAdopted(String),
    /// The request for a push is over or unknown.
    #[error("sync: not found")]
    SyncNotFound,
    /// The record, topology or list cannot be taken.
    #[error("invalid argument: {0}")]
    Invalid(String),
    /// A setting is out of range.
    #[error("invalid argument: {0}")]
    InvalidSetting(String),
}
