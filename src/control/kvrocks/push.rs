//! Which nodes are told the topology, and in which order (spec 4.6). Pure.
//!
//! Three things order a push. A destination whose import must end is told first: a demoted source
//! would go on sending otherwise. A node that is to stop being master is told before the others, so
//! that no write is taken that its successor does not have. And while slots are on their way, their
//! two masters are left alone: a new version would end the import.

use crate::{
    domain::kvrocks::{
        model::{Cluster, Node, Phase, Role},
        slots,
    },
    observe::kvrocks::sight::{Sight, SightMap},
};

use super::memory::{Memory, drift_is_old};

/// One node to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Push {
    /// The node.
    pub(super) node_id: String,
    /// Over whatever it has: its view is wrong although its version is right, or an operator wants
    /// it.
    pub(super) is_forced: bool,
    /// Why, for the log.
    pub(super) reason: String,
}

/// Nodes to be told, in steps: a step is taken when the one before is over, whatever came of it.
pub(super) type Steps = Vec<Vec<Push>>;

/// Plans what is due now. A node that does not answer is told when it does.
#[must_use]
pub(super) fn plan(
    cluster: &Cluster,
    sights: &SightMap,
    memory: &mut Memory,
    now_ms: u64,
) -> Steps {
    let mut due = Vec::new();
    for (index, node) in cluster.nodes() {
        let Some(sight) = sights.get(&node.id) else { continue };
        let wanted = Wanted::new(cluster, index, node);
        let Some(push) = wanted.judge(node, sight, memory) else { continue };
        if is_held(cluster, node, sight, memory) || !memory.may_push(&node.id, now_ms) {
            continue;
        }
        due.push(push);
    }
    in_steps(cluster, sights, due)
}

/// Nodes that had trouble and are as they ought to be now.
pub(super) fn relieved<'a>(cluster: &'a Cluster, sights: &SightMap) -> Vec<&'a str> {
    let is_relieved = |(index, node): &(usize, &'a Node)| {
        let wanted = Wanted::new(cluster, *index, node);
        sights.get(&node.id).is_some_and(|sight| {
            let is_there = sight.epoch() == Some(wanted.version);
            sight.trouble.is_some() && is_there && wanted.fault(node, sight).is_none()
        })
    };
    cluster.nodes().filter(is_relieved).map(|(_, node)| node.id.as_str()).collect()
}

/// Plans a push to every node, because somebody asked for it. Only force disturbs a migration.
#[must_use]
pub(super) fn plan_all(
    cluster: &Cluster,
    sights: &SightMap,
    memory: &Memory,
    is_forced: bool,
) -> Steps {
    let is_told = |node: &Node| {
        let sight = sights.get(&node.id);
        is_forced || sight.is_none_or(|sight| !is_held(cluster, node, sight, memory))
    };
    let nodes = cluster.nodes().map(|(_, node)| node).filter(|node| is_told(node));
    let push =
        |node: &Node| Push { node_id: node.id.clone(), is_forced, reason: "asked for".to_owned() };
    in_steps(cluster, sights, nodes.map(push).collect())
}

/// What a node ought to say of itself.
struct Wanted<'a> {
    cluster: &'a Cluster,
    nodes: u64,
    slots: u64,
    version: i64,
    /// Address of the master it ought to follow.
    master: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(cluster: &'a Cluster, index: usize, node: &Node) -> Self {
        let master = cluster.shards[index].master().map(|master| master.addr.as_str());
        Self {
            cluster,
            nodes: cluster.nodes().count() as u64,
            slots: cluster.shards.iter().map(|shard| slots::count(&shard.slots)).sum(),
            version: i64::try_from(cluster.version).unwrap_or(i64::MAX),
            master: master.filter(|_| node.role == Role::Slave),
        }
    }

    fn judge(&self, node: &Node, sight: &Sight, memory: &mut Memory) -> Option<Push> {
        let epoch = sight.epoch()?;
        let push = |is_forced, reason| Push { node_id: node.id.clone(), is_forced, reason };
        if epoch < self.version {
            memory.drifts.remove(&node.id);
            return Some(push(false, format!("it is at version {epoch}")));
        }
        let fault = if epoch == self.version { self.fault(node, sight) } else { None };
        let Some(fault) = fault else {
            memory.drifts.remove(&node.id);
            memory.pushes.remove(&node.id);
            return None;
        };
        // A push takes a moment to show; what stays wrong is repaired.
        drift_is_old(memory, &node.id, sight.round).then(|| push(true, fault))
    }

    /// What is wrong at the right version.
    fn fault(&self, node: &Node, sight: &Sight) -> Option<String> {
        let info = sight.info()?;
        if info.known_nodes != self.nodes {
            return Some(format!("it knows {} nodes", info.known_nodes));
        }
        if info.slots_assigned < self.slots {
            return Some(format!("it knows owners of {} slots", info.slots_assigned));
        }
        if let Some(said) = sight.said() {
            if said.role != node.role {
                return Some(format!("it calls itself {}", said.role.as_str()));
            }
            if said.master.as_deref() != self.master {
                return Some("it follows another master".to_owned());
            }
        }
        let compared = sight.compared.as_ref();
        let compared = compared.filter(|compared| compared.version == self.cluster.version);
        compared.and_then(|compared| compared.fault.clone())
    }
}

/// Whether a migration that goes on, or may go on, must not be disturbed. A node that has to change
/// its role is told all the same.
fn is_held(cluster: &Cluster, node: &Node, sight: &Sight, memory: &Memory) -> bool {
    let takes_part = cluster.active_jobs().any(|job| {
        let is_ordered = job.phase == Phase::Running || memory.was_ordered(job);
        is_ordered && (job.source_node == node.id || job.target_node == node.id)
    });
    let role = sight.replication.as_ref().map(|replication| replication.role);
    takes_part && role.is_none_or(|role| role == node.role) && sight.epoch() != Some(-1)
}

fn in_steps(cluster: &Cluster, sights: &SightMap, due: Vec<Push>) -> Steps {
    let mut steps = vec![Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for push in due {
        steps[step_of(cluster, sights, &push.node_id)].push(push);
    }
    steps.retain(|step| !step.is_empty());
    steps
}

fn step_of(cluster: &Cluster, sights: &SightMap, node_id: &str) -> usize {
    let ended_badly = cluster.jobs.iter().any(|job| {
        let was_tried = job.attempt > 0 && job.target_node == node_id;
        was_tried && !job.phase.is_active() && job.phase != Phase::Succeeded
    });
    let sight = sights.get(node_id);
    let is_importing = sight
        .and_then(Sight::info)
        .is_some_and(|info| info.importing.as_ref().is_some_and(|import| import.state == "start"));
    let node = cluster.nodes().find(|(_, node)| node.id == node_id).map(|(_, node)| node);
    let said = sight.and_then(|sight| sight.replication.as_ref());
    let is_demoted = node.is_some_and(|node| node.role == Role::Slave)
        && said.is_some_and(|said| said.role == Role::Master);
    // Whoever gives slots away deletes their keys: it is told last.
    let gave =
        cluster.jobs.iter().any(|job| job.phase == Phase::Succeeded && job.source_node == node_id);
    match () {
        () if ended_badly || is_importing => 0,
        () if is_demoted => 1,
        () if gave => 3,
        () => 2,
    }
}

#[cfg(test)]
#[path = "push_test.rs"]
mod tests;
