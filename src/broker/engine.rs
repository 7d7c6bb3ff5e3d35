//! The engine's plain types that the program's edges need: configuration in, status out.

pub use quorate_raft::{
    Agreement, ArchiveStream, Compacted, Config, Digest, EntryKind, JoinConfig, LIBRARY_LOG_FILTER,
    LeaderChange, Leadership, LevelConfig, LevelRaised, Member, MemberChange, MemberChanged,
    MemberError, Members, PeerConfig, PeerTls, Quarantine, RawEntry, ReplicaId, Role, StartError,
    Status, Timers, TransferError,
    config::{SnapshotPolicy, WindowLimits},
    members::{Health, MemberRole, Successor},
    metric_table,
    metrics::{Kind as MetricKind, Label as MetricLabel, METRICS, Metric},
    offline::Archive,
    status::PeerStatus,
    throttle::Throttle,
};
