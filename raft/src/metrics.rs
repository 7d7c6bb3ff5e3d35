//! Every metric of this crate, by name.

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
