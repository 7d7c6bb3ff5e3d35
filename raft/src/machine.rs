//! The state that is replicated: what a machine must offer to be run by this crate.

use std::{fmt::Debug, io};

use serde::{Serialize, de::DeserializeOwned};

use crate::{MemberNote, RequestId};

/// What an entry carries besides its command, as `apply` sees it.
///
/// Equal on every replica, so a machine may use all of it.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Log index of the entry; grows by at least one from call to call.
    pub index: u64,
    /// Term of the leader that appended the entry.
    pub term: u64,
    /// Milliseconds since the Unix epoch, as the leader stamped them; never falls from one entry
    /// to the next, even if a new leader's clock is behind.
    pub time_ms: u64,
    /// Who asked, as the edge named it; empty if unknown.
    pub actor: &'a str,
    /// The request id of the proposal.
    pub request_id: RequestId,
}

/// A deterministic state machine.
///
/// `Clone` must be O(1) (structure-sharing collections): a clone is published to readers after
/// every batch of entries, and a snapshot is written from one while `apply` goes on.
pub trait Machine: Clone + Send + Sync + 'static {
    /// A change that may be asked for. Encoded with `postcard`: enum variants are only ever
    /// appended, fields never reordered, so that old logs decode for ever.
    type Command: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    /// The answer to a command, refusals included. Same encoding rules as the command.
    type Reply: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static;
    /// A fact that followed from a command, for watchers on this replica.
    type Event: Clone + Debug + Send + Sync + 'static;

    /// Applies one command. Total: it must not panic on any command that decodes, and must not
    /// read a clock, randomness, the environment, or the iteration order of a hash map.
    fn apply(
        &mut self,
        context: &Context<'_>,
        command: Self::Command,
        events: &mut Vec<Self::Event>,
    ) -> Self::Reply;

    /// The feature level in use: meanings above it may not be written yet, because a member may
    /// run a program that does not know them. Raised by a command alone, never lowered.
    fn feature_level(&self) -> u64 {
        0
    }

    /// The highest feature level this program knows.
    #[must_use]
    fn level_known_max() -> u64 {
        u64::MAX
    }

    /// The lowest feature level whose programs can apply a command. A replica that knows no such
    /// level stops before it, rather than come to another state than the others.
    fn level_needed(command: &Self::Command) -> u64 {
        let _ = command;
        0
    }

    /// The command that raises the feature level; `None` for a machine without levels.
    #[must_use]
    fn raise_to(level: u64) -> Option<Self::Command> {
        let _ = level;
        None
    }

    /// The command that writes down what came of a wish to change the members, for those who ask
    /// later who did it; `None` for a machine that keeps no such record.
    #[must_use]
    fn note_members(note: &MemberNote) -> Option<Self::Command> {
        let _ = note;
        None
    }

    /// Writes the whole state as records, in an order that depends on the state alone.
    ///
    /// # Errors
    /// Only what the sink returns.
    fn export(&self, sink: &mut dyn RecordSink) -> io::Result<()>;

    /// Builds the state from the records of [`Machine::export`].
    ///
    /// # Errors
    /// `InvalidData` if a record does not decode; whatever the source returns.
    fn import(source: &mut dyn RecordSource) -> io::Result<Self>;
}

/// Takes the records of a state one by one.
pub trait RecordSink {
    /// Adds a record; `kind` is the machine's own (0 to 127), `bytes` at most 64 MiB.
    ///
    /// # Errors
    /// Whatever writing returns.
    fn put(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()>;
}

/// Gives back the records of a state in the order they were put.
pub trait RecordSource {
    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// `InvalidData` for a record that is damaged; whatever reading returns.
    fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>>;
}
