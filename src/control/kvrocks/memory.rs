//! What the leader remembers of a cluster between two looks: attempts, and when the next is due. It
//! begins empty with every term; nothing depends on it but pace.

use std::collections::BTreeMap;

use crate::domain::kvrocks::model::Job;

/// Pause after the first failed attempt, milliseconds; doubles with each one.
const PAUSE_MS_MIN: u64 = 500;
/// Longest pause between attempts, milliseconds.
const PAUSE_MS_MAX: u64 = 60_000;
/// Probes that have to find the same before a view counts as wrong.
const DRIFT_ROUNDS: u64 = 2;

/// Attempts that failed in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// How many.
    pub(super) failed: u32,
    /// When the next one is due, milliseconds since the Unix epoch.
    pub(super) next_ms: u64,
}

impl Tries {
    /// Notes a failed attempt: the next is due after a pause that grows up to `pause_ms_max`.
    pub(super) fn fail(&mut self, now_ms: u64, pause_ms_max: u64) {
        let pause_ms = PAUSE_MS_MIN << self.failed.min(16);
        self.failed += 1;
        self.next_ms = now_ms + pause_ms.min(pause_ms_max.min(PAUSE_MS_MAX));
    }
}

/// The leader's memory of one cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Pushes that failed or changed nothing, by node.
    pub(super) pushes: BTreeMap<String, Tries>,
    /// First probe that found the view of a node wrong, by node.
    pub(super) drifts: BTreeMap<String, u64>,
    /// Failovers that came to nothing, by the dead master.
    pub(super) failovers: BTreeMap<String, Tries>,
    /// Orders to migrate given in this term, by job and attempt.
    pub(super) orders: BTreeMap<(u64, u32), u32>,
    /// When a running job was last asked to end, milliseconds, by job.
    pub(super) stops: BTreeMap<u64, u64>,
    /// Versions of the record and of the nodes that were found not to go together, and the probe
    /// that found it.
    pub(super) not_adopted: Option<(u64, i64, u64)>,
}

impl Memory {
    /// Whether a push to the node is due.
    #[must_use]
    pub(super) fn may_push(&self, node_id: &str, now_ms: u64) -> bool {
        self.pushes.get(node_id).is_none_or(|tries| tries.next_ms <= now_ms)
    }

    /// When the next thing that was put off is due.
    #[must_use]
    pub(super) fn next_ms(&self) -> Option<u64> {
        let tries = self.pushes.values().chain(self.failovers.values());
        tries.map(|tries| tries.next_ms).min()
    }

    /// Whether the source of this attempt may have been given the order.
    #[must_use]
    pub(super) fn was_ordered(&self, job: &Job) -> bool {
        self.orders.contains_key(&(job.id, job.attempt))
    }

    /// Forgets jobs and nodes that are no more.
    pub(super) fn retain(&mut self, is_node: impl Fn(&str) -> bool, is_job: impl Fn(u64) -> bool) {
        self.pushes.retain(|id, _| is_node(id));
        self.drifts.retain(|id, _| is_node(id));
        self.failovers.retain(|id, _| is_node(id));
        self.orders.retain(|(id, _), _| is_job(*id));
        self.stops.retain(|id, _| is_job(*id));
    }
}

/// Whether a node's view has been wrong for long enough; notes when it began.
pub(super) fn drift_is_old(memory: &mut Memory, node_id: &str, round: u64) -> bool {
    let since = *memory.drifts.entry(node_id.to_owned()).or_insert(round);
    round.saturating_sub(since) + 1 >= DRIFT_ROUNDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut tries = Tries::default();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            tries.fail(1_000, 3_000);
            pauses.push(tries.next_ms - 1_000);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 3_000, 3_000]);
        tries.failed = 40;
        tries.fail(0, u64::MAX);
        assert_eq!(tries.next_ms, PAUSE_MS_MAX);
    }

    #[test]
    fn a_wrong_view_is_old_when_the_next_probe_finds_it_again() {
        let mut memory = Memory::default();
        assert!(!drift_is_old(&mut memory, "n", 7));
        assert!(!drift_is_old(&mut memory, "n", 7), "the same probe says nothing new");
        assert!(drift_is_old(&mut memory, "n", 8));
    }
}
