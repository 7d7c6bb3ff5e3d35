//! Shards and their nodes (spec 3.3, 3.4).

use super::{
    Rejection, Reply, Secret, State,
    clusters::{NODES_MAX, new_nodes},
    command::{ClusterKey, NewNode},
    model::{Cluster, Node, Role, Shard},
    name,
};
use crate::domain::Context;

impl State {
    pub(super) fn add_shard(
        &mut self,
        context: &Context<'_>,
        key: &ClusterKey,
        nodes: &[NewNode],
        password: &Secret,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        if nodes.is_empty() {
            return Err(Rejection::NodesEmpty);
        }
        let addresses: Vec<&str> = nodes.iter().map(|node| node.addr.as_str()).collect();
        self.judge_unused(&addresses)?;
        name::judge_addresses(addresses.into_iter())?;
        judge_size(&cluster, nodes.len())?;
        self.judge_ids(nodes)?;
        let shard = Shard { nodes: new_nodes(context, nodes, password), ..Shard::default() };
        cluster.shards.push(shard.clone());
        cluster.version += 1;
        self.put(key, cluster);
        Ok(Reply::Shard(Box::new(shard)))
    }

    /// Later shards move down by one, and with them whatever names them by index.
    pub(super) fn remove_shard(
        &mut self,
        key: &ClusterKey,
        index: i64,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let index = cluster.index(index)?;
        let is_wanted = |target: u64| target == index as u64;
        let is_target =
            cluster.jobs.iter().any(|job| !job.phase.is_over() && is_wanted(job.target));
        if cluster.shards[index].is_servicing() || is_target {
            return Err(Rejection::ShardServicing);
        }
        cluster.shards.remove(index);
        let lower = |other: &mut u64| *other -= u64::from(*other > index as u64);
        for mark in cluster.shards.iter_mut().filter_map(|shard| shard.mark.as_mut()) {
            lower(&mut mark.target);
        }
        for job in cluster.jobs.iter_mut().filter(|job| !job.phase.is_over()) {
            lower(&mut job.target);
            job.source.as_mut().map(lower);
        }
        cluster.version += 1;
        self.put(key, cluster);
        Ok(Reply::Done)
    }

    pub(super) fn add_node(
        &mut self,
        context: &Context<'_>,
        (key, index): (&ClusterKey, i64),
        node: NewNode,
        (role, password): (&str, Secret),
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let index = cluster.index(index)?;
        let role = match role {
            "master" => Role::Master,
            "slave" | "" => Role::Slave,
            _ => return Err(Rejection::InvalidRole),
        };
        let nodes = &cluster.shards[index].nodes;
        if nodes.iter().any(|other| other.addr == node.addr) {
            return Err(Rejection::NodeExists);
        }
        if role == Role::Master && !nodes.is_empty() {
            return Err(Rejection::MasterExists);
        }
        self.judge_unused(&[&node.addr])?;
        name::judge_addresses(std::iter::once(node.addr.as_str()))?;
        judge_size(&cluster, 1)?;
        self.judge_ids(std::slice::from_ref(&node))?;
        let NewNode { id, addr } = node;
        cluster.shards[index].nodes.push(Node {
            id: id.clone(),
            addr,
            role,
            password,
            created_at: context.time_ms / 1000,
            is_failed: false,
        });
        cluster.version += 1;
        self.put(key, cluster);
        Ok(Reply::NodeAdded { id })
    }

    pub(super) fn remove_node(
        &mut self,
        key: &ClusterKey,
        index: i64,
        node_id: &str,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(key)?.as_ref().clone();
        let index = cluster.index(index)?;
        match cluster.shards[index].node(node_id) {
            None => return Err(Rejection::NodeNotFound),
            Some(node) if node.role == Role::Master => return Err(Rejection::RemoveMaster),
            Some(_) => cluster.shards[index].nodes.retain(|node| node.id != node_id),
        }
        cluster.version += 1;
        self.put(key, cluster);
        Ok(Reply::Done)
    }
}

impl Cluster {
    /// A shard's index, if there is such a shard.
    pub(super) fn index(&self, index: i64) -> Result<usize, Rejection> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.shards.len());
        index.ok_or(Rejection::IndexOutOfRange)
    }
}

fn judge_size(cluster: &Cluster, added: usize) -> Result<(), Rejection> {
    if cluster.nodes().count() + added > NODES_MAX {
        return Err(Rejection::TooMany { what: "nodes".to_owned(), max: NODES_MAX as u64 });
    }
    Ok(())
}
