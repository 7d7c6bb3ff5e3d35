//! Replicates any deterministic machine over three or five replicas.
//!
//! The crate knows no API family: a [`Machine`] is an opaque state with commands and replies.
//! One proposal becomes one entry; the leader appends it, one group-committed fsync makes it
//! durable, a quorum commits it, every replica applies it, and only then the proposer hears.
//!
//! Begin reading at [`machine`] (what is replicated), then [`entry`] (what an entry carries),
//! then [`node`] (what a replica can be asked).
//!
//! It never acknowledges before the fsync, never retries a failed fsync, and never serves a
//! state from before a restart.

pub mod agreement;
pub mod config;
pub mod entry;
pub mod error;
pub mod handles;
pub mod machine;
pub mod members;
pub mod metrics;
pub mod node;
pub mod offline;
pub mod read;
pub mod replicated;
pub mod status;
pub mod throttle;
pub mod tls;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub(crate) mod membership;
pub(crate) mod rt;
pub(crate) mod storage;
pub(crate) mod transport;
pub(crate) mod types;
pub(crate) mod window;

pub use agreement::{Agreement, Quarantine};
pub use config::{Config, JoinConfig, LevelConfig, PeerConfig, Timers};
pub use entry::{Proposal, RequestId};
pub use error::{LevelUnknown, ProposeError, ReadError, StartError, TransferError};
pub use machine::{Context, Machine, RecordSink, RecordSource};
pub use members::{
    LevelRaised, Member, MemberChange, MemberChanged, MemberError, MemberNote, MemberVerb, Members,
    Requester,
};
pub use node::{Applied, ArchiveStream, Digest, Leadership, Node, View};
pub use read::ReadMode;
pub use replicated::{AppliedEvents, Replicated as Published};
pub use status::{LeaderChange, Role, Status};
pub use storage::{
    history::{Compacted, EventPage},
    log::{EntryKind, RawEntry},
};
pub use tls::PeerTls;

/// Log filter for the consensus library below this crate, which tells every step it takes, and
/// every heartbeat that a member who is away does not answer.
pub const LIBRARY_LOG_FILTER: &str = "openraft=warn,openraft::core::heartbeat=error";

/// Identifies a replica for the whole life of a cluster; never reused.
pub type ReplicaId = u64;
