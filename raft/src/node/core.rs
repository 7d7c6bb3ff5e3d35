//! What the parts of a node share.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use metrics::{Counter, Histogram, counter};
use openraft::{Instant as _, Raft, ServerState, async_runtime::WatchReceiver};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Leadership, admission::Admission, age::Contact, courier::Courier, election::Election,
    gather::Gather, stall::Burden,
};
use crate::{
    Config, LeaderChange, Machine, ReplicaId,
    agreement::Standing,
    handles::Handles,
    members::level::Report,
    metrics::{FORWARD_SECONDS, FORWARDS_TOTAL, LEADER_CHANGES_TOTAL, METRICS, PROPOSALS_TOTAL},
    storage::{Board, Fatal, LogStore, MachineStore, Snapshots, identity::Identity},
    transport::{Credentials, Name, Peers, Target},
    types::{Peer, StoredMembership, TypeConfig},
};

/// Changes of the leader that are remembered.
const LEADER_CHANGES_MAX: usize = 64;

/// The consensus core of one replica.
pub(crate) type Handle<M> = Raft<TypeConfig, MachineStore<M>>;

/// What the parts of a node share.
pub(crate) struct Core<M: Machine> {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) peer_addr: SocketAddr,
    pub(crate) raft: Handle<M>,
    pub(crate) board: Arc<Board<M>>,
    /// Given away when the node stops, so that the database closes while clones of the node live.
    pub(crate) disk: ArcSwapOption<OpenDisk>,
    pub(crate) fatal: Fatal,
    pub(crate) peers: Arc<Peers>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) gather: Arc<Gather>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) contact: Contact,
    pub(crate) election: Election,
    /// The membership in force, for the checks of the peer port.
    pub(crate) membership: ArcSwap<StoredMembership>,
    pub(crate) leadership: watch::Sender<Leadership>,
    /// What keeps this replica from leading although it is the leader.
    pub(crate) burden: watch::Sender<Burden>,
    pub(crate) is_ready: watch::Sender<bool>,
    /// Set first on the way down: no client is served any more, but peers still are.
    pub(crate) is_closing: AtomicBool,
    /// Set before the core is stopped on purpose, so that its end is not taken for a failure.
    pub(crate) is_stopping: AtomicBool,
    /// One snapshot is received at a time.
    pub(crate) receiving: Semaphore,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// One change of the membership at a time.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
    /// The last changes of the leader, oldest first.
    pub(crate) leader_changes: Mutex<VecDeque<LeaderChange>>,
    /// Since when this replica leads.
    pub(crate) leading_since: Mutex<Option<Instant>>,
    pub(crate) targets: Mutex<HashMap<ReplicaId, (Peer, Target)>>,
    /// What this replica is worth as a witness.
    pub(crate) standing: Arc<Standing>,
    /// Counts wishes for a comparison of all members.
    pub(crate) comparisons: watch::Sender<u64>,
    /// One state is digested at a time.
    pub(crate) digesting: tokio::sync::Mutex<()>,
    /// Held while this replica is being healed.
    pub(crate) healing: Arc<tokio::sync::Mutex<()>>,
    /// What the members said of their programs, while this replica leads.
    pub(crate) reports: Mutex<BTreeMap<ReplicaId, Report>>,
    pub(crate) meters: Meters,
}

/// What is counted for every proposal.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) proposals: Handles<Counter>,
    pub(crate) forwards: Handles<Counter>,
    pub(crate) forward_seconds: Handles<Histogram>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            proposals: Handles::of_counter(METRICS, PROPOSALS_TOTAL),
            forwards: Handles::of_counter(METRICS, FORWARDS_TOTAL),
            forward_seconds: Handles::of_histogram(METRICS, FORWARD_SECONDS),
        }
    }
}

/// The parts of the disk that others than the core use.
pub(crate) struct OpenDisk {
    pub(crate) log: LogStore,
    pub(crate) snapshots: Arc<Snapshots>,
}

impl<M: Machine> Core<M> {
    /// This replica.
    pub(crate) fn here(&self) -> ReplicaId {
        self.config.replica_id
    }

    /// Who leads, as far as is known here.
    pub(crate) fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// Whether clients are served.
    pub(crate) fn is_running(&self) -> bool {
        !self.is_closing.load(Ordering::Acquire) && self.is_alive()
    }

    /// Whether other replicas are answered.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_stopping.load(Ordering::Acquire) && !self.fatal.is_raised()
    }

    /// Index of the last entry that is applied and published here.
    pub(crate) fn applied(&self) -> u64 {
        self.board.applied()
    }

    /// Waits until an index is applied and published here; false if the deadline comes first.
    pub(crate) async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        if self.applied() >= index {
            return true;
        }
        let mut applied = self.board.watch_applied();
        let reached = applied.wait_for(|applied| *applied >= index);
        matches!(timeout_at(deadline, reached).await, Ok(Ok(_)))
    }

    /// How old the published state is; `None` if it was never known to be current.
    pub(crate) fn age(&self) -> Option<Duration> {
        let heard = self.contact.age(self.applied());
        if !self.leadership().is_leader_here {
            return heard;
        }
        if self.membership.load().voter_ids().eq([self.here()]) {
            return Some(Duration::ZERO);
        }
        let metrics = self.raft.data_metrics();
        let acked = metrics.borrow_watched().last_quorum_acked.as_ref().map(|at| at.elapsed());
        match (heard, acked) {
            (Some(heard), Some(acked)) => Some(heard.min(acked)),
            (heard, acked) => heard.or(acked),
        }
    }

    /// A replica as the membership knows it.
    pub(crate) fn peer(&self, id: ReplicaId) -> Option<Peer> {
        self.membership.load().membership().get_node(&id).cloned()
    }

    /// How to reach a replica of the membership.
    pub(crate) fn target(&self, id: ReplicaId) -> Option<Target> {
        let peer = self.peer(id)?;
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, target)) = targets.get(&id)
            && *known == peer
        {
            return Some(target.clone());
        }
        let name = Name { id, incarnation: peer.incarnation };
        let target = self.peers.target(name, &peer.peer_addr);
        targets.insert(id, (peer, target.clone()));
        Some(target)
    }

    /// Whether the disk has never held a vote, an entry or a snapshot.
    pub(crate) fn is_virgin(&self) -> bool {
        let Some(disk) = self.disk.load_full() else {
            return false;
        };
        disk.log.last().is_none() && disk.log.vote().is_none() && self.applied() == 0
    }

    /// Follows the core: who leads, who belongs to the cluster, whether the core still runs. Ends
    /// with the core.
    pub(crate) async fn follow(self: Arc<Self>) {
        // These change with leader, term and membership alone, unlike the whole of the metrics.
        let mut metrics = self.raft.server_metrics();
        let mut burdens = self.burden.subscribe();
        loop {
            let burden = *burdens.borrow_and_update();
            // Cloned out at once: the core waits for whoever holds a reference into the watch.
            let (leadership, membership) = {
                let metrics = metrics.borrow_and_update();
                let is_leader_here = metrics.state == ServerState::Leader
                    && metrics.current_leader == Some(metrics.id);
                let leadership = Leadership {
                    term: metrics.vote.leader_id.term,
                    leader: metrics.current_leader,
                    is_leader_here,
                };
                (leadership, metrics.membership_config.clone())
            };
            if !Arc::ptr_eq(&self.membership.load(), &membership) {
                self.peers.learn(membership.clone());
                self.membership.store(membership);
            }
            self.after_term(burden, leadership);
            self.set_leadership(burden.judge(leadership));
            let is_alive = tokio::select! {
                biased;
                changed = metrics.changed() => changed.is_ok(),
                // Its sender lives as long as this.
                _ = burdens.changed() => true,
            };
            if !is_alive {
                let metrics = self.raft.metrics();
                let reason =
                    metrics.borrow_watched().running_state.as_ref().err().map(ToString::to_string);
                self.ended(&reason.unwrap_or_else(|| "its task is gone".to_owned()));
                return;
            }
        }
    }

    fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|present| {
            let is_new = *present != leadership;
            if leadership.is_leader_here != present.is_leader_here {
                let mut since = self.leading_since.lock().unwrap_or_else(PoisonError::into_inner);
                *since = leadership.is_leader_here.then(Instant::now);
            }
            if is_new && (leadership.leader, leadership.term) != (present.leader, present.term) {
                counter!(LEADER_CHANGES_TOTAL).increment(1);
                self.remember(leadership);
                tracing::info!(
                    replica = self.here(),
                    term = leadership.term,
                    leader = leadership.leader,
                    "leadership changed"
                );
            }
            *present = leadership;
            is_new
        });
    }

    fn remember(&self, Leadership { term, leader, .. }: Leadership) {
        let time_ms = (self.config.wall_clock_ms)();
        let mut changes = self.leader_changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() == LEADER_CHANGES_MAX {
            changes.pop_front();
        }
        changes.push_back(LeaderChange { time_ms, term, leader });
    }

    fn ended(&self, reason: &str) {
        let term = self.leadership().term;
        self.set_leadership(Leadership { term, leader: None, is_leader_here: false });
        self.is_ready.send_replace(false);
        if !self.is_stopping.load(Ordering::Acquire) {
            self.fatal.raise(format!("the raft core stopped: {reason}"));
        }
    }
}
