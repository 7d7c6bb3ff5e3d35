//! Why a command was refused. A refusal is an ordinary reply, replicated like any other.
//!
//! The texts are for people; where the interface promises a text, the edge makes it from the
//! variant.

use serde::{Deserialize, Serialize};

/// A refusal; the edge maps it to a status and a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// No such host.
    #[error("there is no such host")]
    HostNotFound,
    /// Another host has the URL.
    #[error("host {0} has this daemon_url")]
    UrlUsed(String),
    /// A member of a host is not as it must be.
    #[error("{0}")]
    InvalidHost(String),
    /// The host has clusters.
    #[error("the host has {0} clusters")]
    HostNotEmpty(u64),
    /// The host has more clusters than that.
    #[error("the host has {clusters} clusters, capacity cannot be {capacity}")]
    CapacityBelowUse {
        /// Present number.
        clusters: u64,
        /// Asked for.
        capacity: u32,
    },
    /// The daemon does not answer.
    #[error("the host is inactive: {0}")]
    HostInactive(String),
    /// The host is being reset.
    #[error("the host is being reset")]
    HostBusy,
    /// The host has as many clusters as it may.
    #[error("the host is full")]
    HostFull,
    /// No ports are left, or those asked for are not free.
    #[error("no ports are free")]
    NoPorts,
    /// The host does not want to be filled, or not yet.
    #[error("the host is not to be filled now")]
    NotToBeFilled,
    /// No such cluster.
    #[error("there is no such cluster")]
    ClusterNotFound,
    /// No template has such a kind.
    #[error("no template describes such a cluster")]
    NoTemplate,
    /// A name that is empty, too long or unprintable.
    #[error("the name is empty, too long or unprintable")]
    InvalidName,
    /// A user that cannot be one.
    #[error("Invalid user_id")]
    InvalidUser,
    /// No template has the plugin.
    #[error("Invalid consensus_plugin")]
    InvalidPlugin,
    /// No template has the mode.
    #[error("Invalid consensus_mode")]
    InvalidMode,
    /// No template has the size.
    #[error("Invalid cluster_size")]
    InvalidSize,
    /// Nothing fits.
    #[error("No available res for {0}")]
    NothingAvailable(String),
    /// The cluster belongs to somebody else.
    #[error("the cluster belongs to somebody else")]
    NotOwner,
    /// A user has the cluster.
    #[error("a user has the cluster")]
    ClusterUsed,
    /// The cluster is being made or removed.
    #[error("the cluster is {0}")]
    ClusterNotReady(String),
    /// Another power action goes on.
    #[error("the cluster is about to {0}")]
    ClusterBusy(String),
    /// The template cannot be taken.
    #[error("invalid template: {0}")]
    InvalidTemplate(String),
    /// More of something than the pool serves.
    #[error("too many {what}, at most {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        max: u64,
    },
    /// A setting is out of range.
    #[error("invalid setting: {0}")]
    InvalidSetting(String),
}
