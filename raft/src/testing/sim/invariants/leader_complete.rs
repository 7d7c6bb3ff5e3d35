//! Whoever leads has everything that was committed before it was elected.

use std::collections::BTreeSet;

use super::{Invariant, holds};
use crate::testing::sim::event::{Event, Position};

/// What is committed.
#[derive(Default)]
pub(super) struct LeaderComplete {
    committed: BTreeSet<Position>,
}

impl Invariant for LeaderComplete {
    fn name(&self) -> &'static str {
        "the leader has all that is committed"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Published { at, .. } => {
                self.committed.insert(*at);
                Ok(())
            }
            Event::Leads { replica, term, last } => {
                let own = (*term, *replica);
                let before = ((own.0, own.1), 0);
                let Some(wanted) = self.committed.range(..before).next_back() else {
                    return Ok(());
                };
                let has_all = last.is_some_and(|last| last >= *wanted && last.1 >= wanted.1);
                holds(has_all, || {
                    format!("{own:?} leads with a log up to {last:?}; committed is {wanted:?}")
                })
            }
            _ => Ok(()),
        }
    }
}
