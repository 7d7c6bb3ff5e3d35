//! Whether a metadata document can be taken over (spec 1.6 and 10.1).
//!
//! A document that breaks an invariant would make later answers wrong on every replica at once,
//! so it is refused before it is proposed, and again when it is applied.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Profile, Rejection,
    document::{ChunkStore, ClusterStore, Document, MigrationEntry, MigrationMeta},
    epoch::EPOCH_MAX,
    name,
    slots::{self, RangeList},
    state::count,
};

/// What is wrong, for people.
type Fault = String;

impl Document {
    /// Checks the invariants that every state of this family keeps.
    ///
    /// # Errors
    /// [`Rejection::InvalidMetadata`] with the first thing found wrong.
    pub fn validate(&self) -> Result<(), Rejection> {
        self.check().map_err(Rejection::InvalidMetadata)
    }

    fn check(&self) -> Result<(), Fault> {
        ensure(self.global_epoch <= EPOCH_MAX, || {
            "its epoch leaves no room for later changes".to_owned()
        })?;
        for (address, proxy) in &self.all_proxies {
            ensure(*address == proxy.proxy_address, || {
                format!("proxy {address} is stored as {}", proxy.proxy_address)
            })?;
        }
        for address in &self.failed_proxies {
            ensure(self.all_proxies.contains_key(address), || {
                format!("failed proxy {address} is not registered")
            })?;
        }
        let mut members: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, cluster) in &self.clusters {
            ensure(*name == cluster.name, || {
                format!("cluster {name} is stored as {}", cluster.name)
            })?;
            self.check_cluster(cluster, &mut members)
                .map_err(|fault| format!("cluster {name}: {fault}"))?;
        }
        for (address, proxy) in &self.all_proxies {
            ensure(proxy.cluster.as_deref() == members.get(address.as_str()).copied(), || {
                format!("proxy {address} and the chunks disagree on its cluster")
            })?;
        }
        Ok(())
    }

    fn check_cluster<'a>(
        &'a self,
        cluster: &'a ClusterStore,
        members: &mut BTreeMap<&'a str, &'a str>,
    ) -> Result<(), Fault> {
        ensure(name::is_valid(&cluster.name, Profile::Program), || {
            "its name is not valid".to_owned()
        })?;
        ensure(cluster.epoch <= self.global_epoch, || {
            "its epoch is beyond the global one".to_owned()
        })?;
        for chunk in &cluster.chunks {
            self.check_members(chunk, &cluster.name, members)?;
        }
        check_order(cluster)?;
        check_slots(cluster)?;
        check_migrations(cluster)
    }

    fn check_members<'a>(
        &'a self,
        chunk: &'a ChunkStore,
        cluster: &'a str,
        members: &mut BTreeMap<&'a str, &'a str>,
    ) -> Result<(), Fault> {
        let nodes = chunk.node_addresses.as_chunks::<2>().0;
        for ((address, host), nodes) in chunk.proxy_addresses.iter().zip(&chunk.hosts).zip(nodes) {
            let proxy = self
                .all_proxies
                .get(address)
                .ok_or_else(|| format!("proxy {address} of a chunk is not registered"))?;
            ensure(proxy.host == *host && proxy.node_addresses == *nodes, || {
                format!("host or nodes of proxy {address} are not those it was registered with")
            })?;
            ensure(members.insert(address, cluster).is_none(), || {
                format!("proxy {address} is in two places")
            })?;
        }
        Ok(())
    }
}

/// Chunks that have no slots, or will have none once the running migrations are done, stand at the
/// end. Midway through a shrink an emptied chunk may stand before one that is still giving.
fn check_order(cluster: &ClusterStore) -> Result<(), Fault> {
    let stays_empty = |chunk: &ChunkStore| {
        chunk.stable_slots.iter().all(Option::is_none)
            && entries(chunk).all(|entry| entry.is_migrating)
    };
    let mut behind_empty = false;
    for chunk in &cluster.chunks {
        ensure(!behind_empty || stays_empty(chunk), || {
            "a chunk without slots stands before one with slots".to_owned()
        })?;
        behind_empty = stays_empty(chunk);
    }
    Ok(())
}

/// Every slot is owned once: at rest, or by the source of a migration.
fn check_slots(cluster: &ClusterStore) -> Result<(), Fault> {
    let mut owned: RangeList = Vec::new();
    for chunk in &cluster.chunks {
        let stable = chunk.stable_slots.iter().flatten();
        let outgoing = entries(chunk).filter(|entry| entry.is_migrating);
        for ranges in stable.chain(outgoing.map(|entry| &entry.range_list)) {
            ensure(slots::is_well_formed(ranges), || {
                "a range list is not compact or leaves 0 to 16383".to_owned()
            })?;
            owned.extend(ranges);
        }
    }
    let covered = slots::size(&owned) == slots::SLOTS
        && slots::compact(owned) == [(0, slots::SLOTS.saturating_sub(1))];
    ensure(covered, || "its slots are not owned exactly once".to_owned())
}

/// Outgoing and incoming entries are twins in their right places.
fn check_migrations(cluster: &ClusterStore) -> Result<(), Fault> {
    let mut ends: [BTreeSet<(MigrationMeta, &RangeList)>; 2] = Default::default();
    for (chunk_index, chunk) in cluster.chunks.iter().enumerate() {
        for (part, entry) in chunk
            .migrating_slots
            .iter()
            .enumerate()
            .flat_map(|(part, entries)| entries.iter().map(move |entry| (part, entry)))
        {
            let meta = entry.meta;
            let place = if entry.is_migrating { meta.source() } else { meta.destination() };
            ensure(place == (count(chunk_index), count(part)), || {
                "a migration is stored at the wrong part".to_owned()
            })?;
            ensure(meta.source() != meta.destination(), || {
                "a migration ends where it begins".to_owned()
            })?;
            ensure(meta.epoch <= cluster.epoch, || {
                "a migration has an epoch beyond its cluster's".to_owned()
            })?;
            ensure(!entry.range_list.is_empty(), || "a migration moves nothing".to_owned())?;
            let end = &mut ends[usize::from(entry.is_migrating)];
            ensure(end.insert((meta, &entry.range_list)), || {
                "a migration is stored twice".to_owned()
            })?;
        }
    }
    ensure(ends[0] == ends[1], || "a migration has only one end".to_owned())
}

fn entries(chunk: &ChunkStore) -> impl Iterator<Item = &MigrationEntry> {
    chunk.migrating_slots.iter().flatten()
}

fn ensure(holds: bool, fault: impl FnOnce() -> Fault) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(fault()) }
}
