//! How log positions, votes and memberships lie on the disk.
//!
//! These are this crate's own layouts: the consensus library's serde form has changed between its
//! releases and is never stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use openraft::{Membership, vote::RaftLeaderId};
use serde::{Deserialize, Serialize};

use crate::{
    ReplicaId,
    types::{LeaderId, LogId, Peer, StoredMembership, Vote},
};

/// Bytes of an encoded log position.
pub(crate) const LOG_ID_BYTES: usize = 24;

/// Something stored does not have its layout.
pub(crate) fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Something stored is of a later program than this one.
pub(crate) fn newer(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "{what}: install the program that the other replicas run, and start it on this same \
             disk, on which nothing is lost"
        ),
    )
}

/// The leader an entry was appended by.
pub(crate) fn leader(term: u64, node: ReplicaId) -> LeaderId {
    LeaderId::new(term, node)
}

/// Term and replica of the leader that appended at a position.
pub(crate) fn term_and_node(log_id: &LogId) -> (u64, ReplicaId) {
    let leader = log_id.committed_leader_id();
    (leader.term(), *leader.node_id())
}

/// `term u64 | node u64 | index u64`, little endian.
pub(crate) fn encode_log_id(log_id: &LogId) -> [u8; LOG_ID_BYTES] {
    let (term, node) = term_and_node(log_id);
    let mut bytes = [0; LOG_ID_BYTES];
    bytes[..8].copy_from_slice(&term.to_le_bytes());
    bytes[8..16].copy_from_slice(&node.to_le_bytes());
    bytes[16..].copy_from_slice(&log_id.index().to_le_bytes());
    bytes
}

/// Reads a log position.
pub(crate) fn decode_log_id(bytes: &[u8]) -> io::Result<LogId> {
    let bytes: &[u8; LOG_ID_BYTES] =
        bytes.try_into().map_err(|_| damaged("a log position has the wrong length"))?;
    let (term, rest) = bytes.split_first_chunk::<8>().expect("24 bytes hold the first eight");
    let (node, index) = rest.split_first_chunk::<8>().expect("16 bytes hold the next eight");
    let index: [u8; 8] = index.try_into().expect("24 less 16 bytes are eight");
    Ok(LogId::new(
        leader(u64::from_le_bytes(*term), u64::from_le_bytes(*node)),
        u64::from_le_bytes(index),
    ))
}

/// `term u64 | node u64 | committed u8`, little endian.
pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(17);
    bytes.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    bytes.extend_from_slice(&vote.leader_id.node_id.to_le_bytes());
    bytes.push(u8::from(vote.committed));
    bytes
}

/// Reads a vote.
pub(crate) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let wrong = || damaged("a vote has the wrong length");
    let (term, rest) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (node, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    let committed = match rest {
        [0] => false,
        [1] => true,
        _ => return Err(damaged("a vote is neither given nor granted")),
    };
    let leader_id = leader(u64::from_le_bytes(*term), u64::from_le_bytes(*node));
    Ok(Vote { leader_id, committed })
}

/// A membership as it is stored: encoded with `postcard`, fields never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    /// One set of voters, or two while the membership changes.
    configs: Vec<BTreeSet<ReplicaId>>,
    /// Every replica, voter or not.
    replicas: BTreeMap<ReplicaId, ReplicaRecord>,
}

/// A replica as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ReplicaRecord {
    peer_addr: String,
    client_url: String,
    incarnation: [u8; 16],
}

/// Encodes a membership. What the first format lacks follows it, and only if there is any.
pub(crate) fn encode_membership(membership: &Membership<ReplicaId, Peer>) -> io::Result<Vec<u8>> {
    let record = MembershipRecord {
        configs: membership.get_joint_config().clone(),
        replicas: membership.nodes().map(|(id, peer)| (*id, ReplicaRecord::from(peer))).collect(),
    };
    let bytes = postcard::to_stdvec(&record).map_err(|error| damaged(error.to_string()))?;
    let replacements: BTreeMap<ReplicaId, ReplicaId> =
        membership.nodes().filter_map(|(id, peer)| Some((*id, peer.replaces?))).collect();
    if replacements.is_empty() {
        return Ok(bytes);
    }
    postcard::to_extend(&replacements, bytes).map_err(|error| damaged(error.to_string()))
}

/// Reads a membership.
pub(crate) fn decode_membership(bytes: &[u8]) -> io::Result<Membership<ReplicaId, Peer>> {
    let wrong = |error| damaged(format!("a membership does not decode: {error}"));
    let (record, rest) = postcard::take_from_bytes::<MembershipRecord>(bytes).map_err(wrong)?;
    let replacements: BTreeMap<ReplicaId, ReplicaId> = if rest.is_empty() {
        BTreeMap::new()
    } else {
        postcard::from_bytes(rest).map_err(wrong)?
    };
    let peer = |(id, record): (ReplicaId, ReplicaRecord)| {
        (id, Peer { replaces: replacements.get(&id).copied(), ..record.into() })
    };
    let replicas: BTreeMap<ReplicaId, Peer> = record.replicas.into_iter().map(peer).collect();
    if record.configs.is_empty() && replicas.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(record.configs, replicas)
        .map_err(|error| damaged(format!("a membership contradicts itself: {error}")))
}

/// A membership with the position it was logged at: `has position u8 | position? | membership`.
pub(crate) fn encode_stored_membership(stored: &StoredMembership) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    put_optional_log_id(&mut bytes, stored.log_id().as_ref());
    bytes.extend_from_slice(&encode_membership(stored.membership())?);
    Ok(bytes)
}

/// Reads what [`encode_stored_membership`] wrote.
pub(crate) fn decode_stored_membership(bytes: &[u8]) -> io::Result<StoredMembership> {
    let (log_id, rest) = take_optional_log_id(bytes)?;
    Ok(StoredMembership::new(log_id, decode_membership(rest)?))
}

/// Appends a position that may be absent.
pub(crate) fn put_optional_log_id(bytes: &mut Vec<u8>, log_id: Option<&LogId>) {
    match log_id {
        None => bytes.push(0),
        Some(log_id) => {
            bytes.push(1);
            bytes.extend_from_slice(&encode_log_id(log_id));
        }
    }
}

/// Takes a position that may be absent off the front.
pub(crate) fn take_optional_log_id(bytes: &[u8]) -> io::Result<(Option<LogId>, &[u8])> {
    match bytes.split_first() {
        Some((0, rest)) => Ok((None, rest)),
        Some((1, rest)) => {
            let (log_id, rest) = rest
                .split_at_checked(LOG_ID_BYTES)
                .ok_or_else(|| damaged("a log position is cut off"))?;
            Ok((Some(decode_log_id(log_id)?), rest))
        }
        _ => Err(damaged("a log position is cut off")),
    }
}

impl From<&Peer> for ReplicaRecord {
    fn from(peer: &Peer) -> Self {
        Self {
            peer_addr: peer.peer_addr.clone(),
            client_url: peer.client_url.clone(),
            incarnation: peer.incarnation,
        }
    }
}

impl From<ReplicaRecord> for Peer {
    fn from(record: ReplicaRecord) -> Self {
        Self {
            peer_addr: record.peer_addr,
            client_url: record.client_url,
            incarnation: record.incarnation,
            replaces: None,
        }
    }
}
