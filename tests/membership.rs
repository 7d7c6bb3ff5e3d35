//! Members that come, go, move and replace each other, with real processes, while clients write.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    compare,
    process::{PROGRAM, Replica},
    writers::{self, Record, Writers},
};
use tokio::time::sleep;

/// Clients that write all along.
const WRITERS: u64 = 8;
/// No write may take longer than this to be acknowledged.
const REFUSAL_MAX: Duration = Duration::from_secs(2);

/// `quorate ctl` against all replicas.
async fn ctl(cluster: &Cluster, words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["ctl", "--endpoint", &cluster.urls().join(",")]).args(words);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// As [`ctl`], for what must succeed; standard output.
async fn done(cluster: &Cluster, words: &[&str]) -> String {
    let output = ctl(cluster, words).await;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// As [`ctl`], for what must fail; standard error.
async fn denied(cluster: &Cluster, words: &[&str]) -> String {
    let output = ctl(cluster, words).await;
    assert!(!output.status.success(), "{words:?} was not refused");
    assert!(output.stdout.is_empty(), "{words:?} said something on standard output");
    String::from_utf8(output.stderr).unwrap()
}

async fn members(cluster: &Cluster) -> Value {
    let text = done(cluster, &["--output", "json", "members", "list"]).await;
    serde_json::from_str(&text).unwrap()
}

/// Starts a replica that joins by itself.
fn join(cluster: &mut Cluster, id: u64, with_id: bool) {
    let replica = Replica::new(id, cluster.dir());
    let id = id.to_string();
    let flags = ["--replica-id", &id];
    cluster.join(replica, if with_id { &flags } else { &[] });
}

/// Waits until exactly these replicas vote and no change is under way.
async fn wait_voters(cluster: &Cluster, wanted: &[u64]) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for replica in &cluster.replicas {
            let Some(found) = cluster.ask(replica.id, "/quorate/v1/members").await else {
                continue;
            };
            let members = found["members"].as_array().unwrap();
            let voters = members.iter().filter(|member| member["role"] != "learner");
            let voters: Vec<u64> = voters.map(|member| member["id"].as_u64().unwrap()).collect();
            if voters == wanted && found["is_changing"] == false && !found["leader"].is_null() {
                return found;
            }
            if Instant::now() > deadline {
                cluster.fail(&format!("voters are {voters:?}, not {wanted:?}: {found}"));
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Every acknowledged write is on every replica, each once, and all replicas agree.
async fn settle(
    cluster: &mut Cluster,
    (epoch_before, started): (u64, Instant),
    records: &[Record],
) {
    cluster.wait_all_ready().await;
    let writes: u64 = records.iter().map(|r| r.proxies.len() as u64 + r.changes).sum();
    let slowest = records.iter().max_by_key(|record| record.slowest).unwrap();
    let at = slowest.slowest_begun.map(|begun| begun.duration_since(started));
    let slowest = slowest.slowest;
    println!("{writes} writes acknowledged, slowest {slowest:?}, begun at {at:?}");
    assert!(writes > 200, "only {writes} writes: the test has not tested much");
    assert!(slowest <= REFUSAL_MAX, "a write waited {slowest:?}");
    for url in cluster.urls() {
        let request = cluster.client.get(format!("{url}/api/v3/metadata"));
        let request = request.header("Quorate-Consistency", "linearizable");
        let metadata: Value = request.send().await.unwrap().json().await.unwrap();
        let proxies = metadata["all_proxies"].as_object().unwrap();
        for proxy in records.iter().flat_map(|record| &record.proxies) {
            assert!(proxies.contains_key(proxy), "{proxy} was acknowledged and is lost on {url}");
        }
        assert_eq!(metadata["global_epoch"], epoch_before + writes, "each write once ({url})");
    }
    if let Err(difference) = compare::digests(cluster).await {
        cluster.fail(&difference);
    }
}

/// The client addresses a coordinator, or any client, would follow.
async fn leader_url(cluster: &Cluster, id: u64) -> String {
    let text = cluster.ask(id, "/api/v1/controller/leader").await.unwrap();
    text["data"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_then_five_then_two_killed_and_replaced_then_three() {
    let mut cluster = Cluster::start(3, &[]).await;
    let before = writers::prepare(&cluster.url(1)).await;
    let writers = Writers::start(WRITERS, &cluster.urls());
    let started = Instant::now();
    let phase = |what: &str| println!("{what} at {:?}", started.elapsed());
    writers.wait_for(100, PATIENCE).await;

    // Two more: one that says its id, one that takes what it is given.
    join(&mut cluster, 4, true);
    // Whoever takes what it is given comes second, or it may be given 4.
    wait_voters(&cluster, &[1, 2, 3, 4]).await;
    join(&mut cluster, 5, false);
    wait_voters(&cluster, &[1, 2, 3, 4, 5]).await;
    cluster.wait_all_ready().await;
    writers.follow(&cluster.urls());
    writers.wait_for(100, PATIENCE).await;

    // Two die, the leader among them, and are replaced.
    phase("five voters");
    let leader = cluster.wait_leader().await;
    let other = (1..=3).find(|id| *id != leader).unwrap();
    for id in [leader, other] {
        cluster.replica(id).kill();
    }
    cluster.wait_leader_other_than(leader).await;
    phase("another leader");
    cluster.replicas.retain(|replica| ![leader, other].contains(&replica.id));
    writers.follow(&cluster.urls());
    writers.wait_for(100, PATIENCE).await;
    for (dead, id) in [(leader, 6), (other, 7)] {
        let next = Replica::new(id, cluster.dir());
        let (dead, id) = (dead.to_string(), id.to_string());
        let words = ["members", "replace", &dead, "--new-id", &id, "--yes"];
        let place =
            ["--peer-addr", &next.peer_addr, "--client-url", &next.url()].map(str::to_owned);
        let words: Vec<&str> = words.into_iter().chain(place.iter().map(String::as_str)).collect();
        done(&cluster, &words).await;
        cluster.join(next, &[]);
    }
    let mut wanted: Vec<u64> = (1..=7).filter(|id| ![leader, other].contains(id)).collect();
    wait_voters(&cluster, &wanted).await;
    cluster.wait_all_ready().await;
    writers.follow(&cluster.urls());
    writers.wait_for(100, PATIENCE).await;

    phase("replaced");
    // Back to three; clients stop asking a replica before it goes.
    for _ in 0..2 {
        let gone = wanted.remove(0);
        let rest: Vec<u64> = wanted.clone();
        let urls: Vec<String> = rest.iter().map(|id| cluster.url(*id)).collect();
        writers.follow(&urls);
        sleep(Duration::from_millis(100)).await;
        phase(&format!("removing {gone}, {} leads", cluster.wait_leader().await));
        done(&cluster, &["members", "remove", &gone.to_string(), "--yes"]).await;
        let status = cluster.replica(gone).wait_exit(PATIENCE).expect("a removed replica ends");
        assert!(!status.success());
        let said = cluster.replica(gone).output();
        assert!(said.contains(&format!("replica {gone} was removed")), "{said}");
        cluster.replicas.retain(|replica| replica.id != gone);
        wait_voters(&cluster, &wanted).await;
        phase("removed");
    }
    writers.wait_for(100, PATIENCE).await;
    let records = writers.finish().await;
    settle(&mut cluster, (before, started), &records).await;
    let found = members(&cluster).await;
    assert_eq!(found["members"].as_array().unwrap().len(), 3);
    assert_eq!(found["removed"].as_array().unwrap().len(), 4);
    // What clients are told follows the members, not the configuration files.
    let leader = cluster.wait_leader().await;
    for replica in &cluster.replicas {
        let known = leader_url(&cluster, replica.id).await;
        assert_eq!(format!("http://{known}"), cluster.url(leader));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_command_line_serves_every_start() {
    let mut cluster = Cluster::start(3, &[]).await;
    join(&mut cluster, 4, false);
    wait_voters(&cluster, &[1, 2, 3, 4]).await;
    cluster.wait_ready(4).await;
    cluster.replica(4).kill();
    cluster.replica(4).start();
    cluster.wait_ready(4).await;
    let found = wait_voters(&cluster, &[1, 2, 3, 4]).await;
    assert_eq!(found["members"].as_array().unwrap().len(), 4);
    // On an empty disk the same command line is refused.
    cluster.replica(4).kill();
    std::fs::remove_dir_all(&cluster.replica(4).data_dir).unwrap();
    cluster.replica(4).start();
    let status = cluster.replica(4).wait_exit(PATIENCE).expect("it does not start");
    assert!(!status.success());
    let said = cluster.replica(4).output();
    assert!(said.contains("replace or remove replica 4 first"), "{said}");
    // With another secret nobody is taken in.
    let mut stranger = Replica::new(9, cluster.dir());
    let data_dir = stranger.data_dir.display().to_string();
    let args = [
        "--join",
        &cluster.replicas[0].peer_addr,
        "--cluster-token",
        "another secret",
        "--peer-listen",
        &stranger.peer_addr,
        "--listen",
        &stranger.client_addr,
        "--data-dir",
        &data_dir,
    ];
    stranger.set_args(args.map(str::to_owned).to_vec());
    stranger.start();
    sleep(Duration::from_secs(1)).await;
    assert!(!stranger.data_dir.join("identity").exists());
    let found = members(&cluster).await;
    assert_eq!(found["members"].as_array().unwrap().len(), 4, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_why_and_change_nothing() {
    let mut cluster = Cluster::start(3, &[]).await;
    let dead = cluster.wait_follower().await;
    cluster.replica(dead).kill();
    let alive: Vec<u64> = (1..=3).filter(|id| *id != dead).collect();
    cluster.replicas.retain(|replica| replica.id != dead);
    let deadline = Instant::now() + PATIENCE;
    while !members(&cluster).await.to_string().contains("silent") {
        assert!(Instant::now() < deadline, "nobody is silent");
        sleep(Duration::from_millis(50)).await;
    }
    let before = members(&cluster).await["members"].as_array().unwrap().len();
    let said = denied(&cluster, &["members", "remove", &alive[0].to_string(), "--yes"]).await;
    assert!(said.contains(&format!("without an answer: {dead}")), "{said}");
    let said = denied(&cluster, &["members", "remove", &alive[0].to_string()]).await;
    assert!(said.contains("--yes"), "{said}");
    let said = denied(&cluster, &["members", "remove", "9", "--yes"]).await;
    assert!(said.contains("replica 9 is not a member"), "{said}");
    let said = denied(&cluster, &["members", "add", "--peer-addr", "nowhere"]).await;
    assert!(said.contains("HOST:PORT"), "{said}");
    let taken = cluster.replicas[0].peer_addr.clone();
    let said = denied(&cluster, &["members", "add", "--id", "8", "--peer-addr", &taken]).await;
    assert!(said.contains("is the peer address of replica"), "{said}");
    assert_eq!(members(&cluster).await["members"].as_array().unwrap().len(), before);

    let any = cluster.urls().remove(0);
    let ask = |method: Method, path: &str, body: Value| {
        let request = cluster.client.request(method, format!("{any}/quorate/v1/members{path}"));
        request.timeout(Duration::from_secs(12)).json(&body).send()
    };
    for (method, path, body, status, code) in [
        (Method::POST, "", json!({}), 400, "invalid_request"),
        (Method::POST, "", json!({"peer_addr": "a:1", "x": 1}), 400, "invalid_request"),
        (Method::DELETE, "/x", json!({}), 400, "invalid_request"),
        (Method::DELETE, "/9", json!({}), 404, "not_found"),
        (Method::POST, "/9/promote", json!({}), 404, "not_found"),
        (Method::PATCH, "/1", json!({}), 400, "invalid_request"),
        (Method::POST, "/1/replace", json!({}), 400, "invalid_request"),
        (Method::POST, "/1/replace", json!({"by": 9}), 404, "not_found"),
    ] {
        let answer = ask(method.clone(), path, body).await.unwrap();
        assert_eq!(answer.status(), StatusCode::from_u16(status).unwrap(), "{method} {path}");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{method} {path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_trail_and_the_change_feed_tell_of_members() {
    let mut cluster = Cluster::start(3, &[]).await;
    join(&mut cluster, 4, true);
    wait_voters(&cluster, &[1, 2, 3, 4]).await;
    cluster.wait_ready(4).await;
    // A removed replica exits; the others are asked.
    let gone = cluster.replicas.pop().unwrap();
    let request = cluster.client.delete(format!("{}/quorate/v1/members/4", cluster.url(2)));
    let request = request.timeout(Duration::from_secs(12)).header("Idempotency-Key", "once");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let said = denied(&cluster, &["members", "promote", "9"]).await;
    assert!(said.contains("replica 9 is not a member"), "{said}");
    let trail = done(&cluster, &["--output", "json", "audit"]).await;
    let records = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = |record: Value| {
        let action = record["action"].as_str().unwrap().to_owned();
        let word = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        action.contains("_member").then(|| (action, word("actor"), word("outcome")))
    };
    let told: Vec<(String, String, String)> = records.filter_map(told).collect();
    println!("{told:?}");
    let actions: Vec<&str> = told.iter().map(|(action, ..)| action.as_str()).collect();
    assert_eq!(actions, ["join_member", "promote_member", "remove_member", "promote_member"]);
    let actors: Vec<&str> = told.iter().map(|(_, actor, _)| actor.as_str()).collect();
    assert_eq!(actors, ["replica", "quorate", "anonymous", "anonymous"]);
    assert_ne!(told[2].2, told[3].2, "the last one was refused");
    let events =
        cluster.ask(1, "/quorate/v1/events?from=1&family=admin&wait=0&limit=100").await.unwrap();
    let events = events["events"].as_array().unwrap().iter();
    let events: Vec<(&str, &str)> = events
        .map(|event| (event["kind"].as_str().unwrap(), event["object"].as_str().unwrap()))
        .filter(|(kind, _)| kind.starts_with("member_"))
        .collect();
    assert_eq!(events, [("member_joined", "4"), ("member_promoted", "4"), ("member_removed", "4")]);
    drop(gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_the_kvrocks_family_are_the_members() {
    let mut cluster = Cluster::start(3, &[]).await;
    let next = Replica::new(4, cluster.dir());
    let peer = format!("http://{}", next.peer_addr);
    let ask = |body: Value| {
        let url = format!("{}/api/v1/raft/peers", cluster.url(1));
        let request = cluster.client.post(url).timeout(Duration::from_secs(12));
        request.json(&body).send()
    };
    let answer = ask(json!({"id": 4, "operation": "ADD", "peer": peer})).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let found = cluster.ask(2, "/api/v1/raft/peers").await.unwrap();
    assert_eq!(found["data"]["peers"]["4"], peer.as_str(), "{found}");
    cluster.join(next, &[]);
    wait_voters(&cluster, &[1, 2, 3, 4]).await;
    let url = format!("{}/api/v1/raft/peers", cluster.url(1));
    let remove = json!({"id": 4, "operation": "remove"});
    let request = cluster.client.post(url).timeout(Duration::from_secs(12)).json(&remove);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    wait_voters(&cluster, &[1, 2, 3]).await;
    assert!(cluster.replica(4).wait_exit(PATIENCE).is_some());
}
