//! Failover: the master of a shard swaps roles with one of its replicas (spec 3.5).

use super::{
    Rejection, Reply, State,
    command::{FailOver, MigrationOutcome},
    health,
    model::{Cluster, Failover, FailoverCause, Role, Shard},
};
use crate::domain::Context;

/// Failovers a cluster remembers.
pub(super) const FAILOVERS_MAX: usize = 32;

impl State {
    pub(super) fn fail_over(
        &mut self,
        context: &Context<'_>,
        command: FailOver,
    ) -> Result<Reply, Rejection> {
        let mut cluster = self.find(&command.cluster)?.as_ref().clone();
        let index = cluster.index(command.shard)?;
        judge(&cluster, &cluster.shards[index], &command)?;
        if command.cause == FailoverCause::Automatic {
            self.judge_agreed(context, &command.old_master)?;
        }
        for node in &mut cluster.shards[index].nodes {
            if node.id == command.old_master {
                node.role = Role::Slave;
            } else if node.id == command.new_master {
                node.role = Role::Master;
            }
        }
        cluster.version += 1;
        let version = cluster.version;
        cluster.failovers.push(Failover {
            time_ms: context.time_ms,
            shard: index as u64,
            old_master: command.old_master,
            new_master: command.new_master.clone(),
            version,
            cause: command.cause,
            request: command.request,
        });
        let excess = cluster.failovers.len().saturating_sub(FAILOVERS_MAX);
        cluster.failovers.drain(..excess);
        end_migrations_of(&mut cluster, context, index);
        self.put(&command.cluster, cluster);
        Ok(Reply::FailedOver { new_master: command.new_master, version })
    }

    /// An automatic failover needs a majority of the observers that see the network.
    fn judge_agreed(&self, context: &Context<'_>, old_master: &str) -> Result<(), Rejection> {
        if !self.settings.is_failover_automatic {
            return Err(Rejection::FailoverDisabled);
        }
        let verdict = health::verdict(self, old_master, context.time_ms);
        if verdict.is_dead() {
            return Ok(());
        }
        Err(Rejection::NotAgreed { down: verdict.down, sighted: verdict.sighted })
    }
}

fn judge(cluster: &Cluster, shard: &Shard, command: &FailOver) -> Result<(), Rejection> {
    let master = judge_possible(shard)?;
    if master != command.old_master {
        return Err(Rejection::OldNodeNotMaster);
    }
    if cluster.version != command.base_version {
        return Err(Rejection::Updated);
    }
    match shard.node(&command.new_master) {
        Some(node) if node.role == Role::Slave && !node.is_failed => Ok(()),
        _ => Err(Rejection::NoNewMaster),
    }
}

/// Whether a shard can fail over at all; its master's id.
pub(super) fn judge_possible(shard: &Shard) -> Result<&str, Rejection> {
    if shard.nodes.len() <= 1 {
        return Err(Rejection::NoReplica);
    }
    shard.master().map(|master| master.id.as_str()).ok_or(Rejection::NoOldMaster)
}

/// The source's new master knows nothing of the migration, and a new target master may lack what
/// had arrived: the slots stay where they are.
fn end_migrations_of(cluster: &mut Cluster, context: &Context<'_>, index: usize) {
    let index = index as u64;
    let is_touched = |job: &&super::model::Job| job.source == Some(index) || job.target == index;
    let touched: Vec<u64> = cluster.active_jobs().filter(is_touched).map(|job| job.id).collect();
    for job in touched {
        let error = "the shard has a new master".to_owned();
        cluster.conclude(context, job, MigrationOutcome::Failed { error });
    }
}
