//! What is fenced to a leadership is applied as an entry of that leadership, or not at all.
//!
//! A term may see two leaders, one after the other, so the term alone does not say which.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::{
    RequestId,
    testing::sim::event::{Ballot, Event},
};

/// What each request is fenced to.
#[derive(Default)]
pub(super) struct Fenced(BTreeMap<RequestId, Ballot>);

impl Invariant for Fenced {
    fn name(&self) -> &'static str {
        "what is fenced keeps to its leadership"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Invoked { request: Some(request), fence: Some(fence), .. } => {
                self.0.insert(*request, *fence);
                Ok(())
            }
            Event::Applied { index, request, term, leader, .. } => {
                let Some(fence) = self.0.get(request) else { return Ok(()) };
                let is_same = *term == fence.0 && leader.is_none_or(|leader| leader == fence.1);
                holds(is_same, || {
                    format!("at {index}, of leader {leader:?} in term {term}, but for {fence:?}")
                })
            }
            _ => Ok(()),
        }
    }
}
