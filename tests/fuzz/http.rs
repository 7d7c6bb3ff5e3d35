//! Requests of each family, given to the real client port over a real replica.
//!
//! An input is one request or several, separated by a line `%%`: a line `METHOD /path`, headers,
//! an empty line, the body. Whatever it says, there is an answer in the family's shape within the
//! deadline; what is refused has changed nothing; what is only read has changed nothing; and the
//! state comes back from its own records.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header::CONTENT_TYPE},
};
use futures::future::BoxFuture;
use quorate::{
    api::{self, App},
    broker::{
        Broker, Foundation,
        engine::{Config, LevelConfig, PeerConfig, SnapshotPolicy, Timers},
    },
    client::node_call::{NodeAccess, NodeCall, NodeError},
    domain::{Record, RecordError, State},
    observe::kvrocks::Observatory,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

/// Most requests of an input.
const REQUESTS_MAX: usize = 8;
/// Longest time for an answer; most requests have 3 s themselves.
const PATIENCE: Duration = Duration::from_secs(15);
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A replica is used for so many requests that changed something, then there is a new one.
const CHANGES_MAX: usize = 400;

pub fn undermoon(input: &[u8]) {
    play(&["/api/v2/", "/api/v3/"], input);
}

pub fn kvrocks(input: &[u8]) {
    play(&["/api/v1/", "/quorate/v1/kvrocks/"], input);
}

pub fn cello(input: &[u8]) {
    play(&["/v2/", "/api/", "/quorate/v1/pool/"], input);
}

pub fn admin(input: &[u8]) {
    play(&["/"], input);
}

fn play(doors: &[&str], input: &[u8]) {
    static STAGE: OnceLock<Mutex<Option<Stage>>> = OnceLock::new();
    let mut stage =
        STAGE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let stage = stage.get_or_insert_with(Stage::new);
    for request in requests(input).into_iter().take(REQUESTS_MAX) {
        let path = request.uri().path();
        if doors.iter().any(|door| path.starts_with(door)) && stays_here(request.method(), path) {
            stage.ask(request);
        }
    }
    if stage.changes.len() > CHANGES_MAX {
        stage.renew();
    }
}

/// Whether a request concerns this replica alone. The others would have it connect to addresses
/// that the input made up, wait for loops that do not run here, or end what is tested here.
fn stays_here(method: &Method, path: &str) -> bool {
    let path = unescape(path).to_lowercase();
    let leaves = ["recovery", "migrations/auto", "members", "transfer", "backup"];
    let waits = path.contains("/events") || path.ends_with("/sync");
    !waits && (method == Method::GET || !leaves.iter().any(|word| path.contains(word)))
}

fn unescape(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (bytes, rest) = match (first, code) {
            (b'%', Some(code)) => ([&bytes[..], &[code]].concat(), &after[2..]),
            _ => ([&bytes[..], &[*first]].concat(), after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The requests of an input, as far as they are requests.
fn requests(input: &[u8]) -> Vec<Request<Body>> {
    let mut parts = vec![Vec::new()];
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        match line {
            b"%%\n" => parts.push(Vec::new()),
            line => parts.last_mut().expect("never empty").extend_from_slice(line),
        }
    }
    parts.iter().filter_map(|part| request(part)).collect()
}

fn request(part: &[u8]) -> Option<Request<Body>> {
    let mut rest = part;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    };
    let first = str::from_utf8(line()).ok()?;
    let (method, uri) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(uri);
    loop {
        let header = line();
        if header.is_empty() {
            break;
        }
        let colon = header.iter().position(|byte| *byte == b':')?;
        request = request.header(&header[..colon], header[colon + 1..].trim_ascii());
    }
    request.body(Body::from(rest.to_vec())).ok()
}

/// A replica of its own cluster, and what was asked of it.
struct Stage {
    runtime: Runtime,
    broker: Broker,
    app: App,
    _dir: TempDir,
    /// Requests that changed something, for whoever must repeat what went wrong.
    changes: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        let dir = TempDir::with_prefix("quorate-fuzz-").expect("a directory");
        let (broker, app) = runtime.block_on(start(&dir));
        Self { runtime, broker, app, _dir: dir, changes: Vec::new() }
    }

    fn renew(&mut self) {
        self.runtime.block_on(self.broker.shutdown(Duration::from_secs(1)));
        let dir = TempDir::with_prefix("quorate-fuzz-").expect("a directory");
        let (broker, app) = self.runtime.block_on(start(&dir));
        (self.broker, self.app, self._dir) = (broker, app, dir);
        self.changes.clear();
    }

    fn ask(&mut self, request: Request<Body>) {
        let method = request.method().clone();
        let line = format!("{method} {}", request.uri());
        let before = self.broker.latest();
        let index = before.position().index;
        let records: Vec<Record> = of_families(&before);
        let app = self.app.clone();
        let (head, body) = self.runtime.block_on(async {
            let answer = async {
                let response = app.answer(request).await;
                let (head, body) = response.into_parts();
                (head, to_bytes(body, ANSWER_BYTES_MAX).await.expect("a whole answer"))
            };
            timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer: {line}"))
        });
        let about = || {
            let body = String::from_utf8_lossy(&body);
            format!("{line}: {} {body}; after {:#?}", head.status, self.changes)
        };
        assert!(head.headers.contains_key("quorate-index"), "no position: {}", about());
        if head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
            let is_head = method == Method::HEAD && body.is_empty();
            let parsed = serde_json::from_slice::<Value>(&body);
            assert!(is_head || parsed.is_ok(), "no JSON: {}", about());
        }
        let is_fault =
            head.status.is_server_error() && head.status != StatusCode::SERVICE_UNAVAILABLE;
        assert!(!is_fault || is_promised(&line, &body), "a fault: {}", about());
        let after = self.broker.latest();
        let is_refused = !head.status.is_success();
        if is_refused {
            assert!(of_families(&after) == records, "refused and changed: {}", about());
        }
        let is_read = method == Method::GET && !line.contains("cluster_");
        assert!(!is_read || after.position().index == index, "read and changed: {}", about());
        if !is_refused && after.position().index != index {
            let records: Vec<Record> = after.records().collect();
            let again = State::from_records(records.iter().cloned().map(Ok::<_, RecordError>));
            let again: Vec<Record> = again.expect("its own records").records().collect();
            assert!(again == records, "the state does not come back: {}", about());
            self.changes.push(line);
        }
    }
}

/// What the documents promise to answer with 500: a node that could not be reached.
fn is_promised(line: &str, body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body);
    line.contains("/namespaces/") && body.contains("cannot be reached")
}

/// The records of what clients ask for. Who asked for what is written down whatever came of it, and
/// so is that a password came unsealed; a refusal of undermoon may raise the epoch.
fn of_families(state: &State) -> Vec<Record> {
    let is_kept = |record: &Record| {
        matches!(record, Record::Kvrocks(_) | Record::Cello(_) | Record::Token(_))
    };
    let mut state = state.clone();
    state.kvrocks.note_bare(0);
    state.records().filter(is_kept).collect()
}

/// No address an input names is ever connected to.
struct NoNodes;

impl NodeCall for NoNodes {
    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        _commands: &'a [&'a [&'a str]],
        _time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        let refused = NodeError::Connect { addr: node.addr.to_owned(), source };
        Box::pin(async { Err(refused) })
    }
}

async fn start(dir: &TempDir) -> (Broker, App) {
    let peer_addr = "127.0.0.1:0".to_owned();
    let config = Config {
        replica_id: 1,
        cluster_token: "fuzz".to_owned(),
        peers: vec![PeerConfig {
            id: 1,
            peer_addr: peer_addr.clone(),
            client_url: "http://127.0.0.1:1".to_owned(),
        }],
        join: None,
        promote_after: Duration::from_secs(5),
        data_dir: dir.path().join("replica"),
        peer_listen: peer_addr,
        peer_tls: None,
        timers: Timers { heartbeat_ms: 20, election_min_ms: 50, election_max_ms: 100 },
        proposals_in_flight_max: 256,
        proposal_bytes_in_flight_max: 16 * 1024 * 1024,
        snapshot: SnapshotPolicy::default(),
        wall_clock_ms: quorate::clock::now_ms,
        levels: LevelConfig::default(),
        digest_interval: Duration::from_secs(10),
        unsafe_leader_restore: false,
    };
    let broker = Broker::start(config, Foundation::default()).await.expect("starts");
    let founded = async {
        while !broker.is_founded() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, founded).await.expect("a cluster of one founds itself");
    let kvrocks = api::kvrocks::Settings {
        observatory: Arc::new(Observatory::new(Arc::new(NoNodes))),
        ..api::kvrocks::Settings::default()
    };
    let cello =
        api::cello::Settings { doors: api::cello::Doors::All, ..api::cello::Settings::default() };
    let settings = api::Settings { kvrocks, cello, ..api::Settings::default() };
    let app = App::new(broker.clone(), settings);
    (broker, app)
}
