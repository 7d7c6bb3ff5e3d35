//! Four stand-in nodes: two masters with a replica each, as in the transcripts of real nodes.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs)]

#[path = "../support/kvrocks_node/mod.rs"]
pub mod kvrocks_node;

use std::time::{Duration, Instant};

use kvrocks_node::{
    Node, Options,
    resp::{Reply, Wire},
};

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(10);
/// A slot's keys: `{k}` is 7629, `foo` is 12182.
pub const SLOT: &str = "7629";

/// Four nodes: two masters with a replica each, as in the transcripts.
pub struct Four {
    pub a: Node,
    pub b: Node,
    pub c: Node,
    pub d: Node,
}

pub fn id(letter: &str) -> String {
    letter.repeat(40)
}

impl Four {
    pub async fn start(options: Options) -> Self {
        let node = || async { Node::start(0, options.clone()).await.unwrap() };
        let (a, b, c, d) = (node().await, node().await, node().await, node().await);
        let four = Self { a, b, c, d };
        four.push(&four.text("0-8191", "8192-16383"), "1").await;
        four.wait_linked().await;
        four
    }

    pub fn text(&self, of_a: &str, of_b: &str) -> String {
        let place = |node: &Node| node.addr.replace(':', " ");
        let (a, b, c, d) = (id("a"), id("b"), id("c"), id("d"));
        format!(
            "{a} {} master - {of_a}\n{b} {} master - {of_b}\n{c} {} slave {a}\n{d} {} slave {b}",
            place(&self.a),
            place(&self.b),
            place(&self.c),
            place(&self.d),
        )
    }

    /// C is master in the place of A.
    pub fn failed_over(&self) -> String {
        self.text("0-8191", "8192-16383")
            .replace(&format!("{} master - 0-8191", self.a.addr.replace(':', " ")), &{
                let place = self.a.addr.replace(':', " ");
                format!("{place} slave {}", id("c"))
            })
            .replace(
                &format!("{} slave {}", self.c.addr.replace(':', " "), id("a")),
                &format!("{} master - 0-8191", self.c.addr.replace(':', " ")),
            )
    }

    pub async fn push(&self, text: &str, version: &str) {
        for node in [&self.a, &self.b, &self.c, &self.d] {
            if node.is_running() {
                assert_eq!(set(node, text, version).await, Reply::ok());
            }
        }
    }

    pub async fn wait_linked(&self) {
        for node in [&self.c, &self.d] {
            wait_info(node, "master_link_status:up").await;
        }
    }

    /// The topology after slot 7629 moved.
    pub fn moved(&self) -> String {
        self.text("0-7628 7630-8191", "7629 8192-16383")
    }
}

pub async fn set(node: &Node, text: &str, version: &str) -> Reply {
    node.ask(&["CLUSTERX", "SETNODES", text, version]).await
}

pub async fn info(node: &Node) -> String {
    node.ask(&["CLUSTER", "INFO"]).await.text()
}

pub async fn wait_info(node: &Node, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = info(node).await + &node.ask(&["INFO", "replication"]).await.text();
        if text.contains(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "no {wanted} in {text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn wait_sequence(node: &Node, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    while node.sequence() != wanted {
        assert!(Instant::now() < deadline, "at {}, not {wanted}", node.sequence());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn migrate(node: &Node, slot: &str, to: &str) -> String {
    node.ask(&["CLUSTERX", "MIGRATE", slot, &id(to)]).await.text()
}

pub async fn ask(node: &Node, words: &str) -> String {
    node.ask(&words.split(' ').collect::<Vec<_>>()).await.text()
}

/// Sends commands over one connection and returns the last answer.
pub async fn ask_in_turn(node: &Node, commands: &[&str]) -> String {
    let mut wire = Wire::connect(&node.addr).await.unwrap();
    let mut last = String::new();
    for command in commands {
        last = wire.ask(&command.split(' ').collect::<Vec<_>>()).await.unwrap().text();
    }
    last
}
