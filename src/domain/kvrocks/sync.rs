//! Record and nodes come together again: newer topologies adopted, pushes asked for (spec 4.4).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Rejection, Reply, Secret, State,
    clusters::NODES_MAX,
    command::{ClusterKey, MigrationOutcome},
    health::cut,
    model::{Cluster, Job, Mark, Node, Phase, Role, Shard, Sync},
    settings::AdoptPolicy,
    topology::{Topology, TopologyNode, TopologyShard},
};
use crate::domain::Context;

/// Longest error text kept of a push, bytes.
const ERROR_BYTES_MAX: usize = 256;
/// Longest address kept of a push, bytes.
const ADDRESS_BYTES_MAX: usize = 264;

impl State {
    pub(super) fn adopt_topology(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        base_version: u64,
        topology: &Topology,
    ) -> Result<Reply, Rejection> {
        let old = self.find(key)?;
        if old.version != base_version || topology.version <= old.version {
            return Err(Rejection::Updated);
        }
        self.judge_adoption(key, old, topology)?;
        let mut cluster = old.as_ref().clone();
        cluster.version = topology.version;
        cluster.shards = adopted_shards(context, old, topology);
        rewire_jobs(context, old, &mut cluster);
        cluster.admit()?;
        self.put(key, cluster);
        Ok(Reply::Done)
    }

    fn judge_adoption(
        &self,
        key: &ClusterKey,
        old: &Cluster,
        topology: &Topology,
    ) -> Result<(), Rejection> {
        let found: BTreeSet<&str> = topology.nodes().map(|node| node.id.as_str()).collect();
        let known: BTreeSet<&str> = old.nodes().map(|(_, node)| node.id.as_str()).collect();
        match self.settings.adopt_policy {
            AdoptPolicy::Never => {
                return Err(Rejection::NotAdopted("the settings say never".to_owned()));
            }
            AdoptPolicy::SameNodes if found != known => {
                return Err(Rejection::NotAdopted("the nodes are others".to_owned()));
            }
            AdoptPolicy::SameNodes | AdoptPolicy::Always => {}
        }
        for node in topology.nodes() {
            if self.addresses.get(&node.addr).is_some_and(|owner| owner != key) {
                return Err(Rejection::AddressesUsed(vec![node.addr.clone()]));
            }
            if self.node_ids.get(&node.id).is_some_and(|owner| owner != key) {
                return Err(Rejection::InvalidNodeId(node.id.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn request_sync(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        is_forced: bool,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let id = cluster.take_id();
        let requested_ms = context.time_ms;
        cluster.sync = Some(Sync { id, is_forced, requested_ms, failures: None });
        self.put(key, cluster);
        Ok(Reply::SyncRequested { sync: id })
    }

    pub(super) fn finish_sync(
        &mut self,
        key: &ClusterKey,
        id: u64,
        mut failures: Vec<(String, String)>,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        failures.truncate(NODES_MAX);
        for (addr, error) in &mut failures {
            cut(addr, ADDRESS_BYTES_MAX);
            cut(error, ERROR_BYTES_MAX);
        }
        match cluster.sync.as_mut().filter(|sync| sync.id == id && sync.failures.is_none()) {
            Some(sync) => sync.failures = Some(failures),
            None => return Err(Rejection::SyncNotFound),
        }
        self.put(key, cluster);
        Ok(Reply::Done)
    }
}

impl Topology {
    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &TopologyNode> {
        self.shards.iter().flat_map(|shard| std::iter::once(&shard.master).chain(&shard.replicas))
    }
}

/// The shards of the topology in the order that the record had them, as far as they share a node;
/// nodes keep their password and their time of creation, and their place in the shard.
fn adopted_shards(context: &Context<'_>, old: &Cluster, topology: &Topology) -> Vec<Shard> {
    let known: BTreeMap<&str, (usize, usize, &Node)> = old
        .shards
        .iter()
        .enumerate()
        .flat_map(|(index, shard)| {
            let nodes = shard.nodes.iter().enumerate();
            nodes.map(move |(place, node)| (node.id.as_str(), (index, place, node)))
        })
        .collect();
    let password = old.nodes().next().map(|(_, node)| node.password.clone()).unwrap_or_default();
    let place_of = |id: &str| known.get(id).map_or((usize::MAX, usize::MAX), |(i, p, _)| (*i, *p));
    let mut shards: Vec<&TopologyShard> = topology.shards.iter().collect();
    shards.sort_by_key(|shard| place_of(&shard.master.id).0);
    let adopt = |shard: &&TopologyShard| {
        let node = |node: &TopologyNode, role| {
            adopted_node(node, role, known.get(node.id.as_str()).map(|(_, _, node)| *node), || {
                (password.clone(), context.time_ms / 1000)
            })
        };
        let master = std::iter::once(node(&shard.master, Role::Master));
        let replicas = shard.replicas.iter().map(|replica| node(replica, Role::Slave));
        let mut nodes: Vec<Node> = master.chain(replicas).collect();
        nodes.sort_by_key(|node| place_of(&node.id));
        Shard { nodes, slots: shard.slots.clone(), mark: None }
    };
    shards.iter().map(adopt).collect()
}

fn adopted_node(
    node: &TopologyNode,
    role: Role,
    known: Option<&Node>,
    fresh: impl FnOnce() -> (Secret, u64),
) -> Node {
    let (password, created_at) = match known {
        Some(known) => (known.password.clone(), known.created_at),
        None => fresh(),
    };
    Node {
        id: node.id.clone(),
        addr: node.addr.clone(),
        role,
        password,
        created_at,
        is_failed: node.is_failed && role == Role::Slave,
    }
}

/// Jobs name shards by index: each follows the nodes it began with. A job that the nodes have
/// finished succeeds; one whose shards are gone fails.
fn rewire_jobs(context: &Context<'_>, old: &Cluster, cluster: &mut Cluster) {
    let shards = &cluster.shards;
    let position = |id: &str| {
        let found = shards.iter().position(|shard| shard.node(id).is_some());
        found.map(|index| index as u64)
    };
    let master_of = |index: u64| {
        let shard = old.shards.get(usize::try_from(index).ok()?)?;
        position(&shard.master()?.id)
    };
    let mut jobs = cluster.jobs.clone();
    let mut lost = Vec::new();
    for job in jobs.iter_mut().filter(|job| !job.phase.is_over()) {
        let source = job.source.and_then(master_of);
        let target = master_of(job.target);
        let is_kept = target.is_some() && (!job.phase.is_active() || source.is_some());
        if !is_kept || source == target {
            lost.push(job.id);
        }
        job.target = target.unwrap_or(u64::MAX);
        job.source = source;
    }
    cluster.jobs = jobs;
    let is_kept = |job: &&Job| !lost.contains(&job.id);
    let active: Vec<Job> = cluster.active_jobs().filter(is_kept).cloned().collect();
    for job in lost {
        refuse(context, cluster, job);
    }
    let mut taking_part = BTreeSet::new();
    for job in &active {
        let target = usize::try_from(job.target).unwrap_or(usize::MAX);
        match cluster.source_for(job.range, target) {
            Err(Rejection::SameShard) => finish_moved(context, cluster, job.id),
            // Shards that were two may be one by now, and take part in one migration only.
            Ok(source)
                if is_as_begun(cluster, job, (source, target))
                    && taking_part.is_disjoint(&BTreeSet::from([source, target])) =>
            {
                taking_part.extend([source, target]);
                let mark = Mark { range: job.range, target: job.target, job: job.id };
                cluster.shards[source].mark = Some(mark);
            }
            _ => refuse(context, cluster, job.id),
        }
    }
    cluster.start_jobs(context);
}

/// Whether the slots and both masters are where the attempt began.
fn is_as_begun(cluster: &Cluster, job: &Job, (source, target): (usize, usize)) -> bool {
    let is_master = |index: usize, id: &str| {
        cluster.shards[index].master().is_some_and(|master| master.id == id)
    };
    job.source == Some(source as u64)
        && is_master(source, &job.source_node)
        && is_master(target, &job.target_node)
}

fn refuse(context: &Context<'_>, cluster: &mut Cluster, job: u64) {
    let error = "the nodes have another topology".to_owned();
    if let Ok(waiting) = cluster.job_mut(job)
        && waiting.phase == Phase::Queued
    {
        (waiting.phase, waiting.ended_ms, waiting.error) = (Phase::Failed, context.time_ms, error);
        return;
    }
    cluster.conclude(context, job, MigrationOutcome::Refused { error });
}

/// A job whose slots the nodes have given over already.
fn finish_moved(context: &Context<'_>, cluster: &mut Cluster, id: u64) {
    if let Ok(job) = cluster.job_mut(id) {
        job.phase = Phase::Succeeded;
        job.ended_ms = context.time_ms;
    }
}
