//! `POST …/C/migrate` and the queue of migrations (spec 3.6). The intent is recorded first; the
//! leader gives the order to the node and records what the node answered, which is waited for.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    body::Body,
    error::Failure,
    handle::{Answer, Ask, encode, unexpected},
    rehearse,
    wire::{self, ClusterJson},
};
use crate::domain::kvrocks::{
    Command, Rejection, Reply,
    command::ClusterKey,
    model::{Cluster, Job, Phase},
    query,
};

/// Longest wait for the node's answer to the order; the migration goes on without the waiting.
const BEGIN_TIME: Duration = Duration::from_secs(2);
/// Pause between two looks at the state.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// What a rehearsal tells besides.
#[derive(Serialize, JsonSchema)]
pub(super) struct WarningJson {
    /// Why it may not be wise although it would be taken.
    warning: Option<&'static str>,
}

pub(super) async fn migrate(ask: &Ask<'_>, key: ClusterKey, body: &Bytes) -> Answer {
    let (cluster, look, view) = ask.cluster(&key).await?;
    let body = Body::parse(body)?;
    let target = body.integer("target")?;
    // The index is judged before the slots, as the original does.
    if !ask.is_rehearsal() {
        cluster.shard(target).ok_or(Rejection::IndexOutOfRange)?;
    }
    let range = body.slots("slot")?;
    // The original's own command line sends the second form; it means the first.
    let is_slot_only = body.truth("slot_only")? || body.truth("slotOnly")?;
    let mut warning = None;
    let command = if is_slot_only {
        if let Some(job) = query::returned_by(&cluster, range, target) {
            let (job, namespace, cluster) = (job.id, &key.namespace, &key.name);
            tracing::warn!(
                namespace,
                cluster,
                job,
                slots = %range,
                "slots return without data to a node that gave them away"
            );
            warning = Some(
                "slots return without data to a node that gave them away and may refuse writes to \
                 them; migrate them with their data, with the bounds they had",
            );
        }
        Command::MoveSlots { cluster: key.clone(), range, target }
    } else {
        Command::StartMigration { cluster: key.clone(), range, target }
    };
    if ask.is_rehearsal() {
        return rehearse::told(ask, &view, &key, Ok(command), &WarningJson { warning });
    }
    drop(view);
    let (reply, done) = ask.propose(command).await?;
    let cluster = match reply {
        Reply::Cluster(cluster) => Arc::new(*cluster),
        Reply::MigrationBegun { job, cluster } => begun(ask, &key, job, *cluster).await?,
        reply => return Err(unexpected(&reply)),
    };
    let cluster = ClusterJson::new(&cluster, look.of_done())?;
    ask.done(&done, &wire::ClusterAnswer { cluster })
}

/// Waits until the node has taken or refused the order, or the leader takes its time.
async fn begun(
    ask: &Ask<'_>,
    key: &ClusterKey,
    job: u64,
    marked: Cluster,
) -> Result<Arc<Cluster>, Failure> {
    let until = (Instant::now() + BEGIN_TIME).min(ask.visit.call.deadline);
    let mut latest = Arc::new(marked);
    while Instant::now() < until {
        let view = ask.family.edge.broker.latest();
        // Deleted meanwhile: the migration began all the same.
        let Some(cluster) = query::cluster(&view.kvrocks, key) else { break };
        match cluster.job(job) {
            Some(Job { phase: Phase::Failed | Phase::Cancelled, error, .. }) => {
                return Err(Failure::Node(error.clone()));
            }
            Some(Job { phase: Phase::Queued | Phase::Pending, .. }) => latest = cluster,
            Some(Job { phase: Phase::Running | Phase::Succeeded, .. }) | None => {
                return Ok(cluster);
            }
        }
        drop(view);
        sleep(LOOK_PAUSE).await;
    }
    Ok(latest)
}

pub(super) async fn queue(ask: &Ask<'_>, key: ClusterKey, body: &Bytes) -> Answer {
    ask.gate(&key).await?;
    let body = Body::parse(body)?;
    let key_of_slots = if body.has("slots") { "slots" } else { "slot" };
    let attempts = u32::try_from(body.integer("attempts_max")?);
    let command = Command::QueueMigrations {
        ranges: body.slot_list(key_of_slots)?,
        target: body.integer("target")?,
        attempts_max: attempts.map_err(|_| {
            Failure::BadRequest("attempts_max should NOT be less than 0".to_owned())
        })?,
        cluster: key.clone(),
    };
    if ask.is_rehearsal() {
        return rehearse::answer(ask, &key, command).await;
    }
    queued(ask, command).await
}

pub(super) async fn retry(ask: &Ask<'_>, key: ClusterKey, job: u64) -> Answer {
    queued(ask, Command::RetryMigration { cluster: key, job }).await
}

async fn queued(ask: &Ask<'_>, command: Command) -> Answer {
    let (reply, done) = ask.propose(command).await?;
    let Reply::Queued { jobs } = reply else { return Err(unexpected(&reply)) };
    let answer = wire::MigrationsAnswer { migrations: jobs };
    ask.marked(encode(StatusCode::CREATED, &answer)?, &done)
}
