//! A snapshot on its way in.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{SnapshotFile, format::FileDigest, paced::PIECE_BYTES};
use crate::{
    rt,
    storage::{files::remove_if_there, wire::damaged},
};

/// Tells apart the files of one process.
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// A file that grows as a snapshot arrives; removed unless the snapshot arrives whole.
#[derive(Debug)]
pub(crate) struct Receiving {
    path: PathBuf,
    file: Arc<File>,
    hash: Sha256,
    bytes: u64,
    unsynced: u64,
    is_whole: bool,
}

impl Receiving {
    /// Creates the file.
    pub(super) async fn begin(recv_dir: &Path) -> io::Result<Self> {
        let number = RECEIVED.fetch_add(1, Ordering::Relaxed);
        let path = recv_dir.join(format!("recv-{number}.qs"));
        let created = path.clone();
        let file = rt::blocking(move || File::create(created)).await??;
        let file = Arc::new(file);
        Ok(Self { path, file, hash: Sha256::new(), bytes: 0, unsynced: 0, is_whole: false })
    }

    /// Adds what arrived.
    ///
    /// # Errors
    /// Whatever writing returns.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.hash.update(&chunk);
        self.bytes += chunk.len() as u64;
        self.unsynced += chunk.len() as u64;
        let is_piece = self.unsynced >= PIECE_BYTES;
        if is_piece {
            self.unsynced = 0;
        }
        let file = self.file.clone();
        rt::blocking(move || {
            (&*file).write_all(&chunk)?;
            if is_piece { file.sync_data() } else { Ok(()) }
        })
        .await?
    }

    /// Bytes that arrived so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file durable, if it is the one that was announced.
    ///
    /// # Errors
    /// `InvalidData` if size or digest differ; whatever writing returns.
    pub(crate) async fn finish(
        mut self,
        bytes: u64,
        digest: FileDigest,
    ) -> io::Result<SnapshotFile> {
        let found: FileDigest = self.hash.clone().finalize().into();
        if self.bytes != bytes || found != digest {
            return Err(damaged(format!(
                "{} of {bytes} bytes of a snapshot arrived, or they are damaged",
                self.bytes
            )));
        }
        let file = self.file.clone();
        rt::blocking(move || file.sync_all()).await??;
        self.is_whole = true;
        Ok(SnapshotFile { path: self.path.clone(), bytes, digest })
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if !self.is_whole
            && let Err(error) = remove_if_there(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished snapshot stays until the next start");
        }
    }
}
