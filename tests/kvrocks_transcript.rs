//! The stand-in node against what four real nodes sent, byte by byte: the main course of a
//! cluster's life, from no topology over a migration to a failover and a master that comes back.

#![allow(clippy::unwrap_used)]

#[path = "support/kvrocks_node/mod.rs"]
mod kvrocks_node;

use std::time::{Duration, Instant};

use kvrocks_node::{Node, Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// First port of the transcript; its four nodes have four ports in a row.
const PORT: u16 = 7770;
const T1: &str = "@A 127.0.0.1 7770 master - 0-8191\n@B 127.0.0.1 7771 master - 8192-16383\n\
    @C 127.0.0.1 7772 slave @A\n@D 127.0.0.1 7773 slave @B";
const T2: &str = "@A 127.0.0.1 7770 master - 0-7628 7630-8191\n\
    @B 127.0.0.1 7771 master - 7629 8192-16383\n\
    @C 127.0.0.1 7772 slave @A\n@D 127.0.0.1 7773 slave @B";
const TF: &str = "@A 127.0.0.1 7770 slave @C\n@B 127.0.0.1 7771 master - 7629 8192-16383\n\
    @C 127.0.0.1 7772 master - 0-7628 7630-8191\n@D 127.0.0.1 7773 slave @B";
/// `CLUSTER INFO` of the first topology.
const CI: &str = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
    cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:4\r\ncluster_size:2\r\n\
    cluster_current_epoch:1\r\ncluster_my_epoch:1\r\n";

/// Four nodes, and the last connection to each.
struct Course {
    first_port: u16,
    nodes: Vec<Node>,
    streams: [Option<TcpStream>; 4],
}

impl Course {
    /// Ports have four digits as in the transcript, because their lengths are part of replies.
    async fn start() -> Self {
        for first_port in (PORT..9_990).step_by(10) {
            let mut nodes = Vec::new();
            for port in first_port..first_port + 4 {
                nodes.extend(Node::start(port, Options::default()).await.ok());
            }
            if nodes.len() == 4 {
                return Self { first_port, nodes, streams: [const { None }; 4] };
            }
        }
        panic!("no four ports in a row are free");
    }

    fn node(&mut self, port: u16) -> &mut Node {
        &mut self.nodes[usize::from(port - PORT)]
    }

    /// Puts whole ids for their letters, and our ports for those of the transcript.
    fn real(&self, text: &str) -> String {
        let mut text = text.replace("CI ", CI);
        for (number, letter) in (0..).zip(["a", "b", "c", "d"]) {
            text = text.replace(&format!("@{}", letter.to_uppercase()), &letter.repeat(40));
            let (from, to) = (PORT + number, self.first_port + number);
            text = text.replace(&from.to_string(), &to.to_string());
        }
        text
    }

    /// Sends a command over a new connection and compares the whole reply, whose last line end is
    /// left out.
    async fn line(&mut self, port: u16, command: &str, reply: &str) {
        let stream = TcpStream::connect(&self.node(port).addr).await.unwrap();
        self.streams[usize::from(port - PORT)] = Some(stream);
        self.same(port, command, reply).await;
    }

    /// The same over the connection of the command before.
    async fn same(&mut self, port: u16, command: &str, reply: &str) {
        let sent = self.real(&encode(command, |word| self.real(word)));
        let expected = self.real(reply) + "\r\n";
        let stream = self.streams[usize::from(port - PORT)].as_mut().unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut found = vec![0; expected.len()];
        let read = timeout(PATIENCE, stream.read_exact(&mut found)).await;
        let found = String::from_utf8_lossy(&found).into_owned();
        assert_eq!(found, expected, "{port}> {command} ({read:?})");
    }

    async fn lines(&mut self, lines: &[(u16, &str, &str)]) {
        for (port, command, reply) in lines {
            self.line(*port, command, reply).await;
        }
    }

    /// Waits until a command is answered with these words somewhere.
    async fn until(&mut self, port: u16, command: &str, words: &str) -> String {
        let words = self.real(words);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let command: Vec<&str> = command.split(' ').collect();
            let text = self.node(port).ask(&command).await.text();
            if text.contains(&words) {
                return text;
            }
            assert!(Instant::now() < deadline, "{port}> {command:?}: no {words} in {text}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Writes on until the position of the last write is this one.
    async fn write_up_to(&mut self, port: u16, seq: u64, key: &str, value: &str) {
        while self.node(port).sequence() < seq {
            self.line(port, &format!("SET {key} {value}"), "+OK").await;
        }
    }
}

/// A command as it is on the wire; `T1`, `T2` and `TF` are one word each.
fn encode(command: &str, real: impl Fn(&str) -> String) -> String {
    let words: Vec<String> = command
        .split(' ')
        .map(|word| match word {
            "T1" => real(T1),
            "T2" => real(T2),
            "TF" => real(TF),
            word => real(word),
        })
        .collect();
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let count = words.len();
    format!("*{count}\r\n{}", words.collect::<String>())
}

#[tokio::test]
async fn the_main_course_is_the_one_of_real_nodes_word_for_word() {
    let mut course = Course::start().await;
    found(&mut course).await;
    migrate(&mut course).await;
    fail_over(&mut course).await;
}

async fn found(course: &mut Course) {
    let first = [
        (7770, "CLUSTERX SETNODEID @A", "+OK"),
        (7770, "CLUSTERX MYID", "$40\r\n@A"),
        (7770, "CLUSTERX VERSION", "$2\r\n-1"),
        // B and D were never sent SETNODEID.
        (7770, "CLUSTERX SETNODES T1 1", "+OK"),
        (7771, "CLUSTERX SETNODES T1 1", "+OK"),
        (7772, "CLUSTERX SETNODES T1 1", "+OK"),
        (7773, "CLUSTERX SETNODES T1 1", "+OK"),
        (7773, "CLUSTERX MYID", "$40\r\n@D"),
        (7773, "CLUSTERX VERSION", "$1\r\n1"),
    ];
    course.lines(&first).await;
    course.until(7772, "ROLE", "connected").await;
    let role = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n$4\r\n7770\r\n$9\r\nconnected\r\n$1\r\n0";
    let replication = "$116\r\n# Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
        slave0:ip=127.0.0.1,port=7772,offset=0,lag=0\r\nmaster_repl_offset:0\r\n";
    course.line(7772, "ROLE", role).await;
    course.line(7770, "INFO replication", replication).await;
    course.line(7770, "SET k v1", "+OK").await;
    course.until(7772, "INFO replication", "slave_repl_offset:1\r\n").await;
    course.line(7772, "READONLY", "+OK").await;
    course.same(7772, "GET k", "$2\r\nv1").await;
}

async fn migrate(course: &mut Course) {
    for number in 0..39 {
        course.line(7770, &format!("SET {{k}}{number} v"), "+OK").await;
    }
    let start = [
        (7770, "CONFIG SET migrate-speed 32", "+OK"),
        (7770, "CLUSTERX MIGRATE 7629 @B", "+OK"),
        (7770, "CLUSTERX MIGRATE 7630 @B", "-ERR There is already a migrating job"),
    ];
    course.lines(&start).await;
    course.until(7771, "CLUSTER INFO", "import_state").await;
    let during = [
        (
            7770,
            "CLUSTER INFO",
            "$310\r\nCI migrating_slot(s): 7629\r\ndestination_node: @B\r\n\
             migrating_state: start\r\n",
        ),
        (7771, "CLUSTER INFO", "$247\r\nCI importing_slot(s): 7629\r\nimport_state: start\r\n"),
        (7770, "SET {k}5 changed", "+OK"),
        (7771, "GET {k}5", "-MOVED 7629 127.0.0.1:7770"),
        (7771, "ASKING", "+OK"),
    ];
    course.lines(&during).await;
    // A key that the batches in order have not brought yet.
    course.same(7771, "GET {k}9", "$-1").await;
    course.until(7770, "CLUSTER INFO", "migrating_state: success").await;
    let after = [
        (
            7770,
            "CLUSTER INFO",
            "$312\r\nCI migrating_slot(s): 7629\r\ndestination_node: @B\r\n\
             migrating_state: success\r\n",
        ),
        (7771, "CLUSTER INFO", "$249\r\nCI importing_slot(s): 7629\r\nimport_state: success\r\n"),
        (7770, "GET {k}5", "-MOVED 7629 127.0.0.1:7771"),
        (7771, "GET {k}5", "$7\r\nchanged"),
        (7770, "CLUSTERX MIGRATE 7629 @B", "-ERR Can't migrate slot which has been migrated"),
        (7771, "CLUSTERX SETNODES T2 2", "+OK"),
        (7770, "CLUSTERX SETNODES T2 2", "+OK"),
        (7770, "KEYS *", "*0"),
        (7770, "CLUSTERX MIGRATE 7629 @B", "-ERR Can't migrate slot which doesn't belong to me"),
    ];
    course.lines(&after).await;
}

async fn fail_over(course: &mut Course) {
    for port in 7770..=7773 {
        course.line(port, "CLUSTERX SETNODES T2 9", "+OK").await;
    }
    course.write_up_to(7770, 670, "{g}last", "before-kill").await;
    course.until(7772, "INFO replication", "slave_repl_offset:670\r\n").await;
    course.node(7770).kill().await;
    course.until(7772, "INFO replication", "master_link_status:down").await;
    let seen = course.until(7772, "INFO replication", "slave_repl_offset:670").await;
    for words in ["role:slave\r\n", "master_last_io_seconds_ago:"] {
        assert!(seen.contains(words), "{seen}");
    }
    course.line(7772, "CLUSTERX SETNODES TF 10", "+OK").await;
    course.line(7772, "ROLE", "*2\r\n$6\r\nmaster\r\n$3\r\n670").await;
    course.line(7772, "SET {g}last on-C", "+OK").await;
    course.write_up_to(7772, 679, "{g}more", "on-C").await;
    course.node(7770).restart(true).await.unwrap();
    let back = [
        (7770, "CLUSTERX VERSION", "$1\r\n9"),
        (7770, "ROLE", "*2\r\n$6\r\nmaster\r\n$3\r\n670"),
        (7770, "SET {g}div stale-on-A", "+OK"),
        (7770, "CLUSTERX SETNODES TF 10", "+OK"),
    ];
    course.lines(&back).await;
    course.until(7770, "INFO replication", "slave_repl_offset:679\r\n").await;
    let role = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n$4\r\n7772\r\n$9\r\nconnected\r\n$3\r\n679";
    course.line(7770, "ROLE", role).await;
    course.line(7770, "READONLY", "+OK").await;
    course.same(7770, "GET {g}last", "$11\r\nbefore-kill").await;
    course.line(7772, "GET {g}last", "$4\r\non-C").await;
    let replication = course.until(7770, "INFO replication", "role:slave").await;
    assert!(replication.contains("master_link_status:up"), "nothing shows it: {replication}");
}
