//! A gateway between clients and replicas that are killed, paused and replaced.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{
    io::Read,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    compare,
    coordinator::{Coordinator, Operator},
    gateway::{Gateway, Thief, half_open},
    process::free_port,
    readers::Readers,
    server_proxy::Fleet,
    writers::{self, Record, Writers},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const MOVE_LIMIT: Duration = Duration::from_secs(1);

fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.replicas.iter().map(|replica| replica.client_addr.clone()).collect()
}

/// Id of the replica that the gateway uses.
async fn in_use(cluster: &Cluster, gateway: &Gateway) -> u64 {
    let address = gateway.in_use().await;
    let replica = cluster.replicas.iter().find(|replica| replica.client_addr == address);
    replica.expect("a replica of the cluster").id
}

/// Patient enough to see what the gateway itself does about a lost replica.
fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

/// Every acknowledged write is there once, on every replica.
async fn settle(cluster: &mut Cluster, epoch_before: u64, records: &[Record]) {
    cluster.wait_all_ready().await;
    let writes: u64 = records.iter().map(|r| r.proxies.len() as u64 + r.changes).sum();
    let repeats: u64 = records.iter().map(|r| r.repeats).sum();
    let slowest = records.iter().map(|r| r.slowest).max().unwrap_or_default();
    println!("{writes} writes acknowledged, {repeats} repeats, slowest {slowest:?}");
    assert!(writes > 50, "only {writes} writes: the test has not tested much");
    for url in cluster.urls() {
        let request = cluster.client.get(format!("{url}/api/v3/metadata"));
        let request = request.header("Quorate-Consistency", "linearizable");
        let metadata: Value = request.send().await.unwrap().json().await.unwrap();
        let proxies = metadata["all_proxies"].as_object().unwrap();
        for proxy in records.iter().flat_map(|record| &record.proxies) {
            assert!(proxies.contains_key(proxy), "{proxy} was acknowledged and is lost on {url}");
        }
        let epoch = metadata["global_epoch"].as_u64().unwrap();
        assert_eq!(epoch, epoch_before + writes, "the epoch counts every write once ({url})");
    }
    compare::digests(cluster).await.unwrap();
}

/// Clients that know one address only write and read on while the replica behind it is killed,
/// comes back, is paused, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_paused_and_restarted_replicas_under_reads_and_writes() {
    let mut cluster = Cluster::start(3, &[]).await;
    let before = writers::prepare(&cluster.url(1)).await;
    let gateway = Gateway::start(&addresses(&cluster), &[]).await;
    let readers = Readers::start(&[gateway.url()]);
    let writers = Writers::start_patient(4, &[gateway.url()]);
    for _ in 0..3 {
        writers.wait_for(30, PATIENCE).await;
        let lost = in_use(&cluster, &gateway).await;
        cluster.replica(lost).kill();
        writers.wait_for(30, PATIENCE).await;
        assert_ne!(in_use(&cluster, &gateway).await, lost);
        cluster.replica(lost).start();
        cluster.wait_ready(lost).await;
    }
    for _ in 0..2 {
        writers.wait_for(30, PATIENCE).await;
        let paused = in_use(&cluster, &gateway).await;
        cluster.replica(paused).signal(Signal::SIGSTOP);
        writers.wait_for(30, PATIENCE).await;
        assert_ne!(in_use(&cluster, &gateway).await, paused);
        cluster.replica(paused).signal(Signal::SIGCONT);
        cluster.wait_ready(paused).await;
    }
    writers.wait_for(30, PATIENCE).await;
    let records = writers.finish().await;
    readers.finish().await;
    settle(&mut cluster, before, &records).await;
}

/// The gateway leaves a replica that died or stands still within a second, and the request that
/// was on its way is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_moves_within_a_second() {
    let mut cluster = Cluster::start(3, &[]).await;
    let gateway = Gateway::start(&addresses(&cluster), &[]).await;
    let client = client();
    let read = || async {
        let begun = Instant::now();
        let answer = client.get(format!("{}/api/v3/epoch", gateway.url())).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        begun.elapsed()
    };
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        // A follower, so that what is measured is the gateway and not an election.
        read().await;
        let used = in_use(&cluster, &gateway).await;
        if cluster.wait_leader().await == used {
            let url = format!("{}/quorate/v1/leader/transfer", cluster.url(used));
            client.post(url).send().await.unwrap();
            cluster.wait_leader_other_than(used).await;
        }
        let used = in_use(&cluster, &gateway).await;
        cluster.replica(used).signal(signal);
        let begun = Instant::now();
        let slowest = read().await;
        println!("{signal}: the first read after it took {slowest:?}");
        assert!(slowest < MOVE_LIMIT, "{signal}: a read took {slowest:?}");
        while in_use(&cluster, &gateway).await == used {
            assert!(begun.elapsed() < MOVE_LIMIT, "{signal}: the lost replica is still in use");
            read().await;
        }
        if signal == Signal::SIGKILL {
            cluster.replica(used).kill();
            cluster.replica(used).start();
        } else {
            cluster.replica(used).signal(Signal::SIGCONT);
        }
        cluster.wait_ready(used).await;
    }
}

/// A change whose reply is lost is sent again under the same key, and happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_reply_is_lost_is_applied_once() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut before = writers::prepare(&cluster.url(1)).await;
    // Only through thieves, so that every attempt can be robbed.
    let mut thieves = Vec::new();
    for address in addresses(&cluster) {
        thieves.push(Thief::before(&address).await);
    }
    let endpoints: Vec<String> = thieves.iter().map(|thief| thief.address.clone()).collect();
    let gateway = Gateway::start(&endpoints, &["--learn-members", "false"]).await;
    let client = client();
    for (round, steals) in [1, 1, 1].into_iter().enumerate() {
        thieves.iter().for_each(|thief| thief.steal(steals));
        let base = format!("{}/api/v3", gateway.url());
        // No key of the client's: the gateway's own must do.
        let answer = writers::change(&client, &base, 10 + round as u64).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.text().await);
        assert!(thieves.iter().any(|thief| thief.left() < steals), "nothing was stolen");
        let epoch = writers::epoch(&client, &cluster.url(1)).await;
        assert_eq!(epoch, before + 1, "one change, whatever was lost on the way");
        before = epoch;
    }
    assert!(gateway.metric("quorate_gateway_retries_total").await >= 3.0);
    cluster.wait_all_ready().await;
}

/// What operators ask of one replica is not sent twice: its outcome is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_go_through_the_log_is_not_repeated() {
    let mut cluster = Cluster::start(1, &[]).await;
    let thief = Thief::before(&cluster.replica(1).client_addr).await;
    let endpoints = [thief.address.clone()];
    let gateway = Gateway::start(&endpoints, &["--learn-members", "false"]).await;
    thief.steal(1);
    let url = format!("{}/quorate/v1/snapshot", gateway.url());
    let answer = client().post(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "unknown");
    assert_eq!(thief.left(), 0);
}

/// A dead address and one that accepts and never answers do not slow anybody down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_and_half_open_endpoints_are_skipped() {
    let mut cluster = Cluster::start(1, &[]).await;
    let dead = format!("127.0.0.1:{}", free_port());
    let endpoints = [half_open().await, dead, cluster.replica(1).client_addr.clone()];
    let gateway = Gateway::start(&endpoints, &[]).await;
    gateway.wait(|report| !report["endpoints"].to_string().contains("unknown")).await;
    let client = client();
    let begun = Instant::now();
    for number in 0..50 {
        let base = format!("{}/api/v3", gateway.url());
        let answer = writers::register(&client, &base, &format!("p{number}:1")).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        let answer = client.get(format!("{base}/proxies/addresses")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(gateway.metric("quorate_gateway_retries_total").await, 0.0);
    assert_eq!(gateway.in_use().await, cluster.replica(1).client_addr);
}

/// Without any replica the refusal is clear, comes in bounded time, and ends with the outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_dead_is_said_in_bounded_time_and_ends_with_the_outage() {
    let mut cluster = Cluster::start(3, &[]).await;
    let gateway = Gateway::start(&addresses(&cluster), &["--wait-timeout-ms", "500"]).await;
    cluster.replicas.iter_mut().for_each(support::process::Replica::kill);
    let client = client();
    let shapes = [
        ("/api/v3/epoch", json!("RETRY"), "/error"),
        ("/api/v1/namespaces", json!(503), "/status"),
        ("/v2/hosts", json!("FAIL"), "/status"),
        ("/quorate/v1/status", json!("no_replica"), "/error/code"),
    ];
    for (path, expected, pointer) in shapes {
        let begun = Instant::now();
        let answer = client.get(format!("{}{path}", gateway.url())).send().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{path}: {:?}", begun.elapsed());
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers()["retry-after"], "1");
        let body: Value = answer.json().await.unwrap();
        if path.starts_with("/api/v1") {
            assert!(body["error"]["message"].is_string(), "{path}: {body}");
        } else {
            assert_eq!(body.pointer(pointer), Some(&expected), "{path}: {body}");
        }
    }
    assert_eq!(gateway.report().await.unwrap()["is_serving"], false);
    cluster.replicas.iter_mut().for_each(support::process::Replica::start);
    cluster.wait_all_ready().await;
    gateway.wait(|report| report["is_serving"] == true).await;
    let answer = client.get(format!("{}/api/v3/epoch", gateway.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// One replica is enough to learn the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_learned_from_the_replicas() {
    let mut cluster = Cluster::start(3, &[]).await;
    let first = cluster.replica(1).client_addr.clone();
    let gateway = Gateway::start(&[first], &[]).await;
    client().get(format!("{}/api/v3/epoch", gateway.url())).send().await.unwrap();
    let all_ready = |report: &Value| {
        let endpoints = report["endpoints"].as_array().unwrap();
        endpoints.len() == 3 && endpoints.iter().all(|one| one["health"] == "ready")
    };
    gateway.wait(all_ready).await;
    cluster.replica(1).kill();
    let answer = client().get(format!("{}/api/v3/epoch", gateway.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Sends raw bytes, and reads until the other end closes or nothing more comes.
async fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    read_all(&mut stream).await
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(Ok(count @ 1..)) =
        timeout(Duration::from_millis(1_500), stream.read(&mut part)).await
    {
        answer.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Clients that ask for too much, are too slow, or go away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_misbehave_get_a_clear_answer_or_none() {
    let mut cluster = Cluster::start(1, &[]).await;
    let flags = ["--body-bytes-max", "300000", "--idle-timeout-ms", "300"];
    let gateway = Gateway::start(&addresses(&cluster), &flags).await;
    let address = &gateway.address;
    let path = "/api/v3/proxies/meta HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

    let answer =
        raw(address, format!("POST {path}content-length: 300001\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("INVALID_REQUEST") && answer.contains("300000"), "{answer}");
    // Without a length it shows only on the way.
    let mut chunked = format!("POST {path}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..4 {
        chunked.extend_from_slice(b"18000\r\n");
        chunked.resize(chunked.len() + 0x18000, b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = raw(address, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let begun = Instant::now();
    let answer = raw(address, format!("POST {path}content-length: 20\r\n\r\n{{").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    // So is a body that is too large to be kept and stops halfway.
    let slow = format!("POST {path}content-length: 200000\r\n\r\n{}", " ".repeat(150_000));
    let answer = raw(address, slow.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");

    // Gone before the answer, or inside the body.
    for request in [
        "GET /api/v3/proxies/addresses HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        format!("POST {path}content-length: 20\r\n\r\n{{"),
    ] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
        }
    }
    let answer = client().get(format!("{}/api/v3/epoch", gateway.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(cluster.replica(1).is_running());
    gateway.wait(|report| report["is_serving"] == true).await;
}

/// Requests that are sent without waiting are answered in order on one connection; what belongs to
/// one connection stays there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_on_a_connection_that_is_kept() {
    let cluster = Cluster::start(1, &[]).await;
    let gateway = Gateway::start(&addresses(&cluster), &[]).await;
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n");
    let head = "HEAD /api/v3/epoch HTTP/1.1\r\nhost: x\r\n\r\n";
    let post = "POST /api/v3/failures/a:1/me HTTP/1.1\r\nhost: x\r\n\r\n";
    let requests =
        [&get("/api/v3/epoch"), post, &get("/api/v3/version"), head, &get("/nowhere")].concat();
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let answers = read_all(&mut stream).await;
    let statuses: Vec<&str> =
        answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    let direct = {
        let mut stream = TcpStream::connect(&addresses(&cluster)[0]).await.unwrap();
        stream.write_all(requests.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    };
    let expected: Vec<&str> =
        direct.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, expected, "{answers}\n{direct}");
    assert_eq!(statuses.len(), 5, "{answers}");
    // The connection still serves, until the client says that it is done.
    stream.write_all(get("/livez").replace("keep-alive", "close").as_bytes()).await.unwrap();
    let last = read_all(&mut stream).await;
    assert!(last.starts_with("HTTP/1.1 200"), "{last}");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the connection is closed");
}

/// A compressed answer arrives as the replica made it, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_answers_pass_through_untouched() {
    let cluster = Cluster::start(1, &[]).await;
    writers::prepare(&cluster.url(1)).await;
    let gateway = Gateway::start(&addresses(&cluster), &[]).await;
    let mut bodies = Vec::new();
    for url in [cluster.url(1), gateway.url()] {
        let request = client().get(format!("{url}/api/v3/clusters/meta/{}", writers::CLUSTER));
        let answer = request.header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{url}");
        let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len(), length);
        bodies.push(bytes);
    }
    assert_eq!(bodies[0], bodies[1]);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bodies[0][..]).read_to_string(&mut text).unwrap();
    assert!(text.contains(writers::CLUSTER), "{text}");
}

/// A stop lets accepted requests end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_answers_what_was_accepted() {
    let cluster = Cluster::start(1, &[]).await;
    let mut gateway = Gateway::start(&addresses(&cluster), &[]).await;
    let body = json!({ "proxy_address": "late:1", "nodes": ["late:2", "late:3"] }).to_string();
    let head = format!(
        "POST /api/v3/proxies/meta HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut part = [0; 64];
    let count = stream.read(&mut part).await.unwrap();
    assert!(part[..count].starts_with(b"HTTP/1.1 100"), "the gateway waits for the body");
    gateway.signal(Signal::SIGTERM);
    let refused = async {
        while TcpStream::connect(&gateway.address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("a stopping gateway takes no connection");
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let status = gateway.wait_exit(PATIENCE).await.expect("the gateway ends");
    assert!(status.success(), "{status}");
}

/// What a coordinator needs: while replicas are killed and replaced one after another, every loop
/// goes on, and none is without a good round for longer than two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_behind_a_gateway_misses_no_round_while_replicas_are_replaced() {
    const INTERVAL: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);
    let mut cluster = Cluster::start(3, &[]).await;
    let fleet = Fleet::default();
    let mut operator = Operator::new(&cluster.urls());
    for number in 0..6 {
        let address = fleet.start().await;
        operator.register(&address, &format!("host{}", number % 3)).await;
    }
    operator.change(Method::POST, "clusters/meta/life", json!({ "node_number": 8 })).await;
    let gateway = Gateway::start(&addresses(&cluster), &[]).await;
    let mut coordinator = Coordinator::start("coordinator-1", &[gateway.url()], INTERVAL);
    good_rounds(&coordinator, 3).await;
    for round in 0..6 {
        // By turns the one in use and the leader: both hurt, in their own ways.
        let lost = if round % 2 == 0 {
            in_use(&cluster, &gateway).await
        } else {
            cluster.wait_leader().await
        };
        cluster.replica(lost).kill();
        good_rounds(&coordinator, 5).await;
        cluster.replica(lost).start();
        cluster.wait_ready(lost).await;
        good_rounds(&coordinator, 5).await;
    }
    assert!(!coordinator.has_died(), "a loop of the coordinator has ended");
    for (rounds, name) in
        coordinator.rounds().iter().zip(["detect", "metadata", "migrations", "failures"])
    {
        println!(
            "{name}: {} good rounds, longest gap {:?}, faults {:?}",
            rounds.good, rounds.longest, rounds.faults
        );
        assert!(rounds.good > 50, "{name}: only {} rounds", rounds.good);
        assert!(rounds.longest < LONGEST, "{name}: {:?} without a good round", rounds.longest);
    }
    assert_eq!(fleet.violations(), Vec::<String>::new(), "an epoch had two contents");
}

/// Waits until every loop has had `more` further good rounds.
async fn good_rounds(coordinator: &Coordinator, more: u64) {
    let before: Vec<u64> = coordinator.rounds().iter().map(|rounds| rounds.good).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rounds = coordinator.rounds();
        if rounds.iter().zip(&before).all(|(now, before)| now.good >= before + more) {
            return;
        }
        assert!(Instant::now() < deadline, "the coordinator does not go on: {rounds:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
