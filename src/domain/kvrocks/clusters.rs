//! Clusters come and go: created from addresses, imported from running nodes, loaded from an
//! export (spec 3.1, 3.2, 6.1).

use super::{
    Rejection, Reply, Secret, State,
    command::{ClusterKey, NewNode},
    model::{Cluster, Job, Mark, Node, Phase, Role, Shard},
    name,
    slots::{self, SLOT_COUNT, SlotRange},
    topology::{Topology, TopologyNode},
};
use crate::domain::Context;

/// Most nodes of one cluster.
pub(super) const NODES_MAX: usize = 16_384;

impl State {
    pub(super) fn create_cluster(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        nodes: &[NewNode],
        (replicas, password): (i64, &Secret),
    ) -> Result<Reply, Rejection> {
        let addresses: Vec<&str> = nodes.iter().map(|node| node.addr.as_str()).collect();
        let replicas = self.judge_new_cluster(key, &addresses, replicas)?;
        if self.find(key).is_ok() {
            return Err(Rejection::ClusterExists);
        }
        self.judge_ids(nodes)?;
        let groups: Vec<&[NewNode]> = nodes.chunks(replicas).collect();
        let shards_max = Rejection::TooMany { what: "shards".to_owned(), max: SLOT_COUNT.into() };
        let parts = slots::split(u16::try_from(groups.len()).map_err(|_| shards_max)?);
        let shards = groups.iter().zip(parts).map(|(group, part)| Shard {
            nodes: new_nodes(context, group, password),
            slots: vec![part],
            mark: None,
        });
        let cluster = Cluster {
            name: key.name.clone(),
            version: 1,
            shards: shards.collect(),
            ..Cluster::default()
        };
        self.put(key, cluster.clone());
        Ok(Reply::Cluster(Box::new(cluster)))
    }

    /// Everything about a new cluster that is judged before its nodes are asked (spec 3.1), in the
    /// order of the original. Answers how many nodes make a shard.
    pub(super) fn judge_new_cluster(
        &self,
        key: &ClusterKey,
        addresses: &[&str],
        replicas: i64,
    ) -> Result<usize, Rejection> {
        if !self.namespaces.contains_key(&key.namespace) {
            return Err(Rejection::NamespaceRequired);
        }
        name::judge_cluster(&key.name)?;
        self.judge_unused(addresses)?;
        if addresses.is_empty() {
            return Err(Rejection::ClusterNodesEmpty);
        }
        if replicas < 0 {
            return Err(Rejection::ReplicasNegative);
        }
        let not_divisible = |_| Rejection::NotDivisible;
        let replicas = usize::try_from(replicas.max(1)).map_err(not_divisible)?;
        if !addresses.len().is_multiple_of(replicas) {
            return Err(Rejection::NotDivisible);
        }
        name::judge_addresses(addresses.iter().copied())?;
        if addresses.len() > NODES_MAX {
            return Err(Rejection::TooMany { what: "nodes".to_owned(), max: NODES_MAX as u64 });
        }
        Ok(replicas)
    }

    /// Refuses addresses that any cluster has.
    pub(super) fn judge_unused(&self, addresses: &[&str]) -> Result<(), Rejection> {
        let used: Vec<String> = addresses
            .iter()
            .filter(|addr| self.addresses.contains_key(**addr))
            .map(|addr| (*addr).to_owned())
            .collect();
        if used.is_empty() { Ok(()) } else { Err(Rejection::AddressesUsed(used)) }
    }

    /// Refuses ids that are malformed, repeated or in use.
    pub(super) fn judge_ids(&self, nodes: &[NewNode]) -> Result<(), Rejection> {
        name::judge_new_ids(nodes)?;
        match nodes.iter().find(|node| self.node_ids.contains_key(&node.id)) {
            Some(node) => Err(Rejection::InvalidNodeId(node.id.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn import_cluster(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        topology: &Topology,
        password: &Secret,
    ) -> Result<Reply, Rejection> {
        if !self.namespaces.contains_key(&key.namespace) {
            return Err(Rejection::NamespaceRequired);
        }
        name::judge_cluster(&key.name)?;
        let created_at = context.time_ms / 1000;
        let mut cluster =
            Cluster { name: key.name.clone(), version: topology.version, ..Cluster::default() };
        for shard in &topology.shards {
            let node = |node: &TopologyNode, role| Node {
                id: node.id.clone(),
                addr: node.addr.clone(),
                role,
                password: password.clone(),
                created_at,
                is_failed: node.is_failed && role == Role::Slave,
            };
            let master = std::iter::once(node(&shard.master, Role::Master));
            let replicas = shard.replicas.iter().map(|replica| node(replica, Role::Slave));
            cluster.shards.push(Shard {
                nodes: master.chain(replicas).collect(),
                slots: shard.slots.clone(),
                mark: None,
            });
        }
        for (source, shard) in topology.shards.iter().enumerate() {
            if let Some((range, target)) = &shard.migrating {
                take_over_migration(&mut cluster, context, (source, *range), target);
            }
        }
        self.admit_cluster(key, &cluster)?;
        self.put(key, cluster.clone());
        Ok(Reply::Cluster(Box::new(cluster)))
    }

    pub(super) fn load_cluster(
        &mut self,
        key: &ClusterKey,
        mut record: Cluster,
    ) -> Result<Reply, Rejection> {
        name::judge_namespace(&key.namespace)?;
        name::judge_cluster(&key.name)?;
        record.name.clone_from(&key.name);
        if let Ok(have) = self.find(key)
            && have.is_same_record(&record)
        {
            return Ok(Reply::Cluster(Box::new(have.as_ref().clone())));
        }
        self.admit_cluster(key, &record)?;
        self.put(key, record.clone());
        Ok(Reply::Cluster(Box::new(record)))
    }

    /// Judges a whole cluster that comes from elsewhere.
    fn admit_cluster(&self, key: &ClusterKey, cluster: &Cluster) -> Result<(), Rejection> {
        if cluster.shards.is_empty() {
            return Err(Rejection::ClusterNodesEmpty);
        }
        let addresses: Vec<&str> = cluster.nodes().map(|(_, node)| node.addr.as_str()).collect();
        self.judge_unused(&addresses)?;
        cluster.admit()?;
        if let Some((_, node)) =
            cluster.nodes().find(|(_, node)| self.node_ids.contains_key(&node.id))
        {
            return Err(Rejection::InvalidNodeId(node.id.clone()));
        }
        if self.find(key).is_ok() {
            return Err(Rejection::ClusterExists);
        }
        Ok(())
    }

    pub(super) fn delete_cluster(&mut self, key: &ClusterKey) -> Result<Reply, Rejection> {
        self.take(key).map(|_| Reply::Done).ok_or(Rejection::ClusterNotFound)
    }

    pub(super) fn change_password(
        &mut self,
        key: &ClusterKey,
        node_id: Option<&str>,
        password: &Secret,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let mut is_found = node_id.is_none();
        for node in cluster.shards.iter_mut().flat_map(|shard| &mut shard.nodes) {
            if node_id.is_none_or(|id| id == node.id) {
                node.password = password.clone();
                is_found = true;
            }
        }
        if !is_found {
            return Err(Rejection::NodeNotFound);
        }
        self.put(key, cluster);
        Ok(Reply::Done)
    }
}

/// The nodes of a new shard: the first is the master.
pub(super) fn new_nodes(context: &Context<'_>, group: &[NewNode], password: &Secret) -> Vec<Node> {
    let node = |(index, new): (usize, &NewNode)| Node {
        id: new.id.clone(),
        addr: new.addr.clone(),
        role: if index == 0 { Role::Master } else { Role::Slave },
        password: password.clone(),
        created_at: context.time_ms / 1000,
        is_failed: false,
    };
    group.iter().enumerate().map(node).collect()
}

/// Makes a running job of a migration that the nodes were at; one whose shards cannot be told is
/// left to the nodes, as are further ones of the same shards.
fn take_over_migration(
    cluster: &mut Cluster,
    context: &Context<'_>,
    (source, range): (usize, SlotRange),
    target_node: &str,
) {
    let is_master = |shard: &Shard| shard.master().is_some_and(|node| node.id == target_node);
    let Some(target) = cluster.shards.iter().position(is_master) else { return };
    cluster.take_over(source, range, target, context.time_ms);
}

impl Cluster {
    /// Makes a running job of a migration that is going on already; false, and nothing done, if it
    /// cannot be: the slots are not the source's, or one of the shards takes part in another.
    pub fn take_over(
        &mut self,
        source: usize,
        range: SlotRange,
        target: usize,
        time_ms: u64,
    ) -> bool {
        let master = |shard: Option<&Shard>| shard?.master().map(|node| node.id.clone());
        let (Some(source_node), Some(target_node)) =
            (master(self.shards.get(source)), master(self.shards.get(target)))
        else {
            return false;
        };
        let is_owned = self.shards[source].slots.iter().any(|have| have.contains(range));
        let is_busy = self.is_migrating(source) || self.is_migrating(target);
        if target == source || !is_owned || is_busy {
            return false;
        }
        let id = self.take_id();
        self.shards[source].mark = Some(Mark { range, target: target as u64, job: id });
        self.jobs.push(Job {
            id,
            range,
            target: target as u64,
            source: Some(source as u64),
            source_node,
            target_node,
            phase: Phase::Running,
            attempt: 1,
            attempts_max: 1,
            is_cancel_requested: false,
            queued_ms: time_ms,
            started_ms: time_ms,
            accepted_ms: time_ms,
            ended_ms: 0,
            error: String::new(),
        });
        true
    }

    /// Whether both stand for the same record of an export: all that the original stores is equal;
    /// what only this program remembers does not matter.
    #[must_use]
    pub fn is_same_record(&self, other: &Self) -> bool {
        let is_same = |(mine, its): (&Shard, &Shard)| {
            let way = |shard: &Shard| shard.mark.map(|mark| (mark.range, mark.target));
            mine.nodes == its.nodes && mine.slots == its.slots && way(mine) == way(its)
        };
        (&self.name, self.version) == (&other.name, other.version)
            && self.shards.len() == other.shards.len()
            && self.shards.iter().zip(&other.shards).all(is_same)
    }
}
