//! Settings that change what `apply`, a query or the loops do. Part of the replicated state, so
//! every replica acts on the same ones; changed by command only.

use serde::{Deserialize, Serialize};

use super::Rejection;

/// What to do when nodes are at a higher version than the record (spec 4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdoptPolicy {
    /// Adopt if the nodes are exactly those of the record.
    #[default]
    SameNodes,
    /// Adopt anything.
    Always,
    /// Adopt nothing; an operator decides.
    Never,
}

/// How nodes are judged before a cluster is made of them (spec 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeCheck {
    /// Not at all, as the original does by default.
    Off,
    /// Nodes that answer must be free; those that cannot be reached may come later.
    #[default]
    Reachable,
    /// Every node must answer and be free.
    All,
}

/// The replicated settings of the family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Time between two probes of a node, milliseconds.
    pub ping_interval_ms: u64,
    /// Failed probes in a row after which an observer finds a node dead.
    pub ping_failures_max: u64,
    /// Time for one exchange with a node, connecting included, milliseconds.
    pub node_timeout_ms: u64,
    /// Fail over masters that observers agree to be dead.
    pub is_failover_automatic: bool,
    /// An observer that probes more nodes than this and misses more than
    /// `failure_share_max_percent` of them does not see the network (safe mode).
    pub min_alive_size: u64,
    /// See `min_alive_size`; percent.
    pub failure_share_max_percent: u64,
    /// A report older than this does not count; in ping intervals.
    pub observer_ttl_intervals: u64,
    /// Most entries a replica may be behind to be promoted; 0 sets no limit.
    pub failover_lag_max: u64,
    /// What to do when nodes are at a higher version.
    pub adopt_policy: AdoptPolicy,
    /// How nodes are judged before a cluster is made of them.
    pub node_check: NodeCheck,
    /// Attempts of a queued migration.
    pub migration_attempts_max: u32,
    /// Show dots instead of passwords.
    pub hides_passwords: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval_ms: 3_000,
            ping_failures_max: 5,
            node_timeout_ms: 3_000,
            is_failover_automatic: true,
            min_alive_size: 10,
            failure_share_max_percent: 60,
            observer_ttl_intervals: 5,
            failover_lag_max: 0,
            adopt_policy: AdoptPolicy::SameNodes,
            node_check: NodeCheck::Reachable,
            migration_attempts_max: 2,
            hides_passwords: false,
        }
    }
}

/// New values; `None` keeps the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// See [`Settings::ping_interval_ms`]; 100 to 600 000.
    pub ping_interval_ms: Option<u64>,
    /// See [`Settings::ping_failures_max`]; 1 to 1 000.
    pub ping_failures_max: Option<u64>,
    /// See [`Settings::node_timeout_ms`]; 50 to 60 000.
    pub node_timeout_ms: Option<u64>,
    /// See [`Settings::is_failover_automatic`].
    pub is_failover_automatic: Option<bool>,
    /// See [`Settings::min_alive_size`].
    pub min_alive_size: Option<u64>,
    /// See [`Settings::failure_share_max_percent`]; 1 to 100.
    pub failure_share_max_percent: Option<u64>,
    /// See [`Settings::observer_ttl_intervals`]; 2 to 1 000.
    pub observer_ttl_intervals: Option<u64>,
    /// See [`Settings::failover_lag_max`].
    pub failover_lag_max: Option<u64>,
    /// See [`Settings::adopt_policy`].
    pub adopt_policy: Option<AdoptPolicy>,
    /// See [`Settings::node_check`].
    pub node_check: Option<NodeCheck>,
    /// See [`Settings::migration_attempts_max`]; 1 to 100.
    pub migration_attempts_max: Option<u32>,
    /// See [`Settings::hides_passwords`].
    pub hides_passwords: Option<bool>,
}

impl Settings {
    /// The settings after a change.
    ///
    /// # Errors
    /// [`Rejection::InvalidSetting`] for a value out of range; nothing has changed then.
    pub(super) fn changed(&self, change: &SettingsChange) -> Result<Self, Rejection> {
        let attempts = change.migration_attempts_max.map(u64::from);
        in_range("ping_interval_ms", change.ping_interval_ms, 100, 600_000)?;
        in_range("ping_failures_max", change.ping_failures_max, 1, 1_000)?;
        in_range("node_timeout_ms", change.node_timeout_ms, 50, 60_000)?;
        in_range("failure_share_max_percent", change.failure_share_max_percent, 1, 100)?;
        in_range("observer_ttl_intervals", change.observer_ttl_intervals, 2, 1_000)?;
        in_range("migration_attempts_max", attempts, 1, 100)?;
        Ok(Self {
            ping_interval_ms: change.ping_interval_ms.unwrap_or(self.ping_interval_ms),
            ping_failures_max: change.ping_failures_max.unwrap_or(self.ping_failures_max),
            node_timeout_ms: change.node_timeout_ms.unwrap_or(self.node_timeout_ms),
            is_failover_automatic: change
                .is_failover_automatic
                .unwrap_or(self.is_failover_automatic),
            min_alive_size: change.min_alive_size.unwrap_or(self.min_alive_size),
            failure_share_max_percent: change
                .failure_share_max_percent
                .unwrap_or(self.failure_share_max_percent),
            observer_ttl_intervals: change
                .observer_ttl_intervals
                .unwrap_or(self.observer_ttl_intervals),
            failover_lag_max: change.failover_lag_max.unwrap_or(self.failover_lag_max),
            adopt_policy: change.adopt_policy.unwrap_or(self.adopt_policy),
            node_check: change.node_check.unwrap_or(self.node_check),
            migration_attempts_max: change
                .migration_attempts_max
                .unwrap_or(self.migration_attempts_max),
            hides_passwords: change.hides_passwords.unwrap_or(self.hides_passwords),
        })
    }
}

fn in_range(name: &str, value: Option<u64>, min: u64, max: u64) -> Result<(), Rejection> {
    match value {
        Some(value) if value < min || value > max => {
            Err(Rejection::InvalidSetting(format!("{name} is {min} to {max}, not {value}")))
        }
        _ => Ok(()),
    }
}
