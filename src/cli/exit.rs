//! What the program's end tells scripts.

use std::{error::Error, process::ExitCode};

use super::{client::ClientError, kvrocks::NotAllTaken, session::SessionError};

/// How a command ended. The numbers never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is done.
    Done = 0,
    /// Refused or failed; nothing changed, unless the message says what did.
    Failed = 1,
    /// The command line is wrong; nothing was tried. Also what clap ends with.
    Usage = 2,
    /// Some of it is done, and the report says what.
    Partly = 3,
    /// No replica answered; nothing changed.
    Unreachable = 4,
    /// It may have happened.
    Unknown = 5,
    /// Ended at once by a second signal.
    Interrupted = 130,
}

impl Exit {
    /// All of them, as the documentation lists them.
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Partly,
        Self::Unreachable,
        Self::Unknown,
        Self::Interrupted,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "refused or failed; the message says why",
            Self::Usage => "the command line is wrong; nothing was tried",
            Self::Partly => "done in part; the report says which",
            Self::Unreachable => "no replica answered; nothing changed",
            Self::Unknown => "a change may have happened; look before trying again",
            Self::Interrupted => "ended at once by a second signal",
        }
    }

    /// What an error comes to.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<ClientError>() {
                return Self::of_client(error);
            }
            if let Some(SessionError::Refused { is_in_doubt: true, .. }) = error.downcast_ref() {
                return Self::Unknown;
            }
            if let Some(SessionError::NotAsked(error)) = error.downcast_ref() {
                return Self::of_client(error);
            }
            if let Some(error) = error.downcast_ref::<NotAllTaken>() {
                return if error.is_partly() { Self::Partly } else { Self::Failed };
            }
            cause = error.source();
        }
        Self::Failed
    }

    const fn of_client(error: &ClientError) -> Self {
        match error {
            ClientError::Unreachable { .. } => Self::Unreachable,
            ClientError::Lost { .. } | ClientError::Refused { is_in_doubt: true, .. } => {
                Self::Unknown
            }
            ClientError::Refused { .. } | ClientError::Strange { .. } => Self::Failed,
        }
    }

    /// The codes as `quorate --help` shows them.
    #[must_use]
    pub fn help() -> String {
        let lines = Self::ALL.map(|exit| format!("  {:<4} {}", exit.code(), exit.meaning()));
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
