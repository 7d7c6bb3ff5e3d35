//! When this replica stands for election.
//!
//! The library waits for the leader's lease and then for a whole election time-out on top, tells
//! nobody who granted what, and sits out three more time-outs after it met a longer log. Here a
//! replica stands within a short random time after the lease instead, gives way to whoever it has
//! just granted something, and tries again after one time-out. Every campaign begins with a
//! pre-vote, so one that cannot be won costs a message and no term.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::counter;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::core::Core;
use crate::{Machine, config::Timers, metrics::CAMPAIGNS_TOTAL};

/// Parts of the heartbeat interval between two looks at the clock.
const LOOKS_PER_HEARTBEAT: u64 = 4;

/// When this replica is next due to stand for election, unless it hears of a leader before.
#[derive(Debug)]
pub(crate) struct Election {
    timers: Timers,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    due: Instant,
    draws: StdRng,
}

impl Election {
    /// A replica that has just started, and gives a present leader time to be heard. The disk's
    /// random bits seed the waits: they need to differ between replicas, not to be secret.
    pub(crate) fn new(timers: Timers, incarnation: [u8; 16]) -> Self {
        let (low, high) = incarnation.split_at(8);
        let seed = [low, high].map(|half| half.try_into().map_or(0, u64::from_le_bytes));
        let draws = StdRng::seed_from_u64(seed[0] ^ seed[1]);
        let election = Self { timers, state: Mutex::new(State { due: Instant::now(), draws }) };
        election.heard();
        election
    }

    /// A leader was heard: its lease begins anew.
    pub(crate) fn heard(&self) {
        let Timers { election_min_ms, election_max_ms, .. } = self.timers;
        let spread = election_max_ms.saturating_sub(election_min_ms);
        self.put_off(election_max_ms, election_max_ms.saturating_add(spread));
    }

    /// A campaign has begun, here or with somebody this replica granted something: it gets the
    /// time of one attempt.
    pub(crate) fn attempted(&self) {
        self.put_off(self.timers.election_min_ms, self.timers.election_max_ms);
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.state.lock().unwrap_or_else(PoisonError::into_inner).due
    }

    fn put_off(&self, shortest_ms: u64, longest_ms: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = state.draws.random_range(shortest_ms..=longest_ms.max(shortest_ms));
        state.due = state.due.max(Instant::now() + Duration::from_millis(wait));
    }
}

impl<M: Machine> Core<M> {
    /// Stands for election whenever it is due, until the replica stops.
    pub(crate) async fn stand_for_election(self: Arc<Self>) {
        let look =
            Duration::from_millis((self.config.timers.heartbeat_ms / LOOKS_PER_HEARTBEAT).max(1));
        let mut looks = interval(look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = looks.tick() => {}
                () = self.stop.cancelled() => return,
            }
            if !self.may_stand() {
                continue;
            }
            self.election.attempted();
            counter!(CAMPAIGNS_TOTAL).increment(1);
            if self.raft.trigger().elect(true).await.is_err() {
                return;
            }
        }
    }

    fn may_stand(&self) -> bool {
        if self.leadership().is_leader_here || !self.is_running() {
            return false;
        }
        // It could not write down its own vote, or must not lead.
        if self.disk_stalled().is_some() || self.standing.is_quarantined() {
            return false;
        }
        let membership = self.membership.load();
        let mut voters = membership.voter_ids();
        // Alone, there is nobody to wait for.
        let is_alone = voters.next() == Some(self.here()) && voters.next().is_none();
        is_alone || self.election.is_due() && membership.voter_ids().any(|id| id == self.here())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: Timers = Timers { heartbeat_ms: 60, election_min_ms: 210, election_max_ms: 380 };

    #[tokio::test(start_paused = true)]
    async fn a_replica_stands_after_the_lease_and_a_short_random_time() {
        for disk in 0..100 {
            let election = Election::new(TIMERS, [disk; 16]);
            tokio::time::advance(Duration::from_millis(379)).await;
            assert!(!election.is_due(), "within the lease");
            tokio::time::advance(Duration::from_millis(172)).await;
            assert!(election.is_due(), "long after it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_way_to_a_campaign_but_never_stands_earlier_for_it() {
        let election = Election::new(TIMERS, [7; 16]);
        election.attempted();
        tokio::time::advance(Duration::from_millis(379)).await;
        assert!(!election.is_due(), "an attempt does not shorten the lease");
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(election.is_due());
        election.attempted();
        tokio::time::advance(Duration::from_millis(209)).await;
        assert!(!election.is_due(), "within an attempt");
        tokio::time::advance(Duration::from_millis(172)).await;
        assert!(election.is_due());
    }
}
