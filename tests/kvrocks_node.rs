//! The stand-in node keeps to what real nodes were seen to do; other tests rely on that.

#![allow(clippy::unwrap_used)]

#[path = "support/kvrocks_node/mod.rs"]
mod kvrocks_node;

use std::time::{Duration, Instant};

use kvrocks_node::{
    Node, Options,
    resp::{Reply, Wire},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// A slot's keys: `{k}` is 7629, `foo` is 12182.
const SLOT: &str = "7629";

/// Four nodes: two masters with a replica each, as in the transcripts.
struct Four {
    a: Node,
    b: Node,
    c: Node,
    d: Node,
}

fn id(letter: &str) -> String {
    letter.repeat(40)
}

impl Four {
    async fn start(options: Options) -> Self {
        let node = || async { Node::start(0, options.clone()).await.unwrap() };
        let (a, b, c, d) = (node().await, node().await, node().await, node().await);
        let four = Self { a, b, c, d };
        four.push(&four.text("0-8191", "8192-16383"), "1").await;
        four.wait_linked().await;
        four
    }

    fn text(&self, of_a: &str, of_b: &str) -> String {
        let place = |node: &Node| node.addr.replace(':', " ");
        let (a, b, c, d) = (id("a"), id("b"), id("c"), id("d"));
        format!(
            "{a} {} master - {of_a}\n{b} {} master - {of_b}\n{c} {} slave {a}\n{d} {} slave {b}",
            place(&self.a),
            place(&self.b),
            place(&self.c),
            place(&self.d),
        )
    }

    /// C is master in the place of A.
    fn failed_over(&self) -> String {
        self.text("0-8191", "8192-16383")
            .replace(&format!("{} master - 0-8191", self.a.addr.replace(':', " ")), &{
                let place = self.a.addr.replace(':', " ");
                format!("{place} slave {}", id("c"))
            })
            .replace(
                &format!("{} slave {}", self.c.addr.replace(':', " "), id("a")),
                &format!("{} master - 0-8191", self.c.addr.replace(':', " ")),
            )
    }

    async fn push(&self, text: &str, version: &str) {
        for node in [&self.a, &self.b, &self.c, &self.d] {
            if node.is_running() {
                assert_eq!(set(node, text, version).await, Reply::ok());
            }
        }
    }

    async fn wait_linked(&self) {
        for node in [&self.c, &self.d] {
            wait_info(node, "master_link_status:up").await;
        }
    }

    /// The topology after slot 7629 moved.
    fn moved(&self) -> String {
        self.text("0-7628 7630-8191", "7629 8192-16383")
    }
}

async fn set(node: &Node, text: &str, version: &str) -> Reply {
    node.ask(&["CLUSTERX", "SETNODES", text, version]).await
}

async fn info(node: &Node) -> String {
    node.ask(&["CLUSTER", "INFO"]).await.text()
}

async fn wait_info(node: &Node, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = info(node).await + &node.ask(&["INFO", "replication"]).await.text();
        if text.contains(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "no {wanted} in {text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_sequence(node: &Node, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    while node.sequence() != wanted {
        assert!(Instant::now() < deadline, "at {}, not {wanted}", node.sequence());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn migrate(node: &Node, slot: &str, to: &str) -> String {
    node.ask(&["CLUSTERX", "MIGRATE", slot, &id(to)]).await.text()
}

async fn ask(node: &Node, words: &str) -> String {
    node.ask(&words.split(' ').collect::<Vec<_>>()).await.text()
}

/// Sends commands over one connection and returns the last answer.
async fn ask_in_turn(node: &Node, commands: &[&str]) -> String {
    let mut wire = Wire::connect(&node.addr).await.unwrap();
    let mut last = String::new();
    for command in commands {
        last = wire.ask(&command.split(' ').collect::<Vec<_>>()).await.unwrap().text();
    }
    last
}

#[tokio::test]
async fn a_node_without_topology_says_so() {
    let node = Node::start(0, Options::default()).await.unwrap();
    let down = "-CLUSTERDOWN The cluster is not initialized";
    for (words, expected) in [
        ("CLUSTER INFO", down),
        ("CLUSTER NODES", down),
        ("CLUSTER SLOTS", down),
        ("CLUSTERX MYID", ""),
        ("SET k v", "-CLUSTERDOWN Hash slot not served"),
        ("CLUSTER KEYSLOT k", "7629"),
        ("CLUSTER KEYSLOT {k}5", "7629"),
        ("CLUSTER KEYSLOT foo", "12182"),
        ("CLUSTER KEYSLOT bar", "5061"),
        ("CLUSTER KEYSLOT hello", "866"),
        ("SLAVEOF no one", "-ERR can't change to slave in cluster mode"),
        (
            "REPLICAOF no one",
            "-ERR unknown command `REPLICAOF`, with args beginning with: `no`, `one`",
        ),
        ("CLUSTER MYID", "-ERR CLUSTER command, CLUSTER INFO|NODES|SLOTS|KEYSLOT|RESET|REPLICAS"),
        (
            "CLUSTERX SETNODEID short",
            "-ERR CLUSTERX command, CLUSTERX VERSION|MYID|SETNODEID|SETNODES|SETSLOT|MIGRATE",
        ),
        ("CLUSTERX", "-ERR wrong number of arguments"),
        ("ROLE", "master 0"),
        ("CLUSTER RESET", "OK"),
    ] {
        assert_eq!(ask(&node, words).await, expected, "{words}");
    }
    assert_eq!(node.ask(&["CLUSTERX", "VERSION"]).await, Reply::Bulk("-1".to_owned()));
    assert_eq!(migrate(&node, "1", "b").await, "-ERR Can't find the destination node id");
}

#[tokio::test]
async fn topologies_are_judged_as_real_nodes_judge_them() {
    let node = Node::start(0, Options::default()).await.unwrap();
    let place = node.addr.replace(':', " ");
    let good = format!("{} {place} master - 0-16383", id("a"));
    let line = |rest: &str| format!("{} 127.0.0.1 {rest}", id("a"));
    let overlapped = line("1 master - 1-5") + "\n" + &format!("{} h 2 master - 5", id("b"));
    let joined = format!("{} {}", line("1 master - 1"), line("1 master - 2"));
    for (text, version, expected) in [
        (good.as_str(), "x", "-ERR Invalid version"),
        (&good, "-1", "-ERR Invalid cluster version"),
        ("garbage", "1", "-ERR Invalid cluster nodes info"),
        ("", "1", "-ERR Invalid cluster nodes info"),
        ("short h 1 master - 1", "1", "-ERR Invalid cluster node id"),
        (&line("77700 master - 1"), "1", "-ERR Invalid cluster node port"),
        (&line("1 primary - 1"), "1", "-ERR Invalid cluster node role"),
        (&line("1 slave - "), "1", "-ERR Invalid cluster node id"),
        (&line(&format!("1 master {} 5", id("b"))), "1", "-ERR Invalid cluster node id"),
        (&line(&format!("1 slave {} 5", id("b"))), "1", "-ERR Invalid cluster nodes info"),
        (&line("1 master - 5-5"), "1", "-ERR Slot is out of range"),
        (&line("1 master - 5-0"), "1", "-ERR Slot is out of range"),
        (&line("1 master - 0-16384"), "1", "-ERR Slot is out of range"),
        (&overlapped, "1", "-ERR Slot distribution is overlapped"),
        (&joined, "1", "-ERR Invalid nodes definition: Missing newline between node entries."),
    ] {
        assert_eq!(set(&node, text, version).await.text(), expected, "{text}");
        assert_eq!(ask(&node, "CLUSTERX VERSION").await, "-1");
    }
    assert_eq!(set(&node, &good, "3").await, Reply::ok());
    assert_eq!(ask(&node, "CLUSTERX MYID").await, id("a"));
    assert_eq!(set(&node, "garbage", "3").await, Reply::ok(), "equal versions are not read");
    assert_eq!(set(&node, &good, "2").await.text(), "-ERR Invalid cluster version");
    let forced = node.ask(&["CLUSTERX", "SETNODES", &good, "2", "force"]).await;
    assert_eq!(forced, Reply::ok());
    assert_eq!(ask(&node, "CLUSTERX VERSION").await, "2");
    let wrong = node.ask(&["CLUSTERX", "SETNODES", &good, "9", "please"]).await;
    assert_eq!(wrong.text(), "-ERR Invalid setnodes options");
    // Slots left out stay with their owner, who sends everybody to himself.
    assert_eq!(set(&node, &good.replace("0-16383", "0-99"), "4").await, Reply::ok());
    assert!(info(&node).await.contains("cluster_slots_assigned:16384\r\n"));
    assert_eq!(ask(&node, "GET foo").await, format!("-MOVED 12182 {}", node.addr));
}

#[tokio::test]
async fn a_slot_moves_as_real_nodes_move_it() {
    let mut four = Four::start(Options::default()).await;
    let (a, b) = (four.a.addr.clone(), four.b.addr.clone());
    assert_eq!(ask(&four.d, "CLUSTERX MYID").await, id("d"));
    assert_eq!(ask(&four.a, "SET k v1").await, "OK");
    assert_eq!(ask(&four.b, "SET k v1").await, format!("-MOVED 7629 {a}"));
    assert_eq!(ask(&four.a, "MSET k 1 foo 2").await.split(' ').next(), Some("-CROSSSLOT"));
    wait_sequence(&four.c, 1).await;
    assert_eq!(ask(&four.c, "GET k").await, format!("-MOVED 7629 {a}"));
    assert_eq!(ask_in_turn(&four.c, &["READONLY", "GET k"]).await, "v1");
    let refused = ask_in_turn(&four.c, &["READONLY", "SET k 2"]).await;
    assert_eq!(refused, format!("-MOVED 7629 {a}"));
    for number in 0..64 {
        ask(&four.a, &format!("SET {{k}}{number} old")).await;
    }
    ask(&four.a, "CONFIG SET migrate-speed 64").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    assert_eq!(migrate(&four.a, "7630", "b").await, "-ERR There is already a migrating job");
    let lines = format!("migrating_slot(s): 7629\r\ndestination_node: {}\r\n", id("b"));
    wait_info(&four.a, &format!("{lines}migrating_state: start\r\n")).await;
    wait_info(&four.b, "importing_slot(s): 7629\r\nimport_state: start\r\n").await;
    assert!(ask(&four.a, "CLUSTER NODES").await.contains(&format!(" [7629->-{}]\n", id("b"))));
    assert!(ask(&four.b, "CLUSTER NODES").await.contains(&format!(" [7629-<-{}]\n", id("a"))));
    assert_eq!(ask(&four.a, "SET {k}5 changed").await, "OK");
    assert_eq!(ask(&four.b, "GET {k}zz").await, format!("-MOVED 7629 {a}"));
    assert_eq!(ask_in_turn(&four.b, &["ASKING", "GET {k}zz"]).await, "(nil)");
    wait_info(&four.a, &format!("{lines}migrating_state: success\r\n")).await;
    wait_info(&four.b, "import_state: success\r\n").await;
    assert_eq!(ask(&four.a, "GET {k}5").await, format!("-MOVED 7629 {b}"));
    assert_eq!(ask(&four.b, "GET {k}5").await, "changed");
    let again = migrate(&four.a, SLOT, "b").await;
    assert_eq!(again, "-ERR Can't migrate slot which has been migrated");
    four.push(&four.moved(), "2").await;
    assert_eq!(ask(&four.a, "KEYS *").await, "");
    let gone = migrate(&four.a, SLOT, "b").await;
    assert_eq!(gone, "-ERR Can't migrate slot which doesn't belong to me");
    wait_info(&four.a, &format!("{lines}migrating_state: success\r\n")).await;
    // Failover of B to D by a push, and B comes back with its old view.
    let at = four.b.sequence();
    wait_sequence(&four.d, at).await;
    four.b.kill().await;
    wait_info(&four.d, "master_link_status:down").await;
}

#[tokio::test]
async fn a_master_that_comes_back_takes_writes_and_keeps_them() {
    for (compares_histories, expected) in [(false, "before"), (true, "on-C")] {
        let options = Options { compares_histories, ..Options::default() };
        let mut four = Four::start(options).await;
        ask(&four.a, "SET {g}last before").await;
        wait_sequence(&four.c, four.a.sequence()).await;
        four.a.kill().await;
        let text = four.failed_over();
        four.push(&text, "10").await;
        assert!(ask(&four.c, "ROLE").await.starts_with("master"));
        ask(&four.c, "SET {g}last on-C").await;
        ask(&four.c, "SET {g}more on-C").await;
        four.a.restart(true).await.unwrap();
        assert_eq!(ask(&four.a, "CLUSTERX VERSION").await, "1");
        assert_eq!(ask(&four.a, "SET {g}stale on-A").await, "OK", "both take writes");
        assert_eq!(set(&four.a, &text, "10").await, Reply::ok());
        wait_sequence(&four.a, four.c.sequence()).await;
        wait_info(&four.a, "master_link_status:up").await;
        let last = ask_in_turn(&four.a, &["READONLY", "GET {g}last"]).await;
        assert_eq!(last, expected, "histories compared: {compares_histories}");
    }
}

#[tokio::test]
async fn a_restart_forgets_migrations_and_perhaps_the_topology() {
    let mut four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.a, "migrating_state: success").await;
    four.a.restart(true).await.unwrap();
    assert!(!info(&four.a).await.contains("migrating"));
    // Two owners that both take writes.
    assert_eq!(ask(&four.a, "SET k on-A").await, "OK");
    assert_eq!(ask(&four.b, "SET k on-B").await, "OK");
    four.push(&four.moved(), "2").await;
    assert_eq!(ask(&four.a, "KEYS *").await, "k", "an orphan");
    four.a.restart(false).await.unwrap();
    assert_eq!(ask(&four.a, "CLUSTERX VERSION").await, "-1");
    assert_eq!(four.a.keys().len(), 1);
    assert!(ask(&four.a, "CLUSTER RESET").await.contains("database is not empty"));
}

#[tokio::test]
async fn a_push_to_the_destination_ends_the_import() {
    let four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    four.a.fault(|faults| faults.holds_migrations = true);
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.b, "import_state: start").await;
    let text = four.text("0-8191", "8192-16383");
    assert_eq!(set(&four.b, &text, "2").await, Reply::ok());
    ask(&four.a, "SET k again").await;
    wait_info(&four.a, "migrating_state: fail").await;
    wait_info(&four.b, "import_state: error").await;
    assert_eq!(four.b.keys().len(), 0);
    assert_eq!(ask(&four.a, "SET k on").await, "OK");
}

#[tokio::test]
async fn a_push_after_success_that_moves_nothing_blocks_the_slot() {
    let four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.a, "migrating_state: success").await;
    four.push(&four.text("0-8191", "8192-16383"), "2").await;
    assert_eq!(ask(&four.a, "GET k").await, "v");
    assert!(ask(&four.a, "SET k w").await.starts_with("-TRYAGAIN"));
    assert_eq!(ask(&four.b, "GET k").await, format!("-MOVED 7629 {}", four.a.addr));
    let again = migrate(&four.a, SLOT, "b").await;
    assert_eq!(again, "-ERR Can't migrate slot which has been migrated");
    assert_eq!(migrate(&four.a, "7700", "b").await, "OK");
    wait_info(&four.a, "migrating_state: success").await;
    assert_eq!(ask(&four.a, "SET k w").await, "OK", "another migration freed it");
}

#[tokio::test]
async fn the_first_migration_of_a_promoted_node_fails() {
    let mut four = Four::start(Options::default()).await;
    four.a.kill().await;
    four.push(&four.failed_over(), "10").await;
    assert_eq!(migrate(&four.c, SLOT, "b").await, "OK");
    wait_info(&four.c, "migrating_state: fail").await;
    assert_eq!(migrate(&four.c, SLOT, "b").await, "OK");
    wait_info(&four.c, "migrating_state: success").await;
}

#[tokio::test]
async fn orders_to_migrate_are_refused_as_real_nodes_refuse_them() {
    let four = Four::start(Options::default()).await;
    for (node, slot, to, expected) in [
        (&four.a, "1", "a", "-ERR Can't migrate slot to myself"),
        (&four.a, "1", "d", "-ERR Can't migrate slot to a slave"),
        (&four.a, "9000", "b", "-ERR Can't migrate slot which doesn't belong to me"),
        (&four.a, "8000-9000", "b", "-ERR Can't migrate slot which doesn't belong to me"),
        (&four.c, "1", "b", "-ERR Can't migrate slot which doesn't belong to me"),
        (&four.a, "1", "z", "-ERR Can't find the destination node id"),
        (&four.a, "99999", "b", "-ERR Invalid slot id: out of numeric range"),
        (&four.a, "x", "b", "-ERR Invalid slot id: not started as an integer"),
    ] {
        assert_eq!(migrate(node, slot, to).await, expected, "{slot} {to}");
    }
    for slot in ["3168", "3300"] {
        assert_eq!(migrate(&four.a, slot, "b").await, "OK");
        wait_info(&four.a, &format!("migrating_slot(s): {slot}\r\n")).await;
        wait_info(&four.a, "migrating_state: success").await;
    }
    let between = migrate(&four.a, "3200", "b").await;
    assert_eq!(between, "-ERR Can't migrate slot which has been migrated");
    assert_eq!(migrate(&four.a, "3000", "b").await, "OK");
}

#[tokio::test]
async fn faults_do_what_their_names_say() {
    let mut four = Four::start(Options::default()).await;
    four.a.fault(|faults| faults.is_silent = true);
    let asked = tokio::time::timeout(Duration::from_millis(100), info(&four.a)).await;
    assert!(asked.is_err());
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let replica = ask(&four.c, "INFO replication").await;
    assert!(replica.contains("master_link_status:up"), "a hung master keeps its link: {replica}");
    assert!(!replica.contains("master_last_io_seconds_ago:0"), "{replica}");
    four.a.fault(|faults| faults.is_silent = false);
    four.a.fault(|faults| faults.is_loading = true);
    let loading = "-LOADING kvrocks is restoring the db from backup";
    assert_eq!(info(&four.a).await, loading);
    assert!(!ask(&four.a, "INFO").await.contains("role:"));
    four.a.fault(|faults| faults.is_loading = false);
    four.a.fault(|faults| faults.lost_pushes = 1);
    let text = four.text("0-8191", "8192-16383");
    assert_eq!(set(&four.a, &text, "2").await, Reply::ok());
    assert_eq!(ask(&four.a, "CLUSTERX VERSION").await, "1");
    four.a.configure(|options| options.password = "secret".to_owned());
    assert_eq!(info(&four.a).await, "-NOAUTH Authentication required.");
    assert_eq!(ask_in_turn(&four.a, &["AUTH wrong"]).await, "-ERR Invalid password");
    let admitted = ask_in_turn(&four.a, &["AUTH secret", "CLUSTERX VERSION"]).await;
    assert_eq!(admitted, "1");
    let useless = ask(&four.b, "AUTH secret").await;
    assert_eq!(useless, "-ERR Client sent AUTH, but no password is set");
    four.a.kill().await;
    assert!(Wire::connect(&four.a.addr).await.is_err());
}
