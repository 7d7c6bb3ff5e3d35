//! A replica that goes wrong is found, shuts itself off, and is healed: with real processes.
//!
//! What goes wrong is an entry on its way between two replicas: a relay in front of one of them
//! changes a name in it. A flipped bit would be found by the entry's checksum, so the two names are
//! chosen to have the same one. Nothing in the program helps; the entry decodes, and the replica
//! applies another command than the others.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    compare,
    process::{PROGRAM, free_port},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::JoinHandle,
    time::sleep,
};

/// Between two comparisons.
const INTERVAL_MS: u64 = 500;
/// Longest time from the wrong entry to the quarantine: two comparisons, and a busy machine.
const BOUND: Duration = Duration::from_millis(2 * INTERVAL_MS + 4_000);
/// What the relay changes, and into what: two texts with the same CRC-32C.
const NAME: &[u8] = b"collides-jm068bls5";
const CHANGED: &[u8] = b"collides-78b6u26mr";

/// Passes on what is sent to a replica, and changes the name in it while it is bad.
struct Relay {
    is_bad: Arc<AtomicBool>,
    flips: Arc<AtomicU64>,
}

impl Relay {
    async fn start(listen: &str, to: &str, is_bad: bool) -> Self {
        let (is_bad, flips) = (Arc::new(AtomicBool::new(is_bad)), Arc::new(AtomicU64::new(0)));
        let listener = TcpListener::bind(listen).await.unwrap();
        let (to, bad, count) = (to.to_owned(), is_bad.clone(), flips.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else { continue };
                drop((near.set_nodelay(true), far.set_nodelay(true)));
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, Some((bad.clone(), count.clone()))));
                tokio::spawn(pass(far_read, near_write, None));
            }
        });
        Self { is_bad, flips }
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    flips: Option<(Arc<AtomicBool>, Arc<AtomicU64>)>,
) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        if let Some((is_bad, flips)) = &flips
            && is_bad.load(Ordering::SeqCst)
        {
            let found = chunk[..read].windows(NAME.len()).position(|part| part == NAME);
            if let Some(at) = found {
                chunk[at..at + NAME.len()].copy_from_slice(CHANGED);
                flips.fetch_add(1, Ordering::SeqCst);
            }
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}

/// Three replicas; what is sent to the third one is spoiled on its way.
async fn spoiled(intervals_ms: [u64; 3]) -> (Cluster, Relay) {
    let ports: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", free_port())).collect();
    let through = |id: u64| ports[usize::try_from(id - 1).unwrap()].clone();
    let mut cluster = Cluster::prepare_through(3, through, &[]);
    let mut last = None;
    for (replica, interval_ms) in cluster.replicas.iter_mut().zip(intervals_ms) {
        replica.add_args(&["--digest-interval-ms", &interval_ms.to_string()]);
        last = Some(Relay::start(&through(replica.id), &replica.peer_addr, replica.id == 3).await);
        replica.start();
    }
    cluster.wait_all_ready().await;
    (cluster, last.unwrap())
}

/// `quorate ctl` against one replica; standard output.
async fn ctl(cluster: &Cluster, id: u64, words: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["ctl", "--endpoint", &cluster.url(id)]).args(words);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

async fn lead(cluster: &Cluster, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let leader = cluster.wait_leader().await;
        if leader == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "replica {wanted} does not get the lead");
        let url = format!("{}/quorate/v1/leader/transfer", cluster.url(leader));
        drop(cluster.client.post(url).json(&json!({ "to": wanted })).send().await);
    }
}

async fn add_namespace(cluster: &Cluster, id: u64, name: &str) -> StatusCode {
    let url = format!("{}/api/v1/namespaces", cluster.url(id));
    let body = json!({ "namespace": name });
    cluster.client.post(url).json(&body).send().await.unwrap().status()
}

/// Has the spoiled replica take in an entry that the others do not have.
async fn go_wrong(cluster: &Cluster, relay: &Relay) {
    let name = String::from_utf8(NAME.to_vec()).unwrap();
    assert_eq!(add_namespace(cluster, 1, &name).await, StatusCode::CREATED);
    let deadline = Instant::now() + PATIENCE;
    while relay.flips.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "nothing was changed on its way");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn wait_quarantine(cluster: &Cluster, id: u64, since: Instant) -> Duration {
    loop {
        let status = cluster.status(id).await.unwrap_or_default();
        if status["agreement"]["quarantine"].is_object() {
            return since.elapsed();
        }
        if since.elapsed() > PATIENCE {
            cluster.fail(&format!("replica {id} was not found out: {status}"));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn text_of(cluster: &Cluster, id: u64, method: Method, path: &str) -> (StatusCode, String) {
    let url = format!("{}{path}", cluster.url(id));
    let request = cluster.client.request(method, url).json(&json!({ "namespace": "x" }));
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// Every family refuses in its own shape, and every sign says why.
async fn assert_shut(cluster: &mut Cluster, id: u64) {
    let sentence = "this replica is in quarantine: its state differs from that of the majority";
    let shapes = [
        (Method::GET, "/api/v1/namespaces", "/error/message"),
        (Method::POST, "/api/v1/namespaces", "/error/message"),
        (Method::GET, "/api/v2/epoch", "/message"),
        (Method::GET, "/api/v3/metadata", "/message"),
        (Method::DELETE, "/api/v2/proxies/meta/127.0.0.1:1", "/message"),
        (Method::GET, "/v2/hosts", "/error"),
        (Method::GET, "/quorate/v1/audit", "/error/message"),
        (Method::GET, "/quorate/v1/events?wait=0", "/error/message"),
        (Method::GET, "/quorate/v1/backup", "/error/message"),
    ];
    for (method, path, at) in shapes {
        let (status, text) = text_of(cluster, id, method.clone(), path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        let said = body.pointer(at).and_then(Value::as_str).unwrap_or_default();
        assert!(said.contains(sentence), "{method} {path}: {text}");
    }
    let (status, text) = text_of(cluster, id, Method::GET, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("[-] agreement: in quarantine: at index"), "{text}");
    assert!(!text.contains("barrier"), "only what is wrong is named: {text}");
    let (status, text) = text_of(cluster, id, Method::GET, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\nquorate_raft_quarantined 1\n"), "the metric");
    assert_eq!(text_of(cluster, id, Method::GET, "/livez").await.0, StatusCode::OK);
    assert!(cluster.replica(id).output().contains("it is in quarantine"), "the log");
}

async fn assert_listed(cluster: &Cluster, asked: u64) {
    let deadline = Instant::now() + PATIENCE;
    while !ctl(cluster, asked, &["members", "list"]).await.contains("quarantined") {
        assert!(Instant::now() < deadline, "members list does not tell");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(ctl(cluster, asked, &["status"]).await.contains("quarantine"));
}

/// Adds namespaces until told to stop; counts those that were acknowledged.
fn load(cluster: &Cluster, id: u64, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    let (client, url) = (cluster.client.clone(), format!("{}/api/v1/namespaces", cluster.url(id)));
    tokio::spawn(async move {
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let body = json!({ "namespace": format!("load-{written}") });
            let answer = client.post(&url).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED, "nobody notices the healing");
            written += 1;
        }
        written
    })
}

async fn assert_healed(cluster: &mut Cluster, id: u64) {
    cluster.wait_ready(id).await;
    let names = cluster.ask(id, "/api/v1/namespaces").await.unwrap().to_string();
    assert!(names.contains(std::str::from_utf8(NAME).unwrap()), "{names}");
    assert!(!names.contains(std::str::from_utf8(CHANGED).unwrap()), "{names}");
    assert_eq!(add_namespace(cluster, id, "after").await, StatusCode::CREATED);
    if let Err(difference) = compare::digests(cluster).await {
        cluster.fail(&difference);
    }
    let (_, differences) = compare::logs(cluster).await;
    assert_eq!(differences, [], "the wrong entry is gone");
    assert!(!cluster.replica(id).data_dir.join("standing").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_no_checksum_sees_is_found_and_healed_under_load() {
    let (mut cluster, relay) = spoiled([INTERVAL_MS; 3]).await;
    lead(&cluster, 1).await;
    go_wrong(&cluster, &relay).await;
    let took = wait_quarantine(&cluster, 3, Instant::now()).await;
    relay.is_bad.store(false, Ordering::SeqCst);
    println!("found after {took:?}, compared every {INTERVAL_MS} ms");
    assert!(took <= BOUND, "found after {took:?}");
    assert_shut(&mut cluster, 3).await;
    assert_listed(&cluster, 2).await;
    for id in [1, 2] {
        assert_eq!(add_namespace(&cluster, id, &format!("by-{id}")).await, StatusCode::CREATED);
    }
    // Killed and started again it is where it was.
    cluster.replica(3).kill();
    cluster.replica(3).start();
    wait_quarantine(&cluster, 3, Instant::now()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = load(&cluster, 1, stop.clone());
    let said = ctl(&cluster, 2, &["members", "heal", "3"]).await;
    assert!(said.contains("replica 3 agrees with the majority again"), "{said}");
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
    assert_healed(&mut cluster, 3).await;
    let said = ctl(&cluster, 1, &["members", "heal", "3"]).await;
    assert!(said.contains("replica 3 is not in quarantine"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_wrong_state_gives_up_the_lead() {
    // Only the third one compares, and it does so once it leads.
    let (mut cluster, relay) = spoiled([0, 0, INTERVAL_MS]).await;
    lead(&cluster, 1).await;
    go_wrong(&cluster, &relay).await;
    lead(&cluster, 3).await;
    let took = wait_quarantine(&cluster, 3, Instant::now()).await;
    relay.is_bad.store(false, Ordering::SeqCst);
    println!("found after {took:?} as the leader, compared every {INTERVAL_MS} ms");
    assert!(took <= BOUND, "found after {took:?}");
    let leader = cluster.wait_leader_other_than(3).await;
    assert_shut(&mut cluster, 3).await;
    assert_eq!(add_namespace(&cluster, leader, "next").await, StatusCode::CREATED);
    // Healing has its comparison, whatever the interval.
    ctl(&cluster, 3, &["members", "heal", "3"]).await;
    assert_healed(&mut cluster, 3).await;
}
