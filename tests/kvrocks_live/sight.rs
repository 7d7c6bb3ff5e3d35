//! Kvrocks nodes that replicas in network namespaces reach or do not: a node at 10.77.0.5 is cut off
//! from one replica by a route that leads nowhere, so nothing is answered, as with a broken network.

#![allow(clippy::unwrap_used, unreachable_pub)]

use crate::{
    kvrocks_live::{
        PROFILE,
        fleet::Fleet,
        kvrocks_node::{Node, Options},
    },
    support::{
        cluster::Cluster,
        namespace::{self, inside, ip},
    },
};

/// Starts three replicas, each in a namespace of its own.
pub async fn start_replicas() -> Cluster {
    namespace::start_replicas(3, &PROFILE).await
}

/// Starts nodes of no cluster, each on an address of its own.
pub async fn start_nodes(name: &str, first: u8, count: u8) -> Fleet {
    let mut nodes = Vec::new();
    for number in first..first + count {
        let host = format!("10.77.0.{number}");
        ip(&format!("addr add {host}/32 dev lo"));
        nodes.push(Node::start(0, Options { host, ..Options::default() }).await.unwrap());
    }
    Fleet { name: name.to_owned(), nodes }
}

/// Cuts a replica off from some nodes.
pub fn cut(cluster: &mut Cluster, id: u64, addrs: &[&str]) {
    route(cluster, id, addrs, "add blackhole");
}

/// Takes [`cut`] back.
pub fn mend(cluster: &mut Cluster, id: u64, addrs: &[&str]) {
    route(cluster, id, addrs, "del blackhole");
}

fn route(cluster: &mut Cluster, id: u64, addrs: &[&str], how: &str) {
    let pid = cluster.replica(id).pid();
    for addr in addrs {
        let host = addr.split(':').next().expect("a host");
        inside(pid, &format!("route {how} {host}/32"));
    }
}
