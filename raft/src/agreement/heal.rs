//! How a replica in quarantine gets a state that may be believed.
//!
//! It stops taking entries, has the leader send a snapshot from beyond everything it has committed
//! itself, and puts that in the place of its own state, by the same steps as any replica that fell
//! too far behind: log, vote and identity stay. It leaves the quarantine when it has agreed with
//! the majority at a later index. A crash at any point leaves it in quarantine, and the wish can
//! be repeated.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Answer, Question};
use crate::{
    Machine, MemberChanged, MemberError, Proposal, ReplicaId, RequestId,
    entry::encode,
    node::{core::Core, propose::Tried},
    rt,
    storage::identity::Identity,
    transport::{CallError, Line, NetworkFactory},
};

/// How often it is tried before the operator has to ask again.
const ATTEMPTS_MAX: u32 = 10;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the leader may take to write a snapshot and to send it. A transfer that stands still
/// ends long before.
const SEND_PATIENCE: Duration = Duration::from_secs(600);
/// How long the comparison of the new state may take.
const PROOF_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it has been made.
const PROOF_PAUSE: Duration = Duration::from_secs(1);
/// In whose name the entry is written that the snapshot must cover.
const OURSELVES: &str = "quorate";

/// Keeps entries away while a state is on its way.
struct Awaiting<'a, M: Machine>(&'a Core<M>);

impl<'a, M: Machine> Awaiting<'a, M> {
    fn begin(core: &'a Core<M>) -> Self {
        core.standing.is_awaiting_state.store(true, Ordering::Release);
        Self(core)
    }
}

impl<M: Machine> Drop for Awaiting<'_, M> {
    fn drop(&mut self) {
        self.0.standing.is_awaiting_state.store(false, Ordering::Release);
    }
}

impl<M: Machine> Core<M> {
    /// Has a replica healed, whichever it is. Answers as soon as that has begun.
    pub(crate) async fn heal(
        self: &Arc<Self>,
        id: ReplicaId,
        deadline: Instant,
    ) -> Result<MemberChanged, MemberError> {
        if id == self.here() {
            return Ok(MemberChanged { id, is_new: self.begin_healing() });
        }
        if self.peer(id).is_none() {
            return Err(MemberError::NotFound(id));
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.question(id, &Question::Heal, patience).await {
            Ok(Answer::Healing { is_new }) => Ok(MemberChanged { id, is_new }),
            Ok(other) => Err(MemberError::Unknown(format!("replica {id} answered {other:?}"))),
            Err(error @ (CallError::Unreachable(_) | CallError::Refused(_))) => {
                Err(MemberError::NotAccepted(format!("replica {id}: {error}")))
            }
            Err(error) => Err(MemberError::Unknown(format!("replica {id}: {error}"))),
        }
    }

    /// Begins to heal this replica; false if it is not in quarantine. Asking twice does no harm.
    pub(crate) fn begin_healing(self: &Arc<Self>) -> bool {
        if !self.standing.is_quarantined() {
            return false;
        }
        if let Ok(alone) = self.healing.clone().try_lock_owned() {
            let core = self.clone();
            rt::track(&self.tasks, async move {
                tokio::select! {
                    biased;
                    () = core.heal_here() => {}
                    () = core.stop.cancelled() => {}
                }
                drop(alone);
            });
        }
        true
    }

    async fn heal_here(self: &Arc<Self>) {
        tracing::info!(replica = self.here(), "asking for a state in the place of this one");
        for attempt in 1..=ATTEMPTS_MAX {
            let healed = self.try_heal().await;
            match healed {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(replica = self.here(), step = attempt, error, "not healed yet");
                }
            }
            sleep(PAUSE).await;
        }
        tracing::error!(replica = self.here(), "not healed; ask for it again");
    }

    async fn try_heal(self: &Arc<Self>) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        // An installation that comes from now on is the one that counts.
        self.standing.update(|record| record.is_unproven = false).await.map_err(failed)?;
        let awaiting = Awaiting::begin(self);
        let leader = self.leadership().leader.filter(|leader| *leader != self.here());
        let leader = leader.ok_or("no other replica leads")?;
        let answer = self.question(leader, &Question::SendSnapshot, SEND_PATIENCE).await;
        drop(awaiting);
        match answer {
            Ok(Answer::Sent) if self.standing.record().is_unproven => {}
            Ok(Answer::Sent) => return Err("the snapshot was not newer than the log".to_owned()),
            Ok(Answer::Refused(reason)) => return Err(reason),
            Ok(other) => return Err(format!("the leader answered {other:?}")),
            Err(error) => return Err(error.to_string()),
        }
        self.wait_proof().await
    }

    /// Waits until the new state has been compared.
    async fn wait_proof(&self) -> Result<(), String> {
        let deadline = Instant::now() + PROOF_PATIENCE;
        let mut record = self.standing.watch();
        loop {
            let present = *record.borrow_and_update();
            if present.finding.is_none() {
                return Ok(());
            }
            if !present.is_unproven {
                return Err("the new state differs from the majority's, too".to_owned());
            }
            if Instant::now() >= deadline {
                return Err("the new state was not compared in time".to_owned());
            }
            let next = deadline.min(Instant::now() + PROOF_PAUSE);
            if let Ok(Err(_)) = timeout_at(next, record.changed()).await {
                return Err("this replica is stopping".to_owned());
            }
        }
    }

    /// Sends the state of this replica, the leader, to a member that asks for it.
    pub(super) async fn send_state(self: &Arc<Self>, to: ReplicaId) -> Result<(), String> {
        if !self.leadership().is_leader_here || self.standing.is_quarantined() {
            return Err("this replica does not lead".to_owned());
        }
        let peer = self.peer(to).ok_or("not a member")?;
        // The receiver takes no snapshot that covers no more than it has committed itself.
        self.write_nothing().await?;
        self.snapshot_now().await.map_err(|error| error.to_string())?;
        let snapshot = self.raft.get_snapshot().await.map_err(|error| error.to_string())?;
        let snapshot = snapshot.ok_or("there is no snapshot")?;
        let vote = self.raft.server_metrics().borrow_watched().vote;
        let network = NetworkFactory::new(self.peers.clone(), self.here(), self.config.timers);
        let network = network.connect(Line::Snapshot, to, &peer);
        tracing::info!(replica = self.here(), peer = to, "sending the state to be healed with");
        network.transmit(vote, snapshot).await.map_err(|error| error.to_string())?;
        self.compare_soon();
        Ok(())
    }

    /// Writes an entry that no replica applies: it is fenced to a term that never comes.
    async fn write_nothing(&self) -> Result<(), String> {
        let request_id = Identity::draw().map_err(|error| error.to_string())?;
        let entry = encode(&Proposal {
            request_id: RequestId(request_id),
            actor: OURSELVES.to_owned(),
            fence_term: Some(u64::MAX),
            command: (),
        });
        match self.append(entry.map_err(|error| error.to_string())?).await {
            Tried::Done(_) => Ok(()),
            Tried::Refused(reason) => Err(reason.to_owned()),
            Tried::Busy { .. } => Err("the leader is busy".to_owned()),
            Tried::Doubtful(reason) | Tried::Dead(reason) => Err(reason),
        }
    }
}
