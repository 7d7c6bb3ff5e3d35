//! The stand-in node keeps to what real nodes were seen to do; other tests rely on that.

#![allow(clippy::unwrap_used)]

mod kvrocks_four;

use kvrocks_four::{
    Four, SLOT, ask, ask_in_turn, id, info,
    kvrocks_node::{
        Finish, Node, Options,
        resp::{Reply, Wire},
    },
    migrate, set, wait_info, wait_sequence,
};

#[tokio::test]
async fn a_node_without_topology_says_so() {
    let node = Node::start(0, Options::default()).await.unwrap();
    let down = "-CLUSTERDOWN The cluster is not initialized";
    let cluster_usage = "-ERR CLUSTER command, CLUSTER INFO|NODES|SLOTS|KEYSLOT|RESET|REPLICAS";
    let usage = "-ERR CLUSTERX command, CLUSTERX VERSION|MYID|SETNODEID|SETNODES|SETSLOT|MIGRATE";
    for (words, expected) in [
        ("CLUSTER INFO", down),
        ("CLUSTER NODES", down),
        ("CLUSTER SLOTS", down),
        ("CLUSTER REPLICAS aaaa", down),
        ("GET k", "-CLUSTERDOWN Hash slot not served"),
        ("INFO cluster", "# Cluster\r\ncluster_enabled:1\r\n"),
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
        ("CLUSTER MYID", cluster_usage),
        ("CLUSTER SHARDS", cluster_usage),
        ("CLUSTER FAILOVER", cluster_usage),
        ("CLUSTER COUNTKEYSINSLOT 1", cluster_usage),
        ("CLUSTER GETKEYSINSLOT 1 1", cluster_usage),
        ("CLUSTERX SETNODEID short", usage),
        ("CLUSTERX SETNODES x", usage),
        ("CLUSTERX MYID x", usage),
        ("CLUSTERX WHAT", usage),
        ("CLUSTERX MIGRATE 1", "-ERR wrong number of arguments"),
        ("CLUSTERX", "-ERR wrong number of arguments"),
        ("ROLE", "master 0"),
        ("CLUSTER RESET", "OK"),
    ] {
        assert_eq!(ask(&node, words).await, expected, "{words}");
    }
    assert_eq!(node.ask(&["CLUSTERX", "VERSION"]).await, Reply::Bulk("-1".to_owned()));
    assert_eq!(migrate(&node, "1", "b").await, "-ERR Can't find the destination node id");
    let set_slot = format!("CLUSTERX SETSLOT 1 NODE {} 1", id("a"));
    assert_eq!(ask(&node, &set_slot).await, "-ERR Invalid cluster version");
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
async fn a_node_is_who_its_id_says() {
    let mut four = Four::start(Options::default()).await;
    let text = four.text("0-8191", "8192-16383");
    // A replica told that it is a master is one, and back again.
    let set_id = |letter| format!("CLUSTERX SETNODEID {}", id(letter));
    ask(&four.d, &set_id("c")).await;
    assert!(ask(&four.d, "ROLE").await.starts_with(&format!("slave 127.0.0.1 {}", port(&four.a))));
    ask(&four.d, &set_id("a")).await;
    assert!(ask(&four.d, "ROLE").await.starts_with("master"));
    ask(&four.d, &set_id("d")).await;
    wait_info(&four.d, "master_link_status:up").await;
    // An id in no line: it follows as before and serves nothing.
    ask(&four.d, &set_id("x")).await;
    assert!(ask(&four.d, "ROLE").await.starts_with("slave"));
    let moved = format!("-MOVED 12182 {}", four.b.addr);
    assert_eq!(ask_in_turn(&four.d, &["READONLY", "GET foo"]).await, moved);
    assert!(!ask(&four.d, "CLUSTER NODES").await.contains("myself"));
    // An id once set stays; only a forced topology looks for the address again.
    assert_eq!(set(&four.d, &text, "2").await, Reply::ok());
    assert_eq!(ask(&four.d, "CLUSTERX MYID").await, id("x"));
    let forced = four.d.ask(&["CLUSTERX", "SETNODES", &text, "2", "FORCE"]).await;
    assert_eq!(forced, Reply::ok());
    assert_eq!(ask(&four.d, "CLUSTERX MYID").await, id("d"));
    // A replica that is in no line keeps pulling, and is a master after a restart.
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with('d')).collect();
    assert_eq!(set(&four.d, &without.join("\n"), "3").await, Reply::ok());
    ask(&four.b, "SET foo more").await;
    wait_sequence(&four.d, four.b.sequence()).await;
    assert!(ask(&four.b, "ROLE").await.contains(port(&four.d)), "still counted");
    assert_eq!(ask_in_turn(&four.d, &["READONLY", "GET foo"]).await, moved);
    four.d.restart(true).await.unwrap();
    assert!(ask(&four.d, "ROLE").await.starts_with("master"));
    assert_eq!(four.d.keys()["foo"], "more");
}

fn port(node: &Node) -> &str {
    node.addr.split_once(':').unwrap().1
}

#[tokio::test]
async fn a_master_that_nobody_knows_or_reaches_changes_little() {
    let four = Four::start(Options::default()).await;
    let text = four.text("0-8191", "8192-16383");
    let unknown = text.replace(&format!("slave {}", id("b")), &format!("slave {}", id("z")));
    assert_eq!(set(&four.d, &unknown, "2").await, Reply::ok());
    assert!(ask(&four.d, "CLUSTER NODES").await.contains(&format!("slave {} ", id("z"))));
    wait_info(&four.d, "master_link_status:up").await;
    assert!(ask(&four.d, "ROLE").await.contains(port(&four.b)), "the old master");
    // A port where nobody listens: the answer is the same, the link is down.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = closed.local_addr().unwrap().port().to_string();
    drop(closed);
    let elsewhere = text.replace(port(&four.b), &nowhere);
    assert_eq!(set(&four.d, &elsewhere, "3").await, Reply::ok());
    let seen = ask(&four.d, "INFO replication").await;
    assert!(seen.contains("master_link_status:down"), "{seen}");
    let heard = seen.lines().find_map(|line| line.strip_prefix("master_last_io_seconds_ago:"));
    assert!(heard.unwrap().parse::<u64>().unwrap() > 1_700_000_000, "the whole Unix time");
    assert!(ask(&four.d, "ROLE").await.contains("connecting"));
    // A change of role that fails does so after the version is taken, and then for good.
    four.c.fault(|faults| faults.refused_roles = 1);
    let refused = set(&four.c, &four.failed_over(), "4").await.text();
    assert!(refused.starts_with("-ERR failed to set master-replica replication: "), "{refused}");
    assert_eq!(ask(&four.c, "CLUSTERX VERSION").await, "4");
    assert_eq!(set(&four.c, &four.failed_over(), "4").await, Reply::ok());
    assert!(ask(&four.c, "ROLE").await.starts_with("slave"));
    ask(&four.c, &format!("CLUSTERX SETNODEID {}", id("c"))).await;
    assert!(ask(&four.c, "ROLE").await.starts_with("master"));
}

#[tokio::test]
async fn what_a_node_shows_has_the_shape_of_real_nodes() {
    let mut four = Four::start(Options::default()).await;
    four.push(&four.moved(), "2").await;
    let (a, b) = (four.a.addr.clone(), four.b.addr.clone());
    let nodes = ask(&four.a, "CLUSTER NODES").await;
    let bus = port(&four.a).parse::<u32>().unwrap() + 10_000;
    let mine = nodes.lines().find(|line| line.starts_with('a')).unwrap();
    assert!(mine.starts_with(&format!("{} {a}@{bus} myself,master - ", id("a"))), "{mine}");
    assert!(mine.ends_with(" 2 connected 0-7628 7630-8191"), "{mine}");
    let replica = nodes.lines().find(|line| line.starts_with('d')).unwrap();
    assert!(replica.contains(&format!(" slave {} ", id("b"))), "{replica}");
    assert!(replica.ends_with(" 2 connected"), "{replica}");
    let Reply::Array(ranges) = four.a.ask(&["CLUSTER", "SLOTS"]).await else { panic!("no list") };
    let place = |node: &Node, letter: &str| format!("127.0.0.1 {} {}", port(node), id(letter));
    let of_a = format!("{} {}", place(&four.a, "a"), place(&four.c, "c"));
    let of_b = format!("{} {}", place(&four.b, "b"), place(&four.d, "d"));
    let expected = [
        format!("0 7628 {of_a}"),
        format!("7629 7629 {of_b}"),
        format!("7630 8191 {of_a}"),
        format!("8192 16383 {of_b}"),
    ];
    assert_eq!(ranges.iter().map(Reply::text).collect::<Vec<_>>(), expected);
    let replicas = four.b.ask(&["CLUSTER", "REPLICAS", &id("b")]).await;
    assert!(matches!(&replicas, Reply::Bulk(text) if text.starts_with('d')), "{replicas:?}");
    let of = async |letter| ask(&four.a, &format!("CLUSTER REPLICAS {}", id(letter))).await;
    assert_eq!(of("c").await, "-ERR The node isn't a master");
    assert_eq!(of("z").await, "-ERR Invalid cluster node id");
    let role = ask(&four.a, "ROLE").await;
    assert_eq!(role, format!("master 0 127.0.0.1 {} 0", port(&four.c)));
    // The node file names everything that a restart needs.
    four.a.restart(true).await.unwrap();
    assert_eq!(ask(&four.a, "CLUSTERX VERSION").await, "2");
    assert_eq!(ask(&four.a, "GET k").await, format!("-MOVED 7629 {b}"));
}

#[tokio::test]
async fn slots_left_out_stay_with_their_owner_and_return_with_a_restart() {
    let mut four = Four::start(Options::default()).await;
    ask(&four.b, "SET foo bar").await;
    four.push(&four.text("0-8191", "8192-12000"), "2").await;
    assert_eq!(ask(&four.b, "GET foo").await, format!("-MOVED 12182 {}", four.b.addr));
    assert!(ask(&four.b, "CLUSTER NODES").await.contains(" 8192-16383"));
    wait_sequence(&four.d, four.b.sequence()).await;
    let read = ask_in_turn(&four.d, &["READONLY", "GET foo"]).await;
    assert_eq!(read, format!("-MOVED 12182 {}", four.b.addr));
    four.b.restart(true).await.unwrap();
    assert_eq!(ask(&four.b, "GET foo").await, "bar");
}

#[tokio::test]
async fn single_slots_change_hands_one_version_at_a_time() {
    let four = Four::start(Options::default()).await;
    let set_slot = async |slots, id, version| {
        let command = ["CLUSTERX", "SETSLOT", slots, "NODE", id, version];
        four.a.ask(&command).await.text()
    };
    let (b, c, z) = (id("b"), id("c"), id("z"));
    assert_eq!(set_slot("1", &b, "1").await, "-ERR Invalid cluster version");
    assert_eq!(set_slot("1", &b, "3").await, "-ERR Invalid cluster version");
    assert_eq!(set_slot("1", "short", "2").await, "-ERR Invalid node id");
    assert_eq!(set_slot("1", &z, "2").await, "-ERR No this node in the cluster");
    assert_eq!(set_slot("1", &c, "2").await, "-ERR The node isn't a master");
    assert_eq!(set_slot("x", &b, "2").await, "-ERR Invalid slot id: not started as an integer");
    let wrong = four.a.ask(&["CLUSTERX", "SETSLOT", "1", "OF", &b, "2"]).await;
    assert_eq!(wrong.text(), "-ERR Invalid setslot options");
    assert_eq!(set_slot("7629", &b, "2").await, "OK");
    assert_eq!(ask(&four.a, "CLUSTERX VERSION").await, "2");
    assert_eq!(ask(&four.a, "GET k").await, format!("-MOVED 7629 {}", four.b.addr));
}

#[tokio::test]
async fn keys_are_read_and_written_where_they_belong() {
    let four = Four::start(Options::default()).await;
    let (a, b) = (&four.a.addr, &four.b.addr);
    ask(&four.a, "SET k v1").await;
    ask(&four.b, "SET foo v2").await;
    wait_sequence(&four.c, four.a.sequence()).await;
    let crossed = "-CROSSSLOT Attempted to access keys that don't hash to the same slot";
    let unsupported = "-ERR CONFIG SET 'cluster-enabled' error: Unsupported CONFIG parameter: \
        cluster-enabled";
    for (node, commands, expected) in [
        (&four.b, &["SET k v1"][..], format!("-MOVED 7629 {a}")),
        (&four.a, &["MSET k 1 foo 2"], crossed.to_owned()),
        (&four.a, &["DEL k foo"], crossed.to_owned()),
        (&four.c, &["GET k"], format!("-MOVED 7629 {a}")),
        (&four.c, &["READONLY", "GET k"], "v1".to_owned()),
        (&four.c, &["READONLY", "SET k v2"], format!("-MOVED 7629 {a}")),
        (&four.c, &["READONLY", "GET foo"], format!("-MOVED 12182 {b}")),
        (&four.c, &["READONLY", "READWRITE", "GET k"], format!("-MOVED 7629 {a}")),
        (&four.c, &["CONFIG SET cluster-enabled no"], unsupported.to_owned()),
        (&four.c, &["KEYS *"], "k".to_owned()),
        (&four.c, &["SCAN 0"], "0 k".to_owned()),
        (&four.c, &["DBSIZE"], "0".to_owned()),
        (&four.a, &["TYPE k"], "string".to_owned()),
        (
            &four.a,
            &["HELLO 3"],
            "server redis version 4.0.0 proto 2 mode cluster role master".to_owned(),
        ),
    ] {
        assert_eq!(ask_in_turn(node, commands).await, expected, "{commands:?}");
    }
    let mut mortal = four;
    let mut wire = Wire::connect(&mortal.a.addr).await.unwrap();
    assert!(wire.ask(&["SHUTDOWN"]).await.is_err(), "closed without a reply");
    assert!(!mortal.a.is_running());
    mortal.a.restart(true).await.unwrap();
    assert_eq!(ask(&mortal.a, "GET k").await, "v1");
}

#[tokio::test]
async fn migrations_that_are_waited_for_tell_how_they_ended() {
    let mut four = Four::start(Options::default()).await;
    let options = async |words: &str| {
        let command = format!("CLUSTERX MIGRATE 1 {} {words}", id("b"));
        ask(&four.a, &command).await
    };
    assert_eq!(options("soon").await, "-ERR Invalid sync flag");
    let bad = "-ERR timeout is not an integer or out of range";
    assert_eq!(options("sync x").await, bad);
    assert_eq!(options("sync -1").await, "-ERR timeout is negative");
    assert_eq!(options("async 1").await, "-ERR Async migration does not support timeout");
    assert_eq!(options("sync 1 2").await, "-ERR wrong number of arguments");
    let reversed = "-ERR Invalid slot range: `7700-7629`. The slot range `int1-int2` needs to \
        satisfy the condition (int1 <= int2).";
    assert_eq!(migrate(&four.a, "7700-7629", "b").await, reversed);
    assert_eq!(options("sync").await, "OK");
    let several = four.a.ask(&["CLUSTERX", "MIGRATE", "1010 1020", &id("b"), "SYNC"]).await;
    assert_eq!(several, Reply::ok());
    wait_info(&four.a, "migrating_slot(s): 1010\r\n").await;
    // Longer than the caller waits; the migration itself goes on.
    four.push(&four.text("0 2-1009 1011-8191", "1 1010 8192-16383"), "2").await;
    four.a.fault(|faults| faults.holds_migrations = true);
    let waited = four.a.ask(&["CLUSTERX", "MIGRATE", SLOT, &id("b"), "SYNC", "1"]).await;
    assert_eq!(waited, Reply::Nil);
    four.a.finish(Finish::Success);
    wait_info(&four.a, "migrating_slot(s): 7629\r\n").await;
    wait_info(&four.a, "migrating_state: success").await;
    // A destination that wants a password, and one that is down.
    four.push(&four.text("0 2-1009 1011-7628 7630-8191", "1 1010 7629 8192-16383"), "3").await;
    four.b.configure(|options| options.password = "secret".to_owned());
    let locked = four.a.ask(&["CLUSTERX", "MIGRATE", "5", &id("b"), "SYNC"]).await.text();
    let expected = "-ERR failed to set import status on destination node: failed to check the \
        response from the destination node: got invalid response of length 32: \
        -NOAUTH Authentication required.";
    assert_eq!(locked, expected);
    four.b.kill().await;
    let dead = four.a.ask(&["CLUSTERX", "MIGRATE", "5", &id("b"), "SYNC"]).await.text();
    assert_eq!(dead, "-ERR failed to connect to the destination node: Connection refused");
    assert_eq!(migrate(&four.a, "5", "b").await, "OK");
    wait_info(&four.a, "migrating_state: fail").await;
}

#[tokio::test]
async fn nodes_judge_what_other_nodes_send_them() {
    let four = Four::start(Options::default()).await;
    for (node, words, expected) in [
        (&four.c, "CLUSTER IMPORT 1 0", "-ERR Slave can't import slot"),
        (&four.b, "CLUSTER IMPORT 9000 0", "-ERR Can't import slot which belongs to me"),
        (&four.b, "CLUSTER IMPORT 1 7", "-ERR Invalid import state"),
        (&four.b, "CLUSTER IMPORT 1-5 0", "OK"),
    ] {
        assert_eq!(ask(node, words).await, expected, "{words}");
    }
    // The connection that began an import ends it with itself.
    wait_info(&four.b, "import_state: error").await;
    let mut wire = Wire::connect(&four.b.addr).await.unwrap();
    let begun = wire.ask(&["CLUSTER", "IMPORT", "1-5", "0"]).await.unwrap();
    assert_eq!(begun, Reply::ok());
    let second = ask(&four.b, "CLUSTER IMPORT 7 0").await;
    assert_eq!(second, "-ERR only one importing job is allowed, current importing: 1-5");
    let other = ask(&four.b, "CLUSTER IMPORT 1-4 1").await;
    assert_eq!(other, "-ERR mismatch slot, importing slot(s): 1-5, but got: 1-4");
    let reset = ask(&four.b, "CLUSTER RESET").await;
    assert_eq!(reset, "-ERR Can't reset cluster while importing slot");
    four.a.fault(|faults| faults.holds_migrations = true);
    assert_eq!(migrate(&four.a, "6", "d").await, "-ERR Can't migrate slot to a slave");
    drop(wire);
    wait_info(&four.b, "import_state: error").await;
    assert_eq!(migrate(&four.a, "6", "b").await, "OK");
    let reset = ask(&four.a, "CLUSTER RESET").await;
    assert_eq!(reset, "-ERR Can't reset cluster while migrating slot");
    ask(&four.a, "SET {k}1 v").await;
    assert_eq!(ask(&four.a, "FLUSHALL").await, "OK");
    wait_info(&four.a, "migrating_state: fail").await;
    assert_eq!(ask(&four.a, "CLUSTER RESET").await, "OK");
    assert_eq!(ask(&four.a, "CLUSTERX VERSION").await, "-1");
    assert_eq!(ask(&four.a, "CLUSTERX MYID").await, "");
}
