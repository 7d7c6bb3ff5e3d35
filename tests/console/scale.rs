//! An undermoon cluster grows and shrinks, with stand-ins for its proxies and its coordinator that
//! move the slots.

use std::time::Duration;

use serde_json::Value;

use crate::{
    page::Console,
    support::{
        cluster::Cluster,
        coordinator::{Coordinator, Operator},
        server_proxy::Fleet,
    },
};

/// Pause between the rounds of the coordinator's loops.
const INTERVAL: Duration = Duration::from_millis(100);
const HOSTS: [&str; 4] = ["host1", "host2", "host3", "host4"];
const INFO: &str = "/api/v3/clusters/info/sessions";

/// By `auto` in one step, back by `shrink`.
pub async fn to_and_fro(cluster: Cluster) {
    let (fleet, mut operator) = (Fleet::default(), Operator::new(&cluster.urls()));
    for host in HOSTS {
        operator.register(&fleet.start().await, host).await;
    }
    let _coordinator = Coordinator::start("coordinator1", &cluster.urls(), INTERVAL);
    let console = Console::open(cluster.url(cluster.wait_follower().await)).await;
    console.visit("undermoon").await;
    let new = [("name", "sessions"), ("nodes", "4")];
    console.act(".page-head", "Create cluster", &new).await;
    console.act("#cluster", "Scale", &[("way", "auto"), ("nodes", "8")]).await;
    console.wait_for(INFO, are_on(8)).await;
    console.wait_text("figcaption", "4 owners · every slot has an owner").await;
    console.act("#cluster", "Scale", &[("way", "shrink"), ("nodes", "4")]).await;
    console.wait_for(INFO, are_on(4)).await;
    console.wait_text("figcaption", "2 owners · every slot has an owner").await;
    // They are free of slots, and still the cluster's.
    assert_eq!(console.get(INFO).await["node_number"], 8);
    console.is_content().await;
    assert_eq!(fleet.violations(), Vec::<String>::new());
}

/// So many nodes have all the slots.
fn are_on(nodes: u64) -> impl Fn(&Value) -> bool {
    move |info| info["is_migrating"] == false && info["node_number_with_slots"] == nodes
}
