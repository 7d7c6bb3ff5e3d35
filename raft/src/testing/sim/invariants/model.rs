//! What each register was after each entry, computed beside the engine.

use std::collections::BTreeMap;

use crate::testing::{
    register::{RegisterCommand, RegisterReply},
    sim::event::Event,
};

/// The values of all registers, at every index.
#[derive(Default)]
pub(super) struct Model {
    values: BTreeMap<String, BTreeMap<u64, Option<u64>>>,
    frontier: u64,
}

impl Model {
    /// Takes what a replica applied, if it is the first one to do so.
    ///
    /// # Errors
    /// If the reply is not what the commands so far come to.
    pub(super) fn saw(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Applied { index, command, reply, .. } if *index > self.frontier => {
                self.frontier = *index;
                let wanted = self.apply(*index, command);
                match wanted {
                    Some(wanted) if wanted != *reply => {
                        Err(format!("{command:?} at {index} came to {reply:?}, not {wanted:?}"))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// The value of a register after an entry.
    pub(super) fn value(&self, key: &str, index: u64) -> Option<u64> {
        let versions = self.values.get(key)?;
        versions.range(..=index).next_back().and_then(|(_, value)| *value)
    }

    fn apply(&mut self, index: u64, command: &RegisterCommand) -> Option<RegisterReply> {
        match command {
            RegisterCommand::Put { key, value } => Some(self.set(key, index, Some(*value))),
            RegisterCommand::Add { key, amount } => {
                let sum = self.value(key, index).unwrap_or(0).wrapping_add(*amount);
                Some(self.set(key, index, Some(sum)))
            }
            RegisterCommand::Get { key } => Some(RegisterReply::Value(self.value(key, index))),
            RegisterCommand::Swap { key, expected, value } => {
                let found = self.value(key, index);
                Some(match found == *expected {
                    true => self.set(key, index, Some(*value)),
                    false => RegisterReply::Mismatch(found),
                })
            }
            RegisterCommand::Remove { key } => Some(self.set(key, index, None)),
            RegisterCommand::Fill { .. } | RegisterCommand::Quirk { .. } => None,
        }
    }

    fn set(&mut self, key: &str, index: u64, value: Option<u64>) -> RegisterReply {
        self.values.entry(key.to_owned()).or_default().insert(index, value);
        RegisterReply::Value(value)
    }
}
