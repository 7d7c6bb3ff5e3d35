//! One replica: what it can be asked.
//!
//! A [`Node`] takes proposals on every replica and hands them to the leader, serves reads from its
//! own published state, and tells what it knows of the cluster. It never forwards a proposal a
//! second time, never answers a read before it has caught up with what was shown before it
//! started, and never goes on after a failure of its core or its disk: see [`Node::fatal`].
//!
//! Begin reading at [`Node::start`], then `propose.rs` and `read.rs`.

mod admission;
mod age;
mod archive;
#[cfg(test)]
mod cluster_test;
pub(crate) mod core;
mod courier;
mod election;
mod gather;
#[cfg(test)]
mod guard_test;
pub(crate) mod peer_api;
#[cfg(test)]
mod promise_test;
pub(crate) mod propose;
pub(crate) mod read;
mod receive;
mod snapshot;
pub(crate) mod stall;
mod start;
mod status;
mod stop;
mod tell;
mod turns;

use std::{
    fmt, io,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

pub use self::archive::ArchiveStream;
use self::core::Core;
use crate::{
    AppliedEvents, Compacted, EventPage, LeaderChange, LevelRaised, Machine, MemberChange,
    MemberChanged, MemberError, Members, Proposal, ProposeError, Published, RawEntry, ReadError,
    ReadMode, ReplicaId, Requester, Status, TransferError, rt,
    storage::{identity::hex, state_digest},
};

/// One replica; cheap to clone. Dropping it does not stop it; see [`Node::shutdown`].
pub struct Node<M: Machine> {
    core: Arc<Core<M>>,
}

impl<M: Machine> Clone for Node<M> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<M: Machine> fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("replica", &self.core.here()).finish_non_exhaustive()
    }
}

/// What a proposal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<R> {
    /// Log index of the entry that answered.
    pub index: u64,
    /// Term of the leader that appended it.
    pub term: u64,
    /// The machine's reply.
    pub reply: R,
    /// Whether the reply was remembered from an earlier entry with the same request id; also true
    /// if that entry came from an earlier attempt of the very same call.
    pub is_duplicate: bool,
    /// Whether the published state of this replica contains the change already. If not, the
    /// deadline came first; the change is committed all the same.
    pub is_visible: bool,
}

/// Who leads, as far as a replica knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leadership {
    /// The present term.
    pub term: u64,
    /// The leader of that term, once it is elected.
    pub leader: Option<ReplicaId>,
    /// Whether it is this replica.
    pub is_leader_here: bool,
}

/// A published state with what is known of it.
#[derive(Clone)]
pub struct View<M> {
    /// The state.
    pub state: Arc<Published<M>>,
    /// Index of the last entry it contains.
    pub index: u64,
    /// The present term.
    pub term: u64,
    /// Who leads, if that is known.
    pub leader: Option<ReplicaId>,
    /// Milliseconds since the state was last known to be current; `u64::MAX` if it never was.
    pub age_ms: u64,
}

impl<M> Deref for View<M> {
    type Target = M;

    fn deref(&self) -> &M {
        self.state.machine()
    }
}

/// Fingerprint of one published state: equal on two replicas at equal index, or they have
/// diverged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Digest {
    /// Index of the last entry in the state.
    pub index: u64,
    /// Hexadecimal digest over every entry applied so far and what it came to.
    pub log_chain: String,
    /// Hexadecimal digest of the state.
    pub state: String,
}

#[cfg(test)]
impl<M: Machine> Node<M> {
    /// What the parts of the node share, for tests that look inside.
    pub(crate) fn core(&self) -> &Arc<Core<M>> {
        &self.core
    }
}

impl<M: Machine> Node<M> {
    /// Waits until the start barrier is passed: this replica has caught up with everything any
    /// replica may have shown before it started. Never resolves on a replica that stops before.
    pub async fn wait_ready(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        drop(self.core.is_ready.subscribe().wait_for(|is_ready| *is_ready).await);
    }

    /// Has a command applied, on whichever replica this is, and waits for the reply.
    ///
    /// # Errors
    /// [`ProposeError`], which tells what may be retried.
    pub async fn propose(
        &self,
        proposal: Proposal<M::Command>,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        self.core.propose(&proposal, deadline).await
    }

    /// The published state, once it is as current as asked.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, mode: ReadMode, deadline: Instant) -> Result<View<M>, ReadError> {
        self.core.read(mode, deadline).await
    }

    /// The published state without any check.
    #[must_use]
    pub fn latest(&self) -> View<M> {
        self.core.view()
    }

    /// The published state alone; cheaper than [`Node::latest`].
    #[must_use]
    pub fn published(&self) -> Arc<Published<M>> {
        self.core.board.latest()
    }

    /// Tells the index of the last applied and published entry.
    #[must_use]
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.core.board.watch_applied()
    }

    /// Tells who leads.
    #[must_use]
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.core.leadership.subscribe()
    }

    /// Tells what the entries led to. A subscriber that lags too far behind is told so, and must
    /// read the state instead.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedEvents<M::Event>>> {
        self.core.board.subscribe()
    }

    /// What the entries from `from` on led to, as far as they are applied and kept here; about
    /// `limit` events. Wait with [`Node::watch_applied`] for more.
    ///
    /// # Errors
    /// [`Compacted`] if not everything from there on is kept.
    pub fn events(&self, from: u64, limit: usize) -> Result<EventPage<M::Event>, Compacted> {
        self.core.board.history().page(from, limit)
    }

    /// The first entry whose events are kept here, and the entry after the last applied one.
    #[must_use]
    pub fn event_bounds(&self) -> (u64, u64) {
        self.core.board.history().bounds()
    }

    /// Keeps at most so many events from here on.
    pub fn keep_events(&self, events_max: usize) {
        self.core.board.history().keep(events_max);
    }

    /// What this replica says of itself and its peers.
    #[must_use]
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// The last changes of the leader that this replica saw since it started, oldest first.
    #[must_use]
    pub fn leader_changes(&self) -> Vec<LeaderChange> {
        let changes = self.core.leader_changes.lock();
        changes.unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Fingerprint of the published state; computed on a thread for such work.
    ///
    /// # Errors
    /// If the state does not encode, or the runtime is shutting down.
    pub async fn digest(&self) -> io::Result<Digest> {
        let state = self.core.board.latest();
        let digest = rt::blocking(move || {
            Ok(Digest {
                index: state.index(),
                log_chain: hex(&state.log_chain()),
                state: hex(&state_digest(&state)?),
            })
        });
        digest.await?
    }

    /// Has leadership handed to another voter, or to the most advanced one, on whichever replica
    /// this is; returns who leads then.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn transfer_leadership(
        &self,
        to: Option<ReplicaId>,
        timeout: Duration,
    ) -> Result<ReplicaId, TransferError> {
        self.core.transfer_leadership(to, Instant::now() + timeout).await
    }

    /// The members as the leader sees them; as this replica does, if no leader answers in time.
    pub async fn members(&self, deadline: Instant) -> Members {
        self.core.members(deadline).await
    }

    /// Has a change of the membership carried out, on whichever replica this is. A learner that
    /// was added gets its vote later, by itself.
    ///
    /// # Errors
    /// [`MemberError`], which tells what may be retried.
    pub async fn change_members(
        &self,
        change: MemberChange,
        by: Requester,
        deadline: Instant,
    ) -> Result<MemberChanged, MemberError> {
        self.core.change_members(change, by, deadline).await
    }

    /// Has the feature level raised, on whichever replica this is: to the highest that all members
    /// know if `level` is `None`.
    ///
    /// # Errors
    /// [`MemberError`]: a member does not know the level or does not say, or it is lower than the
    /// present one; or no leader took the wish.
    pub async fn raise_level(
        &self,
        level: Option<u64>,
        actor: &str,
        deadline: Instant,
    ) -> Result<LevelRaised, MemberError> {
        self.core.ask_raise(level, actor, deadline).await
    }

    /// The highest feature level that all members know, if this replica leads and all of them have
    /// said it lately.
    #[must_use]
    pub fn common_level(&self) -> Option<u64> {
        self.core.leadership().is_leader_here.then(|| self.core.common_level().ok()).flatten()
    }

    /// The highest feature level this replica knows.
    #[must_use]
    pub fn level_max(&self) -> u64 {
        self.core.about().level_max
    }

    /// Has a replica in quarantine healed, whichever it is: its state is replaced by the leader's,
    /// and compared with the majority's. Answers as soon as that has begun; `is_new` is false if
    /// the replica is not in quarantine.
    ///
    /// # Errors
    /// [`MemberError`]: there is no such member, or it does not answer.
    pub async fn heal(
        &self,
        id: ReplicaId,
        deadline: Instant,
    ) -> Result<MemberChanged, MemberError> {
        self.core.heal(id, deadline).await
    }

    /// Whether this replica is in quarantine, and serves nobody.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.core.standing.is_quarantined()
    }

    /// Takes a snapshot now and waits until it is durable; returns the index it covers.
    ///
    /// # Errors
    /// If nothing has been applied yet, or the replica stops.
    pub async fn snapshot_now(&self) -> io::Result<u64> {
        self.core.snapshot_now().await
    }

    /// Entries `from..to` as they lie in the log, at most `limit` of them, for inspection.
    ///
    /// # Errors
    /// If the log cannot be read, or no longer has the entries.
    pub async fn log_entries(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<RawEntry>> {
        let disk = self.core.disk.load_full();
        let log = disk.map(|disk| disk.log.clone());
        let log = log.ok_or_else(|| io::Error::other("this replica has stopped"))?;
        log.raw_entries(from, to, limit).await
    }

    /// Begins to write an archive of the applied state; `about` is kept in it as it is. With
    /// `with_history` it holds the oldest snapshot and every entry since, so that any state in
    /// between can be had from it; without, the present state alone.
    ///
    /// # Errors
    /// If nothing has been applied yet, or the replica is stopping.
    pub async fn archive(&self, about: String, with_history: bool) -> io::Result<ArchiveStream> {
        self.core.archive(about, with_history).await
    }

    /// Resolves, with a message for the operator, if the replica has stopped by itself. The
    /// program must exit then: a replica that lingers serves old reads.
    pub async fn fatal(&self) -> String {
        self.core.fatal.raised().await
    }

    /// Where the peer port listens.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.core.peer_addr
    }
}
