//! Logs and metrics of the process: set up once, at the start.
//!
//! Metrics are listed in one table, [`METRICS`]; the engine has its own,
//! [`METRICS`](crate::broker::engine::METRICS). The documentation, the dashboard and the alert
//! rules are checked against both.

mod process;
mod table;

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

pub use self::table::*;
use crate::{
    broker::engine::{LIBRARY_LOG_FILTER, METRICS as ENGINE_METRICS, Metric},
    config::layer::LogFormat,
};

/// The names of facts in log lines, of this crate and the engine; `tests/tidy.rs` knows no other.
pub const FIELDS: [&str; 36] = [
    "address",
    "applied",
    "bytes",
    "cluster",
    "connections",
    "derived",
    "digests",
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
    "request_id",
    "shard",
    "slots",
    "status",
    "step",
    "term",
    "to",
    "version",
    "wanted",
    "warning",
];

const SECONDS_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0];
const ENTRIES_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0];
const BYTES_BUCKETS: [f64; 7] =
    [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 1_048_576.0, 16_777_216.0];

const MILLISECONDS_BUCKETS: [f64; 16] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
    16_384.0, 32_768.0,
];

static METRICS_HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

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

/// Whole milliseconds, as log lines have them: a number in JSON, which wider integers are not.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What both kinds of process measure, besides what all processes do.
const FOR_ALL: [&str; 3] = [BUILD_INFO, CLIENT_CONNECTIONS, CLIENT_CONNECTIONS_TOTAL];

/// What kind of process collects metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A replica.
    Replica,
    /// A gateway.
    Gateway,
}

impl Program {
    /// The metrics that such a process has, of this crate and the engine.
    pub fn metrics(self) -> impl Iterator<Item = &'static Metric> {
        METRICS.iter().chain(ENGINE_METRICS).filter(move |metric| {
            let is_for_all = FOR_ALL.contains(&metric.name) || metric.name.starts_with("process_");
            let is_gateways = metric.name.starts_with("quorate_gateway_");
            is_for_all || is_gateways == (self == Self::Gateway)
        })
    }
}

/// Collects metrics from here on.
///
/// # Errors
/// If another recorder is set already.
pub fn start_metrics(program: Program) -> Result<(), BuildError> {
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
    METRICS_HANDLE.get_or_init(|| handle);
    program.metrics().for_each(Metric::describe);
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(())
}

/// All metrics in the text format of Prometheus; empty before [`start_metrics`].
#[must_use]
pub fn render_metrics() -> String {
    process::measure();
    METRICS_HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what was recorded since the last call; without it histograms grow until they are read.
pub fn tidy_metrics() {
    if let Some(metrics) = METRICS_HANDLE.get() {
        metrics.run_upkeep();
    }
}
