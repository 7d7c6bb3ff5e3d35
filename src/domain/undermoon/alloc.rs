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
/// is used only when no other has a free proxy, so that a chunk stays spread if it can.
pub(super) fn replacement(
    state: &State,
    failed_host: &str,
    survivor_host: &str,
) -> Result<String, Rejection> {
    let candidates = state.free.iter().filter(|(host, _)| {
        host.as_str() != failed_host || state.links_between(failed_host, failed_host) > 0
    });
    candidates
        .min_by_key(|(host, addresses)| {
            (
                host.as_str() == survivor_host,
                state.links_between(failed_host, host),
                Reverse(addresses.len()),
                (*host).clone(),
            )
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
struct HostPool {
    addresses: std::vec::IntoIter<String>,
}

/// Spec 3.2.
fn host_pairs(state: &State, proxies_wanted: u64) -> Result<Vec<[String; 2]>, Rejection> {
    let mut pools = trimmed_pools(state);
    let total = pools.values().map(|pool| pool.addresses.len()).fold(0, usize::saturating_add);
    if count(total) < proxies_wanted {
        return Err(Rejection::NoAvailableResource);
    }
    let mut added: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut pairs = Vec::new();
    while count(pairs.len()).saturating_mul(2) < proxies_wanted {
        let first_host = pools
            .iter()
            .min_by_key(|(host, pool)| (Reverse(pool.addresses.len()), *host))
            .map(|(host, _)| host.clone())
            .ok_or(Rejection::NoAvailableResource)?;
        let links = |host: &String| {
            let extra = added.get(&(first_host.clone(), host.clone())).copied().unwrap_or(0);
            state.links_between(&first_host, host).saturating_add(extra)
        };
        let second_host = pools
            .iter()
            .filter(|(host, pool)| **host != first_host && pool.addresses.len() > 0)
            .min_by_key(|(host, pool)| (links(host), Reverse(pool.addresses.len()), *host))
            .map(|(host, _)| host.clone())
            .ok_or(Rejection::NoAvailableResource)?;
        let first = next_of(&mut pools, &first_host)?;
        let second = next_of(&mut pools, &second_host)?;
        for key in [(first_host.clone(), second_host.clone()), (second_host, first_host)] {
            let links = added.entry(key).or_insert(0);
            *links = links.saturating_add(1);
        }
        pairs.push([first, second]);
    }
    Ok(pairs)
}

/// Free proxies by host; the largest group is cut so that no host holds more than half.
fn trimmed_pools(state: &State) -> BTreeMap<String, HostPool> {
    let sizes = || state.free.iter().map(|(host, addresses)| (host, addresses.len()));
    let total = sizes().map(|(_, size)| size).fold(0, usize::saturating_add);
    let largest = sizes().min_by_key(|(host, size)| (Reverse(*size), *host));
    state
        .free
        .iter()
        .map(|(host, addresses)| {
            let kept = match largest {
                Some((largest_host, size)) if largest_host == host => {
                    size.min(total.saturating_sub(size))
                }
                _ => addresses.len(),
            };
            let addresses: Vec<String> = addresses.iter().take(kept).cloned().collect();
            (host.clone(), HostPool { addresses: addresses.into_iter() })
        })
        .collect()
}

fn next_of(pools: &mut BTreeMap<String, HostPool>, host: &str) -> Result<String, Rejection> {
    pools.get_mut(host).and_then(|pool| pool.addresses.next()).ok_or(Rejection::NoAvailableResource)
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
