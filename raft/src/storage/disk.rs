//! Opens a data directory: whose it is, whether it is whole, and what it holds.

use std::sync::Arc;

use super::{
    Board, Fatal, LogStore, MachineStore, Snapshots,
    files::doing,
    identity::{Identity, create_data_dir},
    lock::DirLock,
    log::{
        check::{Checked, DB_DIR, Found, refuse},
        sink::BatchSink,
    },
    replay::{Origin, Resumed},
    snapshot::Kept,
};
use crate::{Config, Machine, StartError, agreement::Standing};

/// The disk of one replica.
pub(crate) struct Disk;

/// What a data directory holds.
pub(crate) struct Opened<M: Machine> {
    /// Whose disk it is.
    pub(crate) identity: Identity,
    /// Whether it has never voted, appended or installed anything: what it acknowledged is
    /// nothing, or was lost with an earlier disk.
    pub(crate) is_virgin: bool,
    /// The log, for the core and for readers.
    pub(crate) log: LogStore,
    /// The replicated state, for the core.
    pub(crate) machine: MachineStore<M>,
    /// Where the replicated state is published.
    pub(crate) board: Arc<Board<M>>,
    /// The snapshots.
    pub(crate) snapshots: Arc<Snapshots>,
    /// Raised when the replica must stop.
    pub(crate) fatal: Fatal,
    /// What the replica is worth as a witness.
    pub(crate) standing: Arc<Standing>,
}

impl Disk {
    /// Opens a data directory, creates it if it is new, and checks that it holds everything it
    /// ever acknowledged. `initial` is the state before the first entry. Blocks on the disk.
    ///
    /// # Errors
    /// [`StartError`]: the directory is in use, another replica's, damaged, or cannot be read.
    pub(crate) fn open<M: Machine>(config: &Config, initial: M) -> Result<Opened<M>, StartError> {
        Self::open_with(config, initial, |checked| Box::new(checked.db.clone()))
    }

    /// As [`Disk::open`], with something between the log and its database: for tests of failing
    /// writes.
    pub(crate) fn open_with<M: Machine>(
        config: &Config,
        initial: M,
        sink: impl FnOnce(&Checked) -> Box<dyn BatchSink>,
    ) -> Result<Opened<M>, StartError> {
        let data_dir = config.data_dir.as_path();
        create_data_dir(data_dir)?;
        let lock = Arc::new(DirLock::take(data_dir)?);
        let identity = Identity::claim(config)?;
        let level_max = config.levels.known_max;
        let origin = || Origin { data_dir, initial: initial.clone(), level_max };
        // Before anything is founded or cleaned.
        let seen = match Found::untouched(data_dir, &identity)? {
            Some(found) => Some(Resumed::from_log(&found, origin())?),
            None => None,
        };
        let standing = Arc::new(Standing::open(data_dir)?);
        let found = Found::open(data_dir, &identity)?;
        let place = data_dir.display().to_string();
        let kept = Kept::decode(found.snapshot.as_deref()).map_err(|e| refuse(&place, e))?;
        let (seen, resumed) = match seen {
            Some((tail, resumed)) => (Some(tail), resumed),
            None => (None, Resumed::from_snapshot(&kept, origin())?),
        };
        let checked = found.check(kept.newest_position().as_ref(), seen)?;
        kept.clean(data_dir)?;
        let is_virgin = checked.is_virgin() && kept.newest_position().is_none();
        let fatal = Fatal::new();
        let sink = sink(&checked);
        let log = LogStore::start(checked, sink, fatal.clone(), Some(lock))
            .map_err(doing("starting the writer of", &data_dir.join(DB_DIR)))?;
        log.limit_purge(kept.older_position());
        let snapshots =
            Arc::new(Snapshots::new(data_dir, kept, Arc::new(log.clone()), fatal.clone()));
        let machine = MachineStore::resuming(resumed, snapshots.clone(), fatal.clone());
        let machine = machine.with_standing(standing.clone());
        let board = machine.board();
        Ok(Opened { identity, is_virgin, log, machine, board, snapshots, fatal, standing })
    }
}
