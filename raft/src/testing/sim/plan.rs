//! What a run is made of, drawn from its seed.
//!
//! Every run has only some kinds of faults, each more often than if it had all: what one kind shows
//! another one may hide.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{disk::Mood, faults::Kind, network::Link};
use crate::{ReplicaId, Timers, config::SnapshotPolicy};

/// Keeps what is drawn for the plan apart from what is drawn while it is carried out.
const PLAN_SALT: u64 = 0x9e37_79b9_7f4a_7c15;
/// How far the clock of a replica runs fast or slow at most, in thousandths.
const DRIFT_PER_MILLE: u64 = 60;

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Decides about everything.
    pub(crate) seed: u64,
    /// Founding replicas.
    pub(crate) replicas: u64,
    /// Clients that ask at a time.
    pub(crate) clients: u64,
    /// Registers they use.
    pub(crate) keys: u64,
    /// How long there are faults.
    pub(crate) faulty: Duration,
    /// Longest pause between two faults.
    pub(crate) calm_ms_max: u64,
    /// Kinds of faults.
    pub(crate) kinds: Vec<Kind>,
    /// Links without a fault.
    pub(crate) link: Link,
    /// Disks without a fault.
    pub(crate) mood: Mood,
    /// When snapshots are taken.
    pub(crate) snapshot: SnapshotPolicy,
    drifts: Vec<u64>,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let draws = &mut StdRng::seed_from_u64(seed ^ PLAN_SALT);
        let replicas = if draws.random_range(0..10) < 7 { 3 } else { 5 };
        let mut kinds = Kind::ALL.to_vec();
        kinds.shuffle(draws);
        kinds.truncate(draws.random_range(2..=6));
        let drift = |_| draws.random_range(1000 - DRIFT_PER_MILLE..=1000 + DRIFT_PER_MILLE);
        let drifts = (0..16).map(drift).collect();
        let entries_max = *[15, 40, 100, 10_000].get(draws.random_range(0..4)).unwrap_or(&40);
        Self {
            seed,
            replicas,
            clients: draws.random_range(2..=4),
            keys: draws.random_range(1..=4),
            faulty: Duration::from_millis(draws.random_range(1500..=5000)),
            calm_ms_max: draws.random_range(200..=1200),
            kinds,
            link: Link {
                delay_ms_max: draws.random_range(0..=8),
                lost_per_mille: *[0, 0, 5].get(draws.random_range(0..3)).unwrap_or(&0),
                ..Link::default()
            },
            mood: Mood { write_ms_max: draws.random_range(0..=6), ..Mood::default() },
            snapshot: SnapshotPolicy {
                entries_max,
                log_bytes_max: 64 << 20,
                age_max: Duration::from_secs(3600),
                entries_kept: draws.random_range(2..=20),
            },
            drifts,
        }
    }

    /// The timers of a replica, on a clock that runs fast or slow.
    pub(crate) fn timers(&self, replica: ReplicaId) -> Timers {
        let at = usize::try_from(replica).unwrap_or_default() % self.drifts.len();
        let drift = self.drifts[at];
        let Timers { heartbeat_ms, election_min_ms, election_max_ms } = Timers::default();
        Timers {
            heartbeat_ms: heartbeat_ms * drift / 1000,
            election_min_ms: election_min_ms * drift / 1000,
            election_max_ms: election_max_ms * drift / 1000,
        }
    }
}
