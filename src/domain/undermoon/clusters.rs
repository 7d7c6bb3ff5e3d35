//! Creating, growing, configuring and removing clusters (routes 7 to 11, 16 and 17).

use std::sync::Arc;

use super::{
    Profile, Rejection, Reply, State, alloc,
    config::{ClusterConfig, CompressionStrategy},
    document::{ChunkStore, RolePosition},
    failure::restart_tasks,
    name, query,
    reject::ConfigFault,
    slots,
    state::{Cluster, count},
};

impl State {
    /// Route 7.
    pub(super) fn create_cluster(
        &mut self,
        name: &str,
        node_number: u64,
        profile: Profile,
    ) -> Result<Reply, Rejection> {
        if self.is_ordered && !self.clusters.is_empty() {
            return Err(Rejection::OneClusterAlreadyExisted);
        }
        judge_name(name, profile)?;
        if self.clusters.contains_key(name) {
            return Err(Rejection::AlreadyExisted);
        }
        let mut chunks = self.new_chunks(node_number, 0)?;
        let ranges = slots::even_ranges(count(chunks.len()).saturating_mul(2));
        let parts = chunks.iter_mut().flat_map(|chunk| &mut chunk.stable_slots);
        for (part, range) in parts.zip(ranges) {
            *part = range;
        }
        let epoch = self.bump();
        let config = self.settings.cluster_config;
        let cluster = Cluster { epoch, name: name.to_owned(), chunks: Vec::new(), config };
        self.clusters.insert(name.to_owned(), Arc::new(cluster));
        self.append_chunks(name, chunks);
        Ok(Reply::Done)
    }

    /// Route 8: its proxies become free, running migrations vanish with it.
    pub(super) fn delete_cluster(
        &mut self,
        name: &str,
        profile: Profile,
    ) -> Result<Reply, Rejection> {
        judge_name(name, profile)?;
        let cluster = self.clusters.remove(name).ok_or(Rejection::ClusterNotFound)?;
        for chunk in &cluster.chunks {
            self.release_chunk(chunk);
        }
        self.bump();
        Ok(Reply::Done)
    }

    /// Route 9, once lock and name have been judged.
    pub(super) fn add_nodes(&mut self, name: &str, node_number: u64) -> Result<Reply, Rejection> {
        let cluster = self.resting_cluster(name)?;
        let present = count(cluster.chunks.len());
        if node_number.saturating_add(cluster.node_number()) > alloc::NODES_MAX
            && node_number.is_multiple_of(4)
        {
            // Beyond this a master would own no slot. What the pool cannot give is told first.
            self.new_chunks(node_number, present.saturating_mul(2))?;
            return Err(Rejection::InvalidNodeNumber);
        }
        let chunks = self.new_chunks(node_number, present.saturating_mul(2))?;
        let epoch = self.bump();
        self.append_chunks(name, chunks);
        self.edit_cluster(name, |cluster| cluster.epoch = epoch);
        let skipped = usize::try_from(present.saturating_mul(4)).unwrap_or(usize::MAX);
        let nodes = query::cluster(self, name).map(|view| view.nodes).unwrap_or_default();
        Ok(Reply::NodesAdded(nodes.into_iter().skip(skipped).collect()))
    }

    /// Route 10, once lock and name have been judged.
    pub(super) fn add_nodes_up_to(&mut self, name: &str, total: u64) -> Result<Reply, Rejection> {
        let present = self.cluster(name)?.node_number();
        if total <= present {
            return Err(Rejection::NodeNumAlreadyEnough);
        }
        self.add_nodes(name, total.saturating_sub(present))
    }

    /// Route 11, once lock and name have been judged.
    pub(super) fn delete_free_nodes(&mut self, name: &str) -> Result<Reply, Rejection> {
        self.resting_cluster(name)?;
        if !self.drop_empty_chunks(name) {
            return Err(Rejection::FreeNodeNotFound);
        }
        let epoch = self.bump();
        self.edit_cluster(name, |cluster| cluster.epoch = epoch);
        Ok(Reply::Done)
    }

    /// Route 16: all pairs or none.
    pub(super) fn change_config(
        &mut self,
        name: &str,
        pairs: &[(String, String)],
        profile: Profile,
    ) -> Result<Reply, Rejection> {
        judge_name(name, profile)?;
        let mut config = self.resting_cluster(name)?.config;
        for (field, value) in pairs {
            set_field(&mut config, field, value).map_err(|reason| Rejection::InvalidConfig {
                field: field.clone(),
                value: value.clone(),
                reason,
            })?;
        }
        let epoch = self.bump();
        self.edit_cluster(name, |cluster| {
            cluster.config = config;
            cluster.epoch = epoch;
        });
        Ok(Reply::Done)
    }

    /// Route 17: chunks of which neither proxy failed or is reported get one master on each side.
    /// Migrations of a part that moves start afresh, so that what its former master reports late
    /// commits nothing.
    pub(super) fn balance_masters(
        &mut self,
        name: &str,
        profile: Profile,
    ) -> Result<Reply, Rejection> {
        judge_name(name, profile)?;
        let is_healthy = |address: &String| {
            !self.failed.contains(address) && !self.failures.contains_key(address)
        };
        let unbalanced: Vec<(usize, u64)> = self
            .cluster(name)?
            .chunks
            .iter()
            .enumerate()
            .filter(|(_, chunk)| chunk.proxy_addresses.iter().all(is_healthy))
            .filter_map(|(index, chunk)| Some((index, borrowed_part(chunk.role_position)?)))
            .collect();
        let epoch = self.bump();
        self.edit_cluster(name, |cluster| {
            for (index, _) in &unbalanced {
                if let Some(chunk) = cluster.chunk_mut(*index) {
                    chunk.role_position = RolePosition::Normal;
                }
            }
            let moved = unbalanced.iter().map(|(index, part)| (count(*index), *part)).collect();
            restart_tasks(cluster, &moved, epoch);
            cluster.epoch = epoch;
        });
        Ok(Reply::Done)
    }

    /// The cluster of that name.
    pub(super) fn cluster(&self, name: &str) -> Result<&Arc<Cluster>, Rejection> {
        self.clusters.get(name).ok_or(Rejection::ClusterNotFound)
    }

    /// The cluster of that name, refused while slots are on their way.
    pub(super) fn resting_cluster(&self, name: &str) -> Result<&Arc<Cluster>, Rejection> {
        let cluster = self.cluster(name)?;
        if cluster.is_migrating() {
            return Err(Rejection::MigrationRunning);
        }
        Ok(cluster)
    }

    /// Removes the chunks without slots and frees their proxies; false if there are none.
    pub(super) fn drop_empty_chunks(&mut self, name: &str) -> bool {
        let Some(cluster) = self.clusters.get(name) else {
            return false;
        };
        let empty: Vec<Arc<ChunkStore>> =
            cluster.chunks.iter().filter(|chunk| chunk.is_empty()).cloned().collect();
        if empty.is_empty() {
            return false;
        }
        self.edit_cluster(name, |cluster| cluster.chunks.retain(|chunk| !chunk.is_empty()));
        for chunk in empty {
            self.release_chunk(&chunk);
        }
        true
    }

    fn new_chunks(
        &self,
        node_number: u64,
        present_proxies: u64,
    ) -> Result<Vec<ChunkStore>, Rejection> {
        if node_number == 0 || !node_number.is_multiple_of(4) {
            return Err(Rejection::InvalidNodeNumber);
        }
        let chunks = alloc::allocate(self, node_number, present_proxies)?;
        if node_number > alloc::NODES_MAX {
            return Err(Rejection::InvalidNodeNumber);
        }
        Ok(chunks)
    }

    fn append_chunks(&mut self, name: &str, chunks: Vec<ChunkStore>) {
        for chunk in &chunks {
            self.link(&chunk.hosts);
            for address in &chunk.proxy_addresses {
                self.assign(address, Some(name));
            }
        }
        self.edit_cluster(name, |cluster| {
            cluster.chunks.extend(chunks.into_iter().map(Arc::new));
        });
    }

    fn release_chunk(&mut self, chunk: &ChunkStore) {
        self.unlink(&chunk.hosts);
        for address in &chunk.proxy_addresses {
            self.assign(address, None);
        }
    }
}

/// Refuses what is not a cluster name.
pub(super) fn judge_name(name: &str, profile: Profile) -> Result<(), Rejection> {
    if name::is_valid(name, profile) { Ok(()) } else { Err(Rejection::InvalidClusterName) }
}

/// The part that moves when a chunk gets one master on each side again; `None` if it has that.
fn borrowed_part(role: RolePosition) -> Option<u64> {
    match role {
        RolePosition::Normal => None,
        RolePosition::FirstChunkMaster => Some(1),
        RolePosition::SecondChunkMaster => Some(0),
    }
}

fn set_field(config: &mut ClusterConfig, field: &str, value: &str) -> Result<(), ConfigFault> {
    let migration = &mut config.migration_config;
    let place = match field.to_ascii_lowercase().as_str() {
        "compression_strategy" => {
            config.compression_strategy = strategy(value).ok_or(ConfigFault::InvalidValue)?;
            return Ok(());
        }
        "migration_max_migration_time" => &mut migration.max_migration_time,
        "migration_max_blocking_time" => &mut migration.max_blocking_time,
        "migration_scan_interval" => &mut migration.scan_interval,
        "migration_scan_count" => {
            let scan_count = number(value)?;
            if scan_count == 0 {
                return Err(ConfigFault::InvalidValue);
            }
            migration.scan_count = scan_count;
            return Ok(());
        }
        _ => return Err(ConfigFault::FieldNotFound),
    };
    *place = number(value)?;
    Ok(())
}

fn number(value: &str) -> Result<u64, ConfigFault> {
    value.parse().map_err(|_| ConfigFault::InvalidValue)
}

/// Reads a compression strategy in any case.
#[must_use]
pub fn strategy(value: &str) -> Option<CompressionStrategy> {
    match value.to_ascii_lowercase().as_str() {
        "disabled" => Some(CompressionStrategy::Disabled),
        "set_get_only" => Some(CompressionStrategy::SetGetOnly),
        "allow_all" => Some(CompressionStrategy::AllowAll),
        _ => None,
    }
}
