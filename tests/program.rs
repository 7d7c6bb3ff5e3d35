//! The program from the outside: its commands, its start, its stop, and what it refuses.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    process::{PROGRAM, free_port},
};
use tempfile::TempDir;

/// Waits for a condition, and fails with `what` if it does not come about.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command to its end, with nothing of this process's environment.
fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).env_clear().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn get(url: &str) -> (u16, String) {
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn send(method: Method, url: &str, body: &str) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, url);
    let request = request.header("content-type", "application/json").body(body.to_owned());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

fn proxy() -> String {
    json!({ "proxy_address": "10.0.0.1:7000", "nodes": ["10.0.0.1:6001", "10.0.0.1:6002"] })
        .to_string()
}

/// A `quorate dev` that is killed if the test fails.
struct Dev(Child);

impl Dev {
    fn start(dir: &Path, base_port: u16) -> Self {
        let output = fs::File::create(dir.join("dev.out")).unwrap();
        let child = Command::new(PROGRAM)
            .env_clear()
            .arg("dev")
            .args(["--data-dir", dir.to_str().unwrap(), "--base-port", &base_port.to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A base port whose ports for three replicas are all free.
fn free_base_port() -> u16 {
    loop {
        let base = free_port();
        let ports = (0..3).flat_map(|id| [base + 10 * id, base + 10 * id + 1]);
        if ports.into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

fn said(dir: &Path, words: &str) -> bool {
    fs::read_to_string(dir.join("dev.out")).unwrap().contains(words)
}

fn pid_of(dir: &Path, id: u16) -> Pid {
    let pid = fs::read_to_string(dir.join(format!("replica-{id}.pid"))).unwrap();
    Pid::from_raw(pid.trim().parse().unwrap())
}

/// Whether a process has ended; nobody may have taken note of it yet.
fn has_ended(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |command_line| command_line.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_runs_a_cluster_reports_a_death_keeps_data_and_leaves_nothing_behind() {
    let dir = TempDir::with_prefix("quorate-dev-").unwrap();
    let dir = dir.path();
    let base_port = free_base_port();
    let url = |id: u16| format!("http://127.0.0.1:{}/api/v3", base_port + (id - 1) * 10);

    let mut dev = Dev::start(dir, base_port);
    until("three replicas are ready", || said(dir, "3 replicas are ready"));
    let (status, _) = send(Method::POST, &format!("{}/proxies/meta", url(2)), &proxy()).await;
    assert_eq!(status, 200);
    kill(pid_of(dir, 3), Signal::SIGKILL).unwrap();
    until("the death is reported", || said(dir, "replica 3 ended: signal: 9"));
    assert!(!dir.join("replica-3.pid").exists());
    let endpoint = format!("http://127.0.0.1:{base_port}");
    let shown = run(&["ctl", "status", "--endpoint", &endpoint]);
    let table = text(&shown.stdout);
    assert!(shown.status.success(), "{table}");
    assert!(table.contains("leader") && table.contains("no answer"), "{table}");
    dev.signal(Signal::SIGINT);
    assert!(dev.0.wait().unwrap().success(), "a clean stop");
    assert!(said(dir, "all replicas stopped") && !dir.join("replica-1.pid").exists());

    let dev = Dev::start(dir, base_port);
    until("three replicas are ready again", || said(dir, "3 replicas are ready"));
    let (_, proxies) = get(&format!("{}/proxies/addresses?consistency=linearizable", url(3))).await;
    assert_eq!(proxies, r#"{"addresses":["10.0.0.1:7000"]}"#);
    let again = run(&["dev", "--data-dir", dir.to_str().unwrap()]);
    assert!(text(&again.stderr).contains("runs already"), "{again:?}");
    let pids = [1, 2, 3].map(|id| pid_of(dir, id));
    dev.signal(Signal::SIGKILL);
    drop(dev);
    until("the replicas end with it", || pids.iter().all(|pid| has_ended(*pid)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_request_is_answered_before_the_replica_stops() {
    let mut cluster = Cluster::start(1, &[]).await;
    let body = proxy();
    let mut stream = TcpStream::connect(&cluster.replicas[0].client_addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        "POST /api/v3/proxies/meta HTTP/1.1\r\nHost: q\r\nContent-Type: application/json\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{}", body.len(), &body[..10]).unwrap();
    // The request counts as accepted once its head is read; nothing shows that from outside, so
    // another request on a later connection stands for it.
    get(&format!("{}/livez", cluster.url(1))).await;
    cluster.replica(1).signal(Signal::SIGTERM);
    let address = cluster.replicas[0].client_addr.clone();
    until("no new connection is taken", || TcpStream::connect(&address).is_err());
    stream.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(cluster.replica(1).wait_exit(PATIENCE).unwrap().success());
    cluster.replica(1).start();
    cluster.wait_ready(1).await;
    let (_, proxies) = get(&format!("{}/api/v3/proxies/addresses", cluster.url(1))).await;
    assert_eq!(proxies, r#"{"addresses":["10.0.0.1:7000"]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_leader_hands_over_first() {
    let mut cluster = Cluster::start(3, &[]).await;
    let leader = cluster.wait_leader().await;
    cluster.replica(leader).signal(Signal::SIGTERM);
    assert!(cluster.replica(leader).wait_exit(PATIENCE).unwrap().success());
    assert!(cluster.replica(leader).output().contains("handed over"));
    let next = cluster.wait_leader_other_than(leader).await;
    let url = format!("{}/api/v3/proxies/meta", cluster.url(next));
    assert_eq!(send(Method::POST, &url, &proxy()).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_head_is_given_up_and_holds_nobody_off() {
    let cluster = Cluster::start(1, &["--head-timeout-ms", "300", "--connections-max", "2"]).await;
    let address = cluster.replicas[0].client_addr.clone();
    let mut slow: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHo").unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    // All places are taken; this one is served as soon as the others are given up.
    assert_eq!(get(&format!("http://{address}/livez")).await.0, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!text(&rest).contains("200 OK"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_read_and_changed_through_any_replica() {
    let cluster = Cluster::start(3, &["--failure-ttl", "7"]).await;
    let follower = cluster.wait_follower().await;
    let path = "/quorate/v1/undermoon/settings";
    let url = format!("{}{path}", cluster.url(follower));
    let (status, answer) = send(Method::PUT, &url, r#"{"migration_limit":5}"#).await;
    assert_eq!(
        (status, &answer["migration_limit"], &answer["failure_ttl"]),
        (200, &5.into(), &7.into())
    );
    for id in 1..=3 {
        let url = format!("{}{path}?consistency=linearizable", cluster.url(id));
        let answer: Value = serde_json::from_str(&get(&url).await.1).unwrap();
        assert_eq!(answer["migration_limit"], 5, "replica {id}");
    }
    for bad in [r#"{"migration_limt":5}"#, r#"{"failure_ttl":-1}"#, "[", "5"] {
        let (status, answer) = send(Method::PUT, &url, bad).await;
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (400, Some("invalid_request")),
            "{bad}"
        );
    }
    let (status, answer) = send(Method::DELETE, &url, "").await;
    assert_eq!((status, answer["error"]["code"].as_str()), (405, Some("method_not_allowed")));
    let url = format!("{}/quorate/v1/nonsense", cluster.url(follower));
    let (status, answer) = send(Method::GET, &url, "").await;
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("not_found")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_names_its_checks_and_liveness_needs_nobody() {
    let mut cluster = Cluster::start(3, &[]).await;
    let (status, body) = get(&format!("{}/readyz?verbose", cluster.url(1))).await;
    assert_eq!(status, 200, "{body}");
    for check in ["barrier", "founded", "leader", "lag", "stopping"] {
        assert!(body.contains(&format!("[+] {check}\n")), "{body}");
    }
    cluster.replica(2).kill();
    cluster.replica(3).kill();
    let url = cluster.url(1);
    let deadline = Instant::now() + PATIENCE;
    while get(&format!("{url}/readyz")).await.0 == 200 {
        assert!(Instant::now() < deadline, "not ready without a majority");
    }
    assert_eq!(get(&format!("{url}/livez")).await.0, 200);
    let (_, metrics) = get(&format!("{url}/metrics")).await;
    assert!(metrics.contains("quorate_applied_index"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_the_original_is_imported_once() {
    let dir = TempDir::with_prefix("quorate-import-").unwrap();
    let file = dir.path().join("metadata");
    let path = file.to_str().unwrap();
    let resource = json!({
        "proxy_address": "10.0.0.1:7000",
        "node_addresses": ["10.0.0.1:6001", "10.0.0.1:6002"],
        "host": "10.0.0.1",
        "index": 0,
        "cluster": null,
    });
    let document = json!({
        "version": "mem-broker-0.2",
        "global_epoch": 42,
        "clusters": {},
        "all_proxies": { "10.0.0.1:7000": resource },
        "failed_proxies": [],
        "failures": {},
        "enable_ordered_proxy": true,
    });
    fs::write(&file, document.to_string()).unwrap();
    let mut cluster =
        Cluster::start(1, &["--recover-from-meta-file", "--meta-filename", path]).await;
    let url = format!("{}/api/v3/metadata", cluster.url(1));
    let imported: Value = serde_json::from_str(&get(&url).await.1).unwrap();
    assert_eq!(imported, document);
    cluster.replica(1).kill();
    fs::write(&file, "broken").unwrap();
    cluster.replica(1).start();
    cluster.wait_ready(1).await;
    let kept: Value = serde_json::from_str(&get(&url).await.1).unwrap();
    assert_eq!(kept, document);

    let fresh = dir.path().join("fresh");
    let refused = run(&[
        "serve",
        "--recover-from-meta-file",
        "--meta-filename",
        path,
        "--data-dir",
        fresh.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--peer-listen",
        "127.0.0.1:0",
    ]);
    assert!(!refused.status.success() && text(&refused.stderr).contains(path), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_ends_the_replica_with_a_message() {
    let dir = TempDir::with_prefix("quorate-full-").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    // No file may grow beyond 4 MiB; the write that tries fails, as on a full disk.
    let script = r#"trap '' XFSZ; ulimit -f 4096; exec "$0" "$@""#;
    let child = Command::new("bash")
        .args(["-c", script, PROGRAM, "serve", "--peer-listen", "127.0.0.1:0"])
        .args(["--listen", &address, "--data-dir", dir.path().join("d").to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the replica answers", || TcpStream::connect(&address).is_ok());
    let url = format!("http://{address}/api/v3/proxies/meta");
    let mut acknowledged = 0;
    let failure = loop {
        let proxy = json!({
            "proxy_address": format!("10.0.{acknowledged}.1:7000"),
            "nodes": [format!("10.0.{acknowledged}.1:1"), format!("10.0.{acknowledged}.1:2")],
            "host": "h".repeat(200_000),
        });
        let request = reqwest::Client::new().post(&url).json(&proxy).send().await;
        match request {
            Ok(response) if response.status().is_success() => acknowledged += 1,
            Ok(response) => break response.status().as_u16(),
            Err(_) => break 0,
        }
        assert!(acknowledged < 200, "no write fails");
    };
    let failed = Instant::now();
    // Either the outcome is unknown, or the process was gone before it could say so.
    assert!(matches!(failure, 0 | 504), "{failure}");
    let ended = child.wait_with_output().unwrap();
    assert!(failed.elapsed() < Duration::from_secs(1), "{:?}", failed.elapsed());
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(text(&ended.stderr).contains("quorate: writing the raft log"), "{ended:?}");
    assert!(acknowledged > 3, "{acknowledged} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_work_says_why() {
    let cluster = Cluster::start(1, &[]).await;
    let data_dir = cluster.replicas[0].data_dir.to_str().unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
    let check = |arguments: &[&str], part: &str| {
        let refused = run(&[&["serve"], arguments].concat());
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains(part), "{arguments:?}: {said}");
    };
    check(&[&["--data-dir", data_dir], &ports[..]].concat(), "in use by another process");
    let taken = &cluster.replicas[0].client_addr;
    check(&["--data-dir", "/nonexistent", "--listen", taken], taken);
    check(&["--failure-tll", "5"], "--failure-tll");
    check(&["--failure-ttl", "soon"], "soon");
    check(&["--peers", "1=10.0.0.1:7800"], "cluster_token");
    let dir = TempDir::with_prefix("quorate-config-").unwrap();
    let file = dir.path().join("quorate.toml");
    fs::write(&file, "failure_tll = 5").unwrap();
    check(&["--config", file.to_str().unwrap()], "failure_tll");
    fs::write(&file, "failure_ttl = 5\nmigration_limit = 6\ndebug = true").unwrap();
    let file = file.to_str().unwrap();
    let shown = run(&["config", "check", "--config", file, "--migration-limit", "7"]);
    let table = text(&shown.stdout);
    let row = |words: [&str; 3]| {
        table.lines().any(|line| line.split_whitespace().eq(words.iter().copied()))
    };
    assert!(row(["failure_ttl", "5", "file"]) && row(["migration_limit", "7", "flag"]), "{table}");
    assert!(row(["failure_quorum", "1", "default"]) && !table.contains("debug"), "{table}");
    assert!(text(&shown.stderr).contains("debug"), "{shown:?}");
}
