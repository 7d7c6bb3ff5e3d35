//! The replicas of a run: started, ended, started again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::Rng;
use tokio::time::{Instant, sleep};

use super::{
    disk::{Crash, Disk, FAILURE},
    event::Event,
    plan::Plan,
    runtime::{OUTSIDE, World, lock, wall_clock_ms, world},
};
use crate::{
    Config, Context, JoinConfig, Machine, Node, PeerConfig, RecordSink, RecordSource, ReplicaId,
    config::LevelConfig,
    storage::wire::term_and_node,
    testing::register::{RegisterCommand, RegisterEvent, RegisterReply, Registers},
    transport::client::chain,
};

/// A replica that has ended is started again after this long at most.
const RESTART_MS_MAX: u64 = 1500;
/// What a replica says that the members do not take in.
const NOT_TAKEN: &str = "the cluster does not take this replica";

/// Registers that tell of every command they apply.
#[derive(Clone, Default)]
pub(crate) struct Watched(pub(crate) Registers);

impl Machine for Watched {
    type Command = RegisterCommand;
    type Reply = RegisterReply;
    type Event = RegisterEvent;

    fn apply(
        &mut self,
        context: &Context<'_>,
        command: RegisterCommand,
        events: &mut Vec<RegisterEvent>,
    ) -> RegisterReply {
        let reply = self.0.apply(context, command.clone(), events);
        if let Some(world) = world() {
            world.tell(&Event::Applied {
                replica: world.owner(),
                index: context.index,
                term: context.term,
                leader: lock(&world.disks).of(world.owner()).leader_at(context.index),
                request: context.request_id,
                command,
                reply: reply.clone(),
            });
        }
        reply
    }

    fn export(&self, sink: &mut dyn RecordSink) -> std::io::Result<()> {
        self.0.export(sink)
    }

    fn import(source: &mut dyn RecordSource) -> std::io::Result<Self> {
        Registers::import(source).map(Self)
    }
}

/// The replicas of a run.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) world: Arc<World>,
    pub(crate) plan: Arc<Plan>,
    slots: Arc<Mutex<BTreeMap<ReplicaId, Slot>>>,
}

#[derive(Default)]
struct Slot {
    node: Option<Node<Watched>>,
    is_up: bool,
    /// Counts processes.
    life: u64,
    /// Somebody has asked for it to be removed.
    may_leave: bool,
    /// It has been removed, and is never started again.
    is_gone: bool,
    /// What it was last seen to lead, and to have applied.
    led: Option<u64>,
    published: u64,
}

impl Places {
    /// The replicas of a plan; none runs yet.
    pub(crate) fn new(world: Arc<World>, plan: Arc<Plan>) -> Self {
        let slots = (1..=plan.replicas).map(|id| (id, Slot::default())).collect();
        Self { world, plan, slots: Arc::new(Mutex::new(slots)) }
    }

    /// All replicas that were not removed.
    pub(crate) fn ids(&self) -> Vec<ReplicaId> {
        let slots = lock(&self.slots);
        slots.iter().filter(|(_, slot)| !slot.is_gone).map(|(id, _)| *id).collect()
    }

    /// One of them.
    pub(crate) fn any(&self) -> ReplicaId {
        let ids = self.ids();
        ids[self.world.draw(|draws| draws.random_range(0..ids.len()))]
    }

    /// A replica, if it has started.
    pub(crate) fn node(&self, id: ReplicaId) -> Option<Node<Watched>> {
        lock(&self.slots).get(&id)?.node.clone()
    }

    /// Whether a replica runs, or is starting.
    pub(crate) fn is_up(&self, id: ReplicaId) -> bool {
        lock(&self.slots).get(&id).is_some_and(|slot| slot.is_up)
    }

    /// The replica that leads, as one of them says.
    pub(crate) fn leader(&self) -> Option<ReplicaId> {
        let slots = lock(&self.slots);
        let leading = |slot: &&Slot| {
            slot.node.as_ref().is_some_and(|node| node.core().leadership().is_leader_here)
        };
        slots.values().position(|slot| leading(&slot)).and_then(|at| slots.keys().nth(at).copied())
    }

    /// The disk of a replica.
    pub(crate) fn disk(&self, id: ReplicaId) -> Disk {
        lock(&self.world.disks).of(id)
    }

    /// The next replica, which joins the others once it is started.
    pub(crate) fn add(&self) -> ReplicaId {
        let mut slots = lock(&self.slots);
        let id = slots.keys().next_back().map_or(1, |last| last + 1);
        slots.insert(id, Slot::default());
        id
    }

    /// How many replicas there have been.
    pub(crate) fn count(&self) -> usize {
        lock(&self.slots).len()
    }

    /// From now on this replica may find that it was removed.
    pub(crate) fn let_leave(&self, id: ReplicaId) {
        self.with(id, |slot| slot.may_leave = true);
    }

    fn with<T>(&self, id: ReplicaId, change: impl FnOnce(&mut Slot) -> T) -> T {
        change(lock(&self.slots).entry(id).or_default())
    }

    /// Runs something as a task of a replica, as if it had come in over a connection; `None` if
    /// the replica does not run, or ended before.
    pub(crate) async fn ask<T, F>(
        &self,
        id: ReplicaId,
        ask: impl FnOnce(Node<Watched>) -> F + Send + 'static,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let node = self.node(id)?;
        self.world.spawn(id, async move { ask(node).await }).await.ok()
    }

    /// Starts a replica that does not run.
    pub(crate) fn start(&self, id: ReplicaId) {
        let life = self.with(id, |slot| {
            if slot.is_up || slot.is_gone {
                return None;
            }
            slot.is_up = true;
            slot.life += 1;
            Some(slot.life)
        });
        let Some(life) = life else { return };
        self.world.tell(&Event::Starts { replica: id });
        let config = self.config(id);
        let started = self.world.spawn(id, Node::start(config, Watched::default()));
        let places = self.clone();
        drop(self.world.spawn(OUTSIDE, async move {
            let message = match started.await {
                Ok(Ok(node)) => {
                    let is_same = places.with(id, |slot| {
                        let is_same = slot.life == life;
                        if is_same {
                            slot.node = Some(node.clone());
                            slot.led = None;
                            slot.published = 0;
                        }
                        is_same
                    });
                    if !is_same {
                        return;
                    }
                    let fatal = places.world.spawn(id, async move { node.fatal().await });
                    let Ok(message) = fatal.await else { return };
                    message
                }
                Ok(Err(error)) => chain(&error),
                Err(_) => return,
            };
            places.gave_up(id, life, message);
        }));
    }

    fn gave_up(&self, id: ReplicaId, life: u64, message: String) {
        let is_expected = self.with(id, |slot| {
            let is_removed = slot.may_leave && message.contains("was removed from its cluster");
            slot.is_gone |= is_removed;
            // Who joins is refused while too few members answer, and has to ask again.
            let is_refused = id > self.plan.replicas && message.contains(NOT_TAKEN);
            (slot.life == life).then_some(is_removed || is_refused || message.contains(FAILURE))
        });
        let Some(is_expected) = is_expected else { return };
        // Where the files of a run are is not decided by its seed.
        let base = lock(&self.world.disks).base().display().to_string();
        let message = message.replace(&base, "");
        self.world.tell(&Event::GaveUp { replica: id, message, is_expected });
        self.crash(id, Crash::Kill);
        self.start_later(id);
    }

    /// Ends the process of a replica, if it runs.
    pub(crate) fn crash(&self, id: ReplicaId, how: Crash) {
        let node = self.with(id, |slot| {
            slot.is_up = false;
            slot.node.take()
        });
        lock(&self.world.network).silence(id);
        self.world.kill(id);
        drop(node);
        let disk = self.disk(id);
        disk.crash(&self.world, how);
        self.world.tell(&Event::Crashed { replica: id, vote: disk.vote() });
    }

    /// Starts a replica again after a while.
    pub(crate) fn start_later(&self, id: ReplicaId) {
        let places = self.clone();
        let wait = self.world.draw(|draws| draws.random_range(1..=RESTART_MS_MAX));
        drop(self.world.spawn(OUTSIDE, async move {
            sleep(Duration::from_millis(wait)).await;
            places.start(id);
        }));
    }

    /// Tells what has become of the replicas since the last look.
    pub(crate) fn look(&self) {
        let mut events = Vec::new();
        for (id, slot) in lock(&self.slots).iter_mut() {
            let Some(node) = &slot.node else { continue };
            let state = node.core().board.latest();
            if state.index() != slot.published
                && let Some(applied) = state.applied()
            {
                slot.published = state.index();
                let at = (term_and_node(applied), state.index());
                events.push(Event::Published { replica: *id, at, chain: state.log_chain() });
            }
            if node.core().standing.is_quarantined() {
                let what = format!("replica {id} is in quarantine");
                self.world.witness(|witness| witness.fail("no replica differs", what));
            }
            let leadership = node.core().leadership();
            let leads = leadership.is_leader_here.then_some(leadership.term);
            if leads != slot.led {
                slot.led = leads;
                let disk = node.core().disk.load_full();
                let last = disk.and_then(|disk| disk.log.last());
                let last = last.map(|last| (term_and_node(&last), last.index()));
                events.extend(leads.map(|term| Event::Leads { replica: *id, term, last }));
            }
        }
        events.iter().for_each(|event| self.world.tell(event));
    }

    fn config(&self, id: ReplicaId) -> Config {
        let founders = self.plan.replicas;
        let is_founder = id <= founders;
        let peers: Vec<PeerConfig> = (1..=founders).map(peer).collect();
        let own = peer(id);
        let join = (!is_founder).then(|| JoinConfig {
            members: peers.iter().map(|peer| peer.peer_addr.clone()).collect(),
            peer_addr: own.peer_addr.clone(),
            client_url: String::new(),
        });
        Config {
            replica_id: id,
            cluster_token: "a simulated cluster".to_owned(),
            peers: if is_founder { peers } else { Vec::new() },
            join,
            promote_after: Duration::from_millis(300),
            data_dir: lock(&self.world.disks).data_dir(id),
            peer_listen: own.peer_addr,
            peer_tls: None,
            timers: self.plan.timers(id),
            proposals_in_flight_max: 1000,
            proposal_bytes_in_flight_max: 64 << 20,
            snapshot: self.plan.snapshot,
            wall_clock_ms,
            levels: LevelConfig::default(),
            digest_interval: Duration::from_secs(1),
            unsafe_leader_restore: false,
        }
    }
}

/// A replica as configurations name it.
pub(crate) fn peer(id: ReplicaId) -> PeerConfig {
    PeerConfig { id, peer_addr: format!("10.0.0.{id}:7800"), client_url: String::new() }
}

/// A deadline that many milliseconds from now.
pub(crate) fn within(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}
