//! Bodies of the admin routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    broker::engine::{EntryKind, LeaderChange, RawEntry, Status},
    domain::{
        State,
        undermoon::{
            config::{ClusterConfig, CompressionStrategy},
            query,
            settings::SettingsChange,
        },
    },
};

/// Answer of `GET /quorate/v1/status`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatusAnswer {
    /// Of the program.
    pub(super) version: &'static str,
    /// Whether the cluster has its settings.
    pub(super) is_founded: bool,
    /// Meanings in use.
    pub(super) feature_level: u64,
    /// Meanings this replica knows.
    pub(super) feature_level_max: u64,
    /// What the engine says.
    #[serde(flatten)]
    pub(super) status: Status,
}

/// Query of `GET /quorate/v1/log`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    /// First index.
    pub(super) from: u64,
    /// Index behind the last one; a thousand entries at most are returned.
    pub(super) to: u64,
}

/// Answer of `GET /quorate/v1/log`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LogAnswer {
    pub(super) entries: Vec<EntryAnswer>,
}

/// Answer of `POST /quorate/v1/leader/transfer`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LeaderAnswer {
    /// Who leads now.
    pub(super) leader: u64,
}

/// Answer of `GET /quorate/v1/leaders`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LeadersAnswer {
    /// Oldest first.
    pub(super) changes: Vec<LeaderChange>,
}

/// Answer of `POST /quorate/v1/snapshot`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SnapshotAnswer {
    /// Last index that it covers.
    pub(super) index: u64,
}

/// One entry of `GET /quorate/v1/log`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EntryAnswer {
    index: u64,
    term: u64,
    leader: u64,
    kind: &'static str,
    sha256: String,
    payload: String,
}

impl EntryAnswer {
    pub(super) fn of(entry: &RawEntry) -> Self {
        use sha2::{Digest, Sha256};
        let kind = match entry.kind {
            EntryKind::Blank => "blank",
            EntryKind::Command => "command",
            EntryKind::Membership => "membership",
        };
        Self {
            index: entry.index,
            term: entry.term,
            leader: entry.leader,
            kind,
            sha256: hex(&Sha256::digest(&entry.payload)),
            payload: hex(&entry.payload),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Body of `POST /quorate/v1/leader/transfer`; may be empty.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TransferBody {
    /// New leader; the most advanced voter if absent.
    pub(super) to: Option<u64>,
}

/// Answer of `GET /quorate/v1/undermoon/settings`, in the words of the configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SettingsAnswer {
    failure_ttl: u64,
    failure_quorum: u64,
    migration_limit: u64,
    list_failed_members: bool,
    enable_ordered_proxy: bool,
    compression_strategy: Compression,
    migration_max_migration_time: u64,
    migration_max_blocking_time: u64,
    migration_scan_interval: u64,
    migration_scan_count: u64,
}

/// Body of `PUT /quorate/v1/undermoon/settings`; absent members keep their values.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SettingsBody {
    failure_ttl: Option<u64>,
    failure_quorum: Option<u64>,
    migration_limit: Option<u64>,
    list_failed_members: Option<bool>,
    enable_ordered_proxy: Option<bool>,
    compression_strategy: Option<Compression>,
    migration_max_migration_time: Option<u64>,
    migration_max_blocking_time: Option<u64>,
    migration_scan_interval: Option<u64>,
    migration_scan_count: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Compression {
    Disabled,
    SetGetOnly,
    AllowAll,
}

impl From<CompressionStrategy> for Compression {
    fn from(strategy: CompressionStrategy) -> Self {
        match strategy {
            CompressionStrategy::Disabled => Self::Disabled,
            CompressionStrategy::SetGetOnly => Self::SetGetOnly,
            CompressionStrategy::AllowAll => Self::AllowAll,
        }
    }
}

impl From<Compression> for CompressionStrategy {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Disabled => Self::Disabled,
            Compression::SetGetOnly => Self::SetGetOnly,
            Compression::AllowAll => Self::AllowAll,
        }
    }
}

impl SettingsAnswer {
    pub(super) fn of(state: &State) -> Self {
        let settings = query::settings(&state.undermoon);
        let migration = settings.cluster_config.migration_config;
        Self {
            failure_ttl: settings.failure_ttl_s,
            failure_quorum: settings.failure_quorum,
            migration_limit: settings.migration_limit,
            list_failed_members: settings.list_failed_members,
            enable_ordered_proxy: query::is_ordered(&state.undermoon),
            compression_strategy: settings.cluster_config.compression_strategy.into(),
            migration_max_migration_time: migration.max_migration_time,
            migration_max_blocking_time: migration.max_blocking_time,
            migration_scan_interval: migration.scan_interval,
            migration_scan_count: migration.scan_count,
        }
    }
}

impl SettingsBody {
    /// The change; the configuration of new clusters is one value, so what the body leaves out of
    /// it comes from `present`.
    pub(super) fn into_change(self, present: ClusterConfig) -> SettingsChange {
        let mut config = present;
        let migration = &mut config.migration_config;
        let members = [
            (&mut migration.max_migration_time, self.migration_max_migration_time),
            (&mut migration.max_blocking_time, self.migration_max_blocking_time),
            (&mut migration.scan_interval, self.migration_scan_interval),
            (&mut migration.scan_count, self.migration_scan_count),
        ];
        for (member, value) in members {
            *member = value.unwrap_or(*member);
        }
        if let Some(compression) = self.compression_strategy {
            config.compression_strategy = compression.into();
        }
        SettingsChange {
            failure_ttl_s: self.failure_ttl,
            failure_quorum: self.failure_quorum,
            migration_limit: self.migration_limit,
            cluster_config: (config != present).then_some(config),
            list_failed_members: self.list_failed_members,
            enable_ordered_proxy: self.enable_ordered_proxy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_leaves_out_stays() {
        let body: SettingsBody =
            serde_json::from_str(r#"{"failure_ttl":5,"migration_scan_count":9}"#).unwrap();
        let change = body.into_change(ClusterConfig::default());
        assert_eq!(change.failure_ttl_s, Some(5));
        assert_eq!(change.failure_quorum, None);
        let config = change.cluster_config.unwrap();
        assert_eq!(config.migration_config.scan_count, 9);
        assert_eq!(config.migration_config.scan_interval, 500);
        let none = SettingsBody::default().into_change(ClusterConfig::default());
        assert_eq!(none, SettingsChange::default());
        assert!(serde_json::from_str::<SettingsBody>(r#"{"failure_tll":5}"#).is_err());
    }
}
