//! Sealed passwords take the place of others, early, late and twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    self, Context,
    kvrocks::{
        command::NewNode,
        query,
        rules_test::{id, key, new_node},
    },
    sealed::{NONCE_BYTES, Sealed, head},
    system,
};

/// Stands for sealing: what is inside can be seen, and no two envelopes are equal.
fn sealed(key_id: &str, text: &str, nonce: u64) -> Secret {
    let mut nonces = [0; NONCE_BYTES];
    nonces[..8].copy_from_slice(&nonce.to_le_bytes());
    let content = format!("{text:<32}");
    Secret::from(Sealed::new(&head(key_id), nonces, content.as_bytes()))
}

fn opened(secret: &Secret) -> String {
    match (secret.readable(), secret.sealed().and_then(Sealed::envelope)) {
        (Some(text), _) => text.to_owned(),
        (None, Some(envelope)) => {
            String::from_utf8(envelope.content.to_vec()).unwrap().trim_end().to_owned()
        }
        (None, None) => panic!("no envelope"),
    }
}

struct Play {
    state: domain::State,
    index: u64,
}

impl Play {
    fn new() -> Self {
        let mut play = Self { state: domain::State::default(), index: 0 };
        let level = system::FEATURE_LEVEL_SEALED;
        let raise = system::Command::UseFeatureLevel { level };
        play.apply(domain::Command::System(raise));
        play.ask(Command::CreateNamespace { namespace: "ns".to_owned() });
        let nodes: Vec<NewNode> = (1..4).map(new_node).collect();
        let password = Secret::new("first");
        play.ask(Command::CreateCluster { cluster: key("c"), nodes, replicas: 3, password });
        play
    }

    fn apply(&mut self, command: domain::Command) -> domain::Reply {
        self.index += 1;
        let context = Context { index: self.index, term: 1, time_ms: 5, actor: "" };
        self.state.apply(&context, command, &mut Vec::new())
    }

    fn ask(&mut self, command: Command) -> Reply {
        match self.apply(domain::Command::Kvrocks(command)) {
            domain::Reply::Kvrocks(Ok(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn passwords(&self) -> BTreeMap<String, Secret> {
        let cluster = query::cluster(&self.state.kvrocks, &key("c")).unwrap();
        cluster.nodes().map(|(_, node)| (node.id.clone(), node.password.clone())).collect()
    }

    /// As whoever seals plans it, on the state as it is now.
    fn plan(&self, key_id: &str, nonce: u64) -> Command {
        let change = |(node_id, secret): (String, Secret)| Resealed {
            node_id,
            new: sealed(key_id, &opened(&secret), nonce),
            old: secret.sealed().is_some().then_some(secret),
        };
        let changes = self.passwords().into_iter().map(change).collect();
        Command::ResealPasswords { cluster: key("c"), base_index: self.index, changes }
    }

    fn change(&mut self, node: u16, password: Secret) {
        let node_id = Some(id(node));
        self.ask(Command::ChangePassword { cluster: key("c"), node_id, password });
    }
}

#[test]
fn readable_passwords_are_sealed_and_counted() {
    let mut play = Play::new();
    assert_eq!(count(&play.state.kvrocks), Secrets { readable: 3, ..Secrets::default() });
    let before = query::cluster(&play.state.kvrocks, &key("c")).unwrap().version;
    let plan = play.plan("k1", 1);
    assert_eq!(play.ask(plan.clone()), Reply::Resealed { changed: 3 });
    let counted = Secrets { readable: 0, sealed: BTreeMap::from([("k1".to_owned(), 3)]) };
    assert_eq!(count(&play.state.kvrocks), counted);
    assert_eq!(query::cluster(&play.state.kvrocks, &key("c")).unwrap().version, before);
    assert_eq!(play.ask(plan), Reply::Resealed { changed: 0 }, "the same once more");
    assert!(play.passwords().values().all(|secret| opened(secret) == "first"));
}

#[test]
fn a_readable_password_that_took_the_place_of_another_is_not_lost() {
    let mut play = Play::new();
    let plan = play.plan("k1", 1);
    play.change(2, Secret::new("second"));
    assert_eq!(play.ask(plan), Reply::Resealed { changed: 0 });
    assert_eq!(opened(&play.passwords()[&id(2)]), "second");
    let anew = play.plan("k1", 2);
    assert_eq!(play.ask(anew), Reply::Resealed { changed: 3 });
}

#[test]
fn nothing_readable_takes_the_place_of_a_password() {
    let mut play = Play::new();
    let change = Resealed { node_id: id(1), old: None, new: Secret::new("bare") };
    let command = Command::ResealPasswords {
        cluster: key("c"),
        base_index: play.index,
        changes: vec![change],
    };
    assert_eq!(play.ask(command), Reply::Resealed { changed: 0 });
}

#[test]
fn a_snapshot_remembers_when_a_readable_password_was_stored_last() {
    let mut play = Play::new();
    let plan = play.plan("k1", 1);
    play.change(1, Secret::new("second"));
    let records = play.state.records().map(Ok::<_, domain::RecordError>);
    play.state = domain::State::from_records(records).unwrap();
    assert_eq!(play.ask(plan), Reply::Resealed { changed: 0 });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Bare(u16),
    Sealed(u16),
    Plan,
    Carry,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1_u16..4).prop_map(Step::Bare),
        (1_u16..4).prop_map(Step::Sealed),
        Just(Step::Plan),
        Just(Step::Carry),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    /// Plans are carried out late, twice, in any order: what was set last is what is stored.
    #[test]
    fn sealing_never_loses_a_newer_password(steps in steps(), pick in any::<u8>()) {
        let mut play = Play::new();
        let mut wanted: BTreeMap<String, String> =
            (1..4).map(|node| (id(node), "first".to_owned())).collect();
        let mut plans = vec![play.plan("k0", 0)];
        for (at, step) in (1_u64..).zip(steps) {
            let text = format!("password {at}");
            match step {
                Step::Bare(node) => {
                    wanted.insert(id(node), text.clone());
                    play.change(node, Secret::new(text));
                }
                Step::Sealed(node) => {
                    wanted.insert(id(node), text.clone());
                    play.change(node, sealed("k1", &text, at));
                }
                Step::Plan => plans.push(play.plan("k2", at)),
                Step::Carry => {
                    let plan = plans[(usize::from(pick) + at as usize) % plans.len()].clone();
                    play.ask(plan);
                }
            }
            let stored: BTreeMap<String, String> = play
                .passwords()
                .iter()
                .map(|(node_id, secret)| (node_id.clone(), opened(secret)))
                .collect();
            prop_assert_eq!(&stored, &wanted);
        }
        let last = play.plan("k3", 1_000);
        play.ask(last);
        let counted = count(&play.state.kvrocks);
        prop_assert_eq!(counted.readable, 0);
        prop_assert_eq!(counted.sealed.get("k3"), Some(&3));
    }
}
