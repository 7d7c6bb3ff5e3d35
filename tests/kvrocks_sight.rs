//! One replica of ours that does not see the nodes demotes nobody, whether it leads or not; two of
//! three do. The replicas live in network namespaces of their own, and routes are taken away.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod kvrocks_live;
#[path = "kvrocks_live/sight.rs"]
mod sight;
mod support;

use std::time::Duration;

use kvrocks_live::{
    FAILURES, NODE_TIMEOUT_MS, PATIENCE, PING_MS, PROFILE, Site, fleet::Fleet,
    kvrocks_node::Options,
};
use reqwest::Method;
use serde_json::{Value, json};
use support::{cluster::Cluster, namespace};

/// Longest time from the loss of a master to the failover of its shard: all probes take as long as
/// they may, twice over for observers that are out of step, and the machine is busy.
const FAILOVER_MAX: Duration =
    Duration::from_millis(2 * (FAILURES + 1) * (PING_MS + NODE_TIMEOUT_MS) + 3_000);

/// A site whose replicas see each other through one network and the nodes through another.
async fn site_with_nodes(count: u8, replicas: usize) -> (Site, Fleet) {
    let site = Site::of(sight::start_replicas().await).await;
    let fleet = sight::start_nodes("seen", 1, count).await;
    fleet.enlist(&site, replicas).await;
    fleet.write_and_replicate(&site).await;
    (site, fleet)
}

async fn observer(site: &Site, id: u64) -> Value {
    let said = site.done(Method::GET, "/quorate/v1/kvrocks/observers", &Value::Null).await;
    let observers = said["data"]["observers"].as_array().cloned().unwrap_or_default();
    observers.into_iter().find(|observer| observer["id"] == json!(id)).unwrap_or_default()
}

/// Waits until a replica has reported so many dead nodes.
async fn wait_down(site: &Site, id: u64, count: usize) {
    site.wait(&format!("replica {id} misses {count} nodes"), PATIENCE, async || {
        let observer = observer(site, id).await;
        let down = observer["down"].as_object().map_or(0, serde_json::Map::len);
        if down == count { Ok(()) } else { Err(observer.to_string()) }
    })
    .await;
}

async fn replicas_of(site: &Site) -> (u64, u64) {
    (site.cluster.wait_leader().await, site.cluster.wait_follower().await)
}

async fn nothing_has_changed(site: &Site, fleet: &Fleet, version: i64, about: &str) {
    let failovers = fleet.failovers(site).await;
    assert!(failovers.is_empty(), "{about}: {failovers:?}");
    assert_eq!(fleet.record(site).await.version, version, "{about}");
}

fn as_refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn one_replica_cut_off_from_the_nodes_fails_nothing_over() {
    namespace::run("one_replica_cut_off_from_the_nodes_fails_nothing_over", async {
        let (mut site, fleet) = site_with_nodes(4, 2).await;
        let all = fleet.addrs();
        let master = fleet.record(&site).await.master(0).addr.clone();
        let (leader, follower) = replicas_of(&site).await;
        for (id, cut_off, about) in [
            (follower, as_refs(&all), "a follower sees no node"),
            (leader, as_refs(&all), "the leader sees no node"),
            (follower, vec![master.as_str()], "a follower misses a master"),
            (leader, vec![master.as_str()], "the leader misses a master"),
        ] {
            sight::cut(&mut site.cluster, id, &cut_off);
            wait_down(&site, id, cut_off.len()).await;
            let sighted = observer(&site, id).await["sighted"].clone();
            assert_eq!(sighted, json!(cut_off.len() < all.len()), "{about}");
            // Often enough for those who see it to have failed over three times.
            fleet.wait_probes(&site, &master, FAILURES * 3 + 1, 2).await;
            nothing_has_changed(&site, &fleet, 1, about).await;
            sight::mend(&mut site.cluster, id, &cut_off);
            wait_down(&site, id, 0).await;
        }
        // The same cut for two of three is a majority: the test could have failed. The leader is
        // one of them, whoever leads by now: it does not demote a master that answers it.
        let (leader, follower) = replicas_of(&site).await;
        let (cut_off, others) = ([master.as_str()], [leader, follower]);
        for id in others {
            sight::cut(&mut site.cluster, id, &cut_off);
        }
        failed_over(&site, &fleet, &master).await;
        for id in others {
            sight::mend(&mut site.cluster, id, &cut_off);
        }
        let record = fleet.agreed(&site).await;
        assert_eq!(record.version, 2);
    });
}

async fn failed_over(site: &Site, fleet: &Fleet, old: &str) {
    fleet.until_replaced(site, old, FAILOVER_MAX).await;
    assert_eq!(fleet.failovers(site).await.len(), 1);
}

/// A leader that sees no node must not stand in the way of those who do.
#[test]
fn a_dead_master_is_replaced_although_the_leader_sees_no_node() {
    namespace::run("a_dead_master_is_replaced_although_the_leader_sees_no_node", async {
        let (mut site, mut fleet) = site_with_nodes(4, 2).await;
        let leader = site.cluster.wait_leader().await;
        let all = fleet.addrs();
        sight::cut(&mut site.cluster, leader, &as_refs(&all));
        wait_down(&site, leader, all.len()).await;
        let master = fleet.record(&site).await.master(0).addr.clone();
        fleet.node_mut(&master).kill().await;
        fleet.until_replaced(&site, &master, PATIENCE).await;
        fleet.agreed(&site).await;
        sight::mend(&mut site.cluster, leader, &as_refs(&all));
        fleet.node_mut(&master).restart(true).await.unwrap();
        let record = fleet.agreed(&site).await;
        assert_eq!((record.version, fleet.failovers(&site).await.len()), (2, 1));
    });
}

/// More nodes than `min_alive_size`, and most of them dead at once: it is rather the network, and
/// nobody is demoted. Once enough of them are back, the rest is failed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_of_dead_nodes_fails_nothing_over() {
    let site = Site::of(Cluster::start(3, &PROFILE).await).await;
    let mut fleet = Fleet::create_with(&site, "mass", 12, 2, Options::default()).await;
    let record = fleet.record(&site).await;
    fleet.write_and_replicate(&site).await;
    let masters: Vec<String> = (0..6).map(|shard| record.master(shard).addr.clone()).collect();
    let alive = record.replica(5).addr.clone();
    let mut killed = Vec::new();
    for node in fleet.nodes.iter_mut().filter(|node| node.addr != alive).take(10) {
        node.kill().await;
        killed.push(node.addr.clone());
    }
    for id in 1..=3 {
        wait_down(&site, id, 10).await;
        assert_eq!(observer(&site, id).await["sighted"], false);
    }
    fleet.wait_probes(&site, &alive, FAILURES * 3, 3).await;
    nothing_has_changed(&site, &fleet, 1, "ten of twelve nodes are dead").await;
    // All come back but one master, which is now the only dead node.
    for addr in killed.iter().filter(|addr| **addr != masters[0]) {
        fleet.node_mut(addr).restart(true).await.unwrap();
    }
    failed_over(&site, &fleet, &masters[0]).await;
    fleet.node_mut(&masters[0]).restart(true).await.unwrap();
    let record = fleet.agreed(&site).await;
    assert_eq!(record.version, 2);
    println!(
        "ten of twelve dead: nothing; one of twelve dead: failed over at {PING_MS} ms a probe"
    );
}
