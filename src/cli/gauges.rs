//! Keeps the gauges of a replica up to date: where its log stands, how far its peers are, what the
//! families have, and what is left of the disk.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::statvfs::statvfs;
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    broker::{
        Broker,
        engine::{PeerStatus, ReplicaId, Role, Status},
        secrets::SecretsReport,
    },
    domain::{
        State,
        cello::query::{self as cello, Counts},
        kvrocks::query as kvrocks,
        undermoon::query as undermoon,
    },
    telemetry,
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many times as long as counting took nothing is counted: of a large state a small share of one
/// processor goes into it, and its gauges are some seconds old.
const PAUSE_FACTOR: u32 = 50;
/// Looks between two looks at the disk.
const LOOKS_PER_DISK_LOOK: u32 = 15;

/// Looks for ever.
pub(super) async fn keep(broker: Broker, data_dir: PathBuf) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut peers = Peers::default();
    let mut counted = None;
    let mut not_before = Instant::now();
    let mut fault = None;
    for look in (0..LOOKS_PER_DISK_LOOK).cycle() {
        ticks.tick().await;
        let status = broker.status();
        log(&status, broker.is_founded());
        peers.show(&status);
        let index = broker.latest().position().index;
        if counted != Some(index) && Instant::now() >= not_before {
            let begun = Instant::now();
            if let Ok(report) = spawn_blocking(count(broker.clone())).await {
                warn(report.fault(), &mut fault);
            }
            not_before = begun + begun.elapsed() * PAUSE_FACTOR;
            counted = Some(index);
        }
        if look == 0 {
            measure_disk(data_dir.clone()).await;
        }
        telemetry::tidy_metrics();
    }
}

/// Goes through the whole state, which takes the longer the more there is of it; so not where
/// requests are served.
fn count(broker: Broker) -> impl FnOnce() -> SecretsReport {
    move || {
        families(&broker.latest());
        let report = broker.secrets();
        secrets(&report);
        report
    }
}

fn log(status: &Status, is_founded: bool) {
    let flag = |is_set: bool| if is_set { 1.0 } else { 0.0 };
    metrics::gauge!(telemetry::IS_LEADER).set(flag(status.role == Role::Leader));
    metrics::gauge!(telemetry::IS_READY).set(flag(status.is_ready && is_founded));
    metrics::gauge!(telemetry::TERM).set(status.term as f64);
    metrics::gauge!(telemetry::LAST_LOG_INDEX).set(status.last_log_index as f64);
    metrics::gauge!(telemetry::COMMIT_INDEX).set(status.commit_index as f64);
    metrics::gauge!(telemetry::APPLIED_INDEX).set(status.applied_index as f64);
    metrics::gauge!(telemetry::SNAPSHOT_INDEX).set(status.snapshot_index as f64);
    let entries = status.last_log_index.saturating_sub(status.purged_index);
    metrics::gauge!(telemetry::LOG_ENTRIES).set(entries as f64);
    let age = status.age_ms.map_or(f64::INFINITY, |age_ms| age_ms as f64 / 1_000.0);
    metrics::gauge!(telemetry::STATE_AGE_SECONDS).set(age);
}

/// Members whose progress was shown once. A series cannot be taken back, so what is not known any
/// more is shown as no number.
#[derive(Default)]
struct Peers(BTreeSet<ReplicaId>);

impl Peers {
    fn show(&mut self, status: &Status) {
        let is_leader = status.role == Role::Leader;
        let others = |peer: &&PeerStatus| is_leader && peer.id != status.replica_id;
        for peer in status.peers.iter().filter(others) {
            self.0.insert(peer.id);
        }
        for id in &self.0 {
            let found = status.peers.iter().filter(others).find(|peer| peer.id == *id);
            let (lag, silence) = found.map_or((f64::NAN, f64::NAN), |peer| {
                let matched = peer.match_index.unwrap_or(0);
                let silence = peer.heard_ms.map_or(f64::INFINITY, |ms| ms as f64 / 1_000.0);
                (status.last_log_index.saturating_sub(matched) as f64, silence)
            });
            let labels = [("replica", id.to_string())];
            metrics::gauge!(telemetry::PEER_LAG_ENTRIES, &labels).set(lag);
            metrics::gauge!(telemetry::PEER_SILENCE_SECONDS, &labels).set(silence);
        }
    }
}

fn secrets(report: &SecretsReport) {
    let sealed: u64 = report.secrets.sealed.values().sum();
    for (form, count) in [
        ("sealed", sealed),
        ("readable", report.secrets.readable),
        ("missing_key", report.unopenable()),
    ] {
        metrics::gauge!(telemetry::SECRETS, "form" => form).set(count as f64);
    }
}

/// Says once what is wrong, and once that it is over.
fn warn(fault: Option<String>, said: &mut Option<String>) {
    if *said == fault {
        return;
    }
    match &fault {
        Some(reason) => tracing::error!(reason, "secrets cannot be opened"),
        None => tracing::info!("all secrets can be opened"),
    }
    *said = fault;
}

/// What the state says; the same on every replica at the same index.
fn families(state: &State) {
    pool(&cello::counts(&state.cello));
    proxies(&undermoon::counts(&state.undermoon));
    let clusters = kvrocks::cluster_count(&state.kvrocks);
    metrics::gauge!(telemetry::KVROCKS_CLUSTERS).set(clusters as f64);
    metrics::gauge!(telemetry::AUDIT_RECORDS).set(state.audit.len() as f64);
}

fn proxies(counts: &undermoon::Counts) {
    metrics::gauge!(telemetry::UNDERMOON_CLUSTERS).set(counts.clusters as f64);
    metrics::gauge!(telemetry::UNDERMOON_MIGRATIONS).set(counts.migrations as f64);
    for (status, count) in [
        ("free", counts.proxies_free),
        ("used", counts.proxies_used),
        ("failed", counts.proxies_failed),
        ("suspected", counts.proxies_suspected),
    ] {
        metrics::gauge!(telemetry::UNDERMOON_PROXIES, "status" => status).set(count as f64);
    }
}

/// Shows what there is of the disk; what cannot be measured is not shown, and said once a look.
async fn measure_disk(data_dir: PathBuf) {
    let measured = spawn_blocking(move || {
        let bytes = bytes_below(&data_dir)?;
        let disk = statvfs(&data_dir).map_err(io::Error::from)?;
        Ok::<_, io::Error>((bytes, disk.fragment_size(), disk.blocks_available(), disk.blocks()))
    });
    match measured.await {
        Ok(Ok((bytes, block_bytes, free, all))) => {
            let block_bytes = block_bytes as f64;
            metrics::gauge!(telemetry::DATA_BYTES).set(bytes as f64);
            metrics::gauge!(telemetry::DISK_FREE_BYTES).set(free as f64 * block_bytes);
            metrics::gauge!(telemetry::DISK_BYTES).set(all as f64 * block_bytes);
        }
        Ok(Err(error)) => tracing::debug!(%error, "the disk cannot be measured"),
        Err(_) => {}
    }
}

/// Files may come and go meanwhile.
fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let Ok(entry) = entry else { continue };
        let Ok(found) = entry.metadata() else { continue };
        bytes += if found.is_dir() { bytes_below(&entry.path()).unwrap_or(0) } else { found.len() };
    }
    Ok(bytes)
}

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
    metrics::gauge!(telemetry::POOL_CAPACITY_CLUSTERS).set(counts.capacity as f64);
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
