//! What the Kvrocks family's port promises besides its routes: a profile for each listener, the
//! metrics of the original, and honest answers while nobody leads.

#![allow(clippy::unwrap_used)]

mod kvrocks;
mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use kvrocks::{Row, Site};
use reqwest::{Client, Response};
use serde_json::Value;
use support::{cluster::Cluster, process::free_port};

async fn text(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_listener_has_a_profile_of_its_own() {
    let old_port = format!("127.0.0.1:{}", free_port());
    let listen = format!("{old_port}?kvrocks=program");
    let cluster = Cluster::start(1, &["--listen", &listen]).await;
    let default = cluster.urls().remove(0);
    let (client, old) = (&cluster.client, format!("http://{old_port}"));
    let path = "/api/v1/namespaces";
    let create = |base: &str, name: &str| {
        let body = format!(r#"{{"namespace":"{name}"}}"#);
        client.post(format!("{base}{path}")).body(body)
    };
    let (created, existed) =
        (r#"{"data":"created"}"#, r#"{"error":{"message":"the entry already existed"}}"#);
    let exists = r#"{"error":{"message":"already exists"},"data":null}"#;
    for (base, profile, name, status, expected) in [
        (&default, None, "a", 201, created),
        (&old, None, "b", 201, r#"{"data":{"namespace":"b"}}"#),
        (&default, None, "b", 409, existed),
        (&old, None, "a", 409, exists),
        (&default, Some("program"), "a", 409, exists),
        (&old, Some("document"), "c", 201, created),
    ] {
        let request = create(base, name);
        let request = match profile {
            Some(profile) => request.header("quorate-profile", profile),
            None => request,
        };
        let found = text(request.send().await.unwrap()).await;
        assert_eq!(found, (status, expected.to_owned()), "{base} {profile:?} {name}");
    }
    let last = client.post(format!("{old}/api/v1/raft/peers"));
    let last = last.body(r#"{"id":1,"operation":"remove"}"#).send().await.unwrap();
    let expected = r#"{"error":{"message":"can't remove the last peer"},"data":null}"#;
    assert_eq!(text(last).await, (400, expected.to_owned()));
    let wrong = client.get(format!("{old}{path}")).header("quorate-profile", "draft");
    let (status, found) = text(wrong.send().await.unwrap()).await;
    assert!(status == 400 && found.contains("document or program"), "{found}");
}

/// The value of a sample whose labels come in any order.
fn sample(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let is_it = |line: &&str| {
        labels.iter().all(|(key, value)| line.contains(&format!(r#"{key}="{value}""#)))
    };
    lines.filter(is_it).find_map(|line| line.rsplit_once(' ')?.1.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_counts_its_own_requests_under_the_names_of_the_original() {
    let site = Site::start("program").await;
    let body = r#"{"namespace":"a"}"#;
    site.check(&[
        Row("create", "POST /namespaces", body, 201, r#"{"data":{"namespace":"a"}}"#),
        Row("create again", "POST /namespaces", body, 409, "!already exists"),
        Row("unknown", "GET /namespaces/a/clusters/zz/shards/x", "", 404, "!cluster: not found"),
        Row("unknown", "GET /nope/secret-name", "", 404, "!not found"),
        Row("unknown", "BREW /namespaces", "", 404, "!not found"),
    ])
    .await;
    let metrics = site.raw("GET /metrics").await;
    assert_eq!(metrics.status(), 200);
    let metrics = metrics.text().await.unwrap();
    let create = [("host", "-"), ("uri", "/api/v1/namespaces"), ("method", "POST")];
    for (code, bytes) in [("201", 26.0), ("409", 50.0)] {
        let labels = [&create[..], &[("code", code)]].concat();
        let value = |name: &str| sample(&metrics, name, &labels);
        assert_eq!(value("kvrocks_controller_http_code"), Some(1.0), "{metrics}");
        assert_eq!(value("kvrocks_controller_http_payload"), Some(bytes), "{metrics}");
        assert_eq!(value("kvrocks_controller_request_latency_count"), Some(1.0), "{metrics}");
        let of_bucket = |le: &str| {
            let labels = [&labels[..], &[("le", le)]].concat();
            sample(&metrics, "kvrocks_controller_request_latency_bucket", &labels)
        };
        for power in 0..16 {
            assert!(of_bucket(&(1 << power).to_string()).is_some(), "{power}: {metrics}");
        }
        assert_eq!(of_bucket("+Inf"), Some(1.0));
        assert_eq!(of_bucket("0.005"), None, "buckets are milliseconds");
    }
    let shard = "/api/v1/namespaces/:namespace/clusters/:cluster/shards/:shard";
    let shard =
        sample(&metrics, "kvrocks_controller_http_code", &[("uri", shard), ("code", "404")]);
    assert_eq!(shard, Some(1.0), "{metrics}");
    for method in ["GET", "other"] {
        let labels = [("uri", "/not_found"), ("method", method), ("code", "404")];
        assert_eq!(sample(&metrics, "kvrocks_controller_http_code", &labels), Some(1.0));
    }
    for name in ["zz", "secret-name", "BREW"] {
        assert!(!metrics.contains(name), "clients choose no labels: {name}");
    }
    for path in ["/debug/pprof", "/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/cmdline"] {
        let found = text(site.raw(&format!("GET {path}")).await).await;
        let expected = r#"{"error":{"message":"not found"},"data":null}"#;
        assert_eq!(found, (404, expected.to_owned()), "{path}");
    }
}

/// A request that needs a leader is told within a bounded time that there is none.
async fn turned_away(
    client: &Client,
    base: &str,
    (request, profile): (&str, &str),
    expected: &str,
) {
    let started = Instant::now();
    let (method, path) = request.split_once(' ').unwrap();
    let sent = client.request(method.parse().unwrap(), format!("{base}/api/v1{path}"));
    let sent = sent.header("quorate-profile", profile).body(r#"{"namespace":"b"}"#);
    let response = sent.send().await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    assert_eq!(header("retry-after"), "1", "{request}: {}", response.status());
    assert_eq!(header("content-type"), "application/json; charset=utf-8", "{request}");
    assert_eq!(text(response).await, (400, expected.to_owned()), "{request}");
    assert!(started.elapsed() < Duration::from_secs(6), "{request}: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_everyone_is_told_to_come_back() {
    let mut site = Site::start("program").await;
    let body = r#"{"namespace":"a"}"#;
    let created = r#"{"data":{"namespace":"a"}}"#;
    site.check(&[Row("create", "POST /namespaces", body, 201, created)]).await;
    let alone = site.follower();
    for replica in site.cluster.replicas.iter_mut().filter(|replica| replica.url() != alone) {
        replica.kill();
    }
    let later = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let mut asked = Vec::new();
    for (profile, expected) in [
        ("program", r#"{"error":{"message":"no leader now, please retry later"},"data":null}"#),
        ("document", r#"{"error":{"message":"no leader now, please retry later"}}"#),
    ] {
        for request in [
            "POST /namespaces",
            "DELETE /namespaces/a",
            "POST /namespaces/a/clusters",
            "GET /namespaces/a?consistency=linearizable",
        ] {
            asked.push(turned_away(&later, &alone, (request, profile), expected));
        }
    }
    join_all(asked).await;
    let text = r#"{"error":{"message":"no leader now, please retry later"},"data":null}"#;
    turned_away(&later, &alone, ("GET /controller/leader", "program"), text).await;
    // By now what is known here is too old to be shown, unless somebody wants it all the same.
    let (status, found) = site.ask("GET /namespaces", "", &[]).await;
    assert_eq!(status, 400, "{found}");
    let found = site.raw("GET /metrics").await;
    assert_eq!(found.status(), 200, "metrics need no leader");
    let found: Value = site.raw("GET /api/v1/raft/peers").await.json().await.unwrap();
    assert_eq!(found["data"]["leader"], 0, "{found}");
}
