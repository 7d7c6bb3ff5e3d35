//! Epochs forced forward, restored metadata and changed settings (routes 3, 30 and 31).

use super::{Rejection, Reply, State, document::Document, settings::SettingsChange};

impl State {
    /// Route 30.
    pub(super) fn set_epoch(&mut self, epoch: u64) -> Result<Reply, Rejection> {
        if epoch <= self.global_epoch {
            return Err(Rejection::EpochSmallerThanCurrent);
        }
        self.global_epoch = epoch;
        self.level_epochs();
        Ok(Reply::Done)
    }

    /// Route 31: past everything any proxy has seen, so that proxies take metadata again.
    pub(super) fn recover_epoch(&mut self, epoch_seen: u64) -> Reply {
        let next = self.global_epoch.saturating_add(1);
        self.global_epoch = epoch_seen.saturating_add(2).max(next);
        self.level_epochs();
        Reply::Done
    }

    /// Route 3. An equal epoch is taken, as the original's own replication relies on it.
    pub(super) fn restore(&mut self, document: &Document) -> Result<Reply, Rejection> {
        document.validate()?;
        if self.global_epoch > document.global_epoch {
            return Err(Rejection::EpochSmallerThanCurrent);
        }
        self.load(document);
        Ok(Reply::Done)
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
