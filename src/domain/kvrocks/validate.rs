//! The invariants of one cluster (spec 8.1). Judges what comes from elsewhere, and the tests.

use std::collections::BTreeSet;

use super::{
    Rejection,
    clusters::NODES_MAX,
    failover::FAILOVERS_MAX,
    jobs::{ENDED_MAX, ERROR_BYTES_MAX},
    migration::{ATTEMPTS_MAX, JOBS_MAX},
    model::{Cluster, Job, NODE_ID_LEN, Phase, Role, Shard},
    name,
    slots::SlotRange,
};

/// Highest number taken from elsewhere; what remains up to the nodes' limit suffices for ever.
const NUMBER_MAX: u64 = i64::MAX as u64 / 2;

impl Cluster {
    /// Judges a cluster that comes from elsewhere: every invariant, and numbers with room to grow.
    pub(super) fn admit(&self) -> Result<(), Rejection> {
        if self.version > NUMBER_MAX {
            return Err(invalid(format!("version {} is too high", self.version)));
        }
        if self.next_id > NUMBER_MAX {
            return Err(invalid(format!(
                "number {} of the next migration is too high",
                self.next_id
            )));
        }
        self.validate()
    }

    /// Checks every invariant that concerns this cluster alone.
    ///
    /// # Errors
    /// The [`Rejection`] that tells the first breach.
    pub fn validate(&self) -> Result<(), Rejection> {
        if self.nodes().count() > NODES_MAX {
            return Err(Rejection::TooMany { what: "nodes".to_owned(), max: NODES_MAX as u64 });
        }
        name::judge_addresses(self.nodes().map(|(_, node)| node.addr.as_str()))?;
        let mut ids = BTreeSet::new();
        for (_, node) in self.nodes() {
            if !name::is_node_id(&node.id) || !ids.insert(&node.id) {
                return Err(Rejection::InvalidNodeId(node.id.clone()));
            }
        }
        for (index, shard) in self.shards.iter().enumerate() {
            shard.validate(index)?;
        }
        let mut owned: Vec<SlotRange> =
            self.shards.iter().flat_map(|shard| shard.slots.iter().copied()).collect();
        owned.sort_unstable();
        if let Some(pair) = owned.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
            return Err(invalid(format!("slot {} belongs to two shards", pair[1].start())));
        }
        self.validate_marks()?;
        self.validate_jobs()?;
        self.validate_history()
    }

    fn validate_marks(&self) -> Result<(), Rejection> {
        let mut taking_part = BTreeSet::new();
        for (index, shard) in self.shards.iter().enumerate() {
            let Some(mark) = shard.mark else { continue };
            let index = index as u64;
            let is_owned = shard.slots.iter().any(|have| have.contains(mark.range));
            let is_alone = taking_part.insert(index) && taking_part.insert(mark.target);
            let job = self.job(mark.job).filter(|job| job.phase.is_active());
            let is_job = job.is_some_and(|job| {
                (job.range, job.target, job.source) == (mark.range, mark.target, Some(index))
            });
            let target = usize::try_from(mark.target).ok().and_then(|at| self.shards.get(at));
            let is_master = |shard: Option<&Shard>, id: &str| {
                shard.and_then(Shard::master).is_some_and(|master| master.id == id)
            };
            let is_between = job.is_some_and(|job| {
                is_master(Some(shard), &job.source_node) && is_master(target, &job.target_node)
            });
            if !is_owned || !is_alone || !is_job || !is_between {
                return Err(invalid(format!("shard {index} has an impossible migration")));
            }
        }
        let marks = self.shards.iter().filter(|shard| shard.mark.is_some()).count();
        if self.active_jobs().count() != marks {
            return Err(invalid("a running migration has no mark".to_owned()));
        }
        Ok(())
    }

    fn validate_jobs(&self) -> Result<(), Rejection> {
        if let Some(job) = self.jobs.iter().find(|job| !job.is_possible()) {
            return Err(invalid(format!("migration {} is impossible", job.id)));
        }
        let unfinished = self.unfinished_jobs().count();
        if unfinished > JOBS_MAX || self.jobs.len() - unfinished > ENDED_MAX {
            return Err(invalid("there are too many migrations".to_owned()));
        }
        let is_ascending = self.jobs.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !is_ascending || self.jobs.last().is_some_and(|job| job.id > self.next_id) {
            return Err(invalid("migrations are out of order".to_owned()));
        }
        Ok(())
    }

    fn validate_history(&self) -> Result<(), Rejection> {
        if self.failovers.len() > FAILOVERS_MAX {
            return Err(invalid("there are too many failovers".to_owned()));
        }
        let failures =
            |sync: &super::model::Sync| sync.failures.as_ref().map_or(0, std::vec::Vec::len);
        let sync = self.sync.as_ref();
        if sync.is_some_and(|sync| sync.id > self.next_id || failures(sync) > NODES_MAX) {
            return Err(invalid("the last sync is impossible".to_owned()));
        }
        Ok(())
    }
}

impl Job {
    fn is_possible(&self) -> bool {
        let has_attempts = match self.phase {
            Phase::Queued => self.attempt < self.attempts_max,
            Phase::Pending | Phase::Running => (1..=self.attempts_max).contains(&self.attempt),
            Phase::Succeeded | Phase::Failed | Phase::Cancelled => {
                self.attempt <= self.attempts_max
            }
        };
        let is_short = |id: &str| id.len() <= NODE_ID_LEN;
        has_attempts
            && self.attempts_max <= ATTEMPTS_MAX
            && self.error.len() <= ERROR_BYTES_MAX
            && is_short(&self.source_node)
            && is_short(&self.target_node)
    }
}

impl Shard {
    fn validate(&self, index: usize) -> Result<(), Rejection> {
        let masters = self.nodes.iter().filter(|node| node.role == Role::Master).count();
        if masters != 1 {
            return Err(invalid(format!("shard {index} has {masters} masters")));
        }
        let is_apart = |pair: &[SlotRange]| pair[0].stop() + 1 < pair[1].start();
        if !self.slots.windows(2).all(is_apart) {
            return Err(invalid(format!("the slots of shard {index} are out of order")));
        }
        Ok(())
    }
}

fn invalid(message: String) -> Rejection {
    Rejection::Invalid(message)
}
