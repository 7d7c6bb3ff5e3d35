//! The engine's plain types that the program's edges need: configuration in, status out.

pub use quorate_raft::{
    ArchiveStream, Compacted, Config, Digest, EntryKind, LIBRARY_LOG_FILTER, Leadership,
    PeerConfig, PeerTls, RawEntry, ReplicaId, Role, StartError, Status, Timers, TransferError,
    config::{SnapshotPolicy, WindowLimits},
    offline::Archive,
};
