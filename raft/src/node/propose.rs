//! The way of a proposal: to the leader, into the log, back with an answer.
//!
//! A proposal may be handed over more than once on its way, because it carries a request id that
//! makes all but the first a look-up. What the caller is told in the end depends on whether any
//! replica may have taken it.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Applied, Leadership, admission::Permit, core::Core, gather::Placed, tell};
use crate::{
    Machine, Proposal, ProposeError, ReplicaId,
    entry::{self, restamp},
    transport::wire::ProposeAnswer,
    types::Outcome,
};

/// First pause before a proposal is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// What a proposer is told to wait when there is no leader.
const NO_LEADER_RETRY_MS: u64 = 1000;
/// What a proposer is told to wait when the leader has too much to do.
pub(super) const BUSY_RETRY_MS: u64 = 100;

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
        self.meters.proposals.count(&[outcome]);
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
        let is_visible = timeout_at(deadline, self.board.reached(index)).await.is_ok();
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
        self.meters.forward_seconds.record(&[], begun.elapsed());
        let outcome = tell::attempt(&tried);
        self.meters.forwards.count(&[outcome]);
        tried
    }

    /// Appends a proposal as the leader and waits until it is applied.
    pub(crate) async fn append(&self, entry: Bytes) -> Tried {
        let tried = self.append_all(vec![entry]).await.pop();
        tried.unwrap_or(Tried::Refused("there is no proposal"))
    }

    /// Appends proposals as the leader and waits until all are applied. One fate for each, in order.
    async fn append_all(&self, entries: Vec<Bytes>) -> Vec<Tried> {
        let (mut refused, mut taken) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            match self.take_in(entry) {
                Ok(proposal) => {
                    taken.push(proposal);
                    refused.push(None);
                }
                Err(fate) => refused.push(Some(fate)),
            }
        }
        let mut placed = self.gather.place(&self.raft, taken).into_iter();
        let mut fates = Vec::with_capacity(refused.len());
        for fate in refused {
            fates.push(match fate {
                Some(fate) => fate,
                None => fate_of(placed.next()).await,
            });
        }
        fates
    }

    fn take_in(&self, entry: Bytes) -> Result<(Bytes, Permit), Tried> {
        let permit = self.admission.enter(entry.len());
        let permit = permit.ok_or(Tried::Busy { retry_after_ms: BUSY_RETRY_MS })?;
        let entry = restamp(entry, (self.config.wall_clock_ms)())
            .map_err(|_| Tried::Refused("the proposal is not an entry of this version"))?;
        Ok((entry, permit))
    }

    async fn forward(&self, leader: ReplicaId, entry: Bytes, deadline: Instant) -> Tried {
        match self.target(leader) {
            Some(target) => self.courier.deliver(leader, target, entry, deadline).await,
            None => Tried::Refused("the address of the leader is not known yet"),
        }
    }

    /// Answers proposals that replica `from` forwarded, one fate for each in order. Never forwards
    /// them again.
    pub(crate) async fn take_forwards(
        &self,
        from: ReplicaId,
        entries: Vec<Bytes>,
        patience: Duration,
    ) -> Vec<Tried> {
        let begun = Instant::now();
        let request_id = |entry: &Bytes| entry::view(entry).ok().map(|entry| entry.request_id);
        let request_ids: Vec<_> = entries.iter().map(request_id).collect();
        let fates = self.try_forwards(entries, begun + patience).await;
        for (request_id, fate) in request_ids.into_iter().zip(&fates) {
            tell::forwarded(self.here(), from, request_id, fate, begun.elapsed());
        }
        fates
    }

    async fn try_forwards(&self, entries: Vec<Bytes>, deadline: Instant) -> Vec<Tried> {
        let count = entries.len();
        let doubt = |why: &str| (0..count).map(|_| Tried::Doubtful(why.to_owned())).collect();
        let mut watch = self.leadership.subscribe();
        let seen = *watch.borrow_and_update();
        if !seen.is_leader_here || !self.is_running() {
            return (0..count).map(|_| Tried::Refused("this replica does not lead")).collect();
        }
        tokio::select! {
            biased;
            fates = self.append_all(entries) => match self.standing.is_quarantined() {
                true => fates.into_iter().map(believe_nothing).collect(),
                false => fates,
            },
            () = leader_change(&mut watch, seen) => doubt("the leader changed"),
            () = sleep_until(deadline) => doubt("the deadline passed"),
        }
    }
}

/// What a replica in quarantine says that a proposal came to is not what it came to elsewhere.
fn believe_nothing(fate: Tried) -> Tried {
    match fate {
        Tried::Done(_) => Tried::Doubtful(IN_QUARANTINE.to_owned()),
        fate => fate,
    }
}

/// What became of a proposal that was handed to the core.
async fn fate_of(placed: Option<Placed>) -> Tried {
    let lost = || Tried::Dead("the core has stopped".to_owned());
    match placed {
        Some(placed) => placed.await.unwrap_or_else(|_| lost()),
        None => lost(),
    }
}

fn not_placed(doubt: Option<String>, reason: &'static str) -> ProposeError {
    match doubt {
        Some(reason) => ProposeError::Unknown { reason },
        None => ProposeError::NotAccepted { reason, retry_after_ms: NO_LEADER_RETRY_MS },
    }
}
