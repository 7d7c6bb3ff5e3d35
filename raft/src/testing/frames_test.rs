//! The target on its corpus, on what follows from that, and how the corpus came to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use openraft::{
    EntryPayload, Membership,
    raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest},
};

use super::*;
use crate::{
    Proposal, RequestId,
    agreement::verdict::{Credit, Testimony},
    config::WindowLimits,
    entry,
    storage::wire::leader,
    testing::{
        engine::{self, Target},
        register::RegisterCommand,
    },
    transport::wire::encode,
    types::{Entry, LogId, Outcome, Payload, Peer, StoredMembership, Vote},
};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus")
}

/// Takes an input, and no more memory than it can explain.
fn bounded(input: &[u8]) {
    let used = allocation_counter::measure(|| take(input));
    let allowed = 4 * 1024 * 1024 + 512 * input.len() as u64;
    assert!(used.bytes_max <= allowed, "{} bytes for {} of input", used.bytes_max, input.len());
}

#[test]
fn frames_are_refused_or_come_back() {
    let target = Target { name: "frames", is_text: false, runs: 30_000, take: bounded };
    engine::run(&target, &corpora());
}

/// What the encoders write is in the corpus; with `QUORATE_GOLDEN=add` what is missing is added.
#[test]
fn the_corpus_has_one_of_each_kind() {
    let is_adding = env::var("QUORATE_GOLDEN").is_ok_and(|mode| mode == "add");
    for (name, bytes) in samples() {
        let path = corpora().join("frames").join(name);
        if is_adding && !path.exists() {
            fs::write(&path, &bytes).expect("the corpus is writable");
        }
        assert_eq!(fs::read(&path).expect("part of the corpus"), bytes, "{name}");
        take(&bytes);
    }
}

fn position(term: u64, node: u64, index: u64) -> LogId {
    LogId::new(leader(term, node), index)
}

fn membership() -> Membership<u64, Peer> {
    let peer = |replaces| Peer {
        peer_addr: "127.0.0.1:7801".to_owned(),
        client_url: "http://127.0.0.1:7799".to_owned(),
        incarnation: [0xab; 16],
        replaces,
    };
    let peers = BTreeMap::from([(1, peer(None)), (2, peer(None)), (4, peer(Some(3)))]);
    Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([1])], peers).expect("members")
}

fn command() -> Bytes {
    let proposal = Proposal {
        request_id: RequestId([7; 16]),
        actor: "fuzz".to_owned(),
        fence_term: None,
        command: RegisterCommand::Put { key: "k".to_owned(), value: 300 },
    };
    entry::restamp(entry::encode(&proposal).expect("encodes"), 99).expect("an entry")
}

fn entries() -> [Entry; 3] {
    [
        Entry { log_id: position(3, 1, 0), payload: EntryPayload::Blank },
        Entry { log_id: position(3, 1, 1), payload: EntryPayload::Membership(membership()) },
        Entry { log_id: position(3, 1, 2), payload: EntryPayload::Normal(Payload(command())) },
    ]
}

fn state() -> Replicated<Registers> {
    let mut state = Replicated::new(Registers::default(), WindowLimits::default());
    for entry in entries() {
        state.apply_entry(&entry, &mut Vec::new()).expect("applies");
    }
    state
}

fn of_kind(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], body].concat()
}

fn encoded<T: Serialize>(kind: u8, message: &T) -> Vec<u8> {
    of_kind(kind, &encode(message).expect("encodes"))
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let vote = Vote { leader_id: leader(3, 1), committed: true };
    let last = Some(position(2, 2, 1));
    let append = AppendEntriesRequest {
        vote,
        prev_log_id: last,
        entries: entries().to_vec(),
        leader_commit: last,
    };
    let append = wire::encode_append(&append).expect("encodes").body;
    let mut ask = VoteRequest::new(vote, last);
    ask.leadership_transfer = true;
    let granted = openraft::raft::VoteResponse::new(vote, last, true);
    let transfer = openraft::raft::TransferLeaderRequest::new(vote, 2, last);
    let outcome = Outcome::Reply { reply: Bytes::from_static(b"yes"), is_duplicate: true };
    let hello =
        HelloAnswer { id: 1, incarnation: [9; 16], is_virgin: false, known: vec![(2, [8; 16])] };
    let value = encode_value(&entries()[2]).expect("encodes");
    let stored = StoredMembership::new(last, membership());
    let stored = encode_stored_membership(&stored).expect("encodes");
    let partial = AppendEntriesResponse::PartialSuccess(last);
    let file = export(&state());
    let testimony = Testimony { id: 2, digest: [7; 32], credit: Credit::Unproven };
    vec![
        ("append", of_kind(0, &append)),
        ("append-sealed", of_kind(1, &append)),
        ("vote-ask", encoded(2, &VoteAsk::of(&ask))),
        ("vote-answer", encoded(3, &VoteAnswer::of(&granted))),
        ("append-answer", encoded(4, &AppendAnswer::of(&partial))),
        ("transfer-ask", encoded(5, &TransferAsk::of(&transfer))),
        ("transfer-answer", encoded(6, &TransferAnswer::Refused("why".to_owned()))),
        ("snapshot-answer", encoded(8, &SnapshotAnswer::done(&vote))),
        ("propose-answer", encoded(9, &ProposeAnswer { index: 9, term: 3, outcome })),
        ("read-index-answer", encoded(10, &ReadIndexAnswer { index: 300 })),
        ("hello-answer", encoded(11, &hello)),
        ("members-ask", encoded(12, &members::Ask::List)),
        ("members-reply", encoded(13, &members::Reply::Failed(crate::MemberError::Removed(4)))),
        ("entry", of_kind(14, &[&2_u64.to_le_bytes()[..], &value].concat())),
        ("stored-membership", of_kind(16, &stored)),
        ("vote", of_kind(17, &encode_vote(&vote))),
        ("position", of_kind(17, &encode_log_id(&position(3, 1, 2)))),
        ("snapshot", of_kind(18, &file)),
        ("snapshot-sealed", of_kind(19, &file)),
        (
            "question",
            encoded(20, &Question::Judge { index: 70_000, testimonies: vec![testimony.clone()] }),
        ),
        ("answer", encoded(21, &Answer::Testimony(Some(testimony)))),
        ("standing", of_kind(22, b"QSTAND\0\x01\0\x01")),
    ]
}
