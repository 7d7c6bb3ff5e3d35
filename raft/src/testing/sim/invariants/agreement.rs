//! In the end all replicas have the same state.

use super::{Invariant, holds};
use crate::testing::sim::event::Event;

/// Nothing to remember: the event says it all.
pub(super) struct Agreement;

impl Invariant for Agreement {
    fn name(&self) -> &'static str {
        "all replicas agree in the end"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        let Event::Recovered { digests, .. } = event else { return Ok(()) };
        let Some((_, index, digest)) = digests.first() else {
            return Err("no replica is left".to_owned());
        };
        let is_same = digests.iter().all(|(_, at, found)| (at, found) == (index, digest));
        holds(is_same, || format!("{digests:?}"))
    }
}
