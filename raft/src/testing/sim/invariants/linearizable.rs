//! Writes and linearizable reads happen in one order, each between its call and its answer.
//!
//! The order is that of the log. What must be shown is that it agrees with what clients saw: an
//! operation that began after another had ended lies behind it, and every answer is what the
//! commands up to its place come to.

use std::collections::BTreeMap;

use super::{Invariant, holds, model::Model};
use crate::{RequestId, testing::sim::event::Event};

/// The order so far.
#[derive(Default)]
pub(super) struct Linearizable {
    model: Model,
    applied: BTreeMap<RequestId, u64>,
    /// The last index that some finished operation has shown or made.
    shown: u64,
    /// What was shown when each operation began.
    began: BTreeMap<u64, u64>,
}

impl Invariant for Linearizable {
    fn name(&self) -> &'static str {
        "reads and writes are linearizable"
    }

    fn saw(&mut self, _now_ms: u64, event: &Event) -> Result<(), String> {
        self.model.saw(event)?;
        match event {
            Event::Applied { index, request, .. } => {
                self.applied.entry(*request).or_insert(*index);
                Ok(())
            }
            Event::Invoked { operation, .. } => {
                self.began.insert(*operation, self.shown);
                Ok(())
            }
            Event::Written { operation, request, .. } => {
                let effect = self.applied.get(request).copied().unwrap_or_default();
                let floor = self.began.remove(operation).unwrap_or_default();
                self.shown = self.shown.max(effect);
                holds(effect > floor, || {
                    format!("write {operation} lies at {effect}; {floor} was shown before it began")
                })
            }
            Event::Read { operation, is_linearizable: true, index, key, value, .. } => {
                let floor = self.began.remove(operation).unwrap_or_default();
                self.shown = self.shown.max(*index);
                holds(*index >= floor, || {
                    format!("read {operation} shows {index}; {floor} was shown before it began")
                })?;
                let wanted = self.model.value(key, *index);
                holds(wanted == *value, || {
                    format!("read {operation} of {key} at {index}: {value:?}, not {wanted:?}")
                })
            }
            _ => Ok(()),
        }
    }
}
