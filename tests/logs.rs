//! What the log says of one request, on every replica that has to do with it.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::cluster::{Cluster, PATIENCE};
use tokio::time::sleep;

/// What a replica said with the message, as JSON.
fn said(cluster: &mut Cluster, id: u64, message: &str) -> Vec<Value> {
    let output = cluster.replica(id).output();
    let lines = output.lines().map(|line| {
        let parsed: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(parsed["timestamp"].is_string() && parsed["level"].is_string(), "{line}");
        parsed
    });
    lines.filter(|line| line["message"] == message).collect()
}

/// Waits until a replica has said it of a request.
async fn wait_said(cluster: &mut Cluster, id: u64, message: &str, request_id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = said(cluster, id, message);
        if let Some(line) = found.into_iter().find(|line| line["request_id"] == request_id) {
            return line;
        }
        if Instant::now() > deadline {
            cluster.fail(&format!("replica {id} says no `{message}` of {request_id}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_id_follows_a_request_from_a_follower_to_the_leader() {
    let flags = ["--log-format", "json", "--log-level", "debug"];
    let mut cluster = Cluster::start(3, &flags).await;
    let (leader, follower) = (cluster.wait_leader().await, cluster.wait_follower().await);
    for (header, value) in [
        (None, ""),
        (Some("idempotency-key"), "my wish"),
        (Some("idempotency-key"), "00112233445566778899aabbccddeeff"),
        (Some("x-request-id"), "trace-17"),
    ] {
        let url = format!("{}/api/v1/namespaces", cluster.url(follower));
        let mut request = cluster.client.post(url);
        if let Some(header) = header {
            request = request.header(header, value);
        }
        let name = format!("shop-{}", value.replace(' ', "-"));
        let answer = request.json(&json!({ "namespace": name })).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let id = answer.headers()["quorate-request-id"].to_str().unwrap().to_owned();
        assert!(value.len() != 32 || id == value, "an id is taken as it is: {id}");
        let asked = wait_said(&mut cluster, follower, "request", &id).await;
        let facts = ("kvrocks", "POST", "/api/v1/namespaces", 201, "DEBUG");
        assert_eq!(
            (&asked["family"], &asked["method"], &asked["path"], &asked["status"], &asked["level"]),
            (&json!(facts.0), &json!(facts.1), &json!(facts.2), &json!(facts.3), &json!(facts.4))
        );
        let proposed = wait_said(&mut cluster, follower, "proposal", &id).await;
        assert_eq!(proposed["outcome"], "applied");
        let taken = wait_said(&mut cluster, leader, "forwarded proposal", &id).await;
        assert_eq!((&taken["outcome"], &taken["from"]), (&json!("applied"), &json!(follower)));
    }
}

#[tokio::test]
async fn a_failure_is_told_under_the_same_id_where_it_was_asked_and_where_it_failed() {
    let flags = ["--log-format", "json", "--request-timeout-ms", "1500"];
    let mut cluster = Cluster::start(5, &flags).await;
    let (leader, follower) = (cluster.wait_leader().await, cluster.wait_follower().await);
    let answer = cluster.client.get(format!("{}/api/v1/namespaces", cluster.url(follower)));
    assert!(answer.send().await.unwrap().status().is_success());
    // The two of them can talk, and cannot commit.
    for id in (1..=5).filter(|id| ![leader, follower].contains(id)) {
        cluster.replica(id).signal(Signal::SIGSTOP);
    }
    let url = format!("{}/api/v1/namespaces", cluster.url(follower));
    let request = cluster.client.post(url).json(&json!({ "namespace": "shop" }));
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_server_error(), "{}", answer.status());
    let id = answer.headers()["quorate-request-id"].to_str().unwrap().to_owned();
    for (replica, message) in
        [(follower, "request"), (follower, "proposal"), (leader, "forwarded proposal")]
    {
        let line = wait_said(&mut cluster, replica, message, &id).await;
        assert_eq!(line["level"], "WARN", "{line}");
        let is_long = line["elapsed_ms"].as_u64().is_some_and(|elapsed_ms| elapsed_ms < 5_000);
        assert!(is_long, "{line}");
    }
    let proposed = wait_said(&mut cluster, follower, "proposal", &id).await;
    assert_eq!(proposed["outcome"], "unknown");
    let quiet = said(&mut cluster, follower, "request");
    assert_eq!(quiet.len(), 1, "what went well is told at `debug` alone: {quiet:?}");
}
