//! Every refusal, as a table.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use openraft::{ChangeMembers, Membership};

use super::{
    Joiner, LAG_ENTRIES_MAX, MemberChange, MemberError, Successor,
    rules::{Scene, Step, judge, judge_joiner},
};
use crate::{ReplicaId, types::Peer};

fn peer(id: ReplicaId) -> Peer {
    Peer {
        peer_addr: format!("host-{id}:7800"),
        client_url: format!("http://host-{id}:7799"),
        incarnation: [u8::try_from(id).unwrap(); 16],
        replaces: None,
    }
}

/// Replica 1 leads the voters; the learners have caught up; everybody answers.
fn scene(voters: u64, learners: u64) -> Scene {
    let all = 1..=voters + learners;
    let nodes: BTreeMap<_, _> = all.clone().map(|id| (id, peer(id))).collect();
    Scene {
        here: 1,
        membership: Membership::new(vec![(1..=voters).collect()], nodes).unwrap(),
        retired: BTreeSet::new(),
        live: all.clone().collect(),
        lags: all.map(|id| (id, 0)).collect(),
        level: 2,
    }
}

fn without(mut scene: Scene, silent: &[ReplicaId]) -> Scene {
    scene.live.retain(|id| !silent.contains(id));
    scene
}

fn with_peer(mut scene: Scene, id: ReplicaId, change: impl Fn(&mut Peer)) -> Scene {
    let mut nodes: BTreeMap<_, _> =
        scene.membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
    change(nodes.entry(id).or_insert_with(|| peer(id)));
    let configs = scene.membership.get_joint_config().clone();
    scene.membership = Membership::new(configs, nodes).unwrap();
    scene
}

fn add(id: Option<ReplicaId>, peer_addr: &str) -> MemberChange {
    MemberChange::Add { id, peer_addr: peer_addr.to_owned(), client_url: String::new() }
}

fn remove(id: ReplicaId) -> MemberChange {
    MemberChange::Remove { id }
}

fn promote(id: ReplicaId) -> MemberChange {
    MemberChange::Promote { id }
}

fn replace(id: ReplicaId, by: ReplicaId) -> MemberChange {
    MemberChange::Replace { id, by: Successor::Member(by) }
}

fn moved(id: ReplicaId, peer_addr: &str) -> MemberChange {
    MemberChange::Update { id, peer_addr: Some(peer_addr.to_owned()), client_url: None }
}

fn refused(scene: &Scene, change: &MemberChange, part: &str) {
    let error = judge(scene, change).expect_err(part);
    assert!(error.to_string().contains(part), "{change:?}: {error}");
}

fn voters_after(scene: &Scene, change: &MemberChange) -> Vec<ReplicaId> {
    match judge(scene, change).unwrap() {
        Step::Change { changes: ChangeMembers::ReplaceAllVoters(voters), .. } => {
            voters.into_iter().collect()
        }
        other => panic!("{change:?}: {other:?}"),
    }
}

#[test]
fn a_new_replica_is_a_learner_with_an_id_nobody_had() {
    let mut scene = scene(3, 0);
    scene.retired = BTreeSet::from([5, 9]);
    let Step::Change { id, changes } = judge(&scene, &add(None, "new:1")).unwrap() else {
        panic!("nothing to do");
    };
    assert_eq!(id, 10);
    assert!(matches!(changes, ChangeMembers::AddNodes(nodes) if !nodes[&10].is_claimed()));
    assert_eq!(judge(&scene, &add(Some(9), "new:1")), Err(MemberError::Removed(9)));
    refused(&scene, &add(Some(0), "new:1"), "begin at 1");
    refused(&scene, &add(Some(4), "host-2:7800"), "peer address of replica 2");
    refused(&scene, &add(Some(2), "new:1"), "replica 2 is a member already, at host-2:7800");
    for bad in ["", "new", ":1", "new:", "new:0", "new:x", "a b:1", "http://new:1"] {
        refused(&scene, &add(None, bad), "HOST:PORT");
    }
    let url = |client_url: &str| MemberChange::Add {
        id: None,
        peer_addr: "new:1".to_owned(),
        client_url: client_url.to_owned(),
    };
    for bad in ["new:1", "ftp://new", "http://", "http://a,b"] {
        refused(&scene, &url(bad), "http://");
    }
    refused(&self::scene(5, 2), &add(None, "new:1"), "at most 7 members");
    refused(&without(self::scene(3, 0), &[2, 3]), &add(None, "new:1"), "without an answer: 2, 3");
}

#[test]
fn a_disk_is_taken_once_and_never_swapped() {
    let joiner = |id: Option<ReplicaId>, disk: u8, addr: &str| Joiner {
        id,
        incarnation: [disk; 16],
        peer_addr: addr.to_owned(),
        client_url: String::new(),
        level_max: 2,
    };
    let scene = with_peer(scene(3, 0), 4, |peer| peer.incarnation = [0; 16]);
    let older = Joiner { level_max: 1, ..joiner(None, 8, "host-4:7800") };
    let older = judge_joiner(&scene, &older).unwrap_err();
    assert!(older.to_string().contains("feature level 2"), "{older}");
    assert!(older.to_string().contains("no level above 1: install"), "{older}");
    let claim = judge_joiner(&scene, &joiner(None, 8, "host-4:7800")).unwrap();
    let Step::Change { id: 4, changes: ChangeMembers::SetNodes(nodes) } = claim else {
        panic!("{claim:?}");
    };
    assert_eq!(nodes[&4].incarnation, [8; 16]);
    let again = judge_joiner(&scene, &joiner(Some(3), 8, "host-3:7800"));
    assert_eq!(again, Err(MemberError::AnotherDisk(3)));
    let wiped = judge_joiner(&scene, &joiner(None, 8, "host-3:7800")).unwrap_err();
    assert!(wiped.to_string().contains("replace or remove replica 3 first"), "{wiped}");
    let diskless = judge_joiner(&scene, &joiner(None, 0, "new:1")).unwrap_err();
    assert!(matches!(diskless, MemberError::Invalid(_)));
    // An answer that was lost is given again; another address of the same disk is taken over.
    let known = Joiner { client_url: peer(2).client_url, ..joiner(None, 2, "host-2:7800") };
    assert_eq!(judge_joiner(&scene, &known), Ok(Step::Nothing { id: 2 }));
    let moved = judge_joiner(&scene, &joiner(Some(2), 2, "new:1")).unwrap();
    assert!(matches!(moved, Step::Change { id: 2, changes: ChangeMembers::SetNodes(_) }));
}

#[test]
fn a_vote_is_for_who_is_there_and_has_caught_up() {
    let ready = scene(3, 1);
    assert_eq!(voters_after(&ready, &promote(4)), [1, 2, 3, 4]);
    assert_eq!(judge(&ready, &promote(2)), Ok(Step::Nothing { id: 2 }));
    assert_eq!(judge(&ready, &promote(7)), Err(MemberError::NotFound(7)));
    refused(&without(scene(3, 1), &[4]), &promote(4), "does not answer");
    let unclaimed = with_peer(scene(3, 1), 4, |peer| peer.incarnation = [0; 16]);
    refused(&unclaimed, &promote(4), "has not started yet");
    let mut behind = scene(3, 1);
    behind.lags.insert(4, LAG_ENTRIES_MAX + 1);
    refused(&behind, &promote(4), "lacks 1001 entries");
    behind.lags.remove(&4);
    refused(&behind, &promote(4), "not known yet");
    refused(&without(scene(3, 1), &[2, 3]), &promote(4), "without an answer: 2, 3");
}

#[test]
fn nobody_is_removed_whom_the_rest_cannot_do_without() {
    assert_eq!(voters_after(&scene(3, 0), &remove(3)), [1, 2]);
    assert_eq!(judge(&scene(3, 0), &remove(1)), Ok(Step::HandOver));
    refused(&scene(1, 0), &remove(1), "the only voter");
    let one_dead = without(scene(3, 0), &[3]);
    refused(&one_dead, &remove(2), "1 live of 2 voters, and 2 are needed; without an answer: 3");
    refused(&one_dead, &remove(1), "without an answer: 3");
    assert_eq!(voters_after(&one_dead, &remove(3)), [1, 2]);
    let two_dead = without(scene(5, 0), &[4, 5]);
    refused(&two_dead, &remove(2), "without an answer: 4, 5");
    assert_eq!(voters_after(&two_dead, &remove(4)), [1, 2, 3, 5]);
    let mut gone = scene(3, 1);
    gone.retired.insert(9);
    assert_eq!(judge(&gone, &remove(9)), Ok(Step::Nothing { id: 9 }));
    assert_eq!(judge(&gone, &remove(8)), Err(MemberError::NotFound(8)));
    let learner = judge(&gone, &remove(4)).unwrap();
    assert!(matches!(learner, Step::Change { changes: ChangeMembers::RemoveNodes(_), .. }));
}

#[test]
fn a_successor_takes_its_vote_as_the_other_leaves() {
    let scene = without(scene(3, 1), &[2]);
    let named = judge(&scene, &replace(2, 4)).unwrap();
    let Step::Change { id: 4, changes: ChangeMembers::SetNodes(nodes) } = named else {
        panic!("{named:?}");
    };
    assert_eq!(nodes[&4].replaces, Some(2));
    let named = with_peer(scene, 4, |peer| peer.replaces = Some(2));
    assert_eq!(judge(&named, &replace(2, 4)), Ok(Step::Nothing { id: 4 }));
    assert_eq!(voters_after(&named, &promote(4)), [1, 3, 4]);
    let leads = with_peer(self::scene(3, 1), 4, |peer| peer.replaces = Some(1));
    assert_eq!(judge(&leads, &promote(4)), Ok(Step::HandOver));
    refused(&self::scene(3, 1), &replace(4, 4), "does not replace itself");
    assert_eq!(judge(&named, &replace(7, 4)), Err(MemberError::NotFound(7)));
    assert_eq!(judge(&named, &replace(2, 7)), Err(MemberError::NotFound(7)));
    // A voter already: all that is left is to remove the other one.
    assert_eq!(voters_after(&self::scene(4, 0), &replace(2, 4)), [1, 3, 4]);
    let learner = with_peer(self::scene(3, 2), 5, |peer| peer.replaces = Some(4));
    let both = judge(&learner, &promote(5)).unwrap();
    assert!(
        matches!(both, Step::Change { changes: ChangeMembers::Batch(steps), .. } if steps.len() == 2)
    );
}

#[test]
fn an_address_nobody_answers_at_must_not_cost_the_quorum() {
    assert!(matches!(judge(&scene(3, 0), &moved(2, "new:1")), Ok(Step::Change { .. })));
    assert_eq!(judge(&scene(3, 0), &moved(2, "host-2:7800")), Ok(Step::Nothing { id: 2 }));
    refused(&scene(3, 0), &moved(2, "host-3:7800"), "peer address of replica 3");
    refused(&without(scene(3, 0), &[3]), &moved(2, "new:1"), "without an answer: 3");
    assert!(judge(&without(scene(3, 0), &[3]), &moved(3, "new:1")).is_ok());
    assert_eq!(judge(&scene(3, 0), &moved(9, "new:1")), Err(MemberError::NotFound(9)));
}
