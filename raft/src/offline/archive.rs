//! An archive of the replicated state: a state at one index, and perhaps the entries after it.
//!
//! `"QBACK\0" | format u16 | records | trailer`, framed as a snapshot is: every record has a
//! checksum, and the trailer has the number of records and the SHA-256 of everything before it. The
//! first record says what the archive is. Then come the records of the state, then a record that
//! ends them, then the entries of the log in order. An archive is whole or refused: a cut or altered
//! one cannot pass, and a reader compares the state it comes to, at both ends of the entries, with
//! the digests that the writing replica computed of its own states.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Position, RecordItem};
use crate::{
    Machine, Published, RawEntry, RecordSink, RecordSource, ReplicaId,
    replicated::Replicated,
    storage::{
        identity::hex,
        log::format::{decode_value, encode_value},
        snapshot::format::{Shape, SnapshotReader, SnapshotWriter},
        state_digest,
        wire::damaged,
    },
    types::Entry,
};

/// An archive.
const ARCHIVE: Shape = Shape { magic: b"QBACK\0", format: 1, noun: "backup" };
/// What the archive is; the first record.
const KIND_ARCHIVE: u8 = 200;
/// Ends the records of the state.
const KIND_STATE_END: u8 = 201;
/// The next part of an entry, not the last one.
const KIND_PART: u8 = 202;
/// An entry, or its last part: index and value.
const KIND_ENTRY: u8 = 203;
/// Most bytes of one part.
const PART_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Entries taken from the log at a time.
const BATCH_ENTRIES: u64 = 512;
/// What to do about a damaged archive.
const ADVICE: &str = "use another copy of it, or another backup";

/// One of the two states of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchiveState {
    /// The last entry in it.
    #[serde(flatten)]
    pub position: Position,
    /// Time of its last command, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Digest over every entry so far and what it came to, hexadecimal.
    pub log_chain: String,
    /// Digest of the state, hexadecimal; the one that replicas report at that index.
    pub digest: String,
}

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// Version of the layout.
    pub format: u16,
    /// The cluster it was taken from.
    pub cluster_id: String,
    /// The replica it was taken from.
    pub replica_id: ReplicaId,
    /// When, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// What the writing program wanted to say besides; not judged here.
    pub about: String,
    /// The state that is stored.
    pub base: ArchiveState,
    /// The state that the stored entries lead to; the same as `base` if there are none.
    pub end: ArchiveState,
}

/// One part of an archive.
#[derive(Clone, Debug)]
pub enum ArchiveItem {
    /// What it says of itself; comes first.
    Head(Box<Archive>),
    /// A record of the stored state.
    Record(RecordItem),
    /// An entry after that state.
    Entry(RawEntry),
}

/// What an archive leads to.
pub struct Recovered<M> {
    /// What it says of itself.
    pub archive: Archive,
    /// The state at the index that was asked for.
    pub state: Published<M>,
}

impl<M> std::fmt::Debug for Recovered<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered").field("archive", &self.archive).finish_non_exhaustive()
    }
}

/// What an archive is made of.
pub(crate) struct ArchivePlan<M> {
    head: Head,
    base: Replicated<M>,
}

/// Where an archive comes from.
pub(crate) struct Origin {
    /// See [`Archive::about`].
    pub(crate) about: String,
    /// The cluster.
    pub(crate) cluster: [u8; 16],
    /// The replica.
    pub(crate) replica_id: ReplicaId,
    /// Milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
}

/// The first record. Encoded with `postcard`: fields are never reordered.
#[derive(Serialize, Deserialize)]
struct Head {
    about: String,
    cluster: [u8; 16],
    replica_id: ReplicaId,
    created_ms: u64,
    base: StateHead,
    end: StateHead,
}

#[derive(Serialize, Deserialize)]
struct StateHead {
    index: u64,
    term: u64,
    leader: ReplicaId,
    time_ms: u64,
    log_chain: [u8; 32],
    digest: [u8; 32],
}

impl StateHead {
    fn of<M: Machine>(state: &Replicated<M>) -> io::Result<Self> {
        let Some(applied) = state.applied() else {
            return Err(io::Error::other("nothing has been applied yet"));
        };
        let Position { index, term, leader } = Position::of(applied);
        let digest = state_digest(state)?;
        let (time_ms, log_chain) = (state.time_ms(), state.log_chain());
        Ok(Self { index, term, leader, time_ms, log_chain, digest })
    }

    fn facts(&self) -> ArchiveState {
        ArchiveState {
            position: Position { index: self.index, term: self.term, leader: self.leader },
            time_ms: self.time_ms,
            log_chain: hex(&self.log_chain),
            digest: hex(&self.digest),
        }
    }

    /// Refuses a state that is not the one this says.
    fn judge<M: Machine>(&self, state: &Replicated<M>) -> io::Result<()> {
        let found = Self::of(state)?;
        let is_same = (found.index, found.term, found.leader)
            == (self.index, self.term, self.leader)
            && found.log_chain == self.log_chain
            && found.digest == self.digest;
        if is_same {
            return Ok(());
        }
        Err(damaged(format!(
            "the backup leads to another state at entry {} than the replica had that wrote it: the \
             file was altered, or this program applies entries differently; {ADVICE}",
            self.index
        )))
    }
}

impl Head {
    fn facts(&self) -> Archive {
        Archive {
            format: ARCHIVE.format,
            cluster_id: hex(&self.cluster),
            replica_id: self.replica_id,
            created_ms: self.created_ms,
            about: self.about.clone(),
            base: self.base.facts(),
            end: self.end.facts(),
        }
    }
}

impl<M: Machine> ArchivePlan<M> {
    /// Plans an archive of a state, and of the entries from there to another one. Computes the
    /// digests of both.
    ///
    /// # Errors
    /// If nothing has been applied yet, or a state does not encode.
    pub(crate) fn new(
        origin: Origin,
        base: Replicated<M>,
        end: &Replicated<M>,
    ) -> io::Result<Self> {
        let Origin { about, cluster, replica_id, created_ms } = origin;
        let (base_head, end) = (StateHead::of(&base)?, StateHead::of(end)?);
        let head = Head { about, cluster, replica_id, created_ms, base: base_head, end };
        Ok(Self { head, base })
    }

    /// What the archive says of itself.
    pub(crate) fn facts(&self) -> Archive {
        self.head.facts()
    }
}

/// Writes an archive. `read` hands out the entries of `[from, to)`, as many from the first on as
/// it likes, at least one. Blocks.
pub(crate) fn write_archive<M: Machine, W: Write>(
    plan: &ArchivePlan<M>,
    out: W,
    mut read: impl FnMut(u64, u64) -> io::Result<Vec<Entry>>,
) -> io::Result<W> {
    let head = &plan.head;
    let mut writer = SnapshotWriter::begin_as(&ARCHIVE, out)?;
    writer.put(KIND_ARCHIVE, &postcard::to_stdvec(head).map_err(io::Error::other)?)?;
    plan.base.export(&mut writer)?;
    writer.put(KIND_STATE_END, &[])?;
    let (mut next, end) = (head.base.index + 1, head.end.index + 1);
    while next < end {
        for entry in read(next, end.min(next + BATCH_ENTRIES))? {
            if entry.log_id.index() != next {
                return Err(damaged(format!("entry {next} is not in the log any more")));
            }
            put_entry(&mut writer, &entry)?;
            next += 1;
        }
    }
    Ok(writer.finish()?.out)
}

fn put_entry<W: Write>(writer: &mut SnapshotWriter<W>, entry: &Entry) -> io::Result<()> {
    let value = encode_value(entry)?;
    let mut rest = value.as_slice();
    while rest.len() > PART_BYTES_MAX {
        let (part, after) = rest.split_at(PART_BYTES_MAX);
        writer.put(KIND_PART, part)?;
        rest = after;
    }
    let mut last = entry.log_id.index().to_le_bytes().to_vec();
    last.extend_from_slice(rest);
    writer.put(KIND_ENTRY, &last)
}

/// An archive being read.
struct Reading {
    records: SnapshotReader<File>,
    head: Head,
    /// Whether the records of the state are behind.
    is_past_state: bool,
    /// Parts of the entry that is being put together.
    parts: Vec<u8>,
}

impl Reading {
    fn begin(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        judge_format(&mut file)?;
        let mut records = SnapshotReader::begin_as(&ARCHIVE, file).map_err(advise)?;
        let head: Head = match records.next_record().map_err(advise)? {
            Some((KIND_ARCHIVE, bytes)) => postcard::from_bytes(&bytes)
                .map_err(|error| damaged(format!("the head does not decode: {error}; {ADVICE}")))?,
            _ => return Err(damaged(format!("the backup does not say what it is; {ADVICE}"))),
        };
        if head.end.index < head.base.index {
            return Err(damaged(format!("the backup ends before it begins; {ADVICE}")));
        }
        Ok(Self { records, head, is_past_state: false, parts: Vec::new() })
    }

    fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        while let Some((kind, bytes)) = self.records.next_record().map_err(advise)? {
            match kind {
                KIND_PART => self.parts.extend_from_slice(&bytes),
                KIND_ENTRY => {
                    let (index, rest) = bytes
                        .split_first_chunk::<8>()
                        .ok_or_else(|| damaged(format!("an entry has no index; {ADVICE}")))?;
                    self.parts.extend_from_slice(rest);
                    let value = Bytes::from(std::mem::take(&mut self.parts));
                    let index = u64::from_le_bytes(*index);
                    return decode_value(index, value).map(Some).map_err(advise);
                }
                _ => return Err(damaged(format!("the backup has a stray record; {ADVICE}"))),
            }
        }
        if self.parts.is_empty() {
            return Ok(None);
        }
        Err(damaged(format!("the last entry of the backup is not whole; {ADVICE}")))
    }
}

/// The records of the stored state.
impl RecordSource for Reading {
    fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        if self.is_past_state {
            return Ok(None);
        }
        match self.records.next_record().map_err(advise)? {
            Some((KIND_STATE_END, _)) => {
                self.is_past_state = true;
                Ok(None)
            }
            Some(record) => Ok(Some(record)),
            None => Err(damaged(format!("the state in the backup has no end; {ADVICE}"))),
        }
    }
}

impl Archive {
    /// Reads only what an archive says of itself; nothing else of it is checked.
    ///
    /// # Errors
    /// `InvalidData` if the file is no archive, or of another format.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Reading::begin(path)?.head.facts())
    }

    /// Reads and checks a whole archive, and returns the state at an index, or the last one. All
    /// of it is read and both of its states are compared with their digests, whatever the index.
    ///
    /// # Errors
    /// `InvalidData` if the archive is not whole, or leads to another state than it says;
    /// `InvalidInput` if it does not hold the index.
    pub fn recover<M: Machine>(path: &Path, index: Option<u64>) -> io::Result<Recovered<M>> {
        let mut reading = Reading::begin(path)?;
        let (first, last) = (reading.head.base.index, reading.head.end.index);
        let index = index.unwrap_or(last);
        if !(first..=last).contains(&index) {
            let what = format!("the backup holds the states at entries {first} to {last} only");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut state = Replicated::<M>::import(&mut reading).map_err(advise)?;
        reading.head.base.judge(&state)?;
        let mut wanted = (index == first).then(|| state.clone());
        while let Some(entry) = reading.next_entry()? {
            state
                .apply_entry(&entry, &mut Vec::new())
                .map_err(|error| damaged(format!("{error}; {ADVICE}")))?;
            if state.index() == index {
                wanted = Some(state.clone());
            }
        }
        reading.head.end.judge(&state)?;
        let state = wanted.ok_or_else(|| damaged(format!("entry {index} is missing; {ADVICE}")))?;
        Ok(Recovered { archive: reading.head.facts(), state })
    }
}

/// Hands over every part of an archive until told to stop. One that is read to its end is whole;
/// its states are not compared with their digests, which takes the machine: see
/// [`Archive::recover`].
///
/// # Errors
/// What `take` returns; `InvalidData` if the file is damaged or no archive.
pub fn scan_archive(
    path: &Path,
    mut take: impl FnMut(ArchiveItem) -> io::Result<bool>,
) -> io::Result<()> {
    let mut reading = Reading::begin(path)?;
    if !take(ArchiveItem::Head(Box::new(reading.head.facts())))? {
        return Ok(());
    }
    while let Some((kind, bytes)) = RecordSource::next_record(&mut reading)? {
        if !take(ArchiveItem::Record(RecordItem::decode(kind, bytes)?))? {
            return Ok(());
        }
    }
    while let Some(entry) = reading.next_entry()? {
        if !take(ArchiveItem::Entry(RawEntry::of(&entry)?))? {
            return Ok(());
        }
    }
    Ok(())
}

fn judge_format(file: &mut File) -> io::Result<()> {
    let mut head = [0; 8];
    let is_read = file.read_exact(&mut head).is_ok();
    file.rewind()?;
    let format = u16::from_le_bytes([head[6], head[7]]);
    if is_read && &head[..6] == ARCHIVE.magic && format != ARCHIVE.format {
        return Err(damaged(format!(
            "the backup has format {format}, this program knows {}: use the program that wrote it, \
             or a newer one",
            ARCHIVE.format
        )));
    }
    Ok(())
}

/// Says what to do about damage.
fn advise(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData if !error.to_string().ends_with(ADVICE) => {
            damaged(format!("{error}; {ADVICE}"))
        }
        _ => error,
    }
}
