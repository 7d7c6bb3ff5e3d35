//! `quorate serve`: one replica, from its configuration to its graceful stop.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::{ArgMatches, Args};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{Outcome, exit::Exit, gauges, output};
use crate::{
    api::{
        self, App, Guard,
        admin::Stopping,
        auth::Keeper,
        cello::Doors,
        profile::Profile,
        share::{ShareLimits, Shares},
        undermoon::ReplicaAddresses,
    },
    broker::{Broker, Foundation, engine::Role},
    client::{
        backups::{
            Backups,
            bucket::{Bucket, BucketError},
            dir::BackupDir,
        },
        host_ping::HostPing,
        node_pool::NodePool,
        node_tls::NodeTls,
        runtime::docker::DockerRuntime,
        service_probe::NetProbe,
    },
    config::{
        self, BackupPlace, BackupSchedule, Config,
        layer::{ConsistencyName, DoorsName, Layer, ProfileName},
    },
    control::{self, Tools, backup::Schedule},
    domain::undermoon::document::Document,
    observe::{self, kvrocks::Observatory},
    server::{self, Limits, Server},
    telemetry::{self, Program},
    tls::{self, Tls},
};

/// Longest wait for another replica to take over.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the engine to stop after the clients are served.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time to answer who asked while this replica waited to be taken in.
const WAITING_ROOM_CLOSE: Duration = Duration::from_millis(500);

/// Arguments of `quorate serve`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TOML file; variables and flags win over it.
    #[arg(long, env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,
    /// Stop when standard input ends, so that the replica does not outlive who started it.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
    #[command(flatten)]
    layer: Layer,
}

pub(super) async fn run(arguments: &Arguments, matches: &ArgMatches) -> Outcome {
    let resolved = config::load(arguments.config.as_deref(), &arguments.layer, matches)?;
    let config = resolved.config;
    telemetry::start_logging(&config.log_level, config.log_format)?;
    telemetry::start_metrics(Program::Replica)?;
    for warning in &resolved.warnings {
        tracing::warn!(warning, "configuration");
    }
    let node_tls = config.node_tls.as_ref().map(NodeTls::load).transpose()?;
    let nodes = Arc::new(NodePool::new(node_tls, config.keys.clone()));
    let tls = Tls::load(config.tls.clone(), config.peer_tls.clone())?;
    let docker = Arc::new(DockerRuntime::new(config.docker_tls.clone()));
    let services = Arc::new(NetProbe::new()?);
    let mut signals = Signals::new(arguments.stop_with_stdin)?;
    let ports = bind_all(&config).await?;
    let import = metadata_to_import(&config).await?;
    let backups = backups(&config)?;
    let foundation = Foundation { seed: config.seed.clone(), import };
    let waiting = waiting_room(&config, &ports, &tls)?;
    let broker = tokio::select! {
        started = Broker::start(config.engine(tls.peers.clone()), foundation) => started?,
        reason = signals.next() => {
            tracing::info!(reason, "stopped before the start was over");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let broker = broker.with_keys(config.keys.clone());
    if let Some(waiting) = waiting {
        waiting.stop(WAITING_ROOM_CLOSE).await;
    }
    broker.keep_events(config.events_kept);
    let stopping = Stopping::default();
    let observatory = Arc::new(Observatory::new(nodes));
    let ping: Arc<dyn HostPing> = Arc::<DockerRuntime>::clone(&docker);
    let outward = (&observatory, &ping);
    let server = serve(&config, &broker, ports, (&stopping, &backups), outward, &tls);
    tokio::spawn(tls::keep_current(tls));
    tokio::spawn(gauges::keep(broker.clone(), config.data_dir.clone()));
    let tools = Tools { observatory: Arc::clone(&observatory), runtime: docker, services };
    control::start(&broker, tools);
    if let (Some(schedule), Some(backups)) = (config.backup_schedule, backups) {
        let BackupSchedule { interval, keep } = schedule;
        control::start_backups(&broker, Schedule { backups, interval, keep });
    }
    tokio::spawn(observe::kvrocks::run(broker.clone(), Arc::clone(&observatory)));
    tokio::select! {
        message = broker.fatal() => exit_after_failure(&message),
        reason = signals.next() => tracing::info!(reason, "stopping"),
    }
    tokio::spawn(async move {
        signals.next().await;
        output::complain("quorate: stopped at once by a second signal");
        process::exit(Exit::Interrupted.code().into());
    });
    tokio::select! {
        message = broker.fatal() => exit_after_failure(&message),
        () = stop(&config, &broker, &server, &stopping) => Ok(ExitCode::SUCCESS),
    }
}

/// Where backups are kept, if anywhere.
fn backups(config: &Config) -> Result<Option<Arc<Backups>>, BucketError> {
    Ok(match &config.backup_place {
        None => None,
        Some(BackupPlace::Dir(path)) => Some(Arc::new(Backups::Dir(BackupDir::new(path.clone())))),
        Some(BackupPlace::Bucket(bucket)) => Some(Arc::new(Backups::Bucket(Bucket::new(bucket)?))),
    })
}

/// Only exiting tells the others that this replica is gone; nothing is worth waiting for.
fn exit_after_failure(reason: &str) -> ! {
    tracing::error!(reason, "the replica cannot go on");
    output::complain(&format!("quorate: {reason}"));
    process::exit(Exit::Failed.code().into());
}

async fn bind_all(config: &Config) -> io::Result<Vec<TcpListener>> {
    let mut ports = Vec::new();
    for listener in &config.listeners {
        ports.push(server::bind(&listener.address).await?);
    }
    Ok(ports)
}

fn serve(
    config: &Config,
    broker: &Broker,
    ports: Vec<TcpListener>,
    (stopping, backups): (&Stopping, &Option<Arc<Backups>>),
    (observatory, ping): (&Arc<Observatory>, &Arc<dyn HostPing>),
    tls: &Tls,
) -> Server {
    let replica_addresses = ReplicaAddresses::new(config.replica_addresses.clone());
    let server = Server::new(limits(config));
    let guard = guard(config);
    for (port, listener) in ports.into_iter().zip(&config.listeners) {
        let settings = api::Settings {
            request_timeout: config.request_timeout,
            read_staleness_max: config.read_staleness_max,
            is_linearizable_by_default: config.default_consistency == ConsistencyName::Linearizable,
            requests_in_flight_max: config.requests_in_flight_max,
            guard: Guard { anonymous: listener.anonymous.clone(), ..guard.clone() },
            undermoon: api::undermoon::Settings {
                profile: profile(listener.undermoon_profile),
                replica_addresses: replica_addresses.clone(),
            },
            kvrocks: api::kvrocks::Settings {
                profile: profile(listener.kvrocks_profile),
                observatory: Arc::clone(observatory),
            },
            cello: api::cello::Settings {
                doors: doors(listener.pool_doors),
                ping: Some(Arc::clone(ping)),
            },
            admin: api::admin::Settings { stopping: stopping.clone(), backups: backups.clone() },
        };
        if let Ok(address) = port.local_addr() {
            let replica = broker.status().replica_id;
            tracing::info!(replica, %address, "clients are served");
        }
        let tls = tls.clients.clone().filter(|_| listener.is_tls);
        let app = App::new(broker.clone(), settings);
        server.serve_with(tls, port, move |request| app.clone().answer(request));
    }
    server
}

/// Answers on the client ports while a replica that joins waits to be taken in, which may take as
/// long as it likes: whoever watches the process must not take it for dead.
fn waiting_room(config: &Config, ports: &[TcpListener], tls: &Tls) -> io::Result<Option<Server>> {
    if config.join.is_none() {
        return Ok(None);
    }
    let server = Server::new(limits(config));
    for (port, listener) in ports.iter().zip(&config.listeners) {
        let port = TcpListener::from_std(port.as_fd().try_clone_to_owned()?.into())?;
        let tls = tls.clients.clone().filter(|_| listener.is_tls);
        server.serve_with(tls, port, server::routed(api::waiting::router()));
    }
    Ok(Some(server))
}

const fn limits(config: &Config) -> Limits {
    Limits {
        connections_max: config.connections_max,
        head_timeout: config.head_timeout,
        write_timeout: config.write_timeout,
    }
}

/// Checks and counts all clients of this process.
fn guard(config: &Config) -> Guard {
    let bootstrap = config.admin_token.as_ref().map(|token| token.0.as_str());
    let limits = config.client_limits;
    let shares = Shares::new(ShareLimits {
        requests_per_s: limits.requests_per_s,
        burst: limits.burst,
        in_flight_max: limits.in_flight_max,
    });
    let keeper = Keeper::new(&config.cluster_token.0, bootstrap);
    Guard { keeper, shares: Arc::new(shares), ..Guard::default() }
}

const fn profile(name: ProfileName) -> Profile {
    match name {
        ProfileName::Document => Profile::Document,
        ProfileName::Program => Profile::Program,
    }
}

const fn doors(name: DoorsName) -> Doors {
    match name {
        DoorsName::All => Doors::All,
        DoorsName::Users => Doors::Users,
        DoorsName::Operators => Doors::Operators,
        DoorsName::None => Doors::None,
    }
}

/// The original broker's metadata. What is wrong with it matters only to a replica that is new.
async fn metadata_to_import(config: &Config) -> io::Result<Option<Document>> {
    let Some(path) = &config.import else { return Ok(None) };
    match read_metadata(path).await {
        Ok(document) => Ok(document),
        Err(error) if is_new(&config.data_dir).await => {
            let message = format!("the metadata {} cannot be imported: {error}", path.display());
            Err(io::Error::new(error.kind(), message))
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "metadata file ignored");
            Ok(None)
        }
    }
}

/// A missing file and `null` stand for an empty broker, as in the original.
async fn read_metadata(path: &Path) -> io::Result<Option<Document>> {
    let bytes = match tokio::fs::read(path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), "there is no metadata to import");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if bytes.trim_ascii() == b"null" {
        return Ok(None);
    }
    let document = api::undermoon::decode_document(&bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    document.validate().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(document))
}

async fn is_new(data_dir: &Path) -> bool {
    match tokio::fs::read_dir(data_dir).await {
        Ok(mut entries) => !matches!(entries.next_entry().await, Ok(Some(_))),
        Err(_) => true,
    }
}

/// Stops in the order in which nobody notices: no new clients, another leader, answers to what
/// was accepted, and only then the engine.
async fn stop(config: &Config, broker: &Broker, server: &Server, stopping: &Stopping) {
    let started = Instant::now();
    stopping.set();
    if broker.status().role == Role::Leader {
        match broker.transfer_leadership(None, HAND_OVER_TIMEOUT).await {
            Ok(leader) => tracing::info!(leader, "handed over"),
            Err(error) => tracing::info!(%error, "not handed over"),
        }
    }
    if !server.stop(config.stop_timeout).await {
        tracing::warn!("requests were cut off");
    }
    broker.shutdown(CLOSE_TIMEOUT).await;
    tracing::info!(elapsed_ms = telemetry::millis(started.elapsed()), "stopped");
}

/// What makes the program stop.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stdin_ended: Option<oneshot::Receiver<()>>,
}

impl Signals {
    /// `watches_stdin` makes the end of standard input a reason, too.
    pub(super) fn new(watches_stdin: bool) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin_ended: watches_stdin.then(watch_stdin),
        })
    }

    /// Waits for the next reason to stop. May be given up and called again.
    pub(super) async fn next(&mut self) -> &'static str {
        let stdin_ended = async {
            match &mut self.stdin_ended {
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => return "SIGTERM",
            _ = self.interrupt.recv() => return "SIGINT",
            () = stdin_ended => {}
        }
        self.stdin_ended = None;
        "end of standard input"
    }
}

/// On a thread of its own, because a read of standard input cannot be cancelled and the runtime
/// would wait for it.
fn watch_stdin() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        // Nothing is expected; its end and its failure mean the same.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        let _ = sender.send(());
    });
    receiver
}
