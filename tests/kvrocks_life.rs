//! The life of a Kvrocks cluster through three replicas: created, written, migrated while written,
//! failed over by itself; and the same while the leader is killed in the middle of each step.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod kvrocks_live;
mod support;

use std::time::{Duration, Instant};

use kvrocks_live::{
    FAILURES, NODE_TIMEOUT_MS, PATIENCE, PING_MS, Site,
    fleet::Fleet,
    kvrocks_node::Options,
    writer::{Writer, lost},
};
use reqwest::Method;
use serde_json::{Value, json};
use support::compare;
use tokio::time::sleep;

/// What a busy machine may add to the time that a failover takes by the settings.
const SLACK_MS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_created_written_migrated_and_failed_over() {
    let mut site = Site::start().await;
    let addresses = site.create("life", 3, 2).await;
    let mut writers = ["a", "b"].map(|name| Writer::start(name, &addresses));
    writers[0].more(300).await;
    let (status, answer) = site.migrate("life", "0-600", 1).await;
    assert_eq!(status, 200, "{answer}");
    site.until_job("life", "succeeded").await;
    writers[1].more(100).await;
    let record = site.agreed("life").await;
    assert_eq!(record.shards[0].slots, ["601-5460"]);
    assert_eq!(record.shards[1].slots, ["0-600", "5461-10921"]);
    let mut taken = Vec::new();
    for writer in writers {
        taken.push(writer.stop().await);
    }
    for taken in &taken {
        assert_eq!(lost(&addresses, taken).await, Vec::<String>::new());
    }

    let master = record.shards[2].master().addr.clone();
    let replica = record.shards[2].replicas().next().unwrap().addr.clone();
    let sequence = site.node(&master).sequence();
    let deadline = Instant::now() + PATIENCE;
    while site.node(&replica).sequence() < sequence {
        assert!(Instant::now() < deadline, "the replica never caught up");
        sleep(Duration::from_millis(10)).await;
    }
    site.node(&master).kill().await;
    let killed = Instant::now();
    site.until("life", "the replica leads", |record| record.shards[2].master().addr == replica)
        .await;
    let took = killed.elapsed();
    println!("failover of a killed master: {} ms", took.as_millis());
    let bound_ms = PING_MS * (FAILURES + 1) + NODE_TIMEOUT_MS + SLACK_MS;
    assert!(took < Duration::from_millis(bound_ms), "{took:?}");
    site.agreed("life").await;
    for taken in &taken {
        assert_eq!(lost(&addresses, taken).await, Vec::<String>::new());
    }
    for seen in site.seen_as("life", &master, "silent").await {
        assert!(seen["failures"].as_u64().unwrap() > 0, "{seen}");
        assert!(seen["error"].as_str().unwrap().contains(&master), "{seen}");
        assert!(seen["found_dead_by"].as_array().unwrap().len() >= 2, "{seen}");
    }
    for seen in site.seen_as("life", &replica, "ok").await {
        assert_eq!(seen["observed_role"], "master");
        assert_eq!(seen["observed_version"], seen["wanted_version"]);
    }

    site.node(&master).restart(true).await.unwrap();
    let record = site.agreed("life").await;
    let (_, returned) = record.node(&master).unwrap();
    assert!(!returned.is_master);
    for seen in site.seen_as("life", &master, "ok").await {
        assert_eq!((&seen["follows"], &seen["failures"]), (&json!(replica), &json!(0)));
    }
    assert_eq!(site.failovers("life").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_in_the_middle_of_a_creation() {
    let mut site = Site::start().await;
    let addresses = site.add_nodes(4, &Options::default()).await;
    for addr in &addresses {
        site.node(addr).fault(|faults| faults.delay_ms = 100);
    }
    site.create_of("life", &addresses, 2).await;
    let killed = site.kill_leader().await;
    site.without_delay();
    site.agreed("life").await;
    site.revive(killed).await;
    assert_eq!(site.agreed("life").await.version, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_in_the_middle_of_a_push() {
    let mut site = Site::start().await;
    let mut addresses = site.create("life", 2, 2).await;
    for addr in &addresses {
        site.node(addr).fault(|faults| faults.delay_ms = 100);
    }
    let more = site.add_nodes(1, &Options::default()).await;
    let path = "/api/v1/namespaces/n/clusters/life/shards/0/nodes";
    site.done(Method::POST, path, &json!({ "addr": more[0] })).await;
    let killed = site.kill_leader().await;
    site.without_delay();
    addresses.extend(more);
    assert_eq!(site.agreed("life").await.version, 2);
    site.revive(killed).await;
    assert_eq!(site.agreed("life").await.version, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_at_every_point_of_a_migration() {
    let mut site = Site::start().await;
    let addresses = site.create("life", 2, 2).await;
    let (source, target) = (addresses[0].clone(), addresses[2].clone());
    let writer = Writer::start("w", &addresses);

    // Marked, and the source not asked yet.
    site.node(&source).fault(|faults| faults.delay_ms = NODE_TIMEOUT_MS * 4 / 5);
    let path = "/api/v1/namespaces/n/clusters/life/migrations";
    site.done(Method::POST, path, &json!({ "target": 1, "slots": ["0-99"] })).await;
    site.until_job("life", "pending").await;
    let killed = site.kill_leader().await;
    site.node(&source).fault(|faults| faults.delay_ms = 0);
    site.until_job("life", "succeeded").await;
    assert_eq!(site.orders(&source), 1);
    site.revive(killed).await;

    // Going on.
    site.node(&source).fault(|faults| faults.holds_migrations = true);
    site.done(Method::POST, path, &json!({ "target": 1, "slots": ["100-199"] })).await;
    site.until_job("life", "running").await;
    let killed = site.kill_leader().await;
    site.cluster.wait_leader_other_than(killed).await;
    site.node(&source).fault(|faults| faults.holds_migrations = false);
    site.until_job("life", "succeeded").await;
    assert_eq!(site.orders(&source), 2);
    site.revive(killed).await;

    // Taken, and the answer lost with the leader.
    site.node(&source).fault(|faults| {
        faults.holds_migrations = true;
        faults.lost_migrate_answers = 1;
    });
    site.done(Method::POST, path, &json!({ "target": 1, "slots": ["200-299"] })).await;
    let deadline = Instant::now() + PATIENCE;
    while site.orders(&source) < 3 {
        assert!(Instant::now() < deadline, "the order never came");
        sleep(Duration::from_millis(5)).await;
    }
    let killed = site.kill_leader().await;
    site.until_job("life", "running").await;
    site.node(&source).fault(|faults| faults.holds_migrations = false);
    site.until_job("life", "succeeded").await;
    assert_eq!(site.orders(&source), 3);
    site.revive(killed).await;

    // Over at the nodes, and not recorded.
    site.node(&source).fault(|faults| faults.holds_migrations = true);
    site.done(Method::POST, path, &json!({ "target": 1, "slots": ["300-399"] })).await;
    site.until_job("life", "running").await;
    let leader = site.cluster.wait_leader().await;
    site.cluster.replica(leader).signal(nix::sys::signal::Signal::SIGSTOP);
    site.node(&source).fault(|faults| faults.holds_migrations = false);
    site.cluster.wait_leader_other_than(leader).await;
    site.cluster.replica(leader).kill();
    site.until_job("life", "succeeded").await;
    assert_eq!(site.orders(&source), 4);
    site.revive(leader).await;

    let record = site.agreed("life").await;
    assert_eq!(record.shards[0].slots, ["400-8191"]);
    assert_eq!(record.shards[1].slots, ["0-399", "8192-16383"]);
    assert!(record.shards.iter().all(|shard| shard.migrating.is_none()));
    let jobs = site.jobs("life").await;
    assert!(jobs.iter().all(|job| job["state"] == "succeeded" && job["attempt"] == 1), "{jobs:?}");
    let taken = writer.stop().await;
    assert_eq!(lost(&addresses, &taken).await, Vec::<String>::new());
    assert!(site.node(&target).is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_around_a_failover() {
    let mut site = Site::start().await;
    let addresses = site.create("life", 2, 3).await;

    // As soon as it is recorded: the next leader tells the nodes.
    site.node(&addresses[0]).kill().await;
    site.until("life", "another master", |record| record.shards[0].master().addr != addresses[0])
        .await;
    let killed = site.kill_leader().await;
    site.agreed("life").await;
    assert_eq!(site.failovers("life").await.len(), 1);
    site.revive(killed).await;
    site.node(&addresses[0]).restart(true).await.unwrap();
    site.agreed("life").await;

    // Just before it is decided: the next leader decides.
    site.node(&addresses[3]).kill().await;
    sleep(Duration::from_millis(PING_MS * FAILURES)).await;
    let killed = site.kill_leader().await;
    site.until("life", "another master", |record| record.shards[1].master().addr != addresses[3])
        .await;
    site.agreed("life").await;
    site.revive(killed).await;
    let failovers = site.failovers("life").await;
    assert_eq!(failovers.len(), 2, "{failovers:?}");
    site.node(&addresses[3]).restart(true).await.unwrap();
    let record = site.agreed("life").await;
    assert_eq!(site.failovers("life").await.len(), 2);
    assert_eq!(record.version, 3);
    let observers = site.done(Method::GET, "/quorate/v1/kvrocks/observers", &Value::Null).await;
    assert!(
        observers["data"]["observers"].as_array().is_some_and(|observers| observers.len() == 3)
    );
}

/// A replica that hangs behind is not chosen, and what the killed master alone had is all that is
/// lost: writers never stop, and every write that was taken is looked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_replicated_is_lost_in_a_failover() {
    let site = Site::start().await;
    let mut fleet = Fleet::create(&site, "kept", 6, 3).await;
    let record = fleet.record(&site).await;
    let old = record.master(0).clone();
    let [current, behind] = record.shards[0].replicas().collect::<Vec<_>>()[..] else {
        panic!("two replicas")
    };
    fleet.node(&behind.addr).fault(|faults| faults.has_no_link = true);
    let mut writers = ["a", "b", "c"].map(|name| Writer::start_once(name, &fleet.addrs(), &[]));
    writers[0].more(100).await;
    assert!(fleet.node(&behind.addr).sequence() < fleet.node(&current.addr).sequence());
    let killed = Instant::now();
    fleet.node_mut(&old.addr).kill().await;
    let replicated = fleet.node(&current.addr).keys();
    let now = fleet.until_replaced(&site, &old.addr, PATIENCE).await;
    let took_ms = killed.elapsed().as_millis();
    assert_eq!(now, current.addr, "the replica that has more leads");
    let earliest_ms = u128::from((FAILURES - 1) * PING_MS);
    assert!(took_ms >= earliest_ms, "failed over after {took_ms} ms: fewer failures than it takes");
    writers[0].more(100).await;
    fleet.node(&behind.addr).fault(|faults| faults.has_no_link = false);
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.written().await);
    }
    let after = fleet.agreed(&site).await;
    fleet.node_mut(&old.addr).restart(true).await.unwrap();
    assert_eq!(fleet.agreed(&site).await, after, "a node that comes back changes no record");
    let missing = fleet.missing(&after, &written);
    println!("{} writes, {} lost with the killed master", written.len(), missing.len());
    for write in missing {
        assert_eq!(write.by, old.addr, "{write:?} is lost");
        assert!(!replicated.contains_key(&write.key), "{write:?} was replicated and is lost");
    }
    assert_eq!(fleet.failovers(&site).await.len(), 1);
    compare::digests(&site.cluster).await.unwrap();
}

/// The leader dies with the request still on its way to the client, who repeats it under its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_with_a_creation_on_its_way() {
    let mut site = Site::start().await;
    for wait_ms in [0, 8] {
        let fleet = Fleet::start(&format!("after-{wait_ms}"), 4, Options::default()).await;
        let leader = site.cluster.wait_leader().await;
        let (key, body) = (format!("creation-{wait_ms}"), fleet.body(2));
        let url = format!("{}{}", site.cluster.url(leader), Fleet::creation());
        let sent = site.cluster.client.post(url).header("Idempotency-Key", &key).json(&body);
        // Whether it is answered in time does not matter.
        drop(tokio::time::timeout(Duration::from_millis(wait_ms), sent.send()).await);
        site.cluster.replica(leader).kill();
        let (status, answer) = site.call_as(&key, Method::POST, &Fleet::creation(), &body).await;
        assert_eq!(status, 201, "{answer}");
        site.revive(leader).await;
        let record = fleet.agreed(&site).await;
        assert_eq!(record.version, 1);
        for (_, node) in record.nodes() {
            let named = fleet.heard(&node.addr, "CLUSTERX SETNODEID");
            assert!(named.iter().all(|said| said.ends_with(&node.id)), "{named:?}");
        }
    }
}

/// The leader dies when the first report of the dead master is recorded, and again when the new
/// master is recorded and no node knows: each time there is one failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_with_a_failover_reported_or_decided() {
    let mut site = Site::start().await;
    for moment in ["reported", "decided"] {
        let mut fleet = Fleet::create(&site, moment, 6, 3).await;
        let written = fleet.write_and_replicate(&site).await;
        let record = fleet.record(&site).await;
        let old = record.master(0).clone();
        // Nothing is pushed at once.
        fleet.nodes.iter().for_each(|node| node.fault(|faults| faults.delay_ms = 100));
        fleet.node_mut(&old.addr).kill().await;
        site.wait(moment, PATIENCE, async || has_come(&site, &fleet, moment).await).await;
        let leader = site.kill_leader().await;
        for node in fleet.nodes.iter().filter(|node| node.is_running()) {
            node.fault(|faults| faults.delay_ms = 0);
        }
        fleet.until_replaced(&site, &old.addr, PATIENCE).await;
        let after = fleet.agreed(&site).await;
        site.revive(leader).await;
        fleet.node_mut(&old.addr).restart(true).await.unwrap();
        assert_eq!(fleet.agreed(&site).await, after);
        assert_eq!(after.version, record.version + 1, "{moment}");
        assert_eq!(fleet.failovers(&site).await.len(), 1, "{moment}");
        assert_eq!(fleet.missing(&after, &written), Vec::<&kvrocks_live::writer::Written>::new());
    }
}

async fn has_come(site: &Site, fleet: &Fleet, moment: &str) -> Result<(), String> {
    let seen = if moment == "decided" {
        !fleet.failovers(site).await.is_empty()
    } else {
        let said = site.done(Method::GET, "/quorate/v1/kvrocks/observers", &Value::Null).await;
        let observers = said["data"]["observers"].as_array().cloned().unwrap_or_default();
        let is_down = |one: &Value| one["down"].as_object().is_some_and(|down| !down.is_empty());
        observers.iter().any(is_down)
    };
    if seen { Ok(()) } else { Err("not yet".to_owned()) }
}
