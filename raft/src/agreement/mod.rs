//! Whether all replicas have come to the same state, and what happens to one that has not.
//!
//! The leader names an index again and again; every member digests its state as of that index, off
//! the path on which entries are applied, and hears what the others came to. Whoever differs from
//! a majority of the voters goes into quarantine by itself: it serves nobody, gives no vote and
//! does not stand for election, over restarts too, until it has been healed. It goes on to receive,
//! keep and acknowledge entries: what is wrong with its state says nothing of entries that come,
//! and a copy more of them is worth having. Nobody reads them from it, because it does not lead,
//! and those up to its new state are thrown away when it is healed. Without a majority on one digest nobody can be told right from wrong: all of them say so,
//! and go on.
//!
//! A state that came as a snapshot says nothing about who is right until it has been found equal:
//! it would only repeat what its sender computed.
//!
//! Begin reading at `verdict` (the rule), then `samples` (what is digested), `rounds` (how
//! the members hear of each other), `standing` (what is remembered) and `heal`.

#[cfg(test)]
mod cluster_test;
pub(crate) mod heal;
pub(crate) mod rounds;
pub(crate) mod samples;
pub(crate) mod standing;
pub(crate) mod verdict;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::verdict::Testimony;
pub(crate) use self::{samples::Samples, standing::Standing};

/// Digest of a state, equal for equal states.
pub(crate) type StateDigest = [u8; 32];

/// What a replica knows of the agreement of its state with the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// Last index at which this replica's digest was that of a majority; 0 if it never was since
    /// the start.
    pub agreed_index: u64,
    /// Last index at which the members differed and no digest had a majority; `None` once one has
    /// had it since.
    pub disputed_index: Option<u64>,
    /// Set while this replica is in quarantine.
    pub quarantine: Option<Quarantine>,
}

/// Why a replica serves nobody and gives no vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantine {
    /// Index at which its state differed.
    pub index: u64,
    /// Hexadecimal digest of its state there.
    pub digest: String,
    /// Hexadecimal digest that a majority of the voters came to.
    pub majority: String,
    /// Whether its state has been replaced since; the digest of the new one is still to be
    /// compared.
    pub is_healing: bool,
}

/// What one replica asks another about digests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    /// The digest of the receiver's state as of an index.
    Testify { index: u64 },
    /// What all members came to at an index; the receiver judges itself.
    Judge { index: u64, testimonies: Vec<Testimony> },
    /// To the one in quarantine: to have itself healed.
    Heal,
    /// To the leader: to send the asking replica its state.
    SendSnapshot,
}

/// Answer to a [`Question`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// `None` if the receiver has not applied the index in time, or is far beyond it.
    Testimony(Option<Testimony>),
    Judged,
    /// Whether there was anything to heal.
    Healing {
        is_new: bool,
    },
    /// The state was sent and installed.
    Sent,
    Refused(String),
}
