//! A replica stops by itself, or refuses to start, only if something was done to it.

use super::{Invariant, holds};
use crate::testing::sim::event::Event;

/// Nothing to remember: the event says it all.
pub(super) struct StopsForCause;

impl Invariant for StopsForCause {
    fn name(&self) -> &'static str {
        "a replica stops for a cause"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        let Event::GaveUp { replica, message, is_expected } = event else { return Ok(()) };
        holds(*is_expected, || format!("replica {replica} gave up: {message}"))
    }
}
