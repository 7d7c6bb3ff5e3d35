//! What to do next about a migration that is marked (spec 3.6, 4.5). Pure.
//!
//! A source keeps the lines of its last migration after the end and forgets them when it restarts,
//! so what it says is always matched with slots and destination, and its silence means nothing.

use crate::{
    domain::kvrocks::{
        command::MigrationOutcome,
        model::{Cluster, Job, Phase},
    },
    observe::kvrocks::{
        info::{ClusterInfo, Importing, Migrating},
        sight::Probed,
    },
};

/// Longest time until the source has taken the order, milliseconds.
pub(super) const ORDER_MS_MAX: u64 = 30_000;
/// Time after the order in which the source may not show it yet, milliseconds.
pub(super) const SHOW_MS_MAX: u64 = 3_000;
/// Time between two attempts to stop a running migration, milliseconds.
pub(super) const STOP_MS: u64 = 5_000;

/// What both ends said just now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'a> {
    /// The source.
    pub(super) source: &'a Probed,
    /// The destination.
    pub(super) target: &'a Probed,
}

/// What the leader remembers of the attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: u64,
    /// Orders given for this attempt in this term.
    pub(super) orders: u32,
    /// When it was last asked to end.
    pub(super) stopped_ms: Option<u64>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again later.
    Wait,
    /// Give the source the order.
    Order,
    /// Record that the source took it.
    Accept,
    /// Record how it ended.
    End(MigrationOutcome),
    /// Make the destination refuse what the source sends.
    Stop,
}

/// Decides.
#[must_use]
pub(super) fn next(cluster: &Cluster, job: &Job, ends: Ends<'_>, known: Known) -> Next {
    match job.phase {
        Phase::Pending => pending(cluster, job, ends, known),
        Phase::Running => running(cluster, job, ends, known),
        Phase::Queued | Phase::Succeeded | Phase::Failed | Phase::Cancelled => Next::Wait,
    }
}

fn pending(cluster: &Cluster, job: &Job, ends: Ends<'_>, known: Known) -> Next {
    let source = info(ends.source);
    let state = source.and_then(|info| matching(info, job)).map(|seen| seen.state.as_str());
    // A former leader gave the order, or the answer to ours was lost.
    if state == Some("start") || (state == Some("success") && known.orders > 0) {
        return Next::Accept;
    }
    if job.is_cancel_requested {
        return Next::End(MigrationOutcome::Cancelled);
    }
    let is_late = known.now_ms.saturating_sub(job.started_ms) >= ORDER_MS_MAX;
    let late = |error: String| match is_late {
        true => Next::End(MigrationOutcome::Refused { error }),
        false => Next::Wait,
    };
    for (name, probed) in [("source", ends.source), ("target", ends.target)] {
        match probed {
            Probed::Answered { info, .. } if is_current(cluster, info) => {}
            Probed::Answered { info, .. } => {
                return late(format!("the {name} stays at version {}", info.epoch));
            }
            Probed::Uninitialised => return late(format!("the {name} takes no topology")),
            Probed::Loading => return late(format!("the {name} restores a copy")),
            Probed::Refused(error) | Probed::Sealed(error) | Probed::Silent(error) => {
                return late(format!("the {name} cannot be asked: {error}"));
            }
        }
    }
    Next::Order
}

fn running(cluster: &Cluster, job: &Job, ends: Ends<'_>, known: Known) -> Next {
    let failed = |error: &str| Next::End(MigrationOutcome::Failed { error: error.to_owned() });
    let has_arrived = has_arrived(cluster, job, ends.target);
    let source = match ends.source {
        Probed::Answered { info, .. } => info,
        Probed::Uninitialised if has_arrived => return Next::End(MigrationOutcome::Moved),
        Probed::Uninitialised => return failed("the source lost its topology"),
        // The copy is complete and only the destination serves it: what its clients wrote there
        // must not be lost to a failover of the source.
        Probed::Silent(_) if has_arrived => return Next::End(MigrationOutcome::Moved),
        Probed::Silent(_) | Probed::Loading | Probed::Refused(_) | Probed::Sealed(_) => {
            return Next::Wait;
        }
    };
    let Some(seen) = matching(source, job) else {
        if has_arrived {
            return Next::End(MigrationOutcome::Moved);
        }
        if known.now_ms.saturating_sub(job.accepted_ms) < SHOW_MS_MAX {
            return Next::Wait;
        }
        return failed("the source knows nothing of the migration any more");
    };
    match seen.state.as_str() {
        "success" => Next::End(MigrationOutcome::Moved),
        "none" | "start" if job.is_cancel_requested => {
            let is_due = known.stopped_ms.is_none_or(|at| at + STOP_MS <= known.now_ms);
            if is_due { Next::Stop } else { Next::Wait }
        }
        "none" | "start" => Next::Wait,
        // The first migration of a node that was a replica stumbles over a cancellation left by its
        // replication; the second one works.
        "fail" if was_promoted(cluster, job) && known.orders == 1 && !job.is_cancel_requested => {
            Next::Order
        }
        "fail" => failed("the source reports failure"),
        state => failed(&format!("the source reports the state {state:?}")),
    }
}

const fn info(probed: &Probed) -> Option<&ClusterInfo> {
    match probed {
        Probed::Answered { info, .. } => Some(info),
        _ => None,
    }
}

/// The source's lines, if they are about this job.
pub(super) fn matching<'a>(info: &'a ClusterInfo, job: &Job) -> Option<&'a Migrating> {
    let seen = info.migrating.as_ref();
    seen.filter(|seen| seen.range == job.range && seen.destination == job.target_node)
}

fn is_current(cluster: &Cluster, info: &ClusterInfo) -> bool {
    u64::try_from(info.epoch).is_ok_and(|epoch| epoch >= cluster.version)
}

/// Whether the destination says it has the slots. Not believed if it had the same ones before: the
/// lines of that time may still stand.
fn has_arrived(cluster: &Cluster, job: &Job, target: &Probed) -> bool {
    let had_before = cluster.jobs.iter().any(|earlier| {
        earlier.id != job.id
            && earlier.phase == Phase::Succeeded
            && earlier.range == job.range
            && earlier.target_node == job.target_node
    });
    let import = info(target).and_then(|info| info.importing.as_ref());
    let is_there = |import: &Importing| import.range == job.range && import.state == "success";
    !had_before && import.is_some_and(is_there)
}

fn was_promoted(cluster: &Cluster, job: &Job) -> bool {
    cluster.failovers.iter().any(|failover| failover.new_master == job.source_node)
}

/// What a refused order means.
#[must_use]
pub(super) fn refused(job: &Job, source: &Probed, error: &str) -> Next {
    let seen = info(source).and_then(|info| matching(info, job));
    let has_moved = seen.is_some_and(|seen| seen.state == "success");
    // The answer to an earlier order was lost, and the source still holds the slots as given away.
    if has_moved && error.contains("has been migrated") {
        return Next::End(MigrationOutcome::Moved);
    }
    Next::End(MigrationOutcome::Refused { error: error.to_owned() })
}

#[cfg(test)]
#[path = "migration_test.rs"]
mod tests;
