//! Where backups are kept: a directory, or a bucket of an object store.
//!
//! The name of a backup says which revision it reaches and when it was taken, so a list of names is
//! all that has to be known of them.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod bucket;
pub mod dir;

use bucket::Bucket;
use dir::BackupDir;

/// Begins the name of a backup.
const PREFIX: &str = "quorate-";
/// Ends it.
const SUFFIX: &str = ".qback";

/// A backup that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Stored {
    /// When it was taken, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Revision it reaches.
    pub index: u64,
    /// Its name in the directory or bucket.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// Which backups are kept. The newest one always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Most backups; 0 keeps any number.
    pub count: usize,
    /// Oldest backup; `None` keeps any age.
    pub age_max: Option<Duration>,
}

/// A place for backups.
#[derive(Debug)]
pub enum Backups {
    /// A directory of this machine.
    Dir(BackupDir),
    /// A bucket of an object store.
    Bucket(Bucket),
}

impl Backups {
    /// Where it is, for people: a path, or a URL.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Dir(dir) => dir.path().display().to_string(),
            Self::Bucket(bucket) => bucket.url().to_owned(),
        }
    }

    /// Where a backup of that name is.
    #[must_use]
    pub fn place_of(&self, name: &str) -> String {
        match self {
            Self::Dir(dir) => dir.path().join(name).display().to_string(),
            Self::Bucket(bucket) => format!("{}/{name}", bucket.url()),
        }
    }

    /// Writes a backup: whole and durable, or not there. An error among the chunks is the error.
    ///
    /// # Errors
    /// `ResourceBusy` while another one is being written; whatever writing or `chunks` returns.
    pub async fn store(
        &self,
        named: (u64, u64),
        chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> io::Result<Stored> {
        match self {
            Self::Dir(dir) => dir.store(named, chunks).await,
            Self::Bucket(bucket) => bucket.store(named, chunks).await,
        }
    }

    /// The backups there are, newest first.
    ///
    /// # Errors
    /// If the place cannot be read.
    pub async fn list(&self) -> io::Result<Vec<Stored>> {
        match self {
            Self::Dir(dir) => dir.list().await,
            Self::Bucket(bucket) => bucket.list().await,
        }
    }

    /// A backup, as it comes.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name; whatever reading returns.
    pub async fn open(&self, name: &str) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        match self {
            Self::Dir(dir) => dir.open(name).await,
            Self::Bucket(bucket) => bucket.open(name).await,
        }
    }

    /// Removes what is not to be kept any more; returns how many backups that were.
    ///
    /// # Errors
    /// If the place cannot be read, or a backup cannot be removed.
    pub async fn thin_out(&self, keep: Keep, now_ms: u64) -> io::Result<usize> {
        match self {
            Self::Dir(dir) => dir.thin_out(keep, now_ms).await,
            Self::Bucket(bucket) => bucket.thin_out(keep, now_ms).await,
        }
    }
}

/// Name of a backup.
#[must_use]
pub fn name_of(index: u64, created_ms: u64) -> String {
    format!("{PREFIX}{index}-{created_ms}{SUFFIX}")
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (index, created_ms) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((index.parse().ok()?, created_ms.parse().ok()?))
}

/// One is written at a time.
fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "another backup is being written")
}

/// What is not to be kept of backups, newest first.
fn superfluous(stored: &[Stored], keep: Keep, now_ms: u64) -> impl Iterator<Item = &Stored> {
    let age_max_ms = keep.age_max.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    stored.iter().enumerate().skip(1).filter_map(move |(place, stored)| {
        let is_too_many = keep.count > 0 && place >= keep.count;
        let is_too_old =
            age_max_ms.is_some_and(|most| now_ms.saturating_sub(stored.created_ms) > most);
        (is_too_many || is_too_old).then_some(stored)
    })
}
