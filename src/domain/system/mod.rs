//! The cluster of replicas as its own subject: how it was founded and which meanings its commands
//! may use.

pub mod access;
pub mod audit;
pub mod member;

use serde::{Deserialize, Serialize};

use self::member::MemberNote;
use super::{Context, event::Subject, undermoon};

/// Highest feature level this program knows.
pub const FEATURE_LEVEL_MAX: u64 = FEATURE_LEVEL_SEALED;
/// Level from which on there are tokens and the audit trail.
pub const FEATURE_LEVEL_ACCESS: u64 = 2;
/// Level from which on entries may hold sealed secrets.
pub const FEATURE_LEVEL_SEALED: u64 = 3;
/// Level from which on members may change: programs below it do not remember who left, and take
/// an entry that names a successor for one that does not.
pub const FEATURE_LEVEL_MEMBERS: u64 = 3;
/// Level that [`Command::Found`] sets if it was not raised before. Never changes: a later program replays the same entry, and
/// must come to the same state.
pub const FEATURE_LEVEL_FOUNDED: u64 = 1;

/// State of the system family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Entry time of the foundation, milliseconds; `None` before it.
    pub founded_ms: Option<u64>,
    /// Meanings in use; raised by command only.
    pub feature_level: u64,
}

/// A change of the system family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first command of a cluster: seeds the replicated settings. Later ones change nothing.
    Found {
        /// Settings of the undermoon family.
        undermoon: undermoon::settings::Seed,
    },
    /// Lets the meanings of level 2 in; refused above it for ever, as the first programs did.
    RaiseFeatureLevel {
        /// New level; at least the present one.
        level: u64,
    },
    /// Lets newer meanings in. The first programs would have refused a level they did not know and
    /// gone on, to another state than the others; at this variant they stop.
    UseFeatureLevel {
        /// New level; at least the present one.
        level: u64,
    },
    /// Says that the members were changed, or that a change was refused. The change itself lies in
    /// the log before it, in an entry of the engine.
    NoteMembers(MemberNote),
}

impl Command {
    /// What happened if this was carried out.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::Found { .. } => Subject::whole("founded"),
            Self::RaiseFeatureLevel { .. } | Self::UseFeatureLevel { .. } => {
                Subject::whole("feature_level_raised")
            }
            Self::NoteMembers(note) => Subject::of(note.verb.event(), &note.id.to_string()),
        }
    }

    /// The command that raises the feature level.
    #[must_use]
    pub const fn to_raise(level: u64) -> Self {
        if level <= FEATURE_LEVEL_ACCESS {
            Self::RaiseFeatureLevel { level }
        } else {
            Self::UseFeatureLevel { level }
        }
    }

    /// See [`super::Command::feature_level`]. Raising to a level needs programs that know it.
    #[must_use]
    pub const fn feature_level(&self) -> u64 {
        match self {
            Self::Found { .. } => FEATURE_LEVEL_FOUNDED,
            Self::RaiseFeatureLevel { level } if *level <= FEATURE_LEVEL_ACCESS => *level,
            Self::RaiseFeatureLevel { .. } => FEATURE_LEVEL_FOUNDED,
            Self::UseFeatureLevel { level } if *level > FEATURE_LEVEL_ACCESS => *level,
            Self::UseFeatureLevel { .. } => FEATURE_LEVEL_ACCESS + 1,
            Self::NoteMembers(_) => FEATURE_LEVEL_MEMBERS,
        }
    }
}

/// The answer to a system command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Carried out, or true already.
    Done,
}

/// Why a system command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The level is lower than the present one or unknown to this program.
    #[error("feature level {wanted} is not between {present} and {known}")]
    FeatureLevel {
        /// Asked for.
        wanted: u64,
        /// In use.
        present: u64,
        /// Highest known.
        known: u64,
    },
    /// A change of the members was refused.
    #[error("the members stay as they are")]
    Members,
}

impl State {
    /// Marks the cluster as founded; true if this was the first time.
    pub fn found(&mut self, context: &Context<'_>) -> bool {
        if self.founded_ms.is_some() {
            return false;
        }
        self.founded_ms = Some(context.time_ms);
        self.feature_level = self.feature_level.max(FEATURE_LEVEL_FOUNDED);
        true
    }

    /// Raises the feature level.
    ///
    /// # Errors
    /// [`Rejection::FeatureLevel`] below the present level and above `known`.
    pub fn raise_feature_level(&mut self, level: u64, known: u64) -> Result<Reply, Rejection> {
        if level < self.feature_level || level > known {
            let present = self.feature_level;
            return Err(Rejection::FeatureLevel { wanted: level, present, known });
        }
        self.feature_level = level;
        Ok(Reply::Done)
    }
}
