//! Two logs that have an entry of one leader at one index have the same entries up to there.
//!
//! That follows if such entries are equal, and the entries before them are of the same leader.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::testing::sim::event::{Ballot, Event, Position};

/// What was found at each position.
#[derive(Default)]
pub(super) struct LogMatching(BTreeMap<Position, (u64, Option<Ballot>)>);

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "logs match"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        let Event::Stored { replica, at, digest, previous } = event else { return Ok(()) };
        let known = self.0.entry(*at).or_insert((*digest, *previous));
        let (known_digest, known_previous) = *known;
        known.1 = known.1.or(*previous);
        holds(known_digest == *digest, || {
            format!("replica {replica} has another entry than others at {at:?}")
        })?;
        let is_same = previous.is_none() || known_previous.is_none() || known_previous == *previous;
        holds(is_same, || {
            format!("before {at:?} replica {replica} has {previous:?}, others {known_previous:?}")
        })
    }
}
