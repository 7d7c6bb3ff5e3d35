//! What the containers of a kind of cluster look like. Part of the replicated state.
//!
//! The leader makes `size` containers of a template, named `<cluster id>_<node prefix><index>`.
//! Command, environment, labels and network may contain placeholders:
//!
//! | placeholder | stands for |
//! |---|---|
//! | `${cluster}` | id of the cluster |
//! | `${node}` | name of the node: node prefix and index |
//! | `${index}` | index, from 0 |
//! | `${size}` | number of containers |
//! | `${plugin}`, `${mode}` | of the cluster's kind |
//! | `${root}` | container name of node 0 |
//! | `${log_level}` | of the host |
//! | `${daemon_url}` | of the host |
//! | `${network}` | the rendered network name |

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterType, Rejection};

/// Placeholders a template may use; the network name must do without the last.
pub const PLACEHOLDERS: [&str; 10] = [
    "cluster",
    "node",
    "index",
    "size",
    "plugin",
    "mode",
    "root",
    "log_level",
    "daemon_url",
    "network",
];
/// Most containers of one cluster.
pub const SIZE_MAX: u32 = 64;
/// Most services, variables, labels, or words of a command.
const ITEMS_MAX: usize = 64;
/// Longest text in a template, bytes.
const TEXT_BYTES_MAX: usize = 4_096;
/// Longest name in a template, bytes.
const NAME_BYTES_MAX: usize = 128;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// Never: a missing image is a failure.
    #[default]
    Never,
    /// If the host does not have it.
    Missing,
    /// Before every creation.
    Always,
}

/// Which containers of a cluster something is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nodes {
    /// All.
    #[default]
    All,
    /// Node 0.
    First,
    /// All but node 0.
    Rest,
}

impl Nodes {
    /// Whether the container with this index is meant.
    #[must_use]
    pub const fn includes(self, index: u32) -> bool {
        match self {
            Self::All => true,
            Self::First => index == 0,
            Self::Rest => index != 0,
        }
    }
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Value, with placeholders.
    pub value: String,
    /// Containers that get it.
    #[serde(default)]
    pub nodes: Nodes,
}

/// A port that the containers serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Key in `mapped_ports` and `service_url`.
    pub name: String,
    /// Host port, counted from the first port of the cluster.
    pub offset: u16,
    /// Port inside the containers; every container exposes it.
    pub container_port: u16,
    /// Whether node 0 publishes it on the host. What is not published is reserved all the same.
    #[serde(default)]
    pub is_published: bool,
}

/// How a cluster is found healthy (spec 4.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Exactly `size` containers run.
    #[default]
    Containers,
    /// Every published port accepts a connection, besides.
    Tcp,
    /// `GET http://ADDRESS:PORT<path>` of the service users talk to answers JSON, whose array at
    /// `pointer` has `size` items.
    HttpPeers {
        /// Path and query.
        path: String,
        /// JSON pointer to the array.
        pointer: String,
    },
}

/// The containers of one kind of cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its key.
    pub kind: ClusterType,
    /// Whether filling a host makes clusters of it.
    pub is_filled: bool,
    /// Image reference.
    pub image: String,
    /// When the image is fetched.
    pub pull: Pull,
    /// Command and arguments, with placeholders; empty for the image's own.
    pub command: Vec<String>,
    /// Environment.
    pub environment: Vec<Variable>,
    /// Services; the first published one is what users talk to unless one is called `rest`.
    pub services: Vec<Service>,
    /// Begins the names of the nodes.
    pub node_prefix: String,
    /// Network the containers share with all others of that network on the host, with
    /// placeholders; made if it is not there. Empty for the engine's default network.
    pub network: String,
    /// Restart policy of the engine: `no`, `always`, `unless-stopped` or `on-failure`.
    pub restart_policy: String,
    /// Memory of one container, bytes; 0 for no limit.
    pub memory_bytes: u64,
    /// Memory and swap of one container, bytes; 0 for no limit.
    pub memory_swap_bytes: u64,
    /// CPU time in microseconds of each 100 000; 0 for no limit.
    pub cpu_quota_us: u64,
    /// Largest log file of a container that logs locally, as the engine writes it (`100m`); empty
    /// for no limit.
    pub log_size_max: String,
    /// Labels besides those the pool sets itself, with placeholders.
    pub labels: Vec<(String, String)>,
    /// How it is found healthy.
    pub probe: Probe,
}

impl Template {
    /// The shape the original program gave its clusters (spec 5.1).
    #[must_use]
    pub fn original(kind: ClusterType) -> Self {
        Self {
            kind,
            is_filled: true,
            image: "hyperledger/fabric-peer:latest".to_owned(),
            pull: Pull::Never,
            command: ["peer", "node", "start"].map(str::to_owned).to_vec(),
            environment: original_environment(),
            services: original_services(),
            node_prefix: "vp".to_owned(),
            network: "cello_net_${plugin}".to_owned(),
            restart_policy: "unless-stopped".to_owned(),
            memory_bytes: 512_000_000,
            memory_swap_bytes: 1_000_000_000,
            cpu_quota_us: 50_000,
            log_size_max: "100m".to_owned(),
            labels: vec![label("monitor", "true"), label("hyperledger", "true")],
            probe: Probe::Containers,
        }
    }

    /// The templates a pool begins with, in the order in which ties are broken.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let kinds =
            [("noops", "", 4), ("noops", "", 6), ("pbft", "batch", 4), ("pbft", "batch", 6)];
        let kind = |(plugin, mode, size): (&str, &str, u32)| ClusterType {
            plugin: plugin.to_owned(),
            mode: mode.to_owned(),
            size,
        };
        kinds.into_iter().map(kind).map(Self::original).collect()
    }

    /// Name of the node with this index.
    #[must_use]
    pub fn node_name(&self, index: u32) -> String {
        format!("{}{index}", self.node_prefix)
    }

    /// The service that users talk to.
    #[must_use]
    pub fn api_service(&self) -> Option<&str> {
        let rest = self.services.iter().find(|service| service.name == "rest");
        let first = || self.services.iter().find(|service| service.is_published);
        rest.or_else(first).map(|service| &*service.name)
    }

    /// Whether its services lie within that many ports.
    pub(super) fn fits(&self, port_count: u16) -> bool {
        self.services.iter().all(|service| service.offset < port_count)
    }

    /// Judges a template before it enters the state.
    ///
    /// # Errors
    /// [`Rejection::InvalidTemplate`] says what is wrong with it.
    pub(super) fn judge(&self, port_step: u16) -> Result<(), Rejection> {
        let refused = |what: &str| Err(Rejection::InvalidTemplate(what.to_owned()));
        if !is_word(&self.kind.plugin) || !(self.kind.mode.is_empty() || is_word(&self.kind.mode)) {
            return refused("plugin and mode are words of letters, digits, '.', '_' and '-'");
        }
        if self.kind.size == 0 || self.kind.size > SIZE_MAX {
            return refused("size is 1 to 64");
        }
        if self.image.is_empty() || self.image.len() > TEXT_BYTES_MAX {
            return refused("image is empty or too long");
        }
        if !is_word(&self.node_prefix) {
            return refused("node_prefix is a word of letters, digits, '.', '_' and '-'");
        }
        if !matches!(&*self.restart_policy, "no" | "always" | "unless-stopped" | "on-failure") {
            return refused("restart_policy is no, always, unless-stopped or on-failure");
        }
        self.judge_services(port_step)?;
        self.judge_texts()
    }

    fn judge_services(&self, port_step: u16) -> Result<(), Rejection> {
        let refused = |what: &str| Err(Rejection::InvalidTemplate(what.to_owned()));
        let (mut names, mut offsets) = (BTreeSet::new(), BTreeSet::new());
        for service in &self.services {
            if !is_word(&service.name) || !names.insert(&service.name) {
                return refused("a service has no name, or one that another has");
            }
            if service.offset >= port_step || !offsets.insert(service.offset) {
                return refused("a service has an offset that another has, or beyond the block");
            }
            if service.container_port == 0 {
                return refused("a service has container port 0");
            }
        }
        match self.services.len() {
            ..=ITEMS_MAX => Ok(()),
            _ => refused("there are more than 64 services"),
        }
    }

    fn judge_texts(&self) -> Result<(), Rejection> {
        let refused = |what: String| Err(Rejection::InvalidTemplate(what));
        let longest = self.command.len().max(self.environment.len()).max(self.labels.len());
        if longest > ITEMS_MAX {
            return refused("there are more than 64 words, variables or labels".to_owned());
        }
        let values = self.environment.iter().map(|variable| &variable.value);
        let labels = self.labels.iter().map(|(_, value)| value);
        let texts = self.command.iter().chain(values).chain(labels).chain([&self.network]);
        for text in texts {
            if text.len() > TEXT_BYTES_MAX {
                return refused("a text is longer than 4096 bytes".to_owned());
            }
            if let Some(unknown) = unknown_placeholder(text) {
                return refused(format!("the placeholder ${{{unknown}}} is not known"));
            }
        }
        if self.network.contains("${network}") {
            return refused("the network cannot contain its own name".to_owned());
        }
        let names = self.environment.iter().map(|variable| &variable.name);
        for name in names.chain(self.labels.iter().map(|(name, _)| name)) {
            let is_plain = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('=');
            if !is_plain || name.bytes().any(|byte| !byte.is_ascii_graphic()) {
                return refused(format!("{name:?} cannot name a variable or a label"));
            }
        }
        Ok(())
    }
}

/// The first placeholder of a text that no template may use.
fn unknown_placeholder(text: &str) -> Option<&str> {
    text.split("${").skip(1).find_map(|rest| {
        let name = rest.split_once('}').map_or(rest, |(name, _)| name);
        (!PLACEHOLDERS.contains(&name)).then_some(name)
    })
}

fn is_word(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_allowed)
}

fn label(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn original_environment() -> Vec<Variable> {
    let variables = [
        ("CORE_PEER_ID", "${node}", Nodes::All),
        ("CORE_PEER_DISCOVERY_ROOTNODE", "${root}:7051", Nodes::Rest),
        ("CORE_PEER_ADDRESSAUTODETECT", "true", Nodes::All),
        ("CORE_PEER_NETWORKID", "${cluster}", Nodes::All),
        ("CORE_LOGGING_LEVEL", "${log_level}", Nodes::All),
        ("CORE_VM_ENDPOINT", "${daemon_url}", Nodes::All),
        ("CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE", "${network}", Nodes::All),
        ("CORE_PEER_VALIDATOR_CONSENSUS_PLUGIN", "${plugin}", Nodes::All),
        ("CORE_PBFT_GENERAL_MODE", "${mode}", Nodes::All),
        ("CORE_PBFT_GENERAL_N", "${size}", Nodes::All),
        ("CORE_PBFT_GENERAL_BATCHSIZE", "2", Nodes::All),
        ("CORE_PBFT_GENERAL_TIMEOUT_REQUEST", "5s", Nodes::All),
        ("CORE_NOOPS_BLOCK_TIMEOUT", "2", Nodes::All),
        ("CORE_NOOPS_BLOCK_WAIT", "2", Nodes::All),
    ];
    let variable = |(name, value, nodes): (&str, &str, Nodes)| Variable {
        name: name.to_owned(),
        value: value.to_owned(),
        nodes,
    };
    variables.into_iter().map(variable).collect()
}

fn original_services() -> Vec<Service> {
    let names =
        ["rest", "grpc", "cli", "event", "ecap", "ecaa", "tcap", "tcaa", "tlscap", "tlscaa"];
    let service = |(offset, name): (u16, &str)| Service {
        name: name.to_owned(),
        offset,
        container_port: 7050 + offset,
        is_published: offset < 2,
    };
    (0..).zip(names).map(service).collect()
}
