//! The records of a snapshot, one by one, without the machine that wrote them.

use std::{fs::File, io, path::Path};

use serde::Serialize;

use super::Position;
use crate::{
    RecordSource, ReplicaId, RequestId,
    replicated::{Head, KIND_ANSWERED, KIND_HEAD, Replicated},
    storage::{
        identity::hex,
        snapshot::format::SnapshotReader,
        wire::{damaged, decode_membership, decode_stored_membership},
    },
    types::Peer,
    window::Answered,
};

/// A replica of a membership, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberFacts {
    /// Its id.
    pub id: ReplicaId,
    /// Its peer address.
    pub peer_addr: String,
    /// Its client URL; may be empty.
    pub client_url: String,
    /// Random bits of its disk, hexadecimal.
    pub incarnation: String,
    /// Whether it votes.
    pub is_voter: bool,
}

/// The first record of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotHead {
    /// The last entry it covers.
    pub last: Option<Position>,
    /// The membership in force.
    pub members: Vec<MemberFacts>,
    /// Time of the last command, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Digest over every entry so far and what it came to, hexadecimal.
    pub log_chain: String,
    /// How many answered requests follow.
    pub answered: u64,
}

/// One record of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordItem {
    /// The first record.
    Head(SnapshotHead),
    /// A request that was answered: its id, the index of its entry, the size of its reply.
    Answered {
        /// The id.
        request_id: RequestId,
        /// The entry.
        index: u64,
        /// Bytes of the reply.
        reply_bytes: usize,
    },
    /// A record of the machine.
    Machine {
        /// Its kind.
        kind: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

impl RecordItem {
    pub(super) fn decode(kind: u8, bytes: Vec<u8>) -> io::Result<Self> {
        let odd = |error| damaged(format!("a record of kind {kind} does not decode: {error}"));
        match kind {
            KIND_HEAD => {
                let head: Head = postcard::from_bytes(&bytes).map_err(odd)?;
                SnapshotHead::of(&head).map(Self::Head)
            }
            KIND_ANSWERED => {
                let answered: Answered = postcard::from_bytes(&bytes).map_err(odd)?;
                let reply_bytes = answered.reply.len();
                let (request_id, index) = (answered.request_id, answered.index);
                Ok(Self::Answered { request_id, index, reply_bytes })
            }
            _ => Ok(Self::Machine { kind, bytes }),
        }
    }
}

impl SnapshotHead {
    fn of(head: &Head) -> io::Result<Self> {
        let stored = decode_stored_membership(&head.membership)?;
        let last = head.applied.map(|(term, leader, index)| Position { index, term, leader });
        Ok(Self {
            last,
            members: facts_of(stored.membership()),
            time_ms: head.time_ms,
            log_chain: hex(&head.log_chain),
            answered: head.answered,
        })
    }
}

/// Hands over every record of a snapshot file until told to stop; a file that is read to its end
/// has been checked whole.
///
/// # Errors
/// What `take` returns; `InvalidData` if the file is damaged or no snapshot.
pub fn scan_snapshot(
    path: &Path,
    mut take: impl FnMut(RecordItem) -> io::Result<bool>,
) -> io::Result<()> {
    let mut reader = SnapshotReader::begin(File::open(path)?)?;
    while let Some((kind, bytes)) = reader.next_record()? {
        if !take(RecordItem::decode(kind, bytes)?)? {
            return Ok(());
        }
    }
    Ok(())
}

impl<M> Replicated<M> {
    /// The membership in force at the last applied entry, for people.
    #[must_use]
    pub fn members(&self) -> Vec<MemberFacts> {
        facts_of(self.membership().membership())
    }
}

/// The membership that an entry carries, for people.
///
/// # Errors
/// `InvalidData` if the bytes are none.
pub fn describe_membership(payload: &[u8]) -> io::Result<Vec<MemberFacts>> {
    Ok(facts_of(&decode_membership(payload)?))
}

fn facts_of(membership: &openraft::Membership<ReplicaId, Peer>) -> Vec<MemberFacts> {
    let voters: Vec<ReplicaId> = membership.voter_ids().collect();
    let facts = membership.nodes().map(|(id, peer)| MemberFacts {
        id: *id,
        peer_addr: peer.peer_addr.clone(),
        client_url: peer.client_url.clone(),
        incarnation: hex(&peer.incarnation),
        is_voter: voters.contains(id),
    });
    facts.collect()
}
