//! Keeps the gauges of a replica up to date: where its log stands, and what the pool has.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    broker::{Broker, engine::Role},
    domain::cello::query::{self, Counts},
    telemetry,
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks for ever.
pub(super) async fn keep(broker: Broker) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        log(&broker);
        pool(&query::counts(&broker.latest().cello));
        telemetry::tidy_metrics();
    }
}

fn log(broker: &Broker) {
    let status = broker.status();
    let flag = |is_set: bool| if is_set { 1.0 } else { 0.0 };
    metrics::gauge!(telemetry::IS_LEADER).set(flag(status.role == Role::Leader));
    metrics::gauge!(telemetry::IS_READY).set(flag(status.is_ready && broker.is_founded()));
    metrics::gauge!(telemetry::TERM).set(status.term as f64);
    metrics::gauge!(telemetry::LAST_LOG_INDEX).set(status.last_log_index as f64);
    metrics::gauge!(telemetry::COMMIT_INDEX).set(status.commit_index as f64);
    metrics::gauge!(telemetry::APPLIED_INDEX).set(status.applied_index as f64);
    metrics::gauge!(telemetry::SNAPSHOT_INDEX).set(status.snapshot_index as f64);
    let age = status.age_ms.map_or(f64::INFINITY, |age_ms| age_ms as f64 / 1_000.0);
    metrics::gauge!(telemetry::STATE_AGE_SECONDS).set(age);
}

/// What the state says; the same on every replica at the same index.
fn pool(counts: &Counts) {
    for (status, count) in [("active", counts.hosts_active), ("inactive", counts.hosts_inactive)] {
        metrics::gauge!(telemetry::POOL_HOSTS, "status" => status).set(count as f64);
    }
    for (phase, count) in [
        ("creating", counts.clusters_creating),
        ("free", counts.clusters_free),
        ("used", counts.clusters_used),
        ("deleting", counts.clusters_deleting),
        ("resetting", counts.clusters_resetting),
    ] {
        metrics::gauge!(telemetry::POOL_CLUSTERS, "phase" => phase).set(count as f64);
    }
    metrics::gauge!(telemetry::POOL_CLUSTERS_AVAILABLE).set(counts.clusters_available as f64);
    metrics::gauge!(telemetry::POOL_CLUSTERS_UNHEALTHY).set(counts.clusters_unhealthy as f64);
    metrics::gauge!(telemetry::POOL_TASKS).set(counts.tasks as f64);
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn every_phase_and_status_has_its_gauge_also_at_nought() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counts = Counts {
            hosts_active: 2,
            clusters_free: 5,
            clusters_available: 4,
            clusters_used: 3,
            clusters_deleting: 1,
            tasks: 1,
            ..Counts::default()
        };
        metrics::with_local_recorder(&recorder, || pool(&counts));
        let shown = recorder.handle().render();
        for line in [
            "quorate_pool_hosts{status=\"active\"} 2",
            "quorate_pool_hosts{status=\"inactive\"} 0",
            "quorate_pool_clusters{phase=\"creating\"} 0",
            "quorate_pool_clusters{phase=\"free\"} 5",
            "quorate_pool_clusters{phase=\"used\"} 3",
            "quorate_pool_clusters{phase=\"deleting\"} 1",
            "quorate_pool_clusters{phase=\"resetting\"} 0",
            "quorate_pool_clusters_available 4",
            "quorate_pool_clusters_unhealthy 0",
            "quorate_pool_tasks 1",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
        }
    }
}
