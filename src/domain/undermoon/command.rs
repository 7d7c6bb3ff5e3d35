//! Everything that can be asked to change, one struct or variant an intention.
//!
//! Variants are only ever appended and fields never reordered: logs are decoded for ever.

use serde::{Deserialize, Serialize};

use super::{document::Document, settings::SettingsChange};

/// Which promises the caller relies on where the documents and the program differ.
///
/// Decided at the edge by prefix, listener and header; carried in the entry because a few effects
/// follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// The seed documents of `/api/v2`.
    Document,
    /// What the released programs do.
    Program,
}

/// One change asked of the undermoon state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Whose rules hold.
    pub profile: Profile,
    /// What is asked.
    pub action: Action,
}

/// What is asked. Names and addresses are raw text: `apply` judges them, in the order in which
/// the original program does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Route 20: make a proxy known, or bring a failed one back.
    RegisterProxy {
        /// `host:port`.
        address: String,
        /// Its two nodes.
        nodes: [String; 2],
        /// Failure domain; `None` takes the text before `:`.
        host: Option<String>,
        /// Position in ordered mode.
        index: Option<u64>,
    },
    /// Route 21.
    RemoveProxy {
        /// `host:port`.
        address: String,
    },
    /// Route 7.
    CreateCluster {
        /// New cluster.
        name: String,
        /// Wanted nodes.
        node_number: u64,
    },
    /// Route 8.
    DeleteCluster {
        /// Cluster.
        name: String,
    },
    /// Route 9.
    AddNodes {
        /// Cluster.
        name: String,
        /// Nodes to add.
        node_number: u64,
    },
    /// Route 10.
    AddNodesUpTo {
        /// Cluster.
        name: String,
        /// Wanted total.
        node_number: u64,
    },
    /// Route 11.
    DeleteFreeNodes {
        /// Cluster.
        name: String,
    },
    /// Route 12.
    Expand {
        /// Cluster.
        name: String,
    },
    /// Route 13.
    Shrink {
        /// Cluster.
        name: String,
        /// Wanted total.
        node_number: u64,
    },
    /// Route 14, first step; takes the scale lease when proxies must be waited for.
    AutoScale {
        /// Cluster.
        name: String,
        /// Wanted total.
        node_number: u64,
        /// Names this run of the operation; holder of the lease.
        run: [u8; 16],
        /// How long the lease lasts without renewal, milliseconds of stamped time.
        lease_ms: u64,
    },
    /// Keeps the scale lease of a running automatic scaling.
    RenewScaleLease {
        /// Holder.
        run: [u8; 16],
        /// From this entry's time, milliseconds.
        lease_ms: u64,
    },
    /// Gives the scale lease back without expanding.
    ReleaseScaleLease {
        /// Holder.
        run: [u8; 16],
    },
    /// Route 14, last step: expand unless the slots are already spread; gives the lease back.
    AutoExpand {
        /// Cluster.
        name: String,
        /// Wanted total.
        node_number: u64,
        /// Holder; refused as `NODE_NUMBER_CHANGING` if the lease was lost meanwhile.
        run: [u8; 16],
    },
    /// Route 15.
    CommitMigration {
        /// Cluster; not judged as a name.
        cluster_name: String,
        /// Ranges of the task, compared element by element.
        range_list: Vec<(u64, u64)>,
        /// Epoch of the tag; `None` stands for the tag `"None"`.
        epoch: Option<u64>,
    },
    /// Route 16. Pairs in ascending order of key.
    ChangeConfig {
        /// Cluster.
        name: String,
        /// Field and new value, both as text.
        pairs: Vec<(String, String)>,
    },
    /// Route 17.
    BalanceMasters {
        /// Cluster.
        name: String,
    },
    /// Route 24.
    ReportFailure {
        /// Any text.
        address: String,
        /// Who saw it.
        reporter: String,
    },
    /// Drops expired failure reports; the entry's time decides.
    PruneFailures,
    /// Route 23.
    Failover {
        /// `host:port`.
        address: String,
    },
    /// Route 30.
    SetEpoch {
        /// New global epoch.
        epoch: u64,
    },
    /// Route 31, after the proxies were asked.
    RecoverEpoch {
        /// Highest epoch any proxy answered; 0 if none did.
        epoch_seen: u64,
    },
    /// Route 3. The document has passed `Document::validate`; `apply` trusts nothing and checks again.
    Restore {
        /// The whole metadata.
        document: Box<Document>,
    },
    /// Changes replicated settings; bumps epochs where answers change (spec 8.6).
    ChangeSettings(SettingsChange),
}
