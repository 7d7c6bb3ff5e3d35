//! Votes only grow, over all restarts; what a process has applied only grows while it runs.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::{
    ReplicaId,
    testing::sim::event::{Ballot, Event},
};

/// The last of each replica.
#[derive(Default)]
pub(super) struct Monotonic {
    votes: BTreeMap<ReplicaId, (Ballot, bool)>,
    led: BTreeMap<ReplicaId, u64>,
    published: BTreeMap<ReplicaId, u64>,
}

impl Invariant for Monotonic {
    fn name(&self) -> &'static str {
        "votes and applied entries only grow"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Starts { replica } => {
                self.published.remove(replica);
                Ok(())
            }
            Event::Crashed { replica, vote: Some(vote) } => {
                // A vote nobody was told of may be gone; one that was told is judged elsewhere.
                self.votes.insert(*replica, *vote);
                Ok(())
            }
            Event::Voted { replica, vote } => {
                let before = self.votes.insert(*replica, *vote);
                holds(before.is_none_or(|before| before <= *vote), || {
                    format!("replica {replica} voted {vote:?} after {before:?}")
                })
            }
            Event::Leads { replica, term, .. } => {
                let before = self.led.insert(*replica, *term).unwrap_or_default();
                holds(before <= *term, || {
                    format!("replica {replica} leads in term {term} after term {before}")
                })
            }
            Event::Published { replica, at, .. } => {
                let before = self.published.insert(*replica, at.1).unwrap_or_default();
                holds(before <= at.1, || {
                    format!("replica {replica} published {} after {before}", at.1)
                })
            }
            _ => Ok(()),
        }
    }
}
