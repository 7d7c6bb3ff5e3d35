//! Dispatches a command; every rule is in the file of its topic.

use super::{Action, Command, Profile, Rejection, Reply, State, clusters::judge_name};
use crate::domain::Context;

impl State {
    /// Applies one command. A refusal may have raised the epoch (spec 1.7).
    ///
    /// # Errors
    /// [`Rejection`], an ordinary answer.
    pub fn apply(&mut self, context: &Context<'_>, command: Command) -> Result<Reply, Rejection> {
        let Command { profile, action } = command;
        match action {
            Action::RegisterProxy { address, nodes, host, index } => {
                self.register_proxy(&address, nodes, host, index)
            }
            Action::RemoveProxy { address } => self.remove_proxy(&address),
            Action::CreateCluster { name, node_number } => {
                self.create_cluster(&name, node_number, profile)
            }
            Action::DeleteCluster { name } => self.delete_cluster(&name, profile),
            Action::AddNodes { name, node_number } => {
                self.locked(context, &name, profile, |state| state.add_nodes(&name, node_number))
            }
            Action::AddNodesUpTo { name, node_number } => {
                self.locked(context, &name, profile, |state| {
                    state.add_nodes_up_to(&name, node_number)
                })
            }
            Action::DeleteFreeNodes { name } => {
                self.locked(context, &name, profile, |state| state.delete_free_nodes(&name))
            }
            Action::Expand { name } => {
                self.locked(context, &name, profile, |state| state.expand(&name, profile))
            }
            Action::Shrink { name, node_number } => self
                .locked(context, &name, profile, |state| state.shrink(&name, node_number, profile)),
            Action::AutoScale { name, node_number, run, lease_ms } => {
                self.locked(context, &name, profile, |state| {
                    state.auto_scale(context, &name, node_number, (lease_ms, run))
                })
            }
            Action::RenewScaleLease { run, lease_ms } => {
                self.renew_scale_lease(context, run, lease_ms)
            }
            Action::ReleaseScaleLease { run } => Ok(self.release_scale_lease(run)),
            Action::AutoExpand { name, node_number, run } => {
                self.auto_expand(context, &name, node_number, run)
            }
            Action::CommitMigration { cluster_name, range_list, epoch } => {
                self.commit_migration(&cluster_name, &range_list, epoch, profile)
            }
            Action::ChangeConfig { name, pairs } => self.change_config(&name, &pairs, profile),
            Action::BalanceMasters { name } => self.balance_masters(&name, profile),
            Action::ReportFailure { address, reporter } => {
                Ok(self.report_failure(context, &address, &reporter, profile))
            }
            Action::PruneFailures => Ok(self.prune_failures(context)),
            Action::Failover { address } => self.fail_over(&address, profile),
            Action::SetEpoch { epoch } => self.set_epoch(epoch),
            Action::RecoverEpoch { epoch_seen } => Ok(self.recover_epoch(epoch_seen)),
            Action::Restore { document } => self.restore(&document),
            Action::ChangeSettings(change) => self.change_settings(&change),
        }
    }

    /// Changes the number of nodes of a cluster: the lock of all clusters is judged first, then
    /// the name, then the rest (spec 2.5).
    fn locked(
        &mut self,
        context: &Context<'_>,
        name: &str,
        profile: Profile,
        change: impl FnOnce(&mut Self) -> Result<Reply, Rejection>,
    ) -> Result<Reply, Rejection> {
        self.judge_lock(context)?;
        judge_name(name, profile)?;
        change(self)
    }
}
