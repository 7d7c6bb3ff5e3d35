//! A log in memory, leaders that come and go, a daemon that fails as it is told: the loops at work
//! without a network. Time is tokio's, which the tests let run ahead whenever nothing happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::future::{BoxFuture, ready};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    desk::{Declined, Desk, Office},
    render, supervise,
};
use crate::{
    client::{
        runtime::{Container, ContainerState, fake::FakeRuntime},
        service_probe::ServiceProbe,
    },
    domain::{
        Context,
        cello::{
            Command, Rejection, Reply, State,
            command::{Condition, NewHost, Power},
            model::{Cluster, Health, Host, LogType, Phase},
            query,
        },
    },
};

const STEP: Duration = Duration::from_millis(20);
/// Longest time for anything to come about, not counted in seconds of this machine.
const PATIENCE: Duration = Duration::from_secs(1_800);
const BEGUN_MS: u64 = 1_700_000_000_000;
const IMAGE: &str = "hyperledger/fabric-peer:latest";

/// What a majority has.
pub(super) struct Log {
    inner: Mutex<(State, u64)>,
    term: Mutex<u64>,
    applied: watch::Sender<u64>,
    begun: Instant,
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, (State, u64)> {
        self.inner.lock().unwrap()
    }

    fn term(&self) -> u64 {
        *self.term.lock().unwrap()
    }

    fn now_ms(&self) -> u64 {
        let elapsed = self.begun.elapsed().as_millis();
        BEGUN_MS + u64::try_from(elapsed).unwrap()
    }

    fn apply(&self, command: Command) -> Result<Reply, Rejection> {
        let (reply, index) = {
            let mut inner = self.inner();
            inner.1 += 1;
            let index = inner.1;
            let context = Context { index, term: self.term(), time_ms: self.now_ms(), actor: "" };
            (inner.0.apply(&context, command), index)
        };
        self.applied.send_replace(index);
        reply
    }
}

/// One leader's view of the log; it may be one that was deposed and does not know.
struct Seat {
    log: Arc<Log>,
    term: u64,
    /// What a deposed leader still believes.
    stale: Mutex<Option<(State, u64)>>,
}

impl Office for Seat {
    fn look(&self) -> (State, u64) {
        let stale = self.stale.lock().unwrap();
        stale.clone().unwrap_or_else(|| self.log.inner().clone())
    }

    fn now_ms(&self) -> u64 {
        self.log.now_ms()
    }

    fn leads(&self) -> bool {
        // It is the last to hear that it does not.
        true
    }

    fn confirm(&self) -> BoxFuture<'_, bool> {
        Box::pin(ready(self.log.term() == self.term))
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, Declined>> {
        let reply = match self.log.term() == self.term {
            true => self.log.apply(command).map_err(Declined::from),
            false => Err(Declined::Unexpected),
        };
        Box::pin(ready(reply))
    }

    fn watch_applied(&self) -> watch::Receiver<u64> {
        self.log.applied.subscribe()
    }
}

/// Services that answer, unless told otherwise.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) silent: Mutex<BTreeSet<String>>,
    pub(super) peers: Mutex<Option<Value>>,
}

impl ServiceProbe for Services {
    fn connect<'a>(&'a self, address: &'a str, _: Duration) -> BoxFuture<'a, Result<(), String>> {
        let is_silent = self.silent.lock().unwrap().contains(address);
        Box::pin(ready(if is_silent { Err("refused".to_owned()) } else { Ok(()) }))
    }

    fn get<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Option<Value>> {
        Box::pin(ready(self.peers.lock().unwrap().clone()))
    }
}

/// The whole of it.
pub(super) struct Site {
    pub(super) log: Arc<Log>,
    pub(super) runtime: Arc<FakeRuntime>,
    pub(super) services: Arc<Services>,
    seat: Option<Arc<Seat>>,
    leader: Option<JoinHandle<()>>,
    deposed: Vec<JoinHandle<()>>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.deposed.extend(self.leader.take());
        self.deposed.iter().for_each(JoinHandle::abort);
    }
}

impl Site {
    /// A pool with an image, and a leader.
    pub(super) fn new() -> Self {
        let log = Log {
            inner: Mutex::default(),
            term: Mutex::new(0),
            applied: watch::Sender::new(0),
            begun: Instant::now(),
        };
        let mut site = Self {
            log: Arc::new(log),
            runtime: Arc::default(),
            services: Arc::default(),
            seat: None,
            leader: None,
            deposed: Vec::new(),
        };
        site.runtime.world().images.insert(IMAGE.to_owned());
        site.lead();
        site
    }

    /// Another leader; the one before is dead.
    pub(super) fn lead(&mut self) {
        if let Some(leader) = self.leader.take() {
            leader.abort();
        }
        *self.log.term.lock().unwrap() += 1;
        let (log, term) = (Arc::clone(&self.log), self.log.term());
        let seat = Arc::new(Seat { log, term, stale: Mutex::default() });
        self.seat = Some(Arc::clone(&seat));
        let (runtime, services) = (Arc::clone(&self.runtime), Arc::clone(&self.services));
        self.leader = Some(tokio::spawn(async move {
            let desk = Desk::take_over(seat, runtime, services).await;
            supervise(Arc::new(desk)).await;
        }));
    }

    /// Another leader; the one before goes on, knows nothing, and sees nothing new.
    pub(super) fn depose(&mut self) {
        if let Some(seat) = &self.seat {
            *seat.stale.lock().unwrap() = Some(self.log.inner().clone());
        }
        self.deposed.extend(self.leader.take());
        self.lead();
    }

    /// The leader dies, and nobody takes over for now.
    pub(super) fn die(&mut self) {
        if let Some(leader) = self.leader.take() {
            leader.abort();
        }
    }

    pub(super) fn state(&self) -> State {
        self.log.inner().0.clone()
    }

    pub(super) fn propose(&self, command: Command) -> Result<Reply, Rejection> {
        self.log.apply(command)
    }

    pub(super) fn add_host(&self, capacity: u32) -> String {
        let new = NewHost {
            installation: [7; 16],
            name: "compute2".to_owned(),
            daemon_url: "tcp://192.168.7.62:2375".to_owned(),
            is_tls: false,
            service_address: String::new(),
            capacity,
            log_level: String::new(),
            log_type: LogType::Local,
            log_server: String::new(),
            is_schedulable: true,
            is_autofill: true,
        };
        match self.propose(Command::AddHost(Box::new(new))).unwrap() {
            Reply::Host(host) => host.id,
            reply => panic!("{reply:?}"),
        }
    }

    pub(super) fn host(&self) -> Host {
        Host::clone(query::hosts(&self.state()).next().unwrap())
    }

    pub(super) fn clusters(&self) -> Vec<Arc<Cluster>> {
        query::clusters(&self.state()).cloned().collect()
    }

    pub(super) fn apply(&self, user: &str) -> Result<Cluster, Rejection> {
        let command = Command::Apply {
            user_id: user.to_owned(),
            condition: Condition::default(),
            allows_multiple: false,
        };
        match self.propose(command)? {
            Reply::Cluster(cluster) => Ok(*cluster),
            reply => panic!("{reply:?}"),
        }
    }

    pub(super) fn release(&self, cluster_id: &str) {
        let cluster_id = cluster_id.to_owned();
        self.propose(Command::Release { cluster_id, user_id: None }).unwrap();
    }

    pub(super) fn power(&self, cluster_id: &str, power: Power) {
        let cluster_id = cluster_id.to_owned();
        self.propose(Command::Power { cluster_id, user_id: None, power }).unwrap();
    }

    /// Waits until something holds; a leader that dies on the way is replaced.
    pub(super) async fn until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&Self) -> Option<String>,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.bury_the_dead();
            let Some(why_not) = holds(self) else { return };
            assert!(Instant::now() < deadline, "{what}: not yet: {why_not}");
            sleep(STEP).await;
        }
    }

    fn bury_the_dead(&mut self) {
        let is_dead = {
            let mut world = self.runtime.world();
            let changes = world.changes.len();
            let is_dead = world.death.is_some_and(|(at, _)| changes > at);
            if is_dead {
                world.death = None;
            }
            is_dead
        };
        if is_dead {
            self.lead();
        }
    }

    /// Waits until nothing is left to do and the hosts are as the records say.
    pub(super) async fn settle(&mut self, what: &str) {
        self.until(what, Self::unsettled).await;
    }

    /// Why the pool has not come to rest; `None` if it has.
    fn unsettled(&self) -> Option<String> {
        let state = self.state();
        if let Some(effect) = query::pending_effects(&state).first() {
            return Some(format!("{:?} is pending", effect.task));
        }
        for host in query::hosts(&state) {
            let count = query::cluster_ids(&state, &host.id).len();
            if host.is_autofill && count < host.capacity as usize {
                return Some(format!("{count} of {}", host.capacity));
            }
        }
        for cluster in query::clusters(&state) {
            let is_well = cluster.health == Health::Ok || !cluster.is_running;
            if cluster.phase != Phase::Ready || !is_well {
                return Some(format!(
                    "{}: {:?} {}",
                    cluster.id, cluster.health, cluster.last_error
                ));
            }
        }
        self.unlike_the_records(&state)
    }

    fn unlike_the_records(&self, state: &State) -> Option<String> {
        let mut wanted: BTreeMap<String, bool> = BTreeMap::new();
        for cluster in query::clusters(state) {
            for index in 0..cluster.kind().size {
                wanted.insert(cluster.container_name(index), cluster.is_running);
            }
        }
        let mut found = self.runtime.running();
        found.retain(|name, _| !name.starts_with("stranger"));
        (found != wanted).then(|| format!("{found:?} run, wanted {wanted:?}"))
    }

    /// Puts a container there that is not the pool's; or one of the pool's, with these labels.
    pub(super) fn put_container(&self, name: &str, labels: &[(&str, &str)]) {
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let container = Container {
            id: format!("id-of-{name}"),
            name: name.to_owned(),
            labels: labels.iter().map(label).collect(),
            state: ContainerState::Running,
        };
        let mut world = self.runtime.world();
        world.containers.insert(name.to_owned(), (container, Vec::new()));
    }

    /// Labels of a container that this installation made for an intent.
    pub(super) fn labels(&self, host: &str, cluster: &str, op: u64) -> Vec<(String, String)> {
        let installation = query::installation(&self.state()).unwrap();
        [
            (render::INSTALLATION, installation),
            (render::HOST, host.to_owned()),
            (render::CLUSTER, cluster.to_owned()),
            (render::OP, op.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    pub(super) fn index(&self) -> u64 {
        self.log.inner().1
    }

    pub(super) fn has_container(&self, name: &str) -> bool {
        self.runtime.world().containers.contains_key(name)
    }
}
