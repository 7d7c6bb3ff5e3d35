//! Which free proxies become chunks, and which one replaces a failed one (spec 3).
//!
//! Ties go to the smallest host, then to the smallest address, in byte order: part of the
//! replicated logic, because two replicas must pick the same.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Rejection, State,
    document::{ChunkStore, ProxyResource, RolePosition},
    state::count,
};

/// Most nodes of a cluster: beyond it a master would have no slot.
pub(super) const NODES_MAX: u64 = 32_768;

/// Picks proxies for `node_number` new nodes, as chunks without slots. `present_proxies` is the
/// number of proxies the cluster has already. The state is not changed.
pub(super) fn allocate(
    state: &State,
    node_number: u64,
    present_proxies: u64,
) -> Result<Vec<ChunkStore>, Rejection> {
    let proxies_wanted = node_number / 2;
    let pairs = if state.is_ordered {
        ordered_pairs(state, proxies_wanted, present_proxies)?
    } else {
        host_pairs(state, proxies_wanted)?
    };
    pairs.iter().map(|[first, second]| chunk_of(state, first, second)).collect()
}

/// Picks the proxy that takes the place of a failed one in a chunk (spec 3.4). The survivor's host
/// is used only when no other has a free proxy, so that a chunk stays spread if it can; the failed
/// host only where the original would, and after all others.
pub(super) fn replacement(
    state: &State,
    failed_host: &str,
    survivor_host: &str,
) -> Result<String, Rejection> {
    let standing = |host: &str| match host {
        _ if host == failed_host => 2_u8,
        _ if host == survivor_host => 1,
        _ => 0,
    };
    let links = |host: &str| state.links_between(failed_host, host);
    state
        .free
        .iter()
        .map(|(host, addresses)| (host.as_str(), addresses))
        .filter(|(host, _)| *host != failed_host || links(host) > 0)
        .min_by_key(|&(host, addresses)| {
            (standing(host), links(host), Reverse(addresses.len()), host)
        })
        .and_then(|(_, addresses)| addresses.get_min().cloned())
        .ok_or(Rejection::NoAvailableResource)
}

/// Spec 3.5.
fn ordered_pairs(
    state: &State,
    proxies_wanted: u64,
    present_proxies: u64,
) -> Result<Vec<[String; 2]>, Rejection> {
    let mut free: Vec<&ProxyResource> = state
        .free
        .values()
        .flatten()
        .filter_map(|address| state.proxies.get(address).map(AsRef::as_ref))
        .collect();
    free.sort_unstable_by_key(|proxy| (proxy.index, &proxy.proxy_address));
    if count(free.len()) < proxies_wanted {
        return Err(Rejection::NoAvailableResource);
    }
    free.truncate(usize::try_from(proxies_wanted).unwrap_or(usize::MAX));
    let mut expected = present_proxies;
    for proxy in &free {
        if proxy.index != expected {
            return Err(Rejection::ProxyResourceOutOfOrder);
        }
        expected = expected.saturating_add(1);
    }
    let addresses: Vec<String> = free.iter().map(|proxy| proxy.proxy_address.clone()).collect();
    let (pairs, _) = addresses.as_chunks::<2>();
    Ok(pairs.to_vec())
}

/// Free proxies of one host that are left for this call, as seen while pairs are made.
struct HostPool<'a> {
    host: &'a str,
    left: usize,
    addresses: std::vec::IntoIter<&'a String>,
}

/// Spec 3.2.
fn host_pairs(state: &State, proxies_wanted: u64) -> Result<Vec<[String; 2]>, Rejection> {
    let mut pools = trimmed_pools(state, proxies_wanted);
    let total = pools.iter().map(|pool| pool.left).fold(0, usize::saturating_add);
    if count(total) < proxies_wanted {
        return Err(Rejection::NoAvailableResource);
    }
    let mut links = LinkRows::default();
    let mut pairs = Vec::new();
    while count(pairs.len()).saturating_mul(2) < proxies_wanted {
        let first = pools
            .iter()
            .enumerate()
            .min_by_key(|(index, pool)| (Reverse(pool.left), *index))
            .map(|(index, _)| index)
            .ok_or(Rejection::NoAvailableResource)?;
        let row = links.row(state, &pools, first);
        let second = pools
            .iter()
            .zip(row.iter())
            .enumerate()
            .filter(|(index, (pool, _))| *index != first && pool.left > 0)
            .min_by_key(|(index, (pool, links))| (**links, Reverse(pool.left), *index))
            .map(|(index, _)| index)
            .ok_or(Rejection::NoAvailableResource)?;
        links.add(state, &pools, first, second);
        links.add(state, &pools, second, first);
        pairs.push([next_of(&mut pools, first)?, next_of(&mut pools, second)?]);
    }
    Ok(pairs)
}

/// The rows of the link table that a call has come across, in the order of its pools, with the
/// chunks of the call itself counted.
#[derive(Default)]
struct LinkRows(BTreeMap<usize, Vec<u64>>);

impl LinkRows {
    fn row(&mut self, state: &State, pools: &[HostPool<'_>], index: usize) -> &mut Vec<u64> {
        self.0.entry(index).or_insert_with(|| {
            let mut row = vec![0; pools.len()];
            let stored = pools.get(index).and_then(|pool| state.links.get(pool.host));
            for (host, links) in stored.into_iter().flatten() {
                let place = pools.binary_search_by(|pool| pool.host.cmp(host));
                if let Some(cell) = place.ok().and_then(|place| row.get_mut(place)) {
                    *cell = *links;
                }
            }
            row
        })
    }

    fn add(&mut self, state: &State, pools: &[HostPool<'_>], from: usize, to: usize) {
        if let Some(cell) = self.row(state, pools, from).get_mut(to) {
            *cell = cell.saturating_add(1);
        }
    }
}

/// Free proxies by host, hosts ascending; the largest group is cut so that no host holds more than
/// half. No more addresses are collected than the call can use.
fn trimmed_pools(state: &State, proxies_wanted: u64) -> Vec<HostPool<'_>> {
    let sizes = || state.free.iter().map(|(host, addresses)| (host, addresses.len()));
    let total = sizes().map(|(_, size)| size).fold(0, usize::saturating_add);
    let largest = sizes().min_by_key(|(host, size)| (Reverse(*size), *host));
    let usable = usize::try_from(proxies_wanted).unwrap_or(usize::MAX);
    state
        .free
        .iter()
        .map(|(host, addresses)| {
            let left = match largest {
                Some((largest_host, size)) if largest_host == host => {
                    size.min(total.saturating_sub(size))
                }
                _ => addresses.len(),
            };
            let addresses: Vec<&String> = addresses.iter().take(left.min(usable)).collect();
            HostPool { host, left, addresses: addresses.into_iter() }
        })
        .collect()
}

fn next_of(pools: &mut [HostPool<'_>], index: usize) -> Result<String, Rejection> {
    let pool = pools.get_mut(index).ok_or(Rejection::NoAvailableResource)?;
    pool.left = pool.left.saturating_sub(1);
    pool.addresses.next().cloned().ok_or(Rejection::NoAvailableResource)
}

fn chunk_of(state: &State, first: &str, second: &str) -> Result<ChunkStore, Rejection> {
    let proxy = |address: &str| state.proxies.get(address).ok_or(Rejection::NoAvailableResource);
    let (first, second) = (proxy(first)?, proxy(second)?);
    let [node0, node1] = first.node_addresses.clone();
    let [node2, node3] = second.node_addresses.clone();
    Ok(ChunkStore {
        role_position: RolePosition::Normal,
        stable_slots: [None, None],
        migrating_slots: [Vec::new(), Vec::new()],
        proxy_addresses: [first.proxy_address.clone(), second.proxy_address.clone()],
        hosts: [first.host.clone(), second.host.clone()],
        node_addresses: [node0, node1, node2, node3],
    })
}
