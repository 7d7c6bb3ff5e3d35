//! Spreading slots over more or fewer chunks (routes 12 to 14, spec 4.2, 4.3 and 4.6).

use super::{
    Profile, Rejection, Reply, State,
    document::{MigrationEntry, MigrationMeta},
    slots::{self, RangeList},
    state::{Cluster, ScaleLease, count},
};
use crate::domain::Context;

/// One step of a redistribution: ranges that leave one master for another.
struct Task {
    source: u64,
    destination: u64,
    ranges: RangeList,
}

impl State {
    /// Refuses while somebody else changes the number of nodes (spec 4.7).
    pub(super) fn judge_lock(&self, context: &Context<'_>) -> Result<(), Rejection> {
        match self.scale_lease {
            Some(lease) if lease.expires_ms > context.time_ms => Err(Rejection::NodeNumberChanging),
            _ => Ok(()),
        }
    }

    /// Route 12, once lock and name have been judged. The epoch rises also when it is refused.
    pub(super) fn expand(&mut self, name: &str, profile: Profile) -> Result<Reply, Rejection> {
        let epoch = self.bump();
        let cluster = self.cluster(name)?;
        judge_migration_first(cluster, profile)?;
        let has_part_without_slots =
            cluster.chunks.iter().any(|chunk| chunk.stable_slots.iter().any(Option::is_none));
        if !has_part_without_slots {
            return Err(Rejection::SlotsAlreadyEven);
        }
        if cluster.is_migrating() {
            return Err(Rejection::MigrationRunning);
        }
        let mut owned = owned_ranges(cluster);
        let tasks = expansion(cluster, &mut owned);
        self.start_tasks(name, owned, &tasks, epoch);
        Ok(Reply::Done)
    }

    /// Route 13, once lock and name have been judged. The epoch rises also when it is refused.
    pub(super) fn shrink(
        &mut self,
        name: &str,
        node_number: u64,
        profile: Profile,
    ) -> Result<Reply, Rejection> {
        let epoch = self.bump();
        let cluster = self.cluster(name)?;
        judge_migration_first(cluster, profile)?;
        let has_part_without_slots =
            cluster.chunks.iter().any(|chunk| chunk.stable_slots.iter().any(Option::is_none));
        if has_part_without_slots {
            return Err(Rejection::FreeNodeFound);
        }
        if cluster.is_migrating() {
            return Err(Rejection::MigrationRunning);
        }
        if node_number == 0
            || !node_number.is_multiple_of(4)
            || node_number >= cluster.node_number()
        {
            return Err(Rejection::InvalidNodeNumber);
        }
        let mut owned = owned_ranges(cluster);
        let tasks = shrinkage(&mut owned, node_number / 2);
        self.start_tasks(name, owned, &tasks, epoch);
        Ok(Reply::Done)
    }

    /// Route 14, first step, once lock and name have been judged.
    pub(super) fn auto_scale(
        &mut self,
        context: &Context<'_>,
        name: &str,
        node_number: u64,
        (lease_ms, run): (u64, [u8; 16]),
    ) -> Result<Reply, Rejection> {
        self.resting_cluster(name)?;
        if self.drop_empty_chunks(name) {
            let epoch = self.bump();
            self.edit_cluster(name, |cluster| cluster.epoch = epoch);
        }
        let present = self.cluster(name)?.node_number();
        if present == node_number {
            return Ok(Reply::Done);
        }
        if present > node_number {
            return self.shrink(name, node_number, Profile::Program);
        }
        self.add_nodes_up_to(name, node_number)?;
        self.take_lease(context, run, lease_ms);
        let cluster = self.cluster(name)?;
        Ok(Reply::ScaleStarted { proxies: cluster.proxy_addresses(), epoch: cluster.epoch })
    }

    /// Route 14, last step; the lease is given back whatever comes of it.
    pub(super) fn auto_expand(
        &mut self,
        context: &Context<'_>,
        name: &str,
        node_number: u64,
        run: [u8; 16],
    ) -> Result<Reply, Rejection> {
        self.judge_holder(context, run)?;
        self.scale_lease = None;
        let parts_with_slots = self
            .cluster(name)?
            .chunks
            .iter()
            .flat_map(|chunk| &chunk.stable_slots)
            .filter(|stable| stable.is_some())
            .count();
        if count(parts_with_slots).saturating_mul(2) >= node_number {
            return Ok(Reply::Done);
        }
        self.expand(name, Profile::Program)
    }

    /// Keeps the lease of a running scaling.
    pub(super) fn renew_scale_lease(
        &mut self,
        context: &Context<'_>,
        run: [u8; 16],
        lease_ms: u64,
    ) -> Result<Reply, Rejection> {
        self.judge_holder(context, run)?;
        self.take_lease(context, run, lease_ms);
        Ok(Reply::Done)
    }

    /// Gives the lease back; nothing happens if somebody else holds it by now.
    pub(super) fn release_scale_lease(&mut self, run: [u8; 16]) -> Reply {
        self.scale_lease = self.scale_lease.filter(|lease| lease.run != run);
        Reply::Done
    }

    fn take_lease(&mut self, context: &Context<'_>, run: [u8; 16], lease_ms: u64) {
        let expires_ms = context.time_ms.saturating_add(lease_ms);
        self.scale_lease = Some(ScaleLease { run, expires_ms });
    }

    fn judge_holder(&self, context: &Context<'_>, run: [u8; 16]) -> Result<(), Rejection> {
        match self.scale_lease {
            Some(lease) if lease.run == run && lease.expires_ms > context.time_ms => Ok(()),
            _ => Err(Rejection::NodeNumberChanging),
        }
    }

    fn start_tasks(
        &mut self,
        name: &str,
        owned: Vec<Option<RangeList>>,
        tasks: &[Task],
        epoch: u64,
    ) {
        self.edit_cluster(name, |cluster| {
            for (master, ranges) in owned.into_iter().enumerate() {
                if let Some(chunk) = cluster.chunk_mut(master / 2) {
                    chunk.stable_slots[master % 2] = ranges.map(slots::compact);
                }
            }
            for task in tasks {
                add_entries(cluster, task, epoch);
            }
            cluster.epoch = epoch;
        });
    }
}

/// The documents promise `MIGRATION_RUNNING` for expand and shrink whatever else is true; the
/// programs look at the slots first and often name another refusal (spec 2.5).
fn judge_migration_first(cluster: &Cluster, profile: Profile) -> Result<(), Rejection> {
    match profile {
        Profile::Document if cluster.is_migrating() => Err(Rejection::MigrationRunning),
        Profile::Document | Profile::Program => Ok(()),
    }
}

/// What each master owns, in master order; `None` without slots.
fn owned_ranges(cluster: &Cluster) -> Vec<Option<RangeList>> {
    cluster.chunks.iter().flat_map(|chunk| chunk.stable_slots.iter().cloned()).collect()
}

/// Spec 4.2: the masters with slots give to the empty ones at the end of the list.
fn expansion(cluster: &Cluster, owned: &mut [Option<RangeList>]) -> Vec<Task> {
    let sources =
        count(cluster.chunks.iter().filter(|chunk| !chunk.is_empty()).count()).saturating_mul(2);
    let masters = count(owned.len());
    let mut tasks = Vec::new();
    let (mut destination, mut got, mut taken) = (sources, 0_u64, RangeList::new());
    for source in 0..sources {
        let Some(ranges) = owned.get_mut(index_of(source)).and_then(Option::as_mut) else {
            continue;
        };
        let keep = slots::even_share(masters, source);
        while destination < masters && slots::size(ranges) > keep {
            let wanted = slots::even_share(masters, destination).saturating_sub(got);
            let surplus = slots::size(ranges).saturating_sub(keep);
            if let Some(range) = slots::take_from_end(ranges, wanted.min(surplus)) {
                got = got.saturating_add(slots::length(range));
                taken.push(range);
            }
            let is_full = got >= slots::even_share(masters, destination);
            if is_full || slots::size(ranges) <= keep {
                push_task(&mut tasks, source, destination, &mut taken);
            }
            if is_full {
                destination = destination.saturating_add(1);
                got = 0;
            }
        }
    }
    tasks
}

/// Spec 4.3: the masters behind the first `kept` give everything away.
fn shrinkage(owned: &mut [Option<RangeList>], kept: u64) -> Vec<Task> {
    let masters = count(owned.len());
    let room: Vec<u64> = (0..kept)
        .map(|master| {
            let have = owned.get(index_of(master)).and_then(Option::as_ref);
            let have = have.map_or(0, |ranges| slots::size(ranges));
            slots::even_share(kept, master).saturating_sub(have)
        })
        .collect();
    let room_of = |master: u64| room.get(index_of(master)).copied().unwrap_or(0);
    let mut tasks = Vec::new();
    let (mut destination, mut got, mut taken) = (0_u64, 0_u64, RangeList::new());
    for source in kept..masters {
        let Some(mut ranges) = owned.get_mut(index_of(source)).and_then(Option::take) else {
            continue;
        };
        while destination < kept && slots::size(&ranges) > 0 {
            let wanted = room_of(destination).saturating_sub(got);
            if let Some(range) = slots::take_from_front(&mut ranges, wanted) {
                got = got.saturating_add(slots::length(range));
                taken.push(range);
            }
            let is_full = got >= room_of(destination);
            if is_full || slots::size(&ranges) == 0 {
                push_task(&mut tasks, source, destination, &mut taken);
            }
            if is_full {
                destination = destination.saturating_add(1);
                got = 0;
            }
        }
    }
    tasks
}

fn push_task(tasks: &mut Vec<Task>, source: u64, destination: u64, taken: &mut RangeList) {
    if !taken.is_empty() {
        let ranges = slots::compact(std::mem::take(taken));
        tasks.push(Task { source, destination, ranges });
    }
}

/// Writes both ends of a task into their parts.
fn add_entries(cluster: &mut Cluster, task: &Task, epoch: u64) {
    let meta = MigrationMeta {
        epoch,
        src_chunk_index: task.source / 2,
        src_chunk_part: task.source % 2,
        dst_chunk_index: task.destination / 2,
        dst_chunk_part: task.destination % 2,
    };
    for (master, is_migrating) in [(task.source, true), (task.destination, false)] {
        let range_list = task.ranges.clone();
        if let Some(chunk) = cluster.chunk_mut(index_of(master / 2)) {
            chunk.migrating_slots[index_of(master % 2)].push(MigrationEntry {
                range_list,
                is_migrating,
                meta,
            });
        }
    }
}

fn index_of(master: u64) -> usize {
    usize::try_from(master).unwrap_or(usize::MAX)
}
