//! A cluster as the state machine makes it, and nodes as they would be seen, for tables.

use std::sync::Arc;

use crate::{
    domain::{
        Context,
        kvrocks::{
            Command, Reply, Secret, State,
            command::{ClusterKey, NewNode},
            model::{Cluster, Role},
            query,
        },
    },
    observe::kvrocks::{
        info::{ClusterInfo, Replication},
        sight::{Probed, Sight, SightMap},
    },
};

/// Two shards of two nodes each: 1 and 3 are masters, 2 and 4 follow them.
pub(super) struct Fixture {
    pub(super) state: State,
    pub(super) time_ms: u64,
}

pub(super) fn key() -> ClusterKey {
    ClusterKey { namespace: "n".to_owned(), name: "c".to_owned() }
}

pub(super) fn id(number: u64) -> String {
    format!("{number:040}")
}

fn addr(number: u64) -> String {
    format!("10.0.0.1:{number}")
}

impl Fixture {
    pub(super) fn new() -> Self {
        let mut fixture = Self { state: State::default(), time_ms: 1_000_000 };
        fixture.apply(Command::CreateNamespace { namespace: "n".to_owned() });
        let node = |number| NewNode { id: id(number), addr: addr(number) };
        fixture.apply(Command::CreateCluster {
            cluster: key(),
            nodes: (1..=4).map(node).collect(),
            replicas: 2,
            password: Secret::new(String::new()),
        });
        fixture
    }

    pub(super) fn apply(&mut self, command: Command) -> Reply {
        let context = Context { index: 1, term: 1, time_ms: self.time_ms, actor: "" };
        self.state.apply(&context, command).unwrap()
    }

    pub(super) fn cluster(&self) -> Arc<Cluster> {
        query::cluster(&self.state, &key()).unwrap()
    }

    /// Every node as it ought to be.
    pub(super) fn sights(&self) -> SightMap {
        let cluster = self.cluster();
        let sights = cluster.nodes().map(|(index, node)| {
            let master = cluster.shards[index].master().map(|master| master.addr.clone());
            let replication = Replication {
                role: node.role,
                master: master.filter(|_| node.role == Role::Slave),
                sequence: 10,
                is_linked: (node.role == Role::Slave).then_some(true),
            };
            let info = ClusterInfo {
                epoch: i64::try_from(cluster.version).unwrap(),
                known_nodes: cluster.nodes().count() as u64,
                slots_assigned: 16_384,
                ..ClusterInfo::default()
            };
            let sight = Sight {
                addr: node.addr.clone(),
                probed: Probed::Answered { info, replication: Some(replication.clone()) },
                failures: 0,
                round: 1,
                time_ms: self.time_ms,
                replication: Some(replication),
                compared: None,
                trouble: None,
            };
            (node.id.clone(), sight)
        });
        sights.collect()
    }
}

/// Changes what a node said.
pub(super) fn said(
    sights: &mut SightMap,
    number: u64,
    change: impl FnOnce(&mut ClusterInfo, &mut Replication),
) {
    let sight = sights.get_mut(&id(number)).unwrap();
    let Probed::Answered { info, replication: Some(replication) } = &mut sight.probed else {
        panic!("the node answered")
    };
    change(info, replication);
    sight.replication = Some(replication.clone());
}
