//! What a replica says of itself; read from metrics, never from the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Agreement, ReplicaId};

/// The part a replica plays in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes proposals.
    Leader,
    /// Votes and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Follows without a vote.
    Learner,
    /// Stopped, or stopping.
    Shutdown,
}

/// A change of the leader, as one replica saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaderChange {
    /// When, by the clock of the replica that saw it, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The term.
    pub term: u64,
    /// Who leads from then on; `None` if nobody is known to.
    pub leader: Option<ReplicaId>,
}

/// A replica's view of itself and of its peers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The cluster's identity, as stamped on every disk.
    pub cluster_id: String,
    /// This replica.
    pub replica_id: ReplicaId,
    /// Its part in the present term.
    pub role: Role,
    /// The present term.
    pub term: u64,
    /// The leader it knows of.
    pub leader: Option<ReplicaId>,
    /// Last index in the log.
    pub last_log_index: u64,
    /// Last index known to be committed.
    pub commit_index: u64,
    /// Last index applied and published here.
    pub applied_index: u64,
    /// Last index covered by the newest snapshot; 0 if there is none.
    pub snapshot_index: u64,
    /// Last index no longer in the log; 0 if none.
    pub purged_index: u64,
    /// Milliseconds since this replica last knew itself current; `None` before it ever was.
    pub age_ms: Option<u64>,
    /// Milliseconds for which a write of the log has not returned, once that is too long for a
    /// leader; `None` as long as the disk works.
    #[serde(default)]
    pub disk_stalled_ms: Option<u64>,
    /// Whether its state agrees with the others'.
    #[serde(default)]
    pub agreement: Agreement,
    /// Whether the start barrier has been passed, and the replica serves.
    pub is_ready: bool,
    /// The replicas of the cluster, in ascending order of id.
    pub peers: Vec<PeerStatus>,
}

/// One replica as the reporting replica sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PeerStatus {
    /// The replica.
    pub id: ReplicaId,
    /// Its peer address, `host:port`.
    pub peer_addr: String,
    /// The address of its client port as an URL, empty if unknown.
    pub client_url: String,
    /// Whether it votes.
    pub is_voter: bool,
    /// Last index known to be in its log; only the leader knows.
    pub match_index: Option<u64>,
    /// Milliseconds since it last acknowledged the leader; only the leader knows.
    pub heard_ms: Option<u64>,
}
