//! How replicas talk to each other: own port, HTTP/1.1 keep-alive, `postcard` bodies.
//!
//! Every connection begins with a proof, by both ends, that they know the cluster's token; with
//! TLS, both also have certificates of the cluster's authority. Every request names its cluster,
//! its sender and its intended receiver with their disks. What fails any of these checks is
//! refused before anything reaches the consensus core. The layouts are this crate's own and carry
//! a version byte.
//!
//! Begin reading at [`proof`] (how a connection begins) and [`credentials`] (who may talk to whom),
//! then [`wire`] (the messages), then [`network`] (what the consensus library asks for).

pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod network;
pub(crate) mod proof;
pub(crate) mod server;
pub(crate) mod wire;

pub(crate) use client::{CallError, Line, Peers, Target};
pub(crate) use credentials::{Caller, Credentials, Name};
pub(crate) use network::NetworkFactory;

use crate::entry::ENTRY_BYTES_MAX;

/// Version of the peer protocol; refused if it differs.
pub(crate) const WIRE_VERSION: u8 = 1;
/// Most bytes of a request that does not carry a single large entry.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of a request that carries one entry, however large.
pub(crate) const ENTRY_BODY_BYTES_MAX: usize = ENTRY_BYTES_MAX + 64 * 1024;
/// A snapshot transfer without progress ends after this long; there is no other deadline.
pub(crate) const SNAPSHOT_STALL: std::time::Duration = std::time::Duration::from_secs(10);

/// Paths of the peer port.
pub(crate) mod route {
    /// Entries and heartbeats.
    pub(crate) const APPEND: &str = "/quorate/peer/v1/append";
    /// A vote.
    pub(crate) const VOTE: &str = "/quorate/peer/v1/vote";
    /// A vote that would be given.
    pub(crate) const PRE_VOTE: &str = "/quorate/peer/v1/pre-vote";
    /// A whole snapshot.
    pub(crate) const SNAPSHOT: &str = "/quorate/peer/v1/snapshot";
    /// The leader hands over.
    pub(crate) const TRANSFER: &str = "/quorate/peer/v1/transfer";
    /// A proposal for the leader.
    pub(crate) const PROPOSE: &str = "/quorate/peer/v1/propose";
    /// Proposals for the leader, many at once.
    pub(crate) const PROPOSE_ALL: &str = "/quorate/peer/v1/propose-all";
    /// The leader's read index.
    pub(crate) const READ_INDEX: &str = "/quorate/peer/v1/read-index";
    /// Who is there, and whom it knows.
    pub(crate) const HELLO: &str = "/quorate/peer/v1/hello";
    /// Whether all members have come to the same state.
    pub(crate) const AGREEMENT: &str = "/quorate/peer/v1/agreement";
    /// Who belongs to the cluster, and changes of that.
    pub(crate) const MEMBERS: &str = "/quorate/peer/v1/members";
}

/// Headers of the peer port, besides those of [`credentials`].
pub(crate) mod header {
    /// How many entries an append carries; decides how large its body may be.
    pub(crate) const ENTRIES: &str = "quorate-entries";
    /// On an append: milliseconds since a quorum last confirmed that the sender leads; the largest
    /// number if none has.
    pub(crate) const CONFIRMED_MS: &str = "quorate-confirmed-ms";
    /// On the answer to an append: the present moment, in the receiver's own terms. On the next
    /// append: the last moment the receiver told, which shows how old the append is at most.
    pub(crate) const MOMENT: &str = "quorate-moment";
    /// On the answer to an append: 1 while the receiver is in quarantine.
    pub(crate) const QUARANTINED: &str = "quorate-quarantined";
    /// How often a proposal was forwarded; more than once is refused.
    pub(crate) const HOPS: &str = "quorate-hops";
    /// How long the sender waits for the answer, in milliseconds.
    pub(crate) const PATIENCE_MS: &str = "quorate-patience-ms";
    /// When a retry makes sense, in milliseconds.
    pub(crate) const RETRY_AFTER_MS: &str = "quorate-retry-after-ms";
}

/// Statuses of the peer port; how a refusal maps to them is part of the protocol.
pub(crate) mod status {
    /// The body does not decode.
    pub(crate) const MALFORMED: u16 = 400;
    /// A stranger, another cluster, another disk, another version.
    pub(crate) const STRANGER: u16 = 403;
    /// The receiver, of an earlier version, does not know the path; nothing was taken.
    pub(crate) const NO_ROUTE: u16 = 404;
    /// The receiver has stopped; nothing was taken.
    pub(crate) const STOPPED: u16 = 410;
    /// The body is larger than the receiver takes.
    pub(crate) const TOO_LARGE: u16 = 413;
    /// The receiver does not lead; nothing was taken.
    pub(crate) const NOT_LEADER: u16 = 421;
    /// The receiver could not do it; what happened is not known.
    pub(crate) const FAILED: u16 = 500;
    /// The receiver has too much to do; nothing was taken.
    pub(crate) const BUSY: u16 = 503;
    /// The proposal was taken and may still commit.
    pub(crate) const UNKNOWN: u16 = 504;
}
