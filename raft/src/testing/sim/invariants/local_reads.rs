//! Local reads show what is committed, and never go back on one replica, restarts included.

use std::collections::BTreeMap;

use super::{Invariant, holds, model::Model};
use crate::{ReplicaId, testing::sim::event::Event};

/// What each replica has shown.
#[derive(Default)]
pub(super) struct LocalReads {
    model: Model,
    shown: BTreeMap<ReplicaId, u64>,
    /// How far each replica had shown its state when an operation began.
    began: BTreeMap<u64, BTreeMap<ReplicaId, u64>>,
}

impl Invariant for LocalReads {
    fn name(&self) -> &'static str {
        "local reads are committed and never go back"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        self.model.saw(event)?;
        match event {
            Event::Invoked { operation, request: None, .. } => {
                self.began.insert(*operation, self.shown.clone());
                Ok(())
            }
            Event::Read { operation, replica, index, key, value, .. } => {
                let began = self.began.remove(operation).unwrap_or_default();
                let floor = began.get(replica).copied().unwrap_or_default();
                let shown = self.shown.entry(*replica).or_default();
                *shown = (*shown).max(*index);
                holds(*index >= floor, || {
                    format!("replica {replica} shows {index}, and had shown {floor} before")
                })?;
                let wanted = self.model.value(key, *index);
                holds(wanted == *value, || {
                    format!("replica {replica} shows {key} at {index}: {value:?}, not {wanted:?}")
                })
            }
            _ => Ok(()),
        }
    }
}
