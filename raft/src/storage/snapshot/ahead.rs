//! Reads a snapshot on a thread of its own, ahead of whoever makes a state of it.

use std::{
    fs::File,
    io,
    panic::resume_unwind,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread, vec,
};

use super::{SnapshotFile, format::SnapshotReader};
use crate::RecordSource;

/// Bytes of records that are handed over at once, about.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches that wait; whoever reads waits then.
const BATCHES_MAX: usize = 16;

type Batch = Vec<(u8, Vec<u8>)>;

/// Reads and checks a snapshot, and hands its records to `make`.
///
/// # Errors
/// Whatever reading returns, or `make`.
pub(super) fn read<T>(
    path: &Path,
    make: impl FnOnce(&mut dyn RecordSource) -> io::Result<T>,
) -> io::Result<(T, SnapshotFile)> {
    let reader = SnapshotReader::begin(File::open(path)?)?;
    thread::scope(|scope| {
        let (batches, queue) = sync_channel(BATCHES_MAX);
        let thread = thread::Builder::new().name("snapshot-read".to_owned());
        let thread = thread.spawn_scoped(scope, || hand_over(reader, batches))?;
        // Takes the queue with it: whoever reads for nobody stops.
        let made = make(&mut Ahead { queue, batch: Batch::new().into_iter() });
        let read = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        // A fault of the file ends what is made of it, so it comes first.
        let (bytes, digest) = read?;
        Ok((made?, SnapshotFile { path: path.to_owned(), bytes, digest }))
    })
}

fn hand_over(
    mut reader: SnapshotReader<File>,
    batches: SyncSender<Batch>,
) -> io::Result<(u64, [u8; 32])> {
    let (mut batch, mut bytes) = (Batch::new(), 0);
    while let Some((kind, record)) = reader.next_record()? {
        bytes += record.len();
        batch.push((kind, record));
        if bytes >= BATCH_BYTES {
            bytes = 0;
            // Nobody takes it any more: the rest need not be read, and the digest is of no use.
            if batches.send(std::mem::take(&mut batch)).is_err() {
                return Ok((0, [0; 32]));
            }
        }
    }
    // Whether there is somebody left to take it is found out by what they made.
    drop(batches.send(batch));
    drop(batches);
    reader.finish()
}

/// Records that have been read.
struct Ahead {
    queue: Receiver<Batch>,
    batch: vec::IntoIter<(u8, Vec<u8>)>,
}

impl RecordSource for Ahead {
    fn next_record(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some(record) = self.batch.next() {
                return Ok(Some(record));
            }
            // At the end, or at a fault that the reader reports itself.
            let Ok(batch) = self.queue.recv() else { return Ok(None) };
            self.batch = batch.into_iter();
        }
    }
}
