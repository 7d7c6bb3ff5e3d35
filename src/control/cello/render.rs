//! Which containers a cluster is made of: its template with everything filled in (spec 5.1, 5.3).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{
    client::runtime::ContainerSpec,
    domain::cello::model::{Cluster, Host, LogType},
};

/// Labels of ours begin so.
const PREFIX: &str = "io.quorate.";
/// Marks what the pool made.
pub(super) const MANAGED: &str = "io.quorate.managed";
/// Id of the installation that made it.
pub(super) const INSTALLATION: &str = "io.quorate.control-plane";
/// Id of the host record.
pub(super) const HOST: &str = "io.quorate.host";
/// Id of the cluster.
pub(super) const CLUSTER: &str = "io.quorate.cluster";
/// Log index of the intent.
pub(super) const OP: &str = "io.quorate.op";
/// Fingerprint of everything about the container but the intent.
pub(super) const SPEC: &str = "io.quorate.spec";
/// Tag of lines in a syslog server, as the engine fills it in.
const SYSLOG_TAG: &str = "{{.ImageName}}/{{.Name}}/{{.ID}}";

/// Labels that find everything of this installation.
pub(super) fn labels_of(installation: &str) -> Vec<(String, String)> {
    vec![(INSTALLATION.to_owned(), installation.to_owned())]
}

/// Labels that find the containers of a cluster.
pub(super) fn labels_of_cluster(installation: &str, cluster_id: &str) -> Vec<(String, String)> {
    let mut labels = labels_of(installation);
    labels.push((CLUSTER.to_owned(), cluster_id.to_owned()));
    labels
}

/// Labels of a network.
pub(super) fn network_labels(installation: &str) -> BTreeMap<String, String> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    BTreeMap::from([label(MANAGED, "true"), label(INSTALLATION, installation)])
}

/// Network of a cluster; empty for the engine's default one.
pub(super) fn network(cluster: &Cluster, host: &Host) -> String {
    fill(&cluster.template.network, &Values { cluster, host, index: 0, network: "" })
}

/// Every container of a cluster, in the order of their indices.
pub(super) fn containers(
    cluster: &Cluster,
    host: &Host,
    installation: &str,
    op: u64,
) -> Vec<ContainerSpec> {
    let network = network(cluster, host);
    let spec = |index| container(&Values { cluster, host, index, network: &network }, installation);
    let mut specs: Vec<_> = (0..cluster.kind().size).map(spec).collect();
    for spec in &mut specs {
        let fingerprint = fingerprint(spec);
        spec.labels.insert(SPEC.to_owned(), fingerprint);
        spec.labels.insert(OP.to_owned(), op.to_string());
    }
    specs
}

/// What placeholders stand for.
struct Values<'a> {
    cluster: &'a Cluster,
    host: &'a Host,
    index: u32,
    network: &'a str,
}

impl Values<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let kind = self.cluster.kind();
        Some(match name {
            "cluster" => self.cluster.id.clone(),
            "node" => self.cluster.template.node_name(self.index),
            "index" => self.index.to_string(),
            "size" => kind.size.to_string(),
            "plugin" => kind.plugin.clone(),
            "mode" => kind.mode.clone(),
            "root" => self.cluster.container_name(0),
            "log_level" => self.host.log_level.clone(),
            "daemon_url" => self.host.daemon_url.clone(),
            "network" => self.network.to_owned(),
            _ => return None,
        })
    }
}

/// A text with its placeholders replaced; what is none stays.
fn fill(text: &str, values: &Values<'_>) -> String {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = part.split_once('}').and_then(|(name, rest)| Some((values.get(name)?, rest)));
        if let Some((value, rest)) = known {
            filled.push_str(&value);
            filled.push_str(rest);
        } else {
            filled.push_str("${");
            filled.push_str(part);
        }
    }
    filled
}

fn container(values: &Values<'_>, installation: &str) -> ContainerSpec {
    let (cluster, host, index) = (values.cluster, values.host, values.index);
    let template = &cluster.template;
    let variables = template.environment.iter().filter(|variable| variable.nodes.includes(index));
    let variable = |name: &str, value: &str| format!("{name}={}", fill(value, values));
    let ports = template.services.iter().zip(cluster.ports());
    let published = ports.filter(|(service, _)| index == 0 && service.is_published);
    ContainerSpec {
        name: cluster.container_name(index),
        hostname: template.node_name(index),
        image: template.image.clone(),
        command: template.command.iter().map(|word| fill(word, values)).collect(),
        environment: variables.map(|found| variable(&found.name, &found.value)).collect(),
        labels: labels(values, installation),
        exposed: template.services.iter().map(|service| service.container_port).collect(),
        published: published.map(|(service, (_, port))| (service.container_port, port)).collect(),
        network: values.network.to_owned(),
        restart_policy: template.restart_policy.clone(),
        memory_bytes: template.memory_bytes,
        memory_swap_bytes: template.memory_swap_bytes,
        cpu_quota_us: template.cpu_quota_us,
        log: log(host, &template.log_size_max),
    }
}

/// The template's labels, those that tools for compose files look for, and ours, which win.
fn labels(values: &Values<'_>, installation: &str) -> BTreeMap<String, String> {
    let (cluster, index) = (values.cluster, values.index);
    let node = cluster.template.node_name(index);
    let given = cluster.template.labels.iter();
    let given = given.map(|(name, value)| (name.clone(), fill(value, values)));
    let mut labels: BTreeMap<_, _> = given.filter(|(name, _)| !name.starts_with(PREFIX)).collect();
    for (name, value) in [
        ("com.docker.compose.project", cluster.id.as_str()),
        ("com.docker.compose.service", &node),
        ("com.docker.compose.container-number", "1"),
        (MANAGED, "true"),
        (INSTALLATION, installation),
        (HOST, &cluster.host_id),
        (CLUSTER, &cluster.id),
        ("io.quorate.cluster-name", &cluster.name),
        ("io.quorate.node", &node),
    ] {
        labels.insert(name.to_owned(), value.to_owned());
    }
    labels
}

/// Log driver and its options.
fn log(host: &Host, size_max: &str) -> (String, BTreeMap<String, String>) {
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match host.log_type {
        LogType::Local => {
            let size = (!size_max.is_empty()).then(|| option("max-size", size_max));
            ("json-file".to_owned(), size.into_iter().collect())
        }
        LogType::Syslog => {
            let address = option("syslog-address", &host.log_server);
            ("syslog".to_owned(), BTreeMap::from([address, option("tag", SYSLOG_TAG)]))
        }
    }
}

/// Sixteen hexadecimal digits that differ as soon as anything about the container does.
fn fingerprint(spec: &ContainerSpec) -> String {
    let text = serde_json::to_vec(spec).unwrap_or_default();
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
