//! Clients that only read, each from one replica, through its restarts: what they are shown must
//! never be older than what that replica has shown before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use tokio::{task::JoinHandle, time::sleep};

use super::writers;

/// Readers at work, one for each replica.
pub struct Readers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Seen>>,
}

/// What one reader was shown.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Reads that were answered.
    pub reads: u64,
    /// Highest index and highest epoch, and where an answer was below them.
    pub index: u64,
    /// See [`Seen::index`].
    pub epoch: u64,
    /// Every step back.
    pub steps_back: Vec<String>,
}

impl Readers {
    /// Sets one reader to work on each replica.
    pub fn start(urls: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = urls.iter().map(|url| tokio::spawn(read(url.clone(), stop.clone()))).collect();
        Self { stop, tasks }
    }

    /// Ends the readers; panics if one was shown something older than before.
    pub async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let seen = task.await.expect("a reader ends well");
            assert!(seen.reads > 20, "only {} reads: nothing was tested", seen.reads);
            assert_eq!(seen.steps_back, Vec::<String>::new(), "after {} reads", seen.reads);
        }
    }
}

async fn read(url: String, stop: Arc<AtomicBool>) -> Seen {
    let client = writers::client();
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        if let Some((index, epoch)) = epoch_of(&client, &url).await {
            seen.reads += 1;
            if index < seen.index || epoch < seen.epoch {
                let (index_before, epoch_before) = (seen.index, seen.epoch);
                seen.steps_back.push(format!(
                    "{url}: index {index} after {index_before}, epoch {epoch} after {epoch_before}"
                ));
            }
            seen.index = seen.index.max(index);
            seen.epoch = seen.epoch.max(epoch);
        }
        sleep(Duration::from_millis(3)).await;
    }
    seen
}

/// Index and epoch of a local read, if it is answered.
async fn epoch_of(client: &Client, url: &str) -> Option<(u64, u64)> {
    let answer = client.get(format!("{url}/api/v3/epoch")).send().await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    let index = answer.headers()["quorate-index"].to_str().ok()?.parse().ok()?;
    Some((index, answer.text().await.ok()?.parse().ok()?))
}
