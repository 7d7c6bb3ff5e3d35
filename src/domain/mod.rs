//! The replicated state and every rule about it. Pure: no clock, randomness, files, sockets,
//! environment or hash-map order; everything that varies arrives in the command.
//!
//! `apply` dispatches to one folder a family and nothing more. A new family is one more folder,
//! one variant in each enum of this file, and its record kinds in [`State::export`].

pub mod system;
pub mod undermoon;

use serde::{Deserialize, Serialize};

/// What `apply` may know besides the state and the command. Equal on every replica.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Log index of the entry.
    pub index: u64,
    /// Term of the leader that appended the entry.
    pub term: u64,
    /// Milliseconds since the Unix epoch; never falls.
    pub time_ms: u64,
    /// Who asked, as the edge named it; may be empty.
    pub actor: &'a str,
}

/// Everything that is replicated. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Foundation and feature level.
    pub system: system::State,
    /// The Redis proxy broker.
    pub undermoon: undermoon::State,
}

/// A change that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// About the cluster of replicas itself.
    System(system::Command),
    /// About the Redis proxy broker.
    Undermoon(undermoon::Command),
}

/// The answer to a [`Command`], refusals included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Command::System`].
    System(Result<system::Reply, system::Rejection>),
    /// To [`Command::Undermoon`].
    Undermoon(Result<undermoon::Reply, undermoon::Rejection>),
}

/// A fact that followed from a command; feeds watchers of this replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The replicated settings of a family changed.
    SettingsChanged,
}
