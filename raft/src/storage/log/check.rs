//! What is demanded of a log before it may vote again.
//!
//! Nothing here repairs anything: a log that lost or damaged something it had acknowledged would
//! answer wrongly from then on, and the other replicas still have what it lost.

use std::{io, path::Path};

use super::{
    META_COMMITTED, META_FORMAT, META_PURGED, META_SNAPSHOT, META_VOTE,
    mark::Mark,
    sink::{BatchSink, LogDb, Op},
    tail::Tail,
};
use crate::{
    StartError,
    storage::{
        files::{create_dir, doing, sync_dir},
        identity::Identity,
        wire::{decode_log_id, decode_vote},
    },
    types::{Entry, LogId, Vote},
};

/// Directory of the database in the data directory.
pub(crate) const DB_DIR: &str = "raft";
/// Version of the layout of the database.
const LOG_FORMAT: u8 = 1;
/// What an operator can do about a damaged disk.
const ADVICE: &str = "The replica does not start, because it must not vote with less than it \
                      acknowledged. Restore this data directory whole from a copy, or replace the \
                      replica under a new id with an empty one; the other replicas have the data";

/// A refusal that says what is wrong, where, and what to do.
pub(crate) fn refuse(place: &str, what: impl std::fmt::Display) -> StartError {
    StartError::Damaged(format!("{place}: {what}. {ADVICE}"))
}

/// As [`refuse`], for what was read. What a newer program wrote is no damage, and another disk is no
/// help.
pub(crate) fn refuse_io(place: &str, error: io::Error) -> StartError {
    match error.kind() {
        io::ErrorKind::Unsupported => StartError::Newer(format!("{place}: {error}")),
        _ => refuse(place, error),
    }
}

/// A log that was opened but not checked yet.
pub(crate) struct Found {
    /// The database.
    pub(crate) db: LogDb,
    /// See [`Mark`].
    pub(crate) mark: Mark,
    /// The last vote.
    pub(crate) vote: Option<Vote>,
    /// The last position that is no longer in the log.
    pub(crate) purged: Option<LogId>,
    /// How far entries were known to be committed.
    pub(crate) committed: Option<LogId>,
    /// The record of the snapshots that are kept, encoded.
    pub(crate) snapshot: Option<Vec<u8>>,
    place: String,
}

/// A log that holds everything it acknowledged.
pub(crate) struct Checked {
    /// The database.
    pub(crate) db: LogDb,
    /// See [`Mark`].
    pub(crate) mark: Mark,
    /// The end of the log.
    pub(crate) tail: Tail,
    /// The last vote.
    pub(crate) vote: Option<Vote>,
    /// How far entries were known to be committed.
    pub(crate) committed: Option<LogId>,
    /// Where the log lies, for messages.
    pub(crate) place: String,
}

impl Checked {
    /// Whether this disk has never voted, appended or installed anything.
    pub(crate) fn is_virgin(&self) -> bool {
        self.vote.is_none() && self.tail.last().is_none()
    }
}

impl Found {
    /// Opens the database and the mark, and founds them on a new disk.
    ///
    /// # Errors
    /// [`StartError::Damaged`] if one of them is gone, unreadable, or another disk's.
    pub(crate) fn open(data_dir: &Path, identity: &Identity) -> Result<Self, StartError> {
        let path = data_dir.join(DB_DIR);
        let place = path.display().to_string();
        let mark = Mark::open(data_dir).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => refuse(&place, error),
            _ => doing("reading the mark in", data_dir)(error),
        })?;
        let is_founded = mark.as_ref().is_some_and(|mark| mark.record().is_founded);
        if is_founded && !path.join("CURRENT").exists() {
            return Err(refuse(&place, "the database of the log is gone"));
        }
        create_dir(&path).map_err(doing("creating", &path))?;
        let mut db = LogDb::open(&path).map_err(|error| open_failed(&place, error))?;
        sync_dir(data_dir).map_err(doing("syncing", data_dir))?;
        let mark = match db.meta(META_FORMAT).map_err(|error| refuse(&place, error))? {
            Some(format) => check_format(&format, mark, identity, &place)?,
            None if is_founded => {
                return Err(refuse(&place, "the database of the log has lost everything in it"));
            }
            None => found(&mut db, mark, data_dir, identity)?,
        };
        Self::read(db, mark, place)
    }

    /// Opens a log that was founded before for being checked without changing a byte of it.
    ///
    /// Opening the database for writing drops what lies behind the first damaged record of its
    /// journal, for good. A replica that is then refused would have lost, besides what was damaged,
    /// what was not; and a damage that could have been undone, as a bad cable or a bad controller
    /// can, could not be any more.
    ///
    /// Returns nothing if the log is new.
    ///
    /// # Errors
    /// [`StartError::Damaged`].
    pub(crate) fn untouched(
        data_dir: &Path,
        identity: &Identity,
    ) -> Result<Option<Self>, StartError> {
        // Whatever is wrong with the mark, or there for the first time, is judged by `open`.
        let is_founded = Mark::open_read_only(data_dir)
            .is_ok_and(|mark| mark.is_some_and(|mark| mark.record().is_founded));
        if !is_founded || !data_dir.join(DB_DIR).join("CURRENT").exists() {
            return Ok(None);
        }
        Self::open_read_only(data_dir, identity).map(Some)
    }

    /// Opens a database and a mark that are there, and changes neither.
    ///
    /// # Errors
    /// [`StartError::Damaged`] if one of them is gone, unreadable, or another disk's.
    pub(crate) fn open_read_only(data_dir: &Path, identity: &Identity) -> Result<Self, StartError> {
        let path = data_dir.join(DB_DIR);
        let place = path.display().to_string();
        if !path.join("CURRENT").exists() {
            return Err(refuse(&place, "there is no database of the log"));
        }
        let mark = Mark::open_read_only(data_dir).map_err(|error| refuse(&place, error))?;
        let db = LogDb::open_read_only(&path).map_err(|error| open_failed(&place, error))?;
        let format = db.meta(META_FORMAT).map_err(|error| refuse(&place, error))?;
        let Some(format) = format else {
            return Err(refuse(&place, "the database of the log has lost everything in it"));
        };
        judge_format(&format, identity, &place)?;
        let mark = mark.ok_or_else(|| refuse(&place, "the file `mark` beside the log is gone"))?;
        Self::read(db, mark, place)
    }

    fn read(db: LogDb, mark: Mark, place: String) -> Result<Self, StartError> {
        let read = |key| db.meta(key).map_err(|error| refuse(&place, error));
        let log_id = |key| -> Result<Option<LogId>, StartError> {
            let bytes = read(key)?;
            bytes.map(|bytes| decode_log_id(&bytes)).transpose().map_err(|e| refuse(&place, e))
        };
        let vote = read(META_VOTE)?.map(|bytes| decode_vote(&bytes)).transpose();
        Ok(Self {
            vote: vote.map_err(|error| refuse(&place, error))?,
            purged: log_id(META_PURGED)?,
            committed: log_id(META_COMMITTED)?,
            snapshot: read(META_SNAPSHOT)?,
            db,
            mark,
            place,
        })
    }

    /// Reads the whole log and compares it with everything that says how long it must be.
    /// `snapshot` is the position of the newest snapshot, which has been read; `seen` the end of the
    /// log as [`Found::verify_each`] has just found it, which need not be read again.
    ///
    /// # Errors
    /// [`StartError::Damaged`].
    pub(crate) fn check(
        self,
        snapshot: Option<&LogId>,
        seen: Option<Tail>,
    ) -> Result<Checked, StartError> {
        let tail = match seen {
            Some(tail) => {
                self.ends_with(&tail)?;
                self.judge(&tail, snapshot)?;
                tail
            }
            None => self.verify(snapshot)?,
        };
        let Self { db, mark, vote, committed, place, .. } = self;
        Ok(Checked { db, mark, tail, vote, committed, place })
    }

    /// As [`Found::check`]; returns the end of the log.
    pub(crate) fn verify(&self, snapshot: Option<&LogId>) -> Result<Tail, StartError> {
        self.verify_each(snapshot, |_| ())
    }

    /// As [`Found::verify`], and shows each entry on the way: the entry is good, but nothing is
    /// known yet of what comes after it.
    pub(crate) fn verify_each(
        &self,
        snapshot: Option<&LogId>,
        each: impl FnMut(&Entry),
    ) -> Result<Tail, StartError> {
        let tail = self.read_tail(each)?;
        self.judge(&tail, snapshot)?;
        Ok(tail)
    }

    /// Whether opening the database for writing left the end where it was.
    fn ends_with(&self, tail: &Tail) -> Result<(), StartError> {
        let begin = self.purged.map_or(0, |purged| purged.index() + 1);
        let last = tail.last();
        let mut end = self.purged;
        let from = last.map_or(begin, |last| last.index());
        let scanned = self.db.scan(from.max(begin), u64::MAX, |entry, _| {
            end = Some(entry.log_id);
            Ok(true)
        });
        scanned.map_err(|error| refuse_io(&self.place, error))?;
        if end.as_ref() == last {
            return Ok(());
        }
        let show = |id: Option<&LogId>| id.map_or("nothing".to_owned(), ToString::to_string);
        let (before, after) = (show(last), show(end.as_ref()));
        Err(refuse(
            &self.place,
            format!("the log ended with {before}, and with {after} once it was open for writing"),
        ))
    }

    /// Compares the end of the log with everything that says how long it must be.
    fn judge(&self, tail: &Tail, snapshot: Option<&LogId>) -> Result<(), StartError> {
        let place = self.place.as_str();
        self.check_purged(snapshot)?;
        let last = tail.last();
        let end = last.map_or(0, |last| last.index() + 1);
        let marked_end = self.mark.record().flushed_end;
        if marked_end > end {
            return Err(refuse(place, lost(end, marked_end, "the mark of the last flushed entry")));
        }
        if let Some(snapshot) = snapshot
            && snapshot.index() >= end
        {
            return Err(refuse(place, lost(end, snapshot.index() + 1, "the newest snapshot")));
        }
        if let Some(committed) = &self.committed
            && committed.index() >= end
        {
            return Err(refuse(place, lost(end, committed.index() + 1, "the commit index")));
        }
        if let Some(last) = last {
            let leader = last.committed_leader_id();
            let is_older = match &self.vote {
                None => leader.term > 0,
                Some(vote) => vote.leader_id < *leader,
            };
            if is_older {
                let vote = self.vote.map_or("no vote".to_owned(), |vote| format!("vote {vote}"));
                return Err(refuse(
                    place,
                    format!(
                        "the disk has {vote}, but its last entry is of leader {leader}: a vote was lost"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_purged(&self, snapshot: Option<&LogId>) -> Result<(), StartError> {
        let Some(purged) = &self.purged else {
            return Ok(());
        };
        match snapshot {
            Some(snapshot) if purged.index() <= snapshot.index() => Ok(()),
            Some(snapshot) => Err(refuse(
                &self.place,
                format!(
                    "the log begins after entry {}, but the newest snapshot ends at entry {}: what lay \
                     between is gone",
                    purged.index(),
                    snapshot.index()
                ),
            )),
            None => Err(refuse(
                &self.place,
                format!(
                    "the log begins after entry {}, but there is no snapshot of what came before",
                    purged.index()
                ),
            )),
        }
    }

    fn read_tail(&self, mut each: impl FnMut(&Entry)) -> Result<Tail, StartError> {
        let mut tail = Tail::new(self.purged);
        let mut expected = self.purged.map_or(0, |purged| purged.index() + 1);
        let result = self.db.scan(expected, u64::MAX, |entry, bytes| {
            let index = entry.log_id.index();
            if index != expected {
                return Err(io::Error::other(format!(
                    "the log begins with entry {index} where entry {expected} belongs: what lay \
                     before is gone"
                )));
            }
            if let Some(last) = tail.last()
                && entry.log_id.committed_leader_id() < last.committed_leader_id()
            {
                return Err(io::Error::other(format!(
                    "entry {index} is of an older leader than the entry before it"
                )));
            }
            expected += 1;
            each(&entry);
            tail.push(entry, bytes);
            tail.flushed(expected);
            Ok(true)
        });
        result.map_err(|error| refuse_io(&self.place, error))?;
        Ok(tail)
    }
}

fn found(
    db: &mut LogDb,
    mark: Option<Mark>,
    data_dir: &Path,
    identity: &Identity,
) -> Result<Mark, StartError> {
    let path = data_dir.join(DB_DIR);
    let mut mark = match mark {
        Some(mark) => mark,
        None => Mark::create(data_dir).map_err(doing("creating the mark in", data_dir))?,
    };
    let mut format = vec![LOG_FORMAT];
    format.extend_from_slice(&identity.incarnation);
    db.write(&[Op::Meta { key: META_FORMAT, value: format }], true)
        .map_err(doing("founding the log in", &path))?;
    mark.found().map_err(doing("writing the mark in", data_dir))?;
    Ok(mark)
}

fn check_format(
    format: &[u8],
    mark: Option<Mark>,
    identity: &Identity,
    place: &str,
) -> Result<Mark, StartError> {
    judge_format(format, identity, place)?;
    let mut mark = mark.ok_or_else(|| refuse(place, "the file `mark` beside the log is gone"))?;
    if !mark.record().is_founded {
        // The first start was cut off between the database and the mark.
        mark.found().map_err(|source| StartError::Io {
            doing: format!("writing the mark beside {place} failed"),
            source,
        })?;
    }
    Ok(mark)
}

fn judge_format(format: &[u8], identity: &Identity, place: &str) -> Result<(), StartError> {
    match format.split_first() {
        Some((&LOG_FORMAT, incarnation)) if incarnation == identity.incarnation => {}
        Some((&LOG_FORMAT, _)) => {
            return Err(refuse(place, "the database of the log belongs to another disk"));
        }
        Some((format, _)) => {
            return Err(StartError::Damaged(format!(
                "{place}: the log has format {format}, this program knows {LOG_FORMAT}; run the \
                 program that wrote it"
            )));
        }
        None => return Err(refuse(place, "the log does not say what format it has")),
    }
    Ok(())
}

fn open_failed(place: &str, error: io::Error) -> StartError {
    let message = error.to_string();
    if message.starts_with("Corruption") {
        return refuse(place, format!("the database of the log is damaged ({message})"));
    }
    StartError::Io {
        doing: format!("opening the database of the log in {place} failed"),
        source: error,
    }
}

fn lost(end: u64, needed_end: u64, witness: &str) -> String {
    let ends = match end.checked_sub(1) {
        Some(last) => format!("ends at entry {last}"),
        None => "is empty".to_owned(),
    };
    format!(
        "the log {ends}, but {witness} shows that it had reached entry {}: acknowledged entries are lost",
        needed_end.saturating_sub(1)
    )
}
