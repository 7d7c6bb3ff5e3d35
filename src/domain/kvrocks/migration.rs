//! Slots change their shard: at once, or with their data through a job (spec 3.6, 4.5).

use super::{
    Rejection, Reply, State,
    command::{ClusterKey, MigrationOutcome},
    model::{Cluster, Job, Phase},
    slots::{self, SlotRange},
};
use crate::domain::Context;

/// Most jobs of a cluster that wait or go on.
pub(super) const JOBS_MAX: usize = 1_024;
/// Most attempts of one job.
pub(super) const ATTEMPTS_MAX: u32 = 100;

impl State {
    pub(super) fn move_slots(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        range: SlotRange,
        target: i64,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let target = cluster.index(target)?;
        let source = cluster.source_for(range, target)?;
        if cluster.active_jobs().any(|job| job.range.overlaps(range)) {
            return Err(Rejection::ShardMigrating);
        }
        cluster.give(range, source, target);
        cluster.version += 1;
        // A waiting job may find its slots at a shard that is idle.
        cluster.start_jobs(context);
        self.put(key, cluster.clone());
        Ok(Reply::Cluster(Box::new(cluster)))
    }

    pub(super) fn start_migration(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        range: SlotRange,
        target: i64,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let target = cluster.index(target)?;
        let source = cluster.source_for(range, target)?;
        let is_awaited = cluster.unfinished_jobs().any(|job| job.range.overlaps(range));
        if cluster.is_migrating(source) || cluster.is_migrating(target) || is_awaited {
            return Err(Rejection::ShardMigrating);
        }
        judge_room(&cluster, 1)?;
        let job = cluster.queue(context, range, target, 1);
        cluster.start_jobs(context);
        // A job that waits may have gone first.
        if !cluster.job(job).is_some_and(|job| job.phase.is_active()) {
            return Err(Rejection::ShardMigrating);
        }
        self.put(key, cluster.clone());
        Ok(Reply::MigrationBegun { job, cluster: Box::new(cluster) })
    }

    pub(super) fn queue_migrations(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        ranges: &[SlotRange],
        (target, attempts_max): (i64, u32),
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let target = cluster.index(target)?;
        if ranges.is_empty() {
            return Err(Rejection::Invalid("slots should NOT be empty".to_owned()));
        }
        judge_room(&cluster, ranges.len())?;
        let attempts_max = match attempts_max {
            0 => self.settings.migration_attempts_max,
            wanted => wanted.min(ATTEMPTS_MAX),
        };
        for (at, range) in ranges.iter().enumerate() {
            if ranges[..at].iter().any(|other| other.overlaps(*range)) {
                return Err(Rejection::SlotsDivided);
            }
            // Who owns the slots then is known only when the jobs before are over.
            if !cluster.unfinished_jobs().any(|job| job.range.overlaps(*range)) {
                cluster.source_for(*range, target)?;
            }
        }
        let queue = |range: &SlotRange| cluster.queue(context, *range, target, attempts_max);
        let jobs = ranges.iter().map(queue).collect();
        cluster.start_jobs(context);
        self.put(key, cluster);
        Ok(Reply::Queued { jobs })
    }

    pub(super) fn migration_accepted(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        (id, attempt): (u64, u32),
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let job = active(&mut cluster, id, attempt)?;
        if job.phase == Phase::Pending {
            job.phase = Phase::Running;
            job.accepted_ms = context.time_ms;
        }
        self.put(key, cluster);
        Ok(Reply::Done)
    }

    pub(super) fn end_migration(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        (id, attempt): (u64, u32),
        outcome: MigrationOutcome,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        active(&mut cluster, id, attempt)?;
        cluster.version += 1;
        cluster.conclude(context, id, outcome);
        self.put(key, cluster);
        Ok(Reply::Done)
    }

    pub(super) fn cancel_migration(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        id: u64,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let job = cluster.job_mut(id)?;
        match job.phase {
            Phase::Queued => {
                job.phase = Phase::Cancelled;
                job.ended_ms = context.time_ms;
            }
            Phase::Pending | Phase::Running => job.is_cancel_requested = true,
            phase => return Err(Rejection::JobPhase { job: id, phase: phase.as_str().to_owned() }),
        }
        // What it stood in the way of may begin.
        cluster.start_jobs(context);
        self.put(key, cluster);
        Ok(Reply::Done)
    }

    pub(super) fn retry_migration(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        id: u64,
    ) -> Result<Reply, Rejection> {
        let cluster = self.find(key)?;
        let job = cluster.job(id).ok_or(Rejection::JobNotFound)?;
        if !matches!(job.phase, Phase::Failed | Phase::Cancelled) {
            let phase = job.phase.as_str().to_owned();
            return Err(Rejection::JobPhase { job: id, phase });
        }
        // Shards may have moved since; their nodes tell.
        let target =
            match cluster.shards.iter().position(|shard| shard.node(&job.target_node).is_some()) {
                Some(index) => index,
                None if job.target_node.is_empty() => cluster.index(clamped(job.target))?,
                None => return Err(Rejection::IndexOutOfRange),
            };
        let (range, attempts_max) = (job.range, job.attempts_max);
        self.queue_migrations(context, key, &[range], (clamped(target as u64), attempts_max))
    }
}

fn clamped(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn judge_room(cluster: &Cluster, added: usize) -> Result<(), Rejection> {
    if cluster.unfinished_jobs().count() + added > JOBS_MAX {
        return Err(Rejection::TooMany { what: "migrations".to_owned(), max: JOBS_MAX as u64 });
    }
    Ok(())
}

/// A job that is going on in exactly this attempt.
fn active(cluster: &mut Cluster, id: u64, attempt: u32) -> Result<&mut Job, Rejection> {
    let job = cluster.job_mut(id)?;
    if job.phase.is_active() && job.attempt == attempt {
        return Ok(job);
    }
    Err(Rejection::JobPhase { job: id, phase: job.phase.as_str().to_owned() })
}

impl Cluster {
    /// The shard that has all slots of `range` and is not `target`.
    pub(super) fn source_for(&self, range: SlotRange, target: usize) -> Result<usize, Rejection> {
        let owners = self.shards.iter().enumerate().flat_map(|(index, shard)| {
            let touched = shard.slots.iter().filter(|have| have.overlaps(range));
            touched.map(move |have| (index, *have))
        });
        let mut owners = owners.fuse();
        let (source, have) = owners.next().ok_or(Rejection::SlotUnassigned)?;
        if owners.next().is_some() || !have.contains(range) {
            return Err(Rejection::SlotsDivided);
        }
        if source == target {
            return Err(Rejection::SameShard);
        }
        Ok(source)
    }

    /// Gives slots of one shard to another.
    pub(super) fn give(&mut self, range: SlotRange, source: usize, target: usize) {
        let left = slots::remove(&self.shards[source].slots, range);
        let more = slots::add(&self.shards[target].slots, range);
        self.shards[source].slots = left;
        self.shards[target].slots = more;
    }
}
