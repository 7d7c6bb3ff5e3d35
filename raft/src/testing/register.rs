//! A toy machine for tests: named counters that can be set, added to and compared.
//!
//! It has every property the engine relies on (O(1) clone, ordered export, total `apply`) and
//! nothing else, so that a failing engine test never is about the machine.

use std::io;

use serde::{Deserialize, Serialize};

use crate::{Context, Machine, RecordSink, RecordSource};

/// Record kind of one register.
const KIND_REGISTER: u8 = 1;
/// Record kind of the number of commands applied.
const KIND_COUNT: u8 = 2;

/// Registers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    values: imbl::OrdMap<String, u64>,
    commands: u64,
    /// Differs between replicas without being part of the state; see [`RegisterCommand::Quirk`].
    quirk: u64,
}

impl Registers {
    /// No registers, on a replica that goes wrong: what [`RegisterCommand::Quirk`] does there
    /// depends on the replica. A state that comes as a snapshot goes wrong no more.
    #[must_use]
    pub fn with_quirk(quirk: u64) -> Self {
        Self { quirk, ..Self::default() }
    }

    /// The value of a register, if it was ever set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<u64> {
        self.values.get(key).copied()
    }

    /// How many commands reached this machine: a command that is applied twice shows here.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// All registers in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.values.iter().map(|(key, value)| (key.as_str(), *value))
    }
}

/// What may be asked of the registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegisterCommand {
    /// Sets a register.
    Put {
        /// Its name.
        key: String,
        /// Its new value.
        value: u64,
    },
    /// Adds to a register, wrapping; an absent one counts as zero.
    Add {
        /// Its name.
        key: String,
        /// What is added.
        amount: u64,
    },
    /// Reads through the log.
    Get {
        /// The register's name.
        key: String,
    },
    /// Sets a register if it has the expected value.
    Swap {
        /// Its name.
        key: String,
        /// The value it must have; `None` means absent.
        expected: Option<u64>,
        /// Its new value.
        value: u64,
    },
    /// Removes a register.
    Remove {
        /// Its name.
        key: String,
    },
    /// Asks for a reply of that many bytes; for the bounds of the request window.
    Fill {
        /// Size of the reply in bytes.
        bytes: u32,
    },
    /// Sets a register to something that does not follow from the log, as a command does that
    /// looks at a clock or at a hash map: the defect that the comparison of digests is for.
    Quirk {
        /// Its name.
        key: String,
    },
}

/// What a register command came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegisterReply {
    /// The register's value after the command; `None` if it is absent.
    Value(Option<u64>),
    /// The register did not have the expected value; nothing changed.
    Mismatch(Option<u64>),
    /// The filling asked for.
    Filling(Vec<u8>),
}

/// A register got a value, or lost it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterEvent {
    /// Its name.
    pub key: String,
    /// Its value now.
    pub value: Option<u64>,
}

impl Machine for Registers {
    type Command = RegisterCommand;
    type Reply = RegisterReply;
    type Event = RegisterEvent;

    fn apply(
        &mut self,
        _context: &Context<'_>,
        command: RegisterCommand,
        events: &mut Vec<RegisterEvent>,
    ) -> RegisterReply {
        self.commands += 1;
        match command {
            RegisterCommand::Put { key, value } => self.set(key, value, events),
            RegisterCommand::Add { key, amount } => {
                let value = self.get(&key).unwrap_or(0).wrapping_add(amount);
                self.set(key, value, events)
            }
            RegisterCommand::Get { key } => RegisterReply::Value(self.get(&key)),
            RegisterCommand::Swap { key, expected, value } => {
                let found = self.get(&key);
                if found == expected {
                    self.set(key, value, events)
                } else {
                    RegisterReply::Mismatch(found)
                }
            }
            RegisterCommand::Remove { key } => {
                self.values.remove(&key);
                events.push(RegisterEvent { key, value: None });
                RegisterReply::Value(None)
            }
            RegisterCommand::Quirk { key } => {
                // The reply tells nothing, so that the state alone gives it away.
                self.values.insert(key, self.quirk);
                RegisterReply::Value(None)
            }
            RegisterCommand::Fill { bytes } => {
                RegisterReply::Filling(vec![0; usize::try_from(bytes.min(1 << 20)).unwrap_or(0)])
            }
        }
    }

    fn export(&self, sink: &mut dyn RecordSink) -> io::Result<()> {
        sink.put(KIND_COUNT, &self.commands.to_le_bytes())?;
        for (key, value) in &self.values {
            let mut record = value.to_le_bytes().to_vec();
            record.extend_from_slice(key.as_bytes());
            sink.put(KIND_REGISTER, &record)?;
        }
        Ok(())
    }

    fn import(source: &mut dyn RecordSource) -> io::Result<Self> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut registers = Self::default();
        while let Some((kind, record)) = source.next_record()? {
            let (word, rest) = record
                .split_first_chunk::<8>()
                .ok_or_else(|| damaged("a register record is too short"))?;
            let word = u64::from_le_bytes(*word);
            match kind {
                KIND_COUNT => registers.commands = word,
                KIND_REGISTER => {
                    let key =
                        str::from_utf8(rest).map_err(|_| damaged("a register has no name"))?;
                    registers.values.insert(key.to_owned(), word);
                }
                _ => return Err(damaged("a record of an unknown kind")),
            }
        }
        Ok(registers)
    }
}

impl Registers {
    fn set(&mut self, key: String, value: u64, events: &mut Vec<RegisterEvent>) -> RegisterReply {
        self.values.insert(key.clone(), value);
        events.push(RegisterEvent { key, value: Some(value) });
        RegisterReply::Value(Some(value))
    }
}
