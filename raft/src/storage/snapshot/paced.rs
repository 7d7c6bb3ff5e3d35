//! Writes a snapshot without getting in the way of the log.
//!
//! A sync of the log waits for whatever the file system has to write before it, so a snapshot that
//! is synced at its end holds all writes up for as long as that takes. It is synced piece by piece
//! instead; and after each piece its writer rests for as long as the piece took, which leaves
//! others half of the disk and of a processor.

use std::{
    fs::File,
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

/// Bytes of a snapshot that are written between two syncs.
pub(super) const PIECE_BYTES: u64 = 512 * 1024;
/// Longest rest: a disk that hangs for a while is no reason to wait for as long again.
const REST_MAX: Duration = Duration::from_millis(200);

/// A file that is synced piece by piece.
pub(super) struct PacedFile {
    file: File,
    unsynced: u64,
    since: Instant,
}

impl PacedFile {
    /// Begins to write to a file.
    pub(super) fn new(file: File) -> Self {
        Self { file, unsynced: 0, since: Instant::now() }
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// If the sync fails; nothing is known about the file then.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Write for PacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written as u64;
        if self.unsynced >= PIECE_BYTES {
            self.file.sync_data()?;
            thread::sleep(self.since.elapsed().min(REST_MAX));
            (self.unsynced, self.since) = (0, Instant::now());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
