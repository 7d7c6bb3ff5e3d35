//! What has to happen on a host so that it is as the record wants it: pure, from what was found.

use std::collections::BTreeMap;

use super::render;
use crate::client::runtime::{Container, ContainerSpec};

/// How the containers of a cluster come to be what their specs say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Creation {
    /// Names of containers that have to go: not asked for, or made after another spec.
    pub(super) remove: Vec<String>,
    /// Indices of specs without a container.
    pub(super) create: Vec<usize>,
    /// Names of containers that fit, but do not run.
    pub(super) start: Vec<String>,
}

/// Compares what a cluster's labels find with what is wanted. `None` if somebody has begun on it
/// for a newer intent already.
pub(super) fn creation(specs: &[ContainerSpec], found: &[Container], op: u64) -> Option<Creation> {
    if found.iter().any(|container| op_of(container) > op) {
        return None;
    }
    let mut others: BTreeMap<&str, &Container> =
        found.iter().map(|container| (container.name.as_str(), container)).collect();
    let mut plan = Creation::default();
    for (at, spec) in specs.iter().enumerate() {
        match others.remove(spec.name.as_str()) {
            Some(container) if fits(spec, container) => {
                if !container.is_running() {
                    plan.start.push(spec.name.clone());
                }
            }
            Some(_) => {
                plan.remove.push(spec.name.clone());
                plan.create.push(at);
            }
            None => plan.create.push(at),
        }
    }
    plan.remove.extend(others.into_keys().map(str::to_owned));
    Some(plan)
}

/// Whether a container was made after this spec, whichever intent it was made for.
fn fits(spec: &ContainerSpec, container: &Container) -> bool {
    spec.labels.get(render::SPEC).is_some_and(|wanted| container.label(render::SPEC) == wanted)
}

/// Log index of the intent that a container was made for.
pub(super) fn op_of(container: &Container) -> u64 {
    container.label(render::OP).parse().unwrap_or(0)
}

/// What a sweep may know of the state, all of it as of one log index.
pub(super) struct Records<'a> {
    /// The log index.
    pub(super) index: u64,
    /// The host that is swept.
    pub(super) host_id: &'a str,
    /// Whether a cluster has a record, anywhere.
    pub(super) has_cluster: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether a host has a record, or waits to be cleaned up.
    pub(super) has_host: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether this state can know what was made for an intent: a lost cluster's last ones it
    /// cannot, and users may be working with what they left.
    pub(super) may_sweep: &'a (dyn Fn(u64) -> bool + Sync),
}

/// Those of this installation's containers on a host that no record owns, nor will (spec 6.4). What
/// was made for an intent after the index stays: its record is only not known here yet. What another
/// host record's label says is that one's, as two records may mean the same daemon.
pub(super) fn orphans<'a>(found: &'a [Container], records: &Records<'_>) -> Vec<&'a Container> {
    let is_orphan = |container: &&Container| {
        let host = container.label(render::HOST);
        let is_here = host == records.host_id || !(records.has_host)(host);
        is_here
            && op_of(container) <= records.index
            && (records.may_sweep)(op_of(container))
            && !(records.has_cluster)(container.label(render::CLUSTER))
    };
    found.iter().filter(is_orphan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::runtime::ContainerState;

    fn spec(name: &str, fingerprint: &str) -> ContainerSpec {
        ContainerSpec {
            name: name.to_owned(),
            hostname: String::new(),
            image: String::new(),
            command: Vec::new(),
            environment: Vec::new(),
            labels: BTreeMap::from([(render::SPEC.to_owned(), fingerprint.to_owned())]),
            exposed: Vec::new(),
            published: BTreeMap::new(),
            network: String::new(),
            restart_policy: String::new(),
            memory_bytes: 0,
            memory_swap_bytes: 0,
            cpu_quota_us: 0,
            log: (String::new(), BTreeMap::new()),
        }
    }

    fn found(name: &str, labels: &[(&str, &str)], state: ContainerState) -> Container {
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let labels = labels.iter().map(label).collect();
        Container { id: format!("id-{name}"), name: name.to_owned(), labels, state }
    }

    #[test]
    fn what_fits_is_adopted_and_the_rest_is_made_anew() {
        let specs = [spec("a_0", "x"), spec("a_1", "x"), spec("a_2", "x"), spec("a_3", "x")];
        let running = ContainerState::Running;
        let containers = [
            found("a_0", &[(render::SPEC, "x"), (render::OP, "3")], running),
            found("a_1", &[(render::SPEC, "x"), (render::OP, "7")], ContainerState::Created),
            found("a_2", &[(render::SPEC, "y"), (render::OP, "7")], running),
            found("a_9", &[(render::SPEC, "x"), (render::OP, "7")], running),
        ];
        let expected = Creation {
            remove: vec!["a_2".to_owned(), "a_9".to_owned()],
            create: vec![2, 3],
            start: vec!["a_1".to_owned()],
        };
        assert_eq!(creation(&specs, &containers, 7), Some(expected));
        assert_eq!(creation(&specs, &containers, 6), None, "a newer intent is at work");
        let all = Creation { create: vec![0, 1, 2, 3], ..Creation::default() };
        assert_eq!(creation(&specs, &[], 7), Some(all));
    }

    #[test]
    fn a_sweep_takes_only_what_nobody_owns_and_nobody_will() {
        let records = Records {
            index: 10,
            host_id: "here",
            has_cluster: &|id| id == "kept",
            has_host: &|id| id == "here" || id == "there",
            may_sweep: &|op| op != 7,
        };
        for (host, cluster, op, is_orphan) in [
            ("here", "kept", "4", false),
            ("here", "gone", "4", true),
            ("here", "gone", "10", true),
            ("here", "gone", "7", false),
            ("here", "later", "11", false),
            ("there", "gone", "4", false),
            ("forgotten", "gone", "4", true),
            ("forgotten", "kept", "4", false),
            ("here", "gone", "", true),
        ] {
            let labels = [(render::HOST, host), (render::CLUSTER, cluster), (render::OP, op)];
            let containers = [found("a_0", &labels, ContainerState::Exited)];
            let is_found = !orphans(&containers, &records).is_empty();
            assert_eq!(is_found, is_orphan, "{host} {cluster} {op}");
        }
    }
}
