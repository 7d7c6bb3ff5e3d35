//! Clients of all three families at work, each through every replica, all in one history.
//!
//! Registers are the migration settings of undermoon clusters and one setting of the pool; the
//! set are the namespaces of the Kvrocks family. Values are never repeated. Elements of the set
//! live for a short while, so that a history about one of them stays short.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use super::{
    history::{Call, History, Mode, Op, Outcome},
    plan::Dice,
};
use crate::support::{cluster::Cluster, compare};

/// Registers that are undermoon clusters.
const CLUSTERS: u64 = 4;
/// The register that is a setting of the pool.
const POOL: &str = "pool";
/// Values begin above any default, and stay below the bounds of the settings.
const FIRST_VALUE: u64 = 100_000;
/// How long an element of the set is in use.
const ELEMENT_LIFE_NS: u64 = 1_000_000_000;
/// Elements in use at a time.
const ELEMENTS: u64 = 3;
/// How long a client waits for one answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);
/// How often a client repeats a request whose outcome is unknown, if it repeats at all.
const REPEATS_MAX: u32 = 20;
/// Pause between two requests of one client.
const PAUSE: Duration = Duration::from_millis(4);

/// Clients at work.
pub struct Load {
    /// What they did.
    pub history: Arc<History>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Makes what the clients change, and waits until every replica has it.
pub async fn prepare(cluster: &Cluster) {
    let client = client();
    let url = &cluster.urls()[0];
    for number in 0..CLUSTERS {
        for half in 0..2 {
            let host = format!("base{number}-{half}");
            let nodes = json!([format!("{host}:7001"), format!("{host}:7002")]);
            let body = json!({ "proxy_address": format!("{host}:6000"), "nodes": nodes });
            must(client.post(format!("{url}/api/v3/proxies/meta")).json(&body)).await;
        }
        let create = client.post(format!("{url}/api/v3/clusters/meta/reg{number}"));
        must(create.json(&json!({ "node_number": 4 }))).await;
        must(register_write(&client, url, &format!("reg{number}"), number + 1)).await;
    }
    must(register_write(&client, url, POOL, 1_000)).await;
    if let Err(difference) = compare::digests(cluster).await {
        cluster.fail(&difference);
    }
}

/// The value of a register before the first write of a client.
pub fn initial(register: &str) -> u64 {
    register.strip_prefix("reg").map_or(1_000, |number| 1 + number.parse::<u64>().expect("digits"))
}

async fn must(request: RequestBuilder) {
    let answer = request.timeout(ANSWER_LIMIT * 4).send().await.expect("an answer");
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    assert!(status.is_success(), "{status} {text}");
}

impl Load {
    /// Sets clients to work: writers that also read, and a reader for each replica.
    pub fn start(writers: u64, urls: &[(u64, String)], seed: u64) -> Self {
        let history = Arc::new(History::default());
        let stop = Arc::new(AtomicBool::new(false));
        let values = Arc::new(AtomicU64::new(FIRST_VALUE));
        let readers = urls.len() as u64;
        let tasks = (0..writers + readers).map(|number| {
            let reads_from = number.checked_sub(writers);
            let client = Worker {
                number,
                reads_from: reads_from.map(|place| usize::try_from(place).expect("a small number")),
                // Every other client repeats what it does not know, under the same request id.
                repeats: number.is_multiple_of(2),
                urls: urls.to_vec(),
                dice: Dice::new(seed.wrapping_mul(1_000_003) + number),
                history: history.clone(),
                stop: stop.clone(),
                values: values.clone(),
                client: client(),
                asked: 0,
                last_index: 0,
            };
            tokio::spawn(client.run())
        });
        let tasks = tasks.collect();
        Self { history, stop, tasks }
    }

    /// Waits until so many further changes were acknowledged; false if the time is over first.
    pub async fn wait_for(&self, more: u64, limit: Duration) -> bool {
        let wanted = self.history.acknowledged() + more;
        let deadline = tokio::time::Instant::now() + limit;
        while self.history.acknowledged() < wanted {
            if tokio::time::Instant::now() > deadline {
                return false;
            }
            sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// Ends the clients once each has its last answer, and reads everything they changed once
    /// more through every replica. Returns the whole history.
    pub async fn finish(self, urls: &[(u64, String)]) -> Vec<Op> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a client ends well");
        }
        let mut objects: Vec<Call> = Vec::new();
        for op in self.history.ops() {
            let read = match op.call {
                Call::Write(name, _) | Call::Read(name) => Call::Read(name),
                Call::Add(name) | Call::Remove(name) | Call::Has(name) => Call::Has(name),
            };
            if !objects.contains(&read) {
                objects.push(read);
            }
        }
        let client = Client::builder().no_proxy().build().expect("a client");
        for (place, call) in objects.into_iter().enumerate() {
            let (replica, url) = &urls[place % urls.len()];
            let request = request(&client, url, &call).timeout(ANSWER_LIMIT * 4);
            let request = request.header("Quorate-Consistency", "linearizable");
            let invoked = self.history.now();
            let (outcome, index) = sent(request, &call).await;
            assert!(
                matches!(outcome, Outcome::Value(_) | Outcome::Flag(_)),
                "replica {replica} does not answer in the end: {outcome:?}"
            );
            self.history.record(Op {
                client: u64::MAX,
                replica: *replica,
                call,
                mode: Mode::Linearizable,
                invoked,
                returned: self.history.now(),
                outcome,
                index,
                min_index: 0,
                attempts: 1,
            });
        }
        self.history.ops()
    }
}

fn client() -> Client {
    let builder = Client::builder().no_proxy().connect_timeout(Duration::from_millis(300));
    builder.timeout(ANSWER_LIMIT).build().expect("a client")
}

/// One client.
struct Worker {
    number: u64,
    /// The only replica it reads from, if it only reads.
    reads_from: Option<usize>,
    repeats: bool,
    urls: Vec<(u64, String)>,
    dice: Dice,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    values: Arc<AtomicU64>,
    client: Client,
    asked: u64,
    /// Index of its last acknowledged change.
    last_index: u64,
}

impl Worker {
    async fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let (call, mode) = self.choose();
            let mut place = match self.reads_from {
                Some(place) => place,
                None => self.dice.below(self.urls.len() as u64) as usize,
            };
            self.asked += 1;
            let key = format!("c{}-{}", self.number, self.asked);
            let invoked = self.history.now();
            // Half of the local reads ask for the client's last write, wherever they go.
            let wants_own = mode == Mode::Local && self.dice.below(2) == 0;
            let min_index = if wants_own { self.last_index } else { 0 };
            let mut attempts = 0;
            let (outcome, index) = loop {
                attempts += 1;
                let request = request(&self.client, &self.urls[place].1, &call);
                let request = match mode {
                    Mode::Local if min_index > 0 => request.header("Quorate-Min-Index", min_index),
                    Mode::Local => request,
                    Mode::Linearizable => request.header("Quorate-Consistency", "linearizable"),
                };
                let request = request.header("Idempotency-Key", &key);
                let (outcome, index) = sent(request, &call).await;
                let is_write = matches!(call, Call::Write(..) | Call::Add(_) | Call::Remove(_));
                let is_open = matches!(outcome, Outcome::Unknown(_))
                    || (attempts > 1 && matches!(outcome, Outcome::NotDone(_)));
                if !is_open {
                    break (outcome, index);
                }
                if !self.repeats || !is_write || attempts > REPEATS_MAX {
                    // What an earlier attempt may have done, a later refusal does not undo.
                    break (Outcome::Unknown(format!("{outcome:?}")), None);
                }
                place = (place + 1) % self.urls.len();
                sleep(Duration::from_millis(10)).await;
            };
            let op = Op {
                client: self.number,
                replica: self.urls[place].0,
                call,
                mode,
                invoked,
                returned: self.history.now(),
                outcome,
                index,
                min_index,
                attempts,
            };
            if op.is_acknowledged_write() {
                self.last_index = op.index.unwrap_or(self.last_index);
            }
            self.history.record(op);
            sleep(PAUSE).await;
        }
    }

    fn choose(&mut self) -> (Call, Mode) {
        let register = match self.dice.below(CLUSTERS + 1) {
            CLUSTERS => POOL.to_owned(),
            number => format!("reg{number}"),
        };
        let now = self.history.now() / ELEMENT_LIFE_NS;
        let element = format!("e{now}-{}", self.dice.below(ELEMENTS));
        if self.reads_from.is_some() {
            let mode = if self.dice.below(4) == 0 { Mode::Linearizable } else { Mode::Local };
            return match self.dice.below(4) {
                0 => (Call::Has(element), mode),
                _ => (Call::Read(register), mode),
            };
        }
        match self.dice.below(10) {
            0..=3 => {
                let value = self.values.fetch_add(1, Ordering::Relaxed);
                (Call::Write(register, value), Mode::Linearizable)
            }
            4 => (Call::Add(element), Mode::Linearizable),
            5 => (Call::Remove(element), Mode::Linearizable),
            6 => (Call::Has(element), Mode::Linearizable),
            7 => (Call::Read(register), Mode::Local),
            _ => (Call::Read(register), Mode::Linearizable),
        }
    }
}

fn register_write(client: &Client, url: &str, register: &str, value: u64) -> RequestBuilder {
    if register == POOL {
        let request = client.put(format!("{url}/quorate/v1/pool/settings"));
        return request.json(&json!({ "port_blocked_ms": value }));
    }
    let request = client.patch(format!("{url}/api/v3/clusters/config/{register}"));
    request.json(&json!({ "migration_scan_count": value.to_string() }))
}

fn request(client: &Client, url: &str, call: &Call) -> RequestBuilder {
    let namespaces = format!("{url}/api/v1/namespaces");
    match call {
        Call::Write(register, value) => register_write(client, url, register, *value),
        Call::Read(register) if register == POOL => {
            client.get(format!("{url}/quorate/v1/pool/settings"))
        }
        Call::Read(register) => client.get(format!("{url}/api/v3/clusters/meta/{register}")),
        Call::Add(element) => client.post(namespaces).json(&json!({ "namespace": element })),
        Call::Remove(element) => client.request(Method::DELETE, format!("{namespaces}/{element}")),
        Call::Has(element) => client.get(format!("{namespaces}/{element}")),
    }
}

/// Sends a request; tells what came of it and where the answer stands.
async fn sent(request: RequestBuilder, call: &Call) -> (Outcome, Option<u64>) {
    let answer = match request.send().await {
        Ok(answer) => answer,
        // Nobody was there to take it.
        Err(error) if error.is_connect() => return (Outcome::NotDone(error.to_string()), None),
        Err(error) => return (Outcome::Unknown(format!("{error:?}")), None),
    };
    let status = answer.status();
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let index = header("quorate-index").and_then(|text| text.parse().ok());
    let may_be_repeated = header("retry-after").is_some();
    let body = match answer.text().await {
        Ok(body) => body,
        Err(error) => return (Outcome::Unknown(format!("{error:?}")), None),
    };
    let outcome = judged(status, may_be_repeated, &body, call);
    let index = index.filter(|_| !matches!(outcome, Outcome::NotDone(_) | Outcome::Unknown(_)));
    (outcome, index)
}

fn judged(status: StatusCode, may_be_repeated: bool, body: &str, call: &Call) -> Outcome {
    let said = || format!("{status} {body}");
    if body.contains("outcome unknown") || status == StatusCode::GATEWAY_TIMEOUT {
        return Outcome::Unknown(said());
    }
    if may_be_repeated {
        return Outcome::NotDone(said());
    }
    let value = |path: &str| {
        let json: Value = serde_json::from_str(body).ok()?;
        json.pointer(path)?.as_u64()
    };
    match (call, status.as_u16()) {
        (Call::Write(..), 200) => Outcome::Done,
        (Call::Read(register), 200) => {
            let path = match register.as_str() {
                POOL => "/data/port_blocked_ms",
                _ => "/cluster/config/migration_config/scan_count",
            };
            Outcome::Value(value(path).unwrap_or_else(|| panic!("no value in {body}")))
        }
        (Call::Add(_), 201) | (Call::Remove(_) | Call::Has(_), 200) => Outcome::Flag(true),
        (Call::Add(_), 409) | (Call::Remove(_) | Call::Has(_), 404) => Outcome::Flag(false),
        _ => panic!("a wrong answer to {call:?}: {}", said()),
    }
}
