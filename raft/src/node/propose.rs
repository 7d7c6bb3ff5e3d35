//! The way of a proposal: to the leader, into the log, back with an answer.
//!
//! A proposal may be handed over more than once on its way, because it carries a request id that
//! makes all but the first a look-up. What the caller is told in the end depends on whether any
//! replica may have taken it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use metrics::{counter, histogram};
use openraft::errors::{ClientWriteError, RaftError};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Applied, Leadership, core::Core, tell};
use crate::{
    Machine, Proposal, ProposeError, ReplicaId,
    entry::{self, restamp},
    metrics::{FORWARD_SECONDS, FORWARDS_TOTAL, PROPOSALS_TOTAL},
    rt,
    transport::{
        CallError, Line,
        client::Request,
        header, route,
        status::{BUSY, NOT_LEADER, UNKNOWN},
        wire::{self, ProposeAnswer},
    },
    types::{Outcome, Payload},
};

/// First pause before a proposal is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// What a proposer is told to wait when there is no leader.
const NO_LEADER_RETRY_MS: u64 = 1000;
/// What a proposer is told to wait when the leader has too much to do.
const BUSY_RETRY_MS: u64 = 100;

/// What a proposer is told when this replica is not to be believed.
const IN_QUARANTINE: &str =
    "this replica is in quarantine: its state differs from that of the majority; ask another one";

/// What one attempt to place a proposal came to.
#[derive(Debug)]
pub(crate) enum Tried {
    /// Applied; with what it came to.
    Done(ProposeAnswer),
    /// Nobody took it.
    Refused(&'static str),
    /// The leader has too much to do, and did not take it.
    Busy {
        /// When a retry makes sense.
        retry_after_ms: u64,
    },
    /// It may have been taken.
    Doubtful(String),
    /// It may have been taken, and this replica cannot find out any more.
    Dead(String),
}

/// Pauses that grow.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
}

impl Backoff {
    /// The first pause is the shortest.
    pub(crate) fn new() -> Self {
        Self { pause: PAUSE_MIN }
    }

    /// Waits, but not beyond the deadline, and not once the leader has changed.
    pub(crate) async fn pause(
        &mut self,
        watch: &mut watch::Receiver<Leadership>,
        seen: Leadership,
        deadline: Instant,
    ) {
        let until = deadline.min(Instant::now() + self.pause);
        self.pause = PAUSE_MAX.min(self.pause * 2);
        tokio::select! {
            biased;
            () = sleep_until(until) => {}
            () = leader_change(watch, seen) => {}
        }
    }
}

/// Resolves when the leader is another one, or the same one in another term.
pub(crate) async fn leader_change(watch: &mut watch::Receiver<Leadership>, seen: Leadership) {
    if watch.wait_for(|present| *present != seen).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a leader; `None` if the deadline comes first.
pub(crate) async fn wait_leader(
    watch: &mut watch::Receiver<Leadership>,
    deadline: Instant,
) -> Option<(ReplicaId, Leadership)> {
    let found = timeout_at(deadline, watch.wait_for(|present| present.leader.is_some())).await;
    let leadership = *found.ok()?.ok()?;
    Some((leadership.leader?, leadership))
}

impl<M: Machine> Core<M> {
    /// Places a proposal and waits until it is applied here.
    pub(crate) async fn propose(
        &self,
        proposal: &Proposal<M::Command>,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let begun = Instant::now();
        let result = self.propose_once(proposal, deadline).await;
        tell::own(self.here(), proposal.request_id, &result, begun.elapsed());
        let outcome = tell::outcome(&result);
        counter!(PROPOSALS_TOTAL, "outcome" => outcome).increment(1);
        result
    }

    async fn propose_once(
        &self,
        proposal: &Proposal<M::Command>,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let entry =
            entry::encode(proposal).map_err(|error| ProposeError::Invalid(error.to_string()))?;
        let answer = self.place(&entry, deadline).await?;
        let ProposeAnswer { index, term, outcome } = answer;
        if self.standing.is_quarantined() {
            // What it came to here may not be what it came to elsewhere.
            return Err(ProposeError::Unknown { reason: IN_QUARANTINE.to_owned() });
        }
        let (reply, is_duplicate) = match outcome {
            Outcome::Reply { reply, is_duplicate } => (reply, is_duplicate),
            Outcome::RequestIdReused => return Err(ProposeError::RequestIdReused),
            Outcome::Fenced => return Err(ProposeError::Fenced),
            Outcome::Nothing => {
                return Err(ProposeError::Unknown {
                    reason: "the leader answered a command as if it were none".to_owned(),
                });
            }
        };
        let reply = postcard::from_bytes(&reply).map_err(|error| ProposeError::Unknown {
            reason: format!("applied at index {index}, but the reply does not decode: {error}"),
        })?;
        let is_visible = self.wait_applied(index, deadline).await;
        Ok(Applied { index, term, reply, is_duplicate, is_visible })
    }

    /// Hands a proposal to whoever leads, again and again under the same request id, until it is
    /// answered or the deadline comes.
    async fn place(&self, entry: &Bytes, deadline: Instant) -> Result<ProposeAnswer, ProposeError> {
        let mut watch = self.leadership.subscribe();
        let mut backoff = Backoff::new();
        let mut doubt: Option<String> = None;
        let mut reason = "no leader is known";
        let fence_term = entry::view(entry).ok().and_then(|entry| entry.fence_term);
        loop {
            if !self.is_running() {
                return Err(not_placed(doubt, "this replica is stopping"));
            }
            if self.standing.is_quarantined() {
                return Err(not_placed(doubt, IN_QUARANTINE));
            }
            let Some((leader, seen)) = wait_leader(&mut watch, deadline).await else {
                return Err(not_placed(doubt, reason));
            };
            // A term may have a second leader after the first, and the number of the term alone
            // does not tell the one's proposals from the other's.
            if fence_term == Some(seen.term) && leader != self.here() {
                return Err(
                    doubt.map_or(ProposeError::Fenced, |reason| ProposeError::Unknown { reason })
                );
            }
            let tried = tokio::select! {
                biased;
                tried = self.attempt(leader, entry, deadline) => tried,
                () = leader_change(&mut watch, seen) => {
                    Tried::Doubtful("the leader changed".to_owned())
                }
                () = sleep_until(deadline) => Tried::Doubtful("the deadline passed".to_owned()),
            };
            match tried {
                Tried::Done(answer) => return Ok(answer),
                Tried::Dead(why) => return Err(ProposeError::Unknown { reason: why }),
                Tried::Busy { retry_after_ms } if doubt.is_none() => {
                    let reason = "the leader has too many proposals in flight";
                    return Err(ProposeError::NotAccepted { reason, retry_after_ms });
                }
                Tried::Busy { .. } => {}
                Tried::Refused(why) => reason = why,
                Tried::Doubtful(why) => doubt = Some(why),
            }
            backoff.pause(&mut watch, seen, deadline).await;
            // Before the next attempt: one that is begun leaves a doubt behind.
            if Instant::now() >= deadline {
                return Err(not_placed(doubt, reason));
            }
        }
    }

    async fn attempt(&self, leader: ReplicaId, entry: &Bytes, deadline: Instant) -> Tried {
        if leader == self.here() {
            return self.append(entry.clone()).await;
        }
        let begun = Instant::now();
        let tried = self.forward(leader, entry.clone(), deadline).await;
        histogram!(FORWARD_SECONDS).record(begun.elapsed());
        let outcome = tell::attempt(&tried);
        counter!(FORWARDS_TOTAL, "outcome" => outcome).increment(1);
        tried
    }

    /// Appends a proposal as the leader and waits until it is applied.
    pub(crate) async fn append(&self, entry: Bytes) -> Tried {
        let Some(permit) = self.admission.enter(entry.len()) else {
            return Tried::Busy { retry_after_ms: BUSY_RETRY_MS };
        };
        let entry = match restamp(entry, (self.config.wall_clock_ms)()) {
            Ok(entry) => entry,
            Err(_) => return Tried::Refused("the proposal is not an entry of this version"),
        };
        let raft = self.raft.clone();
        // Its own task: whoever gives up waiting does not take the entry out of the log, so the
        // room it takes must not be given back before the core is done with it.
        let written = rt::spawn(async move {
            let written = raft.client_write(Payload(entry)).await;
            drop(permit);
            written
        });
        match written.await {
            Ok(Ok(response)) => Tried::Done(ProposeAnswer {
                index: response.log_id.index(),
                term: response.log_id.committed_leader_id().term,
                outcome: response.data,
            }),
            // Answered before anything is appended; an entry that was appended and lost again is
            // reported as discarded.
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Tried::Refused("the leader cannot take proposals yet, or any more")
            }
            Ok(Err(RaftError::APIError(error))) => Tried::Doubtful(error.to_string()),
            Ok(Err(RaftError::Fatal(error))) => Tried::Dead(error.to_string()),
            Err(error) => Tried::Dead(error.to_string()),
        }
    }

    async fn forward(&self, leader: ReplicaId, entry: Bytes, deadline: Instant) -> Tried {
        let Some(target) = self.target(leader) else {
            return Tried::Refused("the address of the leader is not known yet");
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let request = Request::new(route::PROPOSE, entry)
            .with(header::HOPS, 1)
            .with(header::PATIENCE_MS, patience_ms);
        let answered = self.peers.call(Line::Calls, &target, request, patience).await;
        match answered {
            Ok(answer) => match wire::decode::<ProposeAnswer>(&answer) {
                Ok(answer) => Tried::Done(answer),
                Err(error) => Tried::Doubtful(format!("the leader's answer: {error}")),
            },
            Err(CallError::Unreachable(reason)) => {
                tracing::debug!(leader, reason, "the leader cannot be reached");
                Tried::Refused("the leader cannot be reached")
            }
            Err(CallError::Refused(refused)) => match refused.status {
                BUSY => {
                    Tried::Busy { retry_after_ms: refused.retry_after_ms.unwrap_or(BUSY_RETRY_MS) }
                }
                NOT_LEADER => Tried::Refused("no replica leads at the moment"),
                UNKNOWN => Tried::Doubtful(refused.reason),
                400..500 => {
                    let reason = refused.reason;
                    tracing::warn!(
                        leader,
                        status = refused.status,
                        reason,
                        "a forward was refused"
                    );
                    Tried::Refused("the leader refused the forward; see the log of this replica")
                }
                _ => Tried::Doubtful(refused.reason),
            },
            Err(error @ (CallError::Timeout(_) | CallError::Broken(_))) => {
                Tried::Doubtful(error.to_string())
            }
        }
    }

    /// Answers a proposal that replica `from` forwarded. Never forwards it again.
    pub(crate) async fn take_forward(
        self: &Arc<Self>,
        from: ReplicaId,
        entry: Bytes,
        patience: Duration,
    ) -> Tried {
        let begun = Instant::now();
        let request_id = entry::view(&entry).ok().map(|entry| entry.request_id);
        let tried = self.try_forward(entry, begun + patience).await;
        tell::forwarded(self.here(), from, request_id, &tried, begun.elapsed());
        tried
    }

    async fn try_forward(&self, entry: Bytes, deadline: Instant) -> Tried {
        let mut watch = self.leadership.subscribe();
        let seen = *watch.borrow_and_update();
        if !seen.is_leader_here || !self.is_running() {
            return Tried::Refused("this replica does not lead");
        }
        tokio::select! {
            biased;
            tried = self.append(entry) => match tried {
                Tried::Done(_) if self.standing.is_quarantined() => {
                    Tried::Doubtful(IN_QUARANTINE.to_owned())
                }
                tried => tried,
            },
            () = leader_change(&mut watch, seen) => {
                Tried::Doubtful("the leader changed".to_owned())
            }
            () = sleep_until(deadline) => Tried::Doubtful("the deadline passed".to_owned()),
        }
    }
}

fn not_placed(doubt: Option<String>, reason: &'static str) -> ProposeError {
    match doubt {
        Some(reason) => ProposeError::Unknown { reason },
        None => ProposeError::NotAccepted { reason, retry_after_ms: NO_LEADER_RETRY_MS },
    }
}
