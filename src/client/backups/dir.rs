//! A directory of backups: written whole or not at all, listed, and thinned out.
//!
//! A backup is a file that only its owner may read, because it has passwords. Files of other names
//! are never touched.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::{
    fs::{self, File, OpenOptions},
    io::AsyncWriteExt,
    sync::Mutex,
};
use tokio_util::io::ReaderStream;

use super::{Keep, Stored, busy, name_of, parse_name, superfluous};

/// Ends the name of one that is being written.
const UNFINISHED: &str = ".part";
/// Who may read a backup.
const MODE: u32 = 0o600;

/// A directory of backups.
#[derive(Debug)]
pub struct BackupDir {
    path: PathBuf,
    /// One is written at a time.
    turn: Mutex<()>,
}

impl BackupDir {
    /// The directory of a path; created when it is first written to.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, turn: Mutex::new(()) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a backup: whole and durable, or not there. An error among the chunks is the error.
    ///
    /// # Errors
    /// `ResourceBusy` while another one is being written; whatever writing or `chunks` returns.
    pub async fn store(
        &self,
        (index, created_ms): (u64, u64),
        chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> io::Result<Stored> {
        let Ok(_turn) = self.turn.try_lock() else {
            return Err(busy());
        };
        fs::create_dir_all(&self.path).await.map_err(|error| self.about(&error))?;
        let name = name_of(index, created_ms);
        let path = self.path.join(&name);
        let bytes = write_file(&path, chunks).await.map_err(|error| self.about(&error))?;
        Ok(Stored { created_ms, index, name, bytes })
    }

    /// The backups there are, newest first; none if there is no directory yet.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub async fn list(&self) -> io::Result<Vec<Stored>> {
        let mut entries = match fs::read_dir(&self.path).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.about(&error)),
        };
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((index, created_ms)) = parse_name(&name) else { continue };
            // It may have been thinned out meanwhile.
            let Ok(facts) = entry.metadata().await else { continue };
            found.push(Stored { created_ms, index, name, bytes: facts.len() });
        }
        found.sort_by(|one, other| other.cmp(one));
        Ok(found)
    }

    /// Removes what is not to be kept any more, and what an interrupted writing left; returns how
    /// many backups that were.
    ///
    /// # Errors
    /// If the directory cannot be read, or a file cannot be removed.
    pub async fn thin_out(&self, keep: Keep, now_ms: u64) -> io::Result<usize> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(0) };
        let mut removed = 0;
        for stored in superfluous(&self.list().await?, keep, now_ms) {
            fs::remove_file(self.path.join(&stored.name)).await?;
            removed += 1;
        }
        let mut entries = fs::read_dir(&self.path).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_suffix(UNFINISHED).is_some_and(|name| parse_name(name).is_some()) {
                fs::remove_file(entry.path()).await?;
            }
        }
        Ok(removed)
    }

    /// Opens a backup of that name.
    ///
    /// # Errors
    /// `NotFound` if there is none, or the name is not that of a backup; whatever opening returns.
    pub async fn open(&self, name: &str) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        parse_name(name).ok_or(io::ErrorKind::NotFound)?;
        let file = File::open(self.path.join(name)).await?;
        Ok(ReaderStream::new(file).boxed())
    }

    fn about(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

/// Writes a file for its owner's eyes only: whole and durable, or not there. Returns its size.
///
/// # Errors
/// Whatever writing or `chunks` returns.
pub async fn write_file(
    path: &Path,
    mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
) -> io::Result<u64> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let written = async {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).open(&unfinished).await?;
        file.set_permissions(std::fs::Permissions::from_mode(MODE)).await?;
        let mut bytes = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            file.write_all(&chunk).await?;
            bytes += chunk.len() as u64;
        }
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&unfinished, path).await?;
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            File::open(dir).await?.sync_all().await?;
        }
        Ok(bytes)
    };
    let written = written.await;
    if written.is_err() {
        // Nobody takes it for a backup; the next thinning removes it if this does not.
        drop(fs::remove_file(&unfinished).await);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;

    use super::*;

    fn chunks(parts: &[&'static str]) -> impl Stream<Item = io::Result<Bytes>> + Unpin + use<> {
        let parts: Vec<_> =
            parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        stream::iter(parts)
    }

    #[tokio::test]
    async fn a_backup_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let backups = BackupDir::new(dir.path().join("in/here"));
        assert!(backups.list().await.unwrap().is_empty());
        let stored = backups.store((7, 1_000), chunks(&["ab", "c"])).await.unwrap();
        assert_eq!((stored.bytes, stored.name.as_str()), (3, "quorate-7-1000.qback"));
        let path = backups.path().join(&stored.name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, std::fs::read(&path).unwrap()), (MODE, b"abc".to_vec()));
        let broken = stream::iter([Ok(Bytes::from_static(b"x")), Err(io::Error::other("broke"))]);
        let error = backups.store((8, 2_000), broken).await.unwrap_err();
        assert!(error.to_string().contains("broke"), "{error}");
        assert_eq!(std::fs::read_dir(backups.path()).unwrap().count(), 1);
        assert_eq!(backups.list().await.unwrap(), [stored]);
        let opened = backups.open("quorate-7-1000.qback").await.unwrap();
        let parts: Vec<Bytes> = opened.map(Result::unwrap).collect().await;
        assert_eq!(parts.concat(), b"abc");
        for name in ["quorate-9-1000.qback", "../here/quorate-7-1000.qback", "notes.txt"] {
            let refused = backups.open(name).await.map(drop).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::NotFound, "{name}");
        }
    }

    #[tokio::test]
    async fn thinning_keeps_the_newest_and_strangers() {
        let dir = tempfile::tempdir().unwrap();
        let backups = BackupDir::new(dir.path().to_owned());
        for second in 1..=5 {
            backups.store((second, second * 1_000), chunks(&["x"])).await.unwrap();
        }
        std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
        std::fs::write(dir.path().join("quorate-9-9000.qback.part"), "x").unwrap();
        let keep = Keep { count: 3, age_max: None };
        assert_eq!(backups.thin_out(keep, 5_000).await.unwrap(), 2);
        let left = |found: Vec<Stored>| found.iter().map(|stored| stored.index).collect::<Vec<_>>();
        assert_eq!(left(backups.list().await.unwrap()), [5, 4, 3]);
        let keep = Keep { count: 0, age_max: Some(Duration::from_secs(1)) };
        assert_eq!(backups.thin_out(keep, 90_000).await.unwrap(), 2);
        assert_eq!(left(backups.list().await.unwrap()), [5]);
        assert!(dir.path().join("notes.txt").exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
