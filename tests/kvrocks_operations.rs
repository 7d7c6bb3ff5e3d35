//! Requests that make nodes do something, judged by what the nodes did: failovers without a lost
//! write, migrations that a node refuses or fails, imports while slots move, rehearsals.

#![allow(clippy::unwrap_used)]

mod kvrocks_live;
mod support;

use std::time::{Duration, Instant};

use kvrocks_live::{
    PATIENCE, Site,
    kvrocks_node::{Faults, Options},
    writer::{Writer, lost},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

const NONE: Value = Value::Null;

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

/// A site with a cluster `c` of nodes that know how to pause writes.
async fn site(shards: usize, replicas: usize) -> (Site, Vec<String>) {
    let mut site = Site::start().await;
    let options = Options { knows_pause: true, ..Options::default() };
    let addresses = site.add_nodes(shards * replicas, &options).await;
    site.create_of("c", &addresses, replicas).await;
    site.agreed("c").await;
    (site, addresses)
}

async fn post(site: &mut Site, rest: &str, body: &Value) -> (u16, Value) {
    site.call(Method::POST, &format!("/api/v1/namespaces/n/clusters/c{rest}"), body).await
}

/// When a node first carried out a command after a time, milliseconds.
fn heard_at(site: &Site, addr: &str, words: &str, after_ms: u64) -> Option<u64> {
    let log = site.nodes[addr].log();
    let mut found = log
        .iter()
        .filter(|heard| heard.is_done && heard.at_ms >= after_ms && heard.words.starts_with(words));
    found.next().map(|heard| heard.at_ms)
}

async fn wait_heard(site: &Site, addr: &str, words: &str, after_ms: u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(at_ms) = heard_at(site, addr, words, after_ms) {
            return at_ms;
        }
        if Instant::now() > deadline {
            let log = site.nodes[addr].log();
            site.cluster.fail(&format!("{addr} never heard {words} after {after_ms}: {log:#?}"));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_failover_loses_no_write() {
    let (mut site, addresses) = site(1, 3).await;
    let mut writer = Writer::start("graceful", &addresses);
    writer.more(200).await;
    let asked = json!({ "sync_timeout_ms": 2_000, "pause_timeout_ms": 5_000 });
    let began = site.record("c").await;
    let old = began.shards[0].master().addr.clone();
    let start_ms = site.nodes[&old].log().last().unwrap().at_ms;

    let rehearsed = post(&mut site, "/shards/0/failover?dry_run=true", &asked).await.1;
    assert_eq!(rehearsed["data"]["accepted"], true, "{rehearsed}");
    assert_eq!(rehearsed["data"]["candidates"].as_array().unwrap().len(), 2, "{rehearsed}");
    assert_eq!(heard_at(&site, &old, "CLIENT PAUSE", start_ms), None, "a rehearsal pauses nobody");
    assert_eq!(site.record("c").await, began);

    let preferred = began.shards[0].replicas().next().unwrap().clone();
    let mut body = asked.clone();
    body["preferred_node_id"] = json!(preferred.id);
    let (status, answer) = post(&mut site, "/shards/0/failover", &body).await;
    assert_eq!((status, &answer["data"]["new_master_id"]), (200, &json!(preferred.id)), "{answer}");
    let record = site.agreed("c").await;
    assert_eq!(record.version, began.version + 1);
    assert_eq!(record.shards[0].master().addr, preferred.addr);

    let paused = wait_heard(&site, &old, "CLIENT PAUSE 5000 WRITE", start_ms).await;
    let resumed = wait_heard(&site, &old, "CLIENT UNPAUSE", paused).await;
    let new_told = wait_heard(&site, &preferred.addr, "CLUSTERX SETNODES", paused).await;
    let old_told = wait_heard(&site, &old, "CLUSTERX SETNODES", paused).await;
    assert!(old_told <= resumed, "writes go on once the old master follows: {old_told} {resumed}");
    assert!(new_told <= resumed, "and the new one leads: {new_told} {resumed}");
    assert!(resumed - paused < 5_000, "and not only when the pause is over");

    writer.more(200).await;
    let taken = writer.stop().await;
    assert_eq!(lost(&addresses, &taken).await, Vec::<String>::new());
    let failovers = site.failovers("c").await;
    assert_eq!((failovers.len(), &failovers[0]["cause"]), (1, &json!("manual")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_failover_gives_up_unless_it_is_forced() {
    let (mut site, addresses) = site(1, 2).await;
    let began = site.record("c").await;
    let old = began.shards[0].master().addr.clone();
    let new = began.shards[0].replicas().next().unwrap().addr.clone();
    let mut writer = Writer::start("stuck", &addresses);
    writer.more(50).await;
    writer.stop().await;
    // The replica says it is linked and never gets any further.
    let info = format!(
        "role:slave\r\nmaster_link_status:up\r\nsequence:{}\r\n",
        site.nodes[&old].sequence() / 2
    );
    let reply = format!("${}\r\n{info}\r\n", info.len());
    let behind = |faults: &mut Faults| {
        use kvrocks_live::kvrocks_node::{Instead, Next};
        faults.next = vec![Next::new("INFO", Instead::Reply(reply.clone())); 500];
    };
    site.node(&new).fault(behind);
    let start_ms = site.nodes[&old].log().last().unwrap().at_ms;
    let mut body = json!({ "sync_timeout_ms": 100, "pause_timeout_ms": 3_000 });
    let (status, answer) = post(&mut site, "/shards/0/failover", &body).await;
    assert_eq!(status, 500, "{answer}");
    assert!(message(&answer).contains("did not catch up"), "{answer}");
    let paused = wait_heard(&site, &old, "CLIENT PAUSE 3000 WRITE", start_ms).await;
    let resumed = wait_heard(&site, &old, "CLIENT UNPAUSE", paused).await;
    assert!(resumed - paused < 3_000, "writes go on at once");
    assert_eq!(site.record("c").await, began, "nothing has changed");

    site.node(&new).fault(behind);
    body["force_on_timeout"] = json!(true);
    let (status, answer) = post(&mut site, "/shards/0/failover", &body).await;
    assert_eq!(status, 200, "{answer}");
    site.node(&new).fault(|faults| faults.next.clear());
    let record = site.agreed("c").await;
    assert_eq!(record.shards[0].master().addr, new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_cannot_pause_fails_over_only_when_forced() {
    let mut site = Site::start().await;
    site.create("c", 1, 2).await;
    let began = site.record("c").await;
    let mut body = json!({ "sync_timeout_ms": 100 });
    let (status, answer) = post(&mut site, "/shards/0/failover", &body).await;
    assert_eq!(status, 500, "{answer}");
    assert!(!message(&answer).is_empty(), "{answer}");
    assert_eq!(site.record("c").await, began);
    body["force_on_timeout"] = json!(true);
    let (status, answer) = post(&mut site, "/shards/0/failover", &body).await;
    assert_eq!(status, 200, "{answer}");
    // Without options nothing is paused, as the original does.
    site.agreed("c").await;
    let (status, answer) = post(&mut site, "/shards/0/failover", &NONE).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(site.agreed("c").await.shards, began.shards);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_shows_its_marks_and_keeps_others_out() {
    let (mut site, addresses) = site(3, 1).await;
    let source = addresses[0].clone();
    site.node(&source).fault(|faults| faults.holds_migrations = true);
    let body = json!({ "target": 1, "slot": "5" });
    let rehearsed = post(&mut site, "/migrate?dry_run=true", &body).await.1;
    assert_eq!(rehearsed["data"]["cluster"]["shards"][0]["migrating_slot"], "5", "{rehearsed}");
    assert_eq!(site.orders(&source), 0, "a rehearsal orders nothing");
    let (status, answer) = post(&mut site, "/migrate", &body).await;
    let shown = &answer["data"]["cluster"];
    assert_eq!((status, &shown["shards"][0]["migrating_slot"]), (200, &json!("5")), "{answer}");
    assert_eq!(shown["shards"][0]["target_shard_index"], 1, "{answer}");
    assert_eq!(shown["version"], rehearsed["data"]["cluster"]["version"]);
    assert_eq!(site.orders(&source), 1);
    let order = wait_heard(&site, &source, "CLUSTERX MIGRATE 5 ", 0).await;
    let disturbed = heard_at(&site, &addresses[1], "CLUSTERX SETNODES", order + 1);
    assert_eq!(disturbed, None, "a push would end the import; ordered at {order}");

    for (rest, body, status, text) in [
        ("/migrate", json!({"target": 1, "slot": 5}), 500, "shard slot is migrating"),
        ("/migrate", json!({"target": 2, "slot": "6"}), 500, "shard slot is migrating"),
        ("/migrate", json!({"target": 1, "slot": "12000"}), 500, "shard slot is migrating"),
        (
            "/migrate",
            json!({"target": 2, "slot": 5, "slot_only": true}),
            500,
            "shard slot is migrating",
        ),
    ] {
        let (found, answer) = post(&mut site, rest, &body).await;
        assert_eq!((found, message(&answer)), (status, text), "{rest} {body}");
    }
    let id = site.cluster.wait_follower().await;
    let url = format!("{}/api/v1/namespaces/n/clusters/c", site.cluster.url(id));
    let request = site.cluster.client.get(url).header("quorate-profile", "document");
    let shown: Value = request.send().await.unwrap().json().await.unwrap();
    let shards = &shown["data"]["cluster"]["shards"];
    assert_eq!((&shards[0]["migrating_slot"], &shards[0]["import_slot"]), (&json!(5), &json!(-1)));
    assert_eq!((&shards[1]["migrating_slot"], &shards[1]["import_slot"]), (&json!(-1), &json!(5)));

    site.node(&source).fault(|faults| faults.holds_migrations = false);
    site.until_job("c", "succeeded").await;
    let record = site.agreed("c").await;
    assert_eq!(record.shards[0].slots, ["0-4", "6-5460"]);
    assert_eq!(record.shards[1].slots, ["5", "5461-10921"]);
    assert_eq!(site.orders(&source), 1, "exactly once");
    let back = json!({ "target": 0, "slot": 5, "slot_only": true });
    let rehearsed = post(&mut site, "/migrate?dry_run=true", &back).await.1;
    let warning = rehearsed["data"]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("without data"), "{rehearsed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_a_node_refuses_or_fails_leaves_no_marks() {
    let (mut site, addresses) = site(3, 1).await;
    let source = addresses[0].clone();
    let before = site.record("c").await;
    // Somebody else has given the node an order.
    site.node(&source).fault(|faults| faults.holds_migrations = true);
    let target = before.shards[2].master().id.clone();
    site.nodes[&source].ask(&["CLUSTERX", "MIGRATE", "100", &target]).await;
    let (status, answer) = site.migrate("c", "5", 1).await;
    assert_eq!(status, 500, "{answer}");
    assert!(message(&answer).contains("There is already a migrating job"), "{answer}");
    let record = site.record("c").await;
    assert!(record.shards.iter().all(|shard| shard.migrating.is_none()), "{record:?}");
    assert!(record.version > before.version);
    site.node(&source).kill().await;
    site.node(&source).restart(true).await.unwrap();
    site.agreed("c").await;

    site.node(&source).fault(|faults| faults.failing_migrations = 1);
    let (status, answer) = site.migrate("c", "10-20", 1).await;
    let job = site.until_job("c", "failed").await;
    let error = job["error"].as_str().unwrap();
    assert!(!error.is_empty(), "{job}");
    // The order was taken; a failure that is known before the answer is told in it.
    assert!(status == 200 || (status == 500 && message(&answer) == error), "{status} {answer}");
    let record = site.agreed("c").await;
    assert_eq!(record.shards[0].slots, ["0-5460"]);
    assert!(record.shards.iter().all(|shard| shard.migrating.is_none()), "{record:?}");

    let retry = format!("/migrations/{}/retry", job["id"]);
    let (status, answer) = post(&mut site, &retry, &NONE).await;
    assert_eq!(status, 201, "{answer}");
    site.until_job("c", "succeeded").await;
    assert_eq!(site.agreed("c").await.shards[1].slots, ["10-20", "5461-10921"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_forgotten_and_imported_while_slots_move() {
    let (mut site, addresses) = site(2, 2).await;
    let source = addresses[0].clone();
    site.node(&source).fault(|faults| faults.holds_migrations = true);
    let (status, answer) = site.migrate("c", "5", 1).await;
    assert_eq!(status, 200, "{answer}");
    let before = site.record("c").await;
    let path = "/api/v1/namespaces/n/clusters/c";
    site.done(Method::DELETE, path, &NONE).await;
    let body = json!({ "name": "c", "nodes": addresses, "replicas": 2 });
    let create = "/api/v1/namespaces/n/clusters";
    let (status, answer) = site.call(Method::POST, create, &body).await;
    assert_eq!((status, message(&answer)), (400, "node is already in cluster mode"));

    let imported_ms = site.nodes[&source].log().last().unwrap().at_ms;
    let body = json!({ "nodes": [source] });
    let (status, answer) = post(&mut site, "/import", &body).await;
    assert_eq!(status, 200, "{answer}");
    let after = site.record("c").await;
    assert_eq!(after.version, before.version, "the nodes' epoch is kept");
    assert_eq!(after.shards[0].migrating.as_deref(), Some("5"));
    let ids = |record: &kvrocks_live::record::Record| {
        let nodes = record.shards.iter().flat_map(|shard| &shard.nodes);
        let mut ids: Vec<_> = nodes.map(|node| (node.addr.clone(), node.id.clone())).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&after), ids(&before), "nodes keep their ids");
    for addr in &addresses {
        site.seen_as("c", addr, "ok").await;
        let pushed = heard_at(&site, addr, "CLUSTERX SETNODES", imported_ms + 1);
        assert_eq!(pushed, None, "who is right is told nothing");
    }
    site.node(&source).fault(|faults| faults.holds_migrations = false);
    site.until_job("c", "succeeded").await;
    let record = site.agreed("c").await;
    assert_eq!(record.shards[1].slots, ["5", "8192-16383"]);
}
