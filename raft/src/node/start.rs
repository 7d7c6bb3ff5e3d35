//! Brings a replica up: disk, core, peer port, in this order.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use openraft::{Instant as _, Raft, SnapshotPolicy, StepDownPolicy, async_runtime::WatchReceiver};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Leadership, Node,
    admission::Admission,
    age::Contact,
    core::{Core, Meters, OpenDisk},
    courier::Courier,
    election::Election,
    peer_api, stall,
};
use crate::{
    Config, Machine, StartError,
    members::join::take_place,
    membership::Round,
    rt,
    storage::{Disk, Opened},
    transport::{
        Credentials, NetworkFactory, Peers,
        server::{self, Entrance},
    },
};

/// Most requests that wait in the core. More would hide an overload instead of refusing it.
const CORE_QUEUE: u64 = 4096;
/// Most entries of one append to a follower.
const APPEND_ENTRIES_MAX: u64 = 2048;
/// A follower that lags further behind gets a snapshot.
const LAG_ENTRIES_MAX: u64 = 50_000;
/// Entries that are purged at a time.
const PURGE_BATCH: u64 = 2000;

impl<M: Machine> Node<M> {
    /// Opens the disk, checks all guards, starts the core and the peer port, and founds the
    /// cluster if this is the first start of all. Does not wait until the replica is ready; see
    /// [`Node::wait_ready`]. `initial` is the state before the first entry, equal on all replicas.
    ///
    /// # Errors
    /// [`StartError`]; the data directory is as it was then.
    pub async fn start(config: Config, initial: M) -> Result<Self, StartError> {
        Self::bring_up(config, initial, None).await
    }

    /// As [`Node::start`], on a peer port that is bound already: for tests, and for systems that
    /// hand over sockets. The listener must be non-blocking.
    ///
    /// # Errors
    /// [`StartError`]; the data directory is as it was then.
    pub async fn start_with_listener(
        config: Config,
        initial: M,
        listener: std::net::TcpListener,
    ) -> Result<Self, StartError> {
        Self::bring_up(config, initial, Some(listener)).await
    }

    async fn bring_up(
        mut config: Config,
        initial: M,
        listener: Option<std::net::TcpListener>,
    ) -> Result<Self, StartError> {
        check(&config)?;
        if let Some(join) = config.join.clone() {
            config.replica_id = take_place::<M>(&config, &join).await?;
        }
        let for_disk = config.clone();
        let opened = rt::blocking(move || Disk::open(&for_disk, initial)).await;
        let opened = opened.map_err(|error| StartError::Core(error.to_string()))??;
        let listener = listen(&config, listener).await?;
        let is_virgin = opened.is_virgin;
        let core = build(config, opened, listener.1).await?;
        let app = peer_api::router(core.clone());
        let door = server::Door {
            credentials: core.credentials.clone(),
            tls: core.config.peer_tls.clone(),
        };
        let (stop, tasks) = (core.stop.clone(), core.tasks.clone());
        core.tell_standing();
        rt::track(&core.tasks, server::serve(listener.0, app, door, stop, tasks));
        core.raft.run();
        rt::track(&core.tasks, core.clone().follow());
        let node = Self { core: core.clone() };
        if is_virgin && core.config.join.is_none() {
            match core.round().await {
                Round::Replaced => {
                    node.abort().await;
                    return Err(StartError::DiskReplaced { id: core.here() });
                }
                Round::AllVirgin(members) if core.is_founder() => core.found(members).await,
                Round::AllVirgin(_) | Round::Waiting => {}
            }
        }
        if core.config.join.is_none() {
            rt::track(&core.tasks, core.clone().join_cluster());
        }
        rt::track(&core.tasks, core.clone().stand_for_election());
        rt::track(&core.tasks, core.clone().keep_standing());
        rt::track(&core.tasks, core.clone().keep_members());
        rt::track(&core.tasks, core.clone().keep_levels());
        rt::track(&core.tasks, core.clone().pass_start_barrier());
        rt::track(&core.tasks, core.clone().take_snapshots());
        rt::track(&core.tasks, core.clone().watch_disk());
        rt::track(&core.tasks, core.clone().compare_digests());
        Ok(node)
    }
}

async fn listen(
    config: &Config,
    bound: Option<std::net::TcpListener>,
) -> Result<(Entrance, SocketAddr), StartError> {
    #[cfg(test)]
    if let Some(simulated) = crate::testing::sim::network::listen(&config.peer_listen) {
        return Ok(simulated);
    }
    let failed = |source| StartError::Io {
        doing: format!("listening for peers at {} failed", config.peer_listen),
        source,
    };
    let listener = match bound {
        Some(listener) => TcpListener::from_std(listener).map_err(failed)?,
        None => TcpListener::bind(&config.peer_listen).await.map_err(failed)?,
    };
    let addr = listener.local_addr().map_err(failed)?;
    Ok((Entrance::Bound(listener), addr))
}

async fn build<M: Machine>(
    config: Config,
    opened: Opened<M>,
    peer_addr: SocketAddr,
) -> Result<Arc<Core<M>>, StartError> {
    let Opened { identity, log, machine, board, snapshots, fatal, standing, .. } = opened;
    let credentials = Arc::new(Credentials::new(&identity, &config.cluster_token));
    let peers = Arc::new(Peers::new(credentials.clone(), config.peer_tls.clone()));
    let network = NetworkFactory::new(peers.clone(), config.replica_id, config.timers);
    let core_config = core_config(&config)
        .validate()
        .map_err(|error| StartError::Config(format!("timers: {error}")))?;
    let raft = Raft::build(config.replica_id, Arc::new(core_config), network, log.clone(), machine)
        .await
        .map_err(|error| StartError::Core(error.to_string()))?;
    // Not through the handle: what the core holds must not hold the core.
    let (data, server) = (raft.data_metrics(), raft.server_metrics());
    peers.say_confirmed(move || {
        let server = server.borrow_watched();
        if server.membership_config.voter_ids().eq([server.id]) {
            return Some(Duration::ZERO);
        }
        data.borrow_watched().last_quorum_acked.as_ref().map(|at| at.elapsed())
    });
    let admission =
        Admission::new(config.proposals_in_flight_max, config.proposal_bytes_in_flight_max);
    Ok(Arc::new(Core {
        membership: ArcSwap::from_pointee(board.latest().membership().clone()),
        admission: Arc::new(admission),
        identity,
        peer_addr,
        raft,
        board,
        disk: ArcSwapOption::from_pointee(OpenDisk { log, snapshots }),
        fatal,
        gather: Arc::default(),
        courier: Arc::new(Courier::new(peers.clone())),
        peers,
        credentials,
        // Two starts within a millisecond are not had from one disk.
        contact: Contact::new((config.wall_clock_ms)()),
        election: Election::new(config.timers, identity.incarnation),
        leadership: watch::Sender::new(Leadership::default()),
        burden: stall::burdened(standing.is_quarantined()),
        is_ready: watch::Sender::new(false),
        is_closing: AtomicBool::new(false),
        is_stopping: AtomicBool::new(false),
        receiving: Semaphore::new(1),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        changing: Arc::default(),
        leader_changes: Mutex::default(),
        leading_since: Mutex::new(None),
        targets: Mutex::new(HashMap::new()),
        reports: Mutex::default(),
        meters: Meters::default(),
        standing,
        comparisons: watch::Sender::new(0),
        digesting: tokio::sync::Mutex::default(),
        healing: Arc::default(),
        config,
    }))
}

fn core_config(config: &Config) -> openraft::Config {
    let timers = config.timers;
    openraft::Config {
        cluster_name: "quorate".to_owned(),
        heartbeat_interval: timers.heartbeat_ms,
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        // Elections are called by this crate, see `election.rs`.
        enable_elect: false,
        max_payload_entries: APPEND_ENTRIES_MAX,
        api_channel_size: Some(CORE_QUEUE),
        api_batch_capacity: CORE_QUEUE,
        api_batch_linger_ms: 0,
        replication_lag_threshold: LAG_ENTRIES_MAX,
        // Snapshots are taken by this crate, which also counts bytes and time.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.snapshot.entries_kept,
        purge_batch_size: PURGE_BATCH.min(config.snapshot.entries_kept / 4).max(1),
        backoff: "50ms 100ms ...1s".to_owned(),
        removed_leader_step_down: StepDownPolicy::After(150),
        quorum_loss_probe_interval: None,
        enable_pre_vote: Some(true),
        allow_log_reversion: None,
        // A leader that resumed without an election could give a log position away twice, because
        // followers may hold entries it never wrote itself; acknowledged writes would be lost.
        enable_leader_restore: Some(config.unsafe_leader_restore),
        ..openraft::Config::default()
    }
}

fn check(config: &Config) -> Result<(), StartError> {
    let wrong = |what: String| Err(StartError::Config(what));
    if config.cluster_token.is_empty() {
        return wrong("the cluster token is empty".to_owned());
    }
    let ids: BTreeSet<_> = config.peers.iter().map(|peer| peer.id).collect();
    if ids.len() != config.peers.len() {
        return wrong("two replicas of the list have the same id".to_owned());
    }
    let addresses: BTreeSet<_> = config.peers.iter().map(|peer| &peer.peer_addr).collect();
    if addresses.len() != config.peers.len() {
        return wrong("two replicas of the list have the same peer address".to_owned());
    }
    if let Some(join) = &config.join {
        if !config.peers.is_empty() {
            return wrong("a replica either founds a cluster with others or joins one".to_owned());
        }
        if join.members.is_empty() || join.peer_addr.is_empty() {
            return wrong("joining needs addresses of members, and an own one".to_owned());
        }
    } else if !ids.contains(&config.replica_id) {
        return wrong(format!("replica {} is not in the list of replicas", config.replica_id));
    }
    let timers = config.timers;
    if timers.heartbeat_ms == 0
        || timers.heartbeat_ms >= timers.election_min_ms
        || timers.election_min_ms >= timers.election_max_ms
    {
        return wrong(format!(
            "the heartbeat ({} ms) must be shorter than the shortest election time-out ({} ms), \
             and that shorter than the longest ({} ms)",
            timers.heartbeat_ms, timers.election_min_ms, timers.election_max_ms
        ));
    }
    Ok(())
}
