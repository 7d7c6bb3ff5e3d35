//! Streams an archive of the applied state to whoever asked for it.
//!
//! The state is a published one, so neither applying nor serving waits for the archive. A reader
//! that takes nothing for too long is given up, and what it has is not whole, which its end shows.

use std::{
    io::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::core::Core;
use crate::{
    Machine, ReadError,
    offline::{Archive, ArchivePlan, Origin, write_archive},
    replicated::Replicated,
    storage::{LogStore, Snapshots},
};

/// Handed over at a time.
const CHUNK_BYTES: usize = 128 * 1024;
/// Chunks that wait for the reader.
const CHUNKS_MAX: usize = 4;
/// A reader that takes nothing for this long is given up.
const STALL: Duration = Duration::from_secs(30);

/// An archive on its way out: a stream of its bytes. After an error nothing more comes, and what
/// came before is not whole.
#[derive(Debug)]
pub struct ArchiveStream {
    /// What it says of itself.
    pub archive: Archive,
    chunks: mpsc::Receiver<io::Result<Bytes>>,
}

impl Stream for ArchiveStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_recv(context)
    }
}

impl<M: Machine> Core<M> {
    /// See [`super::Node::archive`].
    pub(crate) async fn archive(
        &self,
        about: String,
        with_history: bool,
    ) -> io::Result<ArchiveStream> {
        if self.standing.is_quarantined() {
            return Err(io::Error::other(ReadError::Quarantined));
        }
        let disk = self.disk.load_full();
        let disk = disk.ok_or_else(|| io::Error::other("this replica has stopped"))?;
        let end = Replicated::clone(&self.board.latest());
        let origin = Origin {
            about,
            cluster: self.identity.cluster,
            replica_id: self.here(),
            created_ms: (self.config.wall_clock_ms)(),
        };
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let (told, head) = oneshot::channel();
        let runtime = Handle::current();
        let work = move || {
            let out = Chunks { sender: sender.clone(), rest: BytesMut::new(), runtime };
            let base = match with_history {
                true => oldest::<M>(&disk.snapshots, &end),
                false => Ok(end.clone()),
            };
            match base.and_then(|base| ArchivePlan::new(origin, base, &end)) {
                Err(error) => drop(told.send(Err(error))),
                Ok(plan) => {
                    drop(told.send(Ok(plan.facts())));
                    write(&plan, out, &disk.log, &sender);
                }
            }
        };
        // Not awaited: it ends when everything is handed over, or its reader goes away.
        drop(tokio::task::spawn_blocking(work));
        let archive = head.await.map_err(io::Error::other)??;
        Ok(ArchiveStream { archive, chunks })
    }
}

/// The state that the history begins with: that of the oldest snapshot, or the present one while
/// there is no snapshot.
fn oldest<M: Machine>(
    snapshots: &Arc<Snapshots>,
    end: &Replicated<M>,
) -> io::Result<Replicated<M>> {
    let oldest = snapshots.load_oldest::<M>()?;
    let is_before = |oldest: &Replicated<M>| oldest.index() <= end.index();
    Ok(oldest.filter(is_before).unwrap_or_else(|| end.clone()))
}

fn write<M: Machine>(
    plan: &ArchivePlan<M>,
    out: Chunks,
    log: &LogStore,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) {
    let runtime = out.runtime.clone();
    let read = |from, to| runtime.block_on(log.whole_entries(from, to));
    let written = write_archive(plan, out, read).and_then(|mut out| out.hand_over());
    if let Err(error) = written {
        // The reader may be gone; then there is nobody to tell.
        let told = runtime.block_on(timeout(STALL, sender.send(Err(error))));
        drop(told);
    }
}

/// Gathers what is written into chunks, and waits for the reader.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    rest: BytesMut,
    runtime: Handle,
}

impl Chunks {
    fn hand_over(&mut self) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let chunk = self.rest.split().freeze();
        match self.runtime.block_on(timeout(STALL, self.sender.send(Ok(chunk)))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")),
        }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() >= CHUNK_BYTES {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
