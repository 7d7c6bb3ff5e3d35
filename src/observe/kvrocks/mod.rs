//! Every replica probes every Kvrocks node, so that one with a bad network path convinces nobody.
//!
//! Begin with [`Observatory`], which all who want to know share, and [`run`], the cycle. What was
//! seen is in [`sight`], how a node is asked in [`probe`], what its texts say in [`info`];
//! `report` decides when the others are told.

pub mod info;
pub mod probe;
mod report;
pub mod sight;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use self::{
    report::Reporter,
    sight::{Moment, Sights},
};
use super::side_by_side;
use crate::{
    broker::Broker,
    client::{node_call::NodeCall, node_pool::NodePool},
    clock,
    domain::kvrocks::{
        State,
        model::{Cluster, Node},
        query,
        settings::Settings,
    },
    telemetry,
};

/// Nodes asked at the same time.
const PROBES_MAX: usize = 512;
/// Longest sleep between two looks at the settings, so that a shorter interval holds at once.
const NAP: Duration = Duration::from_millis(250);

/// What this replica sees of the nodes, and its way to ask them.
pub struct Observatory {
    nodes: Arc<dyn NodeCall>,
    sights: Sights,
    cycles: watch::Sender<u64>,
}

impl fmt::Debug for Observatory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observatory")
            .field("cycles", &*self.cycles.borrow())
            .finish_non_exhaustive()
    }
}

impl Default for Observatory {
    fn default() -> Self {
        Self::new(Arc::new(NodePool::default()))
    }
}

impl Observatory {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(nodes: Arc<dyn NodeCall>) -> Self {
        Self { nodes, sights: Sights::default(), cycles: watch::Sender::new(0) }
    }

    /// The way to ask nodes.
    #[must_use]
    pub fn nodes(&self) -> &dyn NodeCall {
        self.nodes.as_ref()
    }

    /// The way to ask nodes, to be kept.
    #[must_use]
    pub fn shared_nodes(&self) -> Arc<dyn NodeCall> {
        Arc::clone(&self.nodes)
    }

    /// What was seen.
    #[must_use]
    pub const fn sights(&self) -> &Sights {
        &self.sights
    }

    /// Counts the cycles that are over.
    #[must_use]
    pub fn watch_cycles(&self) -> watch::Receiver<u64> {
        self.cycles.subscribe()
    }

    /// Asks some nodes now, all at once, between two cycles.
    pub async fn look(&self, nodes: impl Iterator<Item = &Node>, time: Duration) {
        let asked = nodes.map(|node| self.probe(node, time, false)).collect();
        side_by_side(asked, PROBES_MAX).await;
    }

    fn probe<'a>(&'a self, node: &'a Node, time: Duration, is_cycle: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let probed = probe::probe(self.nodes.as_ref(), node, time).await;
            let moment = Moment { time_ms: clock::now_ms(), is_cycle };
            self.sights.note(&node.id, &node.addr, probed, moment);
        })
    }

    /// Asks every node once.
    async fn cycle(&self, clusters: &[Arc<Cluster>], settings: &Settings) {
        let time = Duration::from_millis(settings.node_timeout_ms);
        let nodes = clusters.iter().flat_map(|cluster| cluster.nodes().map(|(_, node)| node));
        let asked = nodes.map(|node| self.probe(node, time, true)).collect();
        side_by_side(asked, PROBES_MAX).await;
        let ids: BTreeSet<&str> = clusters
            .iter()
            .flat_map(|cluster| cluster.nodes().map(|(_, node)| node.id.as_str()))
            .collect();
        self.sights.retain(&ids);
    }
}

/// Probes all nodes in cycles that do not overlap, and reports; for ever.
pub async fn run(broker: Broker, observatory: Arc<Observatory>) {
    let mut reporter = Reporter::default();
    let mut known: Option<State> = None;
    loop {
        let started = Instant::now();
        if broker.is_founded() {
            let (clusters, settings) = record(&broker);
            observatory.cycle(&clusters, &settings).await;
            measure(&observatory, started, clusters.is_empty());
            reporter.report(&broker, &observatory.sights, &settings).await;
            observatory.cycles.send_modify(|cycles| *cycles += 1);
        }
        loop {
            let interval = Duration::from_millis(record_settings(&broker).ping_interval_ms);
            let left = interval.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            greet(&broker, &observatory, &mut known).await;
            sleep(left.min(NAP)).await;
        }
    }
}

/// Looks at new nodes without waiting for the next cycle.
async fn greet(broker: &Broker, observatory: &Observatory, known: &mut Option<State>) {
    let now = broker.latest().kvrocks.clone();
    if known.as_ref().is_some_and(|known| query::is_untouched(known, &now)) {
        return;
    }
    let clusters: Vec<_> = query::clusters(&now).map(|(_, cluster)| Arc::clone(cluster)).collect();
    let time = Duration::from_millis(query::settings(&now).node_timeout_ms);
    let nodes = clusters.iter().flat_map(|cluster| cluster.nodes().map(|(_, node)| node));
    let strangers: Vec<&Node> =
        nodes.filter(|node| observatory.sights.is_stranger(&node.id, &node.addr)).collect();
    observatory.look(strangers.into_iter(), time).await;
    *known = Some(now);
}

fn record(broker: &Broker) -> (Vec<Arc<Cluster>>, Settings) {
    let view = broker.latest();
    let clusters = query::clusters(&view.kvrocks).map(|(_, cluster)| Arc::clone(cluster)).collect();
    (clusters, query::settings(&view.kvrocks).clone())
}

fn record_settings(broker: &Broker) -> Settings {
    query::settings(&broker.latest().kvrocks).clone()
}

fn measure(observatory: &Observatory, started: Instant, is_idle: bool) {
    let (mut nodes, mut silent) = (0_u64, 0_u64);
    observatory.sights.for_each(|_, sight| {
        nodes += 1;
        silent += u64::from(sight.is_silent());
    });
    metrics::gauge!(telemetry::KVROCKS_NODES).set(nodes as f64);
    metrics::gauge!(telemetry::KVROCKS_NODES_SILENT).set(silent as f64);
    if !is_idle {
        let seconds = started.elapsed().as_secs_f64();
        metrics::histogram!(telemetry::KVROCKS_PROBE_CYCLE_SECONDS).record(seconds);
    }
}
