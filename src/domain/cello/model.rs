//! What the state holds: hosts, clusters, tasks, and the history of released clusters.
//!
//! The types are plain values. Only `apply` changes those inside the state.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::template::Template;

/// Begins the owner of a cluster that the pool itself holds; no user may be called so.
pub const SYSTEM_PREFIX: &str = "__SYSTEM__";
/// How long the pool tries to clean up a host that it has forgotten, milliseconds.
pub const CLEAN_UP_MS: u64 = 7 * 24 * 3_600_000;

/// What kind of cluster: the key of a [`Template`], and what a user may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterType {
    /// Consensus plugin.
    pub plugin: String,
    /// Consensus mode; empty for plugins that have none.
    pub mode: String,
    /// Number of containers.
    pub size: u32,
}

/// What the leader has to do on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// Make the containers of a cluster and start them.
    Create,
    /// Start the containers of a cluster.
    Start,
    /// Stop the containers of a cluster.
    Stop,
    /// Restart the containers of a cluster.
    Restart,
    /// Remove every container of a cluster.
    Destroy,
    /// Remove every container of ours from a host that has no clusters, and make its networks anew.
    ResetHost,
    /// Remove every container of ours and the networks from a host that the pool has forgotten.
    CleanUpHost,
}

impl TaskKind {
    /// A word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Destroy => "destroy",
            Self::ResetHost => "reset host",
            Self::CleanUpHost => "clean up host",
        }
    }
}

/// Something to be done on a host, until an outcome takes it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Log index of the entry that made this attempt; the fence for its outcome. A failed attempt
    /// at creation is followed by one with a new `op`; other tasks keep theirs over all attempts.
    pub op: u64,
    /// What.
    pub kind: TaskKind,
    /// When the task was first made, milliseconds.
    pub begun_ms: u64,
    /// Attempts that failed so far, for whatever reason.
    pub failures: u32,
    /// Attempts at creation that failed for a reason that counts; see
    /// [`Settings::create_attempts_max`](super::settings::Settings::create_attempts_max).
    pub counted_failures: u32,
    /// Not to be tried before, milliseconds.
    pub not_before_ms: u64,
    /// Why the last attempt failed; empty before.
    pub last_error: String,
}

/// How the last power action ended, for whoever waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerOutcome {
    /// The task's `op`.
    pub op: u64,
    /// Why it failed; `None` if it did not.
    pub error: Option<String>,
}

/// What answers at the other end of a host's URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostKind {
    /// A Docker Engine.
    #[default]
    Docker,
}

impl HostKind {
    /// The word of the interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
        }
    }
}

/// Where a host's containers write their logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogType {
    /// To files of the engine.
    #[default]
    Local,
    /// To the syslog server of the host record.
    Syslog,
}

impl LogType {
    /// The word of the interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Syslog => "syslog",
        }
    }
}

/// Ports that a stranger was found to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedPorts {
    /// How many from the first on.
    pub count: u16,
    /// Left alone until, milliseconds.
    pub until_ms: u64,
    /// What was seen.
    pub reason: String,
}

/// One Docker daemon and what the pool wants of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// 24 hexadecimal digits.
    pub id: String,
    /// Grows from host to host: the order of creation.
    pub seq: u64,
    /// For people; begins the names of its clusters.
    pub name: String,
    /// `tcp://ADDRESS:PORT`, or `unix:///PATH` of a daemon on the machine of every replica.
    pub daemon_url: String,
    /// Whether the daemon wants TLS; keys and certificates are in each replica's configuration.
    pub is_tls: bool,
    /// Address under which the published ports answer.
    pub service_address: String,
    /// Most clusters, whoever has them.
    pub capacity: u32,
    /// What it is.
    pub kind: HostKind,
    /// Whether its daemon answered the last ping.
    pub is_active: bool,
    /// Why not; empty while it answers.
    pub status_reason: String,
    /// When `is_active` last changed, milliseconds.
    pub status_since_ms: u64,
    /// Whether its clusters are given to users.
    pub is_schedulable: bool,
    /// Whether the leader keeps it full.
    pub is_autofill: bool,
    /// Log level passed to the containers.
    pub log_level: String,
    /// Where the containers write their logs.
    pub log_type: LogType,
    /// `udp://ADDRESS:PORT` and the like; empty for [`LogType::Local`].
    pub log_server: String,
    /// When it was added, milliseconds.
    pub created_ms: u64,
    /// Ports in use by strangers, by the first port.
    pub blocked: BTreeMap<u16, BlockedPorts>,
    /// Creations given up in a row, without one success between them.
    pub creations_given_up: u32,
    /// Autofill waits until then, milliseconds; set when a creation is given up.
    pub fill_not_before_ms: u64,
    /// Why the last operation on the host failed; empty once one succeeds.
    pub last_error: String,
    /// What is to be done on the host itself.
    pub task: Option<Task>,
    /// How the last reset ended.
    pub last_reset: Option<PowerOutcome>,
}

/// Where a cluster stands in its life (spec 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Decided; its containers are being made.
    Creating,
    /// Made. Free if its user is empty, else used.
    Ready,
    /// Released or deleted; its containers are being removed. The user is the last owner.
    Deleting,
    /// Free and unhealthy; its containers are being removed to be replaced.
    Resetting,
}

impl Phase {
    /// A word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Deleting => "deleting",
            Self::Resetting => "resetting",
        }
    }
}

/// What the probes say of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    /// Not probed since the last change.
    #[default]
    Unknown,
    /// As it should be.
    Ok,
    /// Not as it should be.
    Fail,
}

impl Health {
    /// The word of the interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Ok => "OK",
            Self::Fail => "FAIL",
        }
    }
}

/// A group of containers that are handed out together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// 24 hexadecimal digits; never used again for another cluster.
    pub id: String,
    /// Grows from cluster to cluster: the order of creation.
    pub seq: u64,
    /// For people; not unique.
    pub name: String,
    /// Whether the name was given; a generated one follows the ports.
    pub is_name_given: bool,
    /// The host it lives on, for all its life.
    pub host_id: String,
    /// The host's URL; it cannot change while the host has clusters.
    pub daemon_url: String,
    /// The host's service address; like `daemon_url`.
    pub service_address: String,
    /// Its template as it was when the containers were last asked for.
    pub template: Arc<Template>,
    /// Where it stands.
    pub phase: Phase,
    /// Who has it; empty for nobody. While deleting: who had it.
    pub user_id: String,
    /// Whether its containers are meant to run, unless a task says otherwise.
    pub is_running: bool,
    /// What the probes say.
    pub health: Health,
    /// First of its ports.
    pub port_start: u16,
    /// How many ports belong to it.
    pub port_count: u16,
    /// Container ids by container name; empty until it is made.
    pub containers: BTreeMap<String, String>,
    /// When the record was made, milliseconds.
    pub created_ms: u64,
    /// When it was handed out, milliseconds.
    pub applied_ms: Option<u64>,
    /// When it was released, milliseconds.
    pub released_ms: Option<u64>,
    /// `op` of the last task, over or not. A probe begun under another one is stale.
    pub op: u64,
    /// What is to be done.
    pub task: Option<Task>,
    /// Whether a new cluster takes its place once it is gone.
    pub is_replaced: bool,
    /// Resets in a row, replacement after replacement, without a good probe between them.
    pub resets: u32,
    /// How the last power action ended.
    pub last_power: Option<PowerOutcome>,
    /// Why the last operation failed; empty once one succeeds.
    pub last_error: String,
}

impl Cluster {
    /// What kind of cluster it is.
    #[must_use]
    pub fn kind(&self) -> &ClusterType {
        &self.template.kind
    }

    /// The owner as the interface shows it: empty, a user, or the pool itself (spec 1.2).
    #[must_use]
    pub fn owner(&self) -> String {
        match self.phase {
            Phase::Creating => format!("{SYSTEM_PREFIX}CREATING"),
            Phase::Ready => self.user_id.clone(),
            Phase::Deleting => format!("{SYSTEM_PREFIX}DELETING{}", self.user_id),
            Phase::Resetting => format!("{SYSTEM_PREFIX}RESETTING"),
        }
    }

    /// The status as the interface shows it.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self.phase {
            Phase::Creating => "creating",
            Phase::Deleting | Phase::Resetting => "deleting",
            Phase::Ready if self.is_running => "running",
            Phase::Ready => "stopped",
        }
    }

    /// Whether it could be given to a user if its host lets it (spec 1.3).
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.phase == Phase::Ready
            && self.user_id.is_empty()
            && self.is_running
            && self.health == Health::Ok
            && self.task.is_none()
    }

    /// Name of the container with this index, as on the daemon.
    #[must_use]
    pub fn container_name(&self, index: u32) -> String {
        format!("{}_{}", self.id, self.template.node_name(index))
    }

    /// Host port of every service of the template, in its order.
    pub fn ports(&self) -> impl Iterator<Item = (&str, u16)> {
        let port = |offset: u16| self.port_start.saturating_add(offset);
        self.template.services.iter().map(move |service| (&*service.name, port(service.offset)))
    }

    /// `ADDRESS:PORT` of every service; empty until the cluster is made.
    pub fn service_urls(&self) -> impl Iterator<Item = (&str, String)> {
        let is_made = !self.containers.is_empty();
        let url = |(name, port)| (name, format!("{}:{port}", self.service_address));
        self.ports().filter(move |_| is_made).map(url)
    }

    /// `http://ADDRESS:PORT` of the service that users talk to; empty until the cluster is made.
    #[must_use]
    pub fn api_url(&self) -> String {
        let name = self.template.api_service();
        let url = self.service_urls().find(|(service, _)| Some(*service) == name);
        url.map_or_else(String::new, |(_, url)| format!("http://{url}"))
    }
}

/// The address in a daemon URL, or the loopback address for a socket on this machine.
pub(super) fn address_of(daemon_url: &str) -> String {
    let loopback = || Ipv4Addr::LOCALHOST.to_string();
    let Some(rest) = daemon_url.strip_prefix("tcp://") else { return loopback() };
    rest.rsplit_once(':').map_or_else(loopback, |(address, _)| address.to_owned())
}
