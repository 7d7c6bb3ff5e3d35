//! Templates as operators write and read them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::cello::{
    ClusterType, Template,
    template::{Probe, Pull, Service, Variable},
};

/// A template in JSON. What is left out is as in the original's clusters, but for the environment,
/// the command and the labels, which are empty then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateJson {
    consensus_plugin: String,
    #[serde(default)]
    consensus_mode: String,
    size: u32,
    #[serde(default = "yes")]
    is_filled: bool,
    image: String,
    #[serde(default)]
    pull: Pull,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: Vec<Variable>,
    services: Vec<Service>,
    #[serde(default = "node_prefix")]
    node_prefix: String,
    #[serde(default)]
    network: String,
    #[serde(default = "restart_policy")]
    restart_policy: String,
    #[serde(default)]
    memory_bytes: u64,
    #[serde(default)]
    memory_swap_bytes: u64,
    #[serde(default)]
    cpu_quota_us: u64,
    #[serde(default)]
    log_size_max: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    probe: Probe,
}

const fn yes() -> bool {
    true
}

fn node_prefix() -> String {
    "vp".to_owned()
}

fn restart_policy() -> String {
    "unless-stopped".to_owned()
}

impl From<TemplateJson> for Template {
    fn from(json: TemplateJson) -> Self {
        Self {
            kind: ClusterType {
                plugin: json.consensus_plugin,
                mode: json.consensus_mode,
                size: json.size,
            },
            is_filled: json.is_filled,
            image: json.image,
            pull: json.pull,
            command: json.command,
            environment: json.environment,
            services: json.services,
            node_prefix: json.node_prefix,
            network: json.network,
            restart_policy: json.restart_policy,
            memory_bytes: json.memory_bytes,
            memory_swap_bytes: json.memory_swap_bytes,
            cpu_quota_us: json.cpu_quota_us,
            log_size_max: json.log_size_max,
            labels: json.labels.into_iter().collect(),
            probe: json.probe,
        }
    }
}

impl From<&Template> for TemplateJson {
    fn from(template: &Template) -> Self {
        let template = template.clone();
        Self {
            consensus_plugin: template.kind.plugin,
            consensus_mode: template.kind.mode,
            size: template.kind.size,
            is_filled: template.is_filled,
            image: template.image,
            pull: template.pull,
            command: template.command,
            environment: template.environment,
            services: template.services,
            node_prefix: template.node_prefix,
            network: template.network,
            restart_policy: template.restart_policy,
            memory_bytes: template.memory_bytes,
            memory_swap_bytes: template.memory_swap_bytes,
            cpu_quota_us: template.cpu_quota_us,
            log_size_max: template.log_size_max,
            labels: template.labels.into_iter().collect(),
            probe: template.probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_a_new_pool_survive_reading_and_writing() {
        for template in Template::defaults() {
            let mut sorted = template.clone();
            sorted.labels.sort();
            let text = serde_json::to_string(&TemplateJson::from(&template)).unwrap();
            let read: TemplateJson = serde_json::from_str(&text).unwrap();
            assert_eq!(Template::from(read), sorted);
        }
    }

    #[test]
    fn a_template_needs_an_image_and_services_and_no_unknown_members() {
        let least = r#"{"consensus_plugin":"noops","size":1,"image":"x","services":[]}"#;
        let read: TemplateJson = serde_json::from_str(least).unwrap();
        assert_eq!((read.node_prefix, read.is_filled), ("vp".to_owned(), true));
        for bad in [
            r#"{"consensus_plugin":"noops","size":1,"services":[]}"#,
            r#"{"consensus_plugin":"noops","size":1,"image":"x"}"#,
            r#"{"consensus_plugin":"noops","size":-1,"image":"x","services":[]}"#,
            r#"{"consensus_plugin":"noops","size":1,"image":"x","services":[],"more":1}"#,
            r#"{"consensus_plugin":"noops","size":1,"image":"x","services":[],"pull":"soon"}"#,
        ] {
            assert!(serde_json::from_str::<TemplateJson>(bad).is_err(), "{bad}");
        }
    }
}
