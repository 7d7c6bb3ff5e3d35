//! What goes wrong with real nodes goes wrong with the stand-in too, in the same way.

#![allow(clippy::unwrap_used)]

mod kvrocks_four;

use std::time::{Duration, Instant};

use kvrocks_four::{
    Four, SLOT, ask, ask_in_turn, id, info,
    kvrocks_node::{
        Options,
        resp::{Reply, Wire},
    },
    migrate, set, wait_info, wait_sequence,
};

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
async fn a_migration_by_commands_loses_some_kinds_of_keys() {
    for (kind, left) in [("redis-command", 1), ("raw-key-value", 2)] {
        let four = Four::start(Options::default()).await;
        ask(&four.a, &format!("CONFIG SET migrate-type {kind}")).await;
        ask(&four.a, "SET k v").await;
        ask(&four.a, "PFADD {k}sketch x").await;
        assert_eq!(ask(&four.a, "TYPE {k}sketch").await, "hyperloglog");
        assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
        wait_info(&four.a, "migrating_state: success").await;
        four.push(&four.moved(), "2").await;
        assert_eq!(four.b.keys().len(), left, "{kind}");
        assert_eq!(four.a.keys().len(), 0);
    }
}

#[tokio::test]
async fn writes_are_refused_at_the_end_of_a_busy_migration() {
    let four = Four::start(Options::default()).await;
    for number in 0..64 {
        ask(&four.a, &format!("SET {{k}}{number} v")).await;
    }
    ask(&four.a, "CONFIG SET migrate-speed 64").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    let mut wire = Wire::connect(&four.a.addr).await.unwrap();
    let mut refused = String::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while refused.is_empty() {
        assert!(Instant::now() < deadline, "every write was taken");
        let reply = wire.ask(&["SET", "{k}busy", "v"]).await.unwrap().text();
        assert!(!reply.starts_with("-MOVED"), "over without a refusal");
        if reply != "OK" {
            refused = reply;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let forbidden =
        "-TRYAGAIN Can't write to slot being migrated which is in write forbidden phase";
    assert_eq!(refused, forbidden);
    assert_eq!(ask(&four.a, "GET {k}5").await, "v", "reads go on");
    wait_info(&four.a, "migrating_state: success").await;
    assert_eq!(ask(&four.b, "GET {k}busy").await, "v", "what was taken has arrived");
}

#[tokio::test]
async fn a_destination_that_restarts_after_success_serves_nothing_until_it_is_told() {
    let mut four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.a, "migrating_state: success").await;
    four.b.restart(true).await.unwrap();
    assert_eq!(ask(&four.b, "GET k").await, format!("-MOVED 7629 {}", four.a.addr));
    assert_eq!(ask(&four.a, "GET k").await, format!("-MOVED 7629 {}", four.b.addr));
    four.push(&four.moved(), "2").await;
    assert_eq!(ask(&four.b, "GET k").await, "v", "the data was kept");
}

#[tokio::test]
async fn a_destination_that_dies_leaves_the_source_serving_and_keeps_a_partial_copy() {
    let mut four = Four::start(Options::default()).await;
    for number in 0..160 {
        ask(&four.a, &format!("SET {{k}}{number} v")).await;
    }
    ask(&four.a, "CONFIG SET migrate-speed 64").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_sequence(&four.b, 48).await;
    four.b.kill().await;
    wait_info(&four.a, "migrating_state: fail").await;
    assert_eq!(ask(&four.a, "SET {k}1 w").await, "OK");
    four.b.restart(true).await.unwrap();
    let left = four.b.keys().len();
    assert!((48..160).contains(&left), "{left}");
    assert!(!info(&four.b).await.contains("import"));
    ask(&four.a, "CONFIG SET migrate-speed 4096").await;
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.a, "migrating_state: success").await;
    assert_eq!(four.b.keys().len(), 160);
    assert_eq!(ask(&four.b, "GET {k}1").await, "w");
}

#[tokio::test]
async fn a_source_that_dies_ends_the_import_at_once() {
    let mut four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    four.a.fault(|faults| faults.holds_migrations = true);
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.b, "import_state: start").await;
    four.a.kill().await;
    wait_info(&four.b, "import_state: error").await;
    assert_eq!(four.b.keys().len(), 0);
    four.a.restart(true).await.unwrap();
    assert_eq!(ask(&four.a, "SET k w").await, "OK");
    assert!(!info(&four.a).await.contains("migrating"));
}

#[tokio::test]
async fn a_source_that_is_demoted_carries_on_and_leaves_two_owners() {
    let four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    wait_sequence(&four.c, 1).await;
    four.a.fault(|faults| faults.holds_migrations = true);
    assert_eq!(migrate(&four.a, SLOT, "b").await, "OK");
    wait_info(&four.b, "import_state: start").await;
    let text = four.failed_over();
    for node in [&four.c, &four.a] {
        assert_eq!(set(node, &text, "2").await, Reply::ok());
    }
    assert!(!info(&four.a).await.contains("migrating"), "a replica shows nothing");
    assert!(ask(&four.a, "CLUSTER NODES").await.contains(&format!(" [7629->-{}]", id("b"))));
    four.a.fault(|faults| faults.holds_migrations = false);
    wait_info(&four.b, "import_state: success").await;
    assert_eq!(ask(&four.c, "SET k on-C").await, "OK");
    assert_eq!(ask(&four.b, "SET k on-B").await, "OK", "two owners");
    assert_eq!(set(&four.b, &text, "2").await, Reply::ok());
    assert_eq!(ask(&four.b, "GET k").await, format!("-MOVED 7629 {}", four.c.addr));
    assert_eq!(ask(&four.b, "KEYS *").await, "k", "an orphan");
}

#[tokio::test]
async fn a_planned_switch_that_begins_with_the_old_master_loses_nothing() {
    let four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    wait_sequence(&four.c, 1).await;
    let text = four.failed_over();
    assert_eq!(set(&four.a, &text, "2").await, Reply::ok());
    wait_info(&four.a, "master_link_status:up").await;
    for node in [&four.a, &four.c] {
        let role = ask(node, "ROLE").await;
        assert!(role.starts_with("slave") && role.contains("connected"), "{role}");
    }
    assert_eq!(ask(&four.a, "SET k w").await, format!("-MOVED 7629 {}", four.c.addr));
    assert_eq!(ask(&four.c, "SET k w").await, format!("-MOVED 7629 {}", four.a.addr));
    assert_eq!(set(&four.c, &text, "2").await, Reply::ok());
    assert_eq!(ask(&four.c, "SET k w").await, "OK");
    wait_sequence(&four.a, four.c.sequence()).await;
    assert_eq!(four.a.keys(), four.c.keys());
}

#[tokio::test]
async fn a_replica_with_a_new_disk_joins_again_and_a_longer_history_is_replaced() {
    let mut four = Four::start(Options::default()).await;
    ask(&four.a, "SET k v").await;
    wait_sequence(&four.c, 1).await;
    four.c.kill().await;
    four.c.lose_keys();
    four.c.restart(true).await.unwrap();
    wait_sequence(&four.c, 1).await;
    assert_eq!(four.c.keys()["k"], "v");
    // Beyond the offset of its master there is nothing to go on from.
    four.a.kill().await;
    four.push(&four.failed_over(), "2").await;
    four.a.restart(true).await.unwrap();
    for number in 0..5 {
        ask(&four.a, &format!("SET {{k}}{number} stale")).await;
    }
    assert_eq!(set(&four.a, &four.failed_over(), "2").await, Reply::ok());
    wait_info(&four.a, "slave_repl_offset:1\r\n").await;
    assert_eq!(four.a.keys(), four.c.keys());
}

#[tokio::test]
async fn replicas_and_masters_must_agree_about_passwords() {
    let mut four = Four::start(Options::default()).await;
    four.a.configure(|options| options.password = "secret".to_owned());
    ask_in_turn(&four.a, &["AUTH secret", "SET k v"]).await;
    wait_sequence(&four.c, 1).await;
    four.c.restart(true).await.unwrap();
    wait_info(&four.c, "master_link_status:down").await;
    assert!(ask(&four.c, "ROLE").await.contains("connecting"));
    four.c.configure(|options| options.master_password = "secret".to_owned());
    wait_info(&four.c, "master_link_status:up").await;
    four.d.configure(|options| options.master_password = "useless".to_owned());
    four.b.restart(true).await.unwrap();
    wait_info(&four.d, "master_link_status:down").await;
}
