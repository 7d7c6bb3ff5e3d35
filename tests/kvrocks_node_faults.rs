//! The switches of the stand-in node, from the test that has it and over a connection.

#![allow(clippy::unwrap_used)]

mod kvrocks_four;

use std::time::{Duration, Instant};

use kvrocks_four::{
    Four, SLOT, ask, ask_in_turn, info,
    kvrocks_node::{
        Finish, Instead, Node, Options,
        resp::{Reply, Wire},
    },
    migrate, set, wait_info,
};

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

#[tokio::test]
async fn single_commands_meet_something_else() {
    let node = Node::start(0, Options::default()).await.unwrap();
    node.next("CLUSTERX VERSION", Instead::Reply("$1\r\n7\r\n".to_owned()));
    assert_eq!(ask(&node, "CLUSTERX MYID").await, "");
    assert_eq!(ask(&node, "clusterx version").await, "7");
    assert_eq!(ask(&node, "CLUSTERX VERSION").await, "-1");
    let text = format!("{} {} master - 0-16383", "a".repeat(40), node.addr.replace(':', " "));
    let push = ["CLUSTERX", "SETNODES", &text, "1"];
    for (instead, version) in [(Instead::Unheard, "-1"), (Instead::Unanswered, "1")] {
        node.next("CLUSTERX SETNODES", instead);
        let mut wire = Wire::connect(&node.addr).await.unwrap();
        assert!(wire.ask(&push).await.is_err());
        assert_eq!(ask(&node, "CLUSTERX VERSION").await, version);
    }
    node.next("", Instead::Silence);
    let mut wire = Wire::connect(&node.addr).await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(100), wire.ask(&["PING"])).await;
    assert!(silent.is_err());
    assert_eq!(ask(&node, "PING").await, "PONG");
    let log = node.log();
    let pushes: Vec<bool> = log
        .iter()
        .filter(|heard| heard.words.contains("SETNODES"))
        .map(|heard| heard.is_done)
        .collect();
    assert_eq!(pushes, [false, true], "only one was carried out");
    assert!(log.is_sorted_by_key(|heard| heard.at_ms));
    assert_eq!(node.heard().iter().filter(|words| words.contains("SETNODES")).count(), 1);
}

#[tokio::test]
async fn a_node_that_refuses_is_as_good_as_gone_for_clients() {
    let four = Four::start(Options::default()).await;
    let mut wire = Wire::connect(&four.a.addr).await.unwrap();
    wire.ask(&["PING"]).await.unwrap();
    four.a.fault(|faults| faults.is_refusing = true);
    wait_until("the port is closed", async || Wire::connect(&four.a.addr).await.is_err()).await;
    assert!(wire.ask(&["PING"]).await.is_err());
    wait_info(&four.c, "master_link_status:down").await;
    four.a.fault(|faults| faults.is_refusing = false);
    wait_until("the port is open", async || Wire::connect(&four.a.addr).await.is_ok()).await;
    wait_info(&four.c, "master_link_status:up").await;
}

async fn wait_until(about: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{about}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn migrations_end_as_they_are_told_to() {
    let four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    four.a.fault(|faults| faults.holds_migrations = true);
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.b, "import_state: start").await;
    four.a.finish(Finish::Fail);
    assert!(info(&four.a).await.contains("migrating_state: fail"));
    wait_info(&four.b, "import_state: error").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.b, "import_state: start").await;
    four.a.finish(Finish::Lost);
    assert!(!info(&four.a).await.contains("migrating"));
    wait_info(&four.b, "import_state: error").await;
    assert_eq!(ask(&four.a, "SET k w").await, "OK");
    four.a.fault(|faults| faults.failing_migrations = 1);
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.a, "migrating_state: fail").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    four.a.finish(Finish::Success);
    wait_info(&four.a, "migrating_state: success").await;
    four.c.set_sequence(12);
    assert!(ask(&four.c, "INFO").await.contains("# Keyspace\r\nsequence:12\r\n"));
}

#[tokio::test]
async fn dialects_and_rights_are_options() {
    let old = Options {
        has_old_errors: true,
        has_old_migrating_name: true,
        namespace_token: "tenant".to_owned(),
        password: "admin".to_owned(),
        knows_pause: true,
        ..Options::default()
    };
    let node = Node::start(0, old).await.unwrap();
    let down = ask_in_turn(&node, &["AUTH admin", "CLUSTER INFO"]).await;
    assert_eq!(down, "-ERR CLUSTERDOWN The cluster is not initialized");
    node.fault(|faults| faults.is_loading = true);
    let loading = ask_in_turn(&node, &["AUTH admin", "CLUSTER INFO"]).await;
    assert_eq!(loading, "-ERR LOADING kvrocks is restoring the db from backup");
    let shown = ask_in_turn(&node, &["AUTH admin", "INFO"]).await;
    assert!(shown.contains("loading:1") && !shown.contains("sequence:"), "{shown}");
    let tenant = ask_in_turn(&node, &["AUTH tenant", "CLUSTERX VERSION"]).await;
    assert_eq!(tenant, "-ERR admin permission required to perform the command");
    assert!(node.log().iter().all(|heard| !heard.words.contains("tenant")), "no passwords");
    let standalone = Options { is_standalone: true, ..Options::default() };
    let node = Node::start(0, standalone).await.unwrap();
    assert_eq!(ask(&node, "CLUSTER INFO").await, "-ERR Cluster mode is not enabled");
    let text = |role: &str| {
        let a = "a".repeat(40);
        format!("{a} h 1 master - 0-16383\n{} h 2 {role} {a}", "b".repeat(40))
    };
    for (knows_failed, expected) in [(true, "OK"), (false, "-ERR Invalid cluster node role")] {
        let node = Node::start(0, Options { knows_failed, ..Options::default() }).await.unwrap();
        assert_eq!(set(&node, &text("slave,fail"), "1").await.text(), expected);
    }
}

#[tokio::test]
async fn paused_writes_wait_and_reads_do_not() {
    let four = Four::start(Options { knows_pause: true, ..Options::default() }).await;
    ask(&four.a, "SET k v").await;
    assert_eq!(ask(&four.a, "CLIENT PAUSE 60000 WRITE").await, "OK");
    let late = tokio::time::timeout(Duration::from_millis(100), ask(&four.a, "SET k w")).await;
    assert!(late.is_err());
    assert_eq!(ask(&four.a, "GET k").await, "v");
    assert_eq!(ask(&four.a, "CLIENT UNPAUSE").await, "OK");
    assert_eq!(ask(&four.a, "SET k x").await, "OK");
    let ignorant = Node::start(0, Options::default()).await.unwrap();
    assert!(ask(&ignorant, "CLIENT PAUSE 1 WRITE").await.starts_with("-ERR"));
}

/// Figures of this process: a line of its status, kilobytes or a count.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn two_thousand_nodes_fit_into_one_process() {
    let (memory, threads) = (status("VmRSS"), status("Threads"));
    let mut nodes = Vec::new();
    for _ in 0..2_000 {
        nodes.push(Node::start(0, Options::default()).await.unwrap());
    }
    let mut wires = Vec::new();
    for node in &nodes {
        let mut wire = Wire::connect(&node.addr).await.unwrap();
        assert_eq!(wire.ask(&["CLUSTERX", "VERSION"]).await.unwrap().text(), "-1");
        wires.push(wire);
    }
    // Both ends of the connections are in this process.
    let grown_mib = (status("VmRSS") - memory) / 1024;
    assert!(grown_mib < 100, "{grown_mib} MiB");
    assert_eq!(status("Threads"), threads);
}

#[tokio::test]
async fn faults_can_be_switched_over_a_connection() {
    let options = Options { password: "secret".to_owned(), ..Options::default() };
    let mut node = Node::start(0, options).await.unwrap();
    let addr = node.addr.clone();
    // As the program does it.
    let running = tokio::spawn(async move {
        loop {
            let keeps_node_file = node.restart_wished().await;
            node.restart(keeps_node_file).await.unwrap();
        }
    });
    let mut wire = Wire::connect(&addr).await.unwrap();
    let mut ask = async |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        wire.ask(&words).await.unwrap().text()
    };
    let id = format!("CLUSTERX SETNODEID {}", "a".repeat(40));
    for (words, expected) in [
        ("AUTH secret", "OK"),
        ("STANDIN NEXT reply +NO PING", "OK"),
        ("PING", "NO"),
        ("PING", "PONG"),
        ("STANDIN FAULT loading 1", "OK"),
        ("CLUSTER INFO", "-LOADING kvrocks is restoring the db from backup"),
        ("STANDIN FAULT loading 0", "OK"),
        ("STANDIN FAULT loading much", "-ERR value is no number"),
        ("STANDIN SEQUENCE 9", "OK"),
        ("ROLE", "master 9"),
        ("STANDIN FINISH fail", "OK"),
        (&id, "OK"),
        ("STANDIN RESTART lose", "OK"),
    ] {
        assert_eq!(ask(words).await, expected, "{words}");
    }
    wait_until("it has started again", async || {
        let Ok(mut wire) = Wire::connect(&addr).await else { return false };
        let admitted = wire.ask(&["AUTH", "secret"]).await.is_ok();
        let said = wire.ask(&["CLUSTERX", "MYID"]).await;
        admitted && said.is_ok_and(|reply| reply == Reply::Bulk(String::new()))
    })
    .await;
    let mut wire = Wire::connect(&addr).await.unwrap();
    wire.ask(&["AUTH", "secret"]).await.unwrap();
    let log = wire.ask(&["STANDIN", "LOG"]).await.unwrap().text();
    assert!(log.contains(" heard PING ") && log.contains(" done PING "), "{log}");
    assert!(!log.contains("secret"), "{log}");
    let unknown = wire.ask(&["STANDIN", "FAULT", "nonsense", "1"]).await.unwrap().text();
    assert!(unknown.starts_with("-ERR fault is silent, "), "{unknown}");
    running.abort();
}
