//! What an entry of the log carries: a stamp and a command, encoded once.
//!
//! Layout, little endian: `version u8 | time_ms u64 | fence_term u64 | request_id 16 bytes |
//! actor_len u16 | actor | command (postcard)`. The same bytes travel in a forward, lie in the
//! log and go to the followers. Only `time_ms` is written a second time, by the leader that takes
//! the proposal, because its clock is the one that counts.

use std::{fmt, str};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Version byte of the entry layout.
pub const ENTRY_VERSION: u8 = 1;
/// Longest actor in bytes; longer ones are cut at a character boundary.
pub const ACTOR_BYTES_MAX: usize = 256;
/// Largest encoded entry in bytes. Fits a whole state document restored through one command.
pub const ENTRY_BYTES_MAX: usize = 192 * 1024 * 1024;

const TIME_AT: usize = 1;
const FENCE_AT: usize = 9;
const REQUEST_AT: usize = 17;
const ACTOR_LEN_AT: usize = 33;
const ACTOR_AT: usize = 35;

/// Names one wish of a client over all retries, forwards and leader changes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub [u8; 16]);

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A command with everything its proposer decides.
#[derive(Clone, Debug)]
pub struct Proposal<C> {
    /// Equal ids apply once; see the request window in the state.
    pub request_id: RequestId,
    /// Who asks; for the audit trail.
    pub actor: String,
    /// `Some(term)`: apply only if the entry lands in this term. For leader-only loops.
    pub fence_term: Option<u64>,
    /// What is asked.
    pub command: C,
}

/// An entry did not have the layout of this page.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Shorter than the fixed part, or than its own lengths say.
    #[error("the entry is cut off at {0} bytes")]
    Short(usize),
    /// Written by a later program.
    #[error("entry version {0} is not known to this program")]
    Version(u8),
    /// The actor is not UTF-8.
    #[error("the actor of the entry is not text")]
    Actor,
    /// The command does not decode.
    #[error("the command of the entry does not decode: {0}")]
    Command(postcard::Error),
    /// The command does not encode, or is too large.
    #[error("the command does not fit an entry: {0}")]
    Encode(String),
}

/// A borrowed view of an encoded entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// As stamped by the leader; not yet made monotonic.
    pub time_ms: u64,
    /// See [`Proposal::fence_term`].
    pub fence_term: Option<u64>,
    /// See [`Proposal::request_id`].
    pub request_id: RequestId,
    /// See [`Proposal::actor`].
    pub actor: &'a str,
    /// The command, encoded.
    pub command: &'a [u8],
}

/// Encodes a proposal; `time_ms` stays zero until [`restamp`].
///
/// # Errors
/// [`EntryError::Encode`] if the command does not encode or exceeds [`ENTRY_BYTES_MAX`].
pub fn encode<C: Serialize>(proposal: &Proposal<C>) -> Result<Bytes, EntryError> {
    let actor = cut(&proposal.actor, ACTOR_BYTES_MAX);
    let mut out = Vec::with_capacity(ACTOR_AT + actor.len() + 256);
    out.push(ENTRY_VERSION);
    out.extend_from_slice(&0_u64.to_le_bytes());
    out.extend_from_slice(&proposal.fence_term.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&proposal.request_id.0);
    let actor_len = u16::try_from(actor.len()).expect("an actor is at most 256 bytes");
    out.extend_from_slice(&actor_len.to_le_bytes());
    out.extend_from_slice(actor.as_bytes());
    let out = postcard::to_extend(&proposal.command, out)
        .map_err(|error| EntryError::Encode(error.to_string()))?;
    if out.len() > ENTRY_BYTES_MAX {
        return Err(EntryError::Encode(format!("{} bytes, at most {ENTRY_BYTES_MAX}", out.len())));
    }
    Ok(out.into())
}

/// Writes the leader's time into an encoded entry; copies only if the bytes are shared.
///
/// # Errors
/// [`EntryError`] if the bytes are not an entry.
pub fn restamp(entry: Bytes, time_ms: u64) -> Result<Bytes, EntryError> {
    view(&entry)?;
    let mut bytes = entry.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    bytes[TIME_AT..FENCE_AT].copy_from_slice(&time_ms.to_le_bytes());
    Ok(bytes.freeze())
}

/// Reads an encoded entry without decoding its command.
///
/// # Errors
/// [`EntryError`] if the bytes are not an entry of this version.
pub fn view(entry: &[u8]) -> Result<EntryView<'_>, EntryError> {
    match entry.first() {
        None => return Err(EntryError::Short(0)),
        Some(&ENTRY_VERSION) => {}
        Some(&other) => return Err(EntryError::Version(other)),
    }
    let short = || EntryError::Short(entry.len());
    let head = entry.get(..ACTOR_AT).ok_or_else(short)?;
    let actor_len = usize::from(u16::from_le_bytes([head[ACTOR_LEN_AT], head[ACTOR_LEN_AT + 1]]));
    let actor = entry.get(ACTOR_AT..ACTOR_AT + actor_len).ok_or_else(short)?;
    let mut request_id = [0; 16];
    request_id.copy_from_slice(&head[REQUEST_AT..ACTOR_LEN_AT]);
    let fence = read_u64(head, FENCE_AT);
    Ok(EntryView {
        time_ms: read_u64(head, TIME_AT),
        fence_term: (fence != 0).then_some(fence),
        request_id: RequestId(request_id),
        actor: str::from_utf8(actor).map_err(|_| EntryError::Actor)?,
        command: &entry[ACTOR_AT + actor_len..],
    })
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_encoded() {
        let proposal = Proposal {
            request_id: RequestId([7; 16]),
            actor: "curl".to_owned(),
            fence_term: Some(3),
            command: ("add".to_owned(), 5_u64),
        };
        let bytes = restamp(encode(&proposal).expect("encodes"), 99).expect("restamps");
        let entry = view(&bytes).expect("an entry");
        assert_eq!(entry.time_ms, 99);
        assert_eq!(entry.fence_term, Some(3));
        assert_eq!(entry.request_id, proposal.request_id);
        assert_eq!(entry.actor, "curl");
        let command: (String, u64) = postcard::from_bytes(entry.command).expect("decodes");
        assert_eq!(command, proposal.command);
    }

    #[test]
    fn every_cut_is_refused_and_none_panics() {
        let proposal = Proposal {
            request_id: RequestId([1; 16]),
            actor: "a".repeat(400),
            fence_term: None,
            command: 1_u8,
        };
        let bytes = encode(&proposal).expect("encodes");
        for end in 0..ACTOR_AT + ACTOR_BYTES_MAX {
            assert!(view(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(matches!(view(&[9]), Err(EntryError::Version(9))));
    }
}
