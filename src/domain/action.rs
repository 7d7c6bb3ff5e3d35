//! What commands are called in the audit trail.
//!
//! The names are part of the state, so they never change once released; a new command gets a new
//! name here.

use super::{
    Command, cello, kvrocks,
    system::{
        self,
        access::{self, Family},
    },
    undermoon,
};

/// Family and name of a command; `None` for what replicas observe again and again, which changes
/// no wish of anybody and would leave no room for what does.
pub(super) fn of(command: &Command) -> Option<(Family, &'static str)> {
    Some(match command {
        Command::System(command) => (Family::Admin, system(command)),
        Command::Undermoon(command) => (Family::Undermoon, undermoon(&command.action)),
        Command::Kvrocks(command) => (Family::Kvrocks, kvrocks(command)?),
        Command::Cello(command) => (Family::Cello, cello(command)?),
        Command::Access(access::Command::CreateToken(_)) => (Family::Admin, "create_token"),
        Command::Access(access::Command::RevokeToken { .. }) => (Family::Admin, "revoke_token"),
    })
}

const fn system(command: &system::Command) -> &'static str {
    match command {
        system::Command::Found { .. } => "found",
        system::Command::RaiseFeatureLevel { .. } | system::Command::UseFeatureLevel { .. } => {
            "raise_feature_level"
        }
        system::Command::NoteMembers(note) => note.verb.action(),
    }
}

/// Of the undermoon family.
fn undermoon(command: &undermoon::Action) -> &'static str {
    use undermoon::Action as It;
    match command {
        It::RegisterProxy { .. } => "register_proxy",
        It::RemoveProxy { .. } => "remove_proxy",
        It::CreateCluster { .. } => "create_cluster",
        It::DeleteCluster { .. } => "delete_cluster",
        It::AddNodes { .. } => "add_nodes",
        It::AddNodesUpTo { .. } => "add_nodes_up_to",
        It::DeleteFreeNodes { .. } => "delete_free_nodes",
        It::Expand { .. } => "expand",
        It::Shrink { .. } => "shrink",
        It::AutoScale { .. } => "auto_scale",
        It::RenewScaleLease { .. } => "renew_scale_lease",
        It::ReleaseScaleLease { .. } => "release_scale_lease",
        It::AutoExpand { .. } => "auto_expand",
        It::CommitMigration { .. } => "commit_migration",
        It::ChangeConfig { .. } => "change_config",
        It::BalanceMasters { .. } => "balance_masters",
        It::ReportFailure { .. } => "report_failure",
        It::PruneFailures => "prune_failures",
        It::Failover { .. } => "failover",
        It::SetEpoch { .. } => "set_epoch",
        It::RecoverEpoch { .. } => "recover_epoch",
        It::Restore { .. } => "restore",
        It::ChangeSettings(..) => "change_settings",
    }
}

/// Of the kvrocks family.
fn kvrocks(command: &kvrocks::Command) -> Option<&'static str> {
    use kvrocks::Command as It;
    Some(match command {
        It::CreateNamespace { .. } => "create_namespace",
        It::DeleteNamespace { .. } => "delete_namespace",
        It::CreateCluster { .. } => "create_cluster",
        It::ImportCluster { .. } => "import_cluster",
        It::LoadCluster { .. } => "load_cluster",
        It::DeleteCluster { .. } => "delete_cluster",
        It::AddShard { .. } => "add_shard",
        It::RemoveShard { .. } => "remove_shard",
        It::AddNode { .. } => "add_node",
        It::RemoveNode { .. } => "remove_node",
        It::FailOver(..) => "fail_over",
        It::MoveSlots { .. } => "move_slots",
        It::StartMigration { .. } => "start_migration",
        It::QueueMigrations { .. } => "queue_migrations",
        It::MigrationAccepted { .. } => "migration_accepted",
        It::EndMigration { .. } => "end_migration",
        It::CancelMigration { .. } => "cancel_migration",
        It::RetryMigration { .. } => "retry_migration",
        It::AdoptTopology { .. } => "adopt_topology",
        It::RequestSync { .. } => "request_sync",
        It::FinishSync { .. } => "finish_sync",
        It::ForgetObserver { .. } => "forget_observer",
        It::ChangeSettings(..) => "change_settings",
        It::ChangePassword { .. } => "change_password",
        It::ResealPasswords { .. } => "reseal_passwords",
        It::ReportHealth { .. } => return None,
    })
}

/// Of the cello family.
fn cello(command: &cello::Command) -> Option<&'static str> {
    use cello::Command as It;
    Some(match command {
        It::AddHost(..) => "add_host",
        It::ChangeHost { .. } => "change_host",
        It::RemoveHost { .. } => "remove_host",
        It::FillHost { .. } => "fill_host",
        It::CleanHost { .. } => "clean_host",
        It::ResetHost { .. } => "reset_host",
        It::CreateCluster(..) => "create_cluster",
        It::DeleteCluster { .. } => "delete_cluster",
        It::DropReleased { .. } => "drop_released",
        It::Apply { .. } => "apply",
        It::Release { .. } => "release",
        It::ReleaseUser { .. } => "release_user",
        It::Power { .. } => "power",
        It::PutTemplate(..) => "put_template",
        It::RemoveTemplate { .. } => "remove_template",
        It::ChangeSettings(..) => "change_settings",
        It::ResetCluster { .. } => "reset_cluster",
        It::ClusterCreated { .. } => "cluster_created",
        It::ClusterDestroyed { .. } => "cluster_destroyed",
        It::PowerDone { .. } => "power_done",
        It::OperationFailed { .. } => "operation_failed",
        It::HostTaskDone { .. } => "host_task_done",
        It::HostTaskFailed { .. } => "host_task_failed",
        It::ReportHost { .. } | It::ReportHealth { .. } => return None,
    })
}
