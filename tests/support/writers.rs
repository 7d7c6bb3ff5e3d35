//! Clients that write through every replica and keep a record of what was acknowledged.
//!
//! A write is either a new proxy (there afterwards, or lost) or a change of a cluster's
//! configuration (raises the epoch by one each time it is applied, so that a write that was
//! applied twice shows). Every write carries an idempotency key and is repeated under that key
//! until it is acknowledged.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};

/// The cluster whose configuration is changed.
pub const CLUSTER: &str = "written";
/// How long a writer waits for one answer before it asks another replica.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);

/// What one writer got acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Proxies that were registered.
    pub proxies: Vec<String>,
    /// Changes of the configuration.
    pub changes: u64,
    /// Answers other than success, and calls without an answer, before a write was acknowledged.
    pub repeats: u64,
    /// Longest time from the first call of a write to its acknowledgement.
    pub slowest: Duration,
    /// When the write that took longest began.
    pub slowest_begun: Option<Instant>,
}

/// Writers at work.
pub struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    urls: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<Record>>,
}

impl Writers {
    /// Sets `count` writers to work; each begins at another replica.
    pub fn start(count: u64, urls: &[String]) -> Self {
        Self::start_with(count, urls, "w")
    }

    /// As [`Writers::start`], with names that begin in a way no other writers' do.
    pub fn start_with(count: u64, urls: &[String], prefix: &str) -> Self {
        Self::start_all(count, urls, prefix, &client)
    }

    /// As [`Writers::start`], but a writer waits for an answer longer than a replica takes for one.
    pub fn start_patient(count: u64, urls: &[String]) -> Self {
        let patient = || Client::builder().no_proxy().timeout(ANSWER_LIMIT * 4);
        Self::start_all(count, urls, "w", &|| patient().build().expect("a client"))
    }

    fn start_all(count: u64, urls: &[String], prefix: &str, client: &dyn Fn() -> Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let urls = Arc::new(Mutex::new(urls.to_vec()));
        let tasks = (0..count)
            .map(|number| {
                let writer = Writer {
                    number,
                    prefix: prefix.to_owned(),
                    urls: urls.clone(),
                    stop: stop.clone(),
                    acknowledged: acknowledged.clone(),
                    client: client(),
                };
                tokio::spawn(writer.run())
            })
            .collect();
        Self { stop, acknowledged, urls, tasks }
    }

    /// From now on the writers ask these replicas.
    pub fn follow(&self, urls: &[String]) {
        urls.clone_into(&mut self.urls.lock().expect("not poisoned"));
    }

    /// Writes acknowledged so far, by all writers.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `more` further writes were acknowledged.
    pub async fn wait_for(&self, more: u64, limit: Duration) {
        let wanted = self.acknowledged() + more;
        let deadline = Instant::now() + limit;
        while self.acknowledged() < wanted {
            assert!(Instant::now() < deadline, "no {more} writes within {limit:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the writers where they are; what they wrote last may be acknowledged or not.
    pub fn abandon(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    /// Ends the writers once each has its last write acknowledged.
    pub async fn finish(self) -> Vec<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let mut records = Vec::new();
        for task in self.tasks {
            records.push(task.await.expect("a writer ends well"));
        }
        records
    }
}

struct Writer {
    number: u64,
    prefix: String,
    urls: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    client: Client,
}

impl Writer {
    async fn run(self) -> Record {
        let mut record = Record::default();
        let mut turn = self.number;
        for write in 0_u64.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let proxy = format!("{}{}-{write}:6000", self.prefix, self.number);
            while !self.attempt(turn, write, &proxy).await {
                record.repeats += 1;
                turn += 1;
                sleep(Duration::from_millis(10)).await;
            }
            if begun.elapsed() > record.slowest {
                record.slowest = begun.elapsed();
                record.slowest_begun = Some(begun);
            }
            if write.is_multiple_of(2) {
                record.proxies.push(proxy);
            } else {
                record.changes += 1;
            }
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            turn += 1;
        }
        record
    }

    async fn attempt(&self, turn: u64, write: u64, proxy: &str) -> bool {
        let base = {
            let urls = self.urls.lock().expect("not poisoned");
            let place = usize::try_from(turn).expect("a small number") % urls.len();
            format!("{}/api/v3", urls[place])
        };
        let request = if write.is_multiple_of(2) {
            register(&self.client, &base, proxy)
        } else {
            change(&self.client, &base, 1 + write % 100)
        };
        let key = format!("{}{}-{write}", self.prefix, self.number);
        let answer = request.header("Idempotency-Key", key).send().await;
        match answer {
            Ok(response) if response.status() == StatusCode::OK => true,
            Ok(response) => {
                let status = response.status();
                let text = response.text().await.unwrap_or_default();
                // Anything else would be a wrong answer to a write that is always in order.
                let is_about_the_log = status == StatusCode::SERVICE_UNAVAILABLE
                    || (status == StatusCode::CONFLICT && text.contains("RETRY"))
                    || status == StatusCode::GATEWAY_TIMEOUT;
                assert!(is_about_the_log, "write {write} of {}: {status} {text}", self.number);
                false
            }
            Err(_) => false,
        }
    }
}

/// A client that asks another replica rather than wait.
pub fn client() -> Client {
    Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_millis(300))
        .timeout(ANSWER_LIMIT)
        .build()
        .expect("a client")
}

/// Registers a proxy on a host of its own.
pub fn register(client: &Client, base: &str, proxy: &str) -> RequestBuilder {
    let host = proxy.split(':').next().unwrap_or(proxy);
    client.post(format!("{base}/proxies/meta")).json(&json!({
        "proxy_address": proxy,
        "nodes": [format!("{host}:7001"), format!("{host}:7002")],
    }))
}

/// Changes the configuration of the cluster that [`prepare`] made.
pub fn change(client: &Client, base: &str, scan_count: u64) -> RequestBuilder {
    client
        .patch(format!("{base}/clusters/config/{CLUSTER}"))
        .json(&json!({ "migration_scan_count": scan_count.to_string() }))
}

/// Makes the cluster that the writers change; returns the epoch afterwards.
pub async fn prepare(url: &str) -> u64 {
    let client = client();
    let base = format!("{url}/api/v3");
    for proxy in ["base1:6000", "base2:6000"] {
        let answer = register(&client, &base, proxy).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "register {proxy}");
    }
    let create = client.post(format!("{base}/clusters/meta/{CLUSTER}"));
    let answer = create.json(&json!({ "node_number": 4 })).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK, "create the cluster");
    epoch(&client, url).await
}

/// The global epoch, linearizable.
pub async fn epoch(client: &Client, url: &str) -> u64 {
    let request = client.get(format!("{url}/api/v3/epoch"));
    let answer = request.header("Quorate-Consistency", "linearizable").send().await;
    let text = answer.expect("an answer").text().await.expect("a body");
    text.parse().expect("an epoch")
}
