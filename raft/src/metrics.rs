//! Every metric of this crate, by name.

/// Counter, proposals: what became of them on the replica that was asked; label `outcome`.
pub(crate) const PROPOSALS_TOTAL: &str = "quorate_raft_proposals_total";
/// Gauge, proposals: taken by this replica as the leader and not answered yet.
pub(crate) const PROPOSALS_IN_FLIGHT: &str = "quorate_raft_proposals_in_flight";
/// Counter, attempts: proposals handed to the leader over the peer port; label `outcome`.
pub(crate) const FORWARDS_TOTAL: &str = "quorate_raft_forwards_total";
/// Counter, changes: how often another leader, or none, became known.
pub(crate) const LEADER_CHANGES_TOTAL: &str = "quorate_raft_leader_changes_total";
/// Counter, requests: refused on the peer port because of who sent them or whom they name.
pub(crate) const PEER_REFUSALS_TOTAL: &str = "quorate_raft_peer_refusals_total";
/// Counter, changes: what became of changes of the membership on the leader; label `outcome`.
pub(crate) const MEMBER_CHANGES_TOTAL: &str = "quorate_raft_member_changes_total";
/// Gauge, replicas: members with a vote, as this replica knows them.
pub(crate) const VOTERS: &str = "quorate_raft_voters";
/// Gauge, replicas: members without a vote, as this replica knows them.
pub(crate) const LEARNERS: &str = "quorate_raft_learners";

/// Histogram, seconds: one synced write of the log, from hand-over to return.
pub(crate) const LOG_SYNC_SECONDS: &str = "quorate_raft_log_sync_seconds";
/// Histogram, entries: how many entries one synced write carried.
pub(crate) const LOG_BATCH_ENTRIES: &str = "quorate_raft_log_batch_entries";
/// Histogram, bytes: how much one synced write carried.
pub(crate) const LOG_BATCH_BYTES: &str = "quorate_raft_log_batch_bytes";
/// Gauge, jobs: what waits for the thread that writes the log.
pub(crate) const LOG_QUEUE_JOBS: &str = "quorate_raft_log_queue_jobs";
/// Counter, entries: entries read from the disk because the tail in memory no longer had them.
pub(crate) const LOG_DISK_READS_TOTAL: &str = "quorate_raft_log_disk_reads_total";
/// Histogram, entries: how many entries were applied and published together.
pub(crate) const APPLY_BATCH_ENTRIES: &str = "quorate_raft_apply_batch_entries";
/// Gauge, requests: request ids that are remembered.
pub(crate) const WINDOW_REQUESTS: &str = "quorate_raft_window_requests";
/// Histogram, seconds: writing one snapshot.
pub(crate) const SNAPSHOT_WRITE_SECONDS: &str = "quorate_raft_snapshot_write_seconds";
/// Gauge, bytes: size of the newest snapshot.
pub(crate) const SNAPSHOT_BYTES: &str = "quorate_raft_snapshot_bytes";
