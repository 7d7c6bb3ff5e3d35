//! Secrets on disk, on the way and in logs: absent where they must not be, and of use all the same.

#![allow(clippy::unwrap_used)]

mod kvrocks_live;
mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kvrocks_live::{
    PATIENCE, PROFILE, Site,
    fleet::Fleet,
    kvrocks_node::{Node, Options},
};
use reqwest::Method;
use serde_json::{Value, json};
use support::{cluster::Cluster, process::PROGRAM};
use tempfile::TempDir;

fn quorate(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(words).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A key file that the program made itself.
struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        let keys = Self(TempDir::with_prefix("quorate-keys-").unwrap());
        keys.add("k1");
        keys
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("secrets.keys")
    }

    fn add(&self, id: &str) {
        let path = self.path().display().to_string();
        let made = quorate(&["secrets", "generate-key", &path, "--id", id, "--add"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }

    /// Lets another key seal: keys in this order, others left out.
    fn keep(&self, ids: &[&str]) {
        let before = fs::read_to_string(self.path()).unwrap();
        let line = |id: &&str| {
            let line = before.lines().find(|line| line.starts_with(&format!("{id}:")));
            format!("{}\n", line.unwrap())
        };
        fs::write(self.path(), ids.iter().map(line).collect::<String>()).unwrap();
    }

    fn flag(&self) -> String {
        format!("--secrets-key-file={}", self.path().display())
    }
}

async fn start(more: &[&str]) -> Site {
    let flags = [&PROFILE, &["--log-level", "debug"][..], more].concat();
    let site = Site::of(Cluster::start(3, &flags).await).await;
    // Founders that are slow to say what they know make it begin lower.
    site.wait("the feature level of sealing", PATIENCE, async || {
        let report = site.cluster.ask(1, "/quorate/v1/secrets").await.unwrap_or_default();
        if report["is_allowed"] == json!(true) { Ok(()) } else { Err(report.to_string()) }
    })
    .await;
    site
}

/// Stops replicas one after the other and starts them again, as an operator would.
async fn restart_all(site: &mut Site) {
    for id in 1..=3 {
        site.cluster.replica(id).kill();
        site.revive(id).await;
    }
    site.cluster.wait_leader().await;
}

fn ctl(site: &Site, words: &[&str]) -> Output {
    let urls = site.cluster.urls().join(",");
    quorate(&[&["ctl", "--endpoint", &urls], words].concat())
}

fn report(site: &Site) -> Value {
    let said = ctl(site, &["-o", "json", "secrets", "status"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

/// Every file below a directory that has a text in it, among its bytes.
fn found_in(dir: &Path, wanted: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(bytes) = fs::read(&path)
                && bytes.windows(wanted.len()).any(|part| part == wanted.as_bytes())
            {
                found.push(path);
            }
        }
    }
    found
}

fn locked(password: &str) -> Options {
    Options {
        password: password.to_owned(),
        master_password: password.to_owned(),
        ..Options::default()
    }
}

/// Passwords come in by every way there is; the texts they are looked for by.
async fn bring_passwords(site: &Site) -> (Vec<&'static str>, Vec<Fleet>) {
    let first = Fleet::create_with(site, "first", 4, 2, locked("marker-of-create")).await;
    let shard = Node::start(0, locked("marker-of-shard")).await.unwrap();
    let body = json!({ "nodes": [shard.addr], "password": "marker-of-shard" });
    first.done(site, "POST /shards", body).await;
    let node = Node::start(
        0,
        Options { master_password: "marker-of-create".to_owned(), ..locked("marker-of-node") },
    );
    let node = node.await.unwrap();
    let body = json!({ "addr": node.addr, "role": "slave", "password": "marker-of-node" });
    first.done(site, "POST /shards/0/nodes", body).await;

    let second = Fleet::create_with(site, "second", 2, 2, locked("marker-of-import")).await;
    second.done(site, "DELETE ", Value::Null).await;
    let body = json!({ "nodes": [second.addrs()[0]], "password": "marker-of-import" });
    second.done(site, "POST /import", body).await;

    let third = Fleet::create_with(site, "third", 2, 1, locked("marker-of-load")).await;
    let record = site.done(Method::GET, &third.path(), &Value::Null).await;
    assert!(record.to_string().contains("marker-of-load"), "shown to whoever may see it");
    third.done(site, "DELETE ", Value::Null).await;
    let load = json!({ "namespace": "n", "cluster": record["data"]["cluster"] });
    for expected in [201, 200] {
        let (status, answer) = site.call(Method::POST, "/quorate/v1/kvrocks/load", &load).await;
        assert_eq!(status, expected, "the same record is known again: {answer}");
    }

    // A password that the nodes refuse, so that something is said about it; then the right one.
    let wrong = json!({ "password": "marker-of-change" });
    third.done(site, "POST /password", wrong).await;
    let addr = &third.addrs()[0];
    site.seen_as("third", addr, "refused").await;
    third.done(site, "POST /password", json!({ "password": "marker-of-load" })).await;
    third.agreed(site).await;

    // And what is refused.
    let taken =
        json!({ "name": "first", "nodes": ["127.0.0.1:1"], "password": "marker-of-refusal" });
    let (status, _) = site.call(Method::POST, "/api/v1/namespaces/n/clusters", &taken).await;
    assert!(status >= 400);
    let bad = json!({ "nodes": [], "password": "marker-of-refusal" });
    assert!(first.ask(site, "POST /shards", bad).await.0 >= 400);

    let markers = vec![
        "marker-of-create",
        "marker-of-shard",
        "marker-of-node",
        "marker-of-import",
        "marker-of-load",
        "marker-of-change",
        "marker-of-refusal",
    ];
    let mut first = first;
    first.nodes.extend([shard, node]);
    (markers, vec![first, second, third])
}

/// A snapshot on every replica, a backup, and what operators look at.
async fn write_everything(site: &mut Site) -> String {
    for id in 1..=3 {
        let url = format!("{}/quorate/v1/snapshot", site.cluster.url(id));
        assert!(site.cluster.client.post(url).send().await.unwrap().status().is_success());
    }
    let backup = site.cluster.dir().join("all.qback").display().to_string();
    let taken = ctl(site, &["backup", "create", "--to", &backup]);
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    let mut said = text(&taken.stdout);
    for words in
        [&["audit"][..], &["events", "--from", "1"], &["kvrocks", "list", "clusters", "-n", "n"]]
    {
        let output = ctl(site, words);
        said += &(text(&output.stdout) + &text(&output.stderr));
    }
    for name in ["log?from=1&to=900", "audit"] {
        let url = format!("{}/quorate/v1/{name}", site.cluster.url(1));
        let answer = site.cluster.client.get(url).send().await.unwrap();
        said += &answer.text().await.unwrap();
    }
    for words in [
        &["inspect", "backup", "--file", &backup][..],
        &["inspect", "backup", "--file", &backup, "--records", "-o", "json"],
        &["inspect", "backup", "--file", &backup, "--entries", "-o", "json"],
        &["ctl", "backup", "verify", &backup],
    ] {
        let output = quorate(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        said += &text(&output.stdout);
    }
    for replica in &mut site.cluster.replicas {
        replica.kill();
        let data_dir = replica.data_dir.display().to_string();
        let output = quorate(&["inspect", "log", "--data-dir", &data_dir, "-o", "json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        said += &text(&output.stdout);
    }
    said
}

#[tokio::test]
async fn no_password_is_in_any_file_or_line_and_nodes_are_logged_on_all_the_same() {
    let keys = Keys::new();
    let mut site = start(&[&keys.flag()]).await;
    let (markers, mut fleets) = bring_passwords(&site).await;
    let first = &mut fleets[0];
    first.agreed(&site).await;
    let master = first.addrs()[2].clone();
    first.node_mut(&master).kill().await;
    site.wait("a failover", PATIENCE, async || {
        let failovers = site.failovers("first").await;
        if failovers.is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
    })
    .await;
    let report = report(&site);
    assert_eq!((&report["readable"], &report["missing"]), (&json!(0), &json!([])), "{report}");
    assert_eq!(report["sealed"], json!({ "k1": 10 }), "{report}");

    let said = write_everything(&mut site).await;
    assert!(said.contains("0 readable, 10 sealed with k1"), "{said}");
    for marker in markers {
        let found = found_in(site.cluster.dir(), marker);
        assert!(found.is_empty(), "{marker} is in {found:?}");
        assert!(!said.contains(marker), "{marker} is shown");
        let hex: String = marker.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!said.contains(&hex), "{marker} is shown in the raw log");
    }
}

/// The same without keys: what the test above looks for would be found.
#[tokio::test]
async fn without_keys_passwords_are_in_the_files_and_still_in_no_line() {
    let mut site = start(&[]).await;
    let (markers, _fleets) = bring_passwords(&site).await;
    assert_eq!(report(&site)["sealing_key"], Value::Null);
    write_everything(&mut site).await;
    let replicas = &site.cluster.replicas;
    for marker in markers {
        let is_stored = marker != "marker-of-refusal";
        for replica in replicas {
            let found = found_in(&replica.data_dir, marker);
            assert!(!is_stored || !found.is_empty(), "{marker} is nowhere");
        }
    }
    assert!(!site.output().contains("marker-of"), "no log line has a password");
}

/// A backup holds sealed passwords; the cluster that is founded from it needs their key.
#[tokio::test]
async fn a_restored_cluster_has_its_passwords_once_it_has_the_key() {
    let keys = Keys::new();
    let site = start(&[&keys.flag()]).await;
    site.set(json!({ "ping_interval_ms": 60_000, "check_nodes_on_create": "off" })).await;
    site.done(Method::POST, "/api/v1/namespaces/n/clusters", &many(1)).await;
    let backup = site.cluster.dir().join("one.qback").display().to_string();
    let taken = ctl(&site, &["backup", "create", "--to", &backup]);
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    assert!(found_in(site.cluster.dir(), "password of 1").is_empty());

    let mut flags = PROFILE.to_vec();
    flags.extend(["--cluster-token", "another-token-of-the-new-one"]);
    let mut restored = Cluster::prepare(1, &flags);
    let replica = restored.replica(1);
    let peer = format!("1={}/{}", replica.peer_addr, replica.url());
    let data_dir = replica.data_dir.display().to_string();
    let words = ["recover", "from-backup", "--file", &backup, "--data-dir", &data_dir];
    let token = ["--peer", &peer, "--cluster-token", "another-token-of-the-new-one"];
    let recovered = quorate(&[&words[..], &token].concat());
    let (said, hint) = (text(&recovered.stdout), text(&recovered.stderr));
    assert!(recovered.status.success(), "{hint}");
    assert!(said.contains("0 readable, 10 sealed with k1"), "{said}");
    assert!(hint.contains("secrets_key_file with the keys k1"), "{hint}");
    let checked = quorate(&["inspect", "check", "--data-dir", &data_dir]);
    let checked = text(&checked.stdout) + &text(&checked.stderr);
    assert!(checked.contains("0 readable, 10 sealed with k1"), "{checked}");

    let path = "/api/v1/namespaces/n/clusters/c1";
    replica.start();
    restored.wait_ready(1).await;
    let url = format!("{}{path}", restored.url(1));
    let answer = restored.client.get(&url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 500);
    assert!(answer.text().await.unwrap().contains("`k1`"));
    restored.replica(1).kill();
    restored.replica(1).change_args(|args| args.push(keys.flag()));
    restored.replica(1).start();
    restored.wait_ready(1).await;
    let answer = restored.client.get(&url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.text().await.unwrap().matches("password of 1\"").count(), 10);
}

fn many(index: usize) -> Value {
    let nodes: Vec<_> = (0..10).map(|node| format!("127.0.0.{}:{}", index + 1, node + 1)).collect();
    let password = format!("password of {index}");
    json!({ "name": format!("c{index}"), "nodes": nodes, "replicas": 10, "password": password })
}

async fn password_of(site: &Site, index: usize) -> Vec<String> {
    let path = format!("/api/v1/namespaces/n/clusters/c{index}");
    let answer = site.done(Method::GET, &path, &Value::Null).await;
    let shards = answer["data"]["cluster"]["shards"].as_array().unwrap();
    let nodes = shards.iter().flat_map(|shard| shard["nodes"].as_array().unwrap());
    nodes.map(|node| node["password"].as_str().unwrap().to_owned()).collect()
}

/// From readable to the first key, then to a second one, with the leader killed on the way and a
/// password changed all the time.
#[tokio::test]
async fn all_secrets_are_sealed_anew_while_the_leader_is_killed() {
    const CLUSTERS: usize = 60;
    let keys = Keys::new();
    keys.keep(&["k1"]);
    let flag = keys.flag();
    let mut site = start(&[]).await;
    site.set(json!({ "ping_interval_ms": 60_000, "check_nodes_on_create": "off" })).await;
    for index in 0..CLUSTERS {
        site.done(Method::POST, "/api/v1/namespaces/n/clusters", &many(index)).await;
    }
    assert_eq!(report(&site)["readable"], json!(10 * CLUSTERS));
    let refused = ctl(&site, &["secrets", "rotate"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("secrets_key_file"), "{}", text(&refused.stderr));
    for replica in &mut site.cluster.replicas {
        replica.change_args(|args| args.push(flag.clone()));
    }
    restart_all(&mut site).await;
    let path = "/api/v1/namespaces/n/clusters/c1";
    let record = site.done(Method::GET, path, &Value::Null).await;
    let load = json!({ "namespace": "n", "cluster": record["data"]["cluster"] });
    let (status, answer) = site.call(Method::POST, "/quorate/v1/kvrocks/load", &load).await;
    assert_eq!(status, 200, "a readable record is known again: {answer}");
    rotate_while_the_leader_dies(&mut site, "k1", CLUSTERS).await;

    keys.add("k2");
    restart_all(&mut site).await;
    keys.keep(&["k2", "k1"]);
    restart_all(&mut site).await;
    rotate_while_the_leader_dies(&mut site, "k2", CLUSTERS).await;

    keys.keep(&["k2"]);
    restart_all(&mut site).await;
    for index in 1..CLUSTERS {
        let expected = vec![format!("password of {index}"); 10];
        assert_eq!(password_of(&site, index).await, expected);
    }
    let again = ctl(&site, &["secrets", "rotate"]);
    assert!(text(&again.stdout).starts_with("0 secrets sealed"), "{}", text(&again.stdout));
}

async fn rotate_while_the_leader_dies(site: &mut Site, key: &str, clusters: usize) {
    let urls = site.cluster.urls().join(",");
    let rotating = tokio::task::spawn_blocking(move || {
        quorate(&["ctl", "--endpoint", &urls, "secrets", "rotate"])
    });
    let killed = site.kill_leader().await;
    let mut newest = String::new();
    for turn in 0.. {
        newest = format!("newest by {turn} under {key}");
        let path = "/api/v1/namespaces/n/clusters/c0/password";
        site.done(Method::POST, path, &json!({ "password": newest })).await;
        if rotating.is_finished() {
            break;
        }
    }
    let rotated = rotating.await.unwrap();
    assert!(rotated.status.success(), "{}{}", text(&rotated.stdout), text(&rotated.stderr));
    site.revive(killed).await;
    assert_eq!(password_of(site, 0).await, vec![newest; 10], "no newer password is lost");
    let report = report(site);
    assert_eq!(report["readable"], json!(0), "{report}");
    assert_eq!(report["sealed"], json!({ key: 10 * clusters }), "{report}");
}

/// A request that is repeated is known again, through any replica and after a change of the key.
#[tokio::test]
async fn a_repeated_request_is_the_same_request_although_it_is_sealed_again() {
    let keys = Keys::new();
    let mut site = start(&[&keys.flag()]).await;
    site.set(json!({ "ping_interval_ms": 60_000, "check_nodes_on_create": "off" })).await;
    let path = "/api/v1/namespaces/n/clusters";
    for round in 0..6 {
        if round == 4 {
            keys.add("k2");
            keys.keep(&["k2", "k1"]);
            restart_all(&mut site).await;
        }
        let (status, answer) = site.call_as("once", Method::POST, path, &many(1)).await;
        assert_eq!(status, 201, "{round}: {answer}");
        assert!(answer.to_string().contains("password of 1"), "{answer}");
    }
    let mut other = many(1);
    other["password"] = "another".into();
    let (status, answer) = site.call_as("once", Method::POST, path, &other).await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(report(&site)["sealed"], json!({ "k1": 10 }));
}

/// A replica without the key says so, asks no node anything, and does not stay leader.
#[tokio::test]
async fn a_replica_without_the_key_says_so_and_sends_nothing_to_nodes() {
    let keys = Keys::new();
    let mut site = start(&[&keys.flag()]).await;
    let fleet = Fleet::create_with(&site, "c", 2, 2, locked("marker")).await;
    let blind = site.cluster.wait_follower().await;
    let others = Keys::new();
    site.cluster.replica(blind).kill();
    let renamed = fs::read_to_string(others.path()).unwrap().replace("k1:", "zz:");
    fs::write(others.path(), renamed).unwrap();
    site.cluster.replica(blind).change_args(|args| {
        args.retain(|flag| *flag != keys.flag());
        args.push(others.flag());
    });
    site.revive(blind).await;
    let url = site.cluster.url(blind);
    let ask = async |path: &str| {
        let answer = site.cluster.client.get(format!("{url}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, ready) = ask("/readyz?verbose").await;
    assert_eq!(status, 200, "other families are served: {ready}");
    assert!(ready.contains("[!] secrets: 2 secrets cannot be opened here"), "{ready}");
    let (status, answer) = ask(&fleet.path()).await;
    assert_eq!(status, 500, "{answer}");
    let error: Value = serde_json::from_str(&answer).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("`k1`") && message.contains("secrets_key_file"), "{message}");
    site.wait("the metric", PATIENCE, async || {
        let (_, metrics) = ask("/metrics").await;
        let line = "quorate_secrets{form=\"missing_key\"} 2";
        if metrics.contains(line) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let said = site.cluster.replicas.iter().find(|replica| replica.id == blind).unwrap().output();
    assert!(
        said.contains("secrets cannot be opened") && said.contains("put the keys k1"),
        "{said}"
    );
    // What it says of its nodes comes with its first round of probes.
    site.wait("nodes that are not asked", PATIENCE, async || {
        let (_, seen) = ask("/quorate/v1/kvrocks/status/n/c").await;
        let parsed: Value = serde_json::from_str(&seen).unwrap();
        let nodes = parsed["data"]["nodes"].as_array().unwrap();
        let is_sealed = |node: &Value| node["state"] == "sealed";
        if !nodes.is_empty() && nodes.iter().all(is_sealed) { Ok(()) } else { Err(seen) }
    })
    .await;
    // It may lead for a moment; it sees no node, so it hands over to one that does.
    let transfer = ctl(&site, &["transfer-leader", "--to", &blind.to_string()]);
    assert!(transfer.status.success(), "{}", text(&transfer.stderr));
    site.wait("another leads", PATIENCE, async || match site.cluster.wait_leader().await {
        leader if leader == blind => Err("the blind one leads".to_owned()),
        _ => Ok(()),
    })
    .await;
    assert!(site.failovers("c").await.is_empty(), "nothing was done because of the blind one");
}

#[test]
fn what_cannot_work_is_refused_at_the_start_with_what_to_do() {
    let keys = Keys::new();
    let path = keys.path().display().to_string();
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data").display().to_string();
    let start = |file: &str| {
        let words = ["serve", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
        quorate(&[&words[..], &["--data-dir", &data, "--secrets-key-file", file]].concat())
    };
    let refused = |file: &str, expected: &str| {
        let output = start(file);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "one sentence: {said}");
        assert!(!Path::new(&data).exists(), "nothing was changed");
    };
    refused("/nowhere/keys", "quorate secrets generate-key");
    let rights = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    rights(0o644);
    refused(&path, "chmod 600");
    rights(0o600);
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, "k1 and nothing else\n").unwrap();
    refused(&path, "line 1: there is no colon");
    fs::write(&path, "k1:c2hvcnQ=\n").unwrap();
    refused(&path, "line 1: the key is not 32 bytes");
    fs::write(&path, "").unwrap();
    refused(&path, "has 0 keys");
    fs::write(&path, &good).unwrap();
    let again = quorate(&["secrets", "generate-key", &path]);
    assert!(!again.status.success() && text(&again.stderr).contains("--add"));
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
    let checked = quorate(&["config", "check", "--secrets-key-file", &path]);
    let shown = text(&checked.stdout) + &text(&checked.stderr);
    assert!(!shown.contains(good.trim().split_once(':').unwrap().1), "{shown}");
}
