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
            Command::AddHost(host) => self.add_host(context, *host),
            Command::ChangeHost { host_id, change } => self.change_host(&host_id, *change),
            Command::RemoveHost { host_id, is_forced } => {
                self.remove_host(context, &host_id, is_forced)
            }
            Command::FillHost { host_id, is_automatic } => {
                self.fill_host(context, &host_id, is_automatic)
            }
            Command::CleanHost { host_id } => self.clean_host(context, &host_id),
            Command::ResetHost { host_id } => self.reset_host(context, &host_id),
            Command::CreateCluster(cluster) => self.create_cluster(context, &cluster),
            Command::DeleteCluster { cluster_id, is_forced } => {
                self.delete_cluster(context, &cluster_id, is_forced)
            }
            Command::DropReleased { cluster_id } => self.drop_released(&cluster_id),
            Command::Apply { user_id, condition, allows_multiple } => {
                self.hand_out(context, &user_id, &condition, allows_multiple)
            }
            Command::Release { cluster_id, user_id } => {
                self.release(context, &cluster_id, user_id.as_deref())
            }
            Command::ReleaseUser { user_id } => self.release_user(context, &user_id),
            Command::Power { cluster_id, user_id, power } => {
                self.power(context, &cluster_id, user_id.as_deref(), power)
            }
            Command::PutTemplate(template) => self.put_template(*template),
            Command::RemoveTemplate { kind } => self.remove_template(&kind),
            Command::ChangeSettings(change) => self.change_settings(&change),
            Command::ReportHost { host_id, is_reachable, reason } => {
                self.report_host(context, &host_id, is_reachable, reason)
            }
            Command::ReportHealth { reports } => Ok(self.report_health(reports)),
            Command::ResetCluster { cluster_id, seen_op, reason } => {
                self.reset_cluster(context, &cluster_id, seen_op, reason)
            }
            Command::ClusterCreated { cluster_id, op, containers } => {
                Ok(self.cluster_created(context, &cluster_id, op, containers))
            }
            Command::ClusterDestroyed { cluster_id, op } => {
                Ok(self.cluster_destroyed(context, &cluster_id, op))
            }
            Command::PowerDone { cluster_id, op } => Ok(self.power_done(&cluster_id, op)),
            Command::OperationFailed { cluster_id, op, failure, reason } => {
                Ok(self.operation_failed(context, (&cluster_id, op), failure, reason))
            }
            Command::HostTaskDone { host_id, op } => Ok(self.host_task_done(&host_id, op)),
            Command::HostTaskFailed { host_id, op, reason } => {
                Ok(self.host_task_failed(context, &host_id, op, reason))
            }
        }
    }
}
