//! The small files and values of a disk, as bytes of format 1.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use openraft::Membership;

use super::{
    fixture::config,
    identity::{IDENTITY_FILE, Identity, hex},
    log::mark::{MARK_FILE, Mark},
    wire::{
        decode_log_id, decode_membership, decode_stored_membership, decode_vote, encode_log_id,
        encode_membership, encode_stored_membership, encode_vote, leader,
    },
};
use crate::{
    testing::golden,
    types::{LogId, Peer, StoredMembership, Vote},
};

fn peer(number: u8, replaces: Option<u64>) -> Peer {
    Peer {
        peer_addr: format!("10.0.0.{number}:7800"),
        client_url: format!("http://10.0.0.{number}:7799"),
        incarnation: [number; 16],
        replaces,
    }
}

fn membership(successor: Option<u64>) -> Membership<u64, Peer> {
    let nodes = BTreeMap::from([(1, peer(1, None)), (2, peer(2, None)), (4, peer(0, successor))]);
    Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap()
}

#[test]
fn the_values_of_a_disk_are_the_ones_already_on_disks() {
    let mut lines = String::new();
    let mut add = |name: &str, bytes: &[u8]| writeln!(lines, "{name} {}", hex(bytes)).unwrap();
    let log_id = LogId::new(leader(3, 2), 77);
    assert_eq!(decode_log_id(&encode_log_id(&log_id)).unwrap(), log_id);
    add("log-id", &encode_log_id(&log_id));
    for (name, committed) in [("vote", false), ("vote-granted", true)] {
        let vote = Vote { leader_id: leader(5, 1), committed };
        assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        add(name, &encode_vote(&vote));
    }
    for (name, successor) in [("membership", None), ("membership-successor", Some(2))] {
        let membership = membership(successor);
        let bytes = encode_membership(&membership).unwrap();
        assert_eq!(decode_membership(&bytes).unwrap(), membership);
        add(name, &bytes);
    }
    let stored = StoredMembership::new(Some(log_id), membership(None));
    let bytes = encode_stored_membership(&stored).unwrap();
    assert_eq!(decode_stored_membership(&bytes).unwrap(), stored);
    add("stored-membership", &bytes);
    golden::check("disk_values.txt", lines.as_bytes());
}

#[test]
fn the_files_of_a_disk_are_the_ones_already_on_disks() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    Identity::stamp_as(&config, 1, [0xab; 16]).unwrap();
    golden::check("identity.bin", &fs::read(dir.path().join(IDENTITY_FILE)).unwrap());
    assert_eq!(Identity::read(dir.path()).unwrap().unwrap().incarnation, [0xab; 16]);
    let mut mark = Mark::create(dir.path()).unwrap();
    mark.found().unwrap();
    mark.advance(78).unwrap();
    let bytes = fs::read(dir.path().join(MARK_FILE)).unwrap();
    assert!(bytes[64..].iter().all(|byte| *byte == 0), "the rest of the block is empty");
    golden::check("mark.bin", &bytes[..64]);
    assert_eq!(Mark::open(dir.path()).unwrap().unwrap().record().flushed_end, 78);
}
