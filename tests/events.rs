//! The change feed: complete and in order over the loss of replicas, bounded for whoever is slow.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use futures::StreamExt;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    process::PROGRAM,
    writers::{self, Writers},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

/// For streams, which have no end.
fn client() -> Client {
    Client::builder().no_proxy().connect_timeout(Duration::from_secs(2)).build().unwrap()
}

async fn page(url: &str, query: &str) -> Value {
    let answer = client().get(format!("{url}/quorate/v1/events?{query}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{query}");
    answer.json().await.unwrap()
}

/// Everything a replica keeps from a revision on, page by page.
async fn all(url: &str, from: u64) -> Vec<Value> {
    let (mut events, mut next) = (Vec::new(), from);
    loop {
        let page = page(url, &format!("wait=0&limit=100&from={next}")).await;
        let more = page["events"].as_array().unwrap();
        if more.is_empty() {
            return events;
        }
        events.extend(more.iter().cloned());
        next = page["next"].as_u64().unwrap();
    }
}

fn revisions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["revision"].as_u64().unwrap()).collect()
}

/// Indexes of the commands in a replica's log.
async fn commands(cluster: &Cluster, id: u64, to: u64) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for from in (1..to).step_by(1_000) {
        let path = format!("/quorate/v1/log?from={from}&to={}", to.min(from + 1_000));
        let log = cluster.ask(id, &path).await.unwrap();
        for entry in log["entries"].as_array().unwrap() {
            if entry["kind"] == "command" {
                found.insert(entry["index"].as_u64().unwrap());
            }
        }
    }
    found
}

/// A reader of the stream that goes on at another replica whenever its own is lost, with nothing
/// but the id it saw last.
struct Follower {
    urls: Vec<String>,
    turn: usize,
    last_id: u64,
    events: Vec<Value>,
    resumed: u32,
}

impl Follower {
    fn new(urls: Vec<String>, from: u64) -> Self {
        Self { urls, turn: 0, last_id: from - 1, events: Vec::new(), resumed: 0 }
    }

    /// Reads until an event satisfies `is_last`.
    async fn run(mut self, is_last: impl Fn(&Value) -> bool) -> Self {
        let deadline = Instant::now() + PATIENCE * 3;
        while !self.events.iter().any(&is_last) {
            assert!(Instant::now() < deadline, "the last event does not come");
            let url = &self.urls[self.turn % self.urls.len()];
            let request = client().get(format!("{url}/quorate/v1/events"));
            let request = request.header("Last-Event-ID", self.last_id.to_string());
            if let Ok(Ok(answer)) = timeout(Duration::from_secs(2), request.send()).await
                && answer.status() == StatusCode::OK
            {
                self.read(answer, &is_last).await;
            }
            self.turn += 1;
            self.resumed += 1;
            sleep(Duration::from_millis(20)).await;
        }
        self
    }

    async fn read(&mut self, answer: Response, is_last: &impl Fn(&Value) -> bool) {
        let mut parts = answer.bytes_stream();
        let mut text = String::new();
        // A sign of life comes every five seconds.
        while let Ok(Some(Ok(part))) = timeout(Duration::from_secs(8), parts.next()).await {
            text.push_str(std::str::from_utf8(&part).unwrap());
            while let Some((block, rest)) = text.split_once("\n\n") {
                self.take(block);
                text = rest.to_owned();
            }
            if self.events.iter().any(is_last) {
                return;
            }
        }
    }

    fn take(&mut self, block: &str) {
        for line in block.lines() {
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = id.parse().unwrap();
            }
            if let Some(data) = line.strip_prefix("data: ") {
                self.events.push(serde_json::from_str(data).unwrap());
            }
        }
    }
}

/// What a reader is told, over the death of leaders and on whichever replica: every command of the
/// log that changed something, once, in order, and the same on all replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_and_completeness_over_leader_kills_and_resumption_elsewhere() {
    let mut cluster = Cluster::start(3, &[]).await;
    writers::prepare(&cluster.url(1)).await;
    let from = page(&cluster.url(1), "wait=0").await["next"].as_u64().unwrap();
    let follower = Follower::new(cluster.urls(), from);
    let following = tokio::spawn(follower.run(|event: &Value| event["object"] == "the-end:6000"));
    let writers = Writers::start(4, &cluster.urls());
    for _ in 0..3 {
        writers.wait_for(60, PATIENCE).await;
        let leader = cluster.wait_leader().await;
        cluster.replica(leader).kill();
        cluster.wait_leader_other_than(leader).await;
        writers.wait_for(60, PATIENCE).await;
        cluster.replica(leader).start();
        cluster.wait_ready(leader).await;
    }
    let records = writers.finish().await;
    let base = format!("{}/api/v3", cluster.url(1));
    let answer = writers::register(&writers::client(), &base, "the-end:6000").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let follower = following.await.unwrap();
    let seen = revisions(&follower.events);
    println!("{} events, resumed {} times", seen.len(), follower.resumed);
    assert!(follower.resumed > 1, "the follower has never changed its replica");

    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "out of order or twice: {seen:?}");
    for (object, kind) in
        records.iter().flat_map(|record| &record.proxies).map(|proxy| (proxy, "proxy_registered"))
    {
        let told = follower.events.iter().filter(|event| event["object"] == **object);
        assert_eq!(told.filter(|event| event["kind"] == kind).count(), 1, "{object}");
    }
    let changes: u64 = records.iter().map(|record| record.changes).sum();
    let told = follower.events.iter().filter(|event| event["kind"] == "config_changed").count();
    assert_eq!(told as u64, changes, "each change is told once");

    // What the log has and the feed has not are repetitions of one request, which change nothing.
    let end = *seen.last().unwrap();
    for id in 1..=3 {
        wait_applied(&cluster, id, end).await;
        let oldest = page(&cluster.url(id), "wait=0&from=0").await;
        let kept = all(&cluster.url(id), 0).await;
        let begin = oldest["oldest"].as_u64().unwrap().max(from);
        let here: Vec<Value> = kept
            .into_iter()
            .filter(|event| (begin..=end).contains(&event["revision"].as_u64().unwrap()))
            .collect();
        let expected: Vec<Value> = follower
            .events
            .iter()
            .filter(|event| event["revision"].as_u64().unwrap() >= begin)
            .cloned()
            .collect();
        assert_eq!(here, expected, "replica {id} tells something else");
        let log = commands(&cluster, id, end + 1).await;
        let told: BTreeSet<u64> = revisions(&here).into_iter().collect();
        assert!(told.is_subset(&log), "an event without a command");
        let untold = log.range(begin..).filter(|index| !told.contains(index)).count();
        let repeats: u64 = records.iter().map(|record| record.repeats).sum();
        println!(
            "replica {id}: {} commands, {untold} without an event, {repeats} repeats",
            log.len()
        );
        assert!(untold as u64 <= 2 * repeats + 8, "{untold} commands are not told of");
    }
}

async fn wait_applied(cluster: &Cluster, id: u64, index: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = cluster.status(id).await;
        if status.is_some_and(|status| status["applied_index"].as_u64() >= Some(index)) {
            return;
        }
        assert!(Instant::now() < deadline, "replica {id} does not reach {index}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A request on an idle log waits for what comes, and not longer than it said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_waits_for_the_next_event_and_no_longer() {
    let cluster = Cluster::start(1, &[]).await;
    let url = cluster.url(1);
    let begun = Instant::now();
    let empty = page(&url, "wait=0.3").await;
    assert_eq!(empty["events"], json!([]));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let next = empty["next"].as_u64().unwrap();
    let waiting = {
        let url = url.clone();
        tokio::spawn(async move { page(&url, &format!("wait=20&from={next}")).await })
    };
    let answer = writers::register(&writers::client(), &format!("{url}/api/v3"), "p:1");
    let answer = answer.send().await.unwrap();
    let index: u64 = answer.headers()["quorate-index"].to_str().unwrap().parse().unwrap();
    let told = waiting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    let event = &told["events"][0];
    assert_eq!((&event["kind"], &event["object"]), (&json!("proxy_registered"), &json!("p:1")));
    assert_eq!((&event["revision"], &event["family"]), (&json!(index), &json!("undermoon")));
    assert!(event["time_ms"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(told["next"], index + 1);
    for bad in ["wait=-1", "wait=x", "from=x", "family=redis", "nonsense=1"] {
        let answer = client().get(format!("{url}/quorate/v1/events?{bad}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
}

/// Every family tells, and filters choose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_families_tell_and_filters_choose() {
    let cluster = Cluster::start(1, &[]).await;
    let (url, client) = (cluster.url(1), writers::client());
    let register = writers::register(&client, &format!("{url}/api/v3"), "p:1");
    assert_eq!(register.send().await.unwrap().status(), StatusCode::OK);
    for namespace in ["left", "right"] {
        let request = client.post(format!("{url}/api/v1/namespaces"));
        let answer = request.json(&json!({ "namespace": namespace })).send().await.unwrap();
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    }
    let settings = client.put(format!("{url}/quorate/v1/undermoon/settings"));
    let answer = settings.json(&json!({ "failure_ttl": 31 })).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let kinds = async |query: &str| -> Vec<String> {
        let page = page(&url, &format!("wait=0&from=0&{query}")).await;
        let events = page["events"].as_array().unwrap();
        events.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds("family=admin").await, ["feature_level_raised", "founded"]);
    assert_eq!(kinds("family=undermoon").await, ["proxy_registered", "settings_changed"]);
    assert_eq!(kinds("family=kvrocks").await, ["namespace_created", "namespace_created"]);
    assert_eq!(kinds("object=rig").await, ["namespace_created"]);
    assert_eq!(kinds("kind=proxy_registered,founded").await, ["founded", "proxy_registered"]);
    assert_eq!(kinds("family=cello").await, Vec::<String>::new());
    // A filtered page has looked at everything all the same.
    let (all, none) =
        (page(&url, "wait=0&from=0").await, page(&url, "wait=0&from=0&family=cello").await);
    assert_eq!(all["next"], none["next"]);
}

/// What is no longer kept is said as such, with where what is kept begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacted_is_explicit() {
    let cluster = Cluster::start(1, &["--events-kept", "20"]).await;
    let (url, client) = (cluster.url(1), writers::client());
    let report = |number: u64| {
        let path = format!("{url}/api/v3/failures/p:1/reporter{number}");
        let request = client.post(path);
        async move { assert_eq!(request.send().await.unwrap().status(), StatusCode::OK) }
    };
    report(0).await;
    let first = page(&url, "wait=0&from=0").await["events"][0]["revision"].as_u64().unwrap();
    for number in 1..=50 {
        report(number).await;
    }
    for query in [format!("from={first}"), format!("wait=5&from={first}")] {
        let path = format!("{url}/quorate/v1/events?{query}");
        let answer = client.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::GONE, "{query}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "compacted");
        let oldest = body["error"]["oldest"].as_u64().unwrap();
        assert!(oldest > first, "{body}");
        let kept = page(&url, &format!("wait=0&from={oldest}")).await;
        assert_eq!(kept["events"].as_array().unwrap().len(), 20);
        let before = client.get(format!("{url}/quorate/v1/events?wait=0&from={}", oldest - 1));
        assert_eq!(before.send().await.unwrap().status(), StatusCode::GONE);
    }
    // From zero means from whatever there is.
    assert_eq!(all(&url, 0).await.len(), 20);
}

/// A reader that takes nothing is cut off; writers do not notice, and its place is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_cut_off_and_no_writer_waits() {
    let cluster = Cluster::start(1, &["--write-timeout-ms", "1000"]).await;
    let mut slow = slow_reader(&cluster).await;
    write_a_lot(&cluster.url(1)).await;
    wait_readers(&cluster, 0).await;
    // What was on its way is read, and then the end and not silence.
    read_to_end(&mut slow).await;
}

/// A reader that comes back after more was written than is kept is told so, as the last thing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_behind_is_told_so() {
    let cluster = Cluster::start(1, &["--events-kept", "100"]).await;
    let mut slow = slow_reader(&cluster).await;
    write_a_lot(&cluster.url(1)).await;
    let text = read_to_end(&mut slow).await;
    let (_, last) = text.rsplit_once("event: compacted").expect("the reader is told");
    assert!(last.contains("data: {\"oldest\":"), "{last}");
    wait_readers(&cluster, 0).await;
}

/// Reads nothing until it is told to, and has little room.
async fn slow_reader(cluster: &Cluster) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = cluster.replicas[0].client_addr.parse().unwrap();
    let mut slow = socket.connect(address).await.unwrap();
    let request = "GET /quorate/v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    slow.write_all(request.as_bytes()).await.unwrap();
    wait_readers(cluster, 1).await;
    slow
}

/// More than the system holds for one connection, in large events; no write takes long.
async fn write_a_lot(url: &str) {
    const WRITES: u64 = 12_000;
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let mut writes = futures::stream::iter(0..WRITES)
        .map(|number| {
            let object = format!("{number:0>240}");
            let request = client.post(format!("{url}/api/v3/failures/{object}/r"));
            async move {
                let begun = Instant::now();
                assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
                begun.elapsed()
            }
        })
        .buffer_unordered(64);
    while let Some(took) = writes.next().await {
        slowest = slowest.max(took);
    }
    println!("{WRITES} writes in {:?}, slowest {slowest:?}", begun.elapsed());
    assert!(slowest < Duration::from_secs(5), "a writer waited for {slowest:?}");
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut part = vec![0; 1 << 16];
    let end = async {
        while let Ok(count @ 1..) = stream.read(&mut part).await {
            all.extend_from_slice(&part[..count]);
        }
    };
    timeout(PATIENCE, end).await.expect("the connection is closed");
    String::from_utf8_lossy(&all).into_owned()
}

async fn wait_readers(cluster: &Cluster, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = cluster.client.get(format!("{}/metrics", cluster.url(1))).send().await.unwrap();
        let text = text.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("quorate_event_readers "));
        if line.and_then(|value| value.parse::<f64>().ok()) == Some(wanted as f64) {
            return;
        }
        assert!(Instant::now() < deadline, "there are {line:?} readers, not {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// There is a bound on readers, and a stopping replica does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_bounded_and_do_not_hold_up_a_stop() {
    const READERS_MAX: usize = 256;
    let mut cluster = Cluster::start(1, &[]).await;
    let url = format!("{}/quorate/v1/events", cluster.url(1));
    let client = client();
    let mut streams = Vec::new();
    for _ in 0..READERS_MAX {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        streams.push(answer);
    }
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    // Others are served.
    let answer = client.get(format!("{}/api/v3/epoch", cluster.url(1))).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    streams.pop();
    wait_readers(&cluster, READERS_MAX as u64 - 1).await;
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
    let begun = Instant::now();
    cluster.replica(1).signal(nix::sys::signal::Signal::SIGTERM);
    let status = cluster.replica(1).wait_exit(PATIENCE).expect("the replica stops");
    assert!(status.success());
    assert!(begun.elapsed() < Duration::from_secs(4), "the stop took {:?}", begun.elapsed());
}

/// A stream ends soon after the token that opened it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_token() {
    const SECRET: &str = "an-admin-token-that-is-only-for-tests";
    let flags = ["--anonymous", "none", "--admin-token", SECRET];
    let cluster = Cluster::start(1, &flags).await;
    let (url, client) = (cluster.url(1), client());
    let refused = client.get(format!("{url}/quorate/v1/events")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let request = client.post(format!("{url}/quorate/v1/tokens")).bearer_auth(SECRET);
    let made = request.json(&json!({ "role": "read" })).send().await.unwrap();
    assert!(made.status().is_success(), "{:?}", made.text().await);
    let made: Value = made.json().await.unwrap();
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let request = client.get(format!("{url}/quorate/v1/events?from=0")).bearer_auth(token);
    let mut stream = request.send().await.unwrap().bytes_stream();
    let begin = stream.next().await.unwrap().unwrap();
    assert!(begin.starts_with(b"retry: "), "{begin:?}");
    let request = client.delete(format!("{url}/quorate/v1/tokens/{id}")).bearer_auth(SECRET);
    assert!(request.send().await.unwrap().status().is_success());
    let mut text = Vec::new();
    let end = async {
        while let Some(part) = stream.next().await {
            text.extend_from_slice(&part.unwrap());
        }
    };
    timeout(Duration::from_secs(15), end).await.expect("the stream ends");
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("token_created") && !text.contains(token), "{text}");
}

/// The command line shows the same, as a table and as JSON lines, and says what is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_the_feed() {
    let cluster = Cluster::start(1, &["--events-kept", "30"]).await;
    let url = cluster.url(1);
    writers::prepare(&url).await;
    // A dead endpoint first.
    let endpoints = format!("http://127.0.0.1:1,{url}");
    let ctl = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["ctl", "-H", &endpoints, "events"]).args(more);
        let output = command.env_clear().output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (is_good, lines, _) = ctl(&["-o", "json"]);
    assert!(is_good);
    let events: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events, all(&url, 0).await);
    let (_, lines, _) = ctl(&["-o", "json", "--kind", "cluster_created", "--object", "wr"]);
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains(&format!("\"object\":\"{}\"", writers::CLUSTER)), "{lines}");
    let (_, table, _) = ctl(&["--family", "undermoon"]);
    assert!(table.starts_with("REVISION "), "{table}");
    assert!(table.lines().nth(1).unwrap().contains("proxy_registered"), "{table}");
    for number in 0..40 {
        let request = writers::client().post(format!("{url}/api/v3/failures/p:1/r{number}"));
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    }
    let (is_good, _, error) = ctl(&["--from", "1"]);
    assert!(!is_good);
    assert!(error.contains("no longer kept") && error.contains("Quorate-Index"), "{error}");
}
