//! Why a command was refused. A refusal is an ordinary reply, replicated like any other.

use serde::{Deserialize, Serialize};

/// A refusal; the edge maps it to status, code and body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The proxy serves a cluster.
    #[error("the proxy serves a cluster")]
    InUse,
    /// Not enough free proxies that fit.
    #[error("not enough free proxies")]
    NoAvailableResource,
    /// The name or address is taken.
    #[error("it exists already")]
    AlreadyExisted,
    /// No such cluster.
    #[error("no such cluster")]
    ClusterNotFound,
    /// No such proxy.
    #[error("no such proxy")]
    ProxyNotFound,
    /// The cluster has no chunk without slots.
    #[error("the cluster has no free nodes")]
    FreeNodeNotFound,
    /// No entry matches the task.
    #[error("no such migration task")]
    MigrationTaskNotFound,
    /// The cluster has a chunk without slots.
    #[error("the cluster has free nodes")]
    FreeNodeFound,
    /// The cluster has as many nodes as asked for, or more.
    #[error("the cluster has enough nodes")]
    NodeNumAlreadyEnough,
    /// Not a cluster name.
    #[error("not a cluster name")]
    InvalidClusterName,
    /// Not a node number that can be served.
    #[error("not a valid node number")]
    InvalidNodeNumber,
    /// Not a proxy address.
    #[error("not a proxy address")]
    InvalidProxyAddress,
    /// The task has no migration tag.
    #[error("not a migration task")]
    InvalidMigrationTask,
    /// A configuration field or value is not known.
    #[error("{field} cannot be {value}: {reason:?}")]
    InvalidConfig {
        /// As given.
        field: String,
        /// As given.
        value: String,
        /// What is wrong.
        reason: ConfigFault,
    },
    /// Every part has slots already.
    #[error("the slots are spread evenly already")]
    SlotsAlreadyEven,
    /// The document's version is not known.
    #[error("the metadata has an unknown version")]
    InvalidMetaVersion,
    /// The document breaks an invariant.
    #[error("the metadata is inconsistent: {0}")]
    InvalidMetadata(String),
    /// The given epoch is behind.
    #[error("the epoch is smaller than the current one")]
    EpochSmallerThanCurrent,
    /// The cluster has running migrations.
    #[error("a migration is running")]
    MigrationRunning,
    /// Ordered mode: the free proxies do not continue the sequence.
    #[error("the proxies' indices are not consecutive")]
    ProxyResourceOutOfOrder,
    /// Ordered mode allows one cluster.
    #[error("one cluster exists already")]
    OneClusterAlreadyExisted,
    /// Ordered mode needs an index.
    #[error("the proxy has no index")]
    MissingServerProxyIndex,
    /// An automatic scaling is running.
    #[error("the number of nodes is being changed")]
    NodeNumberChanging,
    /// `document` profile: failover is not served in ordered mode (seed document 000, route 7).
    #[error("failover is not served in ordered proxy mode")]
    FailoverInOrderedMode,
    /// A setting is out of range.
    #[error("invalid setting: {0}")]
    InvalidSetting(String),
}

/// What is wrong with a configuration pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigFault {
    /// `FIELD_NOT_FOUND`.
    FieldNotFound,
    /// `INVALID_VALUE`.
    InvalidValue,
}
