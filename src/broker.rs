//! What the edges of the program see of the replicated log: propose, view, watch.

use std::{ops::Deref, sync::Arc, time::Duration};

use quorate_raft::{ProposeError, ReadError, ReadMode, RequestId, Status};
use tokio::time::Instant;

use crate::domain::{Command, Reply, State};

/// One call of a client, as far as the log cares.
#[derive(Clone, Debug)]
pub struct Call {
    /// Given by the client, or made up by the broker when `None`.
    pub request_id: Option<RequestId>,
    /// Who calls, for the audit trail.
    pub actor: String,
    /// When the caller must have an answer.
    pub deadline: Instant,
}

/// A command that was committed and applied.
#[derive(Clone, Debug)]
pub struct Done {
    /// The state machine's answer, refusals included.
    pub reply: Reply,
    /// Log index of the entry.
    pub index: u64,
    /// Whether this replica had applied the entry before the deadline; if not, the command is
    /// committed all the same but a read here may not show it yet.
    pub is_visible: bool,
}

/// Where a replica stands; travels in the `Quorate-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Applied index of the state that was read.
    pub index: u64,
    /// Present term.
    pub term: u64,
    /// Known leader.
    pub leader: Option<u64>,
    /// Milliseconds since this replica knew itself current.
    pub age_ms: u64,
}
