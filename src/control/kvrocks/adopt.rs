//! Nodes that are ahead of the record (spec 4.4): their topology is adopted if the settings let it
//! in, and reported if not. Nothing is pushed to them meanwhile.

use super::{
    desk::{self, Declined, Desk},
    memory::Memory,
};
use crate::{
    domain::kvrocks::{
        Command,
        command::ClusterKey,
        model::{Cluster, Node},
        nodes_text,
    },
    observe::kvrocks::{
        probe,
        sight::{Sight, SightMap},
    },
    telemetry,
};

/// The node that is furthest ahead of the record, and its version.
#[must_use]
pub(super) fn newest<'a>(cluster: &'a Cluster, sights: &SightMap) -> Option<(&'a Node, i64)> {
    let version = i64::try_from(cluster.version).unwrap_or(i64::MAX);
    let ahead = cluster.nodes().filter_map(|(_, node)| {
        let epoch = sights.get(&node.id).and_then(Sight::epoch)?;
        (epoch > version).then_some((node, epoch))
    });
    ahead.max_by_key(|(_, epoch)| *epoch)
}

/// Adopts what is newer. `None` if the cluster is gone.
pub(super) async fn tend(desk: &Desk, key: &ClusterKey, memory: &mut Memory) -> Option<()> {
    let (cluster, settings) = desk.cluster(key)?;
    let sights = desk.sights(&cluster);
    let Some((node, epoch)) = newest(&cluster, &sights) else {
        memory.not_adopted = None;
        return Some(());
    };
    let round = sights.get(&node.id).map_or(0, |sight| sight.round);
    let tried = (cluster.version, epoch, round);
    if memory.not_adopted == Some(tried) {
        return Some(());
    }
    let is_news = memory
        .not_adopted
        .is_none_or(|(version, then, _)| (version, then) != (cluster.version, epoch));
    let outcome = match topology_of(desk, node, desk::time(&settings)).await {
        Ok(topology) => {
            let command = Command::AdoptTopology {
                cluster: key.clone(),
                base_version: cluster.version,
                topology,
            };
            desk.propose(command).await.map(|_| ()).map_err(|declined| match declined {
                Declined::Refused(rejection) => rejection.to_string(),
                other => other.to_string(),
            })
        }
        Err(error) => Err(error),
    };
    let label = if outcome.is_ok() { "adopted" } else { "refused" };
    metrics::counter!(telemetry::KVROCKS_ADOPTIONS_TOTAL, "outcome" => label).increment(1);
    let (namespace, name, version) = (&key.namespace, &key.name, epoch);
    let from = &node.addr;
    match outcome {
        Ok(()) => {
            tracing::warn!(namespace, cluster = name, from, version, "newer topology adopted");
            memory.not_adopted = None;
        }
        Err(error) => {
            if is_news {
                tracing::error!(
                    namespace,
                    cluster = name,
                    from,
                    version,
                    error,
                    "a node is ahead of the record and its topology is not adopted"
                );
            }
            memory.not_adopted = Some(tried);
            let trouble = format!("it is ahead, at version {epoch}: {error}");
            desk.observatory.sights().note_trouble(&node.id, Some(trouble));
        }
    }
    Some(())
}

async fn topology_of(
    desk: &Desk,
    node: &Node,
    time: std::time::Duration,
) -> Result<crate::domain::kvrocks::topology::Topology, String> {
    let nodes = desk.observatory.nodes();
    let text = nodes.call(probe::access(node), &["CLUSTER", "NODES"], time).await;
    let text = text.map_err(|error| error.to_string())?;
    nodes_text::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::kvrocks::fixture::{Fixture, id, said};

    #[test]
    fn the_node_that_is_furthest_ahead_is_asked() {
        let fixture = Fixture::new();
        let cluster = fixture.cluster();
        let mut sights = fixture.sights();
        assert_eq!(newest(&cluster, &sights), None);
        said(&mut sights, 2, |info, _| info.epoch = 5);
        said(&mut sights, 3, |info, _| info.epoch = 9);
        said(&mut sights, 4, |info, _| info.epoch = 0);
        let (node, epoch) = newest(&cluster, &sights).unwrap();
        assert_eq!((node.id.clone(), epoch), (id(3), 9));
    }
}
