//! What is told to the invariants.

use crate::{
    ReplicaId, RequestId,
    testing::register::{RegisterCommand, RegisterReply},
};

/// A leader: term and replica. Later ones are greater.
pub(crate) type Ballot = (u64, ReplicaId);

/// Where an entry lies in the log: its leader, then its index.
pub(crate) type Position = (Ballot, u64);

/// Something that happened in a simulation.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Event {
    /// A replica began to start.
    Starts {
        /// Which.
        replica: ReplicaId,
    },
    /// A replica's process ended, and its disk is as given; all of it was lost if `None`.
    Crashed {
        /// Which.
        replica: ReplicaId,
        /// The vote on its disk.
        vote: Option<(Ballot, bool)>,
    },
    /// A replica has stopped by itself, or refused to start.
    GaveUp {
        /// Which.
        replica: ReplicaId,
        /// What it said.
        message: String,
        /// Whether something was done to it that is a reason.
        is_expected: bool,
    },
    /// A replica calls itself the leader.
    Leads {
        /// Which.
        replica: ReplicaId,
        /// Its term.
        term: u64,
        /// The end of its log.
        last: Option<Position>,
    },
    /// An entry was written to a disk.
    Stored {
        /// Whose.
        replica: ReplicaId,
        /// Where the entry lies.
        at: Position,
        /// Digest of what it carries.
        digest: u64,
        /// The leader of the entry before, if that is in the log.
        previous: Option<Ballot>,
    },
    /// A vote was written to a disk.
    Voted {
        /// Whose.
        replica: ReplicaId,
        /// For whom, and whether the quorum has confirmed it.
        vote: (Ballot, bool),
    },
    /// A replica told another one that it gives it its vote.
    Granted {
        /// Who gives it.
        replica: ReplicaId,
        /// To whom.
        ballot: Ballot,
        /// The vote that a power cut would leave.
        durable: Option<Ballot>,
    },
    /// A replica told a leader that it has an entry.
    Acknowledged {
        /// Who has it.
        replica: ReplicaId,
        /// Where it lies.
        at: Position,
        /// The leader of the entry that a power cut would leave at that index; `None` if none.
        durable: Option<Ballot>,
        /// Whether that index is covered by a snapshot, or was written over by a later leader.
        is_excused: bool,
    },
    /// A replica applied a command.
    Applied {
        /// Which.
        replica: ReplicaId,
        /// Index of the entry.
        index: u64,
        /// Term of the entry.
        term: u64,
        /// The leader that appended the entry, if this replica's disk has it already.
        leader: Option<ReplicaId>,
        /// Request id of the command.
        request: RequestId,
        /// The command.
        command: RegisterCommand,
        /// What it came to.
        reply: RegisterReply,
    },
    /// A replica published a state.
    Published {
        /// Which.
        replica: ReplicaId,
        /// Position of the last entry.
        at: Position,
        /// Digest over all entries.
        chain: [u8; 32],
    },
    /// A client asked for something.
    Invoked {
        /// Number of the operation.
        operation: u64,
        /// Request id; `None` for a read.
        request: Option<RequestId>,
        /// The leadership in which it was asked, if it is to happen in no other.
        fence: Option<Ballot>,
    },
    /// A write was acknowledged.
    Written {
        /// Number of the operation.
        operation: u64,
        /// Its request id.
        request: RequestId,
        /// Index of its entry.
        index: u64,
        /// The reply.
        reply: RegisterReply,
        /// Whether it was answered from memory.
        is_duplicate: bool,
    },
    /// A read was answered.
    Read {
        /// Number of the operation.
        operation: u64,
        /// By whom.
        replica: ReplicaId,
        /// Whether it was to be linearizable.
        is_linearizable: bool,
        /// Index of the last entry in what was read.
        index: u64,
        /// The register that was read.
        key: String,
        /// Its value.
        value: Option<u64>,
    },
    /// A client was told that nothing happened.
    Refused {
        /// Number of the operation.
        operation: u64,
        /// Its request id.
        request: RequestId,
    },
    /// A fault, or its end.
    Fault {
        /// What was done, for people.
        what: String,
    },
    /// All faults have ended.
    Healed,
    /// The cluster works again.
    Recovered {
        /// Milliseconds since all faults ended.
        after_ms: u64,
        /// State digests of the replicas that are left.
        digests: Vec<(ReplicaId, u64, [u8; 32])>,
    },
}
