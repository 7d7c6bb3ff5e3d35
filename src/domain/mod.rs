//! The replicated state and every rule about it. Pure: no clock, randomness, files, sockets,
//! environment or hash-map order; everything that varies arrives in the command.
//!
//! `apply` dispatches to one folder a family and nothing more. A new family is one more folder,
//! one variant in each enum of this file, and its record kinds in [`State::records`].

mod action;
pub mod cello;
pub mod event;
pub mod kvrocks;
pub mod recovery;
pub mod sealed;
pub mod system;
pub mod undermoon;

use serde::{Deserialize, Serialize};

pub use self::event::Event;
use self::{
    event::Subject,
    system::{
        access::{self, Family},
        audit,
    },
};

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
    /// The Kvrocks controller.
    pub kvrocks: kvrocks::State,
    /// The cluster pool.
    pub cello: cello::State,
    /// Tokens of clients.
    pub access: access::State,
    /// Who changed what.
    pub audit: audit::State,
}

/// A change that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// About the cluster of replicas itself.
    System(system::Command),
    /// About the Redis proxy broker.
    Undermoon(undermoon::Command),
    /// About the Kvrocks controller.
    Kvrocks(kvrocks::Command),
    /// About the cluster pool.
    Cello(cello::Command),
    /// About tokens.
    Access(access::Command),
}

impl Command {
    /// The word for whom it is about.
    #[must_use]
    pub const fn family(&self) -> &'static str {
        match self {
            Self::System(_) => "system",
            Self::Undermoon(_) => "undermoon",
            Self::Kvrocks(_) => "kvrocks",
            Self::Cello(_) => "cello",
            Self::Access(_) => "access",
        }
    }

    /// The lowest feature level whose programs can apply this. Before the cluster has reached it,
    /// nobody may write it into the log.
    #[must_use]
    pub fn feature_level(&self) -> u64 {
        match self {
            Self::System(command) => command.feature_level(),
            Self::Kvrocks(command) if command.needs_sealing() => system::FEATURE_LEVEL_SEALED,
            Self::Undermoon(_) | Self::Kvrocks(_) | Self::Cello(_) => system::FEATURE_LEVEL_FOUNDED,
            Self::Access(_) => system::FEATURE_LEVEL_ACCESS,
        }
    }

    /// The refusal of this in a cluster whose feature level is too low for it; given without the
    /// log, where an older program could not read the command.
    #[must_use]
    pub const fn refused_below(&self, level: u64) -> Option<Reply> {
        match self {
            Self::Access(_) if level < system::FEATURE_LEVEL_ACCESS => {
                Some(Reply::Access(Err(access::Rejection::FeatureLevel)))
            }
            Self::Access(_)
            | Self::System(_)
            | Self::Undermoon(_)
            | Self::Kvrocks(_)
            | Self::Cello(_) => None,
        }
    }

    /// Every secret the command brings, to be sealed before it is proposed. A family that has
    /// secrets names them here.
    pub fn secrets_mut(&mut self) -> Vec<&mut kvrocks::Secret> {
        match self {
            Self::Kvrocks(command) => command.secrets_mut(),
            // What these keep of secrets is keyed hashes of tokens, or nothing.
            Self::System(_) | Self::Undermoon(_) | Self::Cello(_) | Self::Access(_) => Vec::new(),
        }
    }
}

/// The answer to a [`Command`], refusals included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Command::System`].
    System(Result<system::Reply, system::Rejection>),
    /// To [`Command::Undermoon`].
    Undermoon(Result<undermoon::Reply, undermoon::Rejection>),
    /// To [`Command::Kvrocks`].
    Kvrocks(Result<kvrocks::Reply, kvrocks::Rejection>),
    /// To [`Command::Cello`].
    Cello(Result<cello::Reply, cello::Rejection>),
    /// To [`Command::Access`].
    Access(Result<access::Reply, access::Rejection>),
}

impl Reply {
    /// Whether the state refused.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::System(reply) => reply.is_err(),
            Self::Undermoon(reply) => reply.is_err(),
            Self::Kvrocks(reply) => reply.is_err(),
            Self::Cello(reply) => reply.is_err(),
            Self::Access(reply) => reply.is_err(),
        }
    }
}

/// One record of a snapshot. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Of the system family.
    System(system::State),
    /// Of the undermoon family.
    Undermoon(undermoon::record::Record),
    /// Of the kvrocks family.
    Kvrocks(kvrocks::record::Record),
    /// Of the cello family.
    Cello(cello::record::Record),
    /// A token.
    Token(Box<access::Token>),
    /// A portion of the audit trail.
    Audit(Vec<audit::Record>),
    /// The feature level, from 3 on, before all else: programs that know no such level do not know
    /// this record either, and refuse the state instead of misreading what follows.
    FeatureLevel(u64),
}

/// Records do not make a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// See [`undermoon::record::RecordFault`].
    #[error(transparent)]
    Undermoon(#[from] undermoon::record::RecordFault),
    /// See [`kvrocks::record::Repeated`].
    #[error(transparent)]
    Kvrocks(#[from] kvrocks::record::Repeated),
    /// See [`cello::record::Repeated`].
    #[error(transparent)]
    Cello(#[from] cello::record::Repeated),
    /// The state uses meanings that this program does not know.
    #[error(
        "the state is of feature level {needed}, and this program knows no level above {known}"
    )]
    FeatureLevel {
        /// The state's.
        needed: u64,
        /// The highest known.
        known: u64,
    },
    /// A token comes twice.
    #[error("a token comes twice")]
    Token,
    /// The audit trail is out of order.
    #[error("the audit trail is out of order")]
    Audit,
}

impl State {
    /// As [`State::apply`], and writes down who asked for what, and whether it was refused.
    pub fn apply_recorded(
        &mut self,
        context: &Context<'_>,
        request_id: [u8; 16],
        command: Command,
        events: &mut Vec<Event>,
    ) -> Reply {
        let action = action::of(&command);
        let reply = self.apply(context, command, events);
        if let Some((family, action)) = action
            && self.system.feature_level >= system::FEATURE_LEVEL_ACCESS
        {
            self.audit.add(context, request_id, (family, action), reply.is_refusal());
        }
        reply
    }

    /// Applies one command; refusals are ordinary replies. What was carried out is told as events.
    pub fn apply(
        &mut self,
        context: &Context<'_>,
        command: Command,
        events: &mut Vec<Event>,
    ) -> Reply {
        let mut tell = |family, subjects: Vec<Subject>| {
            events.extend(subjects.into_iter().map(|subject| subject.event(family, context)));
        };
        match command {
            Command::System(command) => {
                let subject = command.subject();
                let reply = self.apply_system(context, command);
                tell(Family::Admin, reply.iter().map(|_| subject.clone()).collect());
                Reply::System(reply)
            }
            Command::Undermoon(command) => {
                let subject = command.action.subject();
                let before = undermoon::query::global_epoch(&self.undermoon);
                let reply = self.undermoon.apply(context, command);
                let is_changed = undermoon::query::global_epoch(&self.undermoon) != before;
                tell(
                    Family::Undermoon,
                    match &reply {
                        Ok(_) => vec![subject],
                        // Some refusals change the state all the same (spec 1.7).
                        Err(_) if is_changed => vec![Subject::whole("epoch_raised")],
                        Err(_) => Vec::new(),
                    },
                );
                Reply::Undermoon(reply)
            }
            Command::Kvrocks(command) => {
                let subject = command.subject();
                if self.system.feature_level >= system::FEATURE_LEVEL_SEALED
                    && command.brings_bare()
                {
                    self.kvrocks.note_bare(context.index);
                }
                let reply = self.kvrocks.apply(context, command);
                tell(Family::Kvrocks, reply.iter().map(|_| subject.clone()).collect());
                Reply::Kvrocks(reply)
            }
            Command::Cello(command) => {
                let subject = command.subject();
                let reply = self.cello.apply(context, command);
                let subjects = reply.as_ref().map(|reply| reply.subjects(subject));
                tell(Family::Cello, subjects.unwrap_or_default());
                Reply::Cello(reply)
            }
            Command::Access(command) => {
                if self.system.feature_level < system::FEATURE_LEVEL_ACCESS {
                    return Reply::Access(Err(access::Rejection::FeatureLevel));
                }
                let subject = command.subject();
                let reply = self.access.apply(context, command);
                tell(Family::Admin, reply.iter().map(|_| subject.clone()).collect());
                Reply::Access(reply)
            }
        }
    }

    fn apply_system(
        &mut self,
        context: &Context<'_>,
        command: system::Command,
    ) -> Result<system::Reply, system::Rejection> {
        match command {
            system::Command::Found { undermoon } => {
                if self.system.found(context) {
                    self.undermoon.seed(&undermoon);
                }
                Ok(system::Reply::Done)
            }
            system::Command::RaiseFeatureLevel { level } => {
                self.system.raise_feature_level(level, system::FEATURE_LEVEL_ACCESS)
            }
            system::Command::UseFeatureLevel { level } => {
                self.system.raise_feature_level(level, system::FEATURE_LEVEL_MAX)
            }
            system::Command::NoteMembers(note) if note.is_refused => {
                Err(system::Rejection::Members)
            }
            system::Command::NoteMembers(_) => Ok(system::Reply::Done),
        }
    }

    /// The whole state as records, in an order that depends on the state alone.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let level = self.system.feature_level;
        let guard = (level > system::FEATURE_LEVEL_ACCESS).then_some(Record::FeatureLevel(level));
        let system = guard.into_iter().chain([Record::System(self.system.clone())]);
        let undermoon = self.undermoon.records().map(Record::Undermoon);
        let kvrocks = self.kvrocks.records().map(Record::Kvrocks);
        let cello = self.cello.records().map(Record::Cello);
        let tokens = self.access.iter().cloned().map(Box::new).map(Record::Token);
        let audit = self.audit.portions().map(Record::Audit);
        system.chain(undermoon).chain(kvrocks).chain(cello).chain(tokens).chain(audit)
    }

    /// Builds the state from the records of [`State::records`].
    ///
    /// # Errors
    /// Whatever `records` returns; [`RecordError`] if they contradict each other.
    pub fn from_records<E: From<RecordError>>(
        records: impl IntoIterator<Item = Result<Record, E>>,
    ) -> Result<Self, E> {
        let mut state = Self::default();
        let mut undermoon = undermoon::record::Loader::default();
        let check_level = |needed| {
            let known = system::FEATURE_LEVEL_MAX;
            let is_known = needed <= known;
            is_known.then_some(()).ok_or(RecordError::FeatureLevel { needed, known })
        };
        for record in records {
            match record? {
                Record::FeatureLevel(needed) => check_level(needed)?,
                Record::System(system) => {
                    check_level(system.feature_level)?;
                    state.system = system;
                }
                Record::Undermoon(record) => undermoon.add(record).map_err(RecordError::from)?,
                Record::Kvrocks(record) => {
                    state.kvrocks.restore_record(record).map_err(RecordError::from)?;
                }
                Record::Cello(record) => {
                    state.cello.restore_record(record).map_err(RecordError::from)?;
                }
                Record::Token(token) => {
                    let is_new = state.access.restore(*token);
                    is_new.then_some(()).ok_or(RecordError::Token)?;
                }
                Record::Audit(portion) => {
                    let is_next = state.audit.restore(portion);
                    is_next.then_some(()).ok_or(RecordError::Audit)?;
                }
            }
        }
        state.undermoon = undermoon.finish().map_err(RecordError::from)?;
        Ok(state)
    }
}
