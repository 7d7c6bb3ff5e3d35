//! Container engines: the few calls of one that a pool of containers needs.
//!
//! [`Runtime`] is narrow on purpose: one method is one exchange with one daemon, bounded by the time
//! it is given, and tells what happened in the words of [`RuntimeError`]. What the calls add up to,
//! which of them are repeated, and when, is for the caller to know. [`docker`] speaks the Docker
//! Engine API; the fake of the tests keeps its containers in memory and fails as it is told.

pub mod docker;
#[cfg(test)]
pub mod fake;

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::future::BoxFuture;
use serde::Serialize;

/// Where a daemon is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Daemon {
    /// `tcp://ADDRESS:PORT` or `unix:///PATH`.
    pub url: String,
    /// Whether it wants TLS; only over `tcp`.
    pub is_tls: bool,
}

/// A container to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerSpec {
    /// Name, unique on the daemon.
    pub name: String,
    /// Name of the machine inside.
    pub hostname: String,
    /// Image reference.
    pub image: String,
    /// Command and arguments; empty for the image's own.
    pub command: Vec<String>,
    /// `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// TCP ports that the container serves.
    pub exposed: Vec<u16>,
    /// TCP ports on the host, by the port inside.
    pub published: BTreeMap<u16, u16>,
    /// Network; empty for the engine's default one.
    pub network: String,
    /// `no`, `always`, `unless-stopped` or `on-failure`.
    pub restart_policy: String,
    /// Bytes; 0 for no limit.
    pub memory_bytes: u64,
    /// Bytes; 0 for no limit.
    pub memory_swap_bytes: u64,
    /// CPU time in microseconds of each 100 000; 0 for no limit.
    pub cpu_quota_us: u64,
    /// Log driver and its options.
    pub log: (String, BTreeMap<String, String>),
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Runs.
    Running,
    /// Ended, or was stopped.
    Exited,
    /// Anything in between.
    Other,
}

/// A container as the daemon shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The daemon's id.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub state: ContainerState,
}

impl Container {
    /// A label's value; empty without it.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }
}

/// Which containers are meant, whatever their state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those with every one of these labels.
    Labelled(Vec<(String, String)>),
    /// Those whose names begin so; letters, digits, `_`, `.` and `-` only.
    Named(String),
}

/// Why a call did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The daemon cannot be reached, did not answer in time, or broke off. What was asked may have
    /// happened, or may happen yet.
    #[error("the daemon cannot be reached: {0}")]
    Unreachable(String),
    /// Something else listens on a port.
    #[error("a port is in use: {0}")]
    PortInUse(String),
    /// Another container has the name.
    #[error("the name is taken: {0}")]
    NameTaken(String),
    /// The image is not there, or cannot be fetched.
    #[error("the image is missing: {0}")]
    ImageMissing(String),
    /// There is no such container.
    #[error("not found: {0}")]
    NotFound(String),
    /// Anything else, in the daemon's words.
    #[error("{0}")]
    Other(String),
}

/// What an exchange comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

/// One exchange with a daemon at a time. Containers are named by their id or name.
pub trait Runtime: fmt::Debug + Send + Sync {
    /// Whether the daemon answers.
    fn ping<'a>(&'a self, daemon: &'a Daemon, time: Duration) -> Answer<'a, ()>;

    /// Containers, in no order.
    fn list<'a>(
        &'a self,
        daemon: &'a Daemon,
        which: &'a Which,
        time: Duration,
    ) -> Answer<'a, Vec<Container>>;

    /// The container, or `None` if there is none.
    fn inspect<'a>(
        &'a self,
        daemon: &'a Daemon,
        container: &'a str,
        time: Duration,
    ) -> Answer<'a, Option<Container>>;

    /// Makes a container and answers its id. Fetches no image.
    fn create<'a>(
        &'a self,
        daemon: &'a Daemon,
        spec: &'a ContainerSpec,
        time: Duration,
    ) -> Answer<'a, String>;

    /// Starts a container; fine if it runs.
    fn start<'a>(
        &'a self,
        daemon: &'a Daemon,
        container: &'a str,
        time: Duration,
    ) -> Answer<'a, ()>;

    /// Stops a container, by force after `grace_s` seconds; fine if it does not run.
    fn stop<'a>(
        &'a self,
        daemon: &'a Daemon,
        container: &'a str,
        grace_s: u32,
        time: Duration,
    ) -> Answer<'a, ()>;

    /// Stops a container, by force after `grace_s` seconds, and starts it.
    fn restart<'a>(
        &'a self,
        daemon: &'a Daemon,
        container: &'a str,
        grace_s: u32,
        time: Duration,
    ) -> Answer<'a, ()>;

    /// Removes a container with its anonymous volumes, even if it runs; fine if it is gone or about
    /// to go.
    fn remove<'a>(
        &'a self,
        daemon: &'a Daemon,
        container: &'a str,
        time: Duration,
    ) -> Answer<'a, ()>;

    /// Whether the daemon has an image.
    fn has_image<'a>(
        &'a self,
        daemon: &'a Daemon,
        image: &'a str,
        time: Duration,
    ) -> Answer<'a, bool>;

    /// Has the daemon fetch an image.
    fn pull<'a>(&'a self, daemon: &'a Daemon, image: &'a str, time: Duration) -> Answer<'a, ()>;

    /// Makes a bridge network with these labels unless there is one of that name.
    fn ensure_network<'a>(
        &'a self,
        daemon: &'a Daemon,
        network: &'a str,
        labels: &'a BTreeMap<String, String>,
        time: Duration,
    ) -> Answer<'a, ()>;

    /// Removes the networks with this label that no container uses.
    fn remove_networks<'a>(
        &'a self,
        daemon: &'a Daemon,
        label: (&'a str, &'a str),
        time: Duration,
    ) -> Answer<'a, ()>;
}
