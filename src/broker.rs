//! What the edges of the program see of the replicated log: propose, view, watch.
//!
//! A [`Broker`] is one replica. Until that replica has caught up and the cluster is founded, it
//! neither takes a proposal nor shows a state.

mod actor;
mod archive;
pub mod engine;
mod founding;
pub mod secrets;

use std::{fmt, io, ops::Deref, sync::Arc, time::Duration};

use metrics::{Counter, Histogram};
use quorate_raft::{EventPage, Node, Proposal, Requester, handles::Handles};
pub use quorate_raft::{ProposeError, ReadError, ReadMode, RequestId};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

pub use self::{actor::Actor, founding::Foundation};
use self::{
    engine::{
        ArchiveStream, Compacted, Digest, LeaderChange, Leadership, LevelRaised, MemberChange,
        MemberChanged, MemberError, Members, RawEntry, ReplicaId, StartError, Status,
        TransferError,
    },
    founding::Progress,
};
use crate::{
    clock,
    domain::{Command, Event, Reply, State},
    replica::Replica,
    seal::KeyRing,
    telemetry,
};

/// When a caller may try again that came before the replica was ready.
const NOT_READY_RETRY_MS: u64 = 1_000;

/// One call of a client, as far as the log cares.
#[derive(Clone, Debug)]
pub struct Call {
    /// Given by the client, or made up by the broker when `None`.
    pub request_id: Option<RequestId>,
    /// Who calls, for the audit trail.
    pub actor: Actor,
    /// When the caller must have an answer.
    pub deadline: Instant,
}

/// A command that was committed and applied.
#[derive(Clone, Debug)]
pub struct Done {
    /// The state machine's answer, refusals included.
    pub reply: Reply,
    /// Log index of the entry.
    pub index: u64,
    /// Whether this replica had applied the entry before the deadline; if not, the command is
    /// committed all the same but a read here may not show it yet.
    pub is_visible: bool,
}

/// Where a replica stands; travels in the `Quorate-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Applied index of the state that was read.
    pub index: u64,
    /// Present term.
    pub term: u64,
    /// Known leader.
    pub leader: Option<u64>,
    /// Milliseconds since this replica knew itself current.
    pub age_ms: u64,
}

/// A published state, and where its replica stood.
pub struct View(quorate_raft::View<Replica>);

impl View {
    /// Where the replica stood.
    #[must_use]
    pub fn position(&self) -> Position {
        let View(view) = self;
        Position { index: view.index, term: view.term, leader: view.leader, age_ms: view.age_ms }
    }
}

impl Deref for View {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0.0
    }
}

struct Published(Arc<quorate_raft::Published<Replica>>);

impl Deref for Published {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0.machine().0
    }
}

/// One replica; cheap to clone.
#[derive(Clone)]
pub struct Broker {
    node: Node<Replica>,
    progress: watch::Receiver<Progress>,
    keys: KeyRing,
    meters: Arc<Meters>,
}

/// What is counted for every proposal.
struct Meters {
    proposals: Handles<Counter>,
    seconds: Handles<Histogram>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            proposals: Handles::of_counter(telemetry::METRICS, telemetry::PROPOSALS_TOTAL),
            seconds: Handles::of_histogram(telemetry::METRICS, telemetry::PROPOSAL_SECONDS),
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts the replica. `foundation` is used only if it founds a new cluster.
    ///
    /// # Errors
    /// [`StartError`], with a message for the operator.
    pub async fn start(config: engine::Config, foundation: Foundation) -> Result<Self, StartError> {
        let node = Node::start(config, Replica::default()).await?;
        let (sender, progress) = watch::channel(Progress::default());
        tokio::spawn(founding::found(node.clone(), foundation, sender));
        Ok(Self { node, progress, keys: KeyRing::default(), meters: Arc::default() })
    }

    /// Has a command applied, wherever the leader is, and waits for its reply.
    ///
    /// # Errors
    /// [`ProposeError`], which tells what may be retried.
    pub async fn propose(&self, call: &Call, command: Command) -> Result<Done, ProposeError> {
        self.propose_fenced(call, command, None).await
    }

    /// As [`Broker::propose`], for what a leader found out in its term: it is not applied in any
    /// other.
    ///
    /// # Errors
    /// [`ProposeError`]; `Fenced` if the term is over.
    pub async fn propose_in_term(
        &self,
        call: &Call,
        command: Command,
        term: u64,
    ) -> Result<Done, ProposeError> {
        self.propose_fenced(call, command, Some(term)).await
    }

    async fn propose_fenced(
        &self,
        call: &Call,
        command: Command,
        fence_term: Option<u64>,
    ) -> Result<Done, ProposeError> {
        let (family, begun) = (command.family(), Instant::now());
        let done = self.propose_unmeasured(call, command, fence_term).await;
        let outcome = match &done {
            Ok(done) if done.reply.is_refusal() => "refused",
            Ok(_) => "done",
            Err(ProposeError::NotAccepted { .. }) => "not_accepted",
            Err(ProposeError::Unknown { .. }) => "unknown",
            Err(_) => "invalid",
        };
        self.meters.proposals.count(&[family, outcome]);
        self.meters.seconds.record(&[family], begun.elapsed());
        done
    }

    async fn propose_unmeasured(
        &self,
        call: &Call,
        command: Command,
        fence_term: Option<u64>,
    ) -> Result<Done, ProposeError> {
        if !self.wait_founded(call.deadline).await {
            return Err(ProposeError::NotAccepted {
                reason: "this replica has not caught up since it started",
                retry_after_ms: NOT_READY_RETRY_MS,
            });
        }
        let state = self.latest();
        if let Some(reply) = command.refused_below(state.system.feature_level) {
            return Ok(Done { reply, index: state.position().index, is_visible: true });
        }
        let request_id = call.request_id.unwrap_or_else(|| self.new_request_id());
        let mut command = command;
        let propose = async |command| {
            let actor = call.actor.to_string();
            let proposal = Proposal { request_id, actor, fence_term, command };
            let applied = self.node.propose(proposal, call.deadline).await?;
            let (index, is_visible) = (applied.index, applied.is_visible);
            Ok(Done { reply: applied.reply, index, is_visible })
        };
        let sealings = self.sealings(&mut command);
        for number in 0..sealings {
            let outcome = propose(self.sealed(number, request_id, &command)).await;
            // Perhaps the very same request, sealed with a key that was the first one then.
            let is_over = number + 1 == sealings;
            if is_over || !matches!(outcome, Err(ProposeError::RequestIdReused)) {
                return outcome;
            }
        }
        propose(command).await
    }

    /// The state, once it is as current as asked.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn view(&self, mode: ReadMode, deadline: Instant) -> Result<View, ReadError> {
        if !self.wait_founded(deadline).await {
            return Err(ReadError::NotReady);
        }
        self.node.read(mode, deadline).await.map(View)
    }

    /// The state without any check; for positions and metrics.
    #[must_use]
    pub fn latest(&self) -> View {
        View(self.node.latest())
    }

    /// The state alone, for who does not tell where its replica stood.
    #[must_use]
    pub fn state(&self) -> impl Deref<Target = State> + use<> {
        Published(self.node.published())
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    /// An id for a wish whose caller gave none.
    #[must_use]
    pub fn new_request_id(&self) -> RequestId {
        RequestId(clock::random_id())
    }

    /// Waits until the replica has caught up with a founded cluster; false if the deadline comes
    /// first.
    async fn wait_founded(&self, deadline: Instant) -> bool {
        if self.is_founded() {
            return true;
        }
        let mut progress = self.progress.clone();
        // In a box, because it is moved about with every read, and waits once.
        let founded = async move {
            let founded = progress.wait_for(|progress| *progress == Progress::Founded);
            matches!(timeout_at(deadline, founded).await, Ok(Ok(_)))
        };
        Box::pin(founded).await
    }

    /// Whether the replica has caught up with a founded cluster.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        *self.progress.borrow() == Progress::Founded
    }

    /// What the replica says of itself and its peers.
    #[must_use]
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Who leads, and every change of it.
    #[must_use]
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.node.watch_leadership()
    }

    /// The applied index, and every growth of it.
    #[must_use]
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.node.watch_applied()
    }

    /// Events of the entries from `from` on, as far as they are applied and kept on this replica;
    /// about `limit` of them. [`Broker::watch_applied`] tells when there may be more.
    ///
    /// # Errors
    /// [`Compacted`] if not everything from there on is kept.
    pub fn events(&self, from: u64, limit: usize) -> Result<EventPage<Event>, Compacted> {
        self.node.events(from, limit)
    }

    /// The first entry whose events are kept on this replica, and the entry after the last applied
    /// one.
    #[must_use]
    pub fn event_bounds(&self) -> (u64, u64) {
        self.node.event_bounds()
    }

    /// Keeps at most so many events from here on.
    pub fn keep_events(&self, events_max: usize) {
        self.node.keep_events(events_max);
    }

    /// Fingerprint of the state.
    ///
    /// # Errors
    /// If the state does not encode, or the program is stopping.
    pub async fn digest(&self) -> io::Result<Digest> {
        self.node.digest().await
    }

    /// Raw entries `from..to`, at most `limit`, for inspection.
    ///
    /// # Errors
    /// If the log cannot be read, or no longer has the entries.
    pub async fn log_entries(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<RawEntry>> {
        self.node.log_entries(from, to, limit).await
    }

    /// The last changes of the leader that this replica saw since it started, oldest first.
    #[must_use]
    pub fn leader_changes(&self) -> Vec<LeaderChange> {
        self.node.leader_changes()
    }

    /// Has leadership handed to another replica, wherever the leader is; to the most advanced one if
    /// `to` is `None`.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn transfer_leadership(
        &self,
        to: Option<ReplicaId>,
        timeout: Duration,
    ) -> Result<ReplicaId, TransferError> {
        self.node.transfer_leadership(to, timeout).await
    }

    /// The members as the leader sees them; as this replica does, if no leader answers in time.
    pub async fn members(&self, deadline: Instant) -> Members {
        self.node.members(deadline).await
    }

    /// Has a change of the members carried out, wherever the leader is.
    ///
    /// # Errors
    /// [`MemberError`], which tells what may be retried.
    pub async fn change_members(
        &self,
        call: &Call,
        change: MemberChange,
    ) -> Result<MemberChanged, MemberError> {
        let request_id = call.request_id.unwrap_or_else(|| self.new_request_id());
        let by = Requester { actor: call.actor.to_string(), request_id };
        self.node.change_members(change, by, call.deadline).await
    }

    /// Has a replica in quarantine healed, whichever it is. Answers as soon as that has begun.
    ///
    /// # Errors
    /// [`MemberError`]: there is no such member, or it does not answer.
    pub async fn heal(
        &self,
        id: ReplicaId,
        deadline: Instant,
    ) -> Result<MemberChanged, MemberError> {
        self.node.heal(id, deadline).await
    }

    /// Whether this replica is in quarantine, because its state differs from the majority's: it
    /// serves nobody then.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.node.is_quarantined()
    }

    /// Has the feature level raised, wherever the leader is: to the highest that all members know
    /// if `level` is `None`.
    ///
    /// # Errors
    /// [`MemberError`], which tells what stands in the way.
    pub async fn raise_level(
        &self,
        level: Option<u64>,
        actor: &str,
        deadline: Instant,
    ) -> Result<LevelRaised, MemberError> {
        self.node.raise_level(level, actor, deadline).await
    }

    /// The highest feature level this replica knows.
    #[must_use]
    pub fn level_max(&self) -> u64 {
        self.node.level_max()
    }

    /// Takes a snapshot now; returns the index it covers.
    ///
    /// # Errors
    /// If nothing has been applied yet, or the replica stops.
    pub async fn snapshot_now(&self) -> io::Result<u64> {
        self.node.snapshot_now().await
    }

    /// Begins to write a backup of the applied state; with every revision since the oldest snapshot
    /// if `with_history`.
    ///
    /// # Errors
    /// If nothing has been applied yet, or the replica is stopping.
    pub async fn archive(&self, with_history: bool) -> io::Result<ArchiveStream> {
        let about = archive::about(&self.latest());
        self.node.archive(about, with_history).await
    }

    /// Resolves, with a message for the operator, if the replica cannot go on. The program must
    /// exit then.
    pub async fn fatal(&self) -> String {
        let mut progress = self.progress.clone();
        let failed = async {
            match progress.wait_for(|progress| matches!(progress, Progress::Failed(_))).await {
                Ok(progress) => match &*progress {
                    Progress::Failed(message) => message.to_string(),
                    Progress::Waiting | Progress::Founded => {
                        unreachable!("just waited for failure")
                    }
                },
                // The founding task is done; it cannot fail any more.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            message = self.node.fatal() => message,
            message = failed => message,
        }
    }

    /// Stops the replica: hands over leadership, answers what is in flight, closes the disk.
    pub async fn shutdown(&self, timeout: Duration) {
        self.node.shutdown(timeout).await;
    }
}
