//! The lock that keeps a second process away from a data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use super::files::doing;
use crate::StartError;

/// Name of the lock file in the data directory.
const LOCK_FILE: &str = "LOCK";

/// Holds a data directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DirLock {
    /// The lock belongs to the open file, so it only has to stay open.
    _file: File,
}

impl DirLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`StartError::Locked`] if another process holds it.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, StartError> {
        let path = data_dir.join(LOCK_FILE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(doing("opening", &path))?;
        Self::lock(file, data_dir, &path)
    }

    /// Takes the lock of a directory without writing to it; `None` if no process ever locked it,
    /// as in a copy.
    ///
    /// # Errors
    /// [`StartError::Locked`] if another process holds it.
    pub(crate) fn take_existing(data_dir: &Path) -> Result<Option<Self>, StartError> {
        let path = data_dir.join(LOCK_FILE);
        match File::open(&path) {
            Ok(file) => Self::lock(file, data_dir, &path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(doing("opening", &path)(error)),
        }
    }

    fn lock(file: File, data_dir: &Path, path: &Path) -> Result<Self, StartError> {
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StartError::Locked(data_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(doing("locking", path)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DirLock::take(dir.path()).expect("free");
        let refused = DirLock::take(dir.path()).expect_err("held");
        assert!(matches!(refused, StartError::Locked(path) if path == dir.path()));
        drop(first);
        DirLock::take(dir.path()).expect("free again");
    }

    #[test]
    fn readers_are_kept_away_too_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(DirLock::take_existing(dir.path()).expect("free").is_none());
        assert!(!dir.path().join(LOCK_FILE).exists());
        let first = DirLock::take(dir.path()).expect("free");
        DirLock::take_existing(dir.path()).expect_err("held");
        drop(first);
        assert!(DirLock::take_existing(dir.path()).expect("free").is_some());
    }
}
