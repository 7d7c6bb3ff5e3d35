//! Reads: how current they are, and how that is made sure.

use std::{sync::Arc, time::Duration};

use openraft::ReadPolicy;
use tokio::time::{Instant, sleep_until};

use super::{
    View,
    core::Core,
    propose::{Backoff, leader_change, wait_leader},
};
use crate::{
    Machine, ReadError, ReadMode, ReplicaId,
    transport::{
        Line,
        client::Request,
        header, route,
        wire::{self, ReadIndexAnswer},
    },
};

/// How long one attempt to pass the start barrier may take.
const BARRIER_ATTEMPT: Duration = Duration::from_secs(5);

impl<M: Machine> Core<M> {
    /// The published state, once it is as current as asked.
    pub(crate) async fn read(
        &self,
        mode: ReadMode,
        deadline: Instant,
    ) -> Result<View<M>, ReadError> {
        if !self.is_running() {
            return Err(ReadError::NotReady);
        }
        if self.standing.is_quarantined() {
            return Err(ReadError::Quarantined);
        }
        match mode {
            ReadMode::Local { staleness_max, min_index } => {
                if !*self.is_ready.borrow() {
                    return Err(ReadError::NotReady);
                }
                if !self.has_applied(min_index, deadline).await {
                    return Err(ReadError::Timeout {
                        reason: "the wanted index is not applied here",
                    });
                }
                let age = self.age();
                // The age first: the state may only be newer than it says.
                let view = self.view_of(age);
                if staleness_max.is_some_and(|most| age.is_none_or(|age| age > most)) {
                    return Err(ReadError::Stale { age_ms: view.age_ms });
                }
                return self.shown(view);
            }
            ReadMode::Linearizable => {
                let index = Box::pin(self.read_index(deadline)).await?;
                if !self.has_applied(index, deadline).await {
                    return Err(ReadError::Timeout {
                        reason: "the read index is not applied here",
                    });
                }
            }
        }
        self.shown(self.view())
    }

    /// Waits in a box: most reads wait for nothing, and what they do not need would be moved about
    /// with every one of them.
    async fn has_applied(&self, index: u64, deadline: Instant) -> bool {
        self.applied() >= index || Box::pin(self.wait_applied(index, deadline)).await
    }

    /// A view that was taken, unless it was found out meanwhile that this replica has diverged.
    fn shown(&self, view: View<M>) -> Result<View<M>, ReadError> {
        if self.standing.is_quarantined() { Err(ReadError::Quarantined) } else { Ok(view) }
    }

    /// The published state as it is.
    pub(crate) fn view(&self) -> View<M> {
        self.view_of(self.age())
    }

    fn view_of(&self, age: Option<Duration>) -> View<M> {
        let state = self.board.latest();
        let leadership = self.leadership();
        View {
            index: state.index(),
            term: leadership.term,
            leader: leadership.leader,
            age_ms: age.map_or(u64::MAX, millis),
            state,
        }
    }

    /// An index that covers everything that was committed when this was called.
    async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        let mut watch = self.leadership.subscribe();
        let mut backoff = Backoff::new();
        let mut reason = "no leader is known";
        loop {
            if !self.is_running() {
                return Err(ReadError::NotReady);
            }
            let Some((leader, seen)) = wait_leader(&mut watch, deadline).await else {
                return Err(ReadError::Timeout { reason });
            };
            let asked = Instant::now();
            let answer = tokio::select! {
                biased;
                answer = self.ask_read_index(leader, deadline) => answer,
                () = leader_change(&mut watch, seen) => Err("the leader changed"),
                () = sleep_until(deadline) => Err("the leader did not answer"),
            };
            match answer {
                Ok(index) => {
                    self.contact.heard(asked, index, self.applied());
                    return Ok(index);
                }
                Err(why) => reason = why,
            }
            backoff.pause(&mut watch, seen, deadline).await;
            // Before the next attempt: one that is begun leaves a doubt behind.
            if Instant::now() >= deadline {
                return Err(ReadError::Timeout { reason });
            }
        }
    }

    async fn ask_read_index(
        &self,
        leader: ReplicaId,
        deadline: Instant,
    ) -> Result<u64, &'static str> {
        if leader == self.here() {
            return self.own_read_index().await;
        }
        let target = self.target(leader).ok_or("the address of the leader is not known yet")?;
        let patience = deadline.saturating_duration_since(Instant::now());
        let request =
            Request::new(route::READ_INDEX, Vec::new()).with(header::PATIENCE_MS, millis(patience));
        let answer = self.peers.call(Line::Calls, &target, request, patience).await;
        let answer = answer.map_err(|error| {
            tracing::debug!(leader, %error, "the leader gave no read index");
            "the leader gave no read index"
        })?;
        let answer: ReadIndexAnswer =
            wire::decode(&answer).map_err(|_| "the leader's read index does not decode")?;
        Ok(answer.index)
    }

    /// The read index of this replica, confirmed by a quorum, if it leads.
    pub(crate) async fn own_read_index(&self) -> Result<u64, &'static str> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
        linearizer
            .map(|linearizer| linearizer.read_log_id().index())
            .map_err(|_| "no quorum confirmed the leader")
    }

    /// Opens the replica for reads once it has caught up with everything any replica may have
    /// shown before this one started: entries are applied before they are flushed here, so the
    /// disk alone does not tell.
    pub(crate) async fn pass_start_barrier(self: Arc<Self>) {
        loop {
            let passed = async {
                let deadline = Instant::now() + BARRIER_ATTEMPT;
                let Ok(index) = self.read_index(deadline).await else {
                    return false;
                };
                self.board.watch_applied().wait_for(|applied| *applied >= index).await.is_ok()
            };
            tokio::select! {
                biased;
                passed = passed => if passed && self.is_running() {
                    tracing::info!(replica = self.here(), index = self.applied(), "ready");
                    self.is_ready.send_replace(true);
                    return;
                },
                () = self.stop.cancelled() => return,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
