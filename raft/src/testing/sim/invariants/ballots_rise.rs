//! Leaders take over from each other in the order of their ballots: along the committed log the
//! ballot never falls, and a ballot has one leader, the replica it names.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::testing::sim::event::{Ballot, Event};

/// The ballot of each committed entry that was seen.
#[derive(Default)]
pub(super) struct BallotsRise(BTreeMap<u64, Ballot>);

impl Invariant for BallotsRise {
    fn name(&self) -> &'static str {
        "leaders follow each other in order"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        let Event::Published { at: (ballot, index), .. } = event else { return Ok(()) };
        self.0.insert(*index, *ballot);
        let before = self.0.range(..index).next_back();
        holds(before.is_none_or(|(_, before)| before <= ballot), || {
            format!("entry {index} is of {ballot:?}, one before it of {before:?}")
        })?;
        let after = self.0.range(index + 1..).next();
        holds(after.is_none_or(|(_, after)| after >= ballot), || {
            format!("entry {index} is of {ballot:?}, one after it of {after:?}")
        })
    }
}
