//! Committing a migration (route 15, spec 4.5).

use super::{
    Profile, Rejection, Reply, State,
    document::MigrationMeta,
    slots::{self, RangeList},
    state::Cluster,
};

impl State {
    /// Route 15. Only cluster, range list and epoch identify the task; addresses do not count.
    pub(super) fn commit_migration(
        &mut self,
        name: &str,
        range_list: &RangeList,
        tag_epoch: Option<u64>,
        profile: Profile,
    ) -> Result<Reply, Rejection> {
        let cluster = self.cluster(name)?;
        let tag_epoch = tag_epoch.ok_or(Rejection::InvalidMigrationTask)?;
        let meta =
            find_task(cluster, range_list, tag_epoch).ok_or(Rejection::MigrationTaskNotFound)?;
        let epoch = self.bump();
        self.edit_cluster(name, |cluster| {
            finish_task(cluster, range_list, &meta);
            cluster.epoch = epoch;
        });
        let addresses = self.cluster(name)?.proxy_addresses();
        // The documents promise that nodes without slots leave once a shrink has been committed.
        if profile == Profile::Document && !self.cluster(name)?.is_migrating() {
            self.drop_empty_chunks(name);
        }
        Ok(Reply::Committed { addresses })
    }
}

fn find_task(cluster: &Cluster, ranges: &RangeList, epoch: u64) -> Option<MigrationMeta> {
    cluster
        .chunks
        .iter()
        .flat_map(|chunk| chunk.migrating_slots.iter().flatten())
        .find(|entry| {
            entry.is_migrating && entry.meta.epoch == epoch && entry.range_list == *ranges
        })
        .map(|entry| entry.meta)
}

/// Drops both ends of a task and gives its slots to the destination.
fn finish_task(cluster: &mut Cluster, ranges: &RangeList, meta: &MigrationMeta) {
    let ends = [
        (meta.src_chunk_index, meta.src_chunk_part, true),
        (meta.dst_chunk_index, meta.dst_chunk_part, false),
    ];
    for (chunk_index, part, is_source) in ends {
        let (Ok(chunk_index), Ok(part)) = (usize::try_from(chunk_index), usize::try_from(part))
        else {
            continue;
        };
        let Some(chunk) = cluster.chunk_mut(chunk_index) else {
            continue;
        };
        if let Some(entries) = chunk.migrating_slots.get_mut(part) {
            entries.retain(|entry| {
                entry.is_migrating != is_source
                    || entry.meta != *meta
                    || entry.range_list != *ranges
            });
        }
        if let (false, Some(stable)) = (is_source, chunk.stable_slots.get_mut(part)) {
            let mut owned = stable.take().unwrap_or_default();
            owned.extend(ranges.iter().copied());
            *stable = Some(slots::compact(owned));
        }
    }
}
