//! What can go wrong, sorted by what a caller may do next.

use std::{io, path::PathBuf};

use crate::{MemberError, ReplicaId};

/// Why a proposal was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// No replica took the proposal: nothing changed, and a retry is safe with any request id.
    #[error("not accepted: {reason}")]
    NotAccepted {
        /// What stood in the way, for people.
        reason: &'static str,
        /// When a retry makes sense, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The proposal may still commit. A retry is safe only with the same request id.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What was seen, for people.
        reason: String,
    },
    /// The request id was used before, for another command. Nothing changed.
    #[error("the request id was used before for another command")]
    RequestIdReused,
    /// The proposal was fenced to a term that is over. Nothing changed.
    #[error("the term the proposal was made in is over")]
    Fenced,
    /// The command cannot be an entry. Nothing changed.
    #[error("the command was refused: {0}")]
    Invalid(String),
}

/// Why a read was not served.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The replica has not passed the start barrier yet.
    #[error("this replica has not caught up since it started")]
    NotReady,
    /// The replica is in quarantine.
    #[error(
        "this replica is in quarantine: its state differs from that of the majority; ask another one"
    )]
    Quarantined,
    /// The replica has not heard from a leader for longer than the caller allows.
    #[error("this replica has heard from no leader for {age_ms} ms")]
    Stale {
        /// Age of the local state in milliseconds.
        age_ms: u64,
    },
    /// A barrier or a minimum index was not reached within the deadline.
    #[error("the read could not be made current in time: {reason}")]
    Timeout {
        /// What was waited for.
        reason: &'static str,
    },
}

/// Why leadership was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can hand over.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<ReplicaId>,
    },
    /// The wanted replica is not another voter.
    #[error("replica {0} is not another voter of this cluster")]
    NotVoter(ReplicaId),
    /// There is nobody to hand over to.
    #[error("no other voter is in contact with this replica")]
    NoVoter,
    /// The leader was asked, and did not hand over, or did not say so.
    #[error("the leader, replica {leader}, was asked: {source}")]
    Leader {
        /// Who was asked.
        leader: ReplicaId,
        /// What came of it.
        source: MemberError,
    },
    /// No other replica took over in time; this one may lead again.
    #[error("no other replica took over in time")]
    Timeout,
}

/// A replica meets what only programs of a higher feature level can apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is of feature level {needed}, and this replica knows no level above {known}: install the \
     program that the other replicas run, without a lower feature_level_max, and start it on this \
     same disk, on which nothing is lost"
)]
pub struct LevelUnknown {
    /// The level of the cluster, or of an entry.
    pub needed: u64,
    /// The highest level this replica knows.
    pub known: u64,
}

/// Why a replica refuses to start. Each message says what an operator can do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("the configuration cannot work: {0}")]
    Config(String),
    /// Another process holds the data directory.
    #[error("{0} is in use by another process; stop it or choose another data directory")]
    Locked(PathBuf),
    /// The disk belongs to another cluster or another replica.
    #[error(
        "{path} belongs to {found}, but this replica is {wanted}; point it at its own data directory"
    )]
    Foreign {
        /// The data directory.
        path: PathBuf,
        /// Identity stamped on the disk.
        found: String,
        /// Identity from the configuration.
        wanted: String,
    },
    /// The disk has lost or damaged something it had acknowledged.
    #[error("{0}")]
    Damaged(String),
    /// The peers know this replica as a voter, but its disk is new.
    #[error(
        "the other replicas know replica {id} with another disk: its acknowledged writes are gone from this one, so it must not vote; \
         restore the old data directory, or replace the replica under a new id"
    )]
    DiskReplaced {
        /// The replica.
        id: ReplicaId,
    },
    /// The replica was removed from its cluster.
    #[error(
        "replica {id} was removed from its cluster, and its id is never used again; \
         to bring this machine back, give it an empty data directory and let it join under a new id"
    )]
    Removed {
        /// The replica.
        id: ReplicaId,
    },
    /// The cluster does not take this replica.
    #[error("the cluster does not take this replica: {0}")]
    Join(String),
    /// The cluster uses meanings that this program does not know.
    #[error("{0}")]
    Newer(String),
    /// What was committed when the replica stopped cannot be applied again.
    #[error("{place}: {reason}")]
    Replay {
        /// The data directory.
        place: String,
        /// The entry, what is wrong with it, and what to do.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{doing}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// The consensus library refused to start.
    #[error("the raft core did not start: {0}")]
    Core(String),
}
