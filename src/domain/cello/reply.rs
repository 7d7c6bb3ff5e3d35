//! What a command answers when it is not refused.

use serde::{Deserialize, Serialize};

use super::model::{Cluster, Host};

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Carried out; nothing to tell.
    Done,
    /// What the command says is so already, or is no longer so: a release of a free or unknown
    /// cluster, a stale outcome, a report without news. Nothing changed.
    Unchanged,
    /// The host as it is now.
    Host(Box<Host>),
    /// The cluster as it is now.
    Cluster(Box<Cluster>),
    /// Ids of the clusters that the command made or took, in the order of creation.
    Clusters(Vec<String>),
    /// A power action: begun, joined, or needless.
    Power {
        /// Task to wait for with [`query::power_outcome`](super::query::power_outcome); `None` if
        /// the cluster is as asked.
        op: Option<u64>,
    },
    /// A task of a host, to wait for with [`query::reset_outcome`](super::query::reset_outcome).
    HostTask {
        /// Of the task.
        op: u64,
    },
}
