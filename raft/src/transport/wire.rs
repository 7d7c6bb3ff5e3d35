//! The messages between replicas: `version u8 | postcard`.
//!
//! Enum variants are only ever appended and fields never reordered; a change of meaning raises
//! [`WIRE_VERSION`].

use std::io;

use bytes::{Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{BODY_BYTES_MAX, WIRE_VERSION};
use crate::{
    ReplicaId,
    storage::{
        log::format::{decode_value, encode_value},
        snapshot::SnapshotFile,
        wire::{
            damaged, decode_stored_membership, encode_stored_membership, leader, term_and_node,
        },
    },
    types::{LogId, Outcome, SnapshotMeta, TypeConfig, Vote},
};

/// Index and length in front of an entry.
const ENTRY_HEAD_BYTES: usize = 12;

/// A log position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    term: u64,
    node: ReplicaId,
    index: u64,
}

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ballot {
    term: u64,
    node: ReplicaId,
    is_granted: bool,
}

/// What precedes the entries of an append.
#[derive(Debug, Serialize, Deserialize)]
struct AppendHead {
    vote: Ballot,
    previous: Option<Position>,
    commit: Option<Position>,
    entries: u32,
}

/// Answer to an append.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    /// All entries are on the disk.
    Success,
    /// Entries up to here are on the disk.
    Partial(Option<Position>),
    /// The entry before the first one is another one here.
    Conflict,
    /// A later leader is known here.
    HigherVote(Ballot),
}

/// Asks for a vote, or whether one would be given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteAsk {
    vote: Ballot,
    last: Option<Position>,
    is_transfer: bool,
}

/// Answer to [`VoteAsk`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteAnswer {
    vote: Ballot,
    is_granted: bool,
    last: Option<Position>,
}

/// The leader hands over to a replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransferAsk {
    from: Ballot,
    to: ReplicaId,
    last: Option<Position>,
}

/// Answer to [`TransferAsk`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum TransferAnswer {
    /// Taken.
    Done,
    /// Not taken: another vote is known here, or the log here does not reach that far.
    Refused(String),
}

/// What precedes the bytes of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotHead {
    vote: Ballot,
    last: Position,
    membership: Vec<u8>,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// SHA-256 of the file.
    pub(crate) digest: [u8; 32],
}

/// Answer to a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SnapshotAnswer {
    /// Installed, or not needed; the vote known here.
    Done(Ballot),
    /// The receiver could not take it.
    Failed(String),
}

/// Answer to a forwarded proposal: what applying its entry came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProposeAnswer {
    /// Where the entry lies.
    pub(crate) index: u64,
    /// Term of the leader that appended it.
    pub(crate) term: u64,
    /// What it came to.
    pub(crate) outcome: Outcome,
}

/// What became of one of many forwarded proposals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Applied; with what it came to.
    Done(ProposeAnswer),
    /// Not taken.
    Refused(String),
    /// Not taken, because the leader has too much to do.
    Busy {
        /// When a retry makes sense.
        retry_after_ms: u64,
    },
    /// Taken, and it may still commit.
    Doubtful(String),
}

/// Answer to a question for the read index.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadIndexAnswer {
    /// Everything up to here must be applied before a read is linearizable.
    pub(crate) index: u64,
}

/// Answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HelloAnswer {
    /// Who answers.
    pub(crate) id: ReplicaId,
    /// The random bits of its disk.
    pub(crate) incarnation: [u8; 16],
    /// Whether its disk has never held a vote, an entry or a snapshot.
    pub(crate) is_virgin: bool,
    /// The replicas it knows from the membership, with their disks.
    pub(crate) known: Vec<(ReplicaId, [u8; 16])>,
}

/// Encodes a message.
///
/// # Errors
/// `InvalidData` if it does not encode.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Bytes> {
    postcard::to_extend(message, vec![WIRE_VERSION])
        .map(Bytes::from)
        .map_err(|error| damaged(error.to_string()))
}

/// Decodes a message that fills its bytes.
///
/// # Errors
/// `InvalidData` if it does not.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    match take(bytes)? {
        (message, []) => Ok(message),
        (_, rest) => Err(damaged(format!("{} bytes follow the message", rest.len()))),
    }
}

/// Decodes a message off the front.
fn take<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<(T, &[u8])> {
    match bytes.split_first() {
        Some((&WIRE_VERSION, rest)) => postcard::take_from_bytes(rest)
            .map_err(|error| damaged(format!("the message does not decode: {error}"))),
        Some((version, _)) => Err(damaged(format!("message version {version}"))),
        None => Err(damaged("the message is empty")),
    }
}

/// An append that is ready to be sent.
pub(crate) struct EncodedAppend {
    /// The body.
    pub(crate) body: Bytes,
    /// How many entries it carries.
    pub(crate) entries: u32,
    /// The last of them, if some had to stay behind because the body would be too large.
    pub(crate) cut_after: Option<LogId>,
}

/// Encodes as many entries of an append as a body may hold, but at least one.
///
/// # Errors
/// `InvalidData` if an entry does not encode.
pub(crate) fn encode_append(
    request: &AppendEntriesRequest<TypeConfig>,
) -> io::Result<EncodedAppend> {
    let mut values = Vec::with_capacity(request.entries.len());
    let mut bytes = 0;
    let mut cut_after = None;
    for entry in &request.entries {
        let value = encode_value(entry)?;
        bytes += ENTRY_HEAD_BYTES + value.len();
        if bytes > BODY_BYTES_MAX / 2 && !values.is_empty() {
            cut_after = request.entries.get(values.len() - 1).map(|last| last.log_id);
            break;
        }
        values.push((entry.log_id.index(), value));
    }
    let entries = u32::try_from(values.len()).map_err(|_| damaged("too many entries"))?;
    let head = AppendHead {
        vote: Ballot::of(&request.vote),
        previous: Position::of(request.prev_log_id.as_ref()),
        commit: Position::of(request.leader_commit.as_ref()),
        entries,
    };
    let head = encode(&head)?;
    let mut body = BytesMut::with_capacity(head.len() + bytes);
    body.extend_from_slice(&head);
    for (index, value) in values {
        let length = u32::try_from(value.len()).map_err(|_| damaged("an entry is too large"))?;
        body.extend_from_slice(&index.to_le_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&value);
    }
    Ok(EncodedAppend { body: body.freeze(), entries, cut_after })
}

/// Decodes an append; the entries share the bytes of the body.
///
/// # Errors
/// `InvalidData` if the body is not an append, or an entry is damaged.
pub(crate) fn decode_append(body: &Bytes) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let (head, rest) = take::<AppendHead>(body)?;
    let mut rest = body.slice_ref(rest);
    let mut entries = Vec::new();
    for _ in 0..head.entries {
        let cut = || damaged("the entries of an append are cut off");
        if rest.len() < ENTRY_HEAD_BYTES {
            return Err(cut());
        }
        let front = rest.split_to(ENTRY_HEAD_BYTES);
        let (index, length) = front.split_first_chunk::<8>().ok_or_else(cut)?;
        let length: [u8; 4] = length.try_into().map_err(|_| cut())?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| cut())?;
        if rest.len() < length {
            return Err(cut());
        }
        entries.push(decode_value(u64::from_le_bytes(*index), rest.split_to(length))?);
    }
    if !rest.is_empty() {
        return Err(damaged("something follows the entries of an append"));
    }
    Ok(AppendEntriesRequest {
        vote: head.vote.vote(),
        prev_log_id: head.previous.map(Position::log_id),
        entries,
        leader_commit: head.commit.map(Position::log_id),
    })
}

impl Position {
    fn of(log_id: Option<&LogId>) -> Option<Self> {
        log_id.map(|log_id| {
            let (term, node) = term_and_node(log_id);
            Self { term, node, index: log_id.index() }
        })
    }

    fn log_id(self) -> LogId {
        LogId::new(leader(self.term, self.node), self.index)
    }
}

impl Ballot {
    fn of(vote: &Vote) -> Self {
        let (term, node) = (vote.leader_id.term, vote.leader_id.node_id);
        Self { term, node, is_granted: vote.committed }
    }

    fn vote(self) -> Vote {
        Vote { leader_id: leader(self.term, self.node), committed: self.is_granted }
    }
}

impl AppendAnswer {
    /// What goes over the wire.
    pub(crate) fn of(response: &AppendEntriesResponse<TypeConfig>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(last) => {
                Self::Partial(Position::of(last.as_ref()))
            }
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(Ballot::of(vote)),
        }
    }

    /// What the consensus library wants.
    pub(crate) fn response(self) -> AppendEntriesResponse<TypeConfig> {
        match self {
            Self::Success => AppendEntriesResponse::Success,
            Self::Partial(last) => {
                AppendEntriesResponse::PartialSuccess(last.map(Position::log_id))
            }
            Self::Conflict => AppendEntriesResponse::Conflict,
            Self::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote.vote()),
        }
    }
}

impl VoteAsk {
    /// What goes over the wire.
    pub(crate) fn of(request: &VoteRequest<TypeConfig>) -> Self {
        Self {
            vote: Ballot::of(&request.vote),
            last: Position::of(request.last_log_id.as_ref()),
            is_transfer: request.leadership_transfer,
        }
    }

    /// What the consensus library wants.
    pub(crate) fn request(self) -> VoteRequest<TypeConfig> {
        let mut request = VoteRequest::new(self.vote.vote(), self.last.map(Position::log_id));
        request.leadership_transfer = self.is_transfer;
        request
    }
}

impl VoteAnswer {
    /// What goes over the wire.
    pub(crate) fn of(response: &VoteResponse<TypeConfig>) -> Self {
        Self {
            vote: Ballot::of(&response.vote),
            is_granted: response.vote_granted,
            last: Position::of(response.last_log_id.as_ref()),
        }
    }

    /// What the consensus library wants.
    pub(crate) fn response(self) -> VoteResponse<TypeConfig> {
        VoteResponse::new(self.vote.vote(), self.last.map(Position::log_id), self.is_granted)
    }
}

impl TransferAsk {
    /// What goes over the wire.
    pub(crate) fn of(request: &TransferLeaderRequest<TypeConfig>) -> Self {
        Self {
            from: Ballot::of(request.from_leader()),
            to: *request.to_node_id(),
            last: Position::of(request.last_log_id()),
        }
    }

    /// What the consensus library wants.
    pub(crate) fn request(self) -> TransferLeaderRequest<TypeConfig> {
        TransferLeaderRequest::new(self.from.vote(), self.to, self.last.map(Position::log_id))
    }
}

impl TransferAnswer {
    /// What goes over the wire.
    pub(crate) fn of(response: TransferLeaderResponse<TypeConfig>) -> Self {
        response.map_or_else(|error| Self::Refused(error.to_string()), |()| Self::Done)
    }
}

impl SnapshotHead {
    /// What goes over the wire.
    ///
    /// # Errors
    /// `InvalidData` if the snapshot covers nothing.
    pub(crate) fn of(vote: &Vote, meta: &SnapshotMeta, file: &SnapshotFile) -> io::Result<Self> {
        let last = Position::of(meta.last_log_id.as_ref());
        Ok(Self {
            vote: Ballot::of(vote),
            last: last.ok_or_else(|| damaged("the snapshot covers no entry"))?,
            membership: encode_stored_membership(&meta.last_membership)?,
            bytes: file.bytes,
            digest: file.digest,
        })
    }

    /// What the consensus library wants.
    ///
    /// # Errors
    /// `InvalidData` if the membership does not decode.
    pub(crate) fn vote_and_meta(&self) -> io::Result<(Vote, SnapshotMeta)> {
        let meta = SnapshotMeta {
            last_log_id: Some(self.last.log_id()),
            last_membership: decode_stored_membership(&self.membership)?,
        };
        Ok((self.vote.vote(), meta))
    }
}

impl SnapshotAnswer {
    /// What goes over the wire.
    pub(crate) fn done(vote: &Vote) -> Self {
        Self::Done(Ballot::of(vote))
    }

    /// The vote, or what went wrong.
    pub(crate) fn vote(self) -> Result<Vote, String> {
        match self {
            Self::Done(vote) => Ok(vote.vote()),
            Self::Failed(reason) => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::{Entry, Payload};

    fn request(sizes: &[usize]) -> AppendEntriesRequest<TypeConfig> {
        let entries = (7..).zip(sizes).map(|(index, size)| Entry {
            log_id: LogId::new(leader(3, 1), index),
            payload: EntryPayload::Normal(Payload(vec![b'x'; *size].into())),
        });
        AppendEntriesRequest {
            vote: Vote { leader_id: leader(3, 1), committed: true },
            prev_log_id: Some(LogId::new(leader(2, 2), 6)),
            entries: entries.collect(),
            leader_commit: Some(LogId::new(leader(2, 2), 5)),
        }
    }

    #[test]
    fn an_append_comes_back_as_it_was_sent() {
        for sizes in [&[][..], &[0], &[3, 0, 1000]] {
            let sent = request(sizes);
            let encoded = encode_append(&sent).expect("encodes");
            assert_eq!((encoded.entries as usize, encoded.cut_after), (sizes.len(), None));
            let received = decode_append(&encoded.body).expect("decodes");
            assert_eq!(format!("{received:?}"), format!("{sent:?}"));
        }
    }

    #[test]
    fn what_does_not_fit_a_body_stays_behind_but_never_everything() {
        let encoded = encode_append(&request(&[3_000_000, 1_000_000, 500_000])).expect("encodes");
        assert!(encoded.body.len() <= BODY_BYTES_MAX);
        assert_eq!(encoded.cut_after.map(|last| last.index()), Some(8));
        assert_eq!(decode_append(&encoded.body).expect("decodes").entries.len(), 2);
        let encoded = encode_append(&request(&[9_000_000, 1])).expect("encodes");
        assert_eq!((encoded.entries, encoded.cut_after.map(|last| last.index())), (1, Some(7)));
    }

    #[test]
    fn cuts_additions_and_flipped_bytes_are_refused() {
        let whole = encode_append(&request(&[5, 9])).expect("encodes").body;
        for end in 0..whole.len() {
            assert!(decode_append(&whole.slice(..end)).is_err(), "cut at {end}");
        }
        let longer = Bytes::from([&whole[..], b"x"].concat());
        assert!(decode_append(&longer).is_err());
        // The sums of the entries cover everything behind the head.
        let entries_at = whole.len() - 2 * (ENTRY_HEAD_BYTES + 22) - 14;
        for at in entries_at..whole.len() {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1;
            assert!(decode_append(&flipped.into()).is_err(), "flipped at {at}");
        }
        let mut newer = whole.to_vec();
        newer[0] = WIRE_VERSION + 1;
        assert!(decode_append(&newer.into()).is_err());
    }

    #[test]
    fn answers_come_back_as_they_were_sent() {
        let answer = ProposeAnswer {
            index: 9,
            term: 3,
            outcome: Outcome::Reply { reply: Bytes::from_static(b"yes"), is_duplicate: true },
        };
        let bytes = encode(&answer).expect("encodes");
        assert_eq!(decode::<ProposeAnswer>(&bytes).expect("decodes"), answer);
        assert!(decode::<ProposeAnswer>(&[&bytes[..], b"x"].concat()).is_err());
        let vote = Vote { leader_id: leader(4, 2), committed: false };
        let last = Some(LogId::new(leader(1, 2), 3));
        let mut ask = VoteRequest::new(vote, last);
        ask.leadership_transfer = true;
        let bytes = encode(&VoteAsk::of(&ask)).expect("encodes");
        assert_eq!(decode::<VoteAsk>(&bytes).expect("decodes").request(), ask);
        let response = AppendEntriesResponse::PartialSuccess(last);
        let bytes = encode(&AppendAnswer::of(&response)).expect("encodes");
        assert_eq!(decode::<AppendAnswer>(&bytes).expect("decodes").response(), response);
    }
}
