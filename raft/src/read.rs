//! How current a read must be.

use std::time::Duration;

/// How current a read must be, and what is checked before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// The local applied state, as it is.
    Local {
        /// Refuse when no leader was heard for this long; `None` means no limit.
        staleness_max: Option<Duration>,
        /// Wait until this log index is applied here; 0 does not wait.
        min_index: u64,
    },
    /// Wait for everything that was committed when the read arrived.
    Linearizable,
}
