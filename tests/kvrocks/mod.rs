//! A site of three replicas, nodes that answer what they are told to, and tables of requests.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod node;

use std::collections::BTreeMap;

use reqwest::{Client, Method};
use serde_json::Value;

use self::node::Node;
use crate::support::cluster::Cluster;

/// One promise: a request and exactly what it answers.
///
/// In every text `$3` stands for the address of node 3, `#3` for its id in the cluster that has
/// it; in answers, `@` stands for a time. `!text` is the program's answer for an error.
pub struct Row(pub &'static str, pub &'static str, pub &'static str, pub u16, pub &'static str);

/// Three replicas, of which a follower is asked, and nine nodes.
pub struct Site {
    pub cluster: Cluster,
    pub nodes: Vec<Node>,
    client: Client,
    follower: String,
    pub profile: &'static str,
}

impl Site {
    /// Starts three replicas and nine nodes.
    pub async fn start(profile: &'static str) -> Self {
        let cluster = Cluster::start(3, &[]).await;
        let follower = cluster.url(cluster.wait_follower().await);
        let mut nodes = Vec::new();
        for _ in 1..=9 {
            nodes.push(Node::start().await);
        }
        let client = Client::builder().redirect(reqwest::redirect::Policy::none());
        Self { cluster, nodes, client: client.build().unwrap(), follower, profile }
    }

    /// Sends the requests in order and compares each answer.
    pub async fn check(&self, rows: &[Row]) {
        for Row(promise, request, body, status, expected) in rows {
            let (found_status, found) = self.ask(request, body, &[]).await;
            let found = self.nameless(&found).await;
            let about = format!("{promise}: {request} {body}");
            let expected = match expected.strip_prefix('!') {
                Some(message) => {
                    let message = serde_json::to_string(message).unwrap();
                    format!(r#"{{"error":{{"message":{message}}},"data":null}}"#)
                }
                None => (*expected).to_owned(),
            };
            assert_eq!((found_status, found), (*status, expected), "{about}");
        }
    }

    /// Sends a request; its status and body.
    pub async fn ask(&self, request: &str, body: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let response = self.send(request, body, headers).await;
        let status = response.status().as_u16();
        if status != 204 && !(300..400).contains(&status) {
            let content_type = response.headers()["content-type"].to_str().unwrap();
            assert_eq!(content_type, "application/json; charset=utf-8", "{request}");
        }
        (status, response.text().await.unwrap())
    }

    /// Sends a request.
    pub async fn send(
        &self,
        request: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> reqwest::Response {
        let (method, path) = request.split_once(' ').expect("METHOD /path");
        let prefix = if path.starts_with("/quorate") { "" } else { "/api/v1" };
        let url = format!("{}{prefix}{}", self.follower, self.named(path).await);
        let mut sent = self.client.request(method.parse::<Method>().unwrap(), url);
        sent = sent.header("quorate-profile", self.profile);
        for (name, value) in headers {
            sent = sent.header(*name, *value);
        }
        sent.body(self.named(body).await).send().await.unwrap()
    }

    /// The replica that is asked.
    pub fn follower(&self) -> String {
        self.follower.clone()
    }

    /// Sends a request to any path; what comes back.
    pub async fn raw(&self, request: &str) -> reqwest::Response {
        let (method, path) = request.split_once(' ').expect("METHOD /path");
        let url = format!("{}{path}", self.follower);
        let request = self.client.request(method.parse::<Method>().unwrap(), url);
        request.header("quorate-profile", self.profile).send().await.unwrap()
    }

    /// Data of an answer that succeeded.
    pub async fn data(&self, request: &str) -> Value {
        let (status, text) = self.ask(request, "", &[]).await;
        assert_eq!(status, 200, "{request}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["data"].take()
    }

    /// Ids of nodes by address, as any cluster has them.
    async fn ids(&self) -> BTreeMap<String, String> {
        let mut ids = BTreeMap::new();
        for namespace in self.names("/namespaces", "namespaces").await {
            let path = format!("/namespaces/{namespace}/clusters");
            for cluster in self.names(&path, "clusters").await {
                let found = self.get(&format!("{path}/{cluster}")).await;
                let shards = found["data"]["cluster"]["shards"].as_array().cloned();
                for shard in shards.unwrap_or_default() {
                    for node in shard["nodes"].as_array().unwrap() {
                        let text = |key: &str| node[key].as_str().unwrap().to_owned();
                        assert_eq!(text("id").len(), 40);
                        ids.insert(text("addr"), text("id"));
                    }
                }
            }
        }
        ids
    }

    async fn names(&self, path: &str, key: &str) -> Vec<String> {
        let found = self.get(path).await;
        let names = found["data"][key].as_array().cloned().unwrap_or_default();
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/api/v1{path}?consistency=linearizable", self.follower);
        self.client.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Puts addresses and ids for their signs.
    async fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if text.contains('#') {
            let ids = self.ids().await;
            for (sign, node) in (1..).zip(&self.nodes) {
                if let Some(id) = ids.get(&node.addr) {
                    text = text.replace(&format!("#{sign}"), id);
                }
            }
        }
        for (sign, node) in (1..).zip(&self.nodes) {
            text = text.replace(&format!("${sign}"), &node.addr);
        }
        text
    }

    /// Puts signs for addresses, ids and times.
    async fn nameless(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let ids = self.ids().await;
        for (sign, node) in (1..).zip(&self.nodes) {
            if let Some(id) = ids.get(&node.addr) {
                text = text.replace(id, &format!("#{sign}"));
            }
            text = text.replace(&node.addr, &format!("${sign}"));
        }
        let mut timeless = String::new();
        let mut parts = text.split("\"created_at\":");
        timeless.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.chars().take_while(char::is_ascii_digit).count();
            let seconds: u64 = part[..digits].parse().unwrap();
            assert!((1_700_000_000..10_000_000_000).contains(&seconds), "{seconds}");
            timeless.push_str("\"created_at\":@");
            timeless.push_str(&part[digits..]);
        }
        timeless
    }
}
