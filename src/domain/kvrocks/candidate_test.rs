//! What the nodes say, and which of them is promoted.

use super::*;
use crate::domain::kvrocks::{Secret, model::Node};

fn id(letter: char) -> String {
    letter.to_string().repeat(40)
}

fn shard(letters: &str) -> Shard {
    let node = |(index, letter): (usize, char)| Node {
        id: id(letter),
        addr: format!("127.0.0.1:{}", 7000 + index),
        role: if index == 0 { Role::Master } else { Role::Slave },
        password: Secret::default(),
        created_at: 0,
        is_failed: false,
    };
    Shard { nodes: letters.chars().enumerate().map(node).collect(), ..Shard::default() }
}

fn replica(sequence: u64) -> Result<Reading, String> {
    Ok(Reading { role: Role::Slave, sequence, is_linked: Some(true) })
}

fn master(sequence: u64) -> Result<Reading, String> {
    Ok(Reading { role: Role::Master, sequence, is_linked: None })
}

fn dead() -> Result<Reading, String> {
    Err("connection refused".to_owned())
}

/// `readings` are those of nodes a, b, c in order; a is the master.
fn check(readings: &[Result<Reading, String>], wish: Wish<'_>, expected: Option<char>) {
    let shard = shard("abc");
    let candidates: Vec<Candidate> = ('a'..)
        .zip(readings)
        .map(|(letter, reading)| Candidate { node_id: id(letter), reading: reading.clone() })
        .collect();
    let choice = choose(&shard, &candidates, wish).unwrap();
    assert_eq!(choice.old_master, id('a'));
    assert_eq!(choice.new_master, expected.map(id).ok_or(Rejection::NoNewMaster), "{readings:?}");
}

#[test]
fn the_highest_sequence_wins_and_the_later_of_equals() {
    let none = Wish::default();
    check(&[master(30), replica(10), replica(20)], none, Some('c'));
    check(&[master(30), replica(20), replica(10)], none, Some('b'));
    check(&[master(30), replica(20), replica(20)], none, Some('c'));
    check(&[dead(), replica(20), replica(10)], none, Some('b'));
}

#[test]
fn a_preferred_node_wins_or_nothing_happens() {
    let (b, z) = (id('b'), id('z'));
    let wish = Wish { preferred: Some(&b), ..Wish::default() };
    check(&[master(30), replica(10), replica(20)], wish, Some('b'));
    check(&[master(30), dead(), replica(20)], wish, None);
    let stranger = Wish { preferred: Some(&z), ..Wish::default() };
    assert_eq!(choose(&shard("ab"), &[], stranger), Err(Rejection::NodeNotFound));
    let present = id('a');
    let wish = Wish { preferred: Some(&present), ..Wish::default() };
    check(&[master(30), replica(10), replica(20)], wish, None);
}

#[test]
fn nodes_that_are_no_good_replicas_are_left_out() {
    let none = Wish::default();
    check(&[master(30), master(40), replica(20)], none, Some('c'));
    check(&[master(30), dead(), dead()], none, None);
    check(&[master(0), replica(0), dead()], none, Some('b'));
    check(&[master(9), replica(0), dead()], none, None);
    check(&[dead(), replica(0), dead()], none, None);
    let empty = Wish { master_sequence: Some(0), ..Wish::default() };
    check(&[dead(), replica(0), dead()], empty, Some('b'));
    let unlinked = Ok(Reading { role: Role::Slave, sequence: 9, is_linked: Some(false) });
    check(&[master(9), unlinked.clone(), replica(3)], none, Some('c'));
    check(&[dead(), unlinked, replica(3)], none, Some('b'));
}

#[test]
fn a_lag_beyond_the_limit_excludes() {
    let wish = Wish { lag_max: 5, ..Wish::default() };
    check(&[master(30), replica(25), replica(24)], wish, Some('b'));
    check(&[master(30), replica(24), replica(24)], wish, None);
    let known = Wish { lag_max: 5, master_sequence: Some(30), ..Wish::default() };
    check(&[dead(), replica(24), replica(24)], known, None);
}

#[test]
fn a_shard_without_replica_or_master_cannot_choose() {
    assert_eq!(choose(&shard("a"), &[], Wish::default()), Err(Rejection::NoReplica));
    let mut headless = shard("ab");
    headless.nodes[0].role = Role::Slave;
    assert_eq!(choose(&headless, &[], Wish::default()), Err(Rejection::NoOldMaster));
}
