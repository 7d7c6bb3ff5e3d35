//! Dispatches a command; every rule is in the file of its topic.

use super::{Command, Rejection, Reply, State};
use crate::domain::Context;

impl State {
    /// Applies one command. A refusal changes nothing.
    ///
    /// # Errors
    /// [`Rejection`], an ordinary answer.
    pub fn apply(&mut self, context: &Context<'_>, command: Command) -> Result<Reply, Rejection> {
        match command {
            Command::CreateNamespace { namespace } => self.create_namespace(namespace),
            Command::DeleteNamespace { namespace } => self.delete_namespace(&namespace),
            Command::CreateCluster { cluster, nodes, replicas, password } => {
                self.create_cluster(context, &cluster, &nodes, (replicas, &password))
            }
            Command::ImportCluster { cluster, topology, password } => {
                self.import_cluster(context, &cluster, &topology, &password)
            }
            Command::LoadCluster { cluster, record } => self.load_cluster(&cluster, *record),
            Command::DeleteCluster { cluster } => self.delete_cluster(&cluster),
            Command::AddShard { cluster, nodes, password } => {
                self.add_shard(context, &cluster, &nodes, &password)
            }
            Command::RemoveShard { cluster, shard } => self.remove_shard(&cluster, shard),
            Command::AddNode { cluster, shard, node, role, password } => {
                self.add_node(context, (&cluster, shard), node, (&role, password))
            }
            Command::RemoveNode { cluster, shard, node_id } => {
                self.remove_node(&cluster, shard, &node_id)
            }
            Command::FailOver(command) => self.fail_over(context, command),
            Command::MoveSlots { cluster, range, target } => {
                self.move_slots(context, &cluster, range, target)
            }
            Command::StartMigration { cluster, range, target } => {
                self.start_migration(context, &cluster, range, target)
            }
            Command::QueueMigrations { cluster, ranges, target, attempts_max } => {
                self.queue_migrations(context, &cluster, &ranges, (target, attempts_max))
            }
            Command::MigrationAccepted { cluster, job, attempt } => {
                self.migration_accepted(context, &cluster, (job, attempt))
            }
            Command::EndMigration { cluster, job, attempt, outcome } => {
                self.end_migration(context, &cluster, (job, attempt), outcome)
            }
            Command::CancelMigration { cluster, job } => {
                self.cancel_migration(context, &cluster, job)
            }
            Command::RetryMigration { cluster, job } => {
                self.retry_migration(context, &cluster, job)
            }
            Command::AdoptTopology { cluster, base_version, topology } => {
                self.adopt_topology(context, &cluster, base_version, &topology)
            }
            Command::RequestSync { cluster, is_forced } => {
                self.request_sync(context, &cluster, is_forced)
            }
            Command::FinishSync { cluster, sync, failures } => {
                self.finish_sync(&cluster, sync, failures)
            }
            Command::ReportHealth { observer, probed, failed, down } => {
                self.report_health(context, observer, (probed, failed), down)
            }
            Command::ForgetObserver { observer } => Ok(self.forget_observer(observer)),
            Command::ChangeSettings(change) => {
                self.settings = self.settings.changed(&change)?;
                Ok(Reply::Done)
            }
            Command::ChangePassword { cluster, node_id, password } => {
                self.change_password(&cluster, node_id.as_deref(), &password)
            }
            Command::ResealPasswords { cluster, base_index, changes } => {
                self.reseal(&cluster, base_index, changes)
            }
        }
    }
}
