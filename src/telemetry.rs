//! Logs and metrics of the process: set up once, at the start.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use crate::{broker::engine::LIBRARY_LOG_FILTER, config::layer::LogFormat};

/// The names of facts in log lines, of this crate and the engine; `tests/tidy.rs` knows no other.
pub const FIELDS: [&str; 32] = [
    "address",
    "applied",
    "bytes",
    "cluster",
    "connections",
    "elapsed_ms",
    "error",
    "family",
    "found",
    "from",
    "ids",
    "index",
    "job",
    "leader",
    "left",
    "method",
    "namespace",
    "node",
    "outcome",
    "path",
    "peer",
    "reason",
    "refusal",
    "replica",
    "shard",
    "slots",
    "status",
    "term",
    "to",
    "version",
    "wanted",
    "warning",
];

/// Gauge, connections: open client connections.
pub const CLIENT_CONNECTIONS: &str = "quorate_client_connections";
/// Counter, connections: client connections since the start.
pub const CLIENT_CONNECTIONS_TOTAL: &str = "quorate_client_connections_total";
/// Counter, requests refused because of who sent them; label `outcome`: `unauthenticated`,
/// `forbidden`, `too_fast`, `busy`.
pub const ACCESS_REFUSALS_TOTAL: &str = "quorate_access_refusals_total";
/// Counter, handshakes on client ports; label `outcome`: `done`, `failed`.
pub const TLS_HANDSHAKES_TOTAL: &str = "quorate_tls_handshakes_total";
/// Counter, times that changed certificates were loaded; label `outcome`: `ok`, `failed`.
pub const TLS_RELOADS_TOTAL: &str = "quorate_tls_reloads_total";
/// Gauge, 1 if the files of certificates cannot be used and former ones are in use.
pub const TLS_FILES_BAD: &str = "quorate_tls_files_bad";
/// Gauge, 1 if this replica leads.
pub const IS_LEADER: &str = "quorate_is_leader";
/// Gauge, 1 if this replica is ready to serve.
pub const IS_READY: &str = "quorate_is_ready";
/// Gauge, the present term.
pub const TERM: &str = "quorate_term";
/// Gauge, last index in the log.
pub const LAST_LOG_INDEX: &str = "quorate_last_log_index";
/// Gauge, last committed index.
pub const COMMIT_INDEX: &str = "quorate_commit_index";
/// Gauge, last applied index.
pub const APPLIED_INDEX: &str = "quorate_applied_index";
/// Gauge, last index covered by a snapshot.
pub const SNAPSHOT_INDEX: &str = "quorate_snapshot_index";
/// Gauge, seconds since this replica knew itself current.
pub const STATE_AGE_SECONDS: &str = "quorate_state_age_seconds";

/// Counter, scheduled backups; label `outcome`: `ok`, `failed`.
pub const BACKUPS_TOTAL: &str = "quorate_backups_total";
/// Gauge, seconds since the Unix epoch: when this replica took its last scheduled backup.
pub const BACKUP_TAKEN_TIME_SECONDS: &str = "quorate_backup_taken_time_seconds";

/// Gauge, Kvrocks nodes this replica probes.
pub const KVROCKS_NODES: &str = "quorate_kvrocks_nodes";
/// Gauge, Kvrocks nodes that did not answer the last probe.
pub const KVROCKS_NODES_SILENT: &str = "quorate_kvrocks_nodes_silent";
/// Histogram, seconds: one probe of all Kvrocks nodes.
pub const KVROCKS_PROBE_CYCLE_SECONDS: &str = "quorate_kvrocks_probe_cycle_seconds";
/// Counter, pushes of a topology to a Kvrocks node; label `outcome`: `ok`, `failed`.
pub const KVROCKS_PUSHES_TOTAL: &str = "quorate_kvrocks_pushes_total";
/// Counter, automatic failovers of Kvrocks masters; label `outcome`: `done`, `refused`, `unknown`.
pub const KVROCKS_FAILOVERS_TOTAL: &str = "quorate_kvrocks_failovers_total";
/// Counter, attempts to migrate slots that ended; label `outcome`: `moved`, `failed`, `refused`,
/// `cancelled`.
pub const KVROCKS_MIGRATIONS_TOTAL: &str = "quorate_kvrocks_migrations_total";
/// Counter, topologies of nodes that were newer than the record; label `outcome`: `adopted`,
/// `refused`.
pub const KVROCKS_ADOPTIONS_TOTAL: &str = "quorate_kvrocks_adoptions_total";

/// Gauge, readers of the change feed.
pub const EVENT_READERS: &str = "quorate_event_readers";
/// Counter, readers that were cut off because they fell behind what is kept.
pub const EVENT_READERS_CUT_TOTAL: &str = "quorate_event_readers_cut_total";

/// Gateway. Counter, requests; label `outcome`: `answered` by a replica, or why the gateway refused:
/// `busy`, `body_too_large`, `body_slow`, `body_broken`, `no_replica`, `broken`, `late`, `unknown`.
pub const GATEWAY_REQUESTS_TOTAL: &str = "quorate_gateway_requests_total";
/// Gateway. Histogram, seconds: from a request's head to the head of its answer.
pub const GATEWAY_REQUEST_SECONDS: &str = "quorate_gateway_request_seconds";
/// Gateway. Counter, requests that were sent again; label `reason`: `unsent`, `lost`, `refused`.
pub const GATEWAY_RETRIES_TOTAL: &str = "quorate_gateway_retries_total";
/// Gateway. Counter, changes of the replica in use.
pub const GATEWAY_MOVES_TOTAL: &str = "quorate_gateway_moves_total";
/// Gateway. Gauge, known replicas.
pub const GATEWAY_ENDPOINTS: &str = "quorate_gateway_endpoints";
/// Gateway. Gauge, replicas that say they are ready.
pub const GATEWAY_ENDPOINTS_READY: &str = "quorate_gateway_endpoints_ready";
/// Gauge, hosts of the pool; label `status`: `active`, `inactive`.
pub const POOL_HOSTS: &str = "quorate_pool_hosts";
/// Gauge, clusters of the pool; label `phase`: `creating`, `free`, `used`, `deleting`, `resetting`.
pub const POOL_CLUSTERS: &str = "quorate_pool_clusters";
/// Gauge, free clusters that could be given to a user at once.
pub const POOL_CLUSTERS_AVAILABLE: &str = "quorate_pool_clusters_available";
/// Gauge, clusters whose last probe was bad.
pub const POOL_CLUSTERS_UNHEALTHY: &str = "quorate_pool_clusters_unhealthy";
/// Gauge, things to be done on hosts, those that wait for their next try among them.
pub const POOL_TASKS: &str = "quorate_pool_tasks";
/// Counter, what the leader carried out on hosts; label `kind`: `create`, `start`, `stop`,
/// `restart`, `destroy`, `reset host`, `clean up host`; label `outcome`: `done`, `failed`,
/// `unreachable`.
pub const POOL_EFFECTS_TOTAL: &str = "quorate_pool_effects_total";

/// Histogram, milliseconds: answers to requests of the Kvrocks family, as the original names it.
/// Labels of this and the next two: `host` (always `-`), `uri` (route pattern), `method`, `code`.
pub const KVROCKS_REQUEST_LATENCY: &str = "kvrocks_controller_request_latency";
/// Counter, answers to requests of the Kvrocks family.
pub const KVROCKS_HTTP_CODE: &str = "kvrocks_controller_http_code";
/// Counter, bytes of answers to requests of the Kvrocks family.
pub const KVROCKS_HTTP_PAYLOAD: &str = "kvrocks_controller_http_payload";

const SECONDS_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];
const ENTRIES_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0];
const BYTES_BUCKETS: [f64; 7] =
    [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 1_048_576.0, 16_777_216.0];

const MILLISECONDS_BUCKETS: [f64; 16] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
    16_384.0, 32_768.0,
];

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Sends log lines to standard error; the libraries below the engine say only what is wrong, unless
/// `level` names them. A second call changes nothing.
///
/// # Errors
/// If `level` is no filter.
pub fn start_logging(level: &str, format: LogFormat) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(format!("{LIBRARY_LOG_FILTER},{level}"))?;
    let logger = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => logger.with_ansi(false).try_init(),
        LogFormat::Json => logger.json().flatten_event(true).try_init(),
    };
    // The only possible failure is that a logger is set already.
    drop(started);
    Ok(())
}

/// Collects metrics from here on.
///
/// # Errors
/// If another recorder is set already.
pub fn start_metrics() -> Result<(), BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_entries".to_owned()), &ENTRIES_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
        .set_buckets_for_metric(
            Matcher::Full(KVROCKS_REQUEST_LATENCY.to_owned()),
            &MILLISECONDS_BUCKETS,
        )?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    METRICS.get_or_init(|| handle);
    Ok(())
}

/// All metrics in the text format of Prometheus; empty before [`start_metrics`].
#[must_use]
pub fn render_metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what was recorded since the last call; without it histograms grow until they are read.
pub fn tidy_metrics() {
    if let Some(metrics) = METRICS.get() {
        metrics.run_upkeep();
    }
}
