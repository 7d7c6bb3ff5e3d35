//! What a replica remembers of its own credibility, over restarts too.
//!
//! The file is there only while there is something to say: a replica in quarantine, or one whose
//! state came as a snapshot and has not been compared since.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Agreement, Quarantine, StateDigest, verdict::Credit};
use crate::{
    StartError, rt,
    storage::{
        files::{doing, read_if_there, remove_if_there, sync_dir, write_whole},
        identity::hex,
    },
};

/// Name of the file in the data directory.
pub(crate) const STANDING_FILE: &str = "standing";
/// First bytes of the file; the last one is the format.
const MAGIC: &[u8; 8] = b"QSTAND\0\x01";

/// A replica's state differed from that of a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// At this index.
    pub(crate) index: u64,
    /// The digest of its own state.
    pub(crate) own: StateDigest,
    /// The digest of the majority.
    pub(crate) majority: StateDigest,
}

/// What is on the disk. Encoded with `postcard`: fields are never reordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Set while the replica is in quarantine.
    pub(crate) finding: Option<Finding>,
    /// Whether the state came as a snapshot that has not been found equal yet.
    pub(crate) is_unproven: bool,
}

impl Record {
    /// What the replica's digest is worth as evidence.
    pub(crate) fn credit(&self) -> Credit {
        match self {
            Self { finding: Some(_), .. } => Credit::Quarantined,
            Self { is_unproven: true, .. } => Credit::Unproven,
            _ => Credit::Witness,
        }
    }
}

/// The standing of this replica.
#[derive(Debug)]
pub(crate) struct Standing {
    path: PathBuf,
    record: watch::Sender<Record>,
    /// Held while the file is written.
    turn: tokio::sync::Mutex<()>,
    /// Set while a new state is on its way: no entries are taken meanwhile.
    pub(crate) is_awaiting_state: AtomicBool,
    /// See [`Agreement::agreed_index`].
    pub(crate) agreed_index: AtomicU64,
    /// See [`Agreement::disputed_index`]; 0 if there is none.
    pub(crate) disputed_index: AtomicU64,
}

impl Standing {
    /// Reads the standing of a data directory.
    ///
    /// # Errors
    /// [`StartError`] if the file cannot be read, or is not what was written.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StartError> {
        let path = data_dir.join(STANDING_FILE);
        let bytes = read_if_there(&path).map_err(doing("reading", &path))?;
        let record = bytes.map_or(Some(Record::default()), |bytes| decode(&bytes));
        let record = record.ok_or_else(|| {
            StartError::Damaged(format!(
                "{} is damaged: whether this replica may be believed cannot be told; restore the \
                 file from a copy of this disk, or replace the replica under a new id",
                path.display()
            ))
        })?;
        Ok(Self {
            path,
            record: watch::Sender::new(record),
            turn: tokio::sync::Mutex::new(()),
            is_awaiting_state: AtomicBool::new(false),
            agreed_index: AtomicU64::new(0),
            disputed_index: AtomicU64::new(0),
        })
    }

    /// What is remembered.
    pub(crate) fn record(&self) -> Record {
        *self.record.borrow()
    }

    /// Whether this replica is in quarantine.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.record.borrow().finding.is_some()
    }

    /// Tells of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<Record> {
        self.record.subscribe()
    }

    /// What is said of it in public.
    pub(crate) fn agreement(&self) -> Agreement {
        let Record { finding, is_unproven } = self.record();
        let disputed = self.disputed_index.load(Ordering::Relaxed);
        Agreement {
            agreed_index: self.agreed_index.load(Ordering::Relaxed),
            disputed_index: (disputed > 0).then_some(disputed),
            quarantine: finding.map(|Finding { index, own, majority }| Quarantine {
                index,
                digest: hex(&own),
                majority: hex(&majority),
                is_healing: is_unproven,
            }),
        }
    }

    /// The state is about to be replaced by a snapshot's. Durable when this returns.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) async fn state_replaced(&self) -> io::Result<()> {
        self.update(|record| record.is_unproven = true).await.map(drop)
    }

    /// Changes what is remembered; first on the disk. Returns what was remembered before.
    ///
    /// # Errors
    /// If the file cannot be written; nothing is changed in memory then.
    pub(crate) async fn update(&self, change: impl FnOnce(&mut Record)) -> io::Result<Record> {
        let _turn = self.turn.lock().await;
        let before = self.record();
        let mut record = before;
        change(&mut record);
        if record != before {
            let path = self.path.clone();
            rt::blocking(move || write(&path, &record)).await??;
            self.record.send_replace(record);
        }
        Ok(before)
    }
}

fn write(path: &Path, record: &Record) -> io::Result<()> {
    if *record == Record::default() {
        remove_if_there(path)?;
        return path.parent().map_or(Ok(()), sync_dir);
    }
    let mut bytes = postcard::to_extend(record, MAGIC.to_vec()).map_err(io::Error::other)?;
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    write_whole(path, &bytes)
}

/// Reads the file; nothing of one that is not what was written.
pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    postcard::from_bytes(body.strip_prefix(MAGIC)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_released_one() {
        let finding = Finding { index: 70_000, own: [1; 32], majority: [2; 32] };
        let record = Record { finding: Some(finding), is_unproven: true };
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(STANDING_FILE);
        write(&path, &record).expect("writes");
        let bytes = std::fs::read(&path).expect("is there");
        crate::testing::golden::check("standing-1", &bytes);
        assert_eq!(decode(&bytes), Some(record));
    }

    #[tokio::test]
    async fn what_is_remembered_survives_and_a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let standing = Standing::open(dir.path()).expect("opens");
        assert_eq!(standing.record().credit(), Credit::Witness);
        standing.state_replaced().await.expect("writes");
        assert_eq!(standing.record().credit(), Credit::Unproven);
        let finding = Finding { index: 7, own: [1; 32], majority: [2; 32] };
        standing.update(|record| record.finding = Some(finding)).await.expect("writes");
        let again = Standing::open(dir.path()).expect("opens");
        assert_eq!(again.record(), Record { finding: Some(finding), is_unproven: true });
        assert_eq!(again.record().credit(), Credit::Quarantined);
        let shown = again.agreement().quarantine.expect("in quarantine");
        assert_eq!((shown.index, shown.is_healing), (7, true));

        let path = dir.path().join(STANDING_FILE);
        let mut bytes = std::fs::read(&path).expect("is there");
        bytes[12] ^= 1;
        std::fs::write(&path, &bytes).expect("writes");
        let refused = Standing::open(dir.path()).expect_err("damaged");
        assert!(refused.to_string().contains("damaged"), "{refused}");

        again.update(|record| *record = Record::default()).await.expect("writes");
        assert!(!path.exists(), "nothing is left to say");
        assert_eq!(Standing::open(dir.path()).expect("opens").record(), Record::default());
    }
}
