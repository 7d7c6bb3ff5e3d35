//! Failure reports, failover and the spare check (routes 23 to 26, spec 6).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::OrdSet;

use super::{
    Profile, Rejection, Reply, State, alloc,
    document::{ProxyResource, RolePosition},
    query,
    state::{Cluster, Reports},
};
use crate::domain::Context;

/// A part of a cluster: chunk and part.
pub(super) type Part = (u64, u64);

impl State {
    /// Route 24. The time of a report is that of its first call and is not refreshed.
    pub(super) fn report_failure(
        &mut self,
        context: &Context<'_>,
        address: &str,
        reporter: &str,
        profile: Profile,
    ) -> Reply {
        // Seed document 000, route 5: nothing is recorded in ordered mode.
        if self.is_ordered && profile == Profile::Document {
            return Reply::Done;
        }
        let reports = self.failures.entry(address.to_owned()).or_default();
        if reports.contains_key(reporter) {
            return Reply::Done;
        }
        let now_s = i64::try_from(context.time_ms / 1000).unwrap_or(i64::MAX);
        Arc::make_mut(reports).insert(reporter.to_owned(), now_s);
        self.refresh_free(address);
        self.bump();
        Reply::Done
    }

    /// Drops expired reports (spec 5.5); no epoch changes.
    pub(super) fn prune_failures(&mut self, context: &Context<'_>) -> Reply {
        let ttl_s = self.settings.failure_ttl_s;
        let expired: Vec<(String, Option<Reports>)> = self
            .failures
            .iter()
            .filter(|(_, reports)| query::is_prunable(reports, ttl_s, context.time_ms))
            .map(|(address, reports)| {
                let live: Reports = reports
                    .iter()
                    .filter(|(_, time_s)| !query::is_expired(**time_s, ttl_s, context.time_ms))
                    .map(|(reporter, time_s)| (reporter.clone(), *time_s))
                    .collect();
                (address.clone(), (!live.is_empty()).then_some(live))
            })
            .collect();
        for (address, live) in expired {
            match live {
                Some(live) => self.failures.insert(address.clone(), Arc::new(live)),
                None => self.failures.remove(&address),
            };
            self.refresh_free(&address);
        }
        Reply::Done
    }

    /// Route 23.
    pub(super) fn fail_over(
        &mut self,
        address: &str,
        profile: Profile,
    ) -> Result<Reply, Rejection> {
        if self.is_ordered && profile == Profile::Document {
            return Err(Rejection::FailoverInOrderedMode);
        }
        let replacement = self.replace_failed(address)?;
        let view = replacement.and_then(|address| query::proxy(self, &address));
        Ok(Reply::FailedOver(view.map(Box::new)))
    }

    /// Spec 6.4: the address of the replacement, or `None` if there was nothing to replace.
    fn replace_failed(&mut self, address: &str) -> Result<Option<String>, Rejection> {
        let proxy = self.proxies.get(address).cloned().ok_or(Rejection::ProxyNotFound)?;
        let Some(name) = proxy.cluster.clone() else {
            self.failures.remove(address);
            self.failed.insert(address.to_owned());
            self.refresh_free(address);
            return Ok(None);
        };
        let (chunk_index, proxy_index) = self.take_over(&name, address)?;
        if self.is_ordered {
            self.bump();
            return Ok(None);
        }
        self.failed.insert(address.to_owned());
        let survivor_host = self
            .cluster(&name)?
            .chunks
            .get(chunk_index)
            .and_then(|chunk| chunk.hosts.get(1_usize.saturating_sub(proxy_index)).cloned())
            .unwrap_or_default();
        let new_address = alloc::replacement(self, &proxy.host, &survivor_host)?;
        let new = self.proxies.get(&new_address).cloned().ok_or(Rejection::NoAvailableResource)?;
        let epoch = self.bump();
        self.put_in_place(&name, (chunk_index, proxy_index), &new);
        self.edit_cluster(&name, |cluster| cluster.epoch = epoch);
        self.assign(address, None);
        self.assign(&new_address, Some(&name));
        Ok(Some(new_address))
    }

    /// Spec 6.3: the partner becomes master of both parts, and the migrations that move with them
    /// start afresh. Returns the place of the failed proxy. Does nothing the second time.
    fn take_over(&mut self, name: &str, address: &str) -> Result<(usize, usize), Rejection> {
        let epoch = self.bump();
        let cluster = self.cluster(name)?;
        let place = cluster.place_of(address).ok_or(Rejection::ClusterNotFound)?;
        let (chunk_index, proxy_index) = place;
        let target = if proxy_index == 0 {
            RolePosition::SecondChunkMaster
        } else {
            RolePosition::FirstChunkMaster
        };
        let present = cluster.chunks.get(chunk_index).map(|chunk| chunk.role_position);
        if present == Some(target) {
            return Ok(place);
        }
        let moved = moved_parts(cluster, place, present);
        self.edit_cluster(name, |cluster| {
            if let Some(chunk) = cluster.chunk_mut(chunk_index) {
                chunk.role_position = target;
            }
            restart_tasks(cluster, &moved, epoch);
            cluster.epoch = epoch;
        });
        Ok(place)
    }

    fn put_in_place(&mut self, name: &str, place: (usize, usize), new: &ProxyResource) {
        let (chunk_index, proxy_index) = place;
        let old_hosts = self
            .clusters
            .get(name)
            .and_then(|cluster| cluster.chunks.get(chunk_index))
            .map(|chunk| chunk.hosts.clone());
        let Some(mut hosts) = old_hosts else {
            return;
        };
        self.unlink(&hosts);
        if let Some(host) = hosts.get_mut(proxy_index) {
            host.clone_from(&new.host);
        }
        self.link(&hosts);
        self.edit_cluster(name, |cluster| {
            let Some(chunk) = cluster.chunk_mut(chunk_index) else {
                return;
            };
            chunk.hosts = hosts;
            if let Some(address) = chunk.proxy_addresses.get_mut(proxy_index) {
                address.clone_from(&new.proxy_address);
            }
            let nodes = chunk.node_addresses.iter_mut().skip(proxy_index.saturating_mul(2));
            for (node, new_node) in nodes.zip(&new.node_addresses) {
                node.clone_from(new_node);
            }
        });
    }

    /// Spec 6.7, on a scratch copy: hosts that cannot fail without a proxy left unreplaced.
    pub(super) fn hosts_without_spares(&self) -> Result<Vec<String>, Rejection> {
        if self.is_ordered {
            return Ok(Vec::new());
        }
        let mut hosts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for proxy in self.proxies.values() {
            hosts.entry(&proxy.host).or_default().push(&proxy.proxy_address);
        }
        let free = self.free.values().map(OrdSet::len).fold(0, usize::saturating_add);
        let mut listed = Vec::new();
        for (host, addresses) in hosts {
            // As long as others have a free proxy, a failed one is replaced by one of theirs. With
            // one for each that serves a cluster, there is nothing to try.
            let here = self.free.get(host).map_or(0, OrdSet::len);
            let serves = |address: &&&str| {
                self.proxies.get(**address).is_some_and(|proxy| proxy.cluster.is_some())
            };
            if addresses.iter().filter(serves).count() <= free.saturating_sub(here) {
                continue;
            }
            let mut scratch = self.clone();
            for address in addresses {
                match scratch.replace_failed(address) {
                    Ok(_) => {}
                    Err(Rejection::NoAvailableResource) => {
                        listed.push(host.to_owned());
                        break;
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(listed)
    }
}

/// Both ends of every task of the part that moves with the failed proxy; of both parts if they
/// were not served side by side, because then both move.
fn moved_parts(
    cluster: &Cluster,
    (chunk_index, proxy_index): (usize, usize),
    present: Option<RolePosition>,
) -> BTreeSet<Part> {
    let Some(chunk) = cluster.chunks.get(chunk_index) else {
        return BTreeSet::new();
    };
    chunk
        .migrating_slots
        .iter()
        .enumerate()
        .filter(|(part, _)| *part == proxy_index || present != Some(RolePosition::Normal))
        .flat_map(|(_, entries)| entries)
        .flat_map(|entry| [entry.meta.source(), entry.meta.destination()])
        .collect()
}

/// Gives a new epoch to every task that touches one of the parts.
pub(super) fn restart_tasks(cluster: &mut Cluster, parts: &BTreeSet<Part>, epoch: u64) {
    if parts.is_empty() {
        return;
    }
    for index in 0..cluster.chunks.len() {
        let is_touched = cluster.chunks.get(index).is_some_and(|chunk| {
            chunk.migrating_slots.iter().flatten().any(|entry| entry.touches(parts))
        });
        if !is_touched {
            continue;
        }
        if let Some(chunk) = cluster.chunk_mut(index) {
            for entry in chunk.migrating_slots.iter_mut().flatten() {
                if entry.touches(parts) {
                    entry.meta.epoch = epoch;
                }
            }
        }
    }
}

impl super::document::MigrationMeta {
    /// Source chunk and part.
    pub(super) fn source(&self) -> Part {
        (self.src_chunk_index, self.src_chunk_part)
    }

    /// Destination chunk and part.
    pub(super) fn destination(&self) -> Part {
        (self.dst_chunk_index, self.dst_chunk_part)
    }
}

impl super::document::MigrationEntry {
    fn touches(&self, parts: &BTreeSet<Part>) -> bool {
        parts.contains(&self.meta.source()) || parts.contains(&self.meta.destination())
    }
}
