//! Keeps what happens to every request during an outage from filling the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets so many through in a second, and no more.
#[derive(Debug)]
pub struct Throttle {
    per_second: u32,
    present: Mutex<Option<(Instant, u32)>>,
}

impl Throttle {
    /// A throttle that lets `per_second` through.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, present: Mutex::new(None) }
    }

    /// Whether one more may pass now.
    pub fn passes(&self) -> bool {
        self.passes_at(Instant::now())
    }

    fn passes_at(&self, now: Instant) -> bool {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, passed) = match *present {
            Some((begun, passed)) if now.duration_since(begun) < Duration::from_secs(1) => {
                (begun, passed)
            }
            Some(_) | None => (now, 0),
        };
        *present = Some((begun, passed.saturating_add(1)));
        passed < self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pass_in_a_second() {
        let throttle = Throttle::new(2);
        let begun = Instant::now();
        let at = |ms| throttle.passes_at(begun + Duration::from_millis(ms));
        assert_eq!([at(0), at(1), at(2), at(999)], [true, true, false, false]);
        assert_eq!([at(1_000), at(1_500), at(1_999)], [true, true, false]);
    }
}
