//! The Docker Engine API, over a Unix socket, TCP, or TLS.
//!
//! The version of the API is agreed on with each daemon and remembered until a call to it fails.
//! Daemons differ in their codes for the same thing, so names and states decide, not codes alone.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error,
    models::{
        ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, HostConfig,
        HostConfigLogConfig, Network, NetworkCreateRequest, PortBinding, RestartPolicy,
        RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
        ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
        RestartContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
    },
};
use futures::{StreamExt, future::BoxFuture};
use tokio::time::timeout;

use super::{
    Answer, Container, ContainerSpec, ContainerState, Daemon, Runtime, RuntimeError, Which,
};
use crate::client::host_ping::HostPing;

/// The client's own limit, seconds; every call is cut off long before.
const CLIENT_TIME_S: u64 = 24 * 3_600;
/// Most daemons whose API version is remembered.
const DAEMONS_MAX: usize = 20_000;
/// Longest text taken over from a daemon, bytes.
const MESSAGE_BYTES_MAX: usize = 400;

/// Certificate files for daemons that want TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that vouch for daemons, besides the system's.
    pub authorities: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Speaks to daemons; cheap to clone.
#[derive(Clone)]
pub struct DockerRuntime {
    tls: Option<Arc<TlsFiles>>,
    known: Arc<Mutex<BTreeMap<Daemon, Docker>>>,
    networking: Arc<Mutex<BTreeMap<Daemon, Turn>>>,
}

/// Whose turn it is to make a network: daemons make two of one name for two that ask at a time.
type Turn = Arc<tokio::sync::Mutex<()>>;

impl fmt::Debug for DockerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerRuntime").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl DockerRuntime {
    /// Daemons that want TLS cannot be reached without certificates.
    #[must_use]
    pub fn new(tls: Option<TlsFiles>) -> Self {
        Self { tls: tls.map(Arc::new), known: Arc::default(), networking: Arc::default() }
    }

    /// Does something with a daemon within the time.
    async fn with<T, F>(
        &self,
        daemon: &Daemon,
        time: Duration,
        exchange: impl FnOnce(Docker) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, RuntimeError>>,
    {
        let all = async {
            let docker = self.connect(daemon).await?;
            exchange(docker).await
        };
        let answer = timeout(time, all).await.unwrap_or_else(|_| {
            let waited = format!("no answer within {} ms", time.as_millis());
            Err(RuntimeError::Unreachable(waited))
        });
        if matches!(answer, Err(RuntimeError::Unreachable(_))) {
            // It may come back as another version.
            self.known().remove(daemon);
        }
        answer
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Daemon, Docker>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, daemon: &Daemon) -> Turn {
        let mut turns = self.networking.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= DAEMONS_MAX {
            turns.clear();
        }
        Arc::clone(turns.entry(daemon.clone()).or_default())
    }

    async fn connect(&self, daemon: &Daemon) -> Result<Docker, RuntimeError> {
        if let Some(docker) = self.known().get(daemon) {
            return Ok(docker.clone());
        }
        let docker = self.client(daemon)?.negotiate_version().await.map_err(said)?;
        let mut known = self.known();
        if known.len() >= DAEMONS_MAX {
            known.clear();
        }
        known.insert(daemon.clone(), docker.clone());
        Ok(docker)
    }

    fn client(&self, daemon: &Daemon) -> Result<Docker, RuntimeError> {
        let version = API_DEFAULT_VERSION;
        let client = if daemon.url.starts_with("unix://") {
            Docker::connect_with_unix(&daemon.url, CLIENT_TIME_S, version)
        } else if !daemon.is_tls {
            Docker::connect_with_http(&daemon.url, CLIENT_TIME_S, version)
        } else {
            let Some(tls) = &self.tls else {
                let reason = "it wants TLS, and this replica has no certificates for daemons";
                return Err(RuntimeError::Unreachable(reason.to_owned()));
            };
            let (key, certificate) = (&tls.key, &tls.certificate);
            let url = &daemon.url;
            Docker::connect_with_ssl(
                url,
                key,
                certificate,
                &tls.authorities,
                CLIENT_TIME_S,
                version,
            )
        };
        client.map_err(|error| RuntimeError::Unreachable(cut(error.to_string())))
    }
}

impl HostPing for DockerRuntime {
    fn ping<'a>(
        &'a self,
        daemon_url: &'a str,
        is_tls: bool,
        time: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let daemon = Daemon { url: daemon_url.to_owned(), is_tls };
            Runtime::ping(self, &daemon, time).await.map_err(|error| error.to_string())
        })
    }
}

impl Runtime for DockerRuntime {
    fn ping<'a>(&'a self, daemon: &'a Daemon, time: Duration) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, |docker| async move {
            docker.ping().await.map(drop).map_err(said)
        }))
    }

    fn list<'a>(
        &'a self,
        daemon: &'a Daemon,
        which: &'a Which,
        time: Duration,
    ) -> Answer<'a, Vec<Container>> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let (key, values) = match which {
                Which::Labelled(labels) => {
                    let label = |(name, value): &(String, String)| format!("{name}={value}");
                    ("label", labels.iter().map(label).collect())
                }
                // The filter is a pattern that older daemons match against the name with a slash.
                Which::Named(prefix) => {
                    ("name", vec![format!("^/?{}", prefix.replace('.', "\\."))])
                }
            };
            let filters: HashMap<&str, Vec<String>> = HashMap::from([(key, values)]);
            let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let found = docker.list_containers(Some(options)).await.map_err(said)?;
            let mut found: Vec<_> = found.into_iter().map(container).collect();
            if let Which::Named(prefix) = which {
                found.retain(|container| container.name.starts_with(prefix.as_str()));
            }
            Ok(found)
        }))
    }

    fn inspect<'a>(
        &'a self,
        daemon: &'a Daemon,
        name: &'a str,
        time: Duration,
    ) -> Answer<'a, Option<Container>> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let found = docker.inspect_container(name, None::<InspectContainerOptions>).await;
            let found = match found.map_err(said) {
                Err(RuntimeError::NotFound(_)) => return Ok(None),
                found => found?,
            };
            let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
            let state = found.state.and_then(|state| state.status).map(|status| status.to_string());
            Ok(Some(Container {
                id: found.id.unwrap_or_default(),
                name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
                labels: labels.into_iter().collect(),
                state: state_of(state.as_deref().unwrap_or_default()),
            }))
        }))
    }

    fn create<'a>(
        &'a self,
        daemon: &'a Daemon,
        spec: &'a ContainerSpec,
        time: Duration,
    ) -> Answer<'a, String> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
            let made = docker.create_container(Some(options), body(spec)).await;
            made.map(|made| made.id).map_err(|error| match said(error) {
                RuntimeError::NotFound(message) if names_image(&message) => {
                    RuntimeError::ImageMissing(message)
                }
                RuntimeError::NotFound(message) => RuntimeError::Other(message),
                other => other,
            })
        }))
    }

    fn start<'a>(&'a self, daemon: &'a Daemon, name: &'a str, time: Duration) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let started = docker.start_container(name, None::<StartContainerOptions>).await;
            unless_so_already(started)
        }))
    }

    fn stop<'a>(
        &'a self,
        daemon: &'a Daemon,
        name: &'a str,
        grace_s: u32,
        time: Duration,
    ) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let grace_s = i32::try_from(grace_s).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::new().t(grace_s).build();
            unless_so_already(docker.stop_container(name, Some(options)).await)
        }))
    }

    fn restart<'a>(
        &'a self,
        daemon: &'a Daemon,
        name: &'a str,
        grace_s: u32,
        time: Duration,
    ) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let grace_s = i32::try_from(grace_s).unwrap_or(i32::MAX);
            let options = RestartContainerOptionsBuilder::new().t(grace_s).build();
            about_existing(docker.restart_container(name, Some(options)).await.map_err(said))
        }))
    }

    fn remove<'a>(&'a self, daemon: &'a Daemon, name: &'a str, time: Duration) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            let removed = docker.remove_container(name, Some(options)).await.map_err(said);
            match removed {
                Err(RuntimeError::NotFound(_)) => Ok(()),
                Err(RuntimeError::Other(message) | RuntimeError::NameTaken(message))
                    if message.contains("already in progress") =>
                {
                    Ok(())
                }
                removed => about_existing(removed),
            }
        }))
    }

    fn has_image<'a>(
        &'a self,
        daemon: &'a Daemon,
        image: &'a str,
        time: Duration,
    ) -> Answer<'a, bool> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            match docker.inspect_image(image).await.map_err(said) {
                Ok(_) => Ok(true),
                Err(RuntimeError::NotFound(_) | RuntimeError::ImageMissing(_)) => Ok(false),
                Err(error) => Err(error),
            }
        }))
    }

    fn pull<'a>(&'a self, daemon: &'a Daemon, image: &'a str, time: Duration) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            // Without a tag the engine would fetch every one there is.
            let name = image.rsplit('/').next().unwrap_or(image);
            let is_exact = name.contains(':') || name.contains('@');
            let image = if is_exact { image.to_owned() } else { format!("{image}:latest") };
            let options = CreateImageOptionsBuilder::new().from_image(&image).build();
            let mut steps = docker.create_image(Some(options), None, None);
            while let Some(step) = steps.next().await {
                let step = step.map_err(|error| match said(error) {
                    RuntimeError::Unreachable(message) => RuntimeError::Unreachable(message),
                    error => RuntimeError::ImageMissing(error.to_string()),
                })?;
                if let Some(detail) = step.error_detail {
                    let message = detail.message.unwrap_or_default();
                    return Err(RuntimeError::ImageMissing(cut(message)));
                }
            }
            Ok(())
        }))
    }

    fn ensure_network<'a>(
        &'a self,
        daemon: &'a Daemon,
        network: &'a str,
        labels: &'a BTreeMap<String, String>,
        time: Duration,
    ) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let turn = self.turn(daemon);
            let _turn = turn.lock().await;
            let filters = HashMap::from([("name", vec![network.to_owned()])]);
            let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
            let mut found = docker.list_networks(Some(options)).await.map_err(said)?;
            found.retain(|found| found.name.as_deref() == Some(network));
            if !found.is_empty() {
                return remove_doubles(&docker, found, labels).await;
            }
            let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone()));
            let request = NetworkCreateRequest {
                name: network.to_owned(),
                driver: Some("bridge".to_owned()),
                labels: Some(labels.collect()),
                ..NetworkCreateRequest::default()
            };
            match docker.create_network(request).await.map_err(said) {
                Ok(_) | Err(RuntimeError::NameTaken(_)) => Ok(()),
                Err(error) => Err(error),
            }
        }))
    }

    fn remove_networks<'a>(
        &'a self,
        daemon: &'a Daemon,
        (name, value): (&'a str, &'a str),
        time: Duration,
    ) -> Answer<'a, ()> {
        Box::pin(self.with(daemon, time, move |docker| async move {
            let filters = HashMap::from([("label", vec![format!("{name}={value}")])]);
            let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
            let found = docker.list_networks(Some(options)).await.map_err(said)?;
            for id in found.into_iter().filter_map(|network| network.id) {
                // Gone, or in use by somebody's containers, which is their right.
                let removed = docker.remove_network(&id).await.map_err(said);
                if let Err(RuntimeError::Unreachable(message)) = removed {
                    return Err(RuntimeError::Unreachable(message));
                }
            }
            Ok(())
        }))
    }
}

/// Of several networks of one name, no container can be started in any. They come about when two
/// replicas think that they lead, with daemons that do not mind. The newer ones go first, so that
/// those who do this at a time agree; what has running containers stays, and what is a stranger's.
async fn remove_doubles(
    docker: &Docker,
    mut found: Vec<Network>,
    labels: &BTreeMap<String, String>,
) -> Result<(), RuntimeError> {
    found.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let mut left = found.len();
    for network in found.into_iter().rev() {
        let has = |(name, value)| {
            network.labels.as_ref().is_some_and(|labels| labels.get(name) == Some(value))
        };
        let id = network.id.as_deref().unwrap_or_default();
        if left < 2 || !labels.iter().all(has) {
            continue;
        }
        match docker.remove_network(id).await.map_err(said) {
            Ok(()) | Err(RuntimeError::NotFound(_)) => left -= 1,
            Err(RuntimeError::Unreachable(message)) => {
                return Err(RuntimeError::Unreachable(message));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let limit = |value: u64| (value > 0).then(|| i64::try_from(value).unwrap_or(i64::MAX));
    let tcp = |port: &u16| format!("{port}/tcp");
    let bind = |(inside, outside): (&u16, &u16)| {
        let binding = PortBinding { host_ip: None, host_port: Some(outside.to_string()) };
        (tcp(inside), Some(vec![binding]))
    };
    let (log_driver, log_options) = &spec.log;
    let log_options = log_options.iter().map(|(name, value)| (name.clone(), value.clone()));
    let host_config = HostConfig {
        memory: limit(spec.memory_bytes),
        memory_swap: limit(spec.memory_swap_bytes),
        cpu_quota: limit(spec.cpu_quota_us),
        log_config: Some(HostConfigLogConfig {
            typ: Some(log_driver.clone()),
            config: Some(log_options.collect()),
        }),
        network_mode: (!spec.network.is_empty()).then(|| spec.network.clone()),
        port_bindings: Some(spec.published.iter().map(bind).collect()),
        restart_policy: Some(RestartPolicy {
            name: Some(restart_policy(&spec.restart_policy)),
            maximum_retry_count: None,
        }),
        ..HostConfig::default()
    };
    let labels = spec.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
    ContainerCreateBody {
        hostname: Some(spec.hostname.clone()),
        image: Some(spec.image.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.environment.clone()),
        labels: Some(labels.collect()),
        exposed_ports: Some(spec.exposed.iter().map(tcp).collect()),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

fn restart_policy(name: &str) -> RestartPolicyNameEnum {
    match name {
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => RestartPolicyNameEnum::NO,
    }
}

fn container(summary: ContainerSummary) -> Container {
    let names = summary.names.unwrap_or_default();
    // Names with another slash are links of other containers.
    let mut own = names.iter().map(|name| name.trim_start_matches('/'));
    let name = own.find(|name| !name.contains('/')).unwrap_or_default().to_owned();
    let state = summary.state.unwrap_or(ContainerSummaryStateEnum::EMPTY);
    Container {
        id: summary.id.unwrap_or_default(),
        name,
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        state: state_of(state.as_ref()),
    }
}

fn state_of(word: &str) -> ContainerState {
    match word {
        "created" => ContainerState::Created,
        "running" => ContainerState::Running,
        "exited" => ContainerState::Exited,
        _ => ContainerState::Other,
    }
}

fn unless_so_already(done: Result<(), Error>) -> Result<(), RuntimeError> {
    match done {
        Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
        done => about_existing(done.map_err(said)),
    }
}

/// A conflict about a container that exists is not one about its name.
fn about_existing<T>(done: Result<T, RuntimeError>) -> Result<T, RuntimeError> {
    done.map_err(|error| match error {
        RuntimeError::NameTaken(message) => RuntimeError::Other(message),
        error => error,
    })
}

/// What the daemon, or the way to it, said.
fn said(error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            classify(status_code, cut(message))
        }
        Error::DockerStreamError { error } => RuntimeError::Other(cut(error)),
        Error::JsonDataError { message, .. } => {
            RuntimeError::Other(cut(format!("an answer that cannot be read: {message}")))
        }
        error => RuntimeError::Unreachable(cut(chain(&error))),
    }
}

fn classify(status_code: u16, message: String) -> RuntimeError {
    let lower = message.to_ascii_lowercase();
    let is_port = lower.contains("port is already allocated")
        || lower.contains("address already in use")
        || lower.contains("ports are not available");
    if is_port {
        RuntimeError::PortInUse(message)
    } else if lower.contains("is already in use by container") {
        RuntimeError::NameTaken(message)
    } else if names_image(&lower) {
        RuntimeError::ImageMissing(message)
    } else {
        match status_code {
            404 => RuntimeError::NotFound(message),
            409 => RuntimeError::NameTaken(message),
            502..=504 => RuntimeError::Unreachable(message),
            _ => RuntimeError::Other(message),
        }
    }
}

fn names_image(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    lower.contains("no such image") || lower.contains("manifest unknown")
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let next = deeper.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = deeper.source();
    }
    text
}

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_daemons_are_understood() {
        let name =
            "Conflict. The container name \"/a_vp0\" is already in use by container \"f00\".";
        let port = "driver failed programming external connectivity on endpoint a_vp0: Bind for \
                    0.0.0.0:7050 failed: port is already allocated";
        let proxy = "Error starting userland proxy: listen tcp4 0.0.0.0:7050: bind: address \
                     already in use";
        for (code, message, expected) in [
            (404, "No such image: a:1", "the image is missing: "),
            (404, "No such container: a", "not found: "),
            (409, name, "the name is taken: "),
            (400, name, "the name is taken: "),
            (500, port, "a port is in use: "),
            (500, proxy, "a port is in use: "),
            (503, "starting up", "the daemon cannot be reached: "),
            (500, "no space left on device", ""),
        ] {
            let error = classify(code, message.to_owned());
            assert_eq!(error.to_string(), format!("{expected}{message}"));
        }
    }
}
