//! Epochs forced forward, restored metadata and changed settings (routes 3, 30 and 31).

use std::collections::BTreeSet;

use super::{
    Rejection, Reply, State,
    document::{ClusterStore, Document},
    settings::SettingsChange,
};

/// Highest epoch that can be asked for. A state at the end of the numbers could never again show a
/// change to its proxies, so what is left above is room for some four billion changes.
pub(super) const EPOCH_MAX: u64 = u64::MAX - u32::MAX as u64;

impl State {
    /// Route 30.
    pub(super) fn set_epoch(&mut self, epoch: u64) -> Result<Reply, Rejection> {
        if epoch <= self.global_epoch {
            return Err(Rejection::EpochSmallerThanCurrent);
        }
        if epoch > EPOCH_MAX {
            let why = format!("an epoch above {EPOCH_MAX} leaves no room for later changes");
            return Err(Rejection::InvalidSetting(why));
        }
        self.global_epoch = epoch;
        self.level_epochs();
        Ok(Reply::Done)
    }

    /// Route 31: past everything any proxy has seen, so that proxies take metadata again.
    pub(super) fn recover_epoch(&mut self, epoch_seen: u64) -> Reply {
        let next = self.global_epoch.saturating_add(1);
        self.global_epoch = epoch_seen.saturating_add(2).min(EPOCH_MAX).max(next);
        self.level_epochs();
        Reply::Done
    }

    /// After a recovery: past everything that the lost cluster can have shown to any proxy, on the
    /// assumption that it raised the epoch no more than `distance` times after this state. Nobody
    /// scales any more.
    pub fn move_clocks(&mut self, distance: u64) {
        self.scale_lease = None;
        self.recover_epoch(self.global_epoch.saturating_add(distance).saturating_sub(2));
    }

    /// Route 3. An equal epoch is taken, as the original's own replication relies on it, but not
    /// with other content than proxies have been shown at that epoch (spec 8.6).
    pub(super) fn restore(&mut self, document: &Document) -> Result<Reply, Rejection> {
        document.validate()?;
        if self.global_epoch > document.global_epoch || self.contradicts(document) {
            return Err(Rejection::EpochSmallerThanCurrent);
        }
        self.load(document);
        Ok(Reply::Done)
    }

    /// Whether a document would show a proxy other content at the epoch it has been shown last: it
    /// would keep what it has, and nothing would ever repair it.
    fn contradicts(&self, document: &Document) -> bool {
        let is_same_cluster = |name: &String| {
            let stored = document.clusters.get(name);
            self.clusters.get(name).map(|cluster| ClusterStore::from(cluster.as_ref())).as_ref()
                == stored
        };
        let diverged: BTreeSet<&String> =
            self.clusters.keys().filter(|name| !is_same_cluster(name)).collect();
        let epoch_of = |cluster: &Option<String>| {
            let cluster = cluster.as_ref().and_then(|name| self.clusters.get(name));
            cluster.map_or(self.global_epoch, |cluster| cluster.epoch)
        };
        let epoch_then = |cluster: &Option<String>| {
            let cluster = cluster.as_ref().and_then(|name| document.clusters.get(name));
            cluster.map_or(document.global_epoch, |cluster| cluster.epoch)
        };
        self.proxies.iter().any(|(address, now)| {
            let Some(then) = document.all_proxies.get(address) else {
                return false;
            };
            let is_same = now.cluster == then.cluster
                && now.node_addresses == then.node_addresses
                && now.cluster.as_ref().is_none_or(|name| !diverged.contains(name));
            !is_same && epoch_of(&now.cluster) == epoch_then(&then.cluster)
        })
    }

    /// Changes settings. A new migration limit changes what proxies are shown, so it must come
    /// with new epochs (spec 8.6).
    pub(super) fn change_settings(&mut self, change: &SettingsChange) -> Result<Reply, Rejection> {
        let wants_other_mode =
            change.enable_ordered_proxy.is_some_and(|wanted| wanted != self.is_ordered);
        if wants_other_mode && !self.clusters.is_empty() {
            let why = "enable_ordered_proxy cannot change while a cluster exists";
            return Err(Rejection::InvalidSetting(why.to_owned()));
        }
        if change.cluster_config.is_some_and(|config| config.migration_config.scan_count == 0) {
            let why = "migration_scan_count must be above zero";
            return Err(Rejection::InvalidSetting(why.to_owned()));
        }
        let limit_before = self.settings.migration_limit;
        let settings = &mut self.settings;
        settings.failure_ttl_s = change.failure_ttl_s.unwrap_or(settings.failure_ttl_s);
        settings.failure_quorum = change.failure_quorum.unwrap_or(settings.failure_quorum);
        settings.migration_limit = change.migration_limit.unwrap_or(settings.migration_limit);
        settings.cluster_config = change.cluster_config.unwrap_or(settings.cluster_config);
        settings.list_failed_members =
            change.list_failed_members.unwrap_or(settings.list_failed_members);
        self.is_ordered = change.enable_ordered_proxy.unwrap_or(self.is_ordered);
        if self.settings.migration_limit != limit_before {
            self.bump();
            self.level_epochs();
        }
        Ok(Reply::Done)
    }
}
