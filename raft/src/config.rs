//! What a replica is told when it starts.

use std::{path::PathBuf, time::Duration};

use crate::{ReplicaId, tls::PeerTls};

/// Everything a replica needs to start. The same on every start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica's id; one of `peers`. With `join`, 0 lets the cluster give one.
    pub replica_id: ReplicaId,
    /// Names the cluster: replicas of another token are refused on disk and on the wire.
    pub cluster_token: String,
    /// The founding replicas, equal on all of them. The first one founds the cluster.
    /// Empty with `join`.
    pub peers: Vec<PeerConfig>,
    /// Set for a replica that joins a cluster instead of founding one.
    pub join: Option<JoinConfig>,
    /// Where the log, the snapshots and the identity live.
    pub data_dir: PathBuf,
    /// Where the peer port listens, `host:port`; port 0 lets the system pick.
    pub peer_listen: String,
    /// TLS between replicas, on all of them or none.
    pub peer_tls: Option<PeerTls>,
    /// Intervals of the protocol.
    pub timers: Timers,
    /// Most proposals in flight on the leader.
    pub proposals_in_flight_max: usize,
    /// Most bytes of proposals in flight on the leader.
    pub proposal_bytes_in_flight_max: usize,
    /// When a snapshot is taken.
    pub snapshot: SnapshotPolicy,
    /// Milliseconds since the Unix epoch; injected, so that this crate reads no wall clock.
    pub wall_clock_ms: fn() -> u64,
    /// How long a learner must have kept up before it gets its vote.
    pub promote_after: Duration,
    /// Which meanings this replica knows, and when it lets newer ones in.
    pub levels: LevelConfig,
    /// How long the leader waits between two comparisons of all members' states; zero for never.
    pub digest_interval: Duration,
    /// Test only: let a stopped leader resume without an election, as openraft does by default.
    /// Loses acknowledged writes; a test shows it.
    pub unsafe_leader_restore: bool,
}

/// One founding replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its id.
    pub id: ReplicaId,
    /// Its peer address, `host:port`.
    pub peer_addr: String,
    /// Its client port as an URL, for people and for redirect hints; may be empty.
    pub client_url: String,
}

/// How a replica becomes a member of a running cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinConfig {
    /// Peer addresses of members, `host:port`; any that answers will do.
    pub members: Vec<String>,
    /// Where the members reach this replica, `host:port`.
    pub peer_addr: String,
    /// Its client port as an URL; may be empty.
    pub client_url: String,
}

/// Feature levels: what the entries of a log may mean, for programs of different age side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelConfig {
    /// Highest level this replica applies, and says it knows.
    pub known_max: u64,
    /// Level from which on the members may change: older programs do not remember who left.
    pub members_min: u64,
    /// Whether this replica, while it leads, raises the level as soon as every member knows a
    /// higher one.
    pub is_automatic: bool,
    /// Name and version of the program, for people.
    pub program: String,
}

impl Default for LevelConfig {
    fn default() -> Self {
        Self { known_max: u64::MAX, members_min: 0, is_automatic: false, program: String::new() }
    }
}

/// Intervals of the protocol, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// Shortest time without a leader before an election.
    pub election_min_ms: u64,
    /// Longest such time; also the leader's lease.
    pub election_max_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { heartbeat_ms: 60, election_min_ms: 210, election_max_ms: 380 }
    }
}

impl Timers {
    /// Wide enough for tests on a busy machine, where short ones make leaders flap.
    #[must_use]
    pub fn for_tests() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 500, election_max_ms: 900 }
    }
}

/// When a snapshot is taken: whichever bound is reached first.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// Entries since the last snapshot.
    pub entries_max: u64,
    /// Bytes of log since the last snapshot.
    pub log_bytes_max: u64,
    /// Time since the last snapshot, if anything was written.
    pub age_max: Duration,
    /// Entries kept in the log behind a snapshot.
    pub entries_kept: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self {
            entries_max: 20_000,
            log_bytes_max: 64 * 1024 * 1024,
            age_max: Duration::from_secs(3600),
            entries_kept: 20_000,
        }
    }
}

/// Bounds of the request-id window. Part of the replicated logic and written into every snapshot:
/// the same on all replicas, so never taken from a replica's own configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WindowLimits {
    /// Most request ids remembered.
    pub requests_max: u64,
    /// Most bytes of replies remembered.
    pub reply_bytes_max: u64,
    /// Longest time a request id is remembered, in stamped milliseconds.
    pub age_max_ms: u64,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { requests_max: 100_000, reply_bytes_max: 64 * 1024 * 1024, age_max_ms: 600_000 }
    }
}
