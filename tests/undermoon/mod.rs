//! A site of three replicas and rows of requests with their answers, asked of a follower.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

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
    /// So many migrations were there to commit.
    Commits(usize),
}

impl Row {
    /// Reads `promise | METHOD /path | body or - | status and answer`, or
    /// `promise | COMMIT cluster | number`.
    pub fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(" | ").collect();
        let (body, expected) = match fields[..] {
            [_, _, commits] => ("", Expected::Commits(commits.parse().expect("a number"))),
            [_, _, body, expected] => (body.trim_start_matches('-'), Expected::parse(expected)),
            _ => panic!("no row: {line}"),
        };
        let (promise, request) = (fields[0].to_owned(), fields[1].to_owned());
        Self { promise, request, body: body.to_owned(), expected }
    }
}

impl Expected {
    fn parse(text: &str) -> Self {
        let (status, answer) = text.split_once(' ').expect("status and answer");
        let status: u16 = status.parse().expect("a status");
        if answer == "empty" {
            return Self::Empty;
        }
        if let Some(text) = answer.strip_prefix("text ") {
            return Self::Text(text.to_owned());
        }
        let is_code = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if answer.chars().all(is_code) {
            return Self::Json(status, json!({ "error": answer }));
        }
        Self::Json(status, serde_json::from_str(answer).expect("JSON"))
    }
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

    /// Sends the request and compares the answer.
    pub async fn check(&self, row: &Row) {
        let (method, path) = row.request.split_once(' ').expect("METHOD /path");
        let about = format!("{}: {} {}", row.promise, row.request, row.body);
        if let Expected::Commits(commits) = row.expected {
            assert_eq!(self.commit_all(path).await, commits, "{about}");
            return;
        }
        let response = self.send(method, path, &row.body).await;
        compare(&about, response, &row.expected).await;
    }

    /// Empties the broker and registers proxies: `N proxies` or `ordered N proxies`.
    pub async fn set_up(&self, setting: &str) {
        let (is_ordered, setting) = match setting.strip_prefix("ordered ") {
            Some(rest) => (true, rest),
            None => (false, setting),
        };
        let proxies = setting.strip_suffix(" proxies").and_then(|count| count.parse::<u64>().ok());
        self.reset(is_ordered).await;
        for number in 1..=proxies.expect("N proxies") {
            let host = format!("10.0.0.{number}");
            let body = json!({
                "proxy_address": format!("{host}:7000"),
                "nodes": [format!("{host}:6001"), format!("{host}:6002")],
                "host": null,
                "index": is_ordered.then_some(number - 1),
            });
            self.check(&Row::parse(&format!("add | POST /proxies/meta | {body} | 200 empty")))
                .await;
        }
    }

    /// Empties the broker; the epoch goes on.
    async fn reset(&self, is_ordered: bool) {
        let epoch = self.metadata().await["global_epoch"].as_u64().unwrap();
        let document = json!({
            "version": "mem-broker-0.2",
            "global_epoch": epoch + 1,
            "clusters": {},
            "all_proxies": {},
            "failed_proxies": [],
            "failures": {},
            "enable_ordered_proxy": is_ordered,
        });
        self.check(&Row::parse(&format!("empty | PUT /metadata | {document} | 200 empty"))).await;
    }

    /// Commits every migration of a cluster as a coordinator does, the ones that become visible
    /// meanwhile too, and tells how many there were.
    async fn commit_all(&self, cluster: &str) -> usize {
        let mut commits = 0;
        while let Some(slot_range) = self.next_migration(cluster).await {
            let body = json!({ "cluster_name": cluster, "slot_range": slot_range });
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
        Expected::Commits(_) => unreachable!("a commit has no single answer"),
    }
}

fn contains(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (_, Value::String(any)) if any == "$any" => true,
        (Value::Number(_), Value::String(number)) if number == "$number" => true,
        // An empty object is a whole one: nothing else may be in it.
        (Value::Object(found), Value::Object(expected)) if expected.is_empty() => found.is_empty(),
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
