//! A request has its effect at one index at most, however often it is tried.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::{RequestId, testing::sim::event::Event};

/// Where each request had its effect.
#[derive(Default)]
pub(super) struct AtMostOnce(BTreeMap<RequestId, u64>);

impl Invariant for AtMostOnce {
    fn name(&self) -> &'static str {
        "a request happens at most once"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        let Event::Applied { replica, index, request, .. } = event else { return Ok(()) };
        let first = *self.0.entry(*request).or_insert(*index);
        holds(first == *index, || {
            format!(
                "replica {replica} applied {request:?} at {index}, and it was applied at {first}"
            )
        })
    }
}
