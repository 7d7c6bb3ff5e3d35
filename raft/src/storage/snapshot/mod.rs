//! Snapshots as files: written, received, kept and thrown away.
//!
//! A snapshot counts from the moment its record is durable in the log's database; before that its
//! file is garbage that the next start removes. Two are kept.
//!
//! Begin reading at [`Snapshots`], then [`mod@format`].

mod ahead;
pub(crate) mod format;
mod paced;
mod receive;
#[cfg(test)]
mod snapshot_test;

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures::future::BoxFuture;
use metrics::{gauge, histogram};
use openraft::LogIdOptionExt;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use self::receive::Receiving;
use self::{
    format::{FileDigest, SnapshotWriter},
    paced::PacedFile,
};
use super::{
    Fatal, LogStore,
    files::{create_dir, doing, remove_if_there, sync_dir},
    wire::{damaged, decode_stored_membership, encode_stored_membership, leader, term_and_node},
};
use crate::{
    Machine, ReplicaId, StartError,
    metrics::{SNAPSHOT_BYTES, SNAPSHOT_WRITE_SECONDS},
    replicated::Replicated,
    rt,
    types::{LogId, SnapshotMeta},
};

/// Directory of complete snapshots in the data directory.
pub(crate) const SNAP_DIR: &str = "snap";
/// Directory of snapshots being received in the data directory.
pub(crate) const RECV_DIR: &str = "recv";
/// Buffered before a write of a snapshot.
const WRITE_BYTES: usize = 256 * 1024;

/// A complete snapshot file: what is handed to the transport, and taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// SHA-256 of the file.
    pub(crate) digest: FileDigest,
}

/// Where the record of the snapshots is kept; a seam, because the log of a test is in memory.
pub(crate) trait SnapshotIndex: Send + Sync {
    /// Stores the record durably; see [`LogStore::save_snapshot_record`].
    fn save(
        &self,
        record: Vec<u8>,
        purge_limit: Option<LogId>,
        covers: Option<LogId>,
    ) -> BoxFuture<'_, io::Result<()>>;
}

impl SnapshotIndex for LogStore {
    fn save(
        &self,
        record: Vec<u8>,
        purge_limit: Option<LogId>,
        covers: Option<LogId>,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.save_snapshot_record(record, purge_limit, covers))
    }
}

/// What the record says of one snapshot. Encoded with `postcard`: fields are never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptRecord {
    /// File name in the directory of snapshots.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// SHA-256 of the file.
    pub(crate) digest: FileDigest,
    /// Term, replica and index of the last entry it covers.
    last: Option<(u64, ReplicaId, u64)>,
    membership: Vec<u8>,
}

/// The snapshots that are kept, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    newest: Option<KeptRecord>,
    older: Option<KeptRecord>,
}

/// The snapshots of one replica.
pub(crate) struct Snapshots {
    snap_dir: PathBuf,
    recv_dir: PathBuf,
    index: Arc<dyn SnapshotIndex>,
    kept: Mutex<Kept>,
    /// Held while a snapshot is written or adopted: one at a time. Readers do not wait for it.
    turn: tokio::sync::Mutex<()>,
    fatal: Fatal,
    newest: watch::Sender<Option<LogId>>,
}

impl Snapshots {
    /// Takes over the directories of a replica whose record has been read.
    pub(crate) fn new(
        data_dir: &Path,
        kept: Kept,
        index: Arc<dyn SnapshotIndex>,
        fatal: Fatal,
    ) -> Self {
        let newest = watch::Sender::new(kept.newest_position());
        Self {
            snap_dir: data_dir.join(SNAP_DIR),
            recv_dir: data_dir.join(RECV_DIR),
            index,
            kept: Mutex::new(kept),
            turn: tokio::sync::Mutex::new(()),
            fatal,
            newest,
        }
    }

    /// Tells of every new snapshot by its position.
    pub(crate) fn watch_newest(&self) -> watch::Receiver<Option<LogId>> {
        self.newest.subscribe()
    }

    /// Begins to receive a snapshot from another replica.
    ///
    /// # Errors
    /// If no file can be created.
    pub(crate) async fn receive(&self) -> io::Result<Receiving> {
        Receiving::begin(&self.recv_dir).await
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// If its record does not decode.
    pub(crate) fn newest(&self) -> io::Result<Option<(SnapshotMeta, SnapshotFile)>> {
        self.kept().newest.as_ref().map(|record| self.describe(record)).transpose()
    }

    /// Reads the oldest snapshot that is kept; `None` if there is none. Blocks on the disk.
    ///
    /// # Errors
    /// If it cannot be read, or is not the one that was written.
    pub(crate) fn load_oldest<M: Machine>(&self) -> io::Result<Option<Replicated<M>>> {
        let kept = self.kept().clone();
        let Some(data_dir) = self.snap_dir.parent() else { return Ok(None) };
        match kept.load_older::<M>(data_dir)? {
            Some(older) => Ok(Some(older)),
            None => kept.load::<M>(data_dir),
        }
    }

    /// Writes a snapshot of a state, and makes it the newest one unless there is a newer one by
    /// then; returns the newest one.
    ///
    /// # Errors
    /// If a write failed; the replica stops then.
    pub(crate) async fn write<M: Machine>(
        &self,
        state: Replicated<M>,
    ) -> io::Result<(SnapshotMeta, SnapshotFile)> {
        let written = self.try_write(state).await;
        written.inspect_err(|error| self.give_up("writing a snapshot", error))
    }

    /// Reads a received snapshot, and makes it the newest one.
    ///
    /// # Errors
    /// `InvalidData` if the file is not the snapshot it is said to be; whatever writing returns.
    /// The replica stops then.
    pub(crate) async fn install<M: Machine>(
        &self,
        wanted: &SnapshotMeta,
        file: SnapshotFile,
        level_max: u64,
    ) -> io::Result<Replicated<M>> {
        let installed = self.try_install(wanted, file, level_max).await;
        installed.inspect_err(|error| match error.kind() {
            // Nothing is wrong with the disk: the program is too old, and says so itself.
            io::ErrorKind::Unsupported => self.fatal.raise(error.to_string()),
            _ => self.give_up("installing a received snapshot", error),
        })
    }

    /// Keeps the newest snapshot alone; returns its position.
    ///
    /// # Errors
    /// Whatever writing returns.
    pub(crate) async fn forget_older(&self) -> io::Result<Option<LogId>> {
        let _turn = self.turn.lock().await;
        let previous = self.kept().clone();
        let position = previous.newest_position();
        let Some(older) = previous.older else { return Ok(position) };
        let next = Kept { newest: previous.newest, older: None };
        self.index.save(next.encode()?, None, None).await?;
        *self.kept() = next;
        remove_if_there(&self.snap_dir.join(older.name))?;
        Ok(position)
    }

    async fn try_write<M: Machine>(
        &self,
        state: Replicated<M>,
    ) -> io::Result<(SnapshotMeta, SnapshotFile)> {
        let last = state.applied().copied();
        let _turn = self.turn.lock().await;
        let is_kept = {
            let kept = self.kept();
            kept.newest.is_some() && kept.newest_position().index() >= last.index()
        };
        if !is_kept {
            let begun = Instant::now();
            let path = self.snap_dir.join(name_of(last));
            let membership = encode_stored_membership(state.membership())?;
            let written = run_blocking(move || write_file(&path, &state)).await?;
            histogram!(SNAPSHOT_WRITE_SECONDS).record(begun.elapsed());
            self.keep(KeptRecord::new(last, &written, membership)?, None).await?;
        }
        self.newest()?.ok_or_else(nothing_kept)
    }

    async fn try_install<M: Machine>(
        &self,
        wanted: &SnapshotMeta,
        file: SnapshotFile,
        level_max: u64,
    ) -> io::Result<Replicated<M>> {
        let last = wanted.last_log_id;
        let path = self.snap_dir.join(name_of(last));
        let _turn = self.turn.lock().await;
        let is_kept = self.newest()?.is_some_and(|(_, newest)| newest.path == file.path);
        let source = file.path.clone();
        let (state, found) = run_blocking(move || read_file::<M>(&source)).await?;
        if state.applied().copied() != last || found.digest != file.digest {
            return Err(damaged("the snapshot is not the one that was announced"));
        }
        let known = state.check_level(level_max);
        known.map_err(|unknown| io::Error::new(io::ErrorKind::Unsupported, unknown))?;
        if is_kept {
            return Ok(state);
        }
        let recv_dir = self.recv_dir.clone();
        let installed = run_blocking(move || adopt(&found, &path, &recv_dir)).await?;
        let membership = encode_stored_membership(state.membership())?;
        self.keep(KeptRecord::new(last, &installed, membership)?, last).await?;
        Ok(state)
    }

    /// Makes a snapshot whose file is durable the newest one; the turn is the caller's.
    async fn keep(&self, newest: KeptRecord, covers: Option<LogId>) -> io::Result<()> {
        let previous = self.kept().clone();
        let older = previous.newest.clone().filter(|older| older.name != newest.name);
        #[allow(clippy::cast_precision_loss)]
        gauge!(SNAPSHOT_BYTES).set(newest.bytes as f64);
        let next = Kept { newest: Some(newest), older };
        self.index.save(next.encode()?, next.older_position(), covers).await?;
        let dropped = previous.older.filter(|dropped| !next.names(&dropped.name));
        let position = next.newest_position();
        *self.kept() = next;
        self.newest.send_replace(position);
        match dropped {
            Some(dropped) => remove_if_there(&self.snap_dir.join(dropped.name)),
            None => Ok(()),
        }
    }

    fn give_up(&self, doing: &str, error: &io::Error) {
        self.fatal.raise(format!(
            "{doing} in {} failed: {error}. The replica stops. Look for a full disk or for I/O \
             errors in the kernel's log, mend the disk, and start the replica again",
            self.snap_dir.display()
        ));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, record: &KeptRecord) -> io::Result<(SnapshotMeta, SnapshotFile)> {
        let meta = SnapshotMeta {
            last_log_id: record.position(),
            last_membership: decode_stored_membership(&record.membership)?,
        };
        let path = self.snap_dir.join(&record.name);
        Ok((meta, SnapshotFile { path, bytes: record.bytes, digest: record.digest }))
    }
}

impl Kept {
    /// Reads the record; nothing is kept if there is none.
    pub(crate) fn decode(bytes: Option<&[u8]>) -> io::Result<Self> {
        bytes.map_or(Ok(Self::default()), |bytes| {
            postcard::from_bytes(bytes)
                .map_err(|error| damaged(format!("the snapshot record does not decode: {error}")))
        })
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(io::Error::other)
    }

    fn names(&self, name: &str) -> bool {
        self.records().any(|record| record.name == name)
    }

    /// Position of the newest snapshot.
    pub(crate) fn newest_position(&self) -> Option<LogId> {
        self.newest.as_ref().and_then(KeptRecord::position)
    }

    /// Position of the older snapshot: a purge stops there.
    pub(crate) fn older_position(&self) -> Option<LogId> {
        self.older.as_ref().and_then(KeptRecord::position)
    }

    /// Reads the newest snapshot at start.
    ///
    /// # Errors
    /// `InvalidData` or `NotFound` if it is not what was kept.
    pub(crate) fn load<M: Machine>(&self, data_dir: &Path) -> io::Result<Option<Replicated<M>>> {
        self.newest.as_ref().map(|record| record.load(data_dir, "newest")).transpose()
    }

    /// Reads the older snapshot, if there is one.
    ///
    /// # Errors
    /// As [`Kept::load`].
    pub(crate) fn load_older<M: Machine>(
        &self,
        data_dir: &Path,
    ) -> io::Result<Option<Replicated<M>>> {
        self.older.as_ref().map(|record| record.load(data_dir, "older")).transpose()
    }

    /// What is kept, newest first.
    pub(crate) fn records(&self) -> impl Iterator<Item = &KeptRecord> {
        [&self.newest, &self.older].into_iter().flatten()
    }

    /// The record of a disk with one snapshot, encoded.
    pub(crate) fn encode_one(
        last: LogId,
        file: &SnapshotFile,
        membership: Vec<u8>,
    ) -> io::Result<Vec<u8>> {
        let newest = KeptRecord::new(Some(last), file, membership)?;
        Self { newest: Some(newest), older: None }.encode()
    }

    /// Creates the directories and removes what an interrupted write or transfer left in them.
    ///
    /// # Errors
    /// [`StartError::Io`].
    pub(crate) fn clean(&self, data_dir: &Path) -> Result<(), StartError> {
        for (dir, keeps_any) in [(SNAP_DIR, true), (RECV_DIR, false)] {
            let dir = data_dir.join(dir);
            create_dir(&dir).map_err(doing("creating", &dir))?;
            let listed = fs::read_dir(&dir).map_err(doing("listing", &dir))?;
            for file in listed {
                let path = file.map_err(doing("listing", &dir))?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if !(keeps_any && self.names(name)) {
                    tracing::info!(path = %path.display(), "removing an unfinished snapshot");
                    remove_if_there(&path).map_err(doing("removing", &path))?;
                }
            }
        }
        Ok(())
    }
}

impl KeptRecord {
    /// Reads the snapshot, and checks that it is the one that was written.
    fn load<M: Machine>(&self, data_dir: &Path, which: &str) -> io::Result<Replicated<M>> {
        let name = &self.name;
        let about = |error: io::Error| {
            io::Error::new(error.kind(), format!("the {which} snapshot, {name}: {error}"))
        };
        let (state, found) = read_file::<M>(&data_dir.join(SNAP_DIR).join(name)).map_err(about)?;
        if found.bytes != self.bytes || found.digest != self.digest {
            return Err(about(damaged("the file is not the one that was written")));
        }
        if state.applied().copied() != self.position() {
            return Err(about(damaged("it holds another position than it was kept for")));
        }
        Ok(state)
    }

    fn new(last: Option<LogId>, file: &SnapshotFile, membership: Vec<u8>) -> io::Result<Self> {
        let name = file.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| io::Error::other("a snapshot has no name"))?.to_owned();
        let last = last.map(|last| {
            let (term, node) = term_and_node(&last);
            (term, node, last.index())
        });
        Ok(Self { name, bytes: file.bytes, digest: file.digest, last, membership })
    }

    /// The last entry it covers.
    pub(crate) fn position(&self) -> Option<LogId> {
        self.last.map(|(term, node, index)| LogId::new(leader(term, node), index))
    }
}

/// Digest of a state: equal for equal states, whoever computes it.
pub(crate) fn state_digest<M: Machine>(state: &Replicated<M>) -> io::Result<[u8; 32]> {
    let mut writer = SnapshotWriter::begin(io::sink())?;
    state.export(&mut writer)?;
    Ok(writer.finish()?.state)
}

/// File name of the snapshot of a position.
pub(crate) fn name_of(last: Option<LogId>) -> String {
    last.map_or("snap-empty.qs".to_owned(), |last| {
        let (term, node) = term_and_node(&last);
        format!("snap-{term}-{node}-{}.qs", last.index())
    })
}

/// Writes a snapshot that is either whole and durable or not there.
pub(crate) fn write_file<M: Machine>(
    path: &Path,
    state: &Replicated<M>,
) -> io::Result<SnapshotFile> {
    let temporary = path.with_extension("tmp");
    let paced = PacedFile::new(File::create(&temporary)?);
    let mut writer = SnapshotWriter::begin(BufWriter::with_capacity(WRITE_BYTES, paced))?;
    state.export(&mut writer)?;
    let finished = writer.finish()?;
    finished.out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(SnapshotFile { path: path.to_owned(), bytes: finished.bytes, digest: finished.file })
}

/// Reads and checks a snapshot.
pub(crate) fn read_file<M: Machine>(path: &Path) -> io::Result<(Replicated<M>, SnapshotFile)> {
    ahead::read(path, |records| Replicated::import(records))
}

/// Brings a snapshot to its place: a received one is moved, any other one is copied.
fn adopt(found: &SnapshotFile, path: &Path, recv_dir: &Path) -> io::Result<SnapshotFile> {
    if found.path.parent() == Some(recv_dir) {
        fs::rename(&found.path, path)?;
    } else {
        let temporary = path.with_extension("tmp");
        fs::copy(&found.path, &temporary)?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)?;
    }
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(SnapshotFile { path: path.to_owned(), ..found.clone() })
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    rt::blocking(work).await?
}

fn nothing_kept() -> io::Error {
    io::Error::other("a snapshot was written and not kept; this is a defect")
}
