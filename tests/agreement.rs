//! A replica that goes wrong is found, shuts itself off, and is healed: with real processes.
//!
//! What goes wrong is an entry on its way between two replicas; see `support/spoil.rs`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    compare,
    process::PROGRAM,
    spoil::{CHANGED, NAME, add_namespace, go_wrong, spoiled, wait_quarantine},
};
use tokio::{task::JoinHandle, time::sleep};

/// Between two comparisons.
const INTERVAL_MS: u64 = 500;
/// Longest time from the wrong entry to the quarantine: two comparisons, and a busy machine.
const BOUND: Duration = Duration::from_millis(2 * INTERVAL_MS + 4_000);

/// `quorate ctl` against one replica; standard output.
async fn ctl(cluster: &Cluster, id: u64, words: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["ctl", "--endpoint", &cluster.url(id)]).args(words);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

async fn lead(cluster: &Cluster, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let leader = cluster.wait_leader().await;
        if leader == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "replica {wanted} does not get the lead");
        let url = format!("{}/quorate/v1/leader/transfer", cluster.url(leader));
        drop(cluster.client.post(url).json(&json!({ "to": wanted })).send().await);
    }
}

async fn text_of(cluster: &Cluster, id: u64, method: Method, path: &str) -> (StatusCode, String) {
    let url = format!("{}{path}", cluster.url(id));
    let request = cluster.client.request(method, url).json(&json!({ "namespace": "x" }));
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// Every family refuses in its own shape, and every sign says why.
async fn assert_shut(cluster: &mut Cluster, id: u64) {
    let sentence = "this replica is in quarantine: its state differs from that of the majority";
    let shapes = [
        (Method::GET, "/api/v1/namespaces", "/error/message"),
        (Method::POST, "/api/v1/namespaces", "/error/message"),
        (Method::GET, "/api/v2/epoch", "/message"),
        (Method::GET, "/api/v3/metadata", "/message"),
        (Method::DELETE, "/api/v2/proxies/meta/127.0.0.1:1", "/message"),
        (Method::GET, "/v2/hosts", "/error"),
        (Method::GET, "/quorate/v1/audit", "/error/message"),
        (Method::GET, "/quorate/v1/events?wait=0", "/error/message"),
        (Method::GET, "/quorate/v1/backup", "/error/message"),
    ];
    for (method, path, at) in shapes {
        let (status, text) = text_of(cluster, id, method.clone(), path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        let said = body.pointer(at).and_then(Value::as_str).unwrap_or_default();
        assert!(said.contains(sentence), "{method} {path}: {text}");
    }
    let (status, text) = text_of(cluster, id, Method::GET, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("[-] agreement: in quarantine: at index"), "{text}");
    assert!(!text.contains("barrier"), "only what is wrong is named: {text}");
    let (status, text) = text_of(cluster, id, Method::GET, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\nquorate_raft_quarantined 1\n"), "the metric");
    assert_eq!(text_of(cluster, id, Method::GET, "/livez").await.0, StatusCode::OK);
    assert!(cluster.replica(id).output().contains("it is in quarantine"), "the log");
}

async fn assert_listed(cluster: &Cluster, asked: u64) {
    let deadline = Instant::now() + PATIENCE;
    while !ctl(cluster, asked, &["members", "list"]).await.contains("quarantined") {
        assert!(Instant::now() < deadline, "members list does not tell");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(ctl(cluster, asked, &["status"]).await.contains("quarantine"));
}

/// Adds namespaces until told to stop; counts those that were acknowledged.
fn load(cluster: &Cluster, id: u64, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    let (client, url) = (cluster.client.clone(), format!("{}/api/v1/namespaces", cluster.url(id)));
    tokio::spawn(async move {
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let body = json!({ "namespace": format!("load-{written}") });
            let answer = client.post(&url).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED, "nobody notices the healing");
            written += 1;
        }
        written
    })
}

async fn assert_healed(cluster: &mut Cluster, id: u64) {
    cluster.wait_ready(id).await;
    let names = cluster.ask(id, "/api/v1/namespaces").await.unwrap().to_string();
    assert!(names.contains(std::str::from_utf8(NAME).unwrap()), "{names}");
    assert!(!names.contains(std::str::from_utf8(CHANGED).unwrap()), "{names}");
    assert_eq!(add_namespace(cluster, id, "after").await, StatusCode::CREATED);
    if let Err(difference) = compare::digests(cluster).await {
        cluster.fail(&difference);
    }
    let (_, differences) = compare::logs(cluster).await;
    assert_eq!(differences, [], "the wrong entry is gone");
    assert!(!cluster.replica(id).data_dir.join("standing").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_no_checksum_sees_is_found_and_healed_under_load() {
    let (mut cluster, relay) = spoiled([INTERVAL_MS; 3]).await;
    lead(&cluster, 1).await;
    go_wrong(&cluster, &relay).await;
    let took = wait_quarantine(&cluster, 3, Instant::now()).await;
    relay.is_bad.store(false, Ordering::SeqCst);
    println!("found after {took:?}, compared every {INTERVAL_MS} ms");
    assert!(took <= BOUND, "found after {took:?}");
    assert_shut(&mut cluster, 3).await;
    assert_listed(&cluster, 2).await;
    for id in [1, 2] {
        assert_eq!(add_namespace(&cluster, id, &format!("by-{id}")).await, StatusCode::CREATED);
    }
    // Killed and started again it is where it was.
    cluster.replica(3).kill();
    cluster.replica(3).start();
    wait_quarantine(&cluster, 3, Instant::now()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = load(&cluster, 1, stop.clone());
    let said = ctl(&cluster, 2, &["members", "heal", "3"]).await;
    assert!(said.contains("replica 3 agrees with the majority again"), "{said}");
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
    assert_healed(&mut cluster, 3).await;
    let said = ctl(&cluster, 1, &["members", "heal", "3"]).await;
    assert!(said.contains("replica 3 is not in quarantine"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_wrong_state_gives_up_the_lead() {
    // Only the third one compares, and it does so once it leads.
    let (mut cluster, relay) = spoiled([0, 0, INTERVAL_MS]).await;
    lead(&cluster, 1).await;
    go_wrong(&cluster, &relay).await;
    lead(&cluster, 3).await;
    let took = wait_quarantine(&cluster, 3, Instant::now()).await;
    relay.is_bad.store(false, Ordering::SeqCst);
    println!("found after {took:?} as the leader, compared every {INTERVAL_MS} ms");
    assert!(took <= BOUND, "found after {took:?}");
    let leader = cluster.wait_leader_other_than(3).await;
    assert_shut(&mut cluster, 3).await;
    assert_eq!(add_namespace(&cluster, leader, "next").await, StatusCode::CREATED);
    // Healing has its comparison, whatever the interval.
    ctl(&cluster, 3, &["members", "heal", "3"]).await;
    assert_healed(&mut cluster, 3).await;
}
