//! The guides for newcomers, carried out: every command they show is run against real replicas, and
//! has to print what the guide says. How a guide says so is in `guide/script.rs`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod guide;
#[path = "support/kvrocks_node/mod.rs"]
mod kvrocks_node;
mod support;

use std::{
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use guide::{
    expect::is_expected,
    old::{Etcd, MemoryBroker},
    walk::Walk,
};
use kvrocks_node::{Node, Options, resp};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    coordinator::Coordinator,
    docker::{Docker, IMAGE},
    process::free_port,
    resp::{Connection, Reply},
    server_proxy::Fleet,
};
use tokio::{task::block_in_place, time::sleep};

const GETTING_STARTED: &str = "docs/getting-started.md";
const FROM_UNDERMOON: &str = "docs/migrate-undermoon.md";
const FROM_KVROCKS_CONTROLLER: &str = "docs/migrate-kvrocks-controller.md";
const FROM_CELLO: &str = "docs/migrate-cello.md";

/// What the guides show and nobody tries, because it wants a program that is not here.
const BY_HAND: [(&str, &[&str]); 4] = [
    (
        GETTING_STARTED,
        &[
            // Builds everything; what it runs in the end is tried in tests/program.rs.
            "scripts/dev",
            "UNDERMOON_BROKER_ADDRESS=127.0.0.1:7700 coordinator coordinator.toml",
            // The same stand-ins run inside this test.
            "cargo run --release --example kvrocks-node -- --port 6661 --count 4",
            "kvctl --host http://127.0.0.1:9379 get cluster orders -n shop",
        ],
    ),
    (
        FROM_UNDERMOON,
        &[
            "systemctl stop undermoon-coordinator",
            "systemctl stop undermoon-broker",
            // A stand-in coordinator is started at that place.
            "UNDERMOON_BROKER_ADDRESS=127.0.0.1:7700 coordinator coordinator.toml",
        ],
    ),
    (FROM_KVROCKS_CONTROLLER, &["systemctl stop kvrocks-controller"]),
    (FROM_CELLO, &[]),
];

/// Replicas in the place of those that a guide begins with.
async fn start_replicas(walk: &mut Walk) -> Cluster {
    let cluster = Cluster::start(3, &[]).await;
    for (replica, port) in cluster.replicas.iter().zip([7799, 7809, 7819]) {
        let (_, here) = replica.client_addr.rsplit_once(':').unwrap();
        walk.set_port(port, here.parse().unwrap());
    }
    cluster
}

/// Starts a stand-in node in the place of each of these of the guide.
async fn start_nodes(walk: &Walk, ports: &[u16]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for port in ports {
        let options = Options { knows_pause: true, ..Options::default() };
        nodes.push(Node::start(walk.port(*port), options).await.unwrap());
    }
    nodes
}

/// A Docker daemon in the place of the guide's, with the image that its template names.
fn start_docker(walk: &mut Walk) -> Docker {
    let docker = Docker::start();
    docker.docker(&["tag", IMAGE, "busybox:1.36"]);
    walk.set_word("unix:///var/run/docker.sock", &docker.url());
    docker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn getting_started() {
    let mut walk = Walk::open(GETTING_STARTED);
    let _nodes = start_nodes(&walk, &[6661, 6662, 6663, 6664]).await;
    let ran = block_in_place(|| {
        // The daemon outlives the replicas that use it.
        let _docker = start_docker(&mut walk);
        let ran = walk.follow();
        drop(walk);
        ran
    });
    assert!(ran > 30, "only {ran} commands");
}

/// A base port for `quorate dev`: all ports of its replicas are free.
fn free_base_port() -> u16 {
    loop {
        let base = free_port();
        let mut ports = (0..3).flat_map(|at| [base + 10 * at, base + 10 * at + 1]);
        if ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

#[test]
fn the_example_of_the_readme() {
    let mut walk = Walk::open_partly("README.md");
    let base = free_base_port();
    for (at, port) in (0..).zip([7799, 7809, 7819]) {
        walk.set_port(port, base + 10 * at);
    }
    // What `scripts/dev` does once it has built everything.
    walk.prepare(&format!("quorate dev --base-port {base} >dev.log 2>&1 &"));
    for at in 0..3 {
        let url = format!("http://127.0.0.1:{}/readyz", base + 10 * at);
        walk.prepare(&format!("until curl -sf {url}; do sleep 0.1; done"));
    }
    assert_eq!(walk.follow(), 4);
}

/// An old broker's document: two proxies in a cluster, and one more.
fn old_document(proxies: &[String]) -> Value {
    let nodes = |at: usize| {
        [format!("127.0.0.1:{}", 6379 + 2 * at), format!("127.0.0.1:{}", 6380 + 2 * at)]
    };
    let cluster = |at: usize| if at < 2 { json!("orders") } else { Value::Null };
    let resources = proxies.iter().enumerate().map(|(at, address)| {
        let host = format!("host{at}");
        let resource = json!({"proxy_address": address, "node_addresses": nodes(at), "host": host,
                              "index": 0, "cluster": cluster(at)});
        (address.clone(), resource)
    });
    let slots = |from: u64, to: u64| json!({"range_list": [[from, to]], "tag": "None"});
    json!({
        "version": "mem-broker-0.2", "global_epoch": 42,
        "clusters": {"orders": {"epoch": 42, "name": "orders", "chunks": [{
            "role_position": "Normal",
            "stable_slots": [slots(0, 8191), slots(8192, 16383)],
            "migrating_slots": [[], []],
            "proxy_addresses": proxies[..2],
            "hosts": ["host0", "host1"],
            "node_addresses": ([nodes(0), nodes(1)].concat()),
        }], "config": {"compression_strategy": "disabled", "migration_config": {
            "max_migration_time": 10800, "max_blocking_time": 10000,
            "scan_interval": 500, "scan_count": 16}}}},
        "all_proxies": resources.collect::<serde_json::Map<_, _>>(),
        "failed_proxies": [], "failures": {}, "enable_ordered_proxy": false,
    })
}

/// Tells a proxy that is in no cluster something newer than the old broker's document.
async fn run_ahead(proxy: &str, epoch: u64) {
    let meta =
        json!({"epoch": epoch, "address": proxy, "cluster_name": null, "nodes": [], "peers": []});
    let words = ["UMCTL", "SETCLUSTER", "v2", &epoch.to_string(), "NOFLAGS", &meta.to_string()];
    assert_eq!(Connection::ask(proxy, &words).await.unwrap(), Reply::Simple("OK".to_owned()));
}

/// Waits until every proxy holds what the replicas say, at an epoch or above.
async fn wait_told(cluster: &Cluster, fleet: &Fleet, proxies: &[String], epoch: u64) {
    let deadline = Instant::now() + PATIENCE;
    for proxy in proxies {
        let path = format!("/api/v3/proxies/meta/{proxy}");
        loop {
            let wanted = cluster.ask(1, &path).await.map(|answer| answer["proxy"].clone());
            if wanted == Some(fleet.meta(proxy)) && fleet.epoch(proxy) >= epoch {
                break;
            }
            assert!(Instant::now() < deadline, "{proxy} is at {}, not {epoch}", fleet.epoch(proxy));
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_undermoons_broker_and_back() {
    let mut walk = Walk::open(FROM_UNDERMOON);
    let cluster = start_replicas(&mut walk).await;
    let fleet = Fleet::default();
    let mut proxies = [fleet.start().await, fleet.start().await, fleet.start().await];
    proxies.sort();
    for (proxy, port) in proxies.iter().zip([5299, 5300, 5301]) {
        walk.set_port(port, proxy.rsplit_once(':').unwrap().1.parse().unwrap());
    }
    run_ahead(&proxies[2], 55).await;
    let old = MemoryBroker::start(walk.port(7798), old_document(&proxies)).await;

    block_in_place(|| walk.follow_until("curl -s http://127.0.0.1:7700/api/v3/failures"));
    let gateway = format!("http://127.0.0.1:{}", walk.port(7700));
    let coordinator = Coordinator::start("coordinator-1", &[gateway], Duration::from_millis(100));
    wait_told(&cluster, &fleet, &proxies, 57).await;
    block_in_place(|| {
        walk.follow_until("curl -sf --compressed http://127.0.0.1:7799/api/v3/metadata -o back")
    });
    let faults: Vec<_> =
        coordinator.rounds().into_iter().flat_map(|rounds| rounds.faults).collect();
    assert_eq!(faults, Vec::<String>::new(), "the coordinator was not answered as it should be");
    drop(coordinator);

    assert!(block_in_place(|| walk.follow()) > 15);
    let mut expected = old_document(&proxies);
    expected["global_epoch"] = 57.into();
    expected["clusters"]["orders"]["epoch"] = 57.into();
    assert_eq!(old.document(), expected, "there and back changes the epochs alone");
    assert_eq!(fleet.violations(), Vec::<String>::new());
}

/// Starts two nodes that have the topology of the old controller, and fills its store.
async fn old_controller(walk: &Walk) -> (Vec<Node>, Etcd) {
    let nodes = start_nodes(walk, &[6661, 6662]).await;
    let ids = ["a".repeat(40), "b".repeat(40)];
    let (master, replica) = (walk.port(6661), walk.port(6662));
    let topology = format!(
        "{} 127.0.0.1 {master} master - 0-16383\n{} 127.0.0.1 {replica} slave {}",
        ids[0], ids[1], ids[0]
    );
    for (node, id) in nodes.iter().zip(&ids) {
        assert_eq!(node.ask(&["CLUSTERX", "SETNODEID", id]).await, resp::Reply::ok());
        assert_eq!(node.ask(&["CLUSTERX", "SETNODES", &topology, "41"]).await, resp::Reply::ok());
    }
    let stored = |at: usize, role: &str| {
        json!({"id": ids[at], "addr": nodes[at].addr, "role": role, "password": "",
               "created_at": 1_690_000_000})
    };
    let record = json!({"name": "orders", "version": 41, "shards": [{
        "nodes": [stored(0, "master"), stored(1, "slave")], "slot_ranges": ["0-16383"],
        "target_shard_index": -1, "migrating_slot": null}]});
    let etcd = block_in_place(|| {
        let etcd = Etcd::start(walk.port(2379), free_port());
        etcd.put("/kvrocks/metadata/shop", "shop");
        etcd.put("/kvrocks/metadata/shop/cluster/orders", &record.to_string());
        etcd.put("/kvrocks/controller/leader/694d81", "abcdefgh/127.0.0.1:9379");
        etcd
    });
    (nodes, etcd)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_kvrocks_controller_and_back() {
    let mut walk = Walk::open(FROM_KVROCKS_CONTROLLER);
    let _cluster = start_replicas(&mut walk).await;
    let (nodes, _etcd) = old_controller(&walk).await;
    assert!(block_in_place(|| walk.follow()) > 10);
    for node in &nodes {
        let heard = node.heard();
        let told = heard.iter().filter(|words| words.starts_with("CLUSTERX SETNODES"));
        assert_eq!(told.count(), 1, "a node was told what it knew: {heard:?}");
    }
}

/// How the old pool comes to what it has: two clusters of tiny containers, one of them alice's.
const OLD_POOL: &str = r#"
```json file=tiny.json
{"consensus_plugin": "noops", "size": 1, "image": "quorate-test:1",
 "command": ["/bin/busybox", "httpd", "-f", "-p", "7050"],
 "services": [{"name": "rest", "offset": 0, "container_port": 7050, "is_published": true}],
 "network": "old_net", "probe": "tcp"}
```
```console
$ export QUORATE_ENDPOINT=http://127.0.0.1:8080
$ for kind in 'noops --size 4' 'noops --size 6' 'pbft --mode batch --size 4' 'pbft --mode batch --size 6'; do quorate ctl pool templates remove --plugin $kind --yes; done
...
$ quorate ctl pool templates set tiny.json
template noops/1 is set.
$ quorate ctl pool settings set port_start=PORT port_step=1 call_timeout_ms=2000 stop_grace_s=0
...
$ quorate ctl pool hosts add --name compute1 --url tcp://192.168.7.61:2375 --capacity 2 --autofill true
...
```
```console eventually
$ quorate ctl pool clusters list --free --health OK -o json | grep -c '"phase": "ready"'
2
```
```console
$ quorate ctl pool clusters apply alice
...
```
"#;

/// Has a guide's Docker host be this daemon.
fn put_host_in_place(walk: &mut Walk, docker: &Docker) {
    walk.set_word("tcp://192.168.7.61:2375", &docker.tcp_url());
    walk.set_word("192.168.7.61", "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_cello() {
    let mut walk = Walk::open(FROM_CELLO);
    let docker = block_in_place(Docker::start);
    let old = Cluster::start(1, &[]).await;
    let (_, port) = old.replicas[0].client_addr.rsplit_once(':').unwrap();
    let port = port.parse().unwrap();
    let mut begin = Walk::of("the old pool", OLD_POOL);
    begin.set_port(8080, port);
    // Two clusters with a port each.
    let first = (free_port(), free_port()).0;
    begin.set_word("PORT", &first.to_string());
    put_host_in_place(&mut begin, &docker);
    block_in_place(|| begin.follow());

    let _cluster = start_replicas(&mut walk).await;
    walk.set_port(8080, port);
    put_host_in_place(&mut walk, &docker);
    walk.set_word("17050", &free_port().to_string());
    walk.set_word("registry.lan/fabric-peer:0.6", IMAGE);
    let serving = r#"["/bin/busybox", "httpd", "-f", "-p", "7050"]"#;
    walk.set_word(r#"["peer", "node", "start"]"#, serving);
    assert!(block_in_place(|| walk.follow()) > 12);
}

#[test]
fn what_nobody_tries_is_known() {
    let mut count = 0;
    for (name, known) in BY_HAND {
        let walk = Walk::open(name);
        let found = walk.by_hand();
        assert_eq!(found, known, "{name}: write down here what is not tried, and why");
        count += found.len();
        eprintln!("{name}: not tried: {found:#?}");
    }
    assert!(count <= 12, "{count} commands that nobody tries are too many");
}

/// How following a text ends, if it does not end well.
fn complaint(text: &str) -> String {
    let followed = catch_unwind(AssertUnwindSafe(|| Walk::of("sample.md", text).follow()));
    let complaint = followed.expect_err("nothing was found wrong");
    complaint.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_guide_that_is_wrong_is_told_where() {
    let text = "# Sample\n\n```console\n$ echo one\none\n$ echo two\nthree\n```\n";
    let said = complaint(text);
    for part in ["sample.md:6: $ echo two\n", "the guide says\nthree\n", "it printed\ntwo\n"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let said = complaint("```console\n$ ls /does/not/exist | cat\n...\n```\n");
    assert!(said.starts_with("sample.md:2: ") && said.contains("exit status: 2"), "{said}");
    for (text, expected) in [
        ("```sh\nls\n```\n", "sample.md:1: commands belong in a block of console"),
        ("text\n\n    ls\n", "sample.md:3: commands belong in a block of console"),
        ("```console sometimes\n$ ls\n```\n", "sample.md:1: nobody knows the word sometimes"),
        ("```console\nls\n```\n", "sample.md:1: output of no command"),
        ("```console\n$ ls\n", "sample.md: a block does not end"),
    ] {
        assert_eq!(complaint(text), expected);
    }
}

#[test]
fn a_guide_that_is_right_is_followed() {
    let text = "```json file=a.json\n{}\n```\n```console\n$ export WORD=\"$(cat a.json)\"\n\
                $ echo \"$WORD\" \\\n    127.0.0.1:7799\n{} 127.0.0.1:7799\n$ (sleep 60 & echo begun)\nbegun\n```\n\
                ```console eventually\n$ echo x >>count; wc -l <count\n3\n```\n\
                ```console by-hand\n$ false\n```\n";
    let mut walk = Walk::of("sample.md", text);
    assert_ne!(walk.port(7799), 7799);
    assert_eq!(walk.by_hand(), ["false"]);
    assert_eq!(walk.follow(), 4);
}

#[test]
fn output_is_compared_but_for_what_varies() {
    let check = |expected: &[&str], actual: &str, is_rough: bool| {
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        is_expected(&expected, actual, is_rough)
    };
    assert!(check(&["ID  NAME", "1   a"], "ID NAME\n1  a\n\n", false));
    assert!(check(&["|----|", "a ... c ..."], "|--------|\r\na b c d", false));
    assert!(check(&["first", "...", "last"], "first\n1\n2\nlast", false));
    assert!(check(&["...", "last"], "last", false));
    assert!(check(&["1  leader  0.2 s"], "2 follower 1.5 s", true));
    assert!(check(
        &["id 090945bfd78d2d2faf946aa60a67c304"],
        "id 190945bfd78d2d2faf946aa60a67c30a",
        true
    ));
    assert!(!check(&["1  leader"], "2 leader", false));
    assert!(!check(&["a ... c"], "a b", false));
    assert!(!check(&["first", "...", "last"], "first\nlast\nmore", false));
    assert!(!check(&["one"], "", false));
    assert!(!check(&[], "error: no", false));
    assert!(!check(&["1 ready"], "1 late", true));
}
