//! Every option once: its name, help text and type.
//!
//! The same struct is read from flags, from `QUORATE_*` variables and from the file, so one option
//! has one name everywhere: `failure_ttl`, `--failure-ttl`, `QUORATE_FAILURE_TTL`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use serde::{Deserialize, Deserializer, Serialize};

use crate::broker::engine::Timers;

/// Whose promises a family keeps where its documents and its programs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ProfileName {
    /// The documents.
    Document,
    /// The released programs.
    Program,
}

/// What of the cluster pool a listener serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DoorsName {
    /// Everything.
    #[default]
    All,
    /// What users and their front ends ask.
    Users,
    /// What operators ask.
    Operators,
    /// Nothing.
    None,
}

/// How current reads are that do not say it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ConsistencyName {
    /// The local applied state.
    Local,
    /// Everything committed before the read arrived.
    Linearizable,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Compression of new clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum CompressionName {
    /// None.
    Disabled,
    /// Plain set and get only.
    SetGetOnly,
    /// All strings.
    AllowAll,
}

/// What one source says; `None` where it is silent.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// This replica's id, one of the peers; 1 when there are none.
    #[arg(long, visible_alias = "id", env = "QUORATE_REPLICA_ID", help_heading = "Cluster")]
    pub replica_id: Option<u64>,
    /// Take the replica's id from the host name, as a StatefulSet gives them: `name-0` is 1.
    #[arg(long, env = "QUORATE_REPLICA_ID_FROM_HOST_NAME", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Cluster")]
    pub replica_id_from_host_name: Option<bool>,
    /// All founding replicas, the same list on each: ID=HOST:PORT[/CLIENT-URL]. Repeat the flag or
    /// separate by commas. Without it the replica is a cluster of its own.
    #[arg(long, visible_alias = "peer", env = "QUORATE_PEERS", value_delimiter = ',')]
    #[arg(help_heading = "Cluster")]
    #[serde(deserialize_with = "list")]
    pub peers: Option<Vec<String>>,
    /// Peer addresses of members of a running cluster to join, HOST:PORT, instead of founding one.
    /// The same command line serves every start. Repeat the flag or separate by commas.
    #[arg(long, env = "QUORATE_JOIN", value_delimiter = ',', help_heading = "Cluster")]
    #[serde(deserialize_with = "list")]
    pub join: Option<Vec<String>>,
    /// Where the other replicas reach this one after it has joined; `peer_listen` if not given.
    #[arg(long, env = "QUORATE_ADVERTISE_PEER", help_heading = "Cluster")]
    pub advertise_peer: Option<String>,
    /// The client URL of this replica after it has joined; of the first listener if not given.
    #[arg(long, env = "QUORATE_ADVERTISE_CLIENT", help_heading = "Cluster")]
    pub advertise_client: Option<String>,
    /// Raise the feature level as soon as every member runs a program that knows a higher one.
    /// Off, the way back to the former program stays open until `quorate ctl feature-level raise`.
    #[arg(long, env = "QUORATE_FEATURE_LEVEL_AUTO", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Cluster")]
    pub feature_level_auto: Option<bool>,
    /// Highest feature level this replica offers and applies, below what the program knows: it
    /// behaves as an older program. Only for holding a level back while programs are exchanged.
    #[arg(long, env = "QUORATE_FEATURE_LEVEL_MAX", help_heading = "Cluster")]
    pub feature_level_max: Option<u64>,
    /// Secret that names the cluster; replicas of another token are refused.
    #[arg(long, env = "QUORATE_CLUSTER_TOKEN", hide_env_values = true, help_heading = "Cluster")]
    pub cluster_token: Option<String>,
    /// Where the log, the snapshots and the identity live.
    #[arg(long, env = "QUORATE_DATA_DIR", help_heading = "Cluster")]
    pub data_dir: Option<PathBuf>,
    /// Where other replicas connect; the own address in the list of peers if not given.
    #[arg(long, env = "QUORATE_PEER_LISTEN", help_heading = "Cluster")]
    pub peer_listen: Option<String>,
    /// Milliseconds between two heartbeats of the leader.
    #[arg(long, env = "QUORATE_HEARTBEAT_MS", help_heading = "Cluster")]
    pub heartbeat_ms: Option<u64>,
    /// Shortest time without a leader before an election, milliseconds.
    #[arg(long, env = "QUORATE_ELECTION_MIN_MS", help_heading = "Cluster")]
    pub election_min_ms: Option<u64>,
    /// Longest such time, milliseconds.
    #[arg(long, env = "QUORATE_ELECTION_MAX_MS", help_heading = "Cluster")]
    pub election_max_ms: Option<u64>,

    /// Where clients connect: HOST:PORT[?undermoon=PROFILE&kvrocks=PROFILE&pool=DOORS&tls=SWITCH],
    /// each profile document or program, the doors of the cluster pool all, users, operators or
    /// none, the switch on or off. Repeats.
    #[arg(long, env = "QUORATE_LISTEN", value_delimiter = ',', help_heading = "Clients")]
    #[serde(deserialize_with = "list")]
    pub listen: Option<Vec<String>>,
    /// PEM file of this replica's certificate for clients; with it, client ports speak TLS.
    #[arg(long, env = "QUORATE_TLS_CERT", help_heading = "TLS")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    #[arg(long, env = "QUORATE_TLS_KEY", help_heading = "TLS")]
    pub tls_key: Option<PathBuf>,
    /// PEM file of the authorities that vouch for clients; with it, clients need a certificate.
    #[arg(long, env = "QUORATE_TLS_CLIENT_CA", help_heading = "TLS")]
    pub tls_client_ca: Option<PathBuf>,
    /// PEM file of the authorities that vouch for replicas; with it, replicas speak mutual TLS.
    #[arg(long, env = "QUORATE_PEER_TLS_CA", help_heading = "TLS")]
    pub peer_tls_ca: Option<PathBuf>,
    /// PEM file of this replica's certificate for other replicas.
    #[arg(long, env = "QUORATE_PEER_TLS_CERT", help_heading = "TLS")]
    pub peer_tls_cert: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    #[arg(long, env = "QUORATE_PEER_TLS_KEY", help_heading = "TLS")]
    pub peer_tls_key: Option<PathBuf>,

    /// What clients without a token may do: FAMILY=ROLE, with undermoon, kvrocks, cello or admin,
    /// and read, operate or admin; or none. By default everything on loopback, and beyond it what
    /// existing clients need: operate in every family, read for admin.
    #[arg(long, env = "QUORATE_ANONYMOUS", value_delimiter = ',', help_heading = "Access")]
    #[serde(deserialize_with = "list")]
    pub anonymous: Option<Vec<String>>,
    /// Token that may do everything, at least 32 characters; for making the first other one.
    #[arg(long, env = "QUORATE_ADMIN_TOKEN", hide_env_values = true, help_heading = "Access")]
    pub admin_token: Option<String>,
    /// File with that token.
    #[arg(long, env = "QUORATE_ADMIN_TOKEN_FILE", help_heading = "Access")]
    pub admin_token_file: Option<PathBuf>,
    /// File with the keys that seal secrets (passwords of Kvrocks nodes), the same on every replica;
    /// `quorate secrets generate-key` makes one. Without it secrets are stored readable.
    #[arg(long, env = "QUORATE_SECRETS_KEY_FILE", help_heading = "Access")]
    pub secrets_key_file: Option<PathBuf>,
    /// Most requests a second of one client (its token, or its address) on one replica; 0 sets no
    /// bound.
    #[arg(long, env = "QUORATE_CLIENT_REQUESTS_PER_S", help_heading = "Access")]
    pub client_requests_per_s: Option<u32>,
    /// Requests of one client that may come at once after a pause.
    #[arg(long, env = "QUORATE_CLIENT_REQUESTS_BURST", help_heading = "Access")]
    pub client_requests_burst: Option<u32>,
    /// Most requests at a time of one client on one replica; 0 sets no bound.
    #[arg(long, env = "QUORATE_CLIENT_REQUESTS_IN_FLIGHT_MAX", help_heading = "Access")]
    pub client_requests_in_flight_max: Option<u32>,

    /// Time for an ordinary request, milliseconds.
    #[arg(long, env = "QUORATE_REQUEST_TIMEOUT_MS", help_heading = "Clients")]
    pub request_timeout_ms: Option<u64>,
    /// Oldest local state that is served, milliseconds since a leader was heard; 0 serves any.
    #[arg(long, env = "QUORATE_READ_STALENESS_MAX_MS", help_heading = "Clients")]
    pub read_staleness_max_ms: Option<u64>,
    /// How current reads are that do not say it themselves.
    #[arg(long, env = "QUORATE_DEFAULT_CONSISTENCY", value_enum, help_heading = "Clients")]
    pub default_consistency: Option<ConsistencyName>,
    /// Whose promises /api/v2 keeps.
    #[arg(long, env = "QUORATE_UNDERMOON_PROFILE", value_enum, help_heading = "Clients")]
    pub undermoon_profile: Option<ProfileName>,
    /// Whose promises /api/v1 keeps.
    #[arg(long, env = "QUORATE_KVROCKS_PROFILE", value_enum, help_heading = "Clients")]
    pub kvrocks_profile: Option<ProfileName>,
    /// Most requests at a time on one listener.
    #[arg(long, env = "QUORATE_REQUESTS_IN_FLIGHT_MAX", help_heading = "Clients")]
    pub requests_in_flight_max: Option<u64>,
    /// Most open client connections.
    #[arg(long, env = "QUORATE_CONNECTIONS_MAX", help_heading = "Clients")]
    pub connections_max: Option<u64>,
    /// Time for the head of a request to arrive, idle time before it included, milliseconds.
    #[arg(long, env = "QUORATE_HEAD_TIMEOUT_MS", help_heading = "Clients")]
    pub head_timeout_ms: Option<u64>,
    /// Time for a client to take anything of its answer before it is cut off, milliseconds.
    #[arg(long, env = "QUORATE_WRITE_TIMEOUT_MS", help_heading = "Clients")]
    pub write_timeout_ms: Option<u64>,
    /// Most events kept for readers of the change feed.
    #[arg(long, env = "QUORATE_EVENTS_KEPT", help_heading = "Clients")]
    pub events_kept: Option<u64>,
    /// Time to finish accepted requests when stopping, milliseconds.
    #[arg(long, env = "QUORATE_STOP_TIMEOUT_MS", help_heading = "Clients")]
    pub stop_timeout_ms: Option<u64>,

    /// Most proposals in flight on the leader.
    #[arg(long, env = "QUORATE_PROPOSALS_IN_FLIGHT_MAX", help_heading = "Log")]
    pub proposals_in_flight_max: Option<u64>,
    /// Most bytes of proposals in flight on the leader.
    #[arg(long, env = "QUORATE_PROPOSAL_BYTES_IN_FLIGHT_MAX", help_heading = "Log")]
    pub proposal_bytes_in_flight_max: Option<u64>,
    /// Entries after which a snapshot is taken.
    #[arg(long, env = "QUORATE_SNAPSHOT_ENTRIES_MAX", help_heading = "Log")]
    pub snapshot_entries_max: Option<u64>,
    /// Bytes of log after which a snapshot is taken.
    #[arg(long, env = "QUORATE_SNAPSHOT_LOG_BYTES_MAX", help_heading = "Log")]
    pub snapshot_log_bytes_max: Option<u64>,
    /// Seconds after which a snapshot is taken, if anything was written.
    #[arg(long, env = "QUORATE_SNAPSHOT_AGE_MAX_S", help_heading = "Log")]
    pub snapshot_age_max_s: Option<u64>,
    /// How long the leader waits between two comparisons of all members' states, milliseconds; 0
    /// compares never, and a replica that went wrong is not found.
    #[arg(long, env = "QUORATE_DIGEST_INTERVAL_MS", help_heading = "Log")]
    pub digest_interval_ms: Option<u64>,
    /// Entries kept in the log behind a snapshot.
    #[arg(long, env = "QUORATE_SNAPSHOT_ENTRIES_KEPT", help_heading = "Log")]
    pub snapshot_entries_kept: Option<u64>,

    /// Directory in which this replica keeps backups.
    #[arg(long, env = "QUORATE_BACKUP_DIR", help_heading = "Backups")]
    pub backup_dir: Option<PathBuf>,
    /// Bucket in which it keeps them instead: `s3://BUCKET` or `s3://BUCKET/PREFIX`, of any store
    /// that speaks the protocol of Amazon S3.
    #[arg(long, env = "QUORATE_BACKUP_BUCKET", help_heading = "Backups")]
    pub backup_bucket: Option<String>,
    /// URL of the store; Amazon's for the region if not given.
    #[arg(long, env = "QUORATE_BACKUP_ENDPOINT", help_heading = "Backups")]
    pub backup_endpoint: Option<String>,
    /// Region for which requests to the store are signed.
    #[arg(long, env = "QUORATE_BACKUP_REGION", help_heading = "Backups")]
    pub backup_region: Option<String>,
    /// File of one line, `ACCESS_KEY_ID:SECRET_ACCESS_KEY`; without it the store is asked as whoever
    /// the variables `AWS_...` or the machine say.
    #[arg(long, env = "QUORATE_BACKUP_CREDENTIALS_FILE", help_heading = "Backups")]
    pub backup_credentials_file: Option<PathBuf>,
    /// PEM file of the authorities that vouch for the store; those of the operating system if not
    /// given.
    #[arg(long, env = "QUORATE_BACKUP_CA", help_heading = "Backups")]
    pub backup_ca: Option<PathBuf>,
    /// Seconds between two backups that this replica takes while it leads; 0 takes none.
    #[arg(long, env = "QUORATE_BACKUP_INTERVAL_S", help_heading = "Backups")]
    pub backup_interval_s: Option<u64>,
    /// Most backups kept; 0 keeps any number.
    #[arg(long, env = "QUORATE_BACKUPS_MAX", help_heading = "Backups")]
    pub backups_max: Option<u64>,
    /// Age at which a backup is removed, seconds; 0 keeps any age. The newest one always stays.
    #[arg(long, env = "QUORATE_BACKUP_AGE_MAX_S", help_heading = "Backups")]
    pub backup_age_max_s: Option<u64>,

    /// Seconds a failure report lives. Replicated: used once, when the cluster is founded; change
    /// it later with `quorate ctl settings set`. So are all options of this group up to
    /// --migration-scan-count.
    #[arg(long, env = "QUORATE_FAILURE_TTL", help_heading = "Undermoon")]
    pub failure_ttl: Option<u64>,
    /// Distinct reporters that make a failure.
    #[arg(long, env = "QUORATE_FAILURE_QUORUM", help_heading = "Undermoon")]
    pub failure_quorum: Option<u64>,
    /// Most migrations shown at a time for a cluster; 0 shows all.
    #[arg(long, env = "QUORATE_MIGRATION_LIMIT", help_heading = "Undermoon")]
    pub migration_limit: Option<u64>,
    /// Keep failed proxies that still serve a cluster in the failure list.
    #[arg(long, env = "QUORATE_LIST_FAILED_MEMBERS", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Undermoon")]
    pub list_failed_members: Option<bool>,
    /// Ordered proxy mode of an empty broker.
    #[arg(long, env = "QUORATE_ENABLE_ORDERED_PROXY", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Undermoon")]
    pub enable_ordered_proxy: Option<bool>,
    /// Compression of new clusters.
    #[arg(long, env = "QUORATE_COMPRESSION_STRATEGY", value_enum, help_heading = "Undermoon")]
    pub compression_strategy: Option<CompressionName>,
    /// Longest migration in new clusters, seconds.
    #[arg(long, env = "QUORATE_MIGRATION_MAX_MIGRATION_TIME", help_heading = "Undermoon")]
    pub migration_max_migration_time: Option<u64>,
    /// Longest blocking of a migration in new clusters, milliseconds.
    #[arg(long, env = "QUORATE_MIGRATION_MAX_BLOCKING_TIME", help_heading = "Undermoon")]
    pub migration_max_blocking_time: Option<u64>,
    /// Pause between two scans of a migration in new clusters, microseconds.
    #[arg(long, env = "QUORATE_MIGRATION_SCAN_INTERVAL", help_heading = "Undermoon")]
    pub migration_scan_interval: Option<u64>,
    /// Keys a scan of a migration in new clusters; above zero.
    #[arg(long, env = "QUORATE_MIGRATION_SCAN_COUNT", help_heading = "Undermoon")]
    pub migration_scan_count: Option<u64>,
    /// What GET config shows first; nothing is sent to the addresses. This replica only.
    #[arg(long, env = "QUORATE_REPLICA_ADDRESSES", value_delimiter = ',')]
    #[arg(help_heading = "Undermoon")]
    #[serde(deserialize_with = "list")]
    pub replica_addresses: Option<Vec<String>>,
    /// Import `meta_filename` when this replica founds a new cluster; ignored on every other start.
    #[arg(long, env = "QUORATE_RECOVER_FROM_META_FILE", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Undermoon")]
    pub recover_from_meta_file: Option<bool>,
    /// Metadata file of the original broker.
    #[arg(long, env = "QUORATE_META_FILENAME", help_heading = "Undermoon")]
    pub meta_filename: Option<PathBuf>,

    /// Speak TLS to Kvrocks nodes, to all of them; needs their authorities.
    #[arg(long, env = "QUORATE_KVROCKS_NODE_TLS", value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Kvrocks")]
    pub kvrocks_node_tls: Option<bool>,
    /// PEM file of the authorities that vouch for Kvrocks nodes.
    #[arg(long, env = "QUORATE_KVROCKS_NODE_TLS_CA", help_heading = "Kvrocks")]
    pub kvrocks_node_tls_ca: Option<PathBuf>,
    /// PEM file of our certificate, for nodes that want one of their clients.
    #[arg(long, env = "QUORATE_KVROCKS_NODE_TLS_CERT", help_heading = "Kvrocks")]
    pub kvrocks_node_tls_cert: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    #[arg(long, env = "QUORATE_KVROCKS_NODE_TLS_KEY", help_heading = "Kvrocks")]
    pub kvrocks_node_tls_key: Option<PathBuf>,
    /// Name that every node's certificate must be for, instead of the host of its address.
    #[arg(long, env = "QUORATE_KVROCKS_NODE_TLS_SERVER_NAME", help_heading = "Kvrocks")]
    pub kvrocks_node_tls_server_name: Option<String>,

    /// PEM file of the authorities that vouch for Docker daemons of hosts that want TLS.
    #[arg(long, env = "QUORATE_POOL_DOCKER_TLS_CA", help_heading = "Cluster pool")]
    pub pool_docker_tls_ca: Option<PathBuf>,
    /// PEM file of our certificate for them.
    #[arg(long, env = "QUORATE_POOL_DOCKER_TLS_CERT", help_heading = "Cluster pool")]
    pub pool_docker_tls_cert: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    #[arg(long, env = "QUORATE_POOL_DOCKER_TLS_KEY", help_heading = "Cluster pool")]
    pub pool_docker_tls_key: Option<PathBuf>,

    /// What is logged: a level, or a list of target=level.
    #[arg(long, env = "QUORATE_LOG_LEVEL", help_heading = "Program")]
    pub log_level: Option<String>,
    /// Shape of log lines.
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_enum, help_heading = "Program")]
    pub log_format: Option<LogFormat>,
    /// Tests only: loses acknowledged writes.
    #[arg(long, hide = true, value_parser = BoolishValueParser::new())]
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    pub unsafe_leader_restore: Option<bool>,
}

impl Layer {
    /// What holds where every source is silent.
    pub(super) fn defaults() -> Self {
        let timers = Timers::default();
        Self {
            replica_id_from_host_name: Some(false),
            peers: Some(Vec::new()),
            join: Some(Vec::new()),
            cluster_token: Some(super::TOKEN_DEFAULT.to_owned()),
            feature_level_auto: Some(true),
            data_dir: Some(PathBuf::from("quorate-data")),
            heartbeat_ms: Some(timers.heartbeat_ms),
            election_min_ms: Some(timers.election_min_ms),
            election_max_ms: Some(timers.election_max_ms),
            listen: Some(vec!["127.0.0.1:7799".to_owned()]),
            client_requests_per_s: Some(0),
            client_requests_burst: Some(100),
            client_requests_in_flight_max: Some(0),
            request_timeout_ms: Some(3_000),
            read_staleness_max_ms: Some(2_000),
            default_consistency: Some(ConsistencyName::Local),
            undermoon_profile: Some(ProfileName::Document),
            kvrocks_profile: Some(ProfileName::Document),
            requests_in_flight_max: Some(1_024),
            connections_max: Some(8_192),
            head_timeout_ms: Some(30_000),
            write_timeout_ms: Some(20_000),
            events_kept: Some(65_536),
            stop_timeout_ms: Some(5_000),
            proposals_in_flight_max: Some(2_048),
            proposal_bytes_in_flight_max: Some(256 * 1024 * 1024),
            snapshot_entries_max: Some(20_000),
            snapshot_log_bytes_max: Some(64 * 1024 * 1024),
            snapshot_age_max_s: Some(3_600),
            snapshot_entries_kept: Some(20_000),
            digest_interval_ms: Some(10_000),
            backup_region: Some("us-east-1".to_owned()),
            backup_interval_s: Some(0),
            backups_max: Some(48),
            backup_age_max_s: Some(0),
            failure_ttl: Some(60),
            failure_quorum: Some(1),
            migration_limit: Some(1),
            list_failed_members: Some(false),
            enable_ordered_proxy: Some(false),
            compression_strategy: Some(CompressionName::Disabled),
            migration_max_migration_time: Some(10_800),
            migration_max_blocking_time: Some(10_000),
            migration_scan_interval: Some(500),
            migration_scan_count: Some(16),
            replica_addresses: Some(Vec::new()),
            recover_from_meta_file: Some(false),
            meta_filename: Some(PathBuf::from("metadata")),
            kvrocks_node_tls: Some(false),
            log_level: Some("info".to_owned()),
            log_format: Some(LogFormat::Text),
            unsafe_leader_restore: Some(false),
            ..Self::default()
        }
    }
}

/// A list, or one text with commas, as the original broker's file has it.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        List(Vec<String>),
        Text(String),
        Null,
    }
    let items = match Form::deserialize(deserializer)? {
        Form::List(items) => items,
        Form::Text(text) => text.split(',').map(str::to_owned).collect(),
        Form::Null => return Ok(None),
    };
    let items = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty());
    Ok(Some(items.map(str::to_owned).collect()))
}
