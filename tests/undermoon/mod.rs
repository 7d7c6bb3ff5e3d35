//! A site of three replicas and a table of requests, asked of a follower.

#![allow(clippy::unwrap_used, dead_code)]

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json as value};

use crate::support::cluster::Cluster;

/// One promise: a request and what it must answer.
pub struct Row {
    promise: String,
    request: String,
    body: String,
    expected: Expected,
}

enum Expected {
    /// 200 and nothing in the body.
    Empty,
    /// 200 and this text.
    Text(String),
    /// This status, and JSON that contains at least this.
    Json(u16, Value),
}

fn row(promise: &str, request: &str, body: &str, expected: Expected) -> Row {
    let (promise, request, body) = (promise.to_owned(), request.to_owned(), body.to_owned());
    Row { promise, request, body, expected }
}

/// Answers 200 with an empty body.
pub fn empty(promise: &str, request: &str, body: &str) -> Row {
    row(promise, request, body, Expected::Empty)
}

/// Answers 200 with a text.
pub fn text(promise: &str, request: &str, expected: &str) -> Row {
    row(promise, request, "", Expected::Text(expected.to_owned()))
}

/// Answers a status and an error code.
pub fn error(promise: &str, request: &str, body: &str, status: u16, code: &str) -> Row {
    row(promise, request, body, Expected::Json(status, value!({ "error": code })))
}

/// Answers a status and JSON. `"$any"` stands for anything, `"$number"` for a number; objects may
/// have further members, arrays may not.
pub fn json(promise: &str, request: &str, body: &str, status: u16, expected: &str) -> Row {
    let expected = serde_json::from_str(expected).expect("a row expects JSON");
    row(promise, request, body, Expected::Json(status, expected))
}

/// Registers proxy `number` on a host of its own.
pub fn register(number: u32, index: Option<u64>) -> Row {
    let host = format!("10.0.0.{number}");
    let body = value!({
        "proxy_address": format!("{host}:7000"),
        "nodes": [format!("{host}:6001"), format!("{host}:6002")],
        "host": null,
        "index": index,
    });
    empty("add a proxy", "POST /proxies/meta", &body.to_string())
}

/// Three replicas, and the one of them that is asked.
pub struct Site {
    cluster: Cluster,
    client: Client,
    follower: String,
    others: Vec<String>,
}

impl Site {
    /// Starts three replicas; a follower is asked.
    pub async fn start() -> Self {
        let cluster = Cluster::start(3, &[]).await;
        let follower = cluster.url(cluster.wait_follower().await);
        let others = cluster.urls().into_iter().filter(|url| *url != follower).collect();
        Self { cluster, client: Client::new(), follower, others }
    }

    /// Sends the requests in order and compares each answer.
    pub async fn check(&self, rows: &[Row]) {
        for row in rows {
            let (method, path) = row.request.split_once(' ').expect("METHOD /path");
            let response = self.send(method, path, &row.body).await;
            let about = format!("{}: {} {}", row.promise, row.request, row.body);
            compare(&about, response, &row.expected).await;
        }
    }

    /// Empties the broker; the epoch goes on.
    pub async fn reset(&self, is_ordered: bool) {
        let epoch = self.get("/metadata").await["global_epoch"].as_u64().unwrap();
        let document = value!({
            "version": "mem-broker-0.2",
            "global_epoch": epoch + 1,
            "clusters": {},
            "all_proxies": {},
            "failed_proxies": [],
            "failures": {},
            "enable_ordered_proxy": is_ordered,
        });
        self.check(&[empty("empty the broker", "PUT /metadata", &document.to_string())]).await;
    }

    /// Commits every migration of a cluster as a coordinator does, the ones that become visible
    /// meanwhile too, and tells how many there were.
    pub async fn commit_all(&self, cluster: &str) -> usize {
        let mut commits = 0;
        while let Some(slot_range) = self.next_migration(cluster).await {
            let body = value!({ "cluster_name": cluster, "slot_range": slot_range });
            let response = self.send("PUT", "/clusters/migrations", &body.to_string()).await;
            assert_eq!(response.status(), 200, "commit {body}");
            let answer: Value = response.json().await.unwrap();
            let addresses = answer["addresses"].as_array().expect("(8) a commit answers addresses");
            assert!(!addresses.is_empty() && addresses.iter().all(Value::is_string), "{answer}");
            commits += 1;
            assert!(commits < 100, "the migrations of {cluster} do not end");
        }
        commits
    }

    async fn next_migration(&self, cluster: &str) -> Option<Value> {
        let meta = self.get(&format!("/clusters/meta/{cluster}")).await;
        let nodes = meta["cluster"]["nodes"].as_array().expect("nodes of the cluster").clone();
        let slots = nodes.into_iter().flat_map(|node| node["slots"].as_array().unwrap().clone());
        slots.into_iter().find(|range| range["tag"].get("Migrating").is_some())
    }

    /// The stored document.
    pub async fn metadata(&self) -> Value {
        self.get("/metadata").await
    }

    /// Base URL of the replica that is asked.
    pub fn url(&self) -> String {
        self.follower.clone()
    }

    /// `host:port` of the replica that is asked.
    pub fn address(&self) -> &str {
        self.follower.trim_start_matches("http://")
    }

    /// Base URLs of the other replicas.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// A request to the replica that is asked; `path` has its prefix.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.follower))
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "").await.json().await.unwrap()
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Response {
        let mut request = self.request(method, &format!("/api/v2{path}"));
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        request.send().await.unwrap()
    }
}

async fn compare(about: &str, response: Response, expected: &Expected) {
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    match expected {
        Expected::Empty => assert_eq!((status, body.as_str()), (200, ""), "{about}"),
        Expected::Text(text) => assert_eq!((status, &body), (200, text), "{about}"),
        Expected::Json(expected_status, expected) => {
            assert_eq!(status, *expected_status, "{about} -> {body}");
            let found: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
            assert!(contains(&found, expected), "{about}\n   found {found}\nexpected {expected}");
        }
    }
}

fn contains(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (_, Value::String(any)) if any == "$any" => true,
        (Value::Number(_), Value::String(number)) if number == "$number" => true,
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|found| contains(found, value))),
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| contains(found, expected))
        }
        _ => found == expected,
    }
}
