//! The catalogue: every fault by name.

/// A fault that is done to a running cluster. Each has a test of its name in `tests/chaos.rs`
/// and a line in `docs/chaos.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The leader is ended without notice.
    Kill9,
    /// The leader stands still for longer than its lease.
    SigstopAndResume,
    /// A replica is ended and started again and again.
    RestartLoop,
    /// A minority and a majority do not hear each other.
    SymmetricPartition,
    /// Nothing from one replica reaches another one, but the other way round.
    AsymmetricPartition,
    /// The leader hears nobody and nobody hears it; clients still reach it.
    IsolatedLeader,
    /// The leader and another replica do not hear each other, but one that hears both.
    BridgePartition,
    /// Every message to and from the leader takes longer.
    SlowLink,
    /// Packets get lost: what is sent waits for its repetition, and connections break.
    PacketLoss,
    /// Wall clocks jump an hour ahead and back.
    ClockJump,
    /// The leader's disk is full.
    FullDisk,
    /// Writes to the leader's disk fail.
    FailingWrite,
    /// Syncs of the leader's disk fail.
    FailingFsync,
    /// The leader ends in the middle of a write to its log.
    TornTail,
    /// One bit of a stopped replica's log is another.
    FlippedBitInLog,
    /// One bit of a stopped replica's newest snapshot is another.
    FlippedBitInSnapshot,
    /// Each sync of the leader takes a long time.
    SlowDisk,
    /// Syncs of the leader do not return.
    HangingFsync,
    /// Thousands of connections that say nothing.
    ConnectionFlood,
    /// Connections of which only one end knows that they are gone.
    HalfOpenConnections,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Kill9,
        Self::SigstopAndResume,
        Self::RestartLoop,
        Self::SymmetricPartition,
        Self::AsymmetricPartition,
        Self::IsolatedLeader,
        Self::BridgePartition,
        Self::SlowLink,
        Self::PacketLoss,
        Self::ClockJump,
        Self::FullDisk,
        Self::FailingWrite,
        Self::FailingFsync,
        Self::TornTail,
        Self::FlippedBitInLog,
        Self::FlippedBitInSnapshot,
        Self::SlowDisk,
        Self::HangingFsync,
        Self::ConnectionFlood,
        Self::HalfOpenConnections,
    ];

    /// Its name on the command line and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill9 => "kill-9",
            Self::SigstopAndResume => "sigstop-and-resume",
            Self::RestartLoop => "restart-loop",
            Self::SymmetricPartition => "symmetric-partition",
            Self::AsymmetricPartition => "asymmetric-partition",
            Self::IsolatedLeader => "isolated-leader",
            Self::BridgePartition => "bridge-partition",
            Self::SlowLink => "slow-link",
            Self::PacketLoss => "packet-loss",
            Self::ClockJump => "clock-jump",
            Self::FullDisk => "full-disk",
            Self::FailingWrite => "failing-write",
            Self::FailingFsync => "failing-fsync",
            Self::TornTail => "torn-tail",
            Self::FlippedBitInLog => "flipped-bit-in-log",
            Self::FlippedBitInSnapshot => "flipped-bit-in-snapshot",
            Self::SlowDisk => "slow-disk",
            Self::HangingFsync => "hanging-fsync",
            Self::ConnectionFlood => "connection-flood",
            Self::HalfOpenConnections => "half-open-connections",
        }
    }

    /// Name of its test.
    pub fn test(self) -> String {
        self.name().replace('-', "_")
    }

    /// The fault of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}
