//! The lock that keeps a second process away from a data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
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
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StartError::Locked(data_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(doing("locking", &path)(source)),
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
}
