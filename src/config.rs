//! What a replica is told: a TOML file, below environment variables, below flags.
//!
//! Begin with [`layer::Layer`], which has every option; [`source`] says which source wins, and
//! [`Config`] is what has been judged and can be used. Unknown keys of the file are errors.

mod backup;
pub mod layer;
mod security;
pub mod source;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ArgMatches;

use self::layer::{CompressionName, ConsistencyName, DoorsName, Layer, LogFormat, ProfileName};
use crate::{
    broker::engine::{self, JoinConfig, LevelConfig, PeerConfig, PeerTls, SnapshotPolicy, Timers},
    client::{node_tls::TlsFiles, runtime::docker::TlsFiles as DockerTlsFiles},
    clock,
    domain::{
        system::{
            FEATURE_LEVEL_FOUNDED, FEATURE_LEVEL_MAX, FEATURE_LEVEL_MEMBERS,
            access::{Family, Role},
        },
        undermoon::{
            config::{ClusterConfig, CompressionStrategy, MigrationConfig},
            settings::{Seed, Settings},
        },
    },
    seal::{KeyFileError, KeyRing},
    tls,
};
pub use backup::{BackupPlace, BackupSchedule};
pub use source::Origin;

/// Token of a cluster whose operator gave none; accepted on loopback only.
const TOKEN_DEFAULT: &str = "quorate";
/// Shortest time between two comparisons of all members' states, milliseconds.
const DIGEST_INTERVAL_MIN_MS: u64 = 100;
/// How long a learner must have kept up before it gets its vote.
const PROMOTE_AFTER: Duration = Duration::from_secs(5);
/// Most founding replicas; more only make every write slower.
const PEERS_MAX: usize = 7;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has unknown keys or values.
    #[error("the configuration file {path} is wrong: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The keys that seal secrets cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A value cannot work.
    #[error("the configuration cannot work: {0}")]
    Invalid(String),
}

fn invalid(reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid(reason.into())
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("******")
    }
}

/// One client listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `host:port`; port 0 lets the system pick.
    pub address: String,
    /// Whose promises `/api/v2` keeps here.
    pub undermoon_profile: ProfileName,
    /// Whose promises `/api/v1` keeps.
    pub kvrocks_profile: ProfileName,
    /// What of the cluster pool is served here.
    pub pool_doors: DoorsName,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// What may be done here without a token.
    pub anonymous: BTreeMap<Family, Role>,
}

/// Bounds of each client; zero stands for no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Requests a second in the long run.
    pub requests_per_s: u32,
    /// Requests at once after a pause.
    pub burst: u32,
    /// Requests at a time.
    pub in_flight_max: u32,
}

/// Everything a replica needs to know, judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica; 0 if it joins and the cluster gives the id.
    pub replica_id: u64,
    /// All founding replicas.
    pub peers: Vec<PeerConfig>,
    /// Set for a replica that joins a running cluster; it has no `peers` then.
    pub join: Option<JoinConfig>,
    /// Names the cluster.
    pub cluster_token: Secret,
    /// Where the replica keeps everything.
    pub data_dir: PathBuf,
    /// Where other replicas connect.
    pub peer_listen: String,
    /// Intervals of the protocol.
    pub timers: Timers,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// TLS of the client ports; none if absent.
    pub tls: Option<tls::Files>,
    /// TLS between replicas; none if absent.
    pub peer_tls: Option<tls::Files>,
    /// Token that may do everything.
    pub admin_token: Option<Secret>,
    /// Keys that seal and open secrets; none if they stay readable.
    pub keys: KeyRing,
    /// Bounds of each client.
    pub client_limits: ClientLimits,
    /// Time for an ordinary request.
    pub request_timeout: Duration,
    /// Oldest local state that is served; `None` serves any.
    pub read_staleness_max: Option<Duration>,
    /// How current reads are that do not say it themselves.
    pub default_consistency: ConsistencyName,
    /// Most requests at a time on one listener.
    pub requests_in_flight_max: usize,
    /// Most open client connections.
    pub connections_max: usize,
    /// Time for the head of a request to arrive.
    pub head_timeout: Duration,
    /// Time for a client to take anything of its answer.
    pub write_timeout: Duration,
    /// Most events kept for readers of the change feed.
    pub events_kept: usize,
    /// Time to finish accepted requests when stopping.
    pub stop_timeout: Duration,
    /// Most proposals in flight on the leader.
    pub proposals_in_flight_max: usize,
    /// Most bytes of proposals in flight on the leader.
    pub proposal_bytes_in_flight_max: usize,
    /// When a snapshot is taken.
    pub snapshot: SnapshotPolicy,
    /// Replicated settings of a new cluster.
    pub seed: Seed,
    /// First value of the list behind GET config.
    pub replica_addresses: Vec<String>,
    /// Metadata of the original broker to import when founding.
    pub import: Option<PathBuf>,
    /// Where this replica keeps backups.
    pub backup_place: Option<BackupPlace>,
    /// When it takes them by itself, and which it keeps.
    pub backup_schedule: Option<BackupSchedule>,
    /// TLS to Kvrocks nodes; none if absent.
    pub node_tls: Option<TlsFiles>,
    /// Certificates for Docker daemons that want TLS; none if absent.
    pub docker_tls: Option<DockerTlsFiles>,
    /// What is logged.
    pub log_level: String,
    /// Shape of log lines.
    pub log_format: LogFormat,
    /// Highest feature level this replica offers, at most what the program knows.
    pub feature_level_max: u64,
    /// Whether it raises the level by itself while it leads.
    pub feature_level_auto: bool,
    /// Between two comparisons of all members' states; zero for never.
    pub digest_interval: Duration,
    /// Tests only.
    pub unsafe_leader_restore: bool,
}

/// A configuration with its explanation.
#[derive(Debug)]
pub struct Resolved {
    /// What holds.
    pub config: Config,
    /// Key, value and origin of every option, in the order of their names.
    pub explained: Vec<(String, String, Origin)>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
}

/// Reads all sources and judges what they say.
///
/// # Errors
/// [`ConfigError`], naming the option.
pub fn load(
    file: Option<&Path>,
    flags: &Layer,
    matches: &ArgMatches,
) -> Result<Resolved, ConfigError> {
    let merged = source::merge(file, flags, matches)?;
    let mut warnings = merged.warnings;
    let config = judge(merged.layer, &mut warnings)?;
    let shown = merged.origins.into_iter().filter(|(key, _)| key != "unsafe_leader_restore");
    let explained = shown.map(|(key, (value, origin))| {
        let value = match value {
            _ if key == "cluster_token" || key == "admin_token" => "******".to_owned(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        (key, value, origin)
    });
    Ok(Resolved { config, explained: explained.collect(), warnings })
}

impl Config {
    /// What the engine is told.
    pub fn engine(&self, peer_tls: Option<PeerTls>) -> engine::Config {
        engine::Config {
            replica_id: self.replica_id,
            cluster_token: self.cluster_token.0.clone(),
            peers: self.peers.clone(),
            join: self.join.clone(),
            promote_after: PROMOTE_AFTER,
            data_dir: self.data_dir.clone(),
            peer_listen: self.peer_listen.clone(),
            peer_tls,
            timers: self.timers,
            proposals_in_flight_max: self.proposals_in_flight_max,
            proposal_bytes_in_flight_max: self.proposal_bytes_in_flight_max,
            snapshot: self.snapshot,
            wall_clock_ms: clock::now_ms,
            levels: LevelConfig {
                known_max: self.feature_level_max,
                members_min: FEATURE_LEVEL_MEMBERS,
                is_automatic: self.feature_level_auto,
                program: concat!("quorate ", env!("CARGO_PKG_VERSION")).to_owned(),
            },
            digest_interval: self.digest_interval,
            unsafe_leader_restore: self.unsafe_leader_restore,
        }
    }
}

/// Every option has a default, so an absent one is a slip of this module.
fn given<T>(value: Option<T>, key: &str) -> Result<T, ConfigError> {
    value.ok_or_else(|| invalid(format!("{key} has no value")))
}

fn above_zero(value: Option<u64>, key: &str) -> Result<usize, ConfigError> {
    let value = given(value, key)?;
    match usize::try_from(value) {
        Ok(0) => Err(invalid(format!("{key} must be above zero"))),
        Ok(value) => Ok(value),
        Err(_) => Err(invalid(format!("{key} is too large"))),
    }
}

fn milliseconds(value: Option<u64>, key: &str) -> Result<Duration, ConfigError> {
    Ok(Duration::from_millis(above_zero(value, key)? as u64))
}

fn judge(layer: Layer, warnings: &mut Vec<String>) -> Result<Config, ConfigError> {
    let profiles = [
        given(layer.undermoon_profile, "undermoon_profile")?,
        given(layer.kvrocks_profile, "kvrocks_profile")?,
    ];
    let listen = given(layer.listen.clone(), "listen")?;
    let tls = security::client_port_tls(&layer)?;
    let peer_tls = security::peer_tls(&layer)?;
    let mut listeners = listen
        .iter()
        .map(|text| listener(text, profiles, tls.is_some()))
        .collect::<Result<Vec<_>, _>>()?;
    security::open(&mut listeners, &layer, warnings)?;
    let first = listeners.first().ok_or_else(|| invalid("listen is empty"))?;
    let cluster = cluster(&layer, first, warnings)?;
    let staleness_ms = given(layer.read_staleness_max_ms, "read_staleness_max_ms")?;
    let recover = given(layer.recover_from_meta_file, "recover_from_meta_file")?;
    if recover && layer.meta_filename.is_none() {
        return Err(invalid("recover_from_meta_file needs meta_filename"));
    }
    let node_tls = node_tls(&layer, warnings)?;
    let docker_tls = docker_tls(&layer)?;
    let backup_place = backup::place(&layer)?;
    let backup_schedule = backup::schedule(&layer)?;
    let feature_level_max = feature_level_max(&layer)?;
    Ok(Config {
        replica_id: cluster.replica_id,
        peers: cluster.peers,
        join: cluster.join,
        cluster_token: cluster.token,
        peer_listen: cluster.peer_listen,
        data_dir: given(layer.data_dir.clone(), "data_dir")?,
        timers: timers(&layer)?,
        listeners,
        tls,
        peer_tls,
        admin_token: security::admin_token(&layer)?,
        keys: security::keys(&layer)?,
        client_limits: security::client_limits(&layer)?,
        request_timeout: milliseconds(layer.request_timeout_ms, "request_timeout_ms")?,
        read_staleness_max: (staleness_ms > 0).then(|| Duration::from_millis(staleness_ms)),
        default_consistency: given(layer.default_consistency, "default_consistency")?,
        requests_in_flight_max: above_zero(layer.requests_in_flight_max, "requests_in_flight_max")?,
        connections_max: above_zero(layer.connections_max, "connections_max")?,
        head_timeout: milliseconds(layer.head_timeout_ms, "head_timeout_ms")?,
        write_timeout: milliseconds(layer.write_timeout_ms, "write_timeout_ms")?,
        events_kept: above_zero(layer.events_kept, "events_kept")?,
        stop_timeout: milliseconds(layer.stop_timeout_ms, "stop_timeout_ms")?,
        proposals_in_flight_max: above_zero(
            layer.proposals_in_flight_max,
            "proposals_in_flight_max",
        )?,
        proposal_bytes_in_flight_max: above_zero(
            layer.proposal_bytes_in_flight_max,
            "proposal_bytes_in_flight_max",
        )?,
        snapshot: snapshot(&layer)?,
        digest_interval: digest_interval(&layer)?,
        seed: seed(&layer)?,
        replica_addresses: layer.replica_addresses.unwrap_or_default(),
        import: layer.meta_filename.filter(|_| recover),
        backup_schedule,
        backup_place,
        node_tls,
        docker_tls,
        log_level: given(layer.log_level, "log_level")?,
        log_format: given(layer.log_format, "log_format")?,
        feature_level_max,
        feature_level_auto: given(layer.feature_level_auto, "feature_level_auto")?,
        unsafe_leader_restore: layer.unsafe_leader_restore.unwrap_or(false),
    })
}

/// Zero, or long enough for a round.
fn digest_interval(layer: &Layer) -> Result<Duration, ConfigError> {
    match given(layer.digest_interval_ms, "digest_interval_ms")? {
        1..DIGEST_INTERVAL_MIN_MS => {
            Err(invalid(format!("digest_interval_ms is 0 or at least {DIGEST_INTERVAL_MIN_MS}")))
        }
        interval_ms => Ok(Duration::from_millis(interval_ms)),
    }
}

/// Reads `HOST:PORT[?undermoon=PROFILE&kvrocks=PROFILE&pool=DOORS&tls=SWITCH]`.
fn listener(
    text: &str,
    defaults: [ProfileName; 2],
    has_tls: bool,
) -> Result<Listener, ConfigError> {
    let (address, wishes) = text.split_once('?').unwrap_or((text, ""));
    let [mut undermoon_profile, mut kvrocks_profile] = defaults;
    let mut pool_doors = DoorsName::All;
    let mut is_tls = has_tls;
    for wish in wishes.split('&').filter(|wish| !wish.is_empty()) {
        match wish {
            "undermoon=document" => undermoon_profile = ProfileName::Document,
            "undermoon=program" => undermoon_profile = ProfileName::Program,
            "kvrocks=document" => kvrocks_profile = ProfileName::Document,
            "kvrocks=program" => kvrocks_profile = ProfileName::Program,
            "pool=all" => pool_doors = DoorsName::All,
            "pool=users" => pool_doors = DoorsName::Users,
            "pool=operators" => pool_doors = DoorsName::Operators,
            "pool=none" => pool_doors = DoorsName::None,
            "tls=off" => is_tls = false,
            "tls=on" if has_tls => is_tls = true,
            "tls=on" => return Err(invalid("tls=on needs tls_cert and tls_key")),
            _ => {
                let shape = "HOST:PORT or HOST:PORT?FAMILY=document|program, where FAMILY is \
                             undermoon or kvrocks, or HOST:PORT?pool=all|users|operators|none, or \
                             HOST:PORT?tls=on|off";
                return Err(invalid(format!("listen is {shape}, not {text}")));
            }
        }
    }
    check_address(address, "listen")?;
    Ok(Listener {
        address: address.to_owned(),
        undermoon_profile,
        kvrocks_profile,
        pool_doors,
        is_tls,
        anonymous: BTreeMap::new(),
    })
}

/// Ids begin with 1, the numbers of a StatefulSet's pods with 0.
fn id_of_host(host_name: &str) -> Result<u64, ConfigError> {
    let number = host_name.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
    number.and_then(|number| number.checked_add(1)).ok_or_else(|| {
        invalid(format!(
            "replica_id_from_host_name needs a host name such as quorate-0, not {host_name}"
        ))
    })
}

fn check_address(text: &str, key: &str) -> Result<(), ConfigError> {
    let is_good = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if is_good { Ok(()) } else { Err(invalid(format!("{key} is HOST:PORT, not {text}"))) }
}

struct Cluster {
    replica_id: u64,
    peers: Vec<PeerConfig>,
    join: Option<JoinConfig>,
    token: Secret,
    peer_listen: String,
}

fn cluster(
    layer: &Layer,
    first: &Listener,
    warnings: &mut Vec<String>,
) -> Result<Cluster, ConfigError> {
    if layer.join.as_ref().is_some_and(|members| !members.is_empty()) {
        return joining(layer, first);
    }
    for (key, is_given) in [
        ("advertise_peer", layer.advertise_peer.is_some()),
        ("advertise_client", layer.advertise_client.is_some()),
    ] {
        if is_given {
            return Err(invalid(format!("{key} is for a replica that joins; peers say it here")));
        }
    }
    let given_peers = layer.peers.clone().unwrap_or_default();
    let mut peers = given_peers.iter().map(|text| peer(text)).collect::<Result<Vec<_>, _>>()?;
    if peers.is_empty() {
        let peer_addr = layer.peer_listen.clone().unwrap_or_else(|| "127.0.0.1:7800".to_owned());
        let scheme = if first.is_tls { "https" } else { "http" };
        let client_url = format!("{scheme}://{}", first.address);
        peers.push(PeerConfig { id: layer.replica_id.unwrap_or(1), peer_addr, client_url });
    }
    check_peers(&peers, warnings)?;
    let replica_id = match layer.replica_id {
        Some(id) => id,
        None if given(layer.replica_id_from_host_name, "replica_id_from_host_name")? => {
            let host_name = nix::unistd::gethostname().unwrap_or_default();
            id_of_host(&host_name.to_string_lossy())?
        }
        None if peers.len() == 1 => peers[0].id,
        None => return Err(invalid("replica_id is missing: which of the peers is this replica?")),
    };
    let here = peers.iter().find(|peer| peer.id == replica_id);
    let here =
        here.ok_or_else(|| invalid(format!("replica_id {replica_id} is none of the peers")))?;
    let peer_listen = layer.peer_listen.clone().unwrap_or_else(|| here.peer_addr.clone());
    check_address(&peer_listen, "peer_listen")?;
    let addresses = peers.iter().map(|peer| &peer.peer_addr);
    let token = token(layer, addresses.chain([&peer_listen]))?;
    Ok(Cluster { replica_id, peers, join: None, token, peer_listen })
}

fn token<'a>(
    layer: &Layer,
    mut addresses: impl Iterator<Item = &'a String>,
) -> Result<Secret, ConfigError> {
    let token = given(layer.cluster_token.clone(), "cluster_token")?;
    let is_on_loopback = addresses.all(|address| is_loopback(address));
    if token.is_empty() || (token == TOKEN_DEFAULT && !is_on_loopback) {
        return Err(invalid("cluster_token must be a secret of your own beyond loopback"));
    }
    Ok(Secret(token))
}

/// A replica that joins a running cluster.
fn joining(layer: &Layer, first: &Listener) -> Result<Cluster, ConfigError> {
    if layer.peers.as_ref().is_some_and(|peers| !peers.is_empty()) {
        return Err(invalid("a replica has either peers, to found a cluster, or join"));
    }
    let members = layer.join.clone().unwrap_or_default();
    for member in &members {
        check_address(member, "join")?;
    }
    let peer_listen = layer.peer_listen.clone();
    let peer_listen = peer_listen.or_else(|| layer.advertise_peer.clone());
    let peer_listen = peer_listen.ok_or_else(|| invalid("peer_listen is missing"))?;
    check_address(&peer_listen, "peer_listen")?;
    let peer_addr = layer.advertise_peer.clone().unwrap_or_else(|| peer_listen.clone());
    check_reachable(&peer_addr, "advertise_peer")?;
    let client_url = match &layer.advertise_client {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            check_reachable(&first.address, "advertise_client")?;
            format!("http://{}", first.address)
        }
    };
    if !["http://", "https://"].iter().any(|scheme| client_url.starts_with(scheme)) {
        return Err(invalid(format!("advertise_client is an URL, not {client_url}")));
    }
    let token = token(layer, members.iter().chain([&peer_listen, &peer_addr]))?;
    let replica_id = layer.replica_id.unwrap_or(0);
    let join = Some(JoinConfig { members, peer_addr, client_url });
    Ok(Cluster { replica_id, peers: Vec::new(), join, token, peer_listen })
}

/// An address others are told must be one they can connect to.
fn check_reachable(address: &str, key: &str) -> Result<(), ConfigError> {
    check_address(address, key)?;
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let is_any = ["0.0.0.0", "[::]", "::"].contains(&host) || port == "0";
    if is_any {
        return Err(invalid(format!("{key} is missing: nobody can connect to {address}")));
    }
    Ok(())
}

/// Reads `ID=HOST:PORT[/CLIENT-URL]`.
///
/// # Errors
/// [`ConfigError::Invalid`].
pub fn peer(text: &str) -> Result<PeerConfig, ConfigError> {
    let shape =
        || invalid(format!("a peer is ID=HOST:PORT or ID=HOST:PORT/CLIENT-URL, not {text}"));
    let (id, rest) = text.split_once('=').ok_or_else(shape)?;
    let id: u64 = id.trim().parse().map_err(|_| shape())?;
    let (peer_addr, client_url) = rest.split_once('/').unwrap_or((rest, ""));
    check_address(peer_addr, "a peer's address")?;
    let is_url = client_url.is_empty()
        || client_url.starts_with("http://")
        || client_url.starts_with("https://");
    if id == 0 || !is_url {
        return Err(shape());
    }
    let client_url = client_url.trim_end_matches('/').to_owned();
    Ok(PeerConfig { id, peer_addr: peer_addr.to_owned(), client_url })
}

fn check_peers(peers: &[PeerConfig], warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    for (place, peer) in peers.iter().enumerate() {
        for other in &peers[..place] {
            if other.id == peer.id || other.peer_addr == peer.peer_addr {
                let (id, address) = (peer.id, &peer.peer_addr);
                return Err(invalid(format!("peer {id} at {address} is listed twice")));
            }
        }
    }
    if peers.len() > PEERS_MAX {
        return Err(invalid(format!("{} peers are more than {PEERS_MAX}", peers.len())));
    }
    if peers.len().is_multiple_of(2) {
        warnings.push(format!(
            "{} replicas survive no more failures than {}",
            peers.len(),
            peers.len() - 1
        ));
    }
    Ok(())
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn timers(layer: &Layer) -> Result<Timers, ConfigError> {
    let timers = Timers {
        heartbeat_ms: given(layer.heartbeat_ms, "heartbeat_ms")?,
        election_min_ms: given(layer.election_min_ms, "election_min_ms")?,
        election_max_ms: given(layer.election_max_ms, "election_max_ms")?,
    };
    let is_ordered = 0 < timers.heartbeat_ms
        && timers.heartbeat_ms.saturating_mul(2) <= timers.election_min_ms
        && timers.election_min_ms < timers.election_max_ms;
    if is_ordered {
        return Ok(timers);
    }
    Err(invalid("0 < 2 x heartbeat_ms <= election_min_ms < election_max_ms must hold"))
}

fn snapshot(layer: &Layer) -> Result<SnapshotPolicy, ConfigError> {
    Ok(SnapshotPolicy {
        entries_max: above_zero(layer.snapshot_entries_max, "snapshot_entries_max")? as u64,
        log_bytes_max: above_zero(layer.snapshot_log_bytes_max, "snapshot_log_bytes_max")? as u64,
        age_max: Duration::from_secs(
            above_zero(layer.snapshot_age_max_s, "snapshot_age_max_s")? as u64
        ),
        entries_kept: given(layer.snapshot_entries_kept, "snapshot_entries_kept")?,
    })
}

fn feature_level_max(layer: &Layer) -> Result<u64, ConfigError> {
    let known = FEATURE_LEVEL_FOUNDED..=FEATURE_LEVEL_MAX;
    let level = layer.feature_level_max.unwrap_or(FEATURE_LEVEL_MAX);
    if known.contains(&level) {
        return Ok(level);
    }
    let (first, last) = (known.start(), known.end());
    Err(invalid(format!(
        "feature_level_max is one of {first} to {last} in this program, not {level}"
    )))
}

/// TLS to Kvrocks nodes is on or off for all of them.
fn docker_tls(layer: &Layer) -> Result<Option<DockerTlsFiles>, ConfigError> {
    let files =
        (&layer.pool_docker_tls_ca, &layer.pool_docker_tls_cert, &layer.pool_docker_tls_key);
    match files {
        (None, None, None) => Ok(None),
        (Some(authorities), Some(certificate), Some(key)) => Ok(Some(DockerTlsFiles {
            authorities: authorities.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
        })),
        _ => Err(invalid(
            "pool_docker_tls_ca, pool_docker_tls_cert and pool_docker_tls_key need each other",
        )),
    }
}

fn node_tls(layer: &Layer, warnings: &mut Vec<String>) -> Result<Option<TlsFiles>, ConfigError> {
    let cert = layer.kvrocks_node_tls_cert.clone();
    let key = layer.kvrocks_node_tls_key.clone();
    let server_name = layer.kvrocks_node_tls_server_name.clone();
    if !given(layer.kvrocks_node_tls, "kvrocks_node_tls")? {
        let has_name = server_name.is_some();
        if [&layer.kvrocks_node_tls_ca, &cert, &key].iter().any(|path| path.is_some()) || has_name {
            warnings.push("kvrocks_node_tls is off, so its files and name mean nothing".to_owned());
        }
        return Ok(None);
    }
    let authorities = layer.kvrocks_node_tls_ca.clone();
    let authorities =
        authorities.ok_or_else(|| invalid("kvrocks_node_tls needs kvrocks_node_tls_ca"))?;
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            let message = "kvrocks_node_tls_cert and kvrocks_node_tls_key need each other";
            return Err(invalid(message));
        }
    };
    Ok(Some(TlsFiles { authorities, identity, server_name }))
}

fn seed(layer: &Layer) -> Result<Seed, ConfigError> {
    let compression_strategy = match given(layer.compression_strategy, "compression_strategy")? {
        CompressionName::Disabled => CompressionStrategy::Disabled,
        CompressionName::SetGetOnly => CompressionStrategy::SetGetOnly,
        CompressionName::AllowAll => CompressionStrategy::AllowAll,
    };
    let migration_config = MigrationConfig {
        max_migration_time: given(
            layer.migration_max_migration_time,
            "migration_max_migration_time",
        )?,
        max_blocking_time: given(layer.migration_max_blocking_time, "migration_max_blocking_time")?,
        scan_interval: given(layer.migration_scan_interval, "migration_scan_interval")?,
        scan_count: above_zero(layer.migration_scan_count, "migration_scan_count")? as u64,
    };
    let settings = Settings {
        failure_ttl_s: given(layer.failure_ttl, "failure_ttl")?,
        failure_quorum: given(layer.failure_quorum, "failure_quorum")?,
        migration_limit: given(layer.migration_limit, "migration_limit")?,
        cluster_config: ClusterConfig { compression_strategy, migration_config },
        list_failed_members: given(layer.list_failed_members, "list_failed_members")?,
    };
    let enable_ordered_proxy = given(layer.enable_ordered_proxy, "enable_ordered_proxy")?;
    Ok(Seed { settings, enable_ordered_proxy })
}

#[cfg(test)]
#[path = "config/config_test.rs"]
mod tests;
