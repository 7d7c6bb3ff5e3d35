//! A site that lives: three replicas, stand-in nodes, and conditions to wait for.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs)]

#[path = "../support/kvrocks_node/mod.rs"]
pub mod kvrocks_node;

pub mod fleet;
pub mod record;
pub mod writer;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use self::{
    kvrocks_node::{Node, Options},
    record::Record,
};
use crate::support::cluster::Cluster;

/// How long a state of affairs may take to come about before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Probes follow each other this fast, milliseconds.
pub const PING_MS: u64 = 200;
/// Probes that fail before a node counts as dead.
pub const FAILURES: u64 = 3;
/// Time for one exchange with a node, milliseconds.
pub const NODE_TIMEOUT_MS: u64 = 500;

/// What replicas are started with here.
pub const PROFILE: [&str; 2] = ["--kvrocks-profile", "program"];

/// Three replicas and nodes by address.
pub struct Site {
    pub cluster: Cluster,
    pub nodes: BTreeMap<String, Node>,
    requests: AtomicUsize,
}

impl Site {
    /// Starts three replicas, sets a fast pace, and makes the namespace `n`.
    pub async fn start() -> Self {
        Self::of(Cluster::start(3, &PROFILE).await).await
    }

    /// Sets running replicas to a fast pace, and makes the namespace `n`.
    pub async fn of(cluster: Cluster) -> Self {
        let site = Self { cluster, nodes: BTreeMap::new(), requests: AtomicUsize::new(0) };
        let settings = json!({
            "ping_interval_ms": PING_MS,
            "ping_failures_max": FAILURES,
            "node_timeout_ms": NODE_TIMEOUT_MS,
        });
        site.done(Method::PUT, "/quorate/v1/kvrocks/settings", &settings).await;
        site.done(Method::POST, "/api/v1/namespaces", &json!({ "namespace": "n" })).await;
        site
    }

    /// Starts nodes; their addresses.
    pub async fn add_nodes(&mut self, count: usize, options: &Options) -> Vec<String> {
        let mut addresses = Vec::new();
        for _ in 0..count {
            let node = Node::start(0, options.clone()).await.unwrap();
            addresses.push(node.addr.clone());
            self.nodes.insert(node.addr.clone(), node);
        }
        addresses
    }

    /// Makes a cluster of new nodes and waits until they agree; their addresses.
    pub async fn create(&mut self, name: &str, shards: usize, replicas: usize) -> Vec<String> {
        let addresses = self.add_nodes(shards * replicas, &Options::default()).await;
        self.create_of(name, &addresses, replicas).await;
        self.agreed(name).await;
        addresses
    }

    /// Makes a cluster of nodes that run.
    pub async fn create_of(&self, name: &str, addresses: &[String], replicas: usize) {
        let body = json!({ "name": name, "nodes": addresses, "replicas": replicas });
        self.done(Method::POST, "/api/v1/namespaces/n/clusters", &body).await;
    }

    pub fn node(&mut self, addr: &str) -> &mut Node {
        self.nodes.get_mut(addr).unwrap()
    }

    /// Sends a request to one running replica after the other until one answers; status and body.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        self.call_as(&format!("{number:032x}"), method, path, body).await
    }

    /// As [`Site::call`], under a given key.
    pub async fn call_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let first = self.requests.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        for turn in first.. {
            if Instant::now() > deadline {
                break;
            }
            let index = turn % self.cluster.replicas.len();
            let url = format!("{}{path}", self.cluster.replicas[index].url());
            let request = self.cluster.client.request(method.clone(), url);
            let request = request.header("Idempotency-Key", key).timeout(Duration::from_secs(20));
            let request = request.header("Quorate-Consistency", "linearizable");
            let request = if body.is_null() { request } else { request.json(body) };
            let Ok(answer) = request.send().await else {
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            let status = answer.status().as_u16();
            let body = answer.json().await.unwrap_or(Value::Null);
            let text = body["error"]["message"].as_str().unwrap_or_default();
            // Nobody leads for a moment, or nobody knows what came of it: the id makes it safe.
            if status == 503 || status == 504 || text.contains("no leader now") {
                sleep(Duration::from_millis(50)).await;
                continue;
            }
            return (status, body);
        }
        self.cluster.fail(&format!("{method} {path}: no replica answers"))
    }

    /// As [`Site::call`], for what must succeed.
    pub async fn done(&self, method: Method, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method.clone(), path, body).await;
        if status >= 300 {
            self.cluster.fail(&format!("{method} {path} {body}: {status} {answer}"));
        }
        answer
    }

    /// The cluster as recorded.
    pub async fn record(&self, name: &str) -> Record {
        let path = format!("/api/v1/namespaces/n/clusters/{name}");
        let answer = self.done(Method::GET, &path, &Value::Null).await;
        Record::parse(&answer["data"]["cluster"])
    }

    /// Migrations of the cluster, oldest first.
    pub async fn jobs(&self, name: &str) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/n/clusters/{name}/migrations");
        let answer = self.done(Method::GET, &path, &Value::Null).await;
        answer["data"]["migrations"].as_array().unwrap().clone()
    }

    /// Failovers of the cluster, oldest first.
    pub async fn failovers(&self, name: &str) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/n/clusters/{name}/failovers");
        let answer = self.done(Method::GET, &path, &Value::Null).await;
        answer["data"]["failovers"].as_array().unwrap().clone()
    }

    /// Starts a migration through some replica; status and answer.
    pub async fn migrate(&self, name: &str, slots: &str, target: usize) -> (u16, Value) {
        let path = format!("/api/v1/namespaces/n/clusters/{name}/migrate");
        self.call(Method::POST, &path, &json!({ "target": target, "slot": slots })).await
    }

    /// Waits until the record fulfils a condition.
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&Record) -> bool) -> Record {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let record = self.record(name).await;
            if holds(&record) {
                return record;
            }
            if Instant::now() > deadline {
                self.cluster.fail(&format!("not so in time: {what}: {record:?}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the last migration of the cluster is in a phase.
    pub async fn until_job(&self, name: &str, phase: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let jobs = self.jobs(name).await;
            match jobs.last() {
                Some(job) if job["state"] == phase => return job.clone(),
                last if Instant::now() > deadline => {
                    self.cluster.fail(&format!("the migration is not {phase}: {last:?}"));
                }
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// What every replica says of a node, once they all say that it is in a state.
    pub async fn seen_as(&self, name: &str, addr: &str, state: &str) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut seen = Vec::new();
            for replica in &self.cluster.replicas {
                let path = format!("/quorate/v1/kvrocks/status/n/{name}");
                let status = self.cluster.ask(replica.id, &path).await.unwrap_or_default();
                let nodes = status["data"]["nodes"].as_array().cloned().unwrap_or_default();
                seen.extend(nodes.into_iter().filter(|node| node["addr"] == addr));
            }
            if seen.len() == self.cluster.replicas.len()
                && seen.iter().all(|node| node["state"] == state)
            {
                return seen;
            }
            if Instant::now() > deadline {
                self.cluster.fail(&format!("{addr} is not seen as {state}: {seen:#?}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until every running node of the cluster shows what is recorded.
    pub async fn agreed(&self, name: &str) -> Record {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let record = self.record(name).await;
            let mut faults = Vec::new();
            for (addr, node) in self.nodes.iter().filter(|(_, node)| node.is_running()) {
                if record.node(addr).is_some() {
                    faults.extend(record.faults_of(node).await);
                }
            }
            if faults.is_empty() {
                return record;
            }
            if Instant::now() > deadline {
                self.cluster.fail(&format!("nodes and record disagree: {faults:#?} {record:?}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Changes replicated settings.
    pub async fn set(&self, settings: Value) {
        self.done(Method::PUT, "/quorate/v1/kvrocks/settings", &settings).await;
    }

    /// Waits until a question is answered with yes.
    pub async fn wait(
        &self,
        what: &str,
        limit: Duration,
        mut ask: impl AsyncFnMut() -> Result<(), String>,
    ) {
        let deadline = Instant::now() + limit;
        while let Err(error) = ask().await {
            if Instant::now() > deadline {
                self.cluster.fail(&format!("{what}: not within {limit:?}: {error}"));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// What all replicas have printed.
    pub fn output(&self) -> String {
        self.cluster.replicas.iter().map(|replica| replica.output()).collect()
    }

    /// Kills the leader as `kill -9` does, waits for another, and tells who it was.
    pub async fn kill_leader(&mut self) -> u64 {
        let leader = self.cluster.wait_leader().await;
        self.cluster.replica(leader).kill();
        leader
    }

    /// Nodes answer at once again.
    pub fn without_delay(&mut self) {
        for node in self.nodes.values() {
            node.fault(|faults| faults.delay_ms = 0);
        }
    }

    /// Starts a killed replica again.
    pub async fn revive(&mut self, id: u64) {
        self.cluster.replica(id).start();
        self.cluster.wait_ready(id).await;
    }

    /// Orders to migrate that a node carried out.
    pub fn orders(&self, addr: &str) -> usize {
        let heard = self.nodes[addr].heard();
        heard.iter().filter(|command| command.starts_with("CLUSTERX MIGRATE")).count()
    }
}
