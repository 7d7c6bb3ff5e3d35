//! One snapshot as a file.
//!
//! `"QSNAP\0" | format u16 | records | trailer`, little endian. A record is
//! `kind u8 | length u32 | bytes | crc32c u32`, the sum over kind, length and bytes. The trailer is
//! a record of kind 255 with the number of records before it (u64) and the SHA-256 of everything
//! before it; nothing follows.

use std::io::{self, BufReader, Read, Write};

use sha2::{Digest, Sha256};

use crate::{
    RecordSink, RecordSource,
    storage::wire::{damaged, newer},
};

/// What tells one kind of record file from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// First bytes.
    pub(crate) magic: &'static [u8; 6],
    /// Version of the layout.
    pub(crate) format: u16,
    /// What people call it.
    pub(crate) noun: &'static str,
}

/// A snapshot.
pub(crate) const SNAPSHOT: Shape = Shape { magic: b"QSNAP\0", format: 1, noun: "snapshot" };
/// Kind of the last record.
const KIND_TRAILER: u8 = 255;
/// Most bytes of one record.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Read from the disk at once.
const READ_BYTES: usize = 256 * 1024;

/// Digest of a whole snapshot file.
pub(crate) type FileDigest = [u8; 32];

/// Writes the records of a snapshot.
pub(crate) struct SnapshotWriter<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
    records: u64,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins a snapshot.
    pub(crate) fn begin(out: W) -> io::Result<Self> {
        Self::begin_as(&SNAPSHOT, out)
    }

    /// Begins another file of records.
    pub(crate) fn begin_as(shape: &Shape, out: W) -> io::Result<Self> {
        let mut writer = Self { out, hash: Sha256::new(), bytes: 0, records: 0 };
        writer.write(shape.magic)?;
        writer.write(&shape.format.to_le_bytes())?;
        Ok(writer)
    }

    /// Ends the snapshot; returns what it was written to, its size and the digests of the records
    /// and of the file.
    pub(crate) fn finish(mut self) -> io::Result<Finished<W>> {
        let state: [u8; 32] = self.hash.clone().finalize().into();
        let mut trailer = self.records.to_le_bytes().to_vec();
        trailer.extend_from_slice(&state);
        self.record(KIND_TRAILER, &trailer)?;
        self.out.flush()?;
        Ok(Finished { out: self.out, bytes: self.bytes, state, file: self.hash.finalize().into() })
    }

    fn record(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= RECORD_BYTES_MAX);
        let Some(length) = length else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a record of {} bytes, at most {RECORD_BYTES_MAX} fit", bytes.len()),
            ));
        };
        let mut head = [kind, 0, 0, 0, 0];
        head[1..].copy_from_slice(&length.to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&head), bytes);
        self.write(&head)?;
        self.write(bytes)?;
        self.write(&sum.to_le_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl<W: Write> RecordSink for SnapshotWriter<W> {
    fn put(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        self.records += 1;
        self.record(kind, bytes)
    }
}

/// A snapshot that was written to its end.
pub(crate) struct Finished<W> {
    /// What it was written to.
    pub(crate) out: W,
    /// Its size.
    pub(crate) bytes: u64,
    /// Digest of the records: equal for equal states.
    pub(crate) state: [u8; 32],
    /// Digest of the file.
    pub(crate) file: FileDigest,
}

/// Reads the records of a snapshot, checking each.
pub(crate) struct SnapshotReader<R> {
    noun: &'static str,
    input: BufReader<R>,
    hash: Sha256,
    bytes: u64,
    records: u64,
    is_at_end: bool,
}

impl<R: Read> SnapshotReader<R> {
    /// Begins to read a snapshot.
    ///
    /// # Errors
    /// `InvalidData` if it is none, or of another format.
    pub(crate) fn begin(input: R) -> io::Result<Self> {
        Self::begin_as(&SNAPSHOT, input)
    }

    /// Begins to read another file of records.
    ///
    /// # Errors
    /// `InvalidData` if it is not of that kind, or of another format.
    pub(crate) fn begin_as(shape: &Shape, input: R) -> io::Result<Self> {
        let noun = shape.noun;
        let mut reader = Self {
            noun,
            input: BufReader::with_capacity(READ_BYTES, input),
            hash: Sha256::new(),
            bytes: 0,
            records: 0,
            is_at_end: false,
        };
        let mut head = [0; 8];
        reader.read(&mut head)?;
        if &head[..6] != shape.magic {
            return Err(damaged(format!("this is not a {noun}")));
        }
        let format = u16::from_le_bytes([head[6], head[7]]);
        if format != shape.format {
            let known = shape.format;
            return Err(newer(format!(
                "the {noun} has format {format}, this program knows {known}"
            )));
        }
        Ok(reader)
    }

    /// Size and digest of the whole file, once the last record has been read.
    ///
    /// # Errors
    /// `InvalidData` if records are left.
    pub(crate) fn finish(mut self) -> io::Result<(u64, FileDigest)> {
        if !self.is_at_end && self.next_record()?.is_some() {
            return Err(damaged(format!("the {} has records nobody read", self.noun)));
        }
        Ok((self.bytes, self.hash.finalize().into()))
    }

    fn end(&mut self, trailer: &[u8], state: [u8; 32]) -> io::Result<()> {
        let mut wanted = self.records.to_le_bytes().to_vec();
        wanted.extend_from_slice(&state);
        if trailer != wanted {
            return Err(damaged(format!(
                "the {} is damaged (its digest does not hold)",
                self.noun
            )));
        }
        if self.input.read(&mut [0; 1])? != 0 {
            return Err(damaged(format!("something follows the end of the {}", self.noun)));
        }
        self.is_at_end = true;
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.fill(bytes)?;
        self.took(bytes);
        Ok(())
    }

    /// Reads what is not part of the digest yet.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.cut_off(),
            _ => error,
        })
    }

    /// Reads as many bytes as a record claims to have. Memory grows with what is there: the claim
    /// of a damaged file may be anything.
    fn read_claimed(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.min(READ_BYTES));
        self.input.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(self.cut_off());
        }
        self.took(&bytes);
        Ok(bytes)
    }

    fn cut_off(&self) -> io::Error {
        damaged(format!("the {} is cut off", self.noun))
    }

    fn took(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> RecordSource for SnapshotReader<R> {
    fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        if self.is_at_end {
            return Ok(None);
        }
        let mut head = [0; 5];
        self.fill(&mut head)?;
        // The trailer tells the digest of what comes before it; ending it for every record would
        // cost as much as the records themselves.
        let state = (head[0] == KIND_TRAILER).then(|| self.hash.clone().finalize().into());
        self.took(&head);
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > RECORD_BYTES_MAX {
            return Err(damaged(format!("a record of the {} claims {length} bytes", self.noun)));
        }
        let bytes = self.read_claimed(length)?;
        let mut sum = [0; 4];
        self.read(&mut sum)?;
        if u32::from_le_bytes(sum) != crc32c::crc32c_append(crc32c::crc32c(&head), &bytes) {
            return Err(damaged(format!(
                "a record of the {} is damaged (its checksum does not hold)",
                self.noun
            )));
        }
        if let Some(state) = state {
            self.end(&bytes, state)?;
            return Ok(None);
        }
        self.records += 1;
        Ok(Some((head[0], bytes)))
    }
}
