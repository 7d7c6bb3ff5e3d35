//! Carries out pushes: tells nodes the topology, looks whether they took it, repeats (spec 4.6).

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    desk::{self, Desk},
    memory::Memory,
    push::{self, Push, Steps},
};
use crate::{
    domain::kvrocks::{
        command::ClusterKey,
        model::{Cluster, Node},
        settings::Settings,
        topology,
    },
    observe::kvrocks::{
        probe,
        sight::{Compared, Sight, SightMap},
    },
    observe::side_by_side,
    telemetry,
};

/// Nodes told at the same time.
const PUSHES_MAX: usize = 64;
/// Cycles after which a view that was right is compared again.
const COMPARE_ROUNDS: u64 = 5;

/// How a push went; the error is without secrets.
pub(super) type Told = (Push, Result<(), String>);

/// Tells whom it is due. `None` if the cluster is gone.
pub(super) async fn tend(desk: &Desk, key: &ClusterKey, memory: &mut Memory) -> Option<()> {
    let (cluster, settings) = desk.cluster(key)?;
    compare(desk, &cluster, &settings).await;
    let sights = desk.sights(&cluster);
    for id in push::relieved(&cluster, &sights) {
        desk.observatory.sights().note_trouble(id, None);
    }
    let steps = push::plan(&cluster, &sights, memory, desk.now_ms());
    for (push, outcome) in carry_out(desk, key, &cluster, &settings, steps).await {
        judge(desk, key, &cluster, &settings, memory, (&push, outcome));
    }
    Some(())
}

/// What a push came to, for its repetition and for people.
fn judge(
    desk: &Desk,
    key: &ClusterKey,
    cluster: &Cluster,
    settings: &Settings,
    memory: &mut Memory,
    (push, outcome): (&Push, Result<(), String>),
) {
    let id = push.node_id.as_str();
    let sights = desk.sights(cluster);
    let has_it = sights
        .get(id)
        .and_then(Sight::epoch)
        .is_some_and(|epoch| u64::try_from(epoch).is_ok_and(|epoch| epoch >= cluster.version));
    // A repair is believed when a later look finds nothing wrong.
    if outcome.is_ok() && has_it && !push.is_forced {
        memory.pushes.remove(id);
    } else {
        let tries = memory.pushes.entry(id.to_owned()).or_default();
        // Repairs that change nothing become rare; a node that is only busy is told soon.
        let pause_ms_max = match push.is_forced {
            true => u64::MAX,
            false => settings.ping_interval_ms.saturating_mul(4),
        };
        tries.fail(desk.now_ms(), pause_ms_max);
        let failed = tries.failed;
        if let Err(error) = &outcome {
            let (namespace, cluster, node) = (&key.namespace, &key.name, id);
            // Said once; the metric and the status tell the rest.
            if failed == 1 {
                tracing::warn!(namespace, cluster, node, %error, "topology not pushed");
            }
        }
    }
    desk.observatory.sights().note_trouble(id, outcome.err());
}

/// Tells nodes step by step.
pub(super) async fn carry_out(
    desk: &Desk,
    key: &ClusterKey,
    cluster: &Arc<Cluster>,
    settings: &Settings,
    steps: Steps,
) -> Vec<Told> {
    let mut all = Vec::new();
    if steps.is_empty() {
        return all;
    }
    let text = match topology::render(cluster) {
        Ok(text) => text,
        Err(error) => {
            let failed = |push| (push, Err(error.to_string()));
            return steps.into_iter().flatten().map(failed).collect();
        }
    };
    for step in steps {
        let mut told: Vec<BoxFuture<'_, Told>> = Vec::new();
        for push in step {
            let text = text.as_str();
            told.push(Box::pin(async move {
                let outcome = tell(desk, key, cluster, settings, text, &push).await;
                (push, outcome)
            }));
        }
        all.extend(side_by_side(told, PUSHES_MAX).await);
    }
    all
}

/// Tells one node, and looks at it afterwards.
async fn tell(
    desk: &Desk,
    key: &ClusterKey,
    cluster: &Cluster,
    settings: &Settings,
    text: &str,
    push: &Push,
) -> Result<(), String> {
    let Some(node) = node(cluster, &push.node_id) else { return Ok(()) };
    let may_act = match push.is_forced {
        true => desk.may_act_for_sure(key, cluster.version).await,
        false => desk.may_act(key, cluster.version),
    };
    if !may_act {
        return Err("the cluster or the leader changed meanwhile".to_owned());
    }
    let version = cluster.version.to_string();
    let set_id = ["CLUSTERX", "SETNODEID", &node.id];
    let mut set_nodes = vec!["CLUSTERX", "SETNODES", text, &version];
    if push.is_forced {
        set_nodes.push("force");
    }
    let (time, nodes) = (desk::time(settings), desk.observatory.nodes());
    let told = nodes.exchange(probe::access(node), &[&set_id[..], &set_nodes[..]], time).await;
    let outcome = if told.is_ok() { "ok" } else { "failed" };
    metrics::counter!(telemetry::KVROCKS_PUSHES_TOTAL, "outcome" => outcome).increment(1);
    let (namespace, name, reason) = (&key.namespace, &key.name, &push.reason);
    tracing::debug!(
        namespace,
        cluster = name,
        node = node.id,
        version = cluster.version,
        reason,
        outcome,
        "topology pushed"
    );
    // What was found wrong before says nothing any more.
    desk.observatory.sights().note_compared(&node.id, None);
    desk.observatory.look(std::iter::once(node), time).await;
    told.map(|_| ()).map_err(|error| error.to_string())
}

fn node<'a>(cluster: &'a Cluster, id: &str) -> Option<&'a Node> {
    cluster.nodes().find(|(_, node)| node.id == id).map(|(_, node)| node)
}

/// Compares whole views of nodes that have the right version: at first, while they are wrong, and
/// now and then.
async fn compare(desk: &Desk, cluster: &Cluster, settings: &Settings) {
    let sights: SightMap = desk.sights(cluster);
    let due = cluster.nodes().map(|(_, node)| node).filter(|node| {
        let Some(sight) = sights.get(&node.id) else { return false };
        let has_version = sight.info().is_some_and(|info| {
            u64::try_from(info.epoch).is_ok_and(|epoch| epoch == cluster.version)
        });
        let compared = sight.compared.as_ref();
        has_version
            && compared.is_none_or(|compared| {
                let is_old = sight.round >= compared.round + COMPARE_ROUNDS;
                let is_wrong = compared.fault.is_some() && sight.round > compared.round;
                compared.version != cluster.version || is_old || is_wrong
            })
    });
    let (nodes, time) = (desk.observatory.nodes(), desk::time(settings));
    let mut compared: Vec<BoxFuture<'_, (&Node, Option<Compared>)>> = Vec::new();
    for node in due {
        let round = sights.get(&node.id).map_or(0, |sight| sight.round);
        compared.push(Box::pin(async move {
            (node, probe::compare(nodes, node, cluster, round, time).await)
        }));
    }
    for (node, compared) in side_by_side(compared, PUSHES_MAX).await {
        if compared.is_some() {
            desk.observatory.sights().note_compared(&node.id, compared);
        }
    }
}
