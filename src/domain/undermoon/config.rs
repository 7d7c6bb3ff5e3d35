//! Configuration of one undermoon cluster, as stored, shown and changed (spec 1.4 and route 16).

use serde::{Deserialize, Serialize};

/// Which commands a proxy compresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompressionStrategy {
    /// None.
    #[default]
    Disabled,
    /// Plain set and get only.
    SetGetOnly,
    /// All strings.
    AllowAll,
}

/// Limits of a slot migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationConfig {
    /// Seconds.
    pub max_migration_time: u64,
    /// Milliseconds.
    pub max_blocking_time: u64,
    /// Microseconds.
    pub scan_interval: u64,
    /// Keys a scan; above zero when changed by route 16.
    pub scan_count: u64,
}

impl Default for MigrationConfig {
    fn default() -> Self {
        Self {
            max_migration_time: 10_800,
            max_blocking_time: 10_000,
            scan_interval: 500,
            scan_count: 16,
        }
    }
}

/// Configuration of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// See [`CompressionStrategy`].
    pub compression_strategy: CompressionStrategy,
    /// See [`MigrationConfig`].
    pub migration_config: MigrationConfig,
}
