//! Everything that can be asked to change, one variant an intention.
//!
//! Variants are only ever appended and fields never reordered: logs are decoded for ever. The first
//! group comes from people through the interface, the second from the leader's loops. Loops propose
//! fenced to the term they lead in, so what a deposed leader says is never applied; besides, an
//! outcome names the record and the `op` of the task it is about.

use serde::{Deserialize, Serialize};

use super::{
    ClusterType,
    model::{Health, LogType},
    settings::SettingsChange,
    template::Template,
};

/// A host to be added. Texts are raw; `apply` judges and completes them (spec 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewHost {
    /// Becomes the installation's id if this is the first host ever; random.
    pub installation: [u8; 16],
    /// Display name.
    pub name: String,
    /// `tcp://ADDRESS:PORT`, `ADDRESS:PORT`, or `unix:///PATH`.
    pub daemon_url: String,
    /// Whether the daemon wants TLS.
    pub is_tls: bool,
    /// Address under which published ports answer; empty for the one in `daemon_url`.
    pub service_address: String,
    /// Most clusters.
    pub capacity: u32,
    /// Log level; empty for `DEBUG`.
    pub log_level: String,
    /// Where logs go.
    pub log_type: LogType,
    /// Syslog server.
    pub log_server: String,
    /// Whether its clusters are given to users.
    pub is_schedulable: bool,
    /// Whether the leader keeps it full; if so it is filled at once.
    pub is_autofill: bool,
}

/// New values of a host; `None` keeps the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostChange {
    /// Display name.
    pub name: Option<String>,
    /// Only without clusters.
    pub daemon_url: Option<String>,
    /// Only without clusters.
    pub is_tls: Option<bool>,
    /// Only without clusters.
    pub service_address: Option<String>,
    /// Not below the present number of clusters.
    pub capacity: Option<u32>,
    /// Log level.
    pub log_level: Option<String>,
    /// Where logs go.
    pub log_type: Option<LogType>,
    /// Syslog server.
    pub log_server: Option<String>,
    /// Whether its clusters are given to users.
    pub is_schedulable: Option<bool>,
    /// Whether the leader keeps it full.
    pub is_autofill: Option<bool>,
}

/// A cluster to be made on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCluster {
    /// Host.
    pub host_id: String,
    /// Display name; empty to have one made up.
    pub name: String,
    /// What kind; a template must describe it.
    pub kind: ClusterType,
    /// First port; `None` for the lowest block that is free.
    pub port_start: Option<u16>,
}

/// What a user wants of a cluster; `None` wants nothing. Judged against the templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Consensus plugin.
    pub plugin: Option<String>,
    /// Consensus mode.
    pub mode: Option<String>,
    /// Number of containers.
    pub size: Option<i64>,
}

/// What to do with the containers of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// Start.
    Start,
    /// Stop.
    Stop,
    /// Restart.
    Restart,
}

/// Why an attempt on a host failed, as far as `apply` treats reasons differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The daemon could not be reached, or broke off. Never counts against a creation.
    Unreachable,
    /// Something else uses a port of the cluster; other ports are tried.
    PortInUse,
    /// Another container has the name.
    NameTaken,
    /// The image is not there and must not or cannot be fetched.
    ImageMissing,
    /// Anything else, a full disk for one.
    Other,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Cluster.
    pub cluster_id: String,
    /// The cluster's `op` when the probe began.
    pub seen_op: u64,
    /// What it found; [`Health::Unknown`] changes nothing.
    pub health: Health,
    /// Why not healthy; empty otherwise.
    pub reason: String,
}

/// One change asked of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Spec 4.2. The caller has pinged the daemon. Answers [`Reply::Host`](super::Reply::Host).
    AddHost(Box<NewHost>),
    /// Changes a host. Answers [`Reply::Host`](super::Reply::Host).
    ChangeHost {
        /// Host.
        host_id: String,
        /// What changes.
        change: Box<HostChange>,
    },
    /// Forgets a host. Its networks, and with force its containers, are cleaned up afterwards.
    RemoveHost {
        /// Host.
        host_id: String,
        /// Also with clusters; those of users go to the history.
        is_forced: bool,
    },
    /// Makes clusters until the host is full. Answers [`Reply::Clusters`](super::Reply::Clusters).
    FillHost {
        /// Host.
        host_id: String,
        /// From the leader's loop: refused unless the host wants it and its pause is over.
        is_automatic: bool,
    },
    /// Switches autofill off and deletes every cluster that no user has.
    CleanHost {
        /// Host.
        host_id: String,
    },
    /// Begins a [`TaskKind::ResetHost`](super::model::TaskKind::ResetHost) on a host without
    /// clusters. Answers [`Reply::HostTask`](super::Reply::HostTask).
    ResetHost {
        /// Host.
        host_id: String,
    },
    /// Makes one cluster. Answers [`Reply::Cluster`](super::Reply::Cluster).
    CreateCluster(Box<NewCluster>),
    /// Deletes a free cluster for good.
    DeleteCluster {
        /// Cluster.
        cluster_id: String,
        /// Also one of a user, or one that is being made.
        is_forced: bool,
    },
    /// Takes a released cluster out of the history.
    DropReleased {
        /// Cluster.
        cluster_id: String,
    },
    /// Spec 3.1: gives the user a cluster. Answers [`Reply::Cluster`](super::Reply::Cluster).
    Apply {
        /// Who.
        user_id: String,
        /// What.
        condition: Condition,
        /// Also if the user has such a cluster already.
        allows_multiple: bool,
    },
    /// Spec 3.2: takes one cluster back. Answers [`Reply::Clusters`](super::Reply::Clusters).
    Release {
        /// Cluster.
        cluster_id: String,
        /// Must be its owner, if given.
        user_id: Option<String>,
    },
    /// Takes back every cluster of a user. Answers [`Reply::Clusters`](super::Reply::Clusters).
    ReleaseUser {
        /// Who.
        user_id: String,
    },
    /// Begins to start, stop or restart a cluster. Answers [`Reply::Power`](super::Reply::Power).
    Power {
        /// Cluster.
        cluster_id: String,
        /// Must be its owner, if given.
        user_id: Option<String>,
        /// What.
        power: Power,
    },
    /// Adds a template, or replaces the one of that kind. Clusters that exist keep theirs until
    /// they are made anew.
    PutTemplate(Box<Template>),
    /// Removes a template. Clusters that exist keep it.
    RemoveTemplate {
        /// Its key.
        kind: ClusterType,
    },
    /// Changes settings.
    ChangeSettings(Box<SettingsChange>),

    /// Loop: what the pings of a host came to. Changes nothing if it says nothing new.
    ReportHost {
        /// Host.
        host_id: String,
        /// Whether its daemon answers.
        is_reachable: bool,
        /// Why not; empty otherwise.
        reason: String,
    },
    /// Loop: what probes found. Each report is judged by itself; stale ones change nothing.
    ReportHealth {
        /// At most one a cluster.
        reports: Vec<HealthReport>,
    },
    /// Loop: replaces a free cluster that stays unhealthy.
    ResetCluster {
        /// Cluster.
        cluster_id: String,
        /// The cluster's `op` when the probes began.
        seen_op: u64,
        /// What the probes found.
        reason: String,
    },
    /// Loop: outcome of [`TaskKind::Create`](super::model::TaskKind::Create).
    ClusterCreated {
        /// Cluster.
        cluster_id: String,
        /// Of the task.
        op: u64,
        /// Name and id of every container; exactly those the template asks for.
        containers: Vec<(String, String)>,
    },
    /// Loop: outcome of [`TaskKind::Destroy`](super::model::TaskKind::Destroy): no container of
    /// the cluster is left.
    ClusterDestroyed {
        /// Cluster.
        cluster_id: String,
        /// Of the task.
        op: u64,
    },
    /// Loop: good outcome of a start, stop or restart.
    PowerDone {
        /// Cluster.
        cluster_id: String,
        /// Of the task.
        op: u64,
    },
    /// Loop: bad outcome of any task of a cluster. Creation is tried again, given up, or moves to
    /// other ports; destruction is tried again for ever; power actions end.
    OperationFailed {
        /// Cluster.
        cluster_id: String,
        /// Of the task.
        op: u64,
        /// What kind of failure.
        failure: Failure,
        /// For people, without secrets.
        reason: String,
    },
    /// Loop: good outcome of a task of a host.
    HostTaskDone {
        /// Host.
        host_id: String,
        /// Of the task.
        op: u64,
    },
    /// Loop: bad outcome of a task of a host. A reset ends; a clean-up is tried again until
    /// [`CLEAN_UP_MS`](super::model::CLEAN_UP_MS) have passed.
    HostTaskFailed {
        /// Host.
        host_id: String,
        /// Of the task.
        op: u64,
        /// For people, without secrets.
        reason: String,
    },
}
