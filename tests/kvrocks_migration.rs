//! Migrations of slots, and everything that can come between their beginning and their end.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod kvrocks_live;
mod support;

use kvrocks_live::{
    PATIENCE, Site,
    fleet::{Fleet, tag},
    kvrocks_node::{Options, topology::slot_of},
    record::Record,
    writer::{Client, Writer, Written},
};
use serde_json::{Value, json};

/// A fleet of two shards, with keys in slot 5 and elsewhere.
async fn fleet(site: &Site, name: &str, replicas: usize) -> (Fleet, Record, Vec<Written>) {
    fleet_with(site, name, replicas, Options::default()).await
}

async fn fleet_with(
    site: &Site,
    name: &str,
    replicas: usize,
    options: Options,
) -> (Fleet, Record, Vec<Written>) {
    let fleet = Fleet::create_with(site, name, 2 * replicas, replicas, options).await;
    let mut writer = Writer::start_once("w", &fleet.addrs(), &[tag(5)]);
    writer.more(30).await;
    let written = writer.written().await;
    let record = fleet.record(site).await;
    (fleet, record, written)
}

/// Nodes and record agree, the slots are where they should be, and nothing is lost.
async fn ends(site: &Site, fleet: &Fleet, slots: [&[&str]; 2], written: &[Written]) -> Record {
    let record = fleet.agreed(site).await;
    for (shard, slots) in record.shards.iter().zip(slots) {
        assert_eq!(shard.slots, slots, "{}", fleet.name);
        assert_eq!(shard.migrating, None, "{}", fleet.name);
    }
    let missing = fleet.missing(&record, written);
    assert!(missing.is_empty(), "{}: {missing:?}", fleet.name);
    record
}

const BEFORE: [&[&str]; 2] = [&["0-8191"], &["8192-16383"]];
/// Slot 5 has gone over.
const AFTER: [&[&str]; 2] = [&["0-4", "6-8191"], &["5", "8192-16383"]];

/// A key of slot 5 can be written, at whomever the nodes send the client to.
async fn is_writable(fleet: &Fleet, seed: &str) {
    let mut client = Client::new(&[seed.to_owned()]);
    let key = format!("{{{}}}written-later", tag(5));
    let reply = client.ask(&["SET", &key, "1"]).await.expect("the slot takes writes");
    assert_eq!(reply, "OK", "{}", fleet.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_that_go_well_and_those_that_do_not() {
    let site = Site::start().await;
    // What these do to masters must not move the shards as well.
    site.set(json!({"automatic_failover": false})).await;
    tokio::join!(
        one_slot_there_and_back(&site),
        slots_without_their_data(&site),
        one_at_a_time(&site),
        refused_by_the_node(&site),
        failed_and_tried_again(&site),
        lost_answer(&site),
        source_restarts(&site),
        destination_restarts(&site),
        cancelled(&site),
        success_of_another_time(&site),
        a_queue_one_after_the_other(&site),
        success_and_restart_of_the_source(&site),
    );
}

/// Nothing is pushed to the destination in between, or a real one would end the import; and what
/// comes back comes with its data, so that it can be written.
async fn one_slot_there_and_back(site: &Site) {
    let (fleet, record, written) = fleet(site, "there", 1).await;
    let (source, target) = (record.master(0).clone(), record.master(1).clone());
    fleet.node(&source.addr).fault(|faults| faults.holds_migrations = true);
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "running").await;
    let marked = fleet.record(site).await;
    assert_eq!(marked.shards[0].migrating.as_deref(), Some("5"));
    let orders = [format!("CLUSTERX MIGRATE 5 {}", target.id)];
    assert_eq!(fleet.heard(&source.addr, "CLUSTERX MIGRATE"), orders);
    let pushes = || fleet.heard(&target.addr, "CLUSTERX SETNODES").len();
    let before = pushes();
    fleet.wait_probes(site, &target.addr, 5, 3).await;
    assert_eq!(pushes(), before, "a push ends the import");
    fleet.node(&source.addr).fault(|faults| faults.holds_migrations = false);
    fleet.until_job(site, "succeeded").await;
    let after = ends(site, &fleet, AFTER, &written).await;
    assert_eq!(after.version, record.version + 2);
    assert!(!fleet.node(&source.addr).keys().keys().any(|key| slot_of(key) == 5), "left behind");
    fleet.migrate(site, "5", 0).await;
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, BEFORE, &written).await;
    is_writable(&fleet, &source.addr).await;
}

async fn slots_without_their_data(site: &Site) {
    let (fleet, record, _) = fleet(site, "bare", 1).await;
    for (key, target) in [("slot_only", 1), ("slotOnly", 0)] {
        let body = json!({"slot": "5", "target": target, key: "true"});
        let (status, answer) = fleet.ask(site, "POST /migrate", body).await;
        assert_eq!(status, 200, "{answer}");
        let slots = if target == 1 { AFTER } else { BEFORE };
        ends(site, &fleet, slots, &[]).await;
    }
    assert_eq!(fleet.orders(), [""; 0]);
    assert_eq!(fleet.record(site).await.version, record.version + 2);
}

async fn one_at_a_time(site: &Site) {
    let (fleet, record, written) = fleet(site, "busy", 1).await;
    let source = fleet.node(&record.master(0).addr);
    source.fault(|faults| faults.holds_migrations = true);
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "running").await;
    for (slot, target) in [("6", 1), ("9000", 0)] {
        let body = json!({"slot": slot, "target": target});
        let (status, answer) = fleet.ask(site, "POST /migrate", body).await;
        assert_eq!(status, 500);
        assert_eq!(answer["error"]["message"], "shard slot is migrating");
    }
    source.fault(|faults| faults.holds_migrations = false);
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, AFTER, &written).await;
}

/// Somebody else has begun a migration there by hand.
async fn refused_by_the_node(site: &Site) {
    let (fleet, record, written) = fleet(site, "refused", 1).await;
    let source = fleet.node(&record.master(0).addr);
    source.fault(|faults| faults.holds_migrations = true);
    let by_hand = ["CLUSTERX", "MIGRATE", "100", &record.master(1).id];
    assert_eq!(source.ask(&by_hand).await.text(), "OK");
    let (status, answer) =
        fleet.ask(site, "POST /migrate", json!({"slot": "5", "target": 1})).await;
    assert_eq!(status, 500, "{answer}");
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("There is already a migrating job"), "{text}");
    assert_eq!(fleet.jobs(site).await.last().unwrap()["state"], "failed");
    ends(site, &fleet, BEFORE, &written).await;
}

/// Once for good, because one attempt was asked for; then again by itself.
async fn failed_and_tried_again(site: &Site) {
    let (fleet, record, written) = fleet(site, "failed", 1).await;
    let source = fleet.node(&record.master(0).addr);
    source.fault(|faults| faults.failing_migrations = 1);
    let once = json!({"slots": ["5"], "target": 1, "attempts_max": 1});
    fleet.done(site, "POST /migrations", once).await;
    fleet.until_job(site, "failed").await;
    ends(site, &fleet, BEFORE, &written).await;
    source.fault(|faults| faults.failing_migrations = 1);
    let body = json!({"slots": ["5"], "target": 1, "attempts_max": 2});
    let (status, answer) = fleet.ask(site, "POST /migrations", body).await;
    assert_eq!(status, 201, "{answer}");
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, AFTER, &written).await;
    assert_eq!(fleet.orders().len(), 3);
}

/// The source takes the order, and the connection breaks instead of an answer.
async fn lost_answer(site: &Site) {
    let (fleet, record, written) = fleet(site, "unanswered", 1).await;
    fleet.node(&record.master(0).addr).fault(|faults| faults.lost_migrate_answers = 1);
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, AFTER, &written).await;
    assert_eq!(fleet.orders().len(), 1, "it was ordered a second time");
}

/// It has forgotten the migration, and the keys are where they were.
async fn source_restarts(site: &Site) {
    let (mut fleet, record, written) = fleet(site, "source", 1).await;
    let source = record.master(0).addr.clone();
    fleet.node(&source).fault(|faults| faults.holds_migrations = true);
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "running").await;
    fleet.node_mut(&source).restart(true).await.unwrap();
    fleet.until_job(site, "failed").await;
    ends(site, &fleet, BEFORE, &written).await;
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, AFTER, &written).await;
}

async fn destination_restarts(site: &Site) {
    let (mut fleet, record, written) = fleet(site, "destination", 1).await;
    let (source, target) = (record.master(0).addr.clone(), record.master(1).addr.clone());
    fleet.node(&source).fault(|faults| faults.holds_migrations = true);
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "running").await;
    fleet.node_mut(&target).restart(true).await.unwrap();
    fleet.node(&source).fault(|faults| faults.holds_migrations = false);
    fleet.until_job(site, "failed").await;
    ends(site, &fleet, BEFORE, &written).await;
    is_writable(&fleet, &target).await;
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, AFTER, &written).await;
}

async fn cancelled(site: &Site) {
    let (fleet, record, written) = fleet(site, "cancelled", 1).await;
    let source = fleet.node(&record.master(0).addr);
    source.fault(|faults| faults.holds_migrations = true);
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "running").await;
    let id = fleet.jobs(site).await.last().unwrap()["id"].clone();
    let (status, answer) = fleet.ask(site, &format!("DELETE /migrations/{id}"), Value::Null).await;
    assert_eq!(status, 204, "{answer}");
    // The source notices when it sends something, or is let to its end.
    source.fault(|faults| faults.holds_migrations = false);
    site.wait("the migration is over", PATIENCE, async || {
        let state = fleet.jobs(site).await.last().unwrap()["state"].clone();
        if state == "cancelled" || state == "succeeded" { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    let is_moved = fleet.jobs(site).await.last().unwrap()["state"] == "succeeded";
    // A cancellation that comes too late is told as what it is.
    ends(site, &fleet, if is_moved { AFTER } else { BEFORE }, &written).await;
    is_writable(&fleet, &record.master(0).addr).await;
}

/// The source still shows the success of an earlier migration while the next one waits: the slots
/// of the next one must not go over because of it.
async fn success_of_another_time(site: &Site) {
    let (fleet, record, written) = fleet(site, "stale", 1).await;
    let (source, target) = (record.master(0).addr.clone(), record.master(1).addr.clone());
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, AFTER, &written).await;
    let info = fleet.node(&source).ask(&["CLUSTER", "INFO"]).await.text();
    assert!(info.contains("migrating_slot(s): 5\r\n") && info.contains("success"), "{info}");
    fleet.node(&target).fault(|faults| faults.is_silent = true);
    let body = json!({"slots": ["6"], "target": 1});
    let (status, answer) = fleet.ask(site, "POST /migrations", body).await;
    assert_eq!(status, 201, "{answer}");
    fleet.wait_probes(site, &source, 5, 3).await;
    assert_eq!(fleet.jobs(site).await.last().unwrap()["state"], "pending");
    assert_eq!(fleet.record(site).await.owner(6), 0);
    fleet.node(&target).fault(|faults| faults.is_silent = false);
    fleet.until_job(site, "succeeded").await;
    let both: [&[&str]; 2] = [&["0-4", "7-8191"], &["5-6", "8192-16383"]];
    ends(site, &fleet, both, &written).await;
}

/// A node takes one migration at a time, so the next is not ordered before the last is over.
async fn a_queue_one_after_the_other(site: &Site) {
    let (fleet, record, written) = fleet(site, "queue", 1).await;
    let body = json!({"slots": ["5", "3168", "3200-3300"], "target": 1});
    let (status, answer) = fleet.ask(site, "POST /migrations", body).await;
    assert_eq!(status, 201, "{answer}");
    site.wait("all are over", PATIENCE, async || {
        let jobs = fleet.jobs(site).await;
        let is_done = jobs.iter().all(|job| job["state"] == "succeeded");
        if is_done { Ok(()) } else { Err(format!("{jobs:?}")) }
    })
    .await;
    let after: [&[&str]; 2] =
        [&["0-4", "6-3167", "3169-3199", "3301-8191"], &["5", "3168", "3200-3300", "8192-16383"]];
    ends(site, &fleet, after, &written).await;
    let orders = fleet.heard(&record.master(0).addr, "CLUSTERX MIGRATE");
    assert_eq!(orders.len(), 3, "{orders:?}");
}

/// Whatever the leader gets to see first, the record says in the end where the slot is, and it can
/// be written there.
async fn success_and_restart_of_the_source(site: &Site) {
    let (mut fleet, record, written) = fleet(site, "forgets", 1).await;
    let source = record.master(0).addr.clone();
    fleet.node(&source).fault(|faults| faults.holds_migrations = true);
    fleet.migrate(site, "5", 1).await;
    fleet.until_job(site, "running").await;
    fleet.node(&source).fault(|faults| faults.holds_migrations = false);
    site.wait("the node is done", PATIENCE, async || {
        let info = fleet.node(&source).ask(&["CLUSTER", "INFO"]).await.text();
        if info.contains("migrating_state: success") { Ok(()) } else { Err(info) }
    })
    .await;
    fleet.node_mut(&source).restart(true).await.unwrap();
    fleet.until_job(site, "succeeded").await;
    ends(site, &fleet, AFTER, &written).await;
    is_writable(&fleet, &source).await;
}

/// The new master of the source knows nothing of the migration; its own first one stumbles, and the
/// one after it succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_is_failed_over_in_the_middle() {
    let site = Site::start().await;
    let (mut fleet, record, _) = fleet(&site, "both", 2).await;
    let written = fleet.write_and_replicate(&site).await;
    let source = record.master(0).addr.clone();
    fleet.node(&source).fault(|faults| faults.holds_migrations = true);
    let body = json!({"slots": ["5"], "target": 1, "attempts_max": 2});
    let (status, answer) = fleet.ask(&site, "POST /migrations", body).await;
    assert_eq!(status, 201, "{answer}");
    fleet.until_job(&site, "running").await;
    fleet.node_mut(&source).kill().await;
    fleet.until_job(&site, "succeeded").await;
    let after = ends(&site, &fleet, AFTER, &written).await;
    assert_eq!(after.master(0).addr, record.replica(0).addr);
    assert_eq!(fleet.failovers(&site).await.len(), 1);
    fleet.node_mut(&source).restart(true).await.unwrap();
    assert_eq!(ends(&site, &fleet, AFTER, &written).await, after);
}

/// The import at the new master of the destination never was; the slots stay, and the attempt after
/// the failover succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_destination_is_failed_over_in_the_middle() {
    let site = Site::start().await;
    let (mut fleet, record, _) = fleet(&site, "both", 2).await;
    let written = fleet.write_and_replicate(&site).await;
    let (source, target) = (record.master(0).addr.clone(), record.master(1).addr.clone());
    fleet.node(&source).fault(|faults| faults.holds_migrations = true);
    let body = json!({"slots": ["5"], "target": 1, "attempts_max": 3});
    let (status, answer) = fleet.ask(&site, "POST /migrations", body).await;
    assert_eq!(status, 201, "{answer}");
    fleet.until_job(&site, "running").await;
    fleet.node_mut(&target).kill().await;
    fleet.node(&source).fault(|faults| faults.holds_migrations = false);
    fleet.until_job(&site, "succeeded").await;
    let after = ends(&site, &fleet, AFTER, &written).await;
    fleet.node_mut(&target).restart(true).await.unwrap();
    assert_eq!(ends(&site, &fleet, AFTER, &written).await, after);
}
