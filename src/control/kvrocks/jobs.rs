//! Carries out migrations: asks both ends, gives the order, records how it went (spec 3.6, 4.5).

use super::{
    desk::{self, Desk},
    memory::Memory,
    migration::{self, Ends, Known, Next},
    push::Push,
    pushes,
};
use crate::{
    client::node_call::NodeError,
    domain::kvrocks::{
        Command,
        command::{ClusterKey, MigrationOutcome},
        model::{Cluster, Job, Node},
        settings::Settings,
    },
    observe::kvrocks::{probe, sight::Probed},
    telemetry,
};

/// Longest time between two looks at a migration that goes on, milliseconds (spec 4.2).
pub(super) const POLL_MS_MAX: u64 = 1_000;

/// Advances every migration of the cluster by one step. `None` if the cluster is gone.
pub(super) async fn tend(desk: &Desk, key: &ClusterKey, memory: &mut Memory) -> Option<()> {
    let (cluster, _) = desk.cluster(key)?;
    let ids: Vec<u64> = cluster.active_jobs().map(|job| job.id).collect();
    for id in ids {
        let (cluster, settings) = desk.cluster(key)?;
        // The end of one job may have been the end of another.
        if let Some(job) = cluster.job(id).filter(|job| job.phase.is_active()) {
            advance(desk, key, &cluster, &settings, job, memory).await;
        }
    }
    Some(())
}

async fn advance(
    desk: &Desk,
    key: &ClusterKey,
    cluster: &Cluster,
    settings: &Settings,
    job: &Job,
    memory: &mut Memory,
) {
    let node = |id: &str| cluster.nodes().find(|(_, node)| node.id == id).map(|(_, node)| node);
    let (Some(source), Some(target)) = (node(&job.source_node), node(&job.target_node)) else {
        let error = "a node of the migration left the cluster".to_owned();
        end(desk, key, job, MigrationOutcome::Refused { error }).await;
        return;
    };
    desk.observatory.look([source, target].into_iter(), desk::time(settings)).await;
    let sights = desk.sights(cluster);
    let (Some(from), Some(to)) = (sights.get(&source.id), sights.get(&target.id)) else { return };
    let ends = Ends { source: &from.probed, target: &to.probed };
    let known = Known {
        now_ms: desk.now_ms(),
        orders: memory.orders.get(&(job.id, job.attempt)).copied().unwrap_or(0),
        stopped_ms: memory.stops.get(&job.id).copied(),
    };
    match migration::next(cluster, job, ends, known) {
        Next::Wait => {}
        Next::Order => {
            order(desk, key, cluster, settings, job, (source, ends.source), memory).await
        }
        Next::Accept => accept(desk, key, job).await,
        Next::End(outcome) => end(desk, key, job, outcome).await,
        Next::Stop => {
            memory.stops.insert(job.id, desk.now_ms());
            stop(desk, key, cluster, settings, target).await;
        }
    }
}

/// Gives the source the order.
async fn order(
    desk: &Desk,
    key: &ClusterKey,
    cluster: &Cluster,
    settings: &Settings,
    job: &Job,
    (source, probed): (&Node, &Probed),
    memory: &mut Memory,
) {
    if !desk.may_act(key, cluster.version) {
        return;
    }
    // Noted before: an order whose answer is lost may have been taken.
    *memory.orders.entry((job.id, job.attempt)).or_default() += 1;
    let range = job.range.to_string();
    let command = ["CLUSTERX", "MIGRATE", &range, &job.target_node];
    let nodes = desk.observatory.nodes();
    match nodes.call(probe::access(source), &command, desk::time(settings)).await {
        Ok(_) => accept(desk, key, job).await,
        Err(NodeError::Refused { text, .. }) => {
            if let Next::End(outcome) = migration::refused(job, probed, &text) {
                end(desk, key, job, outcome).await;
            }
        }
        Err(error) => {
            let (namespace, cluster, id) = (&key.namespace, &key.name, job.id);
            tracing::warn!(
                namespace,
                cluster,
                job = id,
                %error,
                "whether a migration was begun is not known yet"
            );
        }
    }
}

async fn accept(desk: &Desk, key: &ClusterKey, job: &Job) {
    let command =
        Command::MigrationAccepted { cluster: key.clone(), job: job.id, attempt: job.attempt };
    if let Err(error) = desk.propose(command).await {
        // The source shows it; the next look finds it again.
        let (namespace, cluster) = (&key.namespace, &key.name);
        tracing::debug!(namespace, cluster, job = job.id, %error, "beginning not recorded");
    }
}

async fn end(desk: &Desk, key: &ClusterKey, job: &Job, outcome: MigrationOutcome) {
    let (label, error) = match &outcome {
        MigrationOutcome::Moved => ("moved", ""),
        MigrationOutcome::Failed { error } => ("failed", error.as_str()),
        MigrationOutcome::Refused { error } => ("refused", error.as_str()),
        MigrationOutcome::Cancelled => ("cancelled", ""),
    };
    let (namespace, cluster, slots) = (&key.namespace, &key.name, job.range.to_string());
    let command = Command::EndMigration {
        cluster: key.clone(),
        job: job.id,
        attempt: job.attempt,
        outcome: outcome.clone(),
    };
    match desk.propose(command).await {
        Ok(_) => {
            metrics::counter!(telemetry::KVROCKS_MIGRATIONS_TOTAL, "outcome" => label).increment(1);
            tracing::info!(
                namespace,
                cluster,
                job = job.id,
                slots,
                outcome = label,
                error,
                "migration ended"
            );
        }
        Err(error) => {
            tracing::debug!(namespace, cluster, job = job.id, %error, "end not recorded");
        }
    }
}

/// Makes the destination forget that it imports: the source fails then, and keeps the slots.
async fn stop(
    desk: &Desk,
    key: &ClusterKey,
    cluster: &Cluster,
    settings: &Settings,
    target: &Node,
) {
    let push = Push {
        node_id: target.id.clone(),
        is_forced: true,
        reason: "a migration is cancelled".to_owned(),
    };
    let cluster = std::sync::Arc::new(cluster.clone());
    for (_, told) in pushes::carry_out(desk, key, &cluster, settings, vec![vec![push]]).await {
        if let Err(error) = told {
            let (namespace, cluster) = (&key.namespace, &key.name);
            tracing::warn!(namespace, cluster, %error, "migration not stopped yet");
        }
    }
}
