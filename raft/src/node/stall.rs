//! Gives up leadership when the disk hangs.
//!
//! That does not stop a leader by itself. Entries are committed by the others' disks, so heartbeats
//! and answers go on while nothing reaches the own disk, and memory fills with what waits for it;
//! once another disk fails, nothing is committed any more. So a leader whose disk hangs asks
//! another replica to take over, sends no more heartbeats, and calls itself leader no longer: if
//! the other one does not hear of it, one is elected when the lease is over.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::{Leadership, core::Core, read::millis};
use crate::{
    Machine, Timers,
    metrics::{DISK_STALLED, LEADERSHIP_GIVEN_UP_TOTAL},
    rt,
};

/// A write that takes this many times the leader's lease is taken for one that hangs.
const STALL_LEASES: u64 = 4;
/// How often the disk is looked at within that time.
const LOOKS: u32 = 8;

/// What keeps a replica from leading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Burden {
    /// Since when the disk hangs, if it does.
    pub(crate) stalled_since: Option<Instant>,
    /// The last term in which another replica was asked to take over because of that. The core
    /// takes no proposals any more in this term, also when the disk works again.
    pub(crate) abandoned_term: u64,
    /// Whether its state is not to be believed; see [`crate::agreement`].
    pub(crate) is_quarantined: bool,
}

impl Burden {
    /// What is left of a leadership.
    pub(crate) fn judge(self, leadership: Leadership) -> Leadership {
        let is_unfit = self.stalled_since.is_some()
            || self.is_quarantined
            || self.abandoned_term == leadership.term;
        if leadership.is_leader_here && is_unfit {
            return Leadership { leader: None, is_leader_here: false, ..leadership };
        }
        leadership
    }
}

/// Longest time a write of the log may take before the disk counts as hanging.
pub(crate) fn stall_limit(timers: Timers) -> Duration {
    Duration::from_millis(timers.election_max_ms * STALL_LEASES)
}

impl<M: Machine> Core<M> {
    /// How long the disk has been hanging; `None` if it does not.
    pub(crate) fn disk_stalled(&self) -> Option<Duration> {
        self.burden.borrow().stalled_since.map(|since| since.elapsed())
    }

    /// Watches whether writes of the log return, until the node stops.
    pub(crate) async fn watch_disk(self: Arc<Self>) {
        let limit = stall_limit(self.config.timers);
        let mut ticks = tokio::time::interval(limit / LOOKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                () = self.stop.cancelled() => return,
            }
            let since = self.disk.load_full().and_then(|disk| disk.log.writing_since());
            self.judge_disk(since.filter(|since| since.elapsed() >= limit));
        }
    }

    fn judge_disk(&self, stalled_since: Option<Instant>) {
        gauge!(DISK_STALLED).set(if stalled_since.is_some() { 1.0 } else { 0.0 });
        let was_stalled = self.burden.borrow().stalled_since.is_some();
        if stalled_since.is_some() == was_stalled {
            return;
        }
        let leads = self.leadership().is_leader_here;
        match stalled_since {
            None => tracing::info!(replica = self.here(), "the log can be written again"),
            Some(since) => {
                let elapsed_ms = millis(since.elapsed());
                tracing::error!(
                    replica = self.here(),
                    elapsed_ms,
                    "a write of the log does not return; this replica does not lead meanwhile"
                );
            }
        }
        let successor = self.most_advanced_voter();
        self.burden.send_modify(|burden| burden.stalled_since = stalled_since);
        let burden = *self.burden.borrow();
        self.allow_heartbeats(burden.stalled_since.is_none() && !burden.is_quarantined);
        if stalled_since.is_some() && leads {
            counter!(LEADERSHIP_GIVEN_UP_TOTAL).increment(1);
            // Sooner than by waiting for the end of the lease. If it comes to nothing, this term
            // is over for this replica all the same.
            if let Some(to) = successor {
                let (raft, term) = (self.raft.clone(), self.leadership().term);
                self.burden.send_modify(|burden| burden.abandoned_term = term);
                rt::track(&self.tasks, async move {
                    drop(raft.trigger().transfer_leader(to).await);
                });
            }
        }
    }

    /// Sends heartbeats again once a term has passed in which none were to be sent.
    pub(crate) fn after_term(&self, burden: Burden, leadership: Leadership) {
        let is_over = leadership.term > burden.abandoned_term;
        let is_fit = burden.stalled_since.is_none() && !burden.is_quarantined;
        self.allow_heartbeats(is_fit && is_over);
    }

    fn allow_heartbeats(&self, is_allowed: bool) {
        self.raft.runtime_config().heartbeat(is_allowed);
    }
}

/// What keeps a replica from leading, to begin with.
pub(crate) fn burdened(is_quarantined: bool) -> watch::Sender<Burden> {
    watch::Sender::new(Burden { is_quarantined, ..Burden::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burden_takes_the_lead_from_this_replica_alone() {
        let mine = Leadership { term: 3, leader: Some(1), is_leader_here: true };
        let theirs = Leadership { term: 3, leader: Some(2), is_leader_here: false };
        let none = Leadership { term: 3, leader: None, is_leader_here: false };
        let stalled = Burden { stalled_since: Some(Instant::now()), ..Burden::default() };
        let abandoned = Burden { abandoned_term: 3, ..Burden::default() };
        let quarantined = Burden { is_quarantined: true, ..Burden::default() };
        for burden in [stalled, abandoned, quarantined] {
            assert_eq!(burden.judge(mine), none);
            assert_eq!(burden.judge(theirs), theirs);
        }
        assert_eq!(Burden::default().judge(mine), mine);
        assert_eq!(abandoned.judge(Leadership { term: 4, ..mine }).leader, Some(1));
    }

    #[test]
    fn the_limit_follows_the_timers() {
        let timers = Timers::default();
        assert_eq!(stall_limit(timers), Duration::from_millis(timers.election_max_ms * 4));
    }
}
