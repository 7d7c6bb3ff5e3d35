//! A pool as it is operated: three replicas as processes, a Docker daemon of its own, and tiny
//! clusters.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    time::Duration,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::support::{
    cluster::Cluster,
    docker::{Docker, IMAGE, serving},
};

/// How long a state of affairs may take to come about before a test fails.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for an answer: an action on containers is answered when it is over.
const ANSWER_TIME: Duration = Duration::from_secs(70);
/// Where operators find everything.
pub const POOL: &str = "/quorate/v1/pool";
/// Marks what the pool has made.
pub const MANAGED: &str = "io.quorate.managed=true";
/// Ports of one cluster; the tiny ones publish the first.
pub const PORT_STEP: u16 = 10;
/// Blocks of ports that a test may need.
const BLOCKS: u16 = 24;
/// Port that the tiny image serves.
const INSIDE: u16 = 7050;

/// A client of all replicas; cheap to clone.
#[derive(Clone)]
pub struct Front {
    urls: Vec<String>,
    client: Client,
}

impl Front {
    fn new(urls: Vec<String>) -> Self {
        let client = Client::builder().no_proxy().timeout(ANSWER_TIME).build().unwrap();
        Self { urls, client }
    }

    /// Asks one replica, counted round; `None` if it does not answer.
    pub async fn try_ask(&self, at: usize, line: &str, body: &Value) -> Option<(u16, Value)> {
        let (method, path) = line.split_once(' ').unwrap();
        let url = format!("{}{path}", self.urls[at % self.urls.len()]);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, url);
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.ok()?))
    }

    /// The data of the first good answer of any replica.
    pub async fn given(&self, line: &str, body: &Value) -> Value {
        let until = Instant::now() + PATIENCE;
        for at in 0.. {
            let answer = self.try_ask(at, line, body).await;
            if let Some((200 | 201, answer)) = answer {
                return answer["data"].clone();
            }
            assert!(Instant::now() < until, "{line} {body}: {answer:?}");
            sleep(PAUSE).await;
        }
        unreachable!("replicas are counted round")
    }

    /// An action of a user through one replica.
    pub async fn act(&self, at: usize, action: &str, mut body: Value) -> Option<(u16, Value)> {
        body["action"] = json!(action);
        self.try_ask(at, "POST /v2/cluster_op", &body).await
    }

    /// Every cluster, as operators see it.
    pub async fn clusters(&self) -> Vec<Value> {
        let found = self.given(&format!("GET {POOL}/clusters"), &Value::Null).await;
        found.as_array().unwrap().clone()
    }

    /// A cluster, as operators see it; `None` if there is none.
    pub async fn cluster(&self, id: &str) -> Option<Value> {
        self.clusters().await.into_iter().find(|cluster| cluster["id"] == id)
    }
}

/// A kind of tiny cluster and its size.
pub const SMALL: (&str, &str, u32) = ("noops", "", 1);
/// Another.
pub const LARGE: (&str, &str, u32) = ("pbft", "batch", 2);

/// The whole of it.
pub struct Pool {
    pub cluster: Cluster,
    pub docker: Docker,
    pub front: Front,
    /// First port of the first block.
    pub port_start: u16,
    /// Id of the host, once it is registered.
    pub host_id: String,
}

impl Pool {
    /// Starts replicas and a pool without hosts, with short intervals and tiny templates.
    pub async fn start(docker: Docker, kinds: &[(&str, &str, u32)], call_timeout_ms: u64) -> Self {
        let cluster = Cluster::start(3, &[]).await;
        let front = Front::new(cluster.urls());
        let port_start = free_blocks();
        let pool = Self { cluster, docker, front, port_start, host_id: String::new() };
        let line = format!("PUT {POOL}/settings");
        pool.front.given(&line, &settings(port_start, call_timeout_ms)).await;
        let templates = pool.front.given(&format!("GET {POOL}/templates"), &Value::Null).await;
        for template in templates.as_array().unwrap() {
            let kind = json!({"consensus_plugin": template["consensus_plugin"],
                              "consensus_mode": template["consensus_mode"],
                              "size": template["size"]});
            pool.front.given(&format!("DELETE {POOL}/template"), &kind).await;
        }
        for kind in kinds {
            pool.front.given(&format!("PUT {POOL}/template"), &template(*kind)).await;
        }
        pool
    }

    /// Registers the daemon as a host that is kept full.
    pub async fn register(&mut self, capacity: usize) {
        let body = json!({"name": "compute2", "daemon_url": self.docker.tcp_url(),
                          "capacity": capacity, "log_type": "local", "schedulable": true,
                          "autofill": true});
        let host = self.front.given("POST /api/host", &body).await;
        self.host_id = host["id"].as_str().unwrap().to_owned();
    }

    /// The host, as operators see it.
    pub async fn host(&self) -> Value {
        self.front.given(&format!("GET {POOL}/host/{}", self.host_id), &Value::Null).await
    }

    /// Waits until something is so.
    pub async fn wait<T>(&self, what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find().await {
                return found;
            }
            if Instant::now() > until {
                self.fail(&format!("{what} did not come about")).await;
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until the host says something about what is wrong with it.
    pub async fn wait_said(&self, member: &str, words: &str) {
        let what = format!("a host whose {member} has {words:?}");
        let has_said = async || self.host().await[member].as_str()?.contains(words).then_some(());
        self.wait(&what, has_said).await;
    }

    /// Waits until the host is `active` or `inactive`.
    pub async fn wait_status(&self, status: &str) {
        let what = format!("an {status} host");
        self.wait(&what, async || (self.host().await["status"] == status).then_some(())).await;
    }

    /// Waits until so many clusters are there and well, nothing is left to be done, and every
    /// container belongs to one of them. Returns the clusters.
    pub async fn wait_full(&self, capacity: usize) -> Vec<Value> {
        let mut last = Err("nothing was looked at".to_owned());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            last = self.judge(capacity).await;
            if let Ok(clusters) = last {
                return clusters;
            }
            sleep(PAUSE).await;
        }
        self.fail(&format!("the pool is not full and well: {}", last.unwrap_err())).await
    }

    async fn judge(&self, capacity: usize) -> Result<Vec<Value>, String> {
        let clusters = self.front.clusters().await;
        if clusters.len() != capacity {
            return Err(format!("{} of {capacity} clusters", clusters.len()));
        }
        let is_well = |cluster: &&Value| {
            let is_stopped = cluster["status"] == "stopped" && cluster["health"] == "";
            let runs = cluster["status"] == "running" && cluster["health"] == "OK";
            cluster["task"].is_null() && (is_stopped || runs)
        };
        if let Some(cluster) = clusters.iter().find(|cluster| !is_well(cluster)) {
            return Err(format!("not well: {cluster}"));
        }
        self.audit(&clusters)?;
        Ok(clusters)
    }

    /// Whether the containers are those that the clusters say, in the states that they say.
    pub fn audit(&self, clusters: &[Value]) -> Result<(), String> {
        let format = "{{.ID}} {{.Names}} {{.State}} {{.Label \"io.quorate.cluster\"}}";
        let filter = format!("label={MANAGED}");
        let found = self.docker.try_docker(&[
            "ps",
            "-a",
            "--no-trunc",
            "--filter",
            &filter,
            "--format",
            format,
        ])?;
        let mut found: BTreeSet<String> = found.lines().map(str::to_owned).collect();
        for cluster in clusters {
            let state = if cluster["status"] == "running" { "running" } else { "exited" };
            let containers = cluster["containers"].as_object().ok_or("no containers")?;
            if json!(containers.len()) != cluster["size"] {
                return Err(format!("{} containers: {cluster}", containers.len()));
            }
            for (name, id) in containers {
                let (id, cluster_id) = (id.as_str().unwrap(), cluster["id"].as_str().unwrap());
                let line = format!("{id} {name} {state} {cluster_id}");
                if !found.remove(&line) {
                    return Err(format!("{line:?} is not there, but {found:?}"));
                }
            }
        }
        if found.is_empty() { Ok(()) } else { Err(format!("nobody owns {found:?}")) }
    }

    /// Fails the test, and shows what the pool knows.
    pub async fn fail(&self, what: &str) -> ! {
        for path in ["clusters", "tasks", &format!("host/{}", self.host_id)] {
            let answer = self.front.try_ask(0, &format!("GET {POOL}/{path}"), &Value::Null).await;
            eprintln!("--- {path}: {}", answer.map_or(Value::Null, |(_, answer)| answer));
        }
        eprintln!("--- containers: {:#?}", self.docker.try_docker(&["ps", "-a"]));
        eprintln!("--- the daemon said last:\n{}", self.docker.log());
        self.cluster.fail(what)
    }
}

/// Short intervals, so that a test sees in seconds what otherwise takes minutes.
fn settings(port_start: u16, call_timeout_ms: u64) -> Value {
    json!({
        "port_start": port_start, "port_step": PORT_STEP,
        "backoff_first_ms": 300, "backoff_max_ms": 2_000,
        "ping_interval_ms": 500, "ping_timeout_ms": 2_000, "ping_attempts_max": 2,
        "ping_pause_ms": 200,
        "probe_interval_ms": 1_000, "probe_timeout_ms": 3_000, "fast_probe_interval_ms": 200,
        "sweep_interval_ms": 1_000, "call_timeout_ms": call_timeout_ms,
        "stop_grace_s": 2, "restart_grace_s": 2, "calls_per_host_max": 4,
    })
}

fn template((plugin, mode, size): (&str, &str, u32)) -> Value {
    json!({
        "consensus_plugin": plugin, "consensus_mode": mode, "size": size, "image": IMAGE,
        "command": serving(INSIDE), "network": "cello_net_${plugin}", "probe": "tcp",
        "environment": [{"name": "NODE", "value": "${cluster}/${node}"}],
        "services": [
            {"name": "rest", "offset": 0, "container_port": INSIDE, "is_published": true},
            {"name": "grpc", "offset": 1, "container_port": INSIDE + 1},
        ],
    })
}

/// First port of blocks in which nobody listens, below what replicas and outgoing connections use.
fn free_blocks() -> u16 {
    let count = PORT_STEP * BLOCKS;
    let is_free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
    let first = u16::try_from(std::process::id() % 16).unwrap();
    let starts = (0..16).map(|step| 10_000 + (first + step) % 16 * count);
    let mut starts = starts.filter(|start| (0..BLOCKS).all(|at| is_free(start + at * PORT_STEP)));
    starts.next().expect("ports that nobody uses")
}

/// Address of the service that users of a cluster talk to.
pub fn address(cluster: &Value) -> String {
    cluster["service_url"]["rest"].as_str().unwrap().to_owned()
}

/// A member that is text.
pub fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("{member} of {value}")).to_owned()
}

/// Ids of clusters, and their count by id, which is 1 for each.
pub fn ids(clusters: &[Value]) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for cluster in clusters {
        *ids.entry(text(cluster, "id")).or_default() += 1;
    }
    ids
}

/// Whether a container behind an address answers; the proxy in front of it accepts in any case.
pub async fn echoes(address: &str) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"hello").await.ok()?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer == *b"hello")
    };
    matches!(timeout(Duration::from_secs(2), exchange).await, Ok(Some(true)))
}
