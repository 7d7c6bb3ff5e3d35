//! Everything that can be asked to change, one variant an intention.
//!
//! Variants are only ever appended and fields never reordered: logs are decoded for ever. Names,
//! addresses, indexes and roles are raw: `apply` judges them, in the order in which the original
//! program does. Node ids are made by the proposer; times come from the entry's stamp.

use serde::{Deserialize, Serialize};

use super::{
    model::{Cluster, FailoverCause},
    reseal::Resealed,
    secret::Secret,
    settings::SettingsChange,
    slots::SlotRange,
    topology::Topology,
};

/// Names a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterKey {
    /// Namespace.
    pub namespace: String,
    /// Cluster in it.
    pub name: String,
}

/// A node to be added; the id is decided before the command is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNode {
    /// 40 characters.
    pub id: String,
    /// `host:port`.
    pub addr: String,
}

/// A node that an observer found dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownNode {
    /// Its id.
    pub node_id: String,
    /// Failed probes in a row when it was found dead.
    pub failures: u64,
    /// Last error, without secrets.
    pub error: String,
}

/// How a migration attempt ended, as the leader found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationOutcome {
    /// The source reports success for this range and destination: the slots change owner.
    Moved,
    /// The source reports failure, or something contradicting; may be tried again.
    Failed {
        /// What was seen.
        error: String,
    },
    /// The source refused the command or could not be asked to begin; never tried again.
    Refused {
        /// The node's text.
        error: String,
    },
    /// A cancellation was asked for and no slot has moved.
    Cancelled,
}

/// Two nodes of a shard swap their roles. The new master was chosen before; what the choice relied
/// on is judged again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailOver {
    /// Cluster.
    pub cluster: ClusterKey,
    /// Index.
    pub shard: i64,
    /// Must still be the master.
    pub old_master: String,
    /// Must be a replica of the shard.
    pub new_master: String,
    /// Version the choice was made on.
    pub base_version: u64,
    /// Who wants it; decides what is judged besides.
    pub cause: FailoverCause,
    /// Request of the client, so that its repetition finds the result; zeros if none.
    pub request: [u8; 16],
}

/// One change asked of the Kvrocks state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a namespace.
    CreateNamespace {
        /// Name.
        namespace: String,
    },
    /// Removes an empty namespace.
    DeleteNamespace {
        /// Name.
        namespace: String,
    },
    /// Spec 3.1: consecutive groups of `replicas` nodes make shards, all slots are spread evenly.
    CreateCluster {
        /// New cluster.
        cluster: ClusterKey,
        /// Nodes in the order given.
        nodes: Vec<NewNode>,
        /// Nodes of a shard, master included; 0 stands for 1.
        replicas: i64,
        /// One password for all nodes.
        password: Secret,
    },
    /// Spec 3.2: takes over what running nodes say of themselves.
    ImportCluster {
        /// New cluster.
        cluster: ClusterKey,
        /// As the nodes said.
        topology: Topology,
        /// One password for all nodes.
        password: Secret,
    },
    /// Takes over a cluster from an export, ids, versions and passwords kept; makes the namespace.
    LoadCluster {
        /// Namespace and name.
        cluster: ClusterKey,
        /// The record.
        record: Box<Cluster>,
    },
    /// Forgets a cluster; its nodes are not touched.
    DeleteCluster {
        /// Cluster.
        cluster: ClusterKey,
    },
    /// Appends a shard without slots; the first node is its master.
    AddShard {
        /// Cluster.
        cluster: ClusterKey,
        /// Nodes in the order given.
        nodes: Vec<NewNode>,
        /// One password for all nodes.
        password: Secret,
    },
    /// Removes a shard without slots; later shards move down by one.
    RemoveShard {
        /// Cluster.
        cluster: ClusterKey,
        /// Index.
        shard: i64,
    },
    /// Adds a node to a shard.
    AddNode {
        /// Cluster.
        cluster: ClusterKey,
        /// Index.
        shard: i64,
        /// The node.
        node: NewNode,
        /// `master`, `slave`, or empty for `slave`.
        role: String,
        /// Its password.
        password: Secret,
    },
    /// Removes a replica from a shard.
    RemoveNode {
        /// Cluster.
        cluster: ClusterKey,
        /// Index.
        shard: i64,
        /// Exact id.
        node_id: String,
    },
    /// Spec 3.5: swaps two roles.
    FailOver(FailOver),
    /// `slot_only`: slots change owner at once, no data moves.
    MoveSlots {
        /// Cluster.
        cluster: ClusterKey,
        /// Slots.
        range: SlotRange,
        /// Index of the new owner.
        target: i64,
    },
    /// Spec 3.6: begins a migration at once or refuses.
    StartMigration {
        /// Cluster.
        cluster: ClusterKey,
        /// Slots.
        range: SlotRange,
        /// Index of the new owner.
        target: i64,
    },
    /// Queues migrations; each begins as soon as its two shards take part in no other.
    QueueMigrations {
        /// Cluster.
        cluster: ClusterKey,
        /// Slots, one job each.
        ranges: Vec<SlotRange>,
        /// Index of the new owner.
        target: i64,
        /// Attempts for each job; 0 takes the setting.
        attempts_max: u32,
    },
    /// The source took the order to migrate. From the leader's loop.
    MigrationAccepted {
        /// Cluster.
        cluster: ClusterKey,
        /// Job.
        job: u64,
        /// Attempt the order belongs to.
        attempt: u32,
    },
    /// An attempt ended. From the leader's loop.
    EndMigration {
        /// Cluster.
        cluster: ClusterKey,
        /// Job.
        job: u64,
        /// Attempt that ended.
        attempt: u32,
        /// How.
        outcome: MigrationOutcome,
    },
    /// Takes a queued job out, or asks the leader to end a running one.
    CancelMigration {
        /// Cluster.
        cluster: ClusterKey,
        /// Job.
        job: u64,
    },
    /// Queues an ended job again, as a new job.
    RetryMigration {
        /// Cluster.
        cluster: ClusterKey,
        /// Job that failed or was cancelled.
        job: u64,
    },
    /// Spec 4.4: takes a newer topology from the nodes. From the leader's loop; the policy of the
    /// settings is judged again.
    AdoptTopology {
        /// Cluster.
        cluster: ClusterKey,
        /// Version the loop saw.
        base_version: u64,
        /// As the nodes said.
        topology: Topology,
    },
    /// Asks the leader to push the topology to all nodes and to say how it went.
    RequestSync {
        /// Cluster.
        cluster: ClusterKey,
        /// Also over higher versions of the nodes.
        is_forced: bool,
    },
    /// A requested push is over. From the leader's loop.
    FinishSync {
        /// Cluster.
        cluster: ClusterKey,
        /// Which request.
        sync: u64,
        /// Address and error of every node that did not take it.
        failures: Vec<(String, String)>,
    },
    /// What one replica of ours found when it probed all nodes; replaces its last report.
    ReportHealth {
        /// Id of the observing replica.
        observer: u64,
        /// Nodes it probed in its last cycle.
        probed: u64,
        /// Nodes of them that did not answer.
        failed: u64,
        /// Nodes that have not answered for as many cycles as the settings say.
        down: Vec<DownNode>,
    },
    /// Forgets what a replica reported, when it is no member any more.
    ForgetObserver {
        /// Id of the replica.
        observer: u64,
    },
    /// Changes replicated settings.
    ChangeSettings(SettingsChange),
    /// Changes the stored password of one node or of all; no version changes.
    ChangePassword {
        /// Cluster.
        cluster: ClusterKey,
        /// One node, or all.
        node_id: Option<String>,
        /// New password.
        password: Secret,
    },
    /// Puts sealed passwords in place of readable ones, or of ones sealed with another key; each only
    /// if nobody has changed it meanwhile. No version changes.
    ResealPasswords {
        /// Cluster.
        cluster: ClusterKey,
        /// Log index of the state that the passwords were taken from.
        base_index: u64,
        /// One a node.
        changes: Vec<Resealed>,
    },
}
