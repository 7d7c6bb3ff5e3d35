//! The shapes of both profiles against golden files; `UPDATE_GOLDEN=1` writes them anew, and the
//! difference is reviewed.

use super::*;
use crate::domain::kvrocks::{
    Secret,
    model::{Mark, Role},
};

fn node(letter: char, role: Role) -> Node {
    Node {
        id: letter.to_string().repeat(40),
        addr: format!("10.0.0.1:{}", 6000 + letter as u32),
        role,
        password: Secret::new("pw"),
        created_at: 1_760_000_000,
        is_failed: letter == 'f',
    }
}

fn shard(nodes: Vec<Node>, slots: &[&str], mark: Option<(&str, u64)>) -> Shard {
    let range = |text: &str| text.parse::<SlotRange>().unwrap();
    Shard {
        nodes,
        slots: slots.iter().map(|text| range(text)).collect(),
        mark: mark.map(|(slots, target)| Mark { range: range(slots), target, job: 1 }),
    }
}

fn cluster() -> Cluster {
    let master = |letter| vec![node(letter, Role::Master), node('f', Role::Slave)];
    Cluster {
        name: "orders".to_owned(),
        version: 4,
        shards: vec![
            shard(master('a'), &["0-4", "6-8191"], Some(("7", 1))),
            shard(master('b'), &[], None),
            shard(master('c'), &["5", "8192-16383"], Some(("9000-9009", 3))),
            shard(master('d'), &[], None),
        ],
        ..Cluster::default()
    }
}

fn check(name: &str, look: Look<'_>) {
    let cluster = cluster();
    let answer =
        Data { data: ClusterAnswer { cluster: ClusterJson::new(&cluster, look).unwrap() } };
    let nodes =
        cluster.shards[0].nodes.iter().map(|node| NodeJson::new(node, look, false).unwrap());
    let listed = Data { data: NodesAnswer { nodes: nodes.collect() } };
    let found = format!(
        "{}\n{}\n",
        serde_json::to_string(&answer).unwrap(),
        serde_json::to_string(&listed).unwrap()
    );
    let path = format!("{}/src/api/kvrocks/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{path}");
}

#[test]
fn clusters_look_as_the_documents_say() {
    check(
        "document.json",
        Look { profile: Profile::Document, passwords: Passwords::Shown(&KeyRing::default()) },
    );
}

#[test]
fn clusters_look_as_the_program_says() {
    check(
        "program.json",
        Look { profile: Profile::Program, passwords: Passwords::Shown(&KeyRing::default()) },
    );
}

#[test]
fn passwords_are_hidden_on_request() {
    let look = Look { profile: Profile::Program, passwords: Passwords::Hidden };
    let node = node('a', Role::Master);
    let shown = serde_json::to_string(&NodeJson::new(&node, look, true).unwrap());
    assert!(shown.unwrap().contains(r#""password":"******""#));
}

#[test]
fn sealed_passwords_are_opened_or_it_is_said_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    crate::seal::add_key(&path, "k1", &[1; 32], false).unwrap();
    let keys = KeyRing::load(&path).unwrap();
    let sealed = keys.seal(0, Purpose::NodePassword, &[0; 16], "pw").unwrap();
    let node = Node { password: sealed.into(), ..node('a', Role::Master) };
    let shown = |passwords| {
        let look = Look { profile: Profile::Program, passwords };
        NodeJson::new(&node, look, true).map(|node| serde_json::to_string(&node).unwrap())
    };
    let none = KeyRing::default();
    for (passwords, expected) in [
        (Passwords::Shown(&keys), r#""password":"pw""#),
        (Passwords::ShownIfPossible(&keys), r#""password":"pw""#),
        (Passwords::ShownIfPossible(&none), r#""password":"******""#),
        (Passwords::Hidden, r#""password":"******""#),
    ] {
        let shown = shown(passwords).unwrap();
        assert!(shown.contains(expected), "{shown}");
    }
    let error = shown(Passwords::Shown(&none)).unwrap_err().to_string();
    assert!(error.contains("`k1`") && error.contains("secrets_key_file"), "{error}");
}
