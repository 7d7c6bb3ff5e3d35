//! The last index known to be flushed, in a file beside the database.
//!
//! Written after each synced batch without a sync of its own, so it is always a lower bound and
//! nearly free. A log that ends before it has lost a tail that it had acknowledged.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::storage::{files::write_whole, wire::damaged};

/// Name of the file in the data directory.
pub(crate) const MARK_FILE: &str = "mark";
/// First bytes of the file.
const MAGIC: &[u8; 8] = b"QMARK\0\0\x01";
/// Size of the file; one block, overwritten in place.
const MARK_BYTES: usize = 4096;
/// Magic, end, whether the log was in use, CRC.
const RECORD_BYTES: usize = 8 + 8 + 1 + 4;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MarkRecord {
    /// Everything below this index was flushed.
    pub(crate) flushed_end: u64,
    /// Whether the log had been founded: if it had, a missing database is a lost one.
    pub(crate) is_founded: bool,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    record: MarkRecord,
}

impl Mark {
    /// Opens the file; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidData` if it cannot be understood.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Option<Self>> {
        Self::open_with(data_dir, OpenOptions::new().read(true).write(true))
    }

    /// As [`Mark::open`], without the right to change the file.
    pub(crate) fn open_read_only(data_dir: &Path) -> io::Result<Option<Self>> {
        Self::open_with(data_dir, OpenOptions::new().read(true))
    }

    fn open_with(data_dir: &Path, options: &OpenOptions) -> io::Result<Option<Self>> {
        let path = data_dir.join(MARK_FILE);
        let file = match options.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; RECORD_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Some(Self { file, record: decode(&bytes)? }))
    }

    /// Creates the file for a log that holds nothing.
    pub(crate) fn create(data_dir: &Path) -> io::Result<Self> {
        let record = MarkRecord { flushed_end: 0, is_founded: false };
        let path = data_dir.join(MARK_FILE);
        let mut block = vec![0; MARK_BYTES];
        block[..RECORD_BYTES].copy_from_slice(&encode(record));
        write_whole(&path, &block)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, record })
    }

    /// What the file says.
    pub(crate) fn record(&self) -> MarkRecord {
        self.record
    }

    /// Notes, durably, that the log is in use.
    pub(crate) fn found(&mut self) -> io::Result<()> {
        self.write(MarkRecord { is_founded: true, ..self.record })?;
        self.file.sync_data()
    }

    /// Notes that everything below an index is flushed. Not durable by itself.
    pub(crate) fn advance(&mut self, flushed_end: u64) -> io::Result<()> {
        if flushed_end == self.record.flushed_end {
            return Ok(());
        }
        self.write(MarkRecord { flushed_end, ..self.record })
    }

    /// Takes back, durably, what is about to be truncated: a mark above the end of the log would
    /// look like a lost tail.
    pub(crate) fn retreat(&mut self, flushed_end: u64) -> io::Result<()> {
        if flushed_end >= self.record.flushed_end {
            return Ok(());
        }
        self.write(MarkRecord { flushed_end, ..self.record })?;
        self.file.sync_data()
    }

    fn write(&mut self, record: MarkRecord) -> io::Result<()> {
        self.file.write_all_at(&encode(record), 0)?;
        self.record = record;
        Ok(())
    }
}

fn encode(record: MarkRecord) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&record.flushed_end.to_le_bytes());
    bytes[16] = u8::from(record.is_founded);
    let sum = crc32c::crc32c(&bytes[..17]);
    bytes[17..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; RECORD_BYTES]) -> io::Result<MarkRecord> {
    let sum = crc32c::crc32c(&bytes[..17]);
    if &bytes[..8] != MAGIC || bytes[17..] != sum.to_le_bytes() {
        return Err(damaged("the mark is damaged (its checksum does not hold)"));
    }
    let mut end = [0; 8];
    end.copy_from_slice(&bytes[8..16]);
    Ok(MarkRecord { flushed_end: u64::from_le_bytes(end), is_founded: bytes[16] == 1 })
}
