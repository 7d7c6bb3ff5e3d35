//! The invariants of one cluster (spec 8.1). Judges what comes from elsewhere, and the tests.

use std::collections::BTreeSet;

use super::{
    Rejection,
    clusters::NODES_MAX,
    model::{Cluster, Role, Shard},
    name,
    slots::SLOT_COUNT,
};

/// Highest version taken; what remains up to the nodes' limit suffices for ever.
pub(super) const VERSION_MAX: u64 = i64::MAX as u64 / 2;

impl Cluster {
    /// Checks every invariant that concerns this cluster alone.
    ///
    /// # Errors
    /// The [`Rejection`] that tells the first breach.
    pub fn validate(&self) -> Result<(), Rejection> {
        if self.version > VERSION_MAX {
            return Err(invalid(format!("version {} is too high", self.version)));
        }
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
        let mut is_owned = vec![false; usize::from(SLOT_COUNT)];
        for (index, shard) in self.shards.iter().enumerate() {
            shard.validate(index, &mut is_owned)?;
        }
        self.validate_marks()
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
            let is_shard = mark.target < self.shards.len() as u64;
            if !is_owned || !is_alone || !is_job || !is_shard {
                return Err(invalid(format!("shard {index} has an impossible migration")));
            }
        }
        let marks = self.shards.iter().filter(|shard| shard.mark.is_some()).count();
        if self.active_jobs().count() != marks {
            return Err(invalid("a running migration has no mark".to_owned()));
        }
        let is_ascending = self.jobs.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !is_ascending || self.jobs.last().is_some_and(|job| job.id > self.next_id) {
            return Err(invalid("migrations are out of order".to_owned()));
        }
        Ok(())
    }
}

impl Shard {
    fn validate(&self, index: usize, is_owned: &mut [bool]) -> Result<(), Rejection> {
        let masters = self.nodes.iter().filter(|node| node.role == Role::Master).count();
        if masters != 1 {
            return Err(invalid(format!("shard {index} has {masters} masters")));
        }
        let is_apart = |pair: &[super::SlotRange]| pair[0].stop() + 1 < pair[1].start();
        if !self.slots.windows(2).all(is_apart) {
            return Err(invalid(format!("the slots of shard {index} are out of order")));
        }
        for slot in self.slots.iter().flat_map(|range| range.start()..=range.stop()) {
            if std::mem::replace(&mut is_owned[usize::from(slot)], true) {
                return Err(invalid(format!("slot {slot} belongs to two shards")));
            }
        }
        Ok(())
    }
}

fn invalid(message: String) -> Rejection {
    Rejection::Invalid(message)
}
