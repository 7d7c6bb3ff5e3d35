//! Two programs side by side: replicas are exchanged one after another while clients of all three
//! families write, and the feature level keeps apart what the older program does not know.
//!
//! The older program is the one that `QUORATE_OLD_PROGRAM` names; `scripts/upgrade` builds one.
//! Without it, it is the present program held back by `feature_level_max`, which shows the same
//! rules, but not that two formats understand each other.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    compare,
    coordinator::{Coordinator, Operator},
    process::{PROGRAM, Replica},
    server_proxy::Fleet,
    writers,
};
use tokio::{task::JoinHandle, time::sleep};

/// Names the older program.
const OLD_PROGRAM: &str = "QUORATE_OLD_PROGRAM";
/// The level of the older program, held back or real.
const OLD_LEVEL: u64 = 2;
/// The level of this one.
const NEW_LEVEL: u64 = 3;
/// Clients that change undermoon metadata.
const WRITERS: u64 = 4;
/// Different templates that are made; there may not be many more.
const TEMPLATES: u64 = 200;
/// No write may take longer than this to be acknowledged.
const REFUSAL_MAX: Duration = Duration::from_secs(2);
/// Pause between the rounds of the coordinator's loops.
const INTERVAL: Duration = Duration::from_millis(100);

/// Which program a replica runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    Old,
    New,
}

/// Replicas that run one of two programs each.
struct Fleetwork {
    cluster: Cluster,
    /// What both programs are started with, by id.
    args: Vec<Vec<String>>,
    old: Option<String>,
    /// Flags of the newer program alone.
    new_flags: Vec<String>,
}

impl Fleetwork {
    /// Three replicas of the older program.
    async fn start(new_flags: &[&str]) -> Self {
        let cluster = Cluster::prepare(3, &["--snapshot-entries-max", "400"]);
        let args = cluster.replicas.iter().map(|replica| replica.args().to_vec()).collect();
        let old = env::var(OLD_PROGRAM).ok();
        println!("the older program: {}", old.as_deref().unwrap_or("this one, held back"));
        let new_flags = new_flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut work = Self { cluster, args, old, new_flags };
        for id in 1..=3 {
            work.install(id, Build::Old);
            work.cluster.replica(id).start();
        }
        work.cluster.wait_all_ready().await;
        work
    }

    /// Puts a program in place for the next start of a replica.
    fn install(&mut self, id: u64, build: Build) {
        let mut args = self.args[usize::try_from(id).unwrap() - 1].clone();
        let program = match (build, &self.old) {
            (Build::New, _) => {
                args.extend(self.new_flags.iter().cloned());
                PROGRAM.to_owned()
            }
            (Build::Old, Some(program)) => program.clone(),
            (Build::Old, None) => {
                args.extend(["--feature-level-max".to_owned(), OLD_LEVEL.to_string()]);
                PROGRAM.to_owned()
            }
        };
        let replica = self.cluster.replica(id);
        replica.set_args(args);
        replica.set_program(program);
    }

    /// Stops a replica as an operator does, and starts it with another program.
    async fn exchange(&mut self, id: u64, build: Build) {
        self.stop(id);
        self.install(id, build);
        self.cluster.replica(id).start();
        self.cluster.wait_ready(id).await;
    }

    fn stop(&mut self, id: u64) {
        self.cluster.replica(id).signal(Signal::SIGTERM);
        let status = self.cluster.replica(id).wait_exit(PATIENCE).expect("it stops");
        assert!(status.success(), "replica {id} did not stop well: {status}");
    }

    /// `quorate ctl` of the newer program, against one replica.
    fn ctl(&self, id: u64, words: &[&str]) -> Output {
        let url = self.cluster.url(id);
        Command::new(PROGRAM).args(["ctl", "--endpoint", &url]).args(words).output().unwrap()
    }

    /// As [`Fleetwork::ctl`], for what must be refused; the reason.
    fn denied(&self, id: u64, words: &[&str]) -> String {
        let output = self.ctl(id, words);
        assert!(!output.status.success(), "{words:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    /// As [`Fleetwork::ctl`], for what must be done.
    fn done(&self, id: u64, words: &[&str]) -> String {
        let output = self.ctl(id, words);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn level(&self, id: u64) -> u64 {
        self.cluster.status(id).await.unwrap()["feature_level"].as_u64().unwrap()
    }

    async fn wait_level(&self, level: u64) {
        let deadline = Instant::now() + PATIENCE;
        for replica in &self.cluster.replicas {
            while self.level(replica.id).await != level {
                assert!(Instant::now() < deadline, "replica {} is not at {level}", replica.id);
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Has another replica lead, and waits until it does.
    async fn lead(&self, to: u64) {
        let leader = self.cluster.wait_leader().await;
        if leader != to {
            self.done(leader, &["transfer-leader", "--to", &to.to_string()]);
            assert_eq!(self.cluster.wait_leader_other_than(leader).await, to);
        }
    }
}

/// A request for the object of a number, at a replica.
type Wish = fn(&Client, &str, u64) -> RequestBuilder;

/// A client of a family that makes one object after another through every replica.
struct Maker {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    task: JoinHandle<(u64, Duration)>,
}

impl Maker {
    fn start(name: &str, urls: &[String], request: Wish) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicU64::new(0));
        let name = name.to_owned();
        let (urls, halt, count) = (urls.to_vec(), Arc::clone(&stop), Arc::clone(&made));
        let task = tokio::spawn(async move {
            let client = writers::client();
            let (mut slowest, mut turn) = (Duration::ZERO, 0);
            while !halt.load(Ordering::Relaxed) {
                let number = count.load(Ordering::Relaxed);
                let begun = Instant::now();
                loop {
                    let wish = request(&client, &urls[turn % urls.len()], number);
                    let key = format!("{name}-{number}");
                    let answer = wish.header("Idempotency-Key", key).send().await;
                    if let Ok(answer) = answer {
                        let status = answer.status();
                        if status.is_success() {
                            break;
                        }
                        let text = answer.text().await.unwrap_or_default();
                        // Anything else would be a wrong answer to a wish that is in order.
                        let is_about_the_log = status.is_server_error()
                            || (status == StatusCode::CONFLICT && text.contains("RETRY"));
                        assert!(is_about_the_log, "{name} {number}: {status} {text}");
                    }
                    turn += 1;
                    sleep(Duration::from_millis(10)).await;
                }
                slowest = slowest.max(begun.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
                turn += 1;
                sleep(Duration::from_millis(20)).await;
            }
            (count.load(Ordering::Relaxed), slowest)
        });
        Self { stop, made, task }
    }

    async fn wait_for(&self, more: u64) {
        let wanted = self.made.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + PATIENCE;
        while self.made.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline, "nothing is made any more");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many objects were made, and the longest wait for one.
    async fn finish(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn make_namespace(client: &Client, url: &str, number: u64) -> RequestBuilder {
    let body = json!({ "namespace": format!("made-{number}") });
    client.post(format!("{url}/api/v1/namespaces")).json(&body)
}

fn make_template(client: &Client, url: &str, number: u64) -> RequestBuilder {
    let body = json!({
        "consensus_plugin": format!("made-{}", number % TEMPLATES), "size": 1, "image": "made:1",
        "services": [{"name": "rest", "offset": 0, "container_port": 80, "is_published": true}],
    });
    client.put(format!("{url}/quorate/v1/pool/template")).json(&body)
}

/// Raises the epoch by one each time it is applied, so that a wish that was applied twice shows.
fn change_config(client: &Client, url: &str, number: u64) -> RequestBuilder {
    let body = json!({ "migration_scan_count": (1 + number % 100).to_string() });
    client.patch(format!("{url}/api/v3/clusters/config/world")).json(&body)
}

/// Everybody who works on a cluster: clients of all families, and a coordinator with its proxies.
struct Load {
    changes: Vec<Maker>,
    namespaces: Maker,
    templates: Maker,
    coordinator: Coordinator,
    fleet: Fleet,
    epoch_before: u64,
    urls: Vec<String>,
    addresses: Vec<String>,
}

impl Load {
    async fn start(urls: &[String]) -> Self {
        let fleet = Fleet::default();
        let mut operator = Operator::new(urls);
        let mut addresses = Vec::new();
        for number in 0..4 {
            let address = fleet.start().await;
            operator.register(&address, &format!("host{}", number % 2)).await;
            addresses.push(address);
        }
        operator.change(Method::POST, "clusters/meta/world", json!({ "node_number": 8 })).await;
        let epoch_before = writers::epoch(&writers::client(), &urls[0]).await;
        let change = |number| Maker::start(&format!("change{number}"), urls, change_config);
        Self {
            changes: (0..WRITERS).map(change).collect(),
            namespaces: Maker::start("namespace", urls, make_namespace),
            templates: Maker::start("template", urls, make_template),
            coordinator: Coordinator::start("coordinator", urls, INTERVAL),
            fleet,
            epoch_before,
            urls: urls.to_vec(),
            addresses,
        }
    }

    /// Everybody gets something done.
    async fn goes_on(&mut self) {
        for maker in &self.changes {
            maker.wait_for(10).await;
        }
        self.namespaces.wait_for(3).await;
        self.templates.wait_for(3).await;
        assert!(!self.coordinator.has_died());
        let good = |load: &Self| load.coordinator.rounds()[1].good;
        let (before, deadline) = (good(self), Instant::now() + PATIENCE);
        while good(self) < before + 3 {
            assert!(Instant::now() < deadline, "the coordinator goes round no more");
            sleep(INTERVAL).await;
        }
    }

    /// What was acknowledged is there on every replica, once, and nobody waited for long.
    async fn settle(self, cluster: &mut Cluster) {
        cluster.wait_all_ready().await;
        let (mut changes, mut slowest) = (0, Duration::ZERO);
        for maker in self.changes {
            let (made, waited) = maker.finish().await;
            changes += made;
            slowest = slowest.max(waited);
        }
        let (namespaces, slowest_namespace) = self.namespaces.finish().await;
        let (templates, slowest_template) = self.templates.finish().await;
        println!(
            "{changes} changes, slowest {slowest:?}; {namespaces} namespaces, slowest \
             {slowest_namespace:?}; {templates} templates, slowest {slowest_template:?}"
        );
        for waited in [slowest, slowest_namespace, slowest_template] {
            assert!(waited <= REFUSAL_MAX, "a write waited {waited:?}");
        }
        let operator = Operator::new(&self.urls);
        let deadline = Instant::now() + PATIENCE;
        for address in &self.addresses {
            let wanted = operator.read(&format!("proxies/meta/{address}")).await;
            while self.fleet.meta(address) != wanted["proxy"] {
                assert!(Instant::now() < deadline, "a proxy does not get what the broker says");
                sleep(INTERVAL).await;
            }
        }
        assert_eq!(self.fleet.violations(), Vec::<String>::new());
        drop(self.coordinator);
        for url in cluster.urls() {
            let read = async |path: &str| {
                let request = cluster.client.get(format!("{url}{path}"));
                let request = request.header("Quorate-Consistency", "linearizable");
                request.send().await.unwrap().json::<Value>().await.unwrap()
            };
            let metadata = read("/api/v3/metadata").await;
            let epoch = metadata["global_epoch"].as_u64().unwrap();
            assert_eq!(epoch, self.epoch_before + changes, "each change once ({url})");
            let found = read("/api/v1/namespaces").await;
            assert_eq!(found["data"]["namespaces"].as_array().unwrap().len() as u64, namespaces);
            let found = read("/quorate/v1/pool/templates").await.to_string();
            for number in 0..templates.min(TEMPLATES) {
                assert!(found.contains(&format!("\"made-{number}\"")), "made-{number} on {url}");
            }
        }
        compare::digests(cluster).await.unwrap();
    }
}

fn files(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        found.push((
            entry.file_name().into_string().unwrap(),
            entry.metadata().unwrap().len() * u64::from(entry.path().is_file()),
        ));
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_exchanged_one_by_one_under_load() {
    let mut work = Fleetwork::start(&["--feature-level-auto", "false"]).await;
    let is_two_builds = work.old.is_some();
    let mut load = Load::start(&work.cluster.urls()).await;
    load.goes_on().await;
    let started = Instant::now();
    let phase = |what: &str| println!("{what} at {:?}", started.elapsed());

    // The older program leads, the newer one follows.
    work.lead(1).await;
    work.exchange(2, Build::New).await;
    phase("2 is exchanged, 1 leads");
    load.goes_on().await;
    work.exchange(3, Build::New).await;
    phase("3 is exchanged, 1 leads");
    load.goes_on().await;
    // A newer program leads, an older one follows.
    work.lead(2).await;
    phase("2 leads");
    load.goes_on().await;
    assert_eq!(work.level(2).await, OLD_LEVEL);
    let said = work.denied(2, &["feature-level", "raise", "--to", &NEW_LEVEL.to_string()]);
    let reason = match is_two_builds {
        true => "replica 1 runs an older program",
        false => "replica 1 knows no more than 2",
    };
    assert!(said.contains(reason), "{said}");
    let said = work.denied(3, &["members", "remove", "1", "--yes"]);
    assert!(said.contains("the members change from feature level 3 on"), "{said}");

    // Back to the older program, before the level is raised.
    work.exchange(3, Build::Old).await;
    phase("3 is rolled back");
    load.goes_on().await;
    work.exchange(3, Build::New).await;
    work.exchange(1, Build::New).await;
    phase("all are exchanged");
    load.goes_on().await;
    assert_eq!(work.level(2).await, OLD_LEVEL, "nobody has raised the level");

    // The level is raised; from here on there is no way back.
    let said = work.done(3, &["feature-level", "raise"]);
    assert!(said.contains("feature level 3"), "{said}");
    work.wait_level(NEW_LEVEL).await;
    let said = work.denied(1, &["feature-level", "raise", "--to", &OLD_LEVEL.to_string()]);
    assert!(said.contains("never lowered"), "{said}");
    phase("the level is raised");
    load.goes_on().await;
    work.stop(1);
    work.install(1, Build::Old);
    work.cluster.replica(1).start();
    let status = work.cluster.replica(1).wait_exit(PATIENCE).expect("it does not go on");
    assert!(!status.success());
    let printed = work.cluster.replica(1).output();
    let last = printed.lines().last().unwrap();
    println!("the older program says: {last}");
    // A real one stops at the entry that raised the level, or at a snapshot that was taken since.
    let wanted = match is_two_builds {
        true => ["newer program, install it", "The replica does not start"],
        false => ["no level above 2: install"; 2],
    };
    let is_refusal = wanted.iter().any(|wanted| last.contains(wanted));
    assert!(last.starts_with("quorate: ") && is_refusal, "{printed}");
    // Nothing is lost: the same disk serves the newer program.
    work.install(1, Build::New);
    work.cluster.replica(1).start();
    work.cluster.wait_ready(1).await;
    load.goes_on().await;
    load.settle(&mut work.cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_raises_the_level_once_all_know_it() {
    let mut work = Fleetwork::start(&[]).await;
    for id in [1, 2] {
        work.exchange(id, Build::New).await;
    }
    work.lead(1).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(work.level(1).await, OLD_LEVEL, "replica 3 does not know more");
    work.exchange(3, Build::New).await;
    work.wait_level(NEW_LEVEL).await;
    let found: Value =
        serde_json::from_str(&work.done(2, &["-o", "json", "feature-level", "show"])).unwrap();
    assert_eq!((&found["level"], &found["common"]), (&json!(NEW_LEVEL), &json!(NEW_LEVEL)));
    for member in found["members"].as_array().unwrap() {
        assert_eq!(member["feature_level_max"], NEW_LEVEL, "{found}");
        assert!(member["program"].as_str().unwrap().starts_with("quorate "), "{found}");
    }
    let trail = work.done(1, &["-o", "json", "audit"]);
    let raised = trail.lines().rfind(|line| line.contains("raise_feature_level")).unwrap();
    assert!(raised.contains("\"quorate\""), "{raised}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_above_the_level_of_the_program_is_refused_and_left_alone() {
    let mut cluster = Cluster::start(1, &["--feature-level-auto", "false"]).await;
    assert_eq!(cluster.status(1).await.unwrap()["feature_level"], NEW_LEVEL);
    let answer =
        cluster.client.post(format!("{}/quorate/v1/snapshot", cluster.url(1))).send().await;
    assert!(answer.unwrap().status().is_success());
    cluster.replica(1).kill();
    let mut args = cluster.replica(1).args().to_vec();
    let whole = args.clone();
    let dir = cluster.replica(1).data_dir.clone();
    let before = (files(&dir), files(&dir.join("snap")));
    args.extend(["--feature-level-max", "2"].map(str::to_owned));
    cluster.replica(1).set_args(args);
    cluster.replica(1).start();
    assert!(!cluster.replica(1).wait_exit(PATIENCE).expect("it does not start").success());
    let printed = cluster.replica(1).output();
    let last = printed.lines().last().unwrap();
    assert!(last.contains("feature level 3") && last.contains("no level above 2"), "{printed}");
    assert_eq!((files(&dir), files(&dir.join("snap"))), before);
    cluster.replica(1).set_args(whole);
    cluster.replica(1).start();
    cluster.wait_ready(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_below_the_level_is_not_taken_in() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut late = Replica::new(4, cluster.dir());
    let known: Vec<String> = cluster.replicas.iter().map(|r| r.peer_addr.clone()).collect();
    let (known, data_dir) = (known.join(","), late.data_dir.display().to_string());
    let mut args = vec!["--join", &known, "--peer-listen", &late.peer_addr];
    args.extend(["--listen", &late.client_addr, "--data-dir", &data_dir]);
    let args: Vec<String> = args.into_iter().map(ToOwned::to_owned).collect();
    let held_back = ["--feature-level-max", "2"].map(str::to_owned);
    late.set_args(args.iter().cloned().chain(held_back).collect());
    late.start();
    assert!(!late.wait_exit(PATIENCE).expect("it is refused").success());
    let printed = late.output();
    let last = printed.lines().last().unwrap();
    assert!(last.contains("no level above 2: install the program"), "{printed}");
    assert!(!late.data_dir.join("identity").exists());
    // The same disk, with the program of the others.
    late.set_args(args);
    late.start();
    cluster.replicas.push(late);
    cluster.wait_ready(4).await;
}
