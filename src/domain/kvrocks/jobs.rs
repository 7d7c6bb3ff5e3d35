//! The life of migration jobs inside a cluster: queued, begun, concluded, forgotten.

use super::{
    Rejection,
    command::MigrationOutcome,
    health::cut,
    model::{Cluster, Job, Mark, Phase},
    slots::SlotRange,
};
use crate::domain::Context;

/// Ended jobs a cluster remembers.
pub(super) const ENDED_MAX: usize = 64;
/// Longest error text kept of a job, bytes.
pub(super) const ERROR_BYTES_MAX: usize = 512;

impl Cluster {
    /// Jobs that wait or go on.
    pub fn unfinished_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| !job.phase.is_over())
    }

    /// An id that no job and no sync of the cluster had.
    pub(super) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn job_mut(&mut self, id: u64) -> Result<&mut Job, Rejection> {
        self.jobs.iter_mut().find(|job| job.id == id).ok_or(Rejection::JobNotFound)
    }

    /// Adds a job that waits.
    pub(super) fn queue(
        &mut self,
        context: &Context<'_>,
        range: SlotRange,
        target: usize,
        attempts_max: u32,
    ) -> u64 {
        let id = self.take_id();
        self.jobs.push(Job {
            id,
            range,
            target: target as u64,
            source: None,
            source_node: String::new(),
            target_node: String::new(),
            phase: Phase::Queued,
            attempt: 0,
            attempts_max: attempts_max.max(1),
            is_cancel_requested: false,
            queued_ms: context.time_ms,
            started_ms: 0,
            accepted_ms: 0,
            ended_ms: 0,
            error: String::new(),
        });
        id
    }

    /// Begins every waiting job that nothing stands in the way of: its shards take part in no
    /// other migration (nodes send and receive one range at a time), and no earlier job waits or
    /// goes on for any of its slots. Each beginning is a change of its own.
    pub(super) fn start_jobs(&mut self, context: &Context<'_>) {
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            let is_behind = self.jobs[..at]
                .iter()
                .any(|earlier| !earlier.phase.is_over() && earlier.range.overlaps(job.range));
            if job.phase != Phase::Queued || is_behind {
                continue;
            }
            let target = usize::try_from(job.target).unwrap_or(usize::MAX);
            let begun = match self.source_for(job.range, target) {
                Ok(_) if target >= self.shards.len() => Err(Rejection::IndexOutOfRange),
                found => found,
            };
            match begun {
                Ok(source) if self.is_migrating(source) || self.is_migrating(target) => {}
                Ok(source) => self.begin(context, at, source, target),
                Err(rejection) => {
                    let job = &mut self.jobs[at];
                    job.phase = Phase::Failed;
                    job.ended_ms = context.time_ms;
                    job.error = rejection.to_string();
                }
            }
        }
        self.forget_old_jobs();
    }

    fn begin(&mut self, context: &Context<'_>, at: usize, source: usize, target: usize) {
        let master = |index: usize| self.shards[index].master().map(|node| node.id.clone());
        let (source_node, target_node) = (master(source), master(target));
        let job = &mut self.jobs[at];
        job.source = Some(source as u64);
        job.source_node = source_node.unwrap_or_default();
        job.target_node = target_node.unwrap_or_default();
        job.phase = Phase::Pending;
        job.attempt += 1;
        job.started_ms = context.time_ms;
        job.accepted_ms = 0;
        let mark = Mark { range: job.range, target: target as u64, job: job.id };
        self.shards[source].mark = Some(mark);
        self.version += 1;
    }

    /// Takes the mark of a job that is going on, carries out how it ended, and begins what waited
    /// for it. The caller has raised the version.
    pub(super) fn conclude(&mut self, context: &Context<'_>, id: u64, outcome: MigrationOutcome) {
        let Some(at) = self.jobs.iter().position(|job| job.id == id && job.phase.is_active())
        else {
            return;
        };
        for shard in &mut self.shards {
            shard.mark.take_if(|mark| mark.job == id);
        }
        let phase = match &outcome {
            MigrationOutcome::Moved => self.settle(at),
            MigrationOutcome::Cancelled => Phase::Cancelled,
            MigrationOutcome::Refused { .. } => Phase::Failed,
            MigrationOutcome::Failed { .. } if self.jobs[at].is_cancel_requested => {
                Phase::Cancelled
            }
            MigrationOutcome::Failed { .. }
                if self.jobs[at].attempt < self.jobs[at].attempts_max =>
            {
                Phase::Queued
            }
            MigrationOutcome::Failed { .. } => Phase::Failed,
        };
        let job = &mut self.jobs[at];
        job.phase = phase;
        if let MigrationOutcome::Failed { mut error } | MigrationOutcome::Refused { mut error } =
            outcome
        {
            cut(&mut error, ERROR_BYTES_MAX);
            job.error = error;
        }
        if phase.is_over() {
            job.ended_ms = context.time_ms;
        }
        self.start_jobs(context);
    }

    /// The slots go over, if they are still where the job found them.
    fn settle(&mut self, at: usize) -> Phase {
        let job = &self.jobs[at];
        let target = usize::try_from(job.target).unwrap_or(usize::MAX);
        match self.source_for(job.range, target) {
            Ok(source) if job.source == Some(source as u64) && target < self.shards.len() => {
                let range = job.range;
                self.give(range, source, target);
                self.jobs[at].error.clear();
                Phase::Succeeded
            }
            _ => {
                self.jobs[at].error = "the slots are no longer where they were".to_owned();
                Phase::Failed
            }
        }
    }

    /// Keeps the last few of the ended jobs.
    fn forget_old_jobs(&mut self) {
        let ended = self.jobs.iter().filter(|job| job.phase.is_over()).count();
        let mut excess = ended.saturating_sub(ENDED_MAX);
        self.jobs.retain(|job| {
            let is_dropped = excess > 0 && job.phase.is_over();
            excess -= usize::from(is_dropped);
            !is_dropped
        });
    }
}
