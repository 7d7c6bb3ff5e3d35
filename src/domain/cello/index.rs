//! Where to look for clusters without looking at all of them. Follows from the hosts and clusters.

use imbl::{OrdMap, OrdSet};

use super::model::{Cluster, ClusterType, Phase};

/// A place in the order in which clusters are handed out: of its host, then its own `seq`.
pub(super) type Place = (u64, u64);

/// Indexes of clusters. Entries that would be empty are left out, so that equal states have equal
/// ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    by_user: OrdMap<String, OrdSet<u64>>,
    available: OrdMap<ClusterType, OrdSet<Place>>,
    stock: OrdMap<ClusterType, u64>,
}

impl Index {
    /// Adds a cluster; `host_seq` is that of its host, if it is known.
    pub(super) fn add(&mut self, cluster: &Cluster, host_seq: Option<u64>) {
        if !cluster.user_id.is_empty() {
            self.by_user.entry(cluster.user_id.clone()).or_default().insert(cluster.seq);
        }
        if let Some(host_seq) = host_seq.filter(|_| cluster.is_available()) {
            let places = self.available.entry(cluster.kind().clone()).or_default();
            places.insert((host_seq, cluster.seq));
        }
        if is_stock(cluster) {
            let count = self.stock.entry(cluster.kind().clone()).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    /// Takes a cluster out, as it was added.
    pub(super) fn remove(&mut self, cluster: &Cluster, host_seq: Option<u64>) {
        if let Some(seqs) = self.by_user.get_mut(&cluster.user_id) {
            seqs.remove(&cluster.seq);
            if seqs.is_empty() {
                self.by_user.remove(&cluster.user_id);
            }
        }
        if let Some(host_seq) = host_seq.filter(|_| cluster.is_available())
            && let Some(places) = self.available.get_mut(cluster.kind())
        {
            places.remove(&(host_seq, cluster.seq));
            if places.is_empty() {
                self.available.remove(cluster.kind());
            }
        }
        if is_stock(cluster) {
            match self.stock.get_mut(cluster.kind()) {
                Some(count) if *count > 1 => *count = count.saturating_sub(1),
                _ => drop(self.stock.remove(cluster.kind())),
            }
        }
    }

    /// Clusters that have this user, whatever their phase, in the order of creation.
    pub(super) fn of_user(&self, user_id: &str) -> impl Iterator<Item = u64> + '_ {
        self.by_user.get(user_id).into_iter().flatten().copied()
    }

    /// The first place of an available cluster of a kind that is wanted, on a host that is open.
    /// Costs as much as there are kinds, and closed hosts with available clusters.
    pub(super) fn first_available(
        &self,
        is_wanted: impl Fn(&ClusterType) -> bool,
        is_open: impl Fn(u64) -> bool,
    ) -> Option<Place> {
        let kinds = self.available.iter().filter(|(kind, _)| is_wanted(kind));
        kinds.filter_map(|(_, places)| first_open(places, &is_open)).min()
    }

    /// How many clusters of a kind are free or being made.
    pub(super) fn stock_of(&self, kind: &ClusterType) -> u64 {
        self.stock.get(kind).copied().unwrap_or_default()
    }
}

fn first_open(places: &OrdSet<Place>, is_open: impl Fn(u64) -> bool) -> Option<Place> {
    let mut from = (0, 0);
    loop {
        let place = *places.range(from..).next()?;
        if is_open(place.0) {
            return Some(place);
        }
        from = (place.0.checked_add(1)?, 0);
    }
}

/// Whether a cluster is one of those that users may still get.
fn is_stock(cluster: &Cluster) -> bool {
    match cluster.phase {
        Phase::Creating => true,
        Phase::Ready => cluster.user_id.is_empty(),
        Phase::Deleting | Phase::Resetting => false,
    }
}
