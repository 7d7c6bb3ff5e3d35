//! Every verb of `quorate ctl kvrocks`, against three replicas and nodes that behave as nodes do.

#![allow(clippy::unwrap_used)]

mod kvrocks_live;
mod support;

use std::{process::Output, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use kvrocks_live::{PATIENCE, Site, kvrocks_node::Options};
use serde_json::{Value, json};
use support::process::{PROGRAM, free_port};
use tokio::process::Command;

/// What a run of the program printed and how it ended.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: i32,
}

/// The program as an operator runs it, with an endpoint first that nobody listens on.
struct Ctl {
    endpoints: String,
}

impl Ctl {
    fn new(site: &Site) -> Self {
        let dead = format!("http://127.0.0.1:{}", free_port());
        Self { endpoints: format!("{dead},{}", site.cluster.urls().join(",")) }
    }

    async fn run(&self, line: &str) -> Said {
        self.run_with(line, &[]).await
    }

    async fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Said {
        let words = line.split_whitespace();
        let mut command = Command::new(PROGRAM);
        command.env_clear().envs(variables.iter().copied()).args(["ctl", "kvrocks"]);
        command.args(words).args(["--endpoint", &self.endpoints]);
        let Output { status, stdout, stderr } = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { out: text(stdout), err: text(stderr), code: status.code().unwrap() }
    }

    /// Runs a line that must succeed and say exactly this.
    async fn says(&self, line: &str, expected: &str) {
        let said = self.run(line).await;
        assert_eq!((said.out.trim_end(), said.code), (expected, 0), "{line}: {said:?}");
    }

    /// Runs a line that must fail and say exactly this on standard error.
    async fn fails(&self, line: &str, expected: &str) {
        let said = self.run(line).await;
        let expected = format!("error: {expected}");
        assert_eq!((said.err.trim_end(), said.code), (expected.as_str(), 1), "{line}: {said:?}");
    }

    /// Runs a line that must succeed, for its JSON.
    async fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("{line} --output json")).await;
        assert_eq!(said.code, 0, "{line}: {said:?}");
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
}

/// A node as an old store has it.
fn stored_node(letter: char, addr: &str, role: &str) -> Value {
    json!({
        "id": letter.to_string().repeat(40), "addr": addr, "role": role,
        "password": "pw", "master_auth": "", "created_at": 1_690_000_000,
    })
}

/// What `etcdctl get --prefix /kvrocks -w json` prints.
fn etcd(pairs: &[(&str, Value)]) -> String {
    let encode = |text: &str| STANDARD.encode(text);
    let kvs = pairs.iter().map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        json!({"key": encode(key), "create_revision": 7, "version": 1, "value": encode(&text)})
    });
    let kvs: Vec<_> = kvs.collect();
    json!({"header": {"revision": 9}, "count": kvs.len(), "kvs": kvs}).to_string()
}

/// Where the old store keeps the clusters of the namespace `shop`.
const STORED: &str = "/kvrocks/metadata/shop/cluster";

/// An old store: a cluster of three nodes that is well, and three that cannot be taken.
fn old_store(nodes: &[String]) -> String {
    let live = json!({"name": "live", "version": 41, "config": {"name": "live"}, "shards": [
        {"nodes": [stored_node('a', &nodes[0], "master"), stored_node('b', &nodes[1], "slave")],
         "slot_ranges": ["0-4", "6-8191"], "import_slot": -1, "migrating_slot": -1},
        {"nodes": [stored_node('c', &nodes[2], "master")], "slot_ranges": ["5", "8192-16383"],
         "import_slot": -1, "migrating_slot": -1, "target_shard_index": -1},
        {"nodes": [stored_node('d', "127.0.0.1:1", "master")], "slot_ranges": null}]});
    let lone = |letter, port: u16| {
        let node = stored_node(letter, &format!("127.0.0.1:{port}"), "master");
        json!({"nodes": [node], "slot_ranges": ["0-16383"], "target_shard_index": -1})
    };
    let cluster = |name: &str, shard: Value| json!({"name": name, "version": 3, "shards": [shard]});
    let mut masterless = lone('g', 4);
    masterless["nodes"][0]["role"] = "slave".into();
    let key = |name: &str| format!("{STORED}/{name}");
    etcd(&[
        ("/kvrocks/controller/leader/1", "abcdefgh/10.0.0.1:9379".into()),
        ("/kvrocks/metadata/empty", "empty".into()),
        ("/kvrocks/metadata/shop", "shop".into()),
        (&key("live"), live),
        (&key("masterless"), cluster("masterless", masterless)),
        (&key("moving"), cluster("moving", lone('e', 2))),
        (&key("moving/migrate/doing"), json!({"task_id": 1})),
        (&key("shared"), cluster("shared", lone('a', 3))),
    ])
}

/// Keys of a report, and what became of them.
fn fates(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |line: &Value| (text(&line["key"]).replace(STORED, ".."), text(&line["fate"]));
    report.as_array().unwrap().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_export_is_taken_over_and_goes_back() {
    let mut site = Site::start().await;
    let options = Options { password: "pw".to_owned(), ..Options::default() };
    let nodes = site.add_nodes(3, &options).await;
    let ctl = Ctl::new(&site);
    let export = old_store(&nodes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), export).unwrap();
    let path = file.path().display().to_string();

    let expected = |fate: &str| {
        let rows = [
            ("/kvrocks/metadata/empty", fate),
            ("/kvrocks/metadata/shop", fate),
            ("../live", fate),
            ("../masterless", "refused"),
            ("../moving", "refused"),
            ("../shared", "refused"),
            ("/kvrocks/controller/leader/1", "needless"),
        ];
        rows.map(|(key, fate)| (key.to_owned(), fate.to_owned())).to_vec()
    };
    for (line, fate) in [("--dry-run", "acceptable"), ("", "loaded"), ("", "present")] {
        let said = ctl.run(&format!("load {path} {line} --output json")).await;
        assert_eq!(said.err.trim_end(), "error: 3 of 7 keys not taken", "{said:?}");
        assert_eq!(said.code, 3, "some were taken, some not");
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(fates(&report), expected(fate), "{report:#}");
        assert_eq!(report[2]["notes"], json!(["config is left out"]));
    }
    assert_eq!(ctl.run("list namespaces").await.out, "empty\nn\nshop\n");

    let record = site.cluster.ask(1, "/api/v1/namespaces/shop/clusters/live").await.unwrap();
    let record = &record["data"]["cluster"];
    assert_eq!(record["version"], 41, "{record:#}");
    let first = &record["shards"][0];
    assert_eq!(first["slot_ranges"], json!(["0-4", "6-8191"]));
    assert_eq!(
        (&first["migrating_slot"], &first["target_shard_index"]),
        (&Value::Null, &json!(-1))
    );
    let mut expected = stored_node('b', &nodes[1], "slave");
    expected.as_object_mut().unwrap().remove("master_auth");
    assert_eq!(first["nodes"][1], expected);
    let until = Instant::now() + PATIENCE;
    let told = format!("CLUSTERX SETNODEID {}", "c".repeat(40));
    while !site.node(&nodes[2]).heard().contains(&told) {
        assert!(Instant::now() < until, "the node never got its id");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let back = tempfile::NamedTempFile::new().unwrap();
    let back = back.path().display();
    ctl.says(&format!("export {back} --format etcd"), "4 keys exported.").await;
    ctl.says("delete cluster live -n shop --yes", "delete cluster: live successfully.").await;
    let said = ctl.run(&format!("load {back}")).await;
    assert!(said.code == 0 && said.out.contains("cluster/live  loaded"), "{said:?}");
    let again = site.cluster.ask(1, "/api/v1/namespaces/shop/clusters/live").await.unwrap();
    assert_eq!(&again["data"]["cluster"], record, "back and forth changes nothing");
    assert_eq!(ctl.json("settings set hide_passwords=true").await["hide_passwords"], true);
    let text = "an export has passwords, which the setting hide_passwords forbids to show";
    ctl.fails("export -", text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_controller_is_read_over_its_interface() {
    let (old, old_ctl, nodes) = site().await;
    old_ctl.says("create namespace empty", "create namespace: empty successfully.").await;
    let line = format!("create cluster c -n n --nodes {}", nodes[..2].join(","));
    old_ctl.says(&line, "create cluster: c successfully.").await;
    let (new, ctl, _) = site().await;
    let from = old_ctl.endpoints.split(',').next_back().unwrap().to_owned();
    let saved = tempfile::NamedTempFile::new().unwrap();
    let saved = saved.path().display();
    ctl.says(&format!("load --from-url {from} --save {saved}"), "3 keys saved.").await;
    let said = ctl.run(&format!("load {saved}")).await;
    assert_eq!(said.code, 0, "{said:?}");
    let path = "/api/v1/namespaces/n/clusters/c";
    assert_eq!(new.cluster.ask(1, path).await, old.cluster.ask(1, path).await);
    let said = ctl.run(&format!("load --from-url {from}")).await;
    assert!(said.code == 0 && said.out.matches(" present").count() == 3, "{said:?}");
    let dead = format!("http://127.0.0.1:{}", free_port());
    let said = ctl.run(&format!("load --from-url {dead}")).await;
    assert!(said.err.contains("did not answer") && said.code == 4, "{said:?}");
}

async fn site() -> (Site, Ctl, Vec<String>) {
    let mut site = Site::start().await;
    let nodes = site.add_nodes(9, &Options::default()).await;
    let ctl = Ctl::new(&site);
    (site, ctl, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_of_the_original_say_what_they_said() {
    let (mut site, ctl, nodes) = site().await;
    ctl.says("create namespace shop", "create namespace: shop successfully.").await;
    ctl.says("list namespaces", "n\nshop").await;
    ctl.says("list clusters -n shop", "no cluster found.").await;
    let list = nodes[..4].join(",");
    let line = format!("create cluster orders -n shop --nodes {list} --replica 2");
    ctl.says(&line, "create cluster: orders successfully.").await;
    ctl.says("-n shop list clusters", "orders").await;

    let cluster = ctl.json("get cluster orders -n shop").await;
    let id = |shard: usize, node: usize| {
        cluster["shards"][shard]["nodes"][node]["id"].as_str().unwrap().to_owned()
    };
    let shown = ctl.run("get cluster orders --namespace shop").await.out;
    let mut lines = shown.lines();
    assert_eq!([lines.next(), lines.next()], [Some(""), Some("cluster: orders")]);
    assert_eq!(lines.next(), Some("version: 1"));
    let row = format!("|     0 | {} | {} | MASTER | NO        |", id(0, 0), nodes[0]);
    assert!(shown.contains(&row), "{shown}");

    let line = format!("create shard -n shop -c orders --nodes {},{}", nodes[4], nodes[5]);
    ctl.says(&line, "create the new shard successfully.").await;
    let shards = ctl.table("list shards -n shop -c orders").await;
    assert_eq!(shards[0], ["SHARD", "SLOTS", "MASTER", "REPLICAS", "MIGRATING"]);
    assert_eq!(shards[1], ["0", "0-8191", &nodes[0], "1", "NO"]);
    assert_eq!(shards[3], ["2", "-", &nodes[4], "1", "NO"]);
    let line = format!("create node {} -n shop -c orders -s 2", nodes[6]);
    ctl.says(&line, &format!("create node: {} successfully.", nodes[6])).await;
    let listed = ctl.json("list nodes -n shop -c orders --shard 2").await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let added = listed[2]["id"].as_str().unwrap();
    let line = format!("delete node {added} -n shop -c orders -s 2 --yes");
    ctl.says(&line, &format!("delete node: {added} successfully.")).await;
    ctl.says("delete shard 2 -n shop -c orders --yes", "delete shard 2 successfully.").await;

    let migrated = "migrate slot[5-10] task is submitted successfully.";
    let line = "migrate slot 5-10 --target 1 -n shop -c orders --slot-only";
    ctl.says(line, migrated).await;
    let shards = ctl.table("list shards -n shop -c orders").await;
    assert_eq!(shards[2][1], "5-10,8192-16383");

    let said = ctl.run("failover shard 0 -n shop -c orders --preferred").await;
    assert_eq!(said.code, 2, "a flag without its value");
    let (old, new) = (id(0, 0), id(0, 1));
    settle(&mut site, "shop", "orders").await;
    let line = format!("failover shard 0 -n shop -c orders --preferred {new}");
    ctl.says(&line, &format!("failover shard 0 successfully, new master id: {new}.")).await;
    let failovers = ctl.json("failovers -n shop -c orders").await;
    assert_eq!(failovers[0]["old_master_id"], old.as_str());

    ctl.says("delete cluster orders -n shop --yes", "delete cluster: orders successfully.").await;
    let line = format!("import cluster again -n shop --nodes {}", nodes[0]);
    ctl.says(&line, "import cluster: again successfully.").await;
    ctl.says("delete cluster again -n shop --yes", "delete cluster: again successfully.").await;
    ctl.says("delete namespace shop --yes", "delete namespace: shop successfully.").await;
}

/// Waits until every node of a cluster has its version, so that it can answer for its role.
async fn settle(site: &mut Site, namespace: &str, name: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/clusters/{name}/sync");
    site.done(reqwest::Method::POST, &path, &Value::Null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_in_one_line_and_fails() {
    let (_site, ctl, nodes) = site().await;
    let option = |noun: &str, short: &str| {
        format!("missing {noun}, please specify the {noun} via {short} or --{noun} option")
    };
    ctl.fails("list clusters", &option("namespace", "-n")).await;
    ctl.fails("get cluster c", &option("namespace", "-n")).await;
    ctl.fails("create shard -n n --nodes h:1", &option("cluster", "-c")).await;
    ctl.fails("create node h:1 -n n -c c", &option("shard", "-s")).await;
    let missing = "missing nodes, please specify the nodes via --nodes option";
    ctl.fails("create cluster c -n n", missing).await;
    ctl.fails("import cluster c -n n", missing).await;
    let bad = "invalid slot number: x, error: strconv.Atoi: parsing \"x\": invalid syntax";
    ctl.fails("migrate slot x --target 1 -n n -c c", bad).await;
    let missing = "target is required, please specify with --target";
    ctl.fails("migrate slot 5 -n n -c c", missing).await;
    ctl.fails("list turtles", "unsupported resource type turtles").await;
    ctl.fails("raft add turtle", "unsupported resource type turtle").await;
    ctl.fails("create namespace n", "already exists").await;
    ctl.fails("get cluster c -n n", "cluster: not found").await;
    ctl.fails("delete namespace zz --yes", "not found").await;
    ctl.fails("raft remove peer 9 --yes", "peer not exists").await;
    let line = format!("create cluster c -n n --nodes {} -r -1", nodes[0]);
    ctl.fails(&line, "replicas should NOT be less than 0").await;
    let dead = Ctl { endpoints: format!("127.0.0.1:{}", free_port()) };
    let said = dead.run("list namespaces").await;
    assert!(said.err.starts_with("error: http://127.0.0.1:"), "{said:?}");
    assert!(said.err.contains("did not answer") && said.code == 4, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_verbs_reach_everything_the_original_had_not() {
    let (site, ctl, nodes) = site().await;
    let list = nodes[..4].join(",");
    let line = format!("create cluster c -n n --nodes {list} --replicas 2");
    ctl.says(&line, "create cluster: c successfully.").await;
    let said = ctl.run("sync -n n -c c --force").await;
    assert!(said.out.starts_with("all nodes are at version "), "{said:?}");

    let rehearsed = ctl.json("failover shard 1 -n n -c c --dry-run").await;
    assert_eq!(rehearsed["accepted"], true);
    let said = ctl.run("delete shard 1 -n n -c c --dry-run").await;
    let refused = "error: it would be refused with 400: shard is servicing";
    assert_eq!((said.err.trim_end(), said.code), (refused, 1));
    let said = ctl.run("migrate slot 1 --target 1 -n n -c c --dry-run").await;
    assert!(said.out.contains("cluster: c\n") && said.code == 0, "{said:?}");

    let queued = ctl.json("migrations queue 1,2-3 -n n -c c --target 1").await;
    let [first, second] = [0, 1].map(|index| queued[index].as_u64().unwrap());
    assert!(first < second, "{queued}");
    site.until_job("c", "succeeded").await;
    let queue = ctl.table("migrations list -n n -c c").await;
    let expected = [&second.to_string(), "2-3", "0", "1", "succeeded", "1/2", "-"];
    assert_eq!(queue[2], expected);
    let shown = ctl.json(&format!("migrations show {first} -n n -c c")).await;
    assert_eq!(shown["state"], "succeeded");
    let refused = format!("migration {second} is succeeded");
    ctl.fails(&format!("migrations cancel {second} -n n -c c"), &refused).await;
    ctl.fails("migrations retry 9 -n n -c c", "migration: not found").await;

    let graceful = "failover shard 1 -n n -c c --sync-timeout-ms 400 --pause-timeout-ms 300";
    let bad = "invalid argument: sync_timeout_ms must be less than pause_timeout_ms";
    ctl.fails(graceful, bad).await;
    let line = "settings set automatic_failover=false adopt-newer-topology=never";
    let changed = ctl.json(line).await;
    assert_eq!(changed["automatic_failover"], false);
    assert_eq!(changed["adopt_newer_topology"], "never");
    let settings = ctl.table("settings get").await;
    assert!(settings.contains(&["automatic_failover", "false"].map(str::to_owned).to_vec()));
    let observers = ctl.table("observers").await;
    assert_eq!(observers[0], ["REPLICA", "COUNTS", "PROBED", "FAILED", "DOWN"]);
    let peers = ctl.run("raft list peers").await.out;
    assert_eq!(peers.matches(" YES").count(), 1, "{peers}");
    assert_eq!(peers.matches(" NO ").count(), 2, "{peers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_what_is_wanted_and_what_is_seen() {
    let mut site = Site::start().await;
    let nodes = site.create("c", 1, 2).await;
    site.create("d", 2, 1).await;
    let ctl = Ctl::new(&site);
    let until = Instant::now() + PATIENCE;
    // Every replica looks for itself, a little later than the nodes agreed.
    let all = loop {
        let all = ctl.json("status").await;
        let well = |at: usize| all["clusters"][at]["nodes_well"].as_u64();
        if well(0) == Some(2) && well(1) == Some(2) {
            break all;
        }
        assert!(Instant::now() < until, "{all:#}");
    };
    assert!(all["replica"].is_u64() && all["leader"].is_u64(), "{all:#}");
    let table = ctl.table("status").await;
    assert_eq!(table[2][..6], ["n", "c", "1", "1", "2", "2"]);
    let one = ctl.json("status -n n -c c").await;
    let [master, replica] = [0, 1].map(|at| &one["nodes"][at]);
    assert_eq!((&master["state"], &replica["observed_role"]), (&json!("ok"), &json!("slave")));
    assert_eq!((&replica["lag_entries"], &replica["observed_version"]), (&json!(0), &json!(1)));

    site.node(&nodes[1]).kill().await;
    let silent = loop {
        let one = ctl.json("status -n n -c c").await;
        let silent = &one["nodes"][1];
        if silent["found_dead_by"].as_array().unwrap().len() == 3 {
            break silent.clone();
        }
        assert!(Instant::now() < until, "{silent:#}");
    };
    assert_eq!(silent["state"], "silent");
    assert!(silent["failures"].as_u64().unwrap() >= 3, "{silent:#}");
    assert!(!silent["error"].as_str().unwrap().is_empty(), "{silent:#}");
    let rows = ctl.table("status -n n -c c").await;
    assert_eq!(rows[1][..4], ["SHARD", "NODE", "ADDRESS", "STATE"]);
    assert_eq!((&*rows[3][3], &*rows[3][4]), ("silent", "-, not 1"));

    let said = ctl.run("status --each --output json").await;
    let answers: Value = serde_json::from_str(&said.out).unwrap();
    let eyes = |at: usize| answers[at]["replica"].as_u64();
    assert_eq!([eyes(0), eyes(1), eyes(2)], [Some(1), Some(2), Some(3)]);
    assert!(said.code == 1 && said.err.contains("did not answer"), "one endpoint is dead");
    ctl.fails("status -n n -c zz", "cluster: not found").await;
    let missing = "missing cluster, please specify the cluster via -c or --cluster option";
    ctl.fails("status -n n", missing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_come_by_flag_file_or_variable_and_never_leave() {
    let mut site = Site::start().await;
    let options = Options { password: "top-secret".to_owned(), ..Options::default() };
    let nodes = site.add_nodes(3, &options).await;
    let ctl = Ctl::new(&site);
    let line = format!("create cluster f -n n --nodes {} -p top-secret", nodes[0]);
    ctl.says(&line, "create cluster: f successfully.").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "top-secret\n").unwrap();
    let path = file.path().display();
    let line = format!("create cluster g -n n --nodes {} --password-file {path}", nodes[1]);
    ctl.says(&line, "create cluster: g successfully.").await;
    let line = format!("create cluster h -n n --nodes {}", nodes[2]);
    let variable = [("QUORATE_KVROCKS_PASSWORD", "top-secret")];
    let said = ctl.run_with(&line, &variable).await;
    assert_eq!(said.code, 0, "{said:?}");
    for name in ["f", "g", "h"] {
        let record = site.cluster.ask(1, &format!("/api/v1/namespaces/n/clusters/{name}")).await;
        let node = &record.unwrap()["data"]["cluster"]["shards"][0]["nodes"][0];
        assert_eq!(node["password"], "top-secret", "{name}");
        let said = ctl.run(&format!("get cluster {name} -n n --output json")).await;
        assert!(said.out.contains("******") && !said.out.contains("top-secret"), "{said:?}");
    }
    let line = format!("password change -n n -c g --password-file {path}");
    ctl.says(&line, "change password successfully.").await;
    let missing = "missing password, please specify it via --password-file or --password option";
    ctl.fails("password change -n n -c g", missing).await;
    let help = ctl.run_with("create cluster --help", &variable).await;
    assert!(!help.out.contains("top-secret"), "{help:?}");
}
