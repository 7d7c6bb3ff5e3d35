//! Whether replicas agree: their digests, and their logs entry by entry.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::sleep;

use super::cluster::{Cluster, PATIENCE};

/// Entries asked for at a time.
const PAGE: u64 = 1_000;

/// What two replicas hold differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The log index.
    pub index: u64,
    /// What the first replica and another one have there.
    pub entries: (String, String),
}

/// Waits until all replicas have applied equally much, and compares their digests.
///
/// # Errors
/// What the replicas said, if they disagree.
pub async fn digests(cluster: &Cluster) -> Result<u64, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut said = Vec::new();
        for replica in &cluster.replicas {
            said.extend(cluster.ask(replica.id, "/quorate/v1/digest").await);
        }
        let index = said.first().and_then(|digest| digest["index"].as_u64());
        let is_level = said.len() == cluster.replicas.len()
            && said.iter().all(|digest| digest["index"].as_u64() == index);
        if let (true, Some(index)) = (is_level, index) {
            let agree = said.iter().all(|digest| {
                digest["state"] == said[0]["state"] && digest["log_chain"] == said[0]["log_chain"]
            });
            assert!(said[0]["state"].is_string(), "a digest has no state: {said:?}");
            return if agree { Ok(index) } else { Err(format!("digests differ: {said:?}")) };
        }
        if Instant::now() > deadline {
            return Err(format!("the replicas do not get level: {said:?}"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Compares the logs of all replicas entry by entry below the smallest commit index, as far back
/// as all of them still have it. Returns how many positions were compared, and what differs.
pub async fn logs(cluster: &Cluster) -> (u64, Vec<Difference>) {
    let mut from = 0;
    let mut to = u64::MAX;
    for replica in &cluster.replicas {
        let status = cluster.status(replica.id).await.expect("a status");
        from = from.max(status["purged_index"].as_u64().expect("a purged index") + 1);
        to = to.min(status["commit_index"].as_u64().expect("a commit index"));
    }
    let mut logs = Vec::new();
    for replica in &cluster.replicas {
        logs.push(log_of(cluster, replica.id, from, to).await);
    }
    let mut differences = Vec::new();
    for index in from..=to {
        for log in &logs[1..] {
            if log.get(&index) != logs[0].get(&index) {
                let shown = |log: &BTreeMap<u64, String>| log.get(&index).cloned();
                let entries = (shown(&logs[0]), shown(log));
                let entries = (entries.0.unwrap_or_default(), entries.1.unwrap_or_default());
                differences.push(Difference { index, entries });
            }
        }
    }
    ((to + 1).saturating_sub(from), differences)
}

async fn log_of(cluster: &Cluster, id: u64, from: u64, to: u64) -> BTreeMap<u64, String> {
    let mut log = BTreeMap::new();
    let mut next = from;
    while next <= to {
        let end = to.min(next + PAGE - 1);
        let path = format!("/quorate/v1/log?from={next}&to={}", end + 1);
        let page = cluster.ask(id, &path).await.expect("a page of the log");
        let entries = page["entries"].as_array().expect("entries").clone();
        for entry in &entries {
            let index = entry["index"].as_u64().expect("an index");
            log.insert(index, described(entry));
        }
        let last = entries.last().and_then(|entry| entry["index"].as_u64());
        next = last.expect("a page of the log is not empty") + 1;
    }
    log
}

fn described(entry: &Value) -> String {
    format!("term {} {} {}", entry["term"], entry["kind"], entry["payload"])
}
