//! One entry as a value of the log.
//!
//! `version u8 | kind u8 | term u64 | node u64 | payload | crc32c u32`, little endian. The sum
//! covers the key too: RocksDB checks its blocks, not whether a value lies under its own index.

use std::io;

use bytes::Bytes;
use openraft::EntryPayload;

use crate::{
    storage::wire::{damaged, decode_membership, encode_membership, leader, newer, term_and_node},
    types::{Entry, LogId, Payload},
};

/// Version of the layout.
pub(crate) const VALUE_VERSION: u8 = 1;
/// Bytes before the payload.
const HEAD_BYTES: usize = 18;
/// Bytes after the payload.
const SUM_BYTES: usize = 4;

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing; the first entry of a leader.
    Blank,
    /// A command with its stamp.
    Command,
    /// A new membership.
    Membership,
}

impl EntryKind {
    /// The byte that stands for the kind on the disk and in digests.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Blank => 0,
            Self::Command => 1,
            Self::Membership => 2,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        [Self::Blank, Self::Command, Self::Membership].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Kind and payload bytes of an entry, as they are stored and digested.
pub(crate) fn payload_of(entry: &Entry) -> io::Result<(EntryKind, Bytes)> {
    Ok(match &entry.payload {
        EntryPayload::Blank => (EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(Payload(bytes)) => (EntryKind::Command, bytes.clone()),
        EntryPayload::Membership(membership) => {
            (EntryKind::Membership, encode_membership(membership)?.into())
        }
    })
}

/// The key of an index: big endian, so that the order of keys is the order of entries.
pub(crate) fn key_of(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The index of a key.
pub(crate) fn index_of(key: &[u8]) -> io::Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| {
        damaged(format!("the log has a key of {} bytes, where an index has eight", key.len()))
    })
}

/// Encodes an entry as the value under its index.
pub(crate) fn encode_value(entry: &Entry) -> io::Result<Vec<u8>> {
    let (kind, payload) = payload_of(entry)?;
    let (term, node) = term_and_node(&entry.log_id);
    let mut value = Vec::with_capacity(HEAD_BYTES + payload.len() + SUM_BYTES);
    value.push(VALUE_VERSION);
    value.push(kind.byte());
    value.extend_from_slice(&term.to_le_bytes());
    value.extend_from_slice(&node.to_le_bytes());
    value.extend_from_slice(&payload);
    let sum = sum_of(entry.log_id.index(), &value);
    value.extend_from_slice(&sum.to_le_bytes());
    Ok(value)
}

/// Reads the entry under an index.
///
/// # Errors
/// `InvalidData` with a message that names the index.
pub(crate) fn decode_value(index: u64, value: Bytes) -> io::Result<Entry> {
    let short = || damaged(format!("entry {index} is cut off at {} bytes", value.len()));
    let body_bytes = value.len().checked_sub(SUM_BYTES).ok_or_else(short)?;
    let sum = value[body_bytes..].try_into().map_err(|_| short())?;
    if u32::from_le_bytes(sum) != sum_of(index, &value[..body_bytes]) {
        return Err(damaged(format!("entry {index} is damaged (its checksum does not hold)")));
    }
    if body_bytes < HEAD_BYTES {
        return Err(short());
    }
    if value[0] != VALUE_VERSION {
        let version = value[0];
        return Err(newer(format!(
            "entry {index} has version {version}, this program knows {VALUE_VERSION}"
        )));
    }
    let kind = EntryKind::of_byte(value[1])
        .ok_or_else(|| newer(format!("entry {index} is of kind {}, unknown here", value[1])))?;
    let word = |at: usize| -> io::Result<u64> {
        value[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| short())
    };
    let log_id = LogId::new(leader(word(2)?, word(10)?), index);
    let payload = value.slice(HEAD_BYTES..body_bytes);
    let payload = match kind {
        EntryKind::Blank => EntryPayload::Blank,
        EntryKind::Command => EntryPayload::Normal(Payload(payload)),
        EntryKind::Membership => EntryPayload::Membership(decode_membership(&payload)?),
    };
    Ok(Entry { log_id, payload })
}

fn sum_of(index: u64, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&key_of(index)), body)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::Membership;

    use super::*;
    use crate::{storage::identity::hex, types::Peer};

    fn samples() -> Vec<Entry> {
        let peer = Peer {
            peer_addr: "127.0.0.1:7801".to_owned(),
            client_url: "http://127.0.0.1:7799".to_owned(),
            incarnation: [0xab; 16],
            replaces: None,
        };
        let membership = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([1])],
            BTreeMap::from([(1, peer.clone()), (2, peer.clone()), (3, peer)]),
        )
        .expect("a membership");
        vec![
            Entry { log_id: LogId::new(leader(0, 0), 0), payload: EntryPayload::Blank },
            Entry {
                log_id: LogId::new(leader(3, 2), 77),
                payload: EntryPayload::Normal(Payload(Bytes::from_static(b"a command"))),
            },
            Entry {
                log_id: LogId::new(leader(4, 1), 78),
                payload: EntryPayload::Membership(membership),
            },
        ]
    }

    #[test]
    fn entries_come_back_as_they_were_stored() {
        for entry in samples() {
            let value = encode_value(&entry).expect("encodes");
            let back = decode_value(entry.log_id.index(), value.into()).expect("decodes");
            assert_eq!(back, entry);
        }
    }

    #[test]
    fn the_layout_is_the_one_already_on_disks() {
        let lines: String = samples()
            .iter()
            .map(|entry| {
                let value = encode_value(entry).expect("encodes");
                format!("{} {}\n", entry.log_id.index(), hex(&value))
            })
            .collect();
        crate::testing::golden::check("log_values.txt", lines.as_bytes());
    }

    #[test]
    fn any_flipped_bit_cut_or_wrong_place_is_seen() {
        for entry in samples() {
            let index = entry.log_id.index();
            let value = encode_value(&entry).expect("encodes");
            for bit in 0..value.len() * 8 {
                let mut flipped = value.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode_value(index, flipped.into()).is_err(), "bit {bit} of {index}");
            }
            for end in 0..value.len() {
                assert!(decode_value(index, value[..end].to_vec().into()).is_err(), "cut {end}");
            }
            assert!(decode_value(index + 1, value.into()).is_err(), "under another index");
        }
    }
}
