//! What each action is called once it was carried out.

use super::Action;
use crate::domain::event::Subject;

impl Action {
    /// What happened if this was carried out.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::RegisterProxy { address, .. } => Subject::of("proxy_registered", address),
            Self::RemoveProxy { address } => Subject::of("proxy_removed", address),
            Self::CreateCluster { name, .. } => Subject::of("cluster_created", name),
            Self::DeleteCluster { name } => Subject::of("cluster_deleted", name),
            Self::AddNodes { name, .. } | Self::AddNodesUpTo { name, .. } => {
                Subject::of("nodes_added", name)
            }
            Self::DeleteFreeNodes { name } => Subject::of("free_nodes_deleted", name),
            Self::Expand { name } | Self::Shrink { name, .. } | Self::AutoExpand { name, .. } => {
                Subject::of("migration_started", name)
            }
            Self::AutoScale { name, .. } => Subject::of("scale_started", name),
            Self::RenewScaleLease { .. } => Subject::whole("scale_lease_renewed"),
            Self::ReleaseScaleLease { .. } => Subject::whole("scale_lease_released"),
            Self::CommitMigration { cluster_name, .. } => {
                Subject::of("migration_committed", cluster_name)
            }
            Self::ChangeConfig { name, .. } => Subject::of("config_changed", name),
            Self::BalanceMasters { name } => Subject::of("masters_balanced", name),
            Self::ReportFailure { address, .. } => Subject::of("failure_reported", address),
            Self::PruneFailures => Subject::whole("failures_pruned"),
            Self::Failover { address } => Subject::of("proxy_failed_over", address),
            Self::SetEpoch { .. } => Subject::whole("epoch_raised"),
            Self::RecoverEpoch { .. } => Subject::whole("epoch_recovered"),
            Self::Restore { .. } => Subject::whole("metadata_restored"),
            Self::ChangeSettings(_) => Subject::whole("settings_changed"),
        }
    }
}
