//! Every verb of `quorate ctl pool`, against three replicas and through one that does not lead. What
//! the loops would say of hosts is said by hand, so that every state is there when it is asked for.

#![allow(clippy::unwrap_used)]

mod cello;
mod support;

use std::process::Stdio;

use cello::Site;
use quorate::domain::cello::{command::Failure, model::Health};
use serde_json::{Value, json};
use support::process::{PROGRAM, free_port};
use tokio::{io::AsyncWriteExt, process::Command, time::Duration};

/// What a run of the program printed and how it ended.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: i32,
}

/// The program as an operator runs it, with an endpoint first that nobody listens on.
#[derive(Clone)]
struct Ctl {
    endpoints: String,
}

impl Ctl {
    fn new(site: &Site) -> Self {
        let dead = format!("http://127.0.0.1:{}", free_port());
        Self { endpoints: format!("{dead},{}", site.endpoints().join(",")) }
    }

    async fn run(&self, line: &str) -> Said {
        self.run_with(line, "").await
    }

    async fn run_with(&self, line: &str, input: &str) -> Said {
        let mut command = Command::new(PROGRAM);
        command.env_clear().args(["ctl", "pool"]).args(line.split_whitespace());
        command.args(["--endpoint", &self.endpoints]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A program that does not read its input may be gone already.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Said { out: text(output.stdout), err: text(output.stderr), code }
    }

    /// Runs a line that must succeed and say exactly this, and nothing on standard error.
    async fn says(&self, line: &str, expected: &str) {
        let said = self.run(line).await;
        assert_eq!((said.out.trim_end(), said.code), (expected, 0), "{line}: {said:?}");
        assert_eq!(said.err, "", "{line}");
    }

    /// Runs a line that must fail and say exactly this on standard error, and nothing else.
    async fn fails(&self, line: &str, expected: &str) {
        let said = self.run(line).await;
        let expected = format!("error: {expected}");
        assert_eq!((said.err.trim_end(), said.code), (expected.as_str(), 1), "{line}: {said:?}");
        assert_eq!(said.out, "", "{line}");
    }

    /// Runs a line that must succeed, for its JSON.
    async fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("{line} -o json")).await;
        assert_eq!((said.code, &*said.err), (0, ""), "{line}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Runs a line that must succeed; the cells of its table, head included.
    async fn table(&self, line: &str) -> Vec<Vec<String>> {
        let said = self.run(line).await;
        assert_eq!(said.code, 0, "{line}: {said:?}");
        let cells = |line: &str| {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect()
        };
        said.out.lines().map(cells).collect()
    }

    /// A member of what there is exactly one of.
    async fn only(&self, line: &str, member: &str) -> String {
        let data = self.json(line).await;
        let items = data.as_array().unwrap();
        assert_eq!(items.len(), 1, "{line}: {data}");
        items[0][member].as_str().unwrap().to_owned()
    }

    /// Adds a host; its id.
    async fn host(&self, words: &str) -> String {
        let host = self.json(&format!("hosts add {words}")).await;
        host["id"].as_str().unwrap().to_owned()
    }
}

async fn site() -> (Site, Ctl) {
    let site = Site::start().await;
    let ctl = Ctl::new(&site);
    (site, ctl)
}

const COMPUTE1: &str = "--name compute1 --url 10.0.0.1:2375 --capacity 2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_added_changed_filled_cleaned_and_removed() {
    let (site, ctl) = site().await;
    let said = ctl.run(&format!("hosts add {COMPUTE1} --autofill false")).await;
    let id = ctl.only("hosts list", "id").await;
    assert_eq!(said.out.trim_end(), format!("host compute1 is added with id {id}."));
    let host = ctl.json("hosts get compute1").await;
    for (member, expected) in [
        ("id", json!(id)),
        ("daemon_url", json!("tcp://10.0.0.1:2375")),
        ("capacity", json!(2)),
        ("schedulable", json!("true")),
        ("autofill", json!("false")),
        ("log_type", json!("local")),
        ("tls", json!(false)),
        ("task", Value::Null),
        ("last_error", json!("")),
        ("creations_given_up", json!(0)),
        ("fill_not_before_ts", json!("")),
    ] {
        assert_eq!(host[member], expected, "{member}");
    }
    let shown = ctl.table(&format!("hosts get {id}")).await;
    assert!(shown.contains(&vec!["name".to_owned(), "compute1".to_owned()]), "{shown:?}");

    let text = format!("Failed to create host twin: host {id} has this daemon_url");
    ctl.fails("hosts add --name twin --url tcp://10.0.0.1:2375 --capacity 1", &text).await;
    let said = ctl.run("hosts add --name x --url 10.0.0.9:1 --capacity 4000000000").await;
    assert!(said.code == 1 && said.err.contains("capacity"), "{said:?}");
    let text = "Failed to create host x: daemon_url is tcp://ADDRESS:PORT or unix:///PATH";
    ctl.fails("hosts add --name x --url http://a --capacity 1", text).await;

    ctl.says("hosts set compute1 --capacity 3 --log-level INFO", "host compute1 is changed.").await;
    let host = ctl.json("hosts get compute1").await;
    assert_eq!((&host["capacity"], &host["log_level"]), (&json!(3), &json!("INFO")));
    assert_eq!(host["schedulable"], "true", "what is not named stays");
    ctl.fails("hosts set compute1", "nothing is to be changed, please say what").await;
    let text = format!(
        "Failed to update host {id}: log_level is one of DEBUG, INFO, NOTICE, \
                        WARNING, ERROR, CRITICAL"
    );
    ctl.fails("hosts set compute1 --log-level loud", &text).await;
    ctl.fails("hosts get nobody", "host not found with id=nobody").await;

    ctl.says("hosts fill compute1", "host compute1 is being filled.").await;
    let row = &ctl.table("hosts list --filter status=active").await[1];
    let expected = [&*id, "compute1", "tcp://10.0.0.1:2375", "active", "3/3", "true", "false", "-"];
    assert_eq!(*row, expected);
    assert_eq!(ctl.json("hosts list --filter status=inactive").await, json!([]));
    assert_eq!(ctl.json("hosts list --filter tls=true").await, json!([]));
    assert_eq!(ctl.only("hosts list --filter tls=false --filter capacity=3", "id").await, id);
    site.settle_well().await;
    let text = format!("Failed to update host {id}: the host has 3 clusters, capacity cannot be 2");
    ctl.fails("hosts set compute1 --capacity 2", &text).await;
    let text = format!("Failed to update host {id}: the host has 3 clusters");
    ctl.fails("hosts set compute1 --url 10.0.0.7:2375", &text).await;
    ctl.fails("hosts set --tls compute1", &text).await;
    ctl.fails("hosts set compute1 --service-address pool.lan", &text).await;
    let same = "hosts set compute1 --url 10.0.0.1:2375 --tls=false --service-address 10.0.0.1";
    ctl.says(same, "host compute1 is changed.").await;
    clean_and_remove(&site, &ctl, &id).await;
}

async fn clean_and_remove(site: &Site, ctl: &Ctl, id: &str) {
    let yes = "; there is no terminal to ask at, say --yes if that is meant";
    for (verb, text) in [
        ("clean", "every free cluster of host compute1 will be deleted"),
        ("reset", "every container of the pool on host compute1 will be removed"),
        ("remove", "host compute1 will be removed"),
        ("remove --force", "host compute1 and all its clusters will be forgotten"),
    ] {
        ctl.fails(&format!("hosts {verb} compute1"), &format!("{text}{yes}")).await;
    }
    assert_eq!(ctl.json("clusters list --status running").await.as_array().unwrap().len(), 3);
    let text = format!("Failed to delete host {id}: the host has 3 clusters");
    ctl.fails("hosts remove compute1 --yes", &text).await;
    let text = "Failed to reset the host.: the host has 3 clusters";
    ctl.fails("hosts reset compute1 --yes", text).await;
    let line = "the free clusters of host compute1 are being deleted.";
    ctl.says("hosts clean compute1 --yes", line).await;
    assert_eq!(ctl.json("clusters list --status deleting").await.as_array().unwrap().len(), 3);
    site.settle().await;
    assert_eq!(ctl.json("clusters list").await, json!([]));

    let reset = tokio::spawn({
        let ctl = ctl.clone();
        async move { ctl.run("hosts reset compute1 --yes").await }
    });
    site.wait("a reset to do", || !site.effects().is_empty()).await;
    assert_eq!(ctl.json("hosts get compute1").await["task"]["action"], "reset host");
    assert!(!reset.is_finished(), "it waits for the host");
    site.settle().await;
    assert_eq!(reset.await.unwrap().out.trim_end(), "host compute1 is reset.");

    ctl.host("--name compute1 --url 10.0.0.2:2375 --capacity 0").await;
    let text = "several hosts are called compute1, please give an id";
    ctl.fails("hosts get compute1", text).await;
    ctl.says(&format!("hosts remove {id} --yes"), &format!("host {id} is removed.")).await;
    ctl.says("hosts remove compute1 --yes --force", "host compute1 is removed.").await;
    assert_eq!(ctl.json("hosts list").await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_made_given_out_listed_and_released() {
    let (site, ctl) = site().await;
    ctl.host(&format!("{COMPUTE1} --autofill false")).await;
    ctl.host("--name compute2 --url 10.0.0.2:2375 --capacity 1 --autofill false").await;
    let made = ctl.run("clusters create --on compute1 --name first --plugin noops --size 4").await;
    let first = ctl.only("clusters list", "id").await;
    assert_eq!(made.out.trim_end(), format!("cluster {first} (first) is being made."));
    let row = &ctl.table("clusters list").await[1];
    let expected =
        [&*first, "first", "noops/4", "creating", "-", "creating", "-", "0", "now", "-", "-"];
    assert_eq!(*row, expected);
    site.settle_well().await;
    let line = "clusters create --on compute2 --name second --plugin pbft --mode batch --size 6";
    let second = ctl.json(&format!("{line} --port-start 9050")).await;
    assert_eq!(second["mapped_ports"]["rest"], 9050);
    site.settle_well().await;
    let second = second["id"].as_str().unwrap();

    for (line, expected) in [
        ("--name x --plugin raft --size 4", "Invalid request"),
        ("--name x --plugin noops --size 5", "Invalid request"),
    ] {
        ctl.fails(&format!("clusters create --on compute1 {line}"), expected).await;
    }
    let text = "Failed to create cluster x: the host is full";
    ctl.fails("clusters create --on compute2 --name x --plugin noops --size 4", text).await;
    let text = "host not found with id=compute3";
    ctl.fails("clusters create --on compute3 --name x --plugin noops --size 4", text).await;
    let text = "cluster not found with id=nope";
    ctl.fails("clusters get nope", text).await;
    apply_and_list(&site, &ctl, &first, second).await;
    release(&site, &ctl, &first).await;
}

async fn apply_and_list(site: &Site, ctl: &Ctl, first: &str, second: &str) {
    let line = format!("cluster {first} (first) is u1's: http://10.0.0.1:7050");
    ctl.says("clusters apply u1", &line).await;
    ctl.says("clusters apply u1 --plugin noops --size 4", &line).await;
    let other = ctl.json("clusters apply u1 --multiple --mode batch").await;
    assert_eq!((&other["id"], &other["user_id"]), (&json!(second), &json!("u1")));
    ctl.fails("clusters apply u2", "No available res for u2").await;
    ctl.fails("clusters apply __SYSTEM__", "Invalid user_id").await;
    ctl.fails("clusters apply u2 --plugin raft", "Invalid consensus_plugin").await;
    ctl.fails("clusters apply u2 --mode classic", "Invalid consensus_mode").await;
    ctl.fails("clusters apply u2 --size 5", "Invalid cluster_size").await;

    let (one, two, both) = (json!([first]), json!([second]), json!([first, second]));
    for (conditions, expected) in [
        ("", &both),
        ("--user u1", &both),
        ("--user u2", &json!([])),
        ("--free", &json!([])),
        ("--name second", &two),
        ("--on compute1", &one),
        ("--plugin pbft", &two),
        ("--plugin pbft --name first", &json!([])),
        ("--mode batch", &two),
        ("--size 4", &one),
        ("--status running", &both),
        ("--health OK", &both),
        ("--health FAIL", &json!([])),
        ("--filter daemon_url=tcp://10.0.0.2:2375", &two),
        ("--filter nothing=1", &json!([])),
    ] {
        let listed = ctl.json(&format!("clusters list {conditions}")).await;
        let ids: Value = listed.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        assert_eq!(ids, *expected, "{conditions}");
    }
    ctl.fails("clusters list --on nobody", "host not found with id=nobody").await;
    ctl.fails("clusters list --filter x", "a condition is KEY=VALUE, not x").await;
    let said = ctl.run("clusters list --free --user u1").await;
    assert!(said.code == 2 && said.out.is_empty(), "{said:?}");

    for (verb, status, line) in [
        ("stop", "stopped", "is stopped."),
        ("start", "running", "is started."),
        ("restart", "running", "is restarted."),
    ] {
        let acting = tokio::spawn({
            let (ctl, line) = (ctl.clone(), format!("clusters {verb} {first} --user u1"));
            async move { ctl.run(&line).await }
        });
        site.wait("something to do", || !site.effects().is_empty()).await;
        site.settle_well().await;
        let said = acting.await.unwrap();
        assert_eq!(said.out.trim_end(), format!("cluster {first} {line}"), "{said:?}");
        assert_eq!(ctl.json(&format!("clusters get {first}")).await["status"], status);
    }
    let text = "cluster stop failed: the cluster belongs to somebody else";
    ctl.fails(&format!("clusters stop {first} --user u2"), text).await;
    ctl.fails("clusters start nope", "cluster start failed: there is no such cluster").await;
}

async fn release(site: &Site, ctl: &Ctl, first: &str) {
    let yes = "; there is no terminal to ask at, say --yes if that is meant";
    let text = format!("cluster {first} and everything in it will be gone{yes}");
    ctl.fails(&format!("clusters release {first}"), &text).await;
    ctl.fails(&format!("clusters delete {first} --force"), &text).await;
    let text = format!("every cluster of u1 and everything in it will be gone{yes}");
    ctl.fails("clusters release --user u1", &text).await;
    let line = format!("clusters release {first} --yes --user u2");
    ctl.fails(&line, "cluster release failed").await;
    let text = format!("Failed to delete cluster {first}: a user has the cluster");
    ctl.fails(&format!("clusters delete {first} --yes"), &text).await;
    assert_eq!(ctl.json("clusters list --user u1").await.as_array().unwrap().len(), 2);

    let line = format!("cluster {first} is released.");
    ctl.says(&format!("clusters release {first} --yes"), &line).await;
    let row = &ctl.table("clusters list --name first").await[1];
    assert_eq!(row[3..6], ["deleting", "u1", "deleting"], "{row:?}");
    let text = format!("cluster {first} is still there: nothing has failed yet");
    ctl.fails(&format!("clusters release {first} --yes --wait=1"), &text).await;
    let waiting = tokio::spawn({
        let (ctl, line) = (ctl.clone(), "clusters release --wait --user u1 --yes".to_owned());
        async move { ctl.run(&line).await }
    });
    site.wait("two clusters to go", || site.effects().len() == 2).await;
    site.settle_well().await;
    let said = waiting.await.unwrap();
    let line = "every cluster of u1 is released, and gone from its host.";
    assert_eq!((said.out.trim_end(), said.code), (line, 0), "{said:?}");

    let history = ctl.table("clusters history --user u1").await;
    assert_eq!(history[0], ["ID", "NAME", "KIND", "USER", "APPLIED", "RELEASED", "DURATION"]);
    assert_eq!(history[1][..4], [first, "first", "noops/4", "u1"], "{history:?}");
    assert_eq!((history.len(), history[1].len()), (3, 7), "{history:?}");
    assert_eq!(ctl.json("clusters history --user u2").await, json!([]));
    let text = format!("the history of cluster {first} will be gone{yes}");
    ctl.fails(&format!("clusters forget {first}"), &text).await;
    let line = format!("cluster {first} is out of the history.");
    ctl.says(&format!("clusters forget {first} --yes"), &line).await;
    assert_eq!(ctl.table("clusters history").await.len(), 2);

    let free = ctl.json("clusters list --free --name first").await;
    let free = free[0]["id"].as_str().unwrap();
    assert_ne!(free, first, "a new cluster took its place");
    let line = format!("cluster {free} is being deleted.");
    ctl.says(&format!("clusters delete {free} --yes"), &line).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_shown() {
    let (site, ctl) = site().await;
    ctl.host(&format!("{COMPUTE1} --autofill false")).await;
    let line = "clusters create --on compute1 --name c --plugin noops --size 4 --wait";
    ctl.json("settings set backoff_first_ms=10 backoff_max_ms=20").await;
    let waiting = tokio::spawn({
        let ctl = ctl.clone();
        async move { ctl.run(line).await }
    });
    site.wait("a cluster to make", || !site.effects().is_empty()).await;
    site.fail(Failure::Other).await;
    let id = ctl.only("clusters list", "id").await;
    let row = &ctl.table("clusters list").await[1];
    assert_eq!((&*row[3], &*row[7]), ("creating", "1"), "{row:?}");
    assert_eq!(row.last().unwrap(), "no space left on device");
    let tasks = ctl.table("tasks").await;
    assert_eq!(tasks[0], ["ACTION", "HOST", "CLUSTER", "FAILED", "NEXT TRY", "ERROR"]);
    let task = &tasks[1];
    assert_eq!((&*task[0], &*task[2], &*task[3]), ("create", &*id, "1"), "{task:?}");
    assert!(task[4].ends_with(" GMT") && task[5] == "no space left on device", "{task:?}");
    assert_eq!(ctl.only("tasks", "last_error").await, "no space left on device");
    let row = &ctl.table("hosts list").await[1];
    assert_eq!(row.last().unwrap(), "no space left on device", "{row:?}");

    for _ in 0..2 {
        site.fail(Failure::Other).await;
    }
    let said = waiting.await.unwrap();
    let text = format!("error: cluster {id} was given up: no space left on device");
    assert_eq!((said.err.trim_end(), said.code), (&*text, 1), "{said:?}");
    assert_eq!(ctl.json("hosts get compute1").await["creations_given_up"], 1);
    site.settle().await;

    let waiting = tokio::spawn({
        let ctl = ctl.clone();
        async move { ctl.run(line).await }
    });
    site.wait("a cluster to make", || !site.effects().is_empty()).await;
    site.settle().await;
    let id = ctl.only("clusters list", "id").await;
    let said = waiting.await.unwrap();
    let line = format!("cluster {id} (c) is made: http://10.0.0.1:7050");
    assert_eq!((said.out.trim_end(), said.code), (&*line, 0), "{said:?}");
    site.probe(Health::Fail).await;
    assert_eq!(ctl.only("clusters list --health FAIL", "id").await, id);
    let stopping = tokio::spawn({
        let (ctl, line) = (ctl.clone(), format!("clusters stop {id}"));
        async move { ctl.run(&line).await }
    });
    site.wait("a stop to do", || !site.effects().is_empty()).await;
    site.fail(Failure::Other).await;
    let said = stopping.await.unwrap();
    let text = "error: cluster stop failed: no space left on device";
    assert_eq!((said.err.trim_end(), said.code), (text, 1), "{said:?}");
}

/// The least template there is.
const WEB: &str = r#"{"consensus_plugin":"web","size":2,"image":"registry.lan/web:1","services":[
    {"name":"rest","offset":0,"container_port":80,"is_published":true}],"probe":"tcp"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_come_from_files_and_standard_input() {
    let (_site, ctl) = site().await;
    let kinds = async || {
        let rows = ctl.table("templates list").await;
        rows[1..].iter().map(|row| row[0].clone()).collect::<Vec<_>>()
    };
    let before = kinds().await;
    assert!(before.contains(&"pbft/batch/4".to_owned()), "{before:?}");
    let said = ctl.run_with("templates set -", WEB).await;
    assert_eq!((said.out.trim_end(), said.code), ("template web/2 is set.", 0), "{said:?}");
    let rows = ctl.table("templates list").await;
    let expected = ["web/2", "registry.lan/web:1", "never", "true", "1", "tcp"];
    assert!(rows.iter().any(|row| *row == expected), "{rows:?}");

    let shown = ctl.run("templates get --plugin web --size 2").await;
    let mut template: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(template["image"], "registry.lan/web:1");
    template["image"] = "registry.lan/web:2".into();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), template.to_string()).unwrap();
    let line = format!("templates set {}", file.path().display());
    ctl.says(&line, "template web/2 is set.").await;
    let again = ctl.json("templates get --plugin web --size 2").await;
    assert_eq!(again, template, "what is shown can be set again");

    ctl.fails("templates get --plugin web --size 3", "there is no template web/3").await;
    let missing = "templates set /does/not/exist.json";
    let said = ctl.run(missing).await;
    assert!(said.code == 1 && said.err.starts_with("error: /does/not/exist.json: "), "{said:?}");
    for (input, expected) in [
        ("", "error: -: EOF while parsing a value"),
        ("[]", "error: invalid template: "),
        ("{\"size\":1}", "error: invalid template: missing field"),
        (&WEB.replace("\"offset\":0", "\"offset\":100"), "error: invalid template: "),
        (&WEB.replace("\"tcp\"", "\"hope\""), "error: invalid template: unknown variant"),
    ] {
        let said = ctl.run_with("templates set -", input).await;
        assert!(said.code == 1 && said.err.starts_with(expected), "{input}: {said:?}");
        assert_eq!(said.out, "", "{input}");
    }
    let text = "no cluster web/2 will be made any more; there is no terminal to ask at, say --yes if that is meant";
    ctl.fails("templates remove --plugin web --size 2", text).await;
    let remove = "templates remove --plugin web --size 2 --yes";
    ctl.says(remove, "template web/2 is removed.").await;
    ctl.fails(remove, "no template describes such a cluster").await;
    assert_eq!(kinds().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_statistics_and_health_are_shown() {
    let (site, ctl) = site().await;
    assert_eq!(ctl.json("settings get").await["bad_probes_max"], 3);
    assert_eq!(ctl.json("settings set bad-probes-max=5").await["bad_probes_max"], 5);
    let rows = ctl.table("settings get").await;
    assert!(rows.contains(&vec!["bad_probes_max".to_owned(), "5".to_owned()]), "{rows:?}");
    let text = "invalid setting: bad_probes_max is 1 to 100, not 0";
    ctl.fails("settings set ping_interval_ms=9999 bad_probes_max=0", text).await;
    let settings = ctl.json("settings get").await;
    assert_eq!(
        (&settings["bad_probes_max"], &settings["ping_interval_ms"]),
        (&json!(5), &json!(15_000))
    );
    let said = ctl.run("settings set nothing=1").await;
    assert!(said.code == 1 && said.err.contains("unknown field `nothing`"), "{said:?}");
    ctl.fails("settings set x", "a setting is NAME=VALUE, not x").await;

    ctl.host(&format!("{COMPUTE1} --autofill false")).await;
    ctl.run("hosts fill compute1").await;
    site.settle_well().await;
    ctl.run("clusters apply u1").await;
    let rows = ctl.table("stat").await;
    for expected in [
        ["hosts", "status", "active", "1"],
        ["hosts", "type", "docker", "1"],
        ["clusters", "status", "free", "1"],
        ["clusters", "status", "used", "1"],
    ] {
        assert!(rows.iter().any(|row| *row == expected), "{expected:?} in {rows:?}");
    }
    let stat = ctl.json("stat").await;
    assert_eq!(stat["hosts"]["type"], json!([{"name": "docker", "y": 1}]));
    assert_eq!(ctl.json("health").await["health"], "OK");

    let help = ctl.run("clusters list --help").await;
    assert!(help.code == 0 && help.out.contains("$ quorate ctl pool clusters list"), "{help:?}");
    let said = ctl.run("clusters dance").await;
    assert!(said.code == 2 && said.out.is_empty(), "{said:?}");
    let nobody = Ctl { endpoints: format!("http://127.0.0.1:{}", free_port()) };
    let said = tokio::time::timeout(Duration::from_secs(20), nobody.run("hosts list")).await;
    let said = said.unwrap();
    assert!(said.code == 4 && said.err.contains("did not answer"), "{said:?}");
}
