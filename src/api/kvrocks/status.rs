//! What the nodes ought to be and what they were seen to be, side by side, for operators.
//!
//! Every replica probes, so every replica can answer, from its own eyes; the answer says whose they
//! are. What the leader could not do about a node is known to the leader alone.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    handle::{Answer, Ask},
    wire::JobJson,
};
use crate::{
    broker::View,
    domain::kvrocks::{
        Rejection,
        command::ClusterKey,
        model::{Cluster, Job, Node, Phase, Role},
        query,
    },
    observe::kvrocks::sight::{Probed, Sight, SightMap},
};

/// `{"replica","leader","clusters"}`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Summary {
    /// Whose eyes.
    replica: u64,
    leader: Option<u64>,
    clusters: Vec<ClusterSummary>,
}

/// One cluster in a line.
#[derive(Serialize, JsonSchema)]
pub(super) struct ClusterSummary {
    namespace: String,
    cluster: String,
    version: u64,
    shards: usize,
    nodes: usize,
    /// Nodes that show what is recorded.
    nodes_well: usize,
    /// Nodes that did not answer the last probe.
    nodes_silent: usize,
    /// Migrations that wait or go on.
    migrations: usize,
}

/// One cluster in full.
#[derive(Serialize, JsonSchema)]
pub(super) struct Detail<'a> {
    /// Whose eyes.
    replica: u64,
    leader: Option<u64>,
    namespace: &'a str,
    cluster: &'a str,
    version: u64,
    nodes: Vec<NodeStatus<'a>>,
    migrations: Vec<JobStatus<'a>>,
    sync: Option<SyncStatus<'a>>,
}

/// A node, wanted and observed.
#[derive(Serialize, JsonSchema)]
pub(super) struct NodeStatus<'a> {
    shard: usize,
    id: &'a str,
    addr: &'a str,
    /// `ok`, `wrong`, `uninitialised`, `loading`, `refused`, `silent`, or `unseen` before the first
    /// probe.
    state: &'static str,
    wanted_version: u64,
    /// -1 without a topology.
    observed_version: Option<i64>,
    wanted_role: &'static str,
    observed_role: Option<&'static str>,
    /// Address of the master it follows.
    follows: Option<&'a str>,
    /// Whether its link to that master is up, by its own word.
    linked: Option<bool>,
    /// Entries behind its shard's master, as both last said.
    lag_entries: Option<u64>,
    /// Probes in a row that were not answered.
    failures: u64,
    /// What went wrong last, empty if nothing did.
    error: &'a str,
    /// What the leader could not do about it; known to the leader.
    trouble: Option<&'a str>,
    /// Milliseconds since the last probe.
    seen_ago_ms: Option<u64>,
    /// Replicas of ours that find it dead.
    found_dead_by: Vec<u64>,
}

/// A migration with what its nodes show.
#[derive(Serialize, JsonSchema)]
pub(super) struct JobStatus<'a> {
    #[serde(flatten)]
    job: JobJson<'a>,
    /// Milliseconds since it was asked for, or that it took.
    age_ms: u64,
    /// What the source says of it: `start`, `success`, `fail`.
    source_state: Option<&'a str>,
    /// What the destination says of it: `start`, `success`, `error`.
    target_state: Option<&'a str>,
}

/// The last push that was asked for.
#[derive(Serialize, JsonSchema)]
pub(super) struct SyncStatus<'a> {
    id: u64,
    forced: bool,
    requested_at_ms: u64,
    /// Whether it is over.
    finished: bool,
    /// Errors by address.
    failures: Vec<(&'a str, &'a str)>,
}

/// `GET /quorate/v1/kvrocks/status`.
pub(super) async fn summary(ask: &Ask<'_>) -> Answer {
    let view = ask.view().await?;
    let (replica, leader) = eyes(ask);
    let clusters = query::clusters(&view.kvrocks).map(|(key, cluster)| {
        let sights = sights(ask, cluster);
        let states =
            cluster.nodes().map(|(index, node)| state(cluster, index, node, sights.get(&node.id)));
        let states: Vec<&str> = states.collect();
        let count = |wanted: &str| states.iter().filter(|state| **state == wanted).count();
        ClusterSummary {
            version: cluster.version,
            shards: cluster.shards.len(),
            nodes: states.len(),
            nodes_well: count("ok"),
            nodes_silent: count("silent"),
            migrations: cluster.unfinished_jobs().count(),
            namespace: key.namespace,
            cluster: key.name,
        }
    });
    ask.shown(&view, &Summary { replica, leader, clusters: clusters.collect() })
}

/// `GET /quorate/v1/kvrocks/status/N/C`.
pub(super) async fn detail(ask: &Ask<'_>, key: &ClusterKey) -> Answer {
    let view = ask.view().await?;
    let cluster = query::cluster(&view.kvrocks, key).ok_or(Rejection::ClusterNotFound)?;
    let now_ms = ask.family.edge.broker.now_ms();
    let sights = sights(ask, &cluster);
    let (replica, leader) = eyes(ask);
    let nodes = cluster.nodes().map(|(index, node)| {
        let dead = found_dead_by(&view, &node.id);
        node_status(&cluster, index, node, &sights, now_ms, dead)
    });
    let sync = cluster.sync.as_ref().map(|sync| SyncStatus {
        id: sync.id,
        forced: sync.is_forced,
        requested_at_ms: sync.requested_ms,
        finished: sync.failures.is_some(),
        failures: sync.failures.iter().flatten().map(|(a, e)| (a.as_str(), e.as_str())).collect(),
    });
    let detail = Detail {
        replica,
        leader,
        namespace: &key.namespace,
        cluster: &key.name,
        version: cluster.version,
        nodes: nodes.collect(),
        migrations: cluster.jobs.iter().map(|job| job_status(job, &sights, now_ms)).collect(),
        sync,
    };
    ask.shown(&view, &detail)
}

fn eyes(ask: &Ask<'_>) -> (u64, Option<u64>) {
    let status = ask.family.edge.broker.status();
    (status.replica_id, status.leader)
}

fn sights(ask: &Ask<'_>, cluster: &Arc<Cluster>) -> SightMap {
    let ids = cluster.nodes().map(|(_, node)| node.id.as_str());
    ask.family.edge.settings.kvrocks.observatory.sights().of(ids)
}

/// Replicas whose last report finds the node dead; `observers` tells whose report counts.
fn found_dead_by(view: &View, node_id: &str) -> Vec<u64> {
    let observers = query::observers(&view.kvrocks);
    let found = observers.filter(|(_, observer)| observer.down.contains_key(node_id));
    found.map(|(id, _)| id).collect()
}

/// A node in a word.
fn state(cluster: &Cluster, index: usize, node: &Node, sight: Option<&Sight>) -> &'static str {
    let Some(sight) = sight else { return "unseen" };
    match &sight.probed {
        Probed::Uninitialised => "uninitialised",
        Probed::Loading => "loading",
        Probed::Refused(_) => "refused",
        Probed::Sealed(_) => "sealed",
        Probed::Silent(_) => "silent",
        Probed::Answered { info, replication } => {
            let has_version = u64::try_from(info.epoch) == Ok(cluster.version);
            let master = cluster.shards[index].master().map(|master| master.addr.as_str());
            let has_role = replication.as_ref().is_none_or(|said| {
                let follows = master.filter(|_| node.role == Role::Slave);
                said.role == node.role && said.master.as_deref() == follows
            });
            let has_view = sight.compared.as_ref().is_none_or(|compared| {
                compared.version != cluster.version || compared.fault.is_none()
            });
            if has_version && has_role && has_view { "ok" } else { "wrong" }
        }
    }
}

fn node_status<'a>(
    cluster: &'a Cluster,
    index: usize,
    node: &'a Node,
    sights: &'a SightMap,
    now_ms: u64,
    found_dead_by: Vec<u64>,
) -> NodeStatus<'a> {
    let sight = sights.get(&node.id);
    let last = |node: &Node| sights.get(&node.id).and_then(|sight| sight.replication.as_ref());
    let said = sight.and_then(Sight::said);
    let master = cluster.shards[index].master().and_then(last);
    let lag = match (node.role, master, last(node)) {
        (Role::Slave, Some(master), Some(own)) => {
            Some(master.sequence.saturating_sub(own.sequence))
        }
        _ => None,
    };
    let compared = sight.and_then(|sight| sight.compared.as_ref());
    let fault = compared.filter(|compared| compared.version == cluster.version);
    let fault = fault.and_then(|compared| compared.fault.as_deref());
    let error = sight.map(Sight::error).filter(|error| !error.is_empty());
    NodeStatus {
        shard: index,
        id: &node.id,
        addr: &node.addr,
        state: state(cluster, index, node, sight),
        wanted_version: cluster.version,
        observed_version: sight.and_then(Sight::epoch),
        wanted_role: node.role.as_str(),
        observed_role: said.map(|said| said.role.as_str()),
        follows: said.and_then(|said| said.master.as_deref()),
        linked: said.and_then(|said| said.is_linked),
        lag_entries: lag,
        failures: sight.map_or(0, |sight| sight.failures),
        error: error.or(fault).unwrap_or_default(),
        trouble: sight.and_then(|sight| sight.trouble.as_deref()),
        seen_ago_ms: sight.map(|sight| now_ms.saturating_sub(sight.time_ms)),
        found_dead_by,
    }
}

fn job_status<'a>(job: &'a Job, sights: &'a SightMap, now_ms: u64) -> JobStatus<'a> {
    let until_ms = if job.phase.is_over() { job.ended_ms } else { now_ms };
    let is_shown = matches!(job.phase, Phase::Pending | Phase::Running);
    let info = |id: &str| sights.get(id).filter(|_| is_shown).and_then(Sight::info);
    let source = info(&job.source_node).and_then(|info| info.migrating.as_ref());
    let source =
        source.filter(|seen| seen.range == job.range && seen.destination == job.target_node);
    let target = info(&job.target_node).and_then(|info| info.importing.as_ref());
    let target = target.filter(|seen| seen.range == job.range);
    JobStatus {
        job: job.into(),
        age_ms: until_ms.saturating_sub(job.queued_ms),
        source_state: source.map(|seen| seen.state.as_str()),
        target_state: target.map(|seen| seen.state.as_str()),
    }
}
