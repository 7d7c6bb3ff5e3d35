//! The members of a running cluster: who they are, and how that changes.
//!
//! A change is asked of any replica and carried out by the leader, one at a time. A new replica is
//! a learner first and gets its vote when it has caught up. No step is taken that would leave
//! fewer live voters than a quorum, and the id of a removed replica is never given out again.
//!
//! Begin reading at `rules`, which has every decision; `change` carries them out, `keeper`
//! is what the leader does by itself, and `join` is the side of the replica that comes or goes.

pub(crate) mod change;
#[cfg(test)]
mod cluster_test;
pub(crate) mod join;
pub(crate) mod keeper;
pub(crate) mod level;
pub(crate) mod note;
pub(crate) mod rules;
#[cfg(test)]
mod rules_test;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ReplicaId, RequestId};

/// Most members, learners included; more only make every write slower.
pub const MEMBERS_MAX: usize = 7;
/// A learner that lacks no more entries than this has caught up.
pub const LAG_ENTRIES_MAX: u64 = 1_000;

/// A change of the membership. Asking again for what is already so succeeds and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// Registers a learner. It gets its vote once it has started and caught up.
    Add {
        /// Its id; the next free one if `None`.
        id: Option<ReplicaId>,
        /// Where the others reach it, `host:port`.
        peer_addr: String,
        /// Its client port as an URL; may be empty.
        client_url: String,
    },
    /// Gives a learner that has caught up its vote at once.
    Promote {
        /// The learner.
        id: ReplicaId,
    },
    /// Removes a member for ever. A leader hands over first.
    Remove {
        /// The member.
        id: ReplicaId,
    },
    /// Puts a new replica in the place of another one: registers it as a learner, and in the step
    /// in which it gets its vote the other one leaves.
    Replace {
        /// Who leaves; usually dead.
        id: ReplicaId,
        /// Who comes.
        by: Successor,
    },
    /// Says where a member is now.
    Update {
        /// The member.
        id: ReplicaId,
        /// Its new peer address, if it has one.
        peer_addr: Option<String>,
        /// Its new client URL, if it has one.
        client_url: Option<String>,
    },
}

impl MemberChange {
    /// What is wished, and about whom as far as that is said.
    fn subject(&self) -> (MemberVerb, Option<ReplicaId>) {
        match self {
            Self::Add { id, .. } => (MemberVerb::Add, *id),
            Self::Promote { id } => (MemberVerb::Promote, Some(*id)),
            Self::Remove { id } => (MemberVerb::Remove, Some(*id)),
            Self::Replace { id, .. } => (MemberVerb::Replace, Some(*id)),
            Self::Update { id, .. } => (MemberVerb::Update, Some(*id)),
        }
    }
}

/// Who wishes a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// As the edge names it.
    pub actor: String,
    /// Of the request.
    pub request_id: RequestId,
}

/// What came of a wish to change the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberNote {
    /// What was wished.
    pub verb: MemberVerb,
    /// About whom, if that is known.
    pub id: Option<ReplicaId>,
    /// Whether it was refused.
    pub is_refused: bool,
}

/// What may be wished of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberVerb {
    /// Registers a learner.
    Add,
    /// Gives a learner its vote.
    Promote,
    /// Removes a member for ever.
    Remove,
    /// Names a successor.
    Replace,
    /// Says where a member is.
    Update,
    /// A replica asks for itself to be taken in, or says where it is.
    Join,
}

/// Who takes the place of another replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Successor {
    /// A member, learner or voter.
    Member(ReplicaId),
    /// A replica that is no member yet.
    New {
        /// Its id; the next free one if `None`.
        id: Option<ReplicaId>,
        /// Where the others reach it, `host:port`.
        peer_addr: String,
        /// Its client port as an URL; may be empty.
        client_url: String,
    },
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChanged {
    /// The member that was added, promoted, removed, named as the successor, or updated.
    pub id: ReplicaId,
    /// Whether anything had to be done.
    pub is_new: bool,
}

/// What raising the feature level came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelRaised {
    /// The level in use.
    pub level: u64,
    /// Whether it was lower before.
    pub is_new: bool,
}

/// Why the membership was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MemberError {
    /// The wish makes no sense whatever the membership is.
    #[error("{0}")]
    Invalid(String),
    /// There is no such member.
    #[error("replica {0} is not a member of this cluster")]
    NotFound(ReplicaId),
    /// The membership does not allow it.
    #[error("{0}")]
    Refused(String),
    /// The id belongs to a member with another disk: the acknowledged writes on that disk are not
    /// on the new one.
    #[error(
        "replica {0} is a member with another disk, and an empty one must not stand in for it; \
         replace it by a replica with a new id"
    )]
    AnotherDisk(ReplicaId),
    /// The id belonged to a replica that was removed.
    #[error("replica {0} was removed, and its id is never used again; take another one")]
    Removed(ReplicaId),
    /// Another change goes on. Nothing changed.
    #[error("another change of the membership is in progress")]
    InProgress,
    /// No leader took it. Nothing changed.
    #[error("not accepted: {0}")]
    NotAccepted(String),
    /// It may have been done, or may still be. Asking again is safe.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

impl MemberError {
    /// Whether asking again soon may end differently, with nobody doing anything in between.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::InProgress | Self::NotAccepted(_) | Self::Unknown(_))
    }
}

/// The members as the leader sees them, or as this replica does if no leader answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Members {
    /// Who leads; `None` if what follows is this replica's own view.
    pub leader: Option<ReplicaId>,
    /// Term of the leader, or the term this replica knows of.
    pub term: u64,
    /// Whether a change is under way.
    pub is_changing: bool,
    /// How many live voters a decision needs.
    pub quorum: usize,
    /// The members, in ascending order of id.
    pub members: Vec<Member>,
    /// Ids of removed replicas, never used again.
    pub removed: Vec<ReplicaId>,
    /// The feature level in use.
    pub feature_level: u64,
    /// The highest level that all members know; only the leader knows, and only while all of them
    /// answer.
    pub feature_level_common: Option<u64>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Its id.
    pub id: ReplicaId,
    /// Its part.
    pub role: MemberRole,
    /// How it does.
    pub health: Health,
    /// Where the other replicas reach it.
    pub peer_addr: String,
    /// Its client port as an URL; may be empty.
    pub client_url: String,
    /// Who leaves when it gets its vote.
    pub replaces: Option<ReplicaId>,
    /// Last index known to be in its log; only the leader knows.
    pub match_index: Option<u64>,
    /// Entries it lacks; only the leader knows.
    pub lag_entries: Option<u64>,
    /// Milliseconds since it last acknowledged the leader; only the leader knows.
    pub heard_ms: Option<u64>,
    /// Its program, as it said lately; only the leader knows.
    pub program: Option<String>,
    /// The highest feature level it knows, as it said lately; only the leader knows.
    pub feature_level_max: Option<u64>,
}

/// The part a member plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Takes proposals.
    Leader,
    /// Votes.
    Voter,
    /// Follows without a vote.
    Learner,
}

/// How a member does, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Answers, and has caught up.
    Healthy,
    /// Answers, but lacks entries.
    Lagging,
    /// Does not answer.
    Silent,
    /// Registered, and not started yet.
    Awaited,
    /// Only the leader would know.
    Unknown,
    /// Answers, and its state is wrong: see [`crate::agreement`].
    Quarantined,
}

/// Whether a replica belongs to the cluster, as another one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It does.
    Member,
    /// Its id does, with another disk.
    AnotherDisk,
    /// It was removed.
    Removed,
    /// Not heard of, or not yet.
    Unknown,
}

/// A replica that wants to be a member, with its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joiner {
    pub(crate) id: Option<ReplicaId>,
    pub(crate) incarnation: [u8; 16],
    pub(crate) peer_addr: String,
    pub(crate) client_url: String,
    /// The highest feature level it knows.
    pub(crate) level_max: u64,
}

/// What a replica says of its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) program: String,
    pub(crate) level_max: u64,
}

/// A wish for a higher feature level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Raise {
    /// The highest that all members know if `None`.
    pub(crate) level: Option<u64>,
    /// Who wishes it.
    pub(crate) actor: String,
}

/// What one replica asks another about members.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The members as the leader sees them.
    List,
    /// A change, and who wishes it.
    Change(MemberChange, Requester),
    /// To be taken in, or to be found at other addresses than before.
    Join(Joiner),
    /// Whether the sender is a member, as the asked replica itself sees it.
    Standing,
    /// What the asked replica itself knows.
    About,
    /// A higher feature level.
    Raise(Raise),
    /// Leadership for another voter, the most advanced one if `None`.
    HandOver(Option<ReplicaId>),
}

/// Answer to an [`Ask`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Members(Members),
    Changed(MemberChanged),
    Standing(Standing),
    Failed(MemberError),
    About(About),
    Raised(LevelRaised),
}
