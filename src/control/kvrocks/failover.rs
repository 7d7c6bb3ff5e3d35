//! Automatic failover of masters that the observers agree to be dead (spec 3.5, 4.3).

use super::{
    desk::{self, Declined, Desk},
    memory::Memory,
};
use crate::{
    domain::kvrocks::{
        Command,
        candidate::{self, Candidate, Reading, Wish},
        command::{ClusterKey, FailOver},
        model::{Cluster, FailoverCause, Node, Shard},
        query::{self, Verdict},
        settings::Settings,
    },
    observe::kvrocks::sight::Sight,
    telemetry,
};

/// Shards whose master is dead and whose turn it is.
#[must_use]
pub(super) fn due(
    cluster: &Cluster,
    verdict: impl Fn(&str) -> Verdict,
    memory: &Memory,
    now_ms: u64,
) -> Vec<usize> {
    let shards = cluster.shards.iter().enumerate();
    let is_due = |shard: &Shard| {
        let Some(master) = shard.master().filter(|_| shard.nodes.len() > 1) else { return false };
        let is_paused =
            memory.failovers.get(&master.id).is_some_and(|tries| tries.next_ms > now_ms);
        !is_paused && verdict(&master.id).is_dead()
    };
    shards.filter(|(_, shard)| is_due(shard)).map(|(index, _)| index).collect()
}

/// Fails over what is due. `None` if the cluster is gone.
pub(super) async fn tend(desk: &Desk, key: &ClusterKey, memory: &mut Memory) -> Option<()> {
    loop {
        let (cluster, settings) = desk.cluster(key)?;
        if !settings.is_failover_automatic {
            return Some(());
        }
        let now_ms = desk.now_ms();
        let verdict = |id: &str| query::verdict(&desk.broker.latest().kvrocks, id, now_ms);
        // Each one raises the version that the next is decided on.
        let Some(index) = due(&cluster, verdict, memory, now_ms).first().copied() else {
            return Some(());
        };
        let Some(master) = cluster.shards[index].master() else { return Some(()) };
        let outcome = fail_over(desk, key, &cluster, &settings, index, master).await;
        note(key, index, master, &outcome, memory);
        if outcome.is_err() {
            let tries = memory.failovers.entry(master.id.clone()).or_default();
            tries.fail(desk.now_ms(), settings.ping_interval_ms);
        }
    }
}

fn note(
    key: &ClusterKey,
    shard: usize,
    master: &Node,
    outcome: &Result<String, String>,
    memory: &Memory,
) {
    let label = if outcome.is_ok() { "done" } else { "refused" };
    metrics::counter!(telemetry::KVROCKS_FAILOVERS_TOTAL, "outcome" => label).increment(1);
    let (namespace, cluster, from) = (&key.namespace, &key.name, &master.addr);
    match outcome {
        Ok(to) => tracing::warn!(namespace, cluster, shard, from, to, "failed over"),
        Err(error) if !memory.failovers.contains_key(&master.id) => {
            tracing::error!(namespace, cluster, shard, from, error, "no failover of a dead master");
        }
        Err(error) => {
            tracing::debug!(namespace, cluster, shard, from, error, "no failover of a dead master");
        }
    }
}

/// Asks the replicas, chooses, proposes; the address of the new master, or why there is none.
async fn fail_over(
    desk: &Desk,
    key: &ClusterKey,
    cluster: &Cluster,
    settings: &Settings,
    index: usize,
    master: &Node,
) -> Result<String, String> {
    let shard = &cluster.shards[index];
    desk.observatory.look(shard.nodes.iter(), desk::time(settings)).await;
    let sights = desk.sights(cluster);
    let of = |node: &Node| sights.get(&node.id);
    // It answers somebody: whatever the observers found is over (invariant I23).
    if of(master).is_none_or(|sight| !sight.is_silent()) {
        return Err("the master answers".to_owned());
    }
    let candidates: Vec<Candidate> = shard
        .nodes
        .iter()
        .map(|node| Candidate { node_id: node.id.clone(), reading: reading(of(node)) })
        .collect();
    let last = of(master).and_then(|sight| sight.replication.as_ref());
    let wish = Wish {
        preferred: None,
        lag_max: settings.failover_lag_max,
        master_sequence: last.map(|replication| replication.sequence),
    };
    let choice = candidate::choose(shard, &candidates, wish).map_err(|error| error.to_string())?;
    let new_master = choice.new_master.map_err(|error| {
        let unfit = choice.judged.iter().filter_map(|judged| judged.unfit.as_deref());
        format!("{error}: {}", unfit.collect::<Vec<_>>().join("; "))
    })?;
    let command = Command::FailOver(FailOver {
        cluster: key.clone(),
        shard: i64::try_from(index).unwrap_or(i64::MAX),
        old_master: master.id.clone(),
        new_master: new_master.clone(),
        base_version: cluster.version,
        cause: FailoverCause::Automatic,
        request: [0; 16],
    });
    match desk.propose(command).await {
        Ok(_) => Ok(shard.node(&new_master).map_or(new_master, |node| node.addr.clone())),
        Err(Declined::Refused(rejection)) => Err(rejection.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a node was just seen to be, as far as a choice is made on it.
fn reading(sight: Option<&Sight>) -> Result<Reading, String> {
    let sight = sight.ok_or_else(|| "it was not asked".to_owned())?;
    if sight.info().is_none() {
        return Err(match sight.error() {
            "" => "it has no topology".to_owned(),
            error => error.to_owned(),
        });
    }
    let said = sight.said().cloned().map(Reading::from);
    said.ok_or_else(|| "it does not tell its replication".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::kvrocks::fixture::{Fixture, id};

    #[test]
    fn dead_masters_with_replicas_are_due_unless_just_tried() {
        let fixture = Fixture::new();
        let cluster = fixture.cluster();
        let verdict = |dead: &'static [u64]| {
            move |node: &str| Verdict {
                down: if dead.iter().any(|number| id(*number) == node) { 2 } else { 1 },
                sighted: 3,
            }
        };
        let mut memory = Memory::default();
        let now_ms = fixture.time_ms;
        assert_eq!(due(&cluster, verdict(&[]), &memory, now_ms), [0_usize; 0]);
        assert_eq!(due(&cluster, verdict(&[2, 4]), &memory, now_ms), [0_usize; 0], "replicas");
        assert_eq!(due(&cluster, verdict(&[1, 3]), &memory, now_ms), [0, 1]);
        memory.failovers.entry(id(1)).or_default().fail(now_ms, 1_000);
        assert_eq!(due(&cluster, verdict(&[1, 3]), &memory, now_ms), [1]);
        assert_eq!(due(&cluster, verdict(&[1, 3]), &memory, now_ms + 500), [0, 1]);
        let mut lonely = cluster.as_ref().clone();
        lonely.shards[0].nodes.truncate(1);
        assert_eq!(due(&lonely, verdict(&[1, 3]), &memory, now_ms + 500), [1]);
    }
}
