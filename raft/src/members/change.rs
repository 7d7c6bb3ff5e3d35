//! Carries out changes of the membership: on the leader, or by asking it.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use openraft::{
    ChangeMembers,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
    raft::Precondition,
};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep_until},
};

use super::{
    Ask, Health, Member, MemberChange, MemberChanged, MemberError, MemberRole, Members, Reply,
    Requester, Standing,
    rules::{self, Scene, Step},
};
use crate::{
    Machine, ReplicaId, TransferError,
    metrics::MEMBER_CHANGES_TOTAL,
    node::{
        core::Core,
        propose::{Backoff, leader_change, wait_leader},
        read::millis,
    },
    rt,
    transport::{CallError, Line, Name, client::Request, header, route, status::NOT_LEADER, wire},
    types::{Peer, StoredMembership, TypeConfig},
};

/// Longest time one step of a change may take to commit.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for another replica to take over from a leader that leaves.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(3);

/// What one attempt came to.
pub(crate) enum Attempt {
    /// Answered, or finally refused.
    Done(Reply),
    /// Asking again, perhaps somebody else, makes sense.
    Again(MemberError),
}

impl Attempt {
    fn of(result: Result<MemberChanged, MemberError>) -> Self {
        match result {
            Ok(changed) => Self::Done(Reply::Changed(changed)),
            Err(error) if error.is_passing() => Self::Again(error),
            Err(error) => Self::Done(Reply::Failed(error)),
        }
    }
}

impl<M: Machine> Core<M> {
    /// Has a change carried out, wherever the leader is.
    pub(crate) async fn change_members(
        self: &Arc<Self>,
        change: MemberChange,
        by: Requester,
        deadline: Instant,
    ) -> Result<MemberChanged, MemberError> {
        match self.ask_leader(Ask::Change(change, by), deadline).await {
            Ok(Reply::Changed(changed)) => Ok(changed),
            Ok(Reply::Failed(error)) | Err(error) => Err(error),
            Ok(other) => Err(MemberError::Unknown(format!("the leader answered {other:?}"))),
        }
    }

    /// The members as the leader sees them; as this replica does, if no leader answers in time.
    pub(crate) async fn members(self: &Arc<Self>, deadline: Instant) -> Members {
        match self.ask_leader(Ask::List, deadline).await {
            Ok(Reply::Members(members)) => members,
            _ => self.own_members(),
        }
    }

    /// Asks whoever leads, again and again until there is an answer. Every request may be made
    /// twice: what is so already is not changed again.
    pub(crate) async fn ask_leader(
        self: &Arc<Self>,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Reply, MemberError> {
        let mut watch = self.leadership.subscribe();
        let mut backoff = Backoff::new();
        let mut doubt: Option<MemberError> = None;
        let mut last = MemberError::NotAccepted("no leader is known".to_owned());
        while self.is_running() {
            let Some((leader, seen)) = wait_leader(&mut watch, deadline).await else { break };
            let attempt = tokio::select! {
                biased;
                attempt = self.ask_once(leader, &ask, deadline) => attempt,
                () = leader_change(&mut watch, seen) => {
                    Attempt::Again(MemberError::Unknown("the leader changed".to_owned()))
                }
                () = sleep_until(deadline) => {
                    Attempt::Again(MemberError::Unknown("the deadline passed".to_owned()))
                }
            };
            match attempt {
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Again(error @ MemberError::Unknown(_)) => doubt = Some(error),
                Attempt::Again(error) => last = error,
            }
            backoff.pause(&mut watch, seen, deadline).await;
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(doubt.unwrap_or(last))
    }

    /// Has leadership handed over, wherever the leader is. It is asked once: after a change of the
    /// leader, the next one would be asked to give up what it has just got.
    pub(crate) async fn transfer_leadership(
        self: &Arc<Self>,
        to: Option<ReplicaId>,
        deadline: Instant,
    ) -> Result<ReplicaId, TransferError> {
        let seen = self.leadership();
        let leader = match seen.leader {
            Some(leader) if !seen.is_leader_here => leader,
            _ => return self.hand_over(to, deadline).await,
        };
        match self.ask_once(leader, &Ask::HandOver(to), deadline).await {
            Attempt::Done(Reply::Changed(changed)) => Ok(changed.id),
            Attempt::Done(Reply::Failed(source)) | Attempt::Again(source) => {
                Err(TransferError::Leader { leader, source })
            }
            Attempt::Done(other) => {
                let source = MemberError::Unknown(format!("the answer was {other:?}"));
                Err(TransferError::Leader { leader, source })
            }
        }
    }

    async fn ask_once(
        self: &Arc<Self>,
        leader: ReplicaId,
        ask: &Ask,
        deadline: Instant,
    ) -> Attempt {
        if leader == self.here() {
            return self.answer_as_leader(ask).await;
        }
        let Some(target) = self.target(leader) else {
            let reason = "the address of the leader is not known yet".to_owned();
            return Attempt::Again(MemberError::NotAccepted(reason));
        };
        let body = match wire::encode(ask) {
            Ok(body) => body,
            Err(error) => {
                return Attempt::Done(Reply::Failed(MemberError::Invalid(error.to_string())));
            }
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        let request = Request::new(route::MEMBERS, body)
            .with(header::HOPS, 1)
            .with(header::PATIENCE_MS, millis(patience));
        let answer = self.peers.call(Line::Calls, &target, request, patience).await;
        match answer {
            Ok(answer) => match wire::decode(&answer) {
                Ok(Reply::Failed(error)) if error.is_passing() => Attempt::Again(error),
                // The leader does not listen to this replica any more. That says nothing about
                // whoever asked it, who is told to ask somebody else.
                Ok(Reply::Failed(MemberError::Removed(id))) if id == self.here() => {
                    let reason = format!("replica {id}, which was asked, is a member no longer");
                    Attempt::Done(Reply::Failed(MemberError::NotAccepted(reason)))
                }
                Ok(reply) => Attempt::Done(reply),
                Err(error) => Attempt::Again(MemberError::Unknown(error.to_string())),
            },
            Err(CallError::Unreachable(_)) => {
                let reason = "the leader cannot be reached".to_owned();
                Attempt::Again(MemberError::NotAccepted(reason))
            }
            Err(CallError::Refused(refused)) if refused.status < 500 => {
                let reason = match refused.status {
                    NOT_LEADER => "no replica leads at the moment".to_owned(),
                    _ => refused.reason,
                };
                Attempt::Again(MemberError::NotAccepted(reason))
            }
            Err(error) => Attempt::Again(MemberError::Unknown(error.to_string())),
        }
    }

    /// Answers as the leader; never asks another replica.
    pub(crate) async fn answer_as_leader(self: &Arc<Self>, ask: &Ask) -> Attempt {
        if !self.leadership().is_leader_here {
            let reason = "this replica does not lead".to_owned();
            return Attempt::Again(MemberError::NotAccepted(reason));
        }
        match ask {
            Ask::List => Attempt::Done(Reply::Members(self.own_members())),
            Ask::Standing => Attempt::Done(Reply::Standing(Standing::Unknown)),
            Ask::About => Attempt::Done(Reply::About(self.about())),
            Ask::HandOver(to) => {
                let deadline = Instant::now() + HAND_OVER_PATIENCE;
                Attempt::Done(match self.hand_over(*to, deadline).await {
                    Ok(id) => Reply::Changed(MemberChanged { id, is_new: true }),
                    Err(error) => Reply::Failed(MemberError::Refused(error.to_string())),
                })
            }
            Ask::Raise(wish) => match self.raise_level(wish).await {
                Ok(raised) => Attempt::Done(Reply::Raised(raised)),
                Err(error) if error.is_passing() => Attempt::Again(error),
                Err(error) => Attempt::Done(Reply::Failed(error)),
            },
            Ask::Change(change, by) => {
                let judge = |scene: &Scene| rules::judge(scene, change);
                let result = self.carry_out(judge).await;
                self.note_change(change, by, &result).await;
                Attempt::of(result)
            }
            Ask::Join(joiner) => {
                let judge = |scene: &Scene| rules::judge_joiner(scene, joiner);
                let result = self.carry_out(judge).await;
                self.note_join(joiner, &result).await;
                Attempt::of(result)
            }
        }
    }

    /// Judges a change on the present membership and writes it into the log.
    pub(crate) async fn carry_out(
        self: &Arc<Self>,
        judge: impl Fn(&Scene) -> Result<Step, MemberError>,
    ) -> Result<MemberChanged, MemberError> {
        let alone = self.changing.clone().try_lock_owned();
        let alone = alone.map_err(|_| MemberError::InProgress)?;
        let (scene, stored) = self.scene()?;
        let step = match judge(&scene) {
            Err(MemberError::Refused(_)) if !self.has_settled() => {
                // A leader that has just begun has not heard of everybody yet.
                return Err(MemberError::InProgress);
            }
            judged => judged?,
        };
        if !matches!(step, Step::Nothing { .. }) {
            self.check_members_level(scene.level)?;
        }
        let (id, changes) = match step {
            Step::Nothing { id } => return Ok(MemberChanged { id, is_new: false }),
            Step::Change { id, changes } => (id, changes),
            Step::HandOver => {
                let deadline = Instant::now() + HAND_OVER_PATIENCE;
                let handed = self.hand_over(None, deadline).await;
                let reason = match handed {
                    Ok(leader) => format!("replica {leader} leads now"),
                    Err(error) => error.to_string(),
                };
                return Err(MemberError::NotAccepted(reason));
            }
        };
        tracing::info!(replica = self.here(), peer = id, wanted = %changes, "changing the membership");
        self.commit(changes, &stored, alone).await?;
        Ok(MemberChanged { id, is_new: true })
    }

    /// What the rules need to know. Only on the committed, applied and uniform membership.
    fn scene(&self) -> Result<(Scene, StoredMembership), MemberError> {
        let stored = StoredMembership::clone(&self.membership.load());
        let state = self.board.latest();
        let is_settled = state.membership().log_id() == stored.log_id()
            && stored.membership().get_joint_config().len() == 1;
        if !is_settled {
            return Err(MemberError::InProgress);
        }
        let status = self.status();
        let window = self.live_window();
        let is_live = |heard_ms: Option<u64>| heard_ms.is_some_and(|heard| heard <= window);
        let lag = |matched: u64| status.last_log_index.saturating_sub(matched);
        let peers = &status.peers;
        let live = peers.iter().filter(|peer| is_live(peer.heard_ms)).map(|peer| peer.id);
        // Their votes would be missing from a quorum.
        let live = live.filter(|id| !self.peers.is_quarantined(*id));
        let lags = peers.iter().filter_map(|peer| Some((peer.id, lag(peer.match_index?))));
        let scene = Scene {
            here: self.here(),
            membership: stored.membership().clone(),
            retired: state.retired().clone(),
            live: live.chain([self.here()]).collect(),
            lags: lags.collect(),
            level: state.machine().feature_level(),
        };
        Ok((scene, stored))
    }

    /// Milliseconds within which a live member answers the leader.
    pub(crate) fn live_window(&self) -> u64 {
        2 * self.config.timers.election_max_ms
    }

    /// Whether this replica has led for so long that every live member has answered it.
    fn has_settled(&self) -> bool {
        let since = self.leading_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        since.is_some_and(|since| millis(since.elapsed()) > self.live_window())
    }

    /// Writes a change on top of the membership it was judged on. On its own task: a change of
    /// voters takes two entries, and whoever gives up waiting must not leave it in the middle.
    async fn commit(
        self: &Arc<Self>,
        changes: ChangeMembers<ReplicaId, Peer>,
        seen: &StoredMembership,
        alone: OwnedMutexGuard<()>,
    ) -> Result<(), MemberError> {
        let raft = self.raft.clone();
        let last_membership_log_id = *seen.log_id();
        let guard = Precondition::<TypeConfig>::LastMembershipLogId { last_membership_log_id };
        let written = rt::spawn(async move {
            let write = raft.change_membership_if(changes, false, [guard]);
            let written = tokio::time::timeout(COMMIT_PATIENCE, write).await;
            drop(alone);
            written
        });
        let result = match written.await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(RaftError::APIError(error)))) => Err(failed(&error)),
            Ok(Ok(Err(RaftError::Fatal(error)))) => Err(MemberError::Unknown(error.to_string())),
            Ok(Err(_)) => Err(MemberError::Unknown("no quorum confirmed it in time".to_owned())),
            Err(error) => Err(MemberError::Unknown(error.to_string())),
        };
        let outcome = match &result {
            Ok(()) => "done",
            Err(MemberError::Unknown(_)) => "unknown",
            Err(_) => "refused",
        };
        counter!(MEMBER_CHANGES_TOTAL, "outcome" => outcome).increment(1);
        result
    }

    /// Ends a change of voters that a leader before this one left in the middle.
    pub(crate) async fn finish_joint(self: &Arc<Self>) -> Result<(), MemberError> {
        let alone = self.changing.clone().try_lock_owned();
        let alone = alone.map_err(|_| MemberError::InProgress)?;
        let stored = StoredMembership::clone(&self.membership.load());
        if stored.membership().get_joint_config().len() < 2 {
            return Ok(());
        }
        let remains = stored.membership().get_joint_config().last();
        if remains.is_some_and(|voters| !voters.contains(&self.here())) {
            // The others stop listening to a replica that has left, so somebody else ends it.
            let deadline = Instant::now() + HAND_OVER_PATIENCE;
            if let Ok(leader) = self.hand_over(None, deadline).await {
                let reason = format!("replica {leader} leads now");
                return Err(MemberError::NotAccepted(reason));
            }
        }
        tracing::info!(replica = self.here(), "finishing a change of voters");
        let nothing = ChangeMembers::AddVoterIds(std::collections::BTreeSet::new());
        self.commit(nothing, &stored, alone).await
    }

    /// How another replica stands, as far as is applied here.
    pub(crate) fn standing_of(&self, name: Name) -> Standing {
        if self.board.latest().retired().contains(&name.id) {
            return Standing::Removed;
        }
        match self.peer(name.id) {
            Some(peer) if peer.incarnation == name.incarnation => Standing::Member,
            Some(_) => Standing::AnotherDisk,
            None => Standing::Unknown,
        }
    }

    /// The members as this replica sees them.
    pub(crate) fn own_members(&self) -> Members {
        let status = self.status();
        let stored = self.membership.load();
        let configs = stored.membership().get_joint_config();
        let is_leader_here = self.leadership().is_leader_here;
        let member = |(id, peer): (&ReplicaId, &Peer)| {
            let seen = status.peers.iter().find(|peer| peer.id == *id);
            let match_index = seen.and_then(|seen| seen.match_index).filter(|_| is_leader_here);
            let heard_ms = seen.and_then(|seen| seen.heard_ms).filter(|_| is_leader_here);
            let role = match configs.iter().any(|voters| voters.contains(id)) {
                true if status.leader == Some(*id) => MemberRole::Leader,
                true => MemberRole::Voter,
                false => MemberRole::Learner,
            };
            let lag_entries =
                match_index.map(|matched| status.last_log_index.saturating_sub(matched));
            let is_here = *id == self.here();
            let health = match is_leader_here {
                _ if !peer.is_claimed() => Health::Awaited,
                _ if is_here && self.standing.is_quarantined() => Health::Quarantined,
                false => Health::Unknown,
                true if is_here => Health::Healthy,
                true if heard_ms.is_none_or(|heard| heard > self.live_window()) => Health::Silent,
                true if self.peers.is_quarantined(*id) => Health::Quarantined,
                true if lag_entries.is_none_or(|lag| lag > super::LAG_ENTRIES_MAX) => {
                    Health::Lagging
                }
                true => Health::Healthy,
            };
            let (peer_addr, client_url) = (peer.peer_addr.clone(), peer.client_url.clone());
            let replaces = peer.replaces.filter(|id| stored.membership().get_node(id).is_some());
            let (program, feature_level_max) = match self.said(*id) {
                Some(about) => (Some(about.program), Some(about.level_max)),
                None => (None, None),
            };
            let id = *id;
            Member {
                id,
                role,
                health,
                peer_addr,
                client_url,
                replaces,
                match_index,
                lag_entries,
                heard_ms,
                program,
                feature_level_max,
            }
        };
        Members {
            leader: is_leader_here.then(|| self.here()),
            term: status.term,
            is_changing: configs.len() > 1
                || self.board.latest().membership().log_id() != stored.log_id(),
            quorum: configs.last().map_or(0, |voters| rules::quorum(voters.len())),
            members: stored.nodes().map(member).collect(),
            removed: self.board.latest().retired().iter().copied().collect(),
            feature_level: self.level(),
            feature_level_common: self.common_level().ok().filter(|_| is_leader_here),
        }
    }
}

/// What an error of the consensus library means here.
fn failed(error: &ClientWriteError<TypeConfig>) -> MemberError {
    match error {
        ClientWriteError::ForwardToLeader(_) => {
            MemberError::NotAccepted("this replica does not lead any more".to_owned())
        }
        ClientWriteError::PreconditionFailed(_)
        | ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ) => MemberError::InProgress,
        ClientWriteError::ChangeMembershipError(error) => MemberError::Refused(error.to_string()),
        error => MemberError::Unknown(error.to_string()),
    }
}
