//! A site of three replicas with the pool's interface, and a hand that plays the leader's loops:
//! it reads what is to be done on hosts, and says how it went.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::time::Duration;

use quorate::{
    api::{self, cello::Doors},
    broker::{
        Actor, Broker, Call, Foundation,
        engine::{Config, LevelConfig, PeerConfig, SnapshotPolicy, Timers},
    },
    domain::{
        self,
        cello::{
            Command, Rejection, Reply,
            command::{Failure, HealthReport},
            model::{Cluster, Health, TaskKind},
            query::{self, Effect},
        },
    },
    server::{self, Limits, Server},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::process::Replica;

/// How long a state of affairs may take to come about before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Content type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// Content type of an object.
pub const JSON: &str = "application/json";

/// Three replicas in this process, with disks and peer ports of their own; a follower is asked.
pub struct Site {
    brokers: Vec<Broker>,
    urls: Vec<String>,
    client: Client,
    _servers: Vec<Server>,
    _dir: TempDir,
}

impl Site {
    /// Starts three replicas and waits for a leader.
    pub async fn start() -> Self {
        Self::start_with(3, Doors::All).await
    }

    /// Starts so many replicas, with such doors, and waits for a leader.
    pub async fn start_with(count: u64, doors: Doors) -> Self {
        let dir = TempDir::with_prefix("quorate-pool-").unwrap();
        let places: Vec<Replica> = (1..=count).map(|id| Replica::new(id, dir.path())).collect();
        let peer = |place: &Replica| PeerConfig {
            id: place.id,
            peer_addr: place.peer_addr.clone(),
            client_url: place.url(),
        };
        let peers: Vec<PeerConfig> = places.iter().map(peer).collect();
        let (mut brokers, mut servers) = (Vec::new(), Vec::new());
        for place in &places {
            let config = Config {
                replica_id: place.id,
                cluster_token: "pool".to_owned(),
                peers: peers.clone(),
                join: None,
                promote_after: Duration::from_secs(5),
                data_dir: place.data_dir.clone(),
                peer_listen: place.peer_addr.clone(),
                peer_tls: None,
                timers: Timers::for_tests(),
                proposals_in_flight_max: 256,
                proposal_bytes_in_flight_max: 16 * 1024 * 1024,
                snapshot: SnapshotPolicy::default(),
                wall_clock_ms: quorate::clock::now_ms,
                levels: LevelConfig::default(),
                digest_interval: Duration::from_secs(10),
                unsafe_leader_restore: false,
            };
            let broker = Broker::start(config, Foundation::default()).await.unwrap();
            let limits = Limits {
                connections_max: 64,
                head_timeout: Duration::from_secs(30),
                write_timeout: Duration::from_secs(20),
            };
            let server = Server::new(limits);
            let port = server::bind(&place.client_addr).await.unwrap();
            let app = api::App::new(broker.clone(), settings(doors));
            server.serve_with(None, port, move |request| app.clone().answer(request));
            brokers.push(broker);
            servers.push(server);
        }
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(90)).build().unwrap();
        let urls = places.iter().map(Replica::url).collect();
        let site = Self { brokers, urls, client, _servers: servers, _dir: dir };
        site.wait("a leader that all know", || {
            site.brokers.iter().all(|broker| broker.is_founded())
                && site
                    .brokers
                    .iter()
                    .any(|broker| broker.watch_leadership().borrow().is_leader_here)
        })
        .await;
        site
    }

    /// Waits until something is so.
    pub async fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what} did not come about");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn leader(&self) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.watch_leadership().borrow().is_leader_here)
    }

    /// Base URL of a replica that does not lead.
    fn follower(&self) -> &str {
        let pairs = self.brokers.iter().zip(&self.urls);
        let mut followers =
            pairs.filter(|(broker, _)| !broker.watch_leadership().borrow().is_leader_here);
        followers.next().map_or(&self.urls[0], |(_, url)| url)
    }

    /// Base URLs of all replicas, those that do not lead first.
    pub fn endpoints(&self) -> Vec<String> {
        let pairs = self.brokers.iter().zip(&self.urls);
        let mut pairs: Vec<_> = pairs
            .map(|(broker, url)| (broker.watch_leadership().borrow().is_leader_here, url.clone()))
            .collect();
        pairs.sort();
        pairs.into_iter().map(|(_, url)| url).collect()
    }

    /// Proposes what a loop would.
    pub async fn propose(&self, command: Command) -> Reply {
        self.try_propose(command).await.unwrap()
    }

    /// Proposes what a loop would, and may be refused.
    pub async fn try_propose(&self, command: Command) -> Result<Reply, Rejection> {
        let deadline = Instant::now() + PATIENCE;
        let call = Call { request_id: None, actor: Actor::Own("hand"), deadline };
        let broker = self.leader().unwrap_or(&self.brokers[0]);
        let done = broker.propose(&call, domain::Command::Cello(command)).await.unwrap();
        match done.reply {
            domain::Reply::Cello(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// What is to be done on hosts, by what the leader knows.
    pub fn effects(&self) -> Vec<Effect> {
        self.leader()
            .map(|broker| query::pending_effects(&broker.latest().cello))
            .unwrap_or_default()
    }

    /// Says of everything that is to be done that it is done, until nothing is.
    pub async fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let effects = self.effects();
            if effects.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "something is always to be done");
            for effect in effects {
                self.propose(done(&effect)).await;
            }
        }
    }

    /// Says of what is to be done now that it is done, but not of what follows.
    pub async fn settle_one(&self) {
        for effect in self.effects() {
            self.propose(done(&effect)).await;
        }
    }

    /// A cluster, as the leader knows it.
    pub fn cluster(&self, id: &str) -> Cluster {
        let view = self.leader().unwrap().latest();
        Cluster::clone(&query::cluster(&view.cello, id).unwrap())
    }

    /// Says of everything that is to be done that it failed.
    pub async fn fail(&self, failure: Failure) {
        for effect in self.effects() {
            let Some(cluster) = &effect.cluster else { continue };
            let cluster_id = cluster.id.clone();
            let (op, reason) = (effect.task.op, "no space left on device".to_owned());
            self.propose(Command::OperationFailed { cluster_id, op, failure, reason }).await;
        }
    }

    /// Says of every cluster that it was found healthy, or not.
    pub async fn probe(&self, health: Health) {
        let view = self.leader().unwrap().latest();
        let reports = query::probed(&view.cello).map(|(_, cluster)| HealthReport {
            cluster_id: cluster.id.clone(),
            seen_op: cluster.op,
            health,
            reason: "one container is missing".to_owned(),
        });
        let reports = reports.collect();
        self.propose(Command::ReportHealth { reports }).await;
    }

    /// Everything is done, and everything is healthy.
    pub async fn settle_well(&self) {
        self.settle().await;
        self.probe(Health::Ok).await;
    }

    /// Sends a request to a follower; status and text of the answer.
    pub async fn send(&self, request: &str, content_type: &str, body: &str) -> reqwest::Response {
        self.send_to(self.follower(), request, content_type, body).await
    }

    async fn send_to(
        &self,
        url: &str,
        request: &str,
        content_type: &str,
        body: &str,
    ) -> reqwest::Response {
        let (method, path) = request.split_once(' ').expect("METHOD /path");
        let mut sent =
            self.client.request(method.parse::<Method>().unwrap(), format!("{url}{path}"));
        // What is asked next must show what was done last, whoever said it was done.
        let index = self.brokers.iter().map(|broker| broker.latest().position().index).max();
        sent = sent.header("quorate-min-index", index.unwrap_or_default());
        if !content_type.is_empty() {
            sent = sent.header("content-type", content_type);
        }
        sent.body(body.to_owned()).send().await.unwrap()
    }

    /// Asks a follower, and checks what every envelope promises.
    pub async fn ask(&self, request: &str, content_type: &str, body: &str) -> (u16, Value) {
        let response = self.send(request, content_type, body).await;
        let status = response.status().as_u16();
        assert_eq!(response.headers()["content-type"], "application/json", "{request} {body}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{request} {body}");
        let text = response.text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let is_ok = status == 200 || status == 201;
        assert_eq!(answer["code"], json!(status), "{request} {body}: {text}");
        assert_eq!(answer["status"], json!(if is_ok { "OK" } else { "FAIL" }), "{text}");
        assert_eq!(answer["error"] == json!(""), is_ok, "{text}");
        assert_eq!(text, answer.to_string(), "the keys are sorted");
        assert_eq!(answer.as_object().unwrap().len(), 4, "{text}");
        (status, answer)
    }

    /// Data of an answer that must be 200.
    pub async fn given(&self, request: &str, body: &str) -> Value {
        let content_type = if body.is_empty() { "" } else { JSON };
        let (status, mut answer) = self.ask(request, content_type, body).await;
        assert_eq!(status, 200, "{request} {body}: {answer}");
        answer["data"].take()
    }

    /// Data of an answer that must be 201.
    pub async fn made(&self, request: &str, body: &Value) -> Value {
        let (status, mut answer) = self.ask(request, JSON, &body.to_string()).await;
        assert_eq!(status, 201, "{request} {body}: {answer}");
        answer["data"].take()
    }

    /// Checks that a request is refused so, and that nothing changed.
    pub async fn refused(&self, request: &str, body: &str, status: u16, error: &str) {
        let content_type = if body.is_empty() { "" } else { JSON };
        self.refused_as(request, (content_type, body), status, error).await;
    }

    /// The same with a content type.
    pub async fn refused_as(
        &self,
        request: &str,
        (content_type, body): (&str, &str),
        status: u16,
        error: &str,
    ) {
        let before = self.given("GET /v2/clusters", "").await;
        let (found, answer) = self.ask(request, content_type, body).await;
        assert_eq!((found, answer["error"].as_str().unwrap()), (status, error), "{request} {body}");
        let data = answer["data"].as_object().unwrap();
        assert!(data.keys().all(|key| key == "reason"), "{request} {body}: {answer}");
        let after = self.given("GET /v2/clusters", "").await;
        assert_eq!(before, after, "{request} {body} changed something");
    }
}

fn settings(doors: Doors) -> api::Settings {
    let cello = api::cello::Settings { doors, ..api::cello::Settings::default() };
    api::Settings { cello, ..api::Settings::default() }
}

/// The good outcome of an effect.
fn done(effect: &Effect) -> Command {
    let op = effect.task.op;
    let Some(cluster) = &effect.cluster else {
        return Command::HostTaskDone { host_id: effect.host.id.clone(), op };
    };
    let cluster_id = cluster.id.clone();
    match effect.task.kind {
        TaskKind::Create => {
            let names = (0..cluster.kind().size).map(|index| cluster.container_name(index));
            let containers = names.map(|name| (name.clone(), format!("docker-{name}"))).collect();
            Command::ClusterCreated { cluster_id, op, containers }
        }
        TaskKind::Destroy => Command::ClusterDestroyed { cluster_id, op },
        TaskKind::Start | TaskKind::Stop | TaskKind::Restart => {
            Command::PowerDone { cluster_id, op }
        }
        TaskKind::ResetHost | TaskKind::CleanUpHost => unreachable!("a cluster has no such task"),
    }
}
