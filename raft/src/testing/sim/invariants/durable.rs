//! What a replica promises another one is on its disk by then, and survives a power cut.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::{
    ReplicaId,
    testing::sim::event::{Ballot, Event},
};

/// The highest ballot each replica has given its vote to.
#[derive(Default)]
pub(super) struct Durable(BTreeMap<ReplicaId, Ballot>);

impl Invariant for Durable {
    fn name(&self) -> &'static str {
        "a promise is on the disk"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Granted { replica, ballot, durable } => {
                let promised = self.0.entry(*replica).or_insert(*ballot);
                *promised = (*promised).max(*ballot);
                holds(durable.is_some_and(|durable| durable >= *ballot), || {
                    format!("replica {replica} voted for {ballot:?}; its disk has {durable:?}")
                })
            }
            Event::Acknowledged { replica, at, durable, is_excused } => {
                let is_there = durable.is_some_and(|durable| durable >= at.0);
                holds(is_there || *is_excused, || {
                    format!("replica {replica} acknowledged {at:?}; its disk has {durable:?} there")
                })
            }
            Event::Crashed { replica, vote } => {
                let Some(promised) = self.0.get(replica) else { return Ok(()) };
                holds(vote.is_some_and(|(ballot, _)| ballot >= *promised), || {
                    format!("replica {replica} voted for {promised:?}; the crash left {vote:?}")
                })
            }
            _ => Ok(()),
        }
    }
}
