//! What a disk has kept after a crash.
//!
//! The database of the log is simulated: batches are written whole, in order, and survive a power
//! cut for sure only once one of them was synced. The small files beside it (identity, mark,
//! snapshots) are real ones in memory; nothing of them is lost.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use rand::Rng;
use sha2::{Digest, Sha256};

use super::{
    event::{Ballot, Event},
    runtime::{World, lock, world},
};
use crate::{
    ReplicaId,
    storage::{
        log::{
            META_PURGED, META_VOTE,
            check::DB_DIR,
            format::{decode_value, payload_of},
            sink::Op,
        },
        wire::{decode_log_id, decode_vote, term_and_node},
    },
    types::Entry,
};

/// What a write that fails says.
pub(crate) const FAILURE: &str = "the simulated disk has failed";
/// How long one may wait for a disk that hangs before looking again.
const HANG_LOOK: Duration = Duration::from_millis(5);

/// All disks of a world, by directory.
pub(crate) struct Disks {
    base: PathBuf,
    disks: BTreeMap<PathBuf, Disk>,
}

impl Disks {
    /// No disk yet; each replica's will have a directory of its own below `base`.
    pub(crate) fn new(base: &Path) -> Self {
        Self { base: base.to_owned(), disks: BTreeMap::new() }
    }

    /// Where all data directories are.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The data directory of a replica.
    pub(crate) fn data_dir(&self, replica: ReplicaId) -> PathBuf {
        self.base.join(replica.to_string())
    }

    /// The disk of a replica; an empty one if it has none yet.
    pub(crate) fn of(&mut self, replica: ReplicaId) -> Disk {
        let path = self.data_dir(replica).join(DB_DIR);
        self.at(&path)
    }

    fn at(&mut self, path: &Path) -> Disk {
        self.disks.entry(path.to_owned()).or_default().clone()
    }
}

/// One disk; outlives the processes that use it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What a power cut leaves for sure.
    durable: Image,
    /// What the process reads.
    live: Image,
    /// What separates the two.
    unsynced: Vec<Vec<Op>>,
    /// A batch that is being written.
    in_flight: Option<Vec<Op>>,
    /// Counts processes; those before the last one are gone.
    life: u64,
    mood: Mood,
}

/// How a disk behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mood {
    /// Longest time a write takes, in milliseconds.
    pub(crate) write_ms_max: u64,
    /// No write returns.
    pub(crate) hangs: bool,
    /// The next write fails.
    pub(crate) fails: bool,
}

/// What ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process alone: what it wrote is there.
    Kill,
    /// The machine: what was not synced may be gone, from some batch on.
    PowerCut,
}

#[derive(Clone, Default)]
struct Image {
    entries: BTreeMap<u64, Bytes>,
    meta: BTreeMap<&'static str, Vec<u8>>,
}

impl Image {
    fn apply(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Put { index, value } => drop(self.entries.insert(*index, value.clone())),
                Op::Delete { from, to, .. } => self.entries.retain(|at, _| at < from || at >= to),
                Op::Meta { key, value } => drop(self.meta.insert(key, value.clone())),
            }
        }
    }

    fn vote(&self) -> Option<(Ballot, bool)> {
        let vote = decode_vote(self.meta.get(META_VOTE)?).expect("what was written decodes");
        Some(((vote.leader_id.term, vote.leader_id.node_id), vote.committed))
    }

    fn purged(&self) -> Option<u64> {
        let purged = self.meta.get(META_PURGED)?;
        Some(decode_log_id(purged).expect("what was written decodes").index())
    }

    fn leader_at(&self, index: u64) -> Option<Ballot> {
        let entry = decode(index, self.entries.get(&index)?);
        Some(term_and_node(&entry.log_id))
    }
}

impl Disk {
    /// Changes how the disk behaves.
    pub(crate) fn set_mood(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut lock(&self.0).mood);
    }

    /// Ends the process that uses the disk.
    pub(crate) fn crash(&self, world: &World, how: Crash) {
        let mut state = lock(&self.0);
        let State { durable, live, unsynced, in_flight, life, mood } = &mut *state;
        let whole = unsynced.len();
        let kept = match how {
            Crash::Kill => whole,
            Crash::PowerCut => world.draw(|draws| draws.random_range(0..=whole)),
        };
        for batch in unsynced.drain(..).take(kept) {
            durable.apply(&batch);
        }
        // Whether a write that nobody was told of has reached the disk is anybody's guess.
        if let Some(batch) = in_flight.take()
            && kept == whole
            && world.chance(500)
        {
            durable.apply(&batch);
        }
        *live = durable.clone();
        *life += 1;
        *mood = Mood { write_ms_max: mood.write_ms_max, ..Mood::default() };
    }

    /// The vote that a start would find.
    pub(crate) fn vote(&self) -> Option<(Ballot, bool)> {
        lock(&self.0).live.vote()
    }

    /// The leader of an entry that is on the disk.
    pub(crate) fn leader_at(&self, index: u64) -> Option<ReplicaId> {
        Some(lock(&self.0).live.leader_at(index)?.1)
    }

    /// The vote that a power cut leaves for sure.
    pub(crate) fn durable_vote(&self) -> Option<Ballot> {
        Some(lock(&self.0).durable.vote()?.0)
    }

    /// The leader of the entry that a power cut leaves at an index for sure; with it, whether the
    /// index is covered by a snapshot or has been given to a later leader than `of` by now.
    pub(crate) fn durable_at(&self, index: u64, of: Ballot) -> (Option<Ballot>, bool) {
        let state = lock(&self.0);
        let is_purged = state.durable.purged().is_some_and(|purged| purged >= index);
        let is_later = state.live.vote().is_some_and(|(ballot, _)| ballot > of);
        (state.durable.leader_at(index), is_purged || is_later)
    }
}

/// A disk as the process that has opened it sees it.
#[derive(Clone)]
pub(crate) struct Opened {
    disk: Disk,
    life: u64,
}

/// Opens the database in a directory, if this is a simulation.
pub(crate) fn open(path: &Path) -> io::Result<Option<Opened>> {
    let Some(world) = world() else { return Ok(None) };
    let disk = lock(&world.disks).at(path);
    // By this file a start knows that there is a database.
    let current = path.join("CURRENT");
    if !current.exists() {
        fs::create_dir_all(path)?;
        File::create(current)?;
    }
    let life = lock(&disk.0).life;
    Ok(Some(Opened { disk, life }))
}

impl Opened {
    /// Something about the log.
    pub(crate) fn meta(&self, key: &str) -> Option<Vec<u8>> {
        lock(&self.disk.0).live.meta.get(key).cloned()
    }

    /// The values under the indexes `[start, end)`, in order.
    pub(crate) fn entries(&self, start: u64, end: u64) -> Vec<(u64, Bytes)> {
        let state = lock(&self.disk.0);
        let entries = state.live.entries.range(start..end);
        entries.map(|(index, value)| (*index, value.clone())).collect()
    }

    /// Lets the time of a write pass.
    pub(crate) fn pause(&self, ops: &[Op]) -> BoxFuture<'static, ()> {
        let longest = {
            let mut state = lock(&self.disk.0);
            state.in_flight = Some(ops.to_vec());
            state.mood.write_ms_max
        };
        let disk = self.disk.clone();
        async move {
            let Some(world) = world() else { return };
            let millis = world.draw(|draws| draws.random_range(0..=longest));
            if millis > 0 {
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
            while lock(&disk.0).mood.hangs {
                tokio::time::sleep(HANG_LOOK).await;
            }
        }
        .boxed()
    }

    /// Writes a batch.
    pub(crate) fn write(&self, ops: &[Op], is_synced: bool) -> io::Result<()> {
        let Some(world) = world() else { return Err(gone()) };
        let mut state = lock(&self.disk.0);
        if state.life != self.life {
            return Err(gone());
        }
        state.in_flight = None;
        if std::mem::take(&mut state.mood.fails) {
            // Nothing is known about the batch then.
            if world.chance(500) {
                state.unsynced.push(ops.to_vec());
            }
            return Err(io::Error::other(FAILURE));
        }
        state.live.apply(ops);
        state.unsynced.push(ops.to_vec());
        if is_synced {
            let State { durable, unsynced, .. } = &mut *state;
            unsynced.drain(..).for_each(|batch| durable.apply(&batch));
        }
        let events = events_of(world.owner(), &state.live, ops);
        drop(state);
        events.iter().for_each(|event| world.tell(event));
        Ok(())
    }
}

fn events_of(replica: ReplicaId, live: &Image, ops: &[Op]) -> Vec<Event> {
    let mut events = Vec::new();
    for op in ops {
        match op {
            Op::Put { index, value } => {
                let entry = decode(*index, value);
                let previous = index.checked_sub(1).and_then(|before| live.leader_at(before));
                let at = (term_and_node(&entry.log_id), *index);
                events.push(Event::Stored { replica, at, digest: digest_of(&entry), previous });
            }
            Op::Meta { key, .. } if *key == META_VOTE => {
                events.extend(live.vote().map(|vote| Event::Voted { replica, vote }));
            }
            Op::Meta { .. } | Op::Delete { .. } => {}
        }
    }
    events
}

fn decode(index: u64, value: &Bytes) -> Entry {
    decode_value(index, value.clone()).expect("what was written decodes")
}

fn digest_of(entry: &Entry) -> u64 {
    let (kind, payload) = payload_of(entry).expect("what was written encodes");
    let mut hash = Sha256::new();
    hash.update([kind.byte()]);
    hash.update(&payload);
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn gone() -> io::Error {
    io::Error::other("the process that opened this disk is gone")
}
