//! At one index all replicas apply the same entry, come to the same reply and to the same state.

use std::collections::BTreeMap;

use super::{Invariant, holds};
use crate::{
    RequestId,
    testing::{
        register::{RegisterCommand, RegisterReply},
        sim::event::{Event, Position},
    },
};

/// What the first replica to get there came to.
#[derive(Default)]
pub(super) struct StateMachine {
    applied: BTreeMap<u64, (RequestId, RegisterCommand, RegisterReply)>,
    published: BTreeMap<u64, (Position, [u8; 32])>,
}

impl Invariant for StateMachine {
    fn name(&self) -> &'static str {
        "one index, one entry, one state"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Applied { replica, index, request, command, reply, .. } => {
                let found = (*request, command.clone(), reply.clone());
                let first = self.applied.entry(*index).or_insert_with(|| found.clone());
                holds(*first == found, || {
                    format!("at {index} replica {replica} applied {found:?}, another {first:?}")
                })
            }
            Event::Published { replica, at, chain } => {
                let first = self.published.entry(at.1).or_insert((*at, *chain));
                holds(*first == (*at, *chain), || {
                    format!(
                        "replica {replica} published another state at {at:?} than {:?}",
                        first.0
                    )
                })
            }
            _ => Ok(()),
        }
    }
}
