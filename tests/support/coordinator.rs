//! A stand-in coordinator, after section 8 of the undermoon specification: four loops, pages of a
//! hundred until an empty one, each request to the next address of the list, no time limits over
//! HTTP, and the original's reading of every answer.

use std::{
    collections::BTreeSet,
    future::Future,
    io::Read,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::resp::{Connection, Reply};

/// Names or addresses in a page.
const PAGE: usize = 100;
/// Tries before a proxy counts as failed.
const PINGS: usize = 3;

/// One coordinator; its loops end with it.
pub struct Coordinator {
    loops: JoinSet<()>,
    inners: Vec<Arc<Inner>>,
}

/// How the rounds of a loop went.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// Rounds in which every call of the broker was answered as it should be.
    pub good: u64,
    /// Calls that were not answered, or with something else than the original expects.
    pub faults: Vec<String>,
    /// Longest time from the end of a good round to the end of the next one.
    pub longest: Duration,
    last: Instant,
}

/// One loop.
struct Inner {
    rounds: Mutex<Rounds>,
    reporter: String,
    /// `enable_compression` of the original.
    is_compressing: bool,
    urls: Vec<String>,
    client: Client,
    interval: Duration,
    /// One counter for reads and reports, one for failover and commit.
    reads: Arc<AtomicUsize>,
    changes: Arc<AtomicUsize>,
}

impl Coordinator {
    /// Starts a coordinator over all addresses; each loop sleeps `interval` after a round.
    pub fn start(reporter: &str, urls: &[String], interval: Duration) -> Self {
        Self::start_with(reporter, urls, interval, false)
    }

    /// As [`Coordinator::start`], and asks for compressed metadata.
    pub fn start_compressing(reporter: &str, urls: &[String], interval: Duration) -> Self {
        Self::start_with(reporter, urls, interval, true)
    }

    fn start_with(
        reporter: &str,
        urls: &[String],
        interval: Duration,
        is_compressing: bool,
    ) -> Self {
        let (reads, changes) = (Arc::default(), Arc::default());
        // Neither connecting nor answering is bounded, as in the original.
        let client = Client::builder().no_proxy().build().expect("a client");
        let inner = || {
            let rounds = Rounds {
                good: 0,
                faults: Vec::new(),
                longest: Duration::ZERO,
                last: Instant::now(),
            };
            Arc::new(Inner {
                rounds: Mutex::new(rounds),
                reporter: reporter.to_owned(),
                is_compressing,
                urls: urls.to_vec(),
                client: client.clone(),
                interval,
                reads: Arc::clone(&reads),
                changes: Arc::clone(&changes),
            })
        };
        let inners = vec![inner(), inner(), inner(), inner()];
        let mut loops = JoinSet::new();
        loops.spawn(inners[0].clone().repeat(Inner::detect));
        loops.spawn(inners[1].clone().repeat(Inner::sync_metadata));
        loops.spawn(inners[2].clone().repeat(Inner::sync_migrations));
        loops.spawn(inners[3].clone().repeat(Inner::handle_failures));
        Self { loops, inners }
    }

    /// How the rounds of each loop have gone so far.
    pub fn rounds(&self) -> Vec<Rounds> {
        self.inners.iter().map(|inner| inner.rounds().clone()).collect()
    }

    /// Whether a loop has ended by itself, which none does.
    pub fn has_died(&mut self) -> bool {
        self.loops.try_join_next().is_some()
    }
}

impl Inner {
    async fn repeat<F: Future<Output = ()>>(self: Arc<Self>, round: impl Fn(Arc<Self>) -> F) {
        loop {
            let before = self.rounds().faults.len();
            round(self.clone()).await;
            self.end_round(before);
            sleep(self.interval).await;
        }
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_round(&self, faults_before: usize) {
        let mut rounds = self.rounds();
        let now = Instant::now();
        rounds.longest = rounds.longest.max(now - rounds.last);
        if rounds.faults.len() == faults_before {
            rounds.good += 1;
            rounds.last = now;
        }
    }

    /// Pings every proxy that has not failed, and reports those that do not answer.
    async fn detect(self: Arc<Self>) {
        let failed = self.failed().await;
        for address in self.pages("proxies/addresses", "addresses").await {
            if failed.contains(&address) || answers(&address).await {
                continue;
            }
            let path = format!("failures/{address}/{}", self.reporter);
            drop(self.call(&self.reads, Method::POST, &path, None).await);
        }
    }

    /// Pushes to every proxy what the broker says it should be.
    async fn sync_metadata(self: Arc<Self>) {
        for name in self.pages("clusters/names", "names").await {
            drop(self.get(&format!("clusters/meta/{name}")).await);
        }
        let failed = self.failed().await;
        let mut metas = Vec::new();
        for address in self.pages("proxies/addresses", "addresses").await {
            let Some(meta) = self.proxy(&address).await else {
                continue;
            };
            let is_free = meta["cluster_name"].is_null();
            if !(is_free && failed.contains(&address)) {
                metas.push((rank(&meta), address, meta));
            }
        }
        // Importing proxies first, then empty ones, then the rest, then the free ones.
        metas.sort_by_key(|(rank, _, _)| *rank);
        for (_, address, meta) in metas {
            push(&address, &meta).await;
        }
    }

    /// Commits what the proxies have finished, and tells both ends at once.
    async fn sync_migrations(self: Arc<Self>) {
        let failed = self.failed().await;
        for address in self.pages("proxies/addresses", "addresses").await {
            if failed.contains(&address) {
                continue;
            }
            let Ok(Reply::Texts(tasks)) = Connection::ask(&address, &["UMCTL", "INFOMGR"]).await
            else {
                continue;
            };
            for task in tasks {
                self.commit(&task).await;
            }
        }
    }

    async fn commit(&self, task: &str) {
        let task: Value = serde_json::from_str(task).expect("the stand-in proxies speak JSON");
        let answer =
            self.call(&self.changes, Method::PUT, "clusters/migrations", Some(&task)).await;
        let is_done = answer
            .is_some_and(|(status, _)| status.is_success() || status == StatusCode::NOT_FOUND);
        if !is_done {
            return;
        }
        let tag = &task["slot_range"]["tag"];
        let meta = tag.get("Migrating").or_else(|| tag.get("Importing"));
        for end in ["dst_proxy_address", "src_proxy_address"] {
            let address = meta.and_then(|meta| meta[end].as_str()).unwrap_or_default();
            if let Some(meta) = self.proxy(address).await {
                push(address, &meta).await;
            }
        }
    }

    /// Asks for the failover of everything the broker lists.
    async fn handle_failures(self: Arc<Self>) {
        let listed = self.get("failures").await;
        for address in texts(listed.as_ref(), "addresses") {
            let path = format!("proxies/failover/{address}");
            drop(self.call(&self.changes, Method::POST, &path, None).await);
        }
    }

    async fn failed(&self) -> BTreeSet<String> {
        let listed = self.get("proxies/failed/addresses").await;
        texts(listed.as_ref(), "addresses").into_iter().collect()
    }

    async fn proxy(&self, address: &str) -> Option<Value> {
        let answer = self.get(&format!("proxies/meta/{address}")).await?;
        answer.get("proxy").filter(|proxy| !proxy.is_null()).cloned()
    }

    /// Pages until an empty one; what has been read is used if one fails.
    async fn pages(&self, path: &str, member: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let page = self.get(&format!("{path}?offset={}&limit={PAGE}", all.len())).await;
            let page = texts(page.as_ref(), member);
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// The status of a GET is not looked at, only its body.
    async fn get(&self, path: &str) -> Option<Value> {
        let (_, body) = self.call(&self.reads, Method::GET, path, None).await?;
        serde_json::from_str(&body).ok()
    }

    /// One request; whatever the original would log as an error is noted as a fault.
    async fn call(
        &self,
        counter: &AtomicUsize,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(StatusCode, String)> {
        let begun = Instant::now();
        let answer = self.send(counter, method.clone(), path, body).await;
        let is_good = answer.as_ref().is_some_and(|(status, text)| {
            let is_known = status.is_success() || *status == StatusCode::NOT_FOUND;
            is_known && (method != Method::GET || serde_json::from_str::<Value>(text).is_ok())
        });
        if !is_good {
            let fault = format!("{method} {path} after {:?}: {answer:?}", begun.elapsed());
            self.rounds().faults.push(fault);
        }
        answer
    }

    async fn send(
        &self,
        counter: &AtomicUsize,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(StatusCode, String)> {
        let turn = counter.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}/api/v3/{path}", self.urls[turn % self.urls.len()]);
        // Metadata plain, everything else compressed if the broker likes, as the original.
        let is_meta = path.starts_with("clusters/meta/") || path.starts_with("proxies/meta/");
        let coding = if is_meta && !self.is_compressing { "identity" } else { "gzip" };
        let mut request = self.client.request(method, url).header(header::ACCEPT_ENCODING, coding);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let is_gzip = answer.headers().get(header::CONTENT_ENCODING).is_some_and(|c| c == "gzip");
        let body = answer.bytes().await.ok()?;
        let mut text = String::new();
        let read = if is_gzip {
            GzDecoder::new(&body[..]).read_to_string(&mut text)
        } else {
            (&body[..]).read_to_string(&mut text)
        };
        read.ok().map(|_| (status, text))
    }
}

fn texts(answer: Option<&Value>, member: &str) -> Vec<String> {
    let list = answer.and_then(|answer| answer[member].as_array());
    list.into_iter().flatten().filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect()
}

async fn answers(address: &str) -> bool {
    for _ in 0..PINGS {
        if Connection::ask(address, &["PING"]).await.is_ok() {
            return true;
        }
    }
    false
}

async fn push(address: &str, meta: &Value) {
    let (epoch, meta) = (meta["epoch"].to_string(), meta.to_string());
    let repl = ["UMCTL", "SETREPL", &epoch, "NOFLAG", &meta];
    let cluster = ["UMCTL", "SETCLUSTER", "v2", &epoch, "NOFLAG", &meta];
    // A refusal for an old epoch counts as success; a dead proxy is somebody else's affair.
    for command in [&repl[..], &cluster[..]] {
        drop(Connection::ask(address, command).await);
    }
}

fn rank(meta: &Value) -> u8 {
    if meta["cluster_name"].is_null() {
        return 3;
    }
    let nodes = meta["nodes"].as_array().into_iter().flatten();
    let slots: Vec<&Value> =
        nodes.flat_map(|node| node["slots"].as_array().into_iter().flatten()).collect();
    if slots.iter().any(|range| range["tag"].get("Importing").is_some()) {
        return 0;
    }
    if slots.is_empty() { 1 } else { 2 }
}

/// What an operator sends: to the next address until one of them takes it.
pub struct Operator {
    client: Client,
    urls: Vec<String>,
    sent: usize,
}

impl Operator {
    /// An operator who knows all addresses.
    pub fn new(urls: &[String]) -> Self {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(4));
        Self { client: client.build().expect("a client"), urls: urls.to_vec(), sent: 0 }
    }

    /// Sends a change under one idempotency key until it is answered; panics unless it succeeds.
    pub async fn change(&mut self, method: Method, path: &str, body: Value) {
        self.sent += 1;
        let key = format!("operator-{}", self.sent);
        for turn in 0..200 {
            let url = format!("{}/api/v3/{path}", self.urls[turn % self.urls.len()]);
            let request = self.client.request(method.clone(), url).header("Idempotency-Key", &key);
            let answer = if body.is_null() { request } else { request.json(&body) }.send().await;
            if let Ok(answer) = answer {
                let status = answer.status();
                let text = answer.text().await.unwrap_or_default();
                let is_unsettled = text.contains("RETRY") || status.is_server_error();
                assert!(status.is_success() || is_unsettled, "{method} {path}: {status} {text}");
                if status.is_success() {
                    return;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{method} {path} was not taken");
    }

    /// A linearizable read from whichever replica answers.
    pub async fn read(&self, path: &str) -> Value {
        for turn in 0..200 {
            let url = format!("{}/api/v3/{path}", self.urls[turn % self.urls.len()]);
            let request = self.client.get(url).header("Quorate-Consistency", "linearizable");
            if let Ok(answer) = request.header("Accept-Encoding", "identity").send().await
                && answer.status().is_success()
                && let Ok(value) = answer.json().await
            {
                return value;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} cannot be read");
    }

    /// Registers a proxy with two nodes on a host.
    pub async fn register(&mut self, address: &str, host: &str) {
        let nodes = [format!("{address}1"), format!("{address}2")];
        let body = json!({ "proxy_address": address, "nodes": nodes, "host": host });
        self.change(Method::POST, "proxies/meta", body).await;
    }
}
