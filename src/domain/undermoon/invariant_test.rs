//! The invariants of spec 10.1, checked by the property tests after every command.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    Action, Rejection, Reply, State, query,
    slots::{self, RangeList},
    state::Cluster,
    view::{ClusterView, MigrationView, NodeRole, NodeView, ProxyView, TagView},
};

/// A task as proxies know it, without the epoch, which a failover may raise.
type TaskKey = (String, RangeList);

/// What has been shown so far.
#[derive(Default)]
pub(super) struct History {
    /// Proxy to the last epoch and content shown (I9).
    shown: BTreeMap<String, ProxyView>,
    /// Tasks shown under the present limit (I12).
    tasks: BTreeSet<TaskKey>,
}

impl History {
    /// Compares a state with what came before it: I8, I9, I12 and I14.
    pub(super) fn observe(
        &mut self,
        before: &State,
        state: &State,
        action: &Action,
        reply: &Result<Reply, Rejection>,
    ) -> Result<(), TestCaseError> {
        let is_restored = matches!(action, Action::Restore { .. }) && reply.is_ok();
        prop_assert!(state.global_epoch >= before.global_epoch, "I8: the global epoch fell");
        check_origins(before, state)?;
        if is_restored {
            // Epochs of clusters may fall; what was shown at an epoch stays true all the same.
            self.observe_restored(state)?;
            *self = Self::default();
        }
        for (name, cluster) in &before.clusters {
            if let Some(now) = state.clusters.get(name).filter(|_| !is_restored) {
                prop_assert!(now.epoch >= cluster.epoch, "I8: the epoch of {name} fell");
            }
        }
        self.observe_proxies(state)?;
        self.observe_tasks(before, state, action)?;
        check_new_chunks(before, state, is_restored)
    }

    fn observe_restored(&self, state: &State) -> Result<(), TestCaseError> {
        for (address, then) in &self.shown {
            match query::proxy(state, address) {
                Some(now) if now.epoch == then.epoch => {
                    prop_assert_eq!(&now, then, "I9: a restore changed {} in its epoch", address);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn observe_proxies(&mut self, state: &State) -> Result<(), TestCaseError> {
        for address in query::proxy_addresses(state, 0, None) {
            let now = query::proxy(state, &address);
            let now = now.ok_or_else(|| TestCaseError::fail("a listed proxy has no meta"))?;
            if let Some(then) = self.shown.get(&address) {
                prop_assert!(now.epoch >= then.epoch, "I9: {address} stepped back in epoch");
                let is_same =
                    ProxyView { epoch: 0, ..now.clone() } == ProxyView { epoch: 0, ..then.clone() };
                prop_assert!(
                    is_same || now.epoch > then.epoch,
                    "I9: {address} changed within epoch {}: {then:?} then {now:?}",
                    now.epoch
                );
            }
            self.shown.insert(address, now);
        }
        Ok(())
    }

    fn observe_tasks(
        &mut self,
        before: &State,
        state: &State,
        action: &Action,
    ) -> Result<(), TestCaseError> {
        let mut now = BTreeSet::new();
        for name in query::cluster_names(state, 0, None) {
            let view = query::cluster(state, &name);
            let view = view.ok_or_else(|| TestCaseError::fail("a listed cluster has no meta"))?;
            now.extend(outgoing(&view).into_iter().map(|(ranges, _)| (name.clone(), ranges)));
        }
        let limit_is_same = before.settings.migration_limit == state.settings.migration_limit;
        if limit_is_same && !matches!(action, Action::CommitMigration { .. }) {
            for (name, ranges) in &self.tasks {
                let is_gone = !state.clusters.contains_key(name);
                prop_assert!(
                    is_gone || now.contains(&(name.clone(), ranges.clone())),
                    "I12: a shown task of {name} disappeared without a commit"
                );
            }
        }
        self.tasks = now;
        Ok(())
    }
}

/// I14: a chunk that was not there before stands on two hosts.
fn check_new_chunks(before: &State, state: &State, is_restored: bool) -> Result<(), TestCaseError> {
    if state.is_ordered || is_restored {
        return Ok(());
    }
    for (name, cluster) in &state.clusters {
        let known = before.clusters.get(name).map_or(0, |cluster| cluster.chunks.len());
        for chunk in cluster.chunks.iter().skip(known) {
            prop_assert!(chunk.hosts[0] != chunk.hosts[1], "I14: a new chunk on one host");
        }
    }
    Ok(())
}

/// Whoever keeps an answer for as long as its origin is the same shows what is true.
fn check_origins(before: &State, state: &State) -> Result<(), TestCaseError> {
    for name in state.clusters.keys() {
        if query::cluster_origin(before, name) == query::cluster_origin(state, name) {
            prop_assert_eq!(query::cluster(before, name), query::cluster(state, name));
        }
    }
    for address in state.proxies.keys() {
        let origin = query::proxy_origin(state, address);
        if origin.is_some() && origin == query::proxy_origin(before, address) {
            prop_assert_eq!(query::proxy(before, address), query::proxy(state, address));
        }
    }
    Ok(())
}

/// I15: a refusal changes nothing but what spec 1.7 lists.
pub(super) fn check_refusal(
    before: &State,
    after: &State,
    action: &Action,
    rejection: &Rejection,
) -> Result<(), TestCaseError> {
    let mut expected = query::document(before);
    let found = query::document(after);
    match (action, rejection) {
        (
            Action::Expand { .. } | Action::Shrink { .. },
            Rejection::InvalidClusterName | Rejection::NodeNumberChanging,
        ) => {}
        (Action::Expand { .. } | Action::Shrink { .. }, _) => expected.global_epoch += 1,
        (Action::AutoExpand { .. }, Rejection::NodeNumberChanging) => {}
        (Action::AutoExpand { .. }, _) => expected.global_epoch = found.global_epoch,
        (Action::RegisterProxy { address, .. }, Rejection::AlreadyExisted) => {
            let was_failed = expected.failed_proxies.remove(address);
            if expected.failures.remove(address).is_some() || was_failed {
                expected.global_epoch += 1;
            }
        }
        // What was already done stays done: checked by the invariants alone.
        (Action::AutoScale { .. }, _)
        | (Action::Failover { .. }, Rejection::NoAvailableResource) => return Ok(()),
        _ => {}
    }
    prop_assert_eq!(
        found,
        expected,
        "I15: a refusal of {:?} ({:?}) left a trace",
        action,
        rejection
    );
    Ok(())
}

/// Checks one state that grew by commands alone: what [`check_restored`] does, and I11.
pub(super) fn check(state: &State) -> Result<(), TestCaseError> {
    state.clusters.values().try_for_each(|cluster| check_even(cluster))?;
    check_restored(state)
}

/// Checks one state: I1 to I7, I10, I13, the indexes, and every query. A document from elsewhere
/// may spread its slots unevenly, so I11 is left out.
pub(super) fn check_restored(state: &State) -> Result<(), TestCaseError> {
    let document = query::document(state);
    if let Err(fault) = document.validate() {
        return Err(TestCaseError::fail(format!("I1 to I8: {fault:?}")));
    }
    let mut recomputed = state.clone();
    recomputed.rebuild_indexes();
    prop_assert_eq!(&recomputed.free, &state.free, "the index of free proxies is off");
    prop_assert_eq!(&recomputed.links, &state.links, "the link table is off");
    for (name, cluster) in &state.clusters {
        for limit in BTreeSet::from([state.settings.migration_limit, 0, 1, 2]) {
            let mut viewed = state.clone();
            viewed.settings.migration_limit = limit;
            let view = query::cluster(&viewed, name);
            let view = view.ok_or_else(|| TestCaseError::fail("a cluster has no meta"))?;
            check_view(&view, limit)?;
        }
        let info = query::cluster_info(state, name);
        prop_assert_eq!(info.map(|info| info.node_number), Some(cluster.node_number()));
    }
    query::hosts_cannot_fail(state).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let failures = query::failures(state, u64::MAX);
    prop_assert!(state.settings.list_failed_members || failures.is_empty());
    Ok(())
}

/// I11: at rest, the parts with slots share them evenly in master order.
fn check_even(cluster: &Cluster) -> Result<(), TestCaseError> {
    if cluster.is_migrating() {
        return Ok(());
    }
    let owned: Vec<&RangeList> =
        cluster.chunks.iter().flat_map(|chunk| chunk.stable_slots.iter().flatten()).collect();
    for (master, ranges) in owned.iter().enumerate() {
        let wanted = slots::even_share(owned.len() as u64, master as u64);
        prop_assert_eq!(slots::size(ranges), wanted, "I11: master {} of {}", master, owned.len());
    }
    Ok(())
}

/// I3, I12 and I13 on what is shown.
fn check_view(view: &ClusterView, limit: u64) -> Result<(), TestCaseError> {
    let mut owned = RangeList::new();
    let mut incoming: Vec<(RangeList, MigrationView)> = Vec::new();
    for range in view.nodes.iter().flat_map(|node| &node.slots) {
        match &range.tag {
            TagView::None | TagView::Migrating(_) => owned.extend(&range.range_list),
            TagView::Importing(meta) => incoming.push((range.range_list.clone(), meta.clone())),
        }
    }
    prop_assert_eq!(slots::size(&owned), slots::SLOTS, "I3: slots shown twice or not at all");
    prop_assert_eq!(slots::compact(owned), vec![(0, slots::SLOTS - 1)], "I3: slots not covered");
    let outgoing = outgoing(view);
    let key = |task: &(RangeList, MigrationView)| (task.0.clone(), task.1.src_node_address.clone());
    let mut out_sorted = outgoing.clone();
    out_sorted.sort_by_key(key);
    incoming.sort_by_key(key);
    prop_assert_eq!(out_sorted, incoming, "I3: a migration is shown at one end only");
    if limit > 0 {
        prop_assert!(outgoing.len() as u64 <= limit, "I12: more migrations than the limit");
        for node in &view.nodes {
            let out = node.slots.iter().filter(|range| matches!(range.tag, TagView::Migrating(_)));
            prop_assert!(out.count() <= 1, "I12: two migrations out of one part");
        }
    }
    check_pairs(&view.nodes)
}

fn outgoing(view: &ClusterView) -> Vec<(RangeList, MigrationView)> {
    let ranges = view.nodes.iter().flat_map(|node| &node.slots);
    ranges
        .filter_map(|range| match &range.tag {
            TagView::Migrating(meta) => Some((range.range_list.clone(), meta.clone())),
            TagView::None | TagView::Importing(_) => None,
        })
        .collect()
}

/// I13: two masters and two replicas a chunk; peers are mutual and of opposite roles.
fn check_pairs(nodes: &[NodeView]) -> Result<(), TestCaseError> {
    for chunk in nodes.chunks(4) {
        let masters = chunk.iter().filter(|node| node.role == NodeRole::Master).count();
        prop_assert_eq!(masters, 2, "I13: a chunk has {} masters", masters);
        for (index, node) in chunk.iter().enumerate() {
            let peer = &chunk[3 - index];
            prop_assert!(
                node.role == NodeRole::Master || node.slots.is_empty(),
                "I3: replica slots"
            );
            prop_assert!(peer.role != node.role, "I13: a pair of equal roles");
            prop_assert_eq!(&node.repl_peers[0].node_address, &peer.address, "I13: not mutual");
            prop_assert_eq!(&node.repl_peers[0].proxy_address, &peer.proxy_address);
        }
    }
    Ok(())
}
