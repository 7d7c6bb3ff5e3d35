//! The guides for newcomers, carried out: every command they show is run against real replicas, and
//! has to print what the guide says. How a guide says so is in `guide/script.rs`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod guide;
#[path = "support/kvrocks_node/mod.rs"]
mod kvrocks_node;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use guide::{expect::is_expected, walk::Walk};
use kvrocks_node::{Node, Options};
use support::docker::{Docker, IMAGE};
use tokio::task::block_in_place;

/// The guides.
const GUIDES: [&str; 1] = ["docs/getting-started.md"];

/// What the guides show and nobody tries, because it wants a program that is not here.
const BY_HAND: [(&str, &str); 4] = [
    // Builds everything; what it ends with is in tests/program.rs.
    ("docs/getting-started.md", "scripts/dev"),
    (
        "docs/getting-started.md",
        "UNDERMOON_BROKER_ADDRESS=127.0.0.1:7700 coordinator coordinator.toml",
    ),
    // The same stand-ins run inside this test.
    (
        "docs/getting-started.md",
        "cargo run --release --example kvrocks-node -- --port 6661 --count 4",
    ),
    ("docs/getting-started.md", "kvctl --host http://127.0.0.1:9379 get cluster orders -n shop"),
];

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
    let mut walk = Walk::open("docs/getting-started.md");
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

#[test]
fn what_nobody_tries_is_known() {
    let mut found = Vec::new();
    for name in GUIDES {
        let walk = Walk::open(name);
        found.extend(walk.by_hand().into_iter().map(|command| (name, command.to_owned())));
    }
    eprintln!("{} commands are shown and not tried: {found:#?}", found.len());
    let known = BY_HAND.map(|(name, command)| (name, command.to_owned()));
    assert_eq!(found, known, "write down here why a command is not tried");
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
