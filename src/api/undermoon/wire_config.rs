//! JSON of a cluster's configuration, in answers and in the stored document.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::domain::undermoon::config::{ClusterConfig, CompressionStrategy, MigrationConfig};

/// Both members may be absent on input.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(super) struct ConfigJson {
    #[serde(default)]
    compression_strategy: StrategyJson,
    #[serde(default)]
    migration_config: MigrationConfigJson,
}

/// Lower case on output; any case on input.
#[derive(Clone, Copy, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StrategyJson {
    #[default]
    Disabled,
    SetGetOnly,
    AllowAll,
}

/// If present, then with all four members.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
struct MigrationConfigJson {
    max_migration_time: u64,
    max_blocking_time: u64,
    scan_interval: u64,
    scan_count: u64,
}

impl Default for MigrationConfigJson {
    fn default() -> Self {
        MigrationConfig::default().into()
    }
}

impl<'de> Deserialize<'de> for StrategyJson {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        match text.to_ascii_lowercase().as_str() {
            "disabled" => Ok(Self::Disabled),
            "set_get_only" => Ok(Self::SetGetOnly),
            "allow_all" => Ok(Self::AllowAll),
            _ => Err(D::Error::custom(format_args!("unknown compression strategy {text}"))),
        }
    }
}

impl From<MigrationConfig> for MigrationConfigJson {
    fn from(config: MigrationConfig) -> Self {
        Self {
            max_migration_time: config.max_migration_time,
            max_blocking_time: config.max_blocking_time,
            scan_interval: config.scan_interval,
            scan_count: config.scan_count,
        }
    }
}

impl From<ClusterConfig> for ConfigJson {
    fn from(config: ClusterConfig) -> Self {
        Self {
            compression_strategy: match config.compression_strategy {
                CompressionStrategy::Disabled => StrategyJson::Disabled,
                CompressionStrategy::SetGetOnly => StrategyJson::SetGetOnly,
                CompressionStrategy::AllowAll => StrategyJson::AllowAll,
            },
            migration_config: config.migration_config.into(),
        }
    }
}

impl From<ConfigJson> for ClusterConfig {
    fn from(json: ConfigJson) -> Self {
        let migration = json.migration_config;
        Self {
            compression_strategy: match json.compression_strategy {
                StrategyJson::Disabled => CompressionStrategy::Disabled,
                StrategyJson::SetGetOnly => CompressionStrategy::SetGetOnly,
                StrategyJson::AllowAll => CompressionStrategy::AllowAll,
            },
            migration_config: MigrationConfig {
                max_migration_time: migration.max_migration_time,
                max_blocking_time: migration.max_blocking_time,
                scan_interval: migration.scan_interval,
                scan_count: migration.scan_count,
            },
        }
    }
}
