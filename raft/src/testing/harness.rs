//! Whole clusters in one process: real TCP on loopback, real disks in a temporary directory.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use super::register::{RegisterCommand, RegisterReply, Registers};
use crate::{
    Applied, Config, JoinConfig, Node, PeerConfig, Proposal, ProposeError, ReadMode, ReplicaId,
    RequestId, StartError, Timers, View, config::SnapshotPolicy,
};

/// Nothing in a test takes longer, or the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

static CLUSTERS: AtomicU32 = AtomicU32::new(0);
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// Replicas with their disks and addresses; some of them running.
pub(crate) struct Cluster {
    dir: TempDir,
    peers: Vec<PeerConfig>,
    bound: BTreeMap<ReplicaId, TcpListener>,
    tweak: fn(&mut Config),
    /// Replicas that were no founders.
    joined: Vec<PeerConfig>,
    joined_last: ReplicaId,
    nodes: BTreeMap<ReplicaId, Node<Registers>>,
    quirks: BTreeMap<ReplicaId, u64>,
}

impl Cluster {
    /// Replicas `1..=size`, none of them started.
    pub(crate) fn new(size: u64) -> Self {
        Self::with(size, |_| {})
    }

    /// As [`Cluster::new`], with a change to every configuration.
    pub(crate) fn with(size: u64, tweak: fn(&mut Config)) -> Self {
        // An address of its own for each cluster: a port that was let go of for a restart cannot
        // be taken by an outgoing connection of another test in the meantime.
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let host =
            format!("127.{}.{}.{}", 1 + process % 200, process / 200 % 250, 1 + number % 250);
        let mut peers = Vec::new();
        let mut bound = BTreeMap::new();
        for id in 1..=size {
            let listener = TcpListener::bind((host.as_str(), 0)).expect("a port");
            peers.push(PeerConfig {
                id,
                peer_addr: listener.local_addr().expect("an address").to_string(),
                client_url: format!("http://replica-{id}"),
            });
            bound.insert(id, listener);
        }
        let dir = tempfile::tempdir().expect("a directory");
        Self {
            dir,
            bound,
            tweak,
            joined: Vec::new(),
            joined_last: size,
            peers,
            nodes: BTreeMap::new(),
            quirks: BTreeMap::new(),
        }
    }

    /// Starts all replicas and waits until all are ready.
    pub(crate) async fn started(size: u64) -> Self {
        Self::started_with(size, |_| {}).await
    }

    /// As [`Cluster::started`], with a change to every configuration.
    pub(crate) async fn started_with(size: u64, tweak: fn(&mut Config)) -> Self {
        let mut cluster = Self::with(size, tweak);
        cluster.start_all().await;
        cluster.all_ready().await;
        cluster
    }

    /// Makes a replica that is not started yet go wrong; see [`Registers::with_quirk`].
    pub(crate) fn spoil(&mut self, id: ReplicaId) {
        self.quirks.insert(id, 100 + id);
    }

    fn machine(&self, id: ReplicaId) -> Registers {
        Registers::with_quirk(self.quirks.get(&id).copied().unwrap_or_default())
    }

    /// The configuration of a replica.
    pub(crate) fn config(&self, id: ReplicaId) -> Config {
        let mut config = Config {
            replica_id: id,
            cluster_token: "a token for tests".to_owned(),
            peers: self.peers.clone(),
            join: None,
            promote_after: Duration::from_millis(300),
            data_dir: self.data_dir(id),
            peer_listen: self.peers[usize::try_from(id - 1).expect("small")].peer_addr.clone(),
            peer_tls: None,
            timers: Timers::for_tests(),
            proposals_in_flight_max: 1000,
            proposal_bytes_in_flight_max: 64 * 1024 * 1024,
            snapshot: SnapshotPolicy::default(),
            wall_clock_ms,
            levels: crate::config::LevelConfig::default(),
            digest_interval: Duration::from_millis(200),
            unsafe_leader_restore: false,
        };
        (self.tweak)(&mut config);
        config
    }

    /// The data directory of a replica.
    pub(crate) fn data_dir(&self, id: ReplicaId) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    /// The port of a replica that does not run; bound to it.
    pub(crate) fn listener(&mut self, id: ReplicaId) -> TcpListener {
        let listener = self.bound.remove(&id).unwrap_or_else(|| {
            let addr: SocketAddr = self.place(id).peer_addr.parse().expect("an address");
            TcpListener::bind(addr).expect("the port of a replica that has stopped")
        });
        listener.set_nonblocking(true).expect("a socket");
        listener
    }

    /// Tries to start a replica.
    pub(crate) async fn try_start(&mut self, config: Config) -> Result<(), StartError> {
        let id = config.replica_id;
        let listener = self.listener(id);
        let machine = self.machine(id);
        let node = Node::start_with_listener(config, machine, listener).await?;
        self.nodes.insert(id, node);
        Ok(())
    }

    /// The addresses of a replica that is not started yet.
    pub(crate) fn reserve(&mut self, id: ReplicaId) -> (String, String) {
        while self.joined.len() < usize::try_from(id).expect("small") - self.peers.len() {
            let host = self.peers[0].peer_addr.rsplit_once(':').expect("an address").0;
            let listener = TcpListener::bind((host, 0)).expect("a port");
            let id = u64::try_from(self.peers.len() + self.joined.len()).expect("small") + 1;
            let peer_addr = listener.local_addr().expect("an address").to_string();
            self.bound.insert(id, listener);
            let client_url = format!("http://replica-{id}");
            self.joined.push(PeerConfig { id, peer_addr, client_url });
        }
        let peer = self.place(id);
        (peer.peer_addr.clone(), peer.client_url.clone())
    }

    /// Starts one more replica and has it join; `id` is what its configuration says.
    pub(crate) async fn join(&mut self, id: Option<ReplicaId>) -> Result<ReplicaId, StartError> {
        self.joined_last += 1;
        let next = self.joined_last;
        self.reserve(next);
        self.rejoin(next, id).await
    }

    /// Starts a replica that joins, or has joined before, at the place of `at`.
    pub(crate) async fn rejoin(
        &mut self,
        at: ReplicaId,
        id: Option<ReplicaId>,
    ) -> Result<ReplicaId, StartError> {
        let peer = self.place(at).clone();
        let listener = self.listener(at);
        let mut config = self.config(1);
        config.replica_id = id.unwrap_or(0);
        config.data_dir = self.data_dir(at);
        config.peer_listen.clone_from(&peer.peer_addr);
        config.join = Some(JoinConfig {
            members: self.peers.iter().map(|peer| peer.peer_addr.clone()).collect(),
            peer_addr: peer.peer_addr,
            client_url: peer.client_url,
        });
        config.peers.clear();
        let node = Node::start_with_listener(config, Registers::default(), listener).await?;
        let id = node.status().replica_id;
        self.nodes.insert(id, node);
        Ok(id)
    }

    /// Starts a replica again, the way it was started before.
    pub(crate) async fn start_any(&mut self, id: ReplicaId) {
        if self.peers.iter().any(|peer| peer.id == id) {
            self.start(id).await;
        } else {
            self.rejoin(id, None).await.expect("starts");
        }
    }

    /// Gives a founding replica that does not run another port; returns its new address.
    pub(crate) fn relocate(&mut self, id: ReplicaId) -> String {
        let host = self.peers[0].peer_addr.rsplit_once(':').expect("an address").0;
        let listener = TcpListener::bind((host, 0)).expect("a port");
        let addr = listener.local_addr().expect("an address").to_string();
        self.bound.insert(id, listener);
        let place = self.peers.iter_mut().find(|peer| peer.id == id).expect("a founder");
        place.peer_addr.clone_from(&addr);
        addr
    }

    fn place(&self, id: ReplicaId) -> &PeerConfig {
        let mut places = self.peers.iter().chain(&self.joined);
        places.find(|peer| peer.id == id).expect("a replica with an address")
    }

    /// Starts a replica.
    pub(crate) async fn start(&mut self, id: ReplicaId) {
        self.try_start(self.config(id)).await.expect("starts");
    }

    /// Starts all replicas that do not run, at the same time.
    pub(crate) async fn start_all(&mut self) {
        let stopped: Vec<_> = self
            .peers
            .iter()
            .map(|peer| peer.id)
            .filter(|id| !self.nodes.contains_key(id))
            .collect();
        let starts: Vec<_> = stopped
            .iter()
            .map(|id| (self.config(*id), self.machine(*id), self.listener(*id)))
            .map(|(config, machine, bound)| Node::start_with_listener(config, machine, bound))
            .collect();
        let started = futures::future::join_all(starts).await;
        for (id, node) in stopped.into_iter().zip(started) {
            self.nodes.insert(id, node.expect("starts"));
        }
    }

    /// A running replica.
    pub(crate) fn node(&self, id: ReplicaId) -> &Node<Registers> {
        &self.nodes[&id]
    }

    /// Takes a replica out, still running.
    pub(crate) fn take(&mut self, id: ReplicaId) -> Node<Registers> {
        self.nodes.remove(&id).expect("a running replica")
    }

    /// The replicas that run.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (ReplicaId, &Node<Registers>)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Waits until all running replicas are ready.
    pub(crate) async fn all_ready(&self) {
        for (id, node) in self.nodes() {
            let ready = tokio::time::timeout(PATIENCE, node.wait_ready()).await;
            assert!(ready.is_ok(), "replica {id} is not ready: {:?}", node.status());
        }
    }

    /// Waits until all running replicas know one leader, which runs; returns it.
    pub(crate) async fn leader(&self) -> ReplicaId {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let known: Vec<_> = self
                .nodes()
                .map(|(_, node)| *node.watch_leadership().borrow())
                .map(|leadership| (leadership.term, leadership.leader))
                .collect();
            if let Some((_, Some(leader))) = known.first()
                && known.iter().all(|other| other == &known[0])
                && self.nodes.contains_key(leader)
            {
                return *leader;
            }
            assert!(Instant::now() < deadline, "no common leader: {known:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A running replica that does not lead.
    pub(crate) async fn follower(&self) -> ReplicaId {
        let leader = self.leader().await;
        self.nodes().map(|(id, _)| id).find(|id| *id != leader).expect("a follower")
    }

    /// Waits until all running replicas have applied an index.
    pub(crate) async fn all_applied(&self, index: u64) {
        for (id, node) in self.nodes() {
            let mut applied = node.watch_applied();
            let reached = applied.wait_for(|applied| *applied >= index);
            let reached = tokio::time::timeout(PATIENCE, reached).await;
            assert!(reached.is_ok(), "replica {id} does not apply {index}: {:?}", node.status());
        }
    }

    /// Stops all replicas.
    pub(crate) async fn stop(self) {
        for node in self.nodes.values() {
            node.abort().await;
        }
    }
}

/// A request id nobody else uses.
pub(crate) fn fresh_id() -> RequestId {
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_le_bytes());
    RequestId(id)
}

/// A proposal under a request id.
pub(crate) fn proposal(
    request_id: RequestId,
    command: RegisterCommand,
) -> Proposal<RegisterCommand> {
    Proposal { request_id, actor: "test".to_owned(), fence_term: None, command }
}

/// Adds to a register.
pub(crate) fn add(key: &str, amount: u64) -> Proposal<RegisterCommand> {
    proposal(fresh_id(), RegisterCommand::Add { key: key.to_owned(), amount })
}

/// Sets a register through a replica.
pub(crate) async fn put(
    node: &Node<Registers>,
    key: &str,
    value: u64,
) -> Result<Applied<RegisterReply>, ProposeError> {
    let command = RegisterCommand::Put { key: key.to_owned(), value };
    node.propose(proposal(fresh_id(), command), soon()).await
}

/// A linearizable read.
pub(crate) async fn current(node: &Node<Registers>) -> View<Registers> {
    node.read(ReadMode::Linearizable, soon()).await.expect("a quorum")
}

/// A local read without bounds.
pub(crate) fn local() -> ReadMode {
    ReadMode::Local { staleness_max: None, min_index: 0 }
}

/// A deadline nothing in a test should reach.
pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[allow(clippy::disallowed_methods)]
fn wall_clock_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_millis()).expect("milliseconds fit")
}
