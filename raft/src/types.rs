//! The openraft types of this crate. Nothing outside `quorate-raft` may name one of them.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ReplicaId;

/// An encoded entry (see [`crate::entry`]); cloning it is a reference count.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload(pub(crate) Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying one entry came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The machine's reply, encoded; `is_duplicate` if the window answered.
    Reply { reply: Bytes, is_duplicate: bool },
    /// The request id was used for another command.
    RequestIdReused,
    /// The entry was fenced to another term.
    Fenced,
    /// Blank or membership entry.
    Nothing,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { reply, .. } => write!(f, "reply of {} bytes", reply.len()),
            Self::RequestIdReused => f.write_str("request id reused"),
            Self::Fenced => f.write_str("fenced"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// A replica as the membership knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// Peer address, `host:port`.
    pub(crate) peer_addr: String,
    /// Client URL; may be empty.
    pub(crate) client_url: String,
    /// 128 random bits of the disk; a replica with another disk is another replica.
    /// All zero for a replica that was registered and has not started yet.
    pub(crate) incarnation: [u8; 16],
    /// The replica that leaves in the same step in which this one gets its vote.
    pub(crate) replaces: Option<ReplicaId>,
}

impl Peer {
    /// Whether the replica has shown its disk; before that nothing is sent to it.
    pub(crate) fn is_claimed(&self) -> bool {
        self.incarnation != [0; 16]
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.peer_addr)
    }
}

#[cfg(not(test))]
openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Payload,
        R = Outcome,
        NodeId = ReplicaId,
        Node = Peer,
);

// The same, on a runtime that a simulation can take the place of.
#[cfg(test)]
openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Payload,
        R = Outcome,
        NodeId = ReplicaId,
        Node = Peer,
        AsyncRuntime = crate::testing::sim::runtime::SimRuntime,
);

/// The leader of a term.
pub(crate) type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;
/// A replica's log position.
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A log entry.
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// A vote.
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// The membership with the position it was logged at.
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// Describes a snapshot.
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
