//! Who belongs to the cluster: founding it, recognising a replaced disk, handing over leadership.
//!
//! The cluster is founded once, by the first replica of the configured list, and only if every
//! disk of the list is new: otherwise a first replica that lost its disk would found a second
//! cluster beside the one that knows it.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use openraft::{Instant as _, async_runtime::WatchReceiver};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    Machine, PeerConfig, ReplicaId, StartError, TransferError,
    node::core::Core,
    transport::{
        CallError, Line, Name,
        client::Request,
        route,
        wire::{self, HelloAnswer},
    },
    types::Peer,
};

/// How long a peer may take to say who it is.
const HELLO: Duration = Duration::from_secs(1);
/// Pause between two rounds of hellos.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Rounds between two reports that the cluster is not founded yet.
const ROUNDS_PER_REPORT: u32 = 50;

/// What a round of hellos came to.
#[derive(Debug)]
pub(crate) enum Round {
    /// A peer knows this replica with another disk.
    Replaced,
    /// Every peer answered, and every disk is new.
    AllVirgin(BTreeMap<ReplicaId, Peer>),
    /// Some peer did not answer, or is part of a cluster already.
    Waiting,
}

impl<M: Machine> Core<M> {
    /// Meets the other replicas until this one is part of the cluster; founds the cluster if it is
    /// this replica's turn.
    pub(crate) async fn join_cluster(self: Arc<Self>) {
        let mut rounds: u32 = 0;
        while self.membership.load().nodes().next().is_none() {
            match self.round().await {
                Round::Replaced => {
                    let error = StartError::DiskReplaced { id: self.here() };
                    self.fatal.raise(error.to_string());
                    return;
                }
                Round::AllVirgin(members) if self.is_founder() && self.is_virgin() => {
                    self.found(members).await;
                }
                Round::AllVirgin(_) | Round::Waiting => {}
            }
            rounds += 1;
            if rounds.is_multiple_of(ROUNDS_PER_REPORT) {
                tracing::warn!(
                    replica = self.here(),
                    "waiting for the other replicas before the cluster can be founded or joined"
                );
            }
            tokio::select! {
                biased;
                () = sleep(ROUND_PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
        }
        let known = self.peer(self.here());
        if known.is_some_and(|peer| peer.incarnation != self.identity.incarnation) {
            self.fatal.raise(StartError::DiskReplaced { id: self.here() }.to_string());
        }
    }

    /// Asks all other replicas of the list who they are and whom they know.
    pub(crate) async fn round(&self) -> Round {
        let others = self.config.peers.iter().filter(|peer| peer.id != self.here());
        let answers = futures::future::join_all(others.map(|peer| self.hello(peer))).await;
        let here = self.credentials.here();
        let mut members = BTreeMap::new();
        let mut is_virgin = true;
        for answer in answers.into_iter().flatten() {
            if answer.known.iter().any(|(id, disk)| *id == here.id && *disk != here.incarnation) {
                return Round::Replaced;
            }
            is_virgin &= answer.is_virgin && answer.known.is_empty();
            members.insert(answer.id, answer.incarnation);
        }
        members.insert(here.id, here.incarnation);
        let complete: Option<BTreeMap<ReplicaId, Peer>> = self
            .config
            .peers
            .iter()
            .map(|peer| Some((peer.id, peer_of(peer, *members.get(&peer.id)?))))
            .collect();
        match complete {
            Some(members) if is_virgin => Round::AllVirgin(members),
            _ => Round::Waiting,
        }
    }

    /// Founds the cluster. The caller has made sure that no other one can exist.
    pub(crate) async fn found(&self, members: BTreeMap<ReplicaId, Peer>) {
        let ids: Vec<ReplicaId> = members.keys().copied().collect();
        match self.raft.initialize(members).await {
            Ok(()) => tracing::info!(replica = self.here(), ?ids, "the cluster is founded"),
            Err(error) => tracing::warn!(%error, "the cluster was not founded"),
        }
    }

    /// Whether this replica founds the cluster.
    pub(crate) fn is_founder(&self) -> bool {
        self.config.peers.first().is_some_and(|peer| peer.id == self.here())
    }

    async fn hello(&self, peer: &PeerConfig) -> Option<HelloAnswer> {
        let name = Name { id: peer.id, incarnation: [0; 16] };
        let target = self.peers.target(name, &peer.peer_addr);
        let request = Request::new(route::HELLO, Vec::new());
        match self.peers.call(Line::Calls, &target, request, HELLO).await {
            Ok(answer) => match wire::decode::<HelloAnswer>(&answer) {
                Ok(answer) if answer.id == peer.id => Some(answer),
                Ok(answer) => {
                    tracing::warn!(wanted = peer.id, found = answer.id, "another replica answered");
                    None
                }
                Err(error) => {
                    tracing::warn!(peer = peer.id, %error, "a hello was not understood");
                    None
                }
            },
            Err(CallError::Refused(refused)) => {
                let (status, reason) = (refused.status, refused.reason);
                tracing::warn!(peer = peer.id, status, reason, "a hello was refused");
                None
            }
            Err(error) => {
                tracing::debug!(peer = peer.id, %error, "a peer does not answer yet");
                None
            }
        }
    }

    /// Hands leadership to another voter and waits until somebody else leads.
    pub(crate) async fn hand_over(
        &self,
        to: Option<ReplicaId>,
        deadline: Instant,
    ) -> Result<ReplicaId, TransferError> {
        let seen = self.leadership();
        if !seen.is_leader_here {
            return Err(TransferError::NotLeader { leader: seen.leader });
        }
        let to = match to {
            Some(to) if to != self.here() && self.is_voter(to) => to,
            Some(to) => return Err(TransferError::NotVoter(to)),
            None => self.most_advanced_voter().ok_or(TransferError::NoVoter)?,
        };
        tracing::info!(replica = self.here(), to, "handing over leadership");
        if self.raft.trigger().transfer_leader(to).await.is_err() {
            return Err(TransferError::NotLeader { leader: None });
        }
        let mut watch = self.leadership.subscribe();
        let here = self.here();
        let changed = watch.wait_for(|present| present.leader.is_some_and(|leader| leader != here));
        match timeout_at(deadline, changed).await {
            Ok(Ok(present)) => present.leader.ok_or(TransferError::Timeout),
            _ => Err(TransferError::Timeout),
        }
    }

    fn is_voter(&self, id: ReplicaId) -> bool {
        self.membership.load().voter_ids().any(|voter| voter == id)
    }

    /// The voter that can take over soonest: heard of lately, and with the longest log.
    pub(crate) fn most_advanced_voter(&self) -> Option<ReplicaId> {
        self.most_advanced_of(|id| !self.peers.is_quarantined(id))
    }

    /// The same, of some voters only.
    pub(crate) fn most_advanced_of(
        &self,
        may_lead: impl Fn(ReplicaId) -> bool,
    ) -> Option<ReplicaId> {
        let lease = Duration::from_millis(self.config.timers.election_max_ms);
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heartbeat = metrics.heartbeat.as_ref()?;
        let replication = metrics.replication.as_ref()?;
        self.membership
            .load()
            .voter_ids()
            .filter(|id| *id != self.here() && may_lead(*id))
            .filter_map(|id| {
                let silence = heartbeat.get(&id)?.as_ref()?.elapsed();
                let matched = replication.get(&id)?.as_ref().map(|log_id| log_id.index());
                (silence <= lease).then_some((matched, Reverse(silence), id))
            })
            .max()
            .map(|(_, _, id)| id)
    }
}

fn peer_of(config: &PeerConfig, incarnation: [u8; 16]) -> Peer {
    Peer {
        peer_addr: config.peer_addr.clone(),
        client_url: config.client_url.clone(),
        incarnation,
        replaces: None,
    }
}
