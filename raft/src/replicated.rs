//! The replicated state: the machine, and what the engine must remember beside it.
//!
//! Everything here follows from the log alone. A value is published to readers after each batch
//! of entries and is the source of snapshots; cloning it is O(1).

use std::{
    collections::BTreeSet,
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use bytes::Bytes;
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Context, LevelUnknown, Machine, RecordSink, RecordSource, ReplicaId,
    config::WindowLimits,
    entry,
    storage::{
        log::format::payload_of,
        wire::{
            damaged, decode_stored_membership, encode_stored_membership, leader, term_and_node,
        },
    },
    types::{Entry, LogId, Outcome, Payload, StoredMembership},
    window::{Answered, Lookup, Window, hash_command},
};

/// Record of a snapshot: position, membership, time and the like.
pub(crate) const KIND_HEAD: u8 = 128;
/// Record of a snapshot: one remembered request.
pub(crate) const KIND_ANSWERED: u8 = 129;
/// Kinds from here on are the engine's, those below the machine's.
const KIND_ENGINE_MIN: u8 = 128;

/// The replicated state as of one applied entry.
#[derive(Clone)]
pub struct Replicated<M> {
    machine: M,
    applied: Option<LogId>,
    membership: Arc<StoredMembership>,
    time_ms: u64,
    window: Window,
    log_chain: [u8; 32],
    /// Replicas that were removed. Their ids are never given out again.
    retired: Arc<BTreeSet<ReplicaId>>,
    /// Entries may leave indexes out: only for the storage suite of the consensus library, which
    /// applies such entries.
    accepts_gaps: bool,
    /// Highest feature level this replica applies; its own, no part of the state.
    level_max: u64,
}

/// What one batch of entries led to, for watchers on this replica.
#[derive(Clone, Debug)]
pub struct AppliedEvents<E> {
    /// Index of the last entry of the batch; published before the events are sent.
    pub index: u64,
    /// In the order in which they happened.
    pub events: Vec<E>,
}

/// A committed entry cannot be applied. The replica must stop: going on would leave it different
/// from the others.
#[derive(Debug, thiserror::Error)]
#[error("committed entry {index} cannot be applied: {reason}")]
pub(crate) struct ApplyError {
    /// The entry.
    index: u64,
    /// Why, and what to do.
    reason: String,
}

/// The first record of a snapshot. Encoded with `postcard`: fields are never reordered.
#[derive(Serialize, Deserialize)]
pub(crate) struct Head {
    /// Term, replica and index.
    pub(crate) applied: Option<(u64, ReplicaId, u64)>,
    /// The membership in force, encoded.
    pub(crate) membership: Vec<u8>,
    /// Time of the last command.
    pub(crate) time_ms: u64,
    /// See [`Replicated::log_chain`].
    pub(crate) log_chain: [u8; 32],
    window: WindowLimits,
    /// How many remembered requests follow.
    pub(crate) answered: u64,
}

/// What changes when a state becomes the first one of a new cluster.
pub(crate) struct Refounding {
    /// The position it has from now on.
    pub(crate) position: LogId,
    /// The membership of the new cluster.
    pub(crate) membership: StoredMembership,
    /// Its time from now on.
    pub(crate) time_ms: u64,
    /// Where the new cluster's chain begins.
    pub(crate) log_chain: [u8; 32],
}

/// What the first format of [`Head`] lacks; follows it, and only if there is any.
#[derive(Default, Serialize, Deserialize)]
struct HeadTail {
    retired: BTreeSet<ReplicaId>,
}

impl<M> Replicated<M> {
    /// The machine's state.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Index of the last applied entry; 0 if there is none.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.applied.map_or(0, |applied| applied.index())
    }

    /// Term of the last applied entry; 0 if there is none.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.applied.map_or(0, |applied| applied.committed_leader_id().term)
    }

    /// Time of the last applied command in milliseconds since the Unix epoch; never falls.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Digest over every entry applied so far and what it came to: equal on two replicas at equal
    /// index, or they have diverged.
    #[must_use]
    pub fn log_chain(&self) -> [u8; 32] {
        self.log_chain
    }

    /// How many request ids are remembered.
    #[must_use]
    pub fn remembered_requests(&self) -> usize {
        self.window.len()
    }

    /// Position of the last applied entry.
    pub(crate) fn applied(&self) -> Option<&LogId> {
        self.applied.as_ref()
    }

    /// The replicas that were removed.
    pub(crate) fn retired(&self) -> &BTreeSet<ReplicaId> {
        &self.retired
    }

    /// Highest feature level this replica applies.
    pub(crate) fn level_max(&self) -> u64 {
        self.level_max
    }

    /// The membership in force at the last applied entry.
    pub(crate) fn membership(&self) -> &StoredMembership {
        &self.membership
    }
}

impl<M: Machine> Replicated<M> {
    /// The state before the first entry.
    pub(crate) fn new(machine: M, limits: WindowLimits) -> Self {
        Self {
            machine,
            applied: None,
            membership: Arc::new(StoredMembership::default()),
            time_ms: 0,
            window: Window::new(limits),
            log_chain: [0; 32],
            retired: Arc::default(),
            accepts_gaps: false,
            level_max: M::level_known_max(),
        }
    }

    /// Applies nothing above a feature level.
    ///
    /// # Errors
    /// [`LevelUnknown`] if the state is above it already.
    pub(crate) fn knowing(self, level_max: u64) -> Result<Self, LevelUnknown> {
        let level_max = level_max.min(M::level_known_max());
        self.check_level(level_max)?;
        Ok(Self { level_max, ..self })
    }

    /// Whether a program that knows no more than a level can go on from this state.
    ///
    /// # Errors
    /// [`LevelUnknown`] if it cannot.
    pub(crate) fn check_level(&self, known: u64) -> Result<(), LevelUnknown> {
        let needed = self.machine.feature_level();
        if needed > known { Err(LevelUnknown { needed, known }) } else { Ok(()) }
    }

    /// Lets entries leave indexes out; see [`Replicated::accepts_gaps`].
    #[cfg(test)]
    pub(crate) fn accepting_gaps(self) -> Self {
        Self { accepts_gaps: true, ..self }
    }

    /// The first state of a new cluster; `change` is what the machine makes of it. Requests that
    /// were answered stay answered.
    pub(crate) fn refounded(&self, with: Refounding, change: impl FnOnce(&mut M)) -> Self {
        let mut machine = self.machine.clone();
        change(&mut machine);
        Self {
            machine,
            applied: Some(with.position),
            membership: Arc::new(with.membership),
            time_ms: with.time_ms,
            window: self.window.clone(),
            log_chain: with.log_chain,
            accepts_gaps: false,
            level_max: self.level_max,
            // The new cluster has members of its own, and gave no id away yet.
            retired: Arc::default(),
        }
    }

    /// Keeps what belongs to this replica's set-up when the state is replaced by a snapshot's.
    pub(crate) fn succeeding(self, previous: &Self) -> Self {
        Self { accepts_gaps: previous.accepts_gaps, level_max: previous.level_max, ..self }
    }

    /// Applies the next entry.
    ///
    /// # Errors
    /// If the entry is not the next one, or does not decode, or its reply does not encode, or the
    /// machine panicked. The state must not be used any more.
    pub(crate) fn apply_entry(
        &mut self,
        entry: &Entry,
        events: &mut Vec<M::Event>,
    ) -> Result<Outcome, ApplyError> {
        let log_id = &entry.log_id;
        let fail = |reason: String| ApplyError { index: log_id.index(), reason };
        self.check_next(log_id).map_err(fail)?;
        let outcome = match &entry.payload {
            EntryPayload::Blank => Outcome::Nothing,
            EntryPayload::Membership(membership) => {
                let next = StoredMembership::new(Some(*log_id), membership.clone());
                self.retire(&next);
                self.membership = Arc::new(next);
                Outcome::Nothing
            }
            EntryPayload::Normal(Payload(bytes)) => {
                self.apply_command(log_id, bytes, events).map_err(fail)?
            }
        };
        self.applied = Some(*log_id);
        self.log_chain = self.chain_with(entry, &outcome).map_err(|e| fail(e.to_string()))?;
        Ok(outcome)
    }

    /// Remembers who is no longer a member.
    fn retire(&mut self, next: &StoredMembership) {
        let left = |id: &ReplicaId| next.membership().get_node(id).is_none();
        let gone: Vec<_> = self.membership.nodes().map(|(id, _)| *id).filter(left).collect();
        if !gone.is_empty() {
            Arc::make_mut(&mut self.retired).extend(gone);
        }
    }

    fn check_next(&self, log_id: &LogId) -> Result<(), String> {
        let expected = self.applied.map_or(0, |applied| applied.index() + 1);
        let is_next =
            if self.accepts_gaps { log_id.index() >= expected } else { log_id.index() == expected };
        if is_next {
            return Ok(());
        }
        Err(format!("entry {expected} is the next one; this is a defect"))
    }

    fn apply_command(
        &mut self,
        log_id: &LogId,
        bytes: &[u8],
        events: &mut Vec<M::Event>,
    ) -> Result<Outcome, String> {
        let view = entry::view(bytes).map_err(newer_program)?;
        let (term, _) = term_and_node(log_id);
        self.time_ms = self.time_ms.max(view.time_ms);
        self.window.expire(self.time_ms);
        let command_hash = hash_command(view.command);
        // Before the fence: a retry of something that was applied must hear of that, also when it
        // lands in a later term.
        match self.window.look_up(view.request_id, &command_hash) {
            Lookup::Duplicate(reply) => return Ok(Outcome::Reply { reply, is_duplicate: true }),
            Lookup::Reused => return Ok(Outcome::RequestIdReused),
            Lookup::New => {}
        }
        if view.fence_term.is_some_and(|fence_term| fence_term != term) {
            return Ok(Outcome::Fenced);
        }
        let command: M::Command = postcard::from_bytes(view.command)
            .map_err(|error| newer_program(entry::EntryError::Command(error)))?;
        let needed = M::level_needed(&command);
        if needed > self.level_max {
            let unknown = LevelUnknown { needed, known: self.level_max };
            return Err(unknown.to_string());
        }
        let context = Context {
            index: log_id.index(),
            term,
            time_ms: self.time_ms,
            actor: view.actor,
            request_id: view.request_id,
        };
        let machine = &mut self.machine;
        let applied = AssertUnwindSafe(|| machine.apply(&context, command, events));
        let reply = panic::catch_unwind(applied).map_err(|panic| panicked(panic.as_ref()))?;
        let reply = postcard::to_stdvec(&reply)
            .map_err(|error| format!("its reply does not encode ({error}); this is a defect"))?;
        let reply = Bytes::from(reply);
        self.window.remember(Answered {
            request_id: view.request_id,
            index: log_id.index(),
            time_ms: self.time_ms,
            command: command_hash,
            reply: reply.clone(),
        });
        Ok(Outcome::Reply { reply, is_duplicate: false })
    }

    fn chain_with(&self, entry: &Entry, outcome: &Outcome) -> io::Result<[u8; 32]> {
        let (kind, payload) = payload_of(entry)?;
        let (term, node) = term_and_node(&entry.log_id);
        let (tag, reply): (u8, &[u8]) = match outcome {
            Outcome::Nothing => (0, &[]),
            Outcome::Reply { reply, is_duplicate: false } => (1, reply),
            Outcome::Reply { reply, is_duplicate: true } => (2, reply),
            Outcome::RequestIdReused => (3, &[]),
            Outcome::Fenced => (4, &[]),
        };
        let mut hash = Sha256::new();
        hash.update(self.log_chain);
        hash.update(entry.log_id.index().to_le_bytes());
        hash.update(term.to_le_bytes());
        hash.update(node.to_le_bytes());
        hash.update([kind.byte()]);
        hash.update((payload.len() as u64).to_le_bytes());
        hash.update(&payload);
        hash.update([tag]);
        hash.update(reply);
        Ok(hash.finalize().into())
    }

    /// Writes the whole state as records: the engine's first, then the machine's.
    pub(crate) fn export(&self, sink: &mut dyn RecordSink) -> io::Result<()> {
        let head = Head {
            applied: self.applied.map(|applied| {
                let (term, node) = term_and_node(&applied);
                (term, node, applied.index())
            }),
            membership: encode_stored_membership(&self.membership)?,
            time_ms: self.time_ms,
            log_chain: self.log_chain,
            window: self.window.limits(),
            answered: self.window.len() as u64,
        };
        let mut head = encode_record(&head)?;
        if !self.retired.is_empty() {
            let tail = HeadTail { retired: BTreeSet::clone(&self.retired) };
            head = postcard::to_extend(&tail, head).map_err(io::Error::other)?;
        }
        sink.put(KIND_HEAD, &head)?;
        for answered in self.window.iter() {
            sink.put(KIND_ANSWERED, &encode_record(answered)?)?;
        }
        self.machine.export(&mut MachineSink { sink })
    }

    /// Builds the state from the records of [`Replicated::export`].
    pub(crate) fn import(source: &mut dyn RecordSource) -> io::Result<Self> {
        let (head, tail) = decode_head(&next_engine_bytes(source, KIND_HEAD)?)?;
        let mut window = Window::new(head.window);
        for _ in 0..head.answered {
            window.restore(next_engine_record(source, KIND_ANSWERED)?)?;
        }
        let machine = M::import(&mut MachineSource { source })?;
        if source.next_record()?.is_some() {
            return Err(damaged("the snapshot has records the machine did not read"));
        }
        let applied = head.applied.map(|(term, node, index)| LogId::new(leader(term, node), index));
        Ok(Self {
            machine,
            applied,
            membership: Arc::new(decode_stored_membership(&head.membership)?),
            time_ms: head.time_ms,
            window,
            log_chain: head.log_chain,
            retired: Arc::new(tail.retired),
            accepts_gaps: false,
            level_max: M::level_known_max(),
        })
    }
}

/// Keeps a machine from writing records of the engine.
struct MachineSink<'a> {
    sink: &'a mut dyn RecordSink,
}

impl RecordSink for MachineSink<'_> {
    fn put(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        if kind >= KIND_ENGINE_MIN {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("record kind {kind} is not the machine's; this is a defect"),
            ));
        }
        self.sink.put(kind, bytes)
    }
}

/// Keeps a machine from reading records of the engine.
struct MachineSource<'a> {
    source: &'a mut dyn RecordSource,
}

impl RecordSource for MachineSource<'_> {
    fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        match self.source.next_record()? {
            Some((kind, _)) if kind >= KIND_ENGINE_MIN => Err(damaged(format!(
                "the snapshot has a record of kind {kind} among the machine's"
            ))),
            record => Ok(record),
        }
    }
}

fn encode_record(record: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(record).map_err(io::Error::other)
}

fn undecodable(error: postcard::Error) -> io::Error {
    damaged(format!("a record of the snapshot does not decode: {error}"))
}

fn decode_head(bytes: &[u8]) -> io::Result<(Head, HeadTail)> {
    let (head, rest) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
    if rest.is_empty() {
        return Ok((head, HeadTail::default()));
    }
    Ok((head, postcard::from_bytes(rest).map_err(undecodable)?))
}

fn next_engine_record<T: for<'de> Deserialize<'de>>(
    source: &mut dyn RecordSource,
    wanted: u8,
) -> io::Result<T> {
    postcard::from_bytes(&next_engine_bytes(source, wanted)?).map_err(undecodable)
}

fn next_engine_bytes(source: &mut dyn RecordSource, wanted: u8) -> io::Result<Vec<u8>> {
    match source.next_record()? {
        Some((kind, bytes)) if kind == wanted => Ok(bytes),
        Some((kind, _)) => Err(damaged(format!(
            "the snapshot has a record of kind {kind} where one of kind {wanted} belongs"
        ))),
        None => Err(damaged("the snapshot ends too early")),
    }
}

fn newer_program(error: entry::EntryError) -> String {
    format!(
        "{error}. If the other replicas run a newer program, install it here too; otherwise this \
         is a defect, and restarting does not help"
    )
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    format!("the machine panicked ({message}); this is a defect, and restarting does not help")
}

#[cfg(test)]
#[path = "replicated_test.rs"]
mod tests;
