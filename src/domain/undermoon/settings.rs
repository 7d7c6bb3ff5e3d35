//! Settings that change what `apply` or a query answers. Part of the replicated state: seeded
//! once from the configuration of the founding replica, changed by command only.

use serde::{Deserialize, Serialize};

use super::config::ClusterConfig;

/// The replicated settings of the family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Seconds a failure report lives.
    pub failure_ttl_s: u64,
    /// Distinct reporters that make a failure.
    pub failure_quorum: u64,
    /// Most migrations shown at a time for a cluster; 0 shows all.
    pub migration_limit: u64,
    /// Configuration of new clusters.
    pub cluster_config: ClusterConfig,
    /// Keep failed proxies that still serve a cluster in the failure list (spec 6.5, trap 1).
    pub list_failed_members: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failure_ttl_s: 60,
            failure_quorum: 1,
            migration_limit: 1,
            cluster_config: ClusterConfig::default(),
            list_failed_members: false,
        }
    }
}

/// New values; `None` keeps the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// See [`Settings::failure_ttl_s`].
    pub failure_ttl_s: Option<u64>,
    /// See [`Settings::failure_quorum`].
    pub failure_quorum: Option<u64>,
    /// See [`Settings::migration_limit`].
    pub migration_limit: Option<u64>,
    /// See [`Settings::cluster_config`].
    pub cluster_config: Option<ClusterConfig>,
    /// See [`Settings::list_failed_members`].
    pub list_failed_members: Option<bool>,
    /// Ordered proxy mode, kept in the metadata document; refused unless no cluster exists.
    pub enable_ordered_proxy: Option<bool>,
}

/// What the founding replica's configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Replicated settings.
    pub settings: Settings,
    /// Ordered proxy mode of the empty state.
    pub enable_ordered_proxy: bool,
}
