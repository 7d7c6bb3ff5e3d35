//! Record and nodes come together again: newer topologies adopted, pushes asked for (spec 4.4).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Rejection, Reply, Secret, State,
    command::{ClusterKey, MigrationOutcome},
    health::cut,
    model::{Cluster, Node, Role, Shard, Sync},
    settings::AdoptPolicy,
    topology::{Topology, TopologyNode, TopologyShard},
};
use crate::domain::Context;

/// Longest error text kept of a push, bytes.
const ERROR_BYTES_MAX: usize = 256;

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
        cluster.validate()?;
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
        failures.iter_mut().for_each(|(_, error)| cut(error, ERROR_BYTES_MAX));
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
    let active: Vec<_> = cluster.active_jobs().cloned().collect();
    for job in active {
        let target = usize::try_from(job.target).unwrap_or(usize::MAX);
        let source = cluster.source_for(job.range, target);
        let is_owned = source.as_ref().is_ok_and(|index| Some(*index as u64) == job.source);
        if let Some(shard) =
            job.source.and_then(|index| cluster.shards.get_mut(usize::try_from(index).ok()?))
        {
            let mark = super::model::Mark { range: job.range, target: job.target, job: job.id };
            shard.mark = Some(mark);
        }
        if source == Err(Rejection::SameShard) && !lost.contains(&job.id) {
            finish_moved(context, cluster, job.id);
        } else if !is_owned || lost.contains(&job.id) {
            let error = "the nodes have another topology".to_owned();
            cluster.conclude(context, job.id, MigrationOutcome::Refused { error });
        }
    }
    cluster.start_jobs(context);
}

/// A job whose slots the nodes have given over already.
fn finish_moved(context: &Context<'_>, cluster: &mut Cluster, id: u64) {
    for shard in &mut cluster.shards {
        shard.mark.take_if(|mark| mark.job == id);
    }
    if let Ok(job) = cluster.job_mut(id) {
        job.phase = super::model::Phase::Succeeded;
        job.ended_ms = context.time_ms;
    }
}
