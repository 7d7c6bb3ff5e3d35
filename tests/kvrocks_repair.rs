//! Nodes that have another topology than the record, under every policy: repaired, adopted or
//! reported. And nodes that are slow, busy, locked or gone.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod kvrocks_live;
mod support;

use std::time::Duration;

use kvrocks_live::{
    FAILURES, NODE_TIMEOUT_MS, PATIENCE, PING_MS, Site, fleet::Fleet, kvrocks_node::Options,
    record::Record,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

/// What the log says of a topology that is not let in.
const ALARM: &str = "a node is ahead of the record and its topology is not adopted";

/// Sends a command that must succeed.
async fn tell(fleet: &Fleet, addr: &str, command: &[&str]) {
    let reply = fleet.node(addr).ask(command).await.text();
    assert_eq!(reply, "OK", "{command:?}");
}

/// Gives a node a topology over whatever it has.
async fn force(fleet: &Fleet, addr: &str, text: &str, version: i64) {
    let version = version.to_string();
    tell(fleet, addr, &["CLUSTERX", "SETNODES", text, &version, "force"]).await;
}

/// Two shards of two at version 2.
async fn drifting(site: &Site, name: &str) -> (Fleet, Record) {
    let fleet = Fleet::create(site, name, 4, 2).await;
    let moved = json!({"slot": "5-9", "slot_only": true, "target": 1});
    let (status, answer) = fleet.ask(site, "POST /migrate", moved).await;
    assert_eq!(status, 200, "{answer}");
    let record = fleet.agreed(site).await;
    assert_eq!(record.version, 2);
    (fleet, record)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_drift_are_repaired_under_every_policy() {
    let site = Site::start().await;
    let mut fleets = Vec::new();
    for policy in ["same-nodes", "always", "never"] {
        site.set(json!({"adopt_newer_topology": policy})).await;
        let (mut fleet, record) = drifting(&site, &format!("drift-{policy}")).await;
        lost_topologies(&site, &mut fleet, &record).await;
        older_topologies(&site, &fleet, &record).await;
        wrong_views(&site, &fleet, &record).await;
        wrong_roles(&site, &fleet, &record).await;
        assert!(fleet.failovers(&site).await.is_empty(), "{policy}");
        // Its nodes live on: a mass of dead ones would stop every failover.
        fleets.push(fleet);
    }
    assert!(!site.output().contains(ALARM), "none of this is the operator's to decide");
}

/// A restart without the node file, of a replica and of a master.
async fn lost_topologies(site: &Site, fleet: &mut Fleet, record: &Record) {
    let addrs = [record.replica(0).addr.clone(), record.master(1).addr.clone()];
    for addr in addrs {
        fleet.node_mut(&addr).restart(false).await.unwrap();
        assert_eq!(&fleet.agreed(site).await, record, "{addr} lost its topology");
    }
}

async fn older_topologies(site: &Site, fleet: &Fleet, record: &Record) {
    for addr in [&record.master(0).addr, &record.replica(1).addr] {
        force(fleet, addr, &record.text(), 1).await;
        assert_eq!(&fleet.agreed(site).await, record, "{addr} has an older topology");
    }
}

/// The version is right and the content is not: slots of another master, a node too few, a node
/// too many.
async fn wrong_views(site: &Site, fleet: &Fleet, record: &Record) {
    let right = record.text();
    let swapped = swap_slots(record);
    let less = without_last_line(&right);
    let more = format!("{right}\n{} 127.0.0.1 1 slave {}", "x".repeat(40), record.master(0).id);
    let addrs = [&record.master(0).addr, &record.replica(0).addr, &record.master(1).addr];
    for (addr, text) in addrs.into_iter().zip([&swapped, &less, &more]) {
        assert_ne!(*text, right);
        force(fleet, addr, text, record.version).await;
        assert!(!fleet.faults(record).await.is_empty(), "the fault shows: {text}");
        assert_eq!(&fleet.agreed(site).await, record, "{addr} has a wrong view");
    }
}

fn swap_slots(record: &Record) -> String {
    let mut other = record.clone();
    let slots = std::mem::take(&mut other.shards[0].slots);
    other.shards[0].slots = std::mem::replace(&mut other.shards[1].slots, slots);
    other.text()
}

/// The last line is a replica's.
fn without_last_line(text: &str) -> String {
    text.rsplit_once('\n').expect("lines").0.to_owned()
}

/// The version and the view are right, but the node plays another node's part.
async fn wrong_roles(site: &Site, fleet: &Fleet, record: &Record) {
    let (master, replica) = (record.master(0), record.replica(0).clone());
    for (addr, id) in [(&replica.addr, &master.id), (&master.addr, &replica.id)] {
        tell(fleet, addr, &["CLUSTERX", "SETNODEID", id]).await;
        assert_eq!(&fleet.agreed(site).await, record, "{addr} plays another part");
    }
}

/// A topology of the same nodes that is newer than the record: roles and slots are others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_topologies_of_the_same_nodes_are_adopted_or_reported() {
    let site = Site::start().await;
    for policy in ["same-nodes", "always", "never"] {
        site.set(json!({"adopt_newer_topology": policy})).await;
        let options = Options {
            password: "drowssap".to_owned(),
            master_password: "drowssap".to_owned(),
            ..Options::default()
        };
        let fleet = Fleet::create_with(&site, &format!("newer-{policy}"), 4, 2, options).await;
        let before = shown(&site, &fleet).await;
        let record = fleet.record(&site).await;
        let mut newer = record.clone();
        newer.version = 7;
        newer.shards[0].nodes.iter_mut().for_each(|node| node.is_master = !node.is_master);
        let addr = record.master(1).addr.clone();
        let mut wire = fleet.connect(&addr).await;
        let command = ["CLUSTERX", "SETNODES", &newer.text(), "7"];
        assert_eq!(wire.ask(&command).await.unwrap().text(), "OK");
        if policy == "never" {
            reported_and_left_alone(&site, &fleet, &record, (&addr, 7)).await;
            forced_back(&site, &fleet, &record).await;
            continue;
        }
        let adopted = fleet.agreed(&site).await;
        assert_eq!(adopted, newer, "{policy}");
        let after = shown(&site, &fleet).await;
        assert_eq!(kept(&after), kept(&before), "{policy}: passwords and times stay");
    }
}

/// The cluster as the interface shows it.
async fn shown(site: &Site, fleet: &Fleet) -> Value {
    site.done(Method::GET, &fleet.path(), &Value::Null).await["data"].take()
}

/// Password and creation of each node, by id.
fn kept(data: &Value) -> std::collections::BTreeMap<String, String> {
    let shards = data["cluster"]["shards"].as_array().unwrap();
    let nodes = shards.iter().flat_map(|shard| shard["nodes"].as_array().unwrap());
    nodes
        .map(|node| {
            let kept = format!("{} {}", node["password"], node["created_at"]);
            (node["id"].as_str().unwrap().to_owned(), kept)
        })
        .collect()
}

/// The record stays, the node stays, and the operator is told.
async fn reported_and_left_alone(
    site: &Site,
    fleet: &Fleet,
    record: &Record,
    (addr, version): (&str, i64),
) {
    let about = format!("cluster=\"{}\"", fleet.name);
    site.wait("the alarm", PATIENCE, async || {
        let output = site.output();
        let told = output.lines().any(|line| line.contains(ALARM) && line.contains(&about));
        if told { Ok(()) } else { Err("no line of the log".to_owned()) }
    })
    .await;
    fleet.wait_probes(site, addr, 5, 3).await;
    assert_eq!(&fleet.record(site).await, record);
    let seen = site.seen_as(&fleet.name, addr, "wrong").await;
    let troubles: Vec<&str> = seen.iter().filter_map(|seen| seen["trouble"].as_str()).collect();
    assert!(troubles.iter().any(|trouble| trouble.starts_with("it is ahead")), "{seen:?}");
    let mut wire = fleet.connect(addr).await;
    let epoch = wire.ask(&["CLUSTERX", "VERSION"]).await.unwrap().text();
    assert_eq!(epoch, version.to_string(), "it was overruled without an order");
    // An ordinary sync says why it cannot.
    let (status, answer) = fleet.ask(site, "POST /sync", Value::Null).await;
    assert_eq!(status, 500, "{answer}");
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains(addr) && text.contains("Invalid cluster version"), "{text}");
}

/// The operator's order.
async fn forced_back(site: &Site, fleet: &Fleet, record: &Record) {
    let (status, answer) = fleet.ask(site, "POST /sync", json!({"force": true})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(&fleet.agreed(site).await, record);
}

/// A node that belongs to another cluster by now: let in by `always` alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_topologies_are_reported_or_adopted() {
    let site = Site::start().await;
    for policy in ["same-nodes", "never", "always"] {
        site.set(json!({"adopt_newer_topology": policy})).await;
        let fleet = Fleet::create(&site, &format!("foreign-{policy}"), 4, 2).await;
        let record = fleet.record(&site).await;
        let mut foreign = record.clone();
        foreign.version = 9;
        for (number, shard) in foreign.shards.iter_mut().enumerate() {
            for (letter, node) in ["F", "G"].iter().zip(&mut shard.nodes) {
                node.id = format!("{:x<40}", format!("{letter}{number}"));
            }
        }
        let stray = foreign.master(0).clone();
        tell(&fleet, &stray.addr, &["CLUSTERX", "SETNODEID", &stray.id]).await;
        let text = foreign.text();
        tell(&fleet, &stray.addr, &["CLUSTERX", "SETNODES", &text, "9"]).await;
        if policy == "always" {
            assert_eq!(fleet.agreed(&site).await, foreign);
        } else {
            reported_and_left_alone(&site, &fleet, &record, (&stray.addr, 9)).await;
            forced_back(&site, &fleet, &record).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_slow_busy_locked_or_gone() {
    let site = Site::start().await;
    // Nodes live until all are done: a mass of dead ones would stop every failover.
    let _fleets = tokio::join!(
        lost_pushes_are_repeated(&site),
        slow_nodes_are_told_all_the_same(&site),
        a_node_that_was_away_gets_the_last_version_only(&site),
        a_loading_master_is_left_alone(&site),
        a_locked_master_is_no_dead_master(&site),
        a_dead_replica_changes_nothing(&site),
        old_servers_are_understood(&site),
        a_deleted_cluster_is_left_alone(&site),
    );
}

/// Adds a version by giving slots away.
async fn bump(site: &Site, fleet: &Fleet, slot: u64) {
    let body = json!({"slot": slot, "slot_only": true, "target": 1});
    let (status, answer) = fleet.ask(site, "POST /migrate", body).await;
    assert_eq!(status, 200, "{answer}");
}

async fn lost_pushes_are_repeated(site: &Site) -> Fleet {
    let fleet = Fleet::create(site, "lossy", 2, 1).await;
    for node in &fleet.nodes {
        node.fault(|faults| faults.lost_pushes = 2);
    }
    bump(site, &fleet, 1).await;
    assert_eq!(fleet.agreed(site).await.version, 2);
    fleet
}

async fn slow_nodes_are_told_all_the_same(site: &Site) -> Fleet {
    let fleet = Fleet::create(site, "slow", 4, 2).await;
    for node in &fleet.nodes {
        node.fault(|faults| faults.delay_ms = NODE_TIMEOUT_MS / 5);
    }
    bump(site, &fleet, 1).await;
    assert_eq!(fleet.agreed(site).await.version, 2);
    fleet.wait_probes(site, &fleet.nodes[0].addr, 5, 3).await;
    assert!(fleet.failovers(site).await.is_empty());
    fleet
}

async fn a_node_that_was_away_gets_the_last_version_only(site: &Site) -> Fleet {
    let mut fleet = Fleet::create(site, "away", 4, 2).await;
    let addr = fleet.record(site).await.replica(1).addr.clone();
    fleet.node_mut(&addr).kill().await;
    for slot in 1..4 {
        bump(site, &fleet, slot).await;
    }
    fleet.agreed(site).await;
    fleet.node_mut(&addr).restart(true).await.unwrap();
    assert_eq!(fleet.agreed(site).await.version, 4);
    let pushes = fleet.heard(&addr, "CLUSTERX SETNODES");
    assert!(pushes.iter().all(|push| push.ends_with(" 4")), "{pushes:?}");
    fleet
}

async fn a_loading_master_is_left_alone(site: &Site) -> Fleet {
    let fleet = Fleet::create(site, "loading", 4, 2).await;
    let master = fleet.record(site).await.master(0).addr.clone();
    fleet.node(&master).fault(|faults| faults.is_loading = true);
    bump(site, &fleet, 1).await;
    fleet.wait_probes(site, &master, 10, 3).await;
    assert!(fleet.failovers(site).await.is_empty());
    let pushes = fleet.heard(&master, "CLUSTERX SETNODES");
    assert!(pushes.iter().all(|push| push.ends_with(" 1")), "pushed while loading: {pushes:?}");
    fleet.node(&master).fault(|faults| faults.is_loading = false);
    assert_eq!(fleet.agreed(site).await.version, 2);
    fleet
}

/// The stored password is wrong: nobody is dead, and the right one makes it good.
async fn a_locked_master_is_no_dead_master(site: &Site) -> Fleet {
    let mut fleet = Fleet::create(site, "locked", 4, 2).await;
    let record = fleet.record(site).await;
    let master = record.master(0).clone();
    fleet.node(&master.addr).configure(|options| options.password = "changed".to_owned());
    // Connections that were there before stay logged on.
    fleet.node_mut(&master.addr).restart(true).await.unwrap();
    for seen in site.seen_as("locked", &master.addr, "refused").await {
        assert!(seen["error"].as_str().unwrap().contains("NOAUTH"), "{seen}");
    }
    let other = record.master(1).addr.clone();
    fleet.wait_probes(site, &other, FAILURES * 3, 3).await;
    assert_eq!(fleet.record(site).await, record);
    bump(site, &fleet, 1).await;
    let body = json!({"node_id": master.id, "password": "changed"});
    let (status, answer) = fleet.ask(site, "POST /password", body).await;
    assert_eq!(status, 204, "{answer}");
    // Its replica cannot log on; the rest of the picture is right again.
    let replica = record.replica(0).addr.clone();
    fleet.node(&replica).configure(|options| options.master_password = "changed".to_owned());
    assert_eq!(fleet.agreed(site).await.version, 2);
    assert!(fleet.failovers(site).await.is_empty());
    assert!(!site.output().contains("changed\""), "a password is in the log");
    fleet
}

async fn a_dead_replica_changes_nothing(site: &Site) -> Fleet {
    let mut fleet = Fleet::create(site, "replica", 4, 2).await;
    let record = fleet.record(site).await;
    let replica = record.replica(0).addr.clone();
    fleet.node_mut(&replica).kill().await;
    fleet.wait_probes(site, &record.master(0).addr, FAILURES * 3, 3).await;
    assert_eq!(fleet.record(site).await, record);
    fleet.node_mut(&replica).restart(true).await.unwrap();
    assert_eq!(fleet.agreed(site).await, record);
    fleet
}

async fn old_servers_are_understood(site: &Site) -> Fleet {
    let options =
        Options { has_old_errors: true, has_old_migrating_name: true, ..Options::default() };
    let mut fleet = Fleet::create_with(site, "old", 4, 2, options).await;
    let record = fleet.record(site).await;
    fleet.node_mut(&record.master(0).addr).restart(false).await.unwrap();
    assert_eq!(fleet.agreed(site).await, record);
    fleet.migrate(site, "10-20", 1).await;
    fleet.until_job(site, "succeeded").await;
    assert_eq!(fleet.agreed(site).await.owner(15), 1);
    assert!(fleet.failovers(site).await.is_empty());
    fleet
}

async fn a_deleted_cluster_is_left_alone(site: &Site) -> Fleet {
    let fleet = Fleet::create(site, "deleted", 2, 1).await;
    let (status, _) = fleet.ask(site, "DELETE ", Value::Null).await;
    assert_eq!(status, 204);
    // A cycle that had begun may still end; the one after it must not come.
    let quiet = Duration::from_millis(PING_MS * 3);
    let count = || fleet.nodes.iter().map(|node| node.heard().len()).sum::<usize>();
    site.wait("no more commands", PATIENCE, async || {
        let before = count();
        sleep(quiet).await;
        if count() == before { Ok(()) } else { Err(format!("{} since", count() - before)) }
    })
    .await;
    let (status, answer) = site.call(Method::POST, &Fleet::creation(), &fleet.body(1)).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(answer["error"]["message"], "node is already in cluster mode");
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_hang_or_die() {
    let site = Site::start().await;
    // Nodes live until all are done: a mass of dead ones would stop every failover.
    let _fleets = tokio::join!(
        a_master_that_hangs_now_and_then_stays(&site),
        a_master_that_hangs_for_good_is_replaced(&site),
        a_shard_without_fit_replica_waits_for_one(&site),
        a_shard_without_replica_waits(&site),
    );
}

/// It fails more often than it may, but never so often in a row.
async fn a_master_that_hangs_now_and_then_stays(site: &Site) -> Fleet {
    let fleet = Fleet::create(site, "hangs", 4, 2).await;
    let record = fleet.record(site).await;
    let master = record.master(0).addr.clone();
    fleet.write_and_replicate(site).await;
    for _ in 0..FAILURES + 1 {
        fleet.node(&master).fault(|faults| faults.is_silent = true);
        sleep(Duration::from_millis(NODE_TIMEOUT_MS + PING_MS)).await;
        fleet.node(&master).fault(|faults| faults.is_silent = false);
        fleet.wait_probes(site, &master, 2, 3).await;
    }
    assert_eq!(fleet.record(site).await, record);
    assert!(fleet.failovers(site).await.is_empty());
    fleet
}

/// Its replica's link stays up all the time, as links to hung masters do.
async fn a_master_that_hangs_for_good_is_replaced(site: &Site) -> Fleet {
    let fleet = Fleet::create(site, "frozen", 4, 2).await;
    let record = fleet.record(site).await;
    let master = record.master(0).addr.clone();
    fleet.write_and_replicate(site).await;
    fleet.node(&master).fault(|faults| faults.is_silent = true);
    fleet.until_replaced(site, &master, PATIENCE).await;
    fleet.node(&master).fault(|faults| faults.is_silent = false);
    let after = fleet.agreed(site).await;
    assert_eq!((after.version, fleet.failovers(site).await.len()), (2, 1));
    fleet
}

async fn a_shard_without_fit_replica_waits_for_one(site: &Site) -> Fleet {
    let mut fleet = Fleet::create(site, "unfit", 4, 2).await;
    let record = fleet.record(site).await;
    let (master, replica) = (record.master(0).addr.clone(), record.replica(0).addr.clone());
    fleet.write_and_replicate(site).await;
    fleet.node(&replica).fault(|faults| faults.is_loading = true);
    fleet.node_mut(&master).kill().await;
    let other = record.master(1).addr.clone();
    fleet.wait_probes(site, &other, FAILURES * 3, 3).await;
    assert_eq!(fleet.record(site).await, record);
    fleet.node(&replica).fault(|faults| faults.is_loading = false);
    let now = fleet.until_replaced(site, &master, PATIENCE).await;
    assert_eq!(now, replica);
    assert_eq!(fleet.failovers(site).await.len(), 1);
    fleet
}

async fn a_shard_without_replica_waits(site: &Site) -> Fleet {
    let mut fleet = Fleet::create(site, "alone", 2, 1).await;
    let record = fleet.record(site).await;
    let (master, other) = (record.master(0).addr.clone(), record.master(1).addr.clone());
    fleet.node_mut(&master).kill().await;
    fleet.wait_probes(site, &other, FAILURES * 3, 3).await;
    fleet.node_mut(&master).restart(true).await.unwrap();
    assert_eq!(fleet.agreed(site).await, record);
    fleet
}
