//! The one place for wall time and randomness.
//!
//! Everything else takes time and random picks as arguments, so that what is replicated cannot
//! depend on them by accident.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 if the clock is set before it.
#[must_use]
pub fn now_ms() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "the one reading of the wall clock")]
    let now = SystemTime::now();
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits.
#[must_use]
pub fn random_id() -> [u8; 16] {
    #[allow(clippy::disallowed_methods, reason = "the one source of randomness")]
    rand::random()
}

/// 256 random bits.
#[must_use]
pub fn random_secret() -> [u8; 32] {
    #[allow(clippy::disallowed_methods, reason = "the one source of randomness")]
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_of_this_century_and_ids_differ() {
        assert!(now_ms() > 1_700_000_000_000);
        assert_ne!(random_id(), random_id());
    }
}
