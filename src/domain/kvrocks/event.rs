//! What each command is called once it was carried out.

use super::command::{ClusterKey, Command, FailOver};
use crate::domain::event::Subject;

impl Command {
    /// What happened if this was carried out.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::CreateNamespace { namespace } => Subject::of("namespace_created", namespace),
            Self::DeleteNamespace { namespace } => Subject::of("namespace_deleted", namespace),
            Self::CreateCluster { cluster, .. } => of("cluster_created", cluster),
            Self::ImportCluster { cluster, .. } => of("cluster_imported", cluster),
            Self::LoadCluster { cluster, .. } => of("cluster_loaded", cluster),
            Self::DeleteCluster { cluster } => of("cluster_deleted", cluster),
            Self::AddShard { cluster, .. } => of("shard_added", cluster),
            Self::RemoveShard { cluster, .. } => of("shard_removed", cluster),
            Self::AddNode { cluster, .. } => of("node_added", cluster),
            Self::RemoveNode { cluster, .. } => of("node_removed", cluster),
            Self::FailOver(FailOver { cluster, .. }) => of("shard_failed_over", cluster),
            Self::MoveSlots { cluster, .. } => of("slots_moved", cluster),
            Self::StartMigration { cluster, .. } => of("migration_started", cluster),
            Self::QueueMigrations { cluster, .. } => of("migrations_queued", cluster),
            Self::MigrationAccepted { cluster, .. } => of("migration_accepted", cluster),
            Self::EndMigration { cluster, .. } => of("migration_ended", cluster),
            Self::CancelMigration { cluster, .. } => of("migration_cancelled", cluster),
            Self::RetryMigration { cluster, .. } => of("migration_retried", cluster),
            Self::AdoptTopology { cluster, .. } => of("topology_adopted", cluster),
            Self::RequestSync { cluster, .. } => of("sync_requested", cluster),
            Self::FinishSync { cluster, .. } => of("sync_finished", cluster),
            Self::ReportHealth { observer, .. } => {
                Subject::of("health_reported", &format!("observer/{observer}"))
            }
            Self::ForgetObserver { observer } => {
                Subject::of("observer_forgotten", &format!("observer/{observer}"))
            }
            Self::ChangeSettings(_) => Subject::whole("settings_changed"),
            Self::ChangePassword { cluster, .. } => of("password_changed", cluster),
            Self::ResealPasswords { cluster, .. } => of("passwords_resealed", cluster),
        }
    }
}

fn of(kind: &'static str, cluster: &ClusterKey) -> Subject {
    Subject::of(kind, &format!("{}/{}", cluster.namespace, cluster.name))
}
