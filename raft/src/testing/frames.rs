//! A fuzz target: whatever other replicas may send, and what lies on a disk.
//!
//! The first byte of an input says what the rest is. What does not decode is refused; what does
//! decode is encoded again, which must decode to the same. Nothing panics.

use std::{fmt::Debug, io};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::register::Registers;
use crate::{
    agreement::{Answer, Question, standing},
    members,
    offline::describe_membership,
    replicated::Replicated,
    storage::{
        log::format::{decode_value, encode_value},
        snapshot::format::{SnapshotReader, SnapshotWriter},
        wire::{
            decode_log_id, decode_stored_membership, decode_vote, encode_log_id,
            encode_stored_membership, encode_vote, put_optional_log_id, take_optional_log_id,
        },
    },
    transport::wire::{
        self, AppendAnswer, HelloAnswer, ProposeAnswer, ReadIndexAnswer, SnapshotAnswer,
        SnapshotHead, TransferAnswer, TransferAsk, VoteAnswer, VoteAsk,
    },
};

/// Bytes of the sum at the end of an entry.
const SUM_BYTES: usize = 4;

/// Takes an input.
///
/// # Panics
/// If something that was decoded does not come back from its own bytes.
pub fn take(input: &[u8]) {
    let Some((kind, body)) = input.split_first() else { return };
    match kind % 23 {
        0 => append(&Bytes::copy_from_slice(body)),
        1 => append(&with_sums(body)),
        2 => message::<VoteAsk>(body, |ask| VoteAsk::of(&ask.request())),
        3 => message::<VoteAnswer>(body, |answer| VoteAnswer::of(&answer.response())),
        4 => message::<AppendAnswer>(body, |answer| AppendAnswer::of(&answer.response())),
        5 => message::<TransferAsk>(body, |ask| TransferAsk::of(&ask.request())),
        6 => message::<TransferAnswer>(body, |answer| answer),
        7 => message::<SnapshotHead>(body, |head| {
            // The membership in it is checked before anything else is made of it.
            let _ = head.vote_and_meta();
            head
        }),
        8 => message::<SnapshotAnswer>(body, |answer| answer),
        9 => message::<ProposeAnswer>(body, |answer| answer),
        10 => message::<ReadIndexAnswer>(body, |answer| answer),
        11 => message::<HelloAnswer>(body, |answer| answer),
        12 => message::<members::Ask>(body, |ask| ask),
        13 => message::<members::Reply>(body, |reply| reply),
        14 => entry(body),
        15 => drop(describe_membership(body)),
        16 => stored_membership(body),
        17 => vote_and_position(body),
        18 => snapshot(body),
        19 => snapshot(&sealed(body)),
        20 => message::<Question>(body, |question| question),
        21 => message::<Answer>(body, |answer| answer),
        _ => drop(standing::decode(&[body, &crc32c::crc32c(body).to_le_bytes()].concat())),
    }
}

/// What is decoded, and made into what the consensus library wants, is the same when it comes back.
fn message<T: Serialize + DeserializeOwned>(body: &[u8], turn: impl FnOnce(T) -> T) {
    let Ok(decoded) = wire::decode::<T>(body) else { return };
    let encoded = wire::encode(&decoded).expect("what was decoded encodes");
    let again = wire::decode::<T>(&encoded).expect("what was encoded decodes");
    let turned = wire::encode(&turn(again)).expect("what was decoded encodes");
    assert_eq!(turned, encoded);
}

fn same<T: Debug>(first: &T, second: &T) {
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}

fn append(body: &Bytes) {
    let Ok(decoded) = wire::decode_append(body) else { return };
    let encoded = wire::encode_append(&decoded).expect("what was decoded encodes");
    if encoded.cut_after.is_none() {
        let again = wire::decode_append(&encoded.body).expect("what was encoded decodes");
        same(&again, &decoded);
    }
}

/// An append whose entries have right sums, as far as it has entries: each is
/// `index u64 | length u32 | value`. They begin where the most of them fit.
fn with_sums(body: &[u8]) -> Bytes {
    let sealed = (0..body.len().min(64)).map(|from| seal_entries(body, from));
    sealed.max_by_key(|(entries, _)| *entries).map_or_else(Bytes::new, |(_, body)| body.into())
}

fn seal_entries(body: &[u8], from: usize) -> (usize, Vec<u8>) {
    let mut out = body[..from].to_vec();
    let (mut entries, mut rest) = (0, &body[from..]);
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let Ok(length) = usize::try_from(length) else { break };
        if length < SUM_BYTES || after.len() < length {
            break;
        }
        let index = u64::from_le_bytes(head[..8].try_into().expect("eight of twelve"));
        out.extend_from_slice(head);
        out.extend_from_slice(&with_sum(index, &after[..length]));
        entries += 1;
        rest = &after[length..];
    }
    out.extend_from_slice(rest);
    (entries, out)
}

/// A value of the log with its last bytes made the sum of the others.
fn with_sum(index: u64, value: &[u8]) -> Vec<u8> {
    let body = &value[..value.len().saturating_sub(SUM_BYTES)];
    let sum = crc32c::crc32c_append(crc32c::crc32c(&index.to_be_bytes()), body);
    [body, &sum.to_le_bytes()].concat()
}

fn entry(body: &[u8]) {
    let Some((index, value)) = body.split_first_chunk::<8>() else { return };
    let index = u64::from_le_bytes(*index);
    for value in [value.to_vec(), with_sum(index, value)] {
        let Ok(entry) = decode_value(index, value.into()) else { continue };
        let again = encode_value(&entry).expect("what was decoded encodes");
        assert_eq!(decode_value(index, again.into()).expect("what was encoded decodes"), entry);
    }
}

fn stored_membership(body: &[u8]) {
    let Ok(decoded) = decode_stored_membership(body) else { return };
    let encoded = encode_stored_membership(&decoded).expect("what was decoded encodes");
    same(&decode_stored_membership(&encoded).expect("what was encoded decodes"), &decoded);
}

fn vote_and_position(body: &[u8]) {
    if let Ok(vote) = decode_vote(body) {
        assert_eq!(encode_vote(&vote), body);
    }
    if let Ok(position) = decode_log_id(body) {
        assert_eq!(encode_log_id(&position), body);
    }
    if let Ok((position, rest)) = take_optional_log_id(body) {
        let mut again = Vec::new();
        put_optional_log_id(&mut again, position.as_ref());
        assert_eq!([&again, rest].concat(), body);
    }
}

/// A whole snapshot of registers, with what the engine keeps beside them.
fn snapshot(file: &[u8]) {
    let Ok(state) = import(file) else { return };
    let again = import(&export(&state)).expect("its own records");
    assert_eq!(export(&again), export(&state));
    assert_eq!(again.machine(), state.machine());
}

fn import(file: &[u8]) -> io::Result<Replicated<Registers>> {
    let mut records = SnapshotReader::begin(file)?;
    let state = Replicated::import(&mut records)?;
    records.finish()?;
    Ok(state)
}

fn export(state: &Replicated<Registers>) -> Vec<u8> {
    let mut writer = SnapshotWriter::begin(Vec::new()).expect("memory takes it");
    state.export(&mut writer).expect("a state exports");
    writer.finish().expect("memory takes it").out
}

/// The records of a snapshot file with a right head, right sums and a right end.
fn sealed(file: &[u8]) -> Vec<u8> {
    let mut out = b"QSNAP\0\x01\0".to_vec();
    let mut rest = file.get(out.len()..).unwrap_or_default();
    let mut count = 0_u64;
    while let Some((head, after)) = rest.split_first_chunk::<5>() {
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(after.len());
        if head[0] == 255 {
            break;
        }
        put(&mut out, head[0], &after[..length]);
        count += 1;
        rest = after.get(length + SUM_BYTES..).unwrap_or_default();
    }
    let mut trailer = count.to_le_bytes().to_vec();
    trailer.extend_from_slice(&Sha256::digest(&out));
    put(&mut out, 255, &trailer);
    out
}

fn put(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    let from = out.len();
    out.push(kind);
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("small").to_le_bytes());
    out.extend_from_slice(bytes);
    let sum = crc32c::crc32c(&out[from..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
#[path = "frames_test.rs"]
mod tests;
