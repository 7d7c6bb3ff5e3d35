//! What was acknowledged is never lost.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::{RequestId, testing::sim::event::Event};

/// What was acknowledged, and what was applied.
#[derive(Default)]
pub(super) struct Acknowledged {
    applied: BTreeMap<RequestId, u64>,
    at: BTreeMap<u64, RequestId>,
    acknowledged: BTreeMap<RequestId, u64>,
    refused: BTreeMap<RequestId, u64>,
    highest: u64,
}

impl Invariant for Acknowledged {
    fn name(&self) -> &'static str {
        "nothing acknowledged is lost"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Applied { index, request, .. } => {
                if let Some(operation) = self.refused.get(request) {
                    return Err(format!("operation {operation} was refused, and happened"));
                }
                self.applied.insert(*request, *index);
                let there = *self.at.entry(*index).or_insert(*request);
                holds(there == *request, || {
                    format!("entry {index} was {there:?}, and then {request:?}")
                })
            }
            Event::Written { operation, request, index, is_duplicate, .. } => {
                let Some(effect) = self.applied.get(request) else {
                    return Err(format!("operation {operation} was acknowledged and not applied"));
                };
                self.acknowledged.insert(*request, *effect);
                self.highest = self.highest.max(*effect);
                let is_there = if *is_duplicate { effect <= index } else { effect == index };
                holds(is_there, || {
                    format!("operation {operation} is at {effect}, but was told {index}")
                })
            }
            Event::Refused { operation, request } => {
                self.refused.insert(*request, *operation);
                holds(!self.applied.contains_key(request), || {
                    format!("operation {operation} was refused, but has happened")
                })
            }
            Event::Recovered { digests, .. } => {
                let short = digests.iter().find(|(_, index, _)| *index < self.highest);
                holds(short.is_none(), || {
                    format!("entry {} was acknowledged; in the end: {digests:?}", self.highest)
                })
            }
            _ => Ok(()),
        }
    }
}
