//! The life of an undermoon cluster, driven by stand-in coordinators and server proxies, while
//! replicas of the broker are killed and come back.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    cluster::Cluster,
    compare,
    coordinator::{Coordinator, Operator},
    server_proxy::Fleet,
};
use tokio::time::sleep;

/// Pause between the rounds of a coordinator's loops.
const INTERVAL: Duration = Duration::from_millis(100);
/// A coordinator whose list has a dead address loses a third of its calls, and often the same one
/// round after round (spec 8.3), so its work takes many rounds.
const PATIENCE: Duration = Duration::from_secs(100);
/// Hosts, with two proxies each.
const HOSTS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_lives_through_the_loss_of_replicas_and_of_a_proxy() {
    let mut cluster = Cluster::start(3, &[]).await;
    let fleet = Fleet::default();
    let mut operator = Operator::new(&cluster.urls());
    let mut addresses = Vec::new();
    for number in 0..HOSTS * 2 {
        let address = fleet.start().await;
        operator.register(&address, &format!("host{}", number % HOSTS)).await;
        addresses.push(address);
    }
    let urls = cluster.urls();
    let mut coordinators = [
        Coordinator::start("coordinator-1", &urls, INTERVAL),
        Coordinator::start_compressing("coordinator-2", &urls, INTERVAL),
    ];

    operator.change(Method::POST, "clusters/meta/life", json!({ "node_number": 8 })).await;
    settled(&operator, &fleet, &addresses).await;

    // A follower goes while slots move to new chunks.
    let follower = cluster.wait_follower().await;
    operator.change(Method::PATCH, "clusters/nodes/life", json!({ "node_number": 8 })).await;
    operator.change(Method::POST, "clusters/migrations/expand/life", Value::Null).await;
    cluster.replica(follower).kill();
    migrated(&operator, 16).await;
    cluster.replica(follower).start();
    cluster.wait_ready(follower).await;
    settled(&operator, &fleet, &addresses).await;

    // A proxy dies, and with it the leader of the broker.
    let meta = operator.read("clusters/meta/life").await;
    let lost = meta["cluster"]["nodes"][0]["proxy_address"].as_str().unwrap().to_owned();
    fleet.kill(&lost);
    let leader = cluster.wait_leader().await;
    cluster.replica(leader).kill();
    replaced(&operator, &lost).await;
    addresses.retain(|address| *address != lost);
    cluster.replica(leader).start();
    cluster.wait_ready(leader).await;
    settled(&operator, &fleet, &addresses).await;

    // The next leader goes while slots move back.
    operator.change(Method::POST, "clusters/migrations/shrink/life/8", Value::Null).await;
    let leader = cluster.wait_leader().await;
    cluster.replica(leader).kill();
    migrated(&operator, 8).await;
    cluster.replica(leader).start();
    cluster.wait_ready(leader).await;
    operator.change(Method::DELETE, "clusters/free_nodes/life", Value::Null).await;
    settled(&operator, &fleet, &addresses).await;

    assert_eq!(fleet.violations(), Vec::<String>::new(), "an epoch had two contents");
    assert!(!coordinators.iter_mut().any(Coordinator::has_died), "a coordinator stopped");
    println!("{} pushes were refused as old", fleet.refused());
    let info = operator.read("clusters/info/life").await;
    assert_eq!(info["node_number"], 8, "{info}");
    nobody_stepped_back_or_ran_ahead(&operator, &fleet, &addresses).await;
    drop(coordinators);
    compare::digests(&cluster).await.unwrap();
    let (_, differences) = compare::logs(&cluster).await;
    assert_eq!(differences, [], "logs differ below the commit index");
}

/// No proxy took an epoch that was not newer, and none holds one that was never committed.
async fn nobody_stepped_back_or_ran_ahead(
    operator: &Operator,
    fleet: &Fleet,
    addresses: &[String],
) {
    let global = operator.read("epoch").await.as_u64().unwrap();
    for address in addresses {
        let steps = fleet.steps(address);
        assert!(!steps.is_empty(), "{address} was never told anything");
        assert!(steps.iter().all(|(before, after)| before < after), "{address}: {steps:?}");
        let epoch = fleet.epoch(address);
        assert!(epoch <= global, "{address} is at {epoch}, the broker at {global}");
    }
}

/// Waits until every proxy holds what the broker says, then checks that all slots are served once.
async fn settled(operator: &Operator, fleet: &Fleet, addresses: &[String]) {
    let deadline = Instant::now() + PATIENCE;
    let mut behind = Vec::new();
    while Instant::now() < deadline {
        behind.clear();
        for address in addresses {
            let wanted = operator.read(&format!("proxies/meta/{address}")).await;
            if fleet.meta(address) != wanted["proxy"] {
                behind.push(address.clone());
            }
        }
        if behind.is_empty() {
            all_slots_are_served_once(fleet, addresses);
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{behind:?} do not hold what the broker says");
}

fn all_slots_are_served_once(fleet: &Fleet, addresses: &[String]) {
    let mut served = BTreeSet::new();
    for address in addresses {
        let meta = fleet.meta(address);
        for node in meta["nodes"].as_array().into_iter().flatten() {
            for range in node["slots"].as_array().into_iter().flatten() {
                assert_eq!(range["tag"], "None", "a migration is left at {address}");
                for pair in range["range_list"].as_array().unwrap() {
                    for slot in pair[0].as_u64().unwrap()..=pair[1].as_u64().unwrap() {
                        assert!(served.insert(slot), "slot {slot} is served twice");
                    }
                }
            }
        }
    }
    assert_eq!(served.len(), 16_384, "not all slots are served");
}

/// Waits until the migrations of the cluster are over and `nodes` nodes have slots.
async fn migrated(operator: &Operator, nodes: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = operator.read("clusters/info/life").await;
        if info["is_migrating"] == false && info["node_number_with_slots"] == nodes {
            return;
        }
        assert!(Instant::now() < deadline, "the migrations do not end: {info}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a proxy has left the cluster and is marked as failed.
async fn replaced(operator: &Operator, lost: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let failed = operator.read("proxies/failed/addresses").await;
        let meta = operator.read("clusters/meta/life").await;
        let is_failed = failed["addresses"].as_array().unwrap().iter().any(|a| a == lost);
        if is_failed && !meta.to_string().contains(&format!("\"{lost}\"")) {
            return;
        }
        assert!(Instant::now() < deadline, "{lost} is not replaced: {failed}");
        sleep(Duration::from_millis(100)).await;
    }
}
