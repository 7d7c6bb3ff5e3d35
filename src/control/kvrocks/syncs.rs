//! Pushes that somebody asked for: to every node, once, and how each took it.

use super::{desk::Desk, memory::Memory, push, pushes};
use crate::domain::kvrocks::{Command, command::ClusterKey};

/// Carries out the request, if there is one. `None` if the cluster is gone.
pub(super) async fn tend(desk: &Desk, key: &ClusterKey, memory: &mut Memory) -> Option<()> {
    let (cluster, settings) = desk.cluster(key)?;
    let Some(sync) = cluster.sync.as_ref().filter(|sync| sync.failures.is_none()) else {
        return Some(());
    };
    let sights = desk.sights(&cluster);
    let steps = push::plan_all(&cluster, &sights, memory, sync.is_forced);
    let told = pushes::carry_out(desk, key, &cluster, &settings, steps).await;
    let mut failures = Vec::new();
    for (push, outcome) in told {
        desk.observatory.sights().note_trouble(&push.node_id, outcome.clone().err());
        let node = cluster.nodes().find(|(_, node)| node.id == push.node_id);
        if let (Some((_, node)), Err(error)) = (node, outcome) {
            failures.push((node.addr.clone(), error));
        }
    }
    // Another version came in between: the request is about that one too, and is tried again.
    let (now, _) = desk.cluster(key)?;
    if now.version != cluster.version {
        return Some(());
    }
    let command = Command::FinishSync { cluster: key.clone(), sync: sync.id, failures };
    if let Err(error) = desk.propose(command).await {
        let (namespace, cluster) = (&key.namespace, &key.name);
        tracing::debug!(namespace, cluster, %error, "end of a sync not recorded");
    }
    Some(())
}
