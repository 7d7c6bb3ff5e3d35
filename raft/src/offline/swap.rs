//! Founds a new cluster in place: the disk of the old one is put aside within its own directory,
//! because a data directory is often a mount that cannot be renamed.
//!
//! The new disk is written whole into `recovery/` first. Then the old identity is moved to
//! `before-recovery-…/`, then the rest of the old disk, then the new disk into its place, its
//! identity last. Whenever this is cut off, the directory has either an identity with all that
//! belongs to it, or none, and a replica does not start on a directory that has data but no
//! identity. Calling again goes on where it was cut off.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Founded, Founding, Jump, OfflineDisk, found_disk};
use crate::{
    Machine, StartError,
    agreement::standing::{STANDING_FILE, Standing},
    storage::{
        files::{doing, sync_dir, write_whole},
        identity::IDENTITY_FILE,
        lock::DirLock,
    },
};

/// Where the new disk is written.
const RECOVERY_DIR: &str = "recovery";
/// Where the old disk is put; the time follows.
const BEFORE_PREFIX: &str = "before-recovery-";
/// In the directory of the new disk, once it is whole: says where the old one goes.
const PLAN_FILE: &str = "put-aside";
/// What a disk is made of, the identity last.
const PARTS: [&str; 6] = ["raft", "mark", "snap", "recv", STANDING_FILE, IDENTITY_FILE];

/// Makes the disk of a replica whose cluster is lost the disk of a new cluster's only replica. All
/// entries of its log are kept, committed or not: among those it had not heard to be committed may
/// be acknowledged ones. Returns what was founded, and where the old disk lies now. Blocks.
///
/// # Errors
/// [`StartError`]; the disk is as it was unless the message says that it was put aside already.
pub fn found_in_place<M: Machine>(
    founding: &Founding,
    initial: M,
    change: impl FnOnce(&mut M, &Jump),
) -> Result<(Founded, PathBuf), StartError> {
    let data_dir = founding.data_dir.clone();
    let recovery = data_dir.join(RECOVERY_DIR);
    if recovery.join(PLAN_FILE).exists() {
        let lock = DirLock::take(&data_dir)?;
        let aside = swap(&data_dir)?;
        drop(lock);
        return Err(StartError::Damaged(format!(
            "an earlier recovery of {} was cut off and is complete now; the old disk lies in {}: \
             start the replica with the token that was given then",
            data_dir.display(),
            aside.display()
        )));
    }
    if Standing::open(&data_dir)?.is_quarantined() {
        return Err(StartError::Damaged(format!(
            "{0} is in quarantine: its state differed from that of the majority; choose another \
             disk, or remove {0}/{STANDING_FILE} if there is none, knowing that this state is wrong",
            data_dir.display()
        )));
    }
    let disk = OfflineDisk::open(&data_dir)?;
    let state = disk.check(initial.clone()).and_then(|_| disk.state_at(initial, None))?;
    if recovery.exists() {
        // Left by a recovery that was cut off before anything else was touched.
        fs::remove_dir_all(&recovery).map_err(doing("removing", &recovery))?;
    }
    let inner = Founding { data_dir: recovery.clone(), ..founding.clone() };
    let founded = found_disk(&inner, &disk.facts().cluster_id, &state, change)?;
    let name = format!("{BEFORE_PREFIX}{}", founding.now_ms);
    write_whole(&recovery.join(PLAN_FILE), name.as_bytes())
        .map_err(doing("writing the plan in", &recovery))?;
    let aside = swap(&data_dir)?;
    Ok((founded, aside))
}

/// Puts the old disk aside and the new one into its place; goes on where it was cut off.
fn swap(data_dir: &Path) -> Result<PathBuf, StartError> {
    let recovery = data_dir.join(RECOVERY_DIR);
    let plan = recovery.join(PLAN_FILE);
    let name = fs::read_to_string(&plan).map_err(doing("reading", &plan))?;
    let aside = data_dir.join(name.trim());
    fs::create_dir_all(&aside).map_err(doing("creating", &aside))?;
    // The old identity goes first and the new one comes last. A part of the new disk is moved only
    // once all of the old one are away, and then it is no longer in `recovery`.
    let is_begun = !recovery.join(PARTS[0]).exists();
    if !is_begun {
        for part in PARTS.iter().rev() {
            transfer(&data_dir.join(part), &aside.join(part))?;
        }
        sync(&aside)?;
        sync(data_dir)?;
    }
    for part in PARTS {
        transfer(&recovery.join(part), &data_dir.join(part))?;
        sync(data_dir)?;
    }
    fs::remove_dir_all(&recovery).map_err(doing("removing", &recovery))?;
    sync(data_dir)?;
    Ok(aside)
}

fn transfer(from: &Path, to: &Path) -> Result<(), StartError> {
    if !from.exists() {
        return Ok(());
    }
    fs::rename(from, to).map_err(doing("moving", from))
}

fn sync(dir: &Path) -> Result<(), StartError> {
    sync_dir(dir).map_err(doing("syncing", dir))
}
