//! Founds a new cluster of one replica from a state that outlived its own cluster.
//!
//! Three clocks of the engine go on from far beyond what the old cluster can have used, because
//! the state may be older than the world is, and things out there bear the old cluster's numbers:
//!
//! - **Log indexes.** A machine may have used an index as a fence or as part of a name. The new
//!   cluster's first index is [`INDEX_DISTANCE`] above the state's, so that no index is ever given
//!   out twice, and whatever bears an index of the old cluster that this state has not seen can be
//!   told: it lies in the gap.
//! - **Terms.** Effects are fenced by them, and clients see them. The new cluster's first is at
//!   least [`TERM_DISTANCE`] above.
//! - **Time.** It goes on from the present, and never falls back behind the state's.
//!
//! The machine's own clocks are the machine's business: it is told of the [`Jump`].

use std::path::{Path, PathBuf};

use openraft::Membership;
use sha2::{Digest, Sha256};

use super::Position;
use crate::{
    Machine, PeerConfig, Published, ReplicaId, StartError,
    replicated::Refounding,
    storage::{
        files::{create_dir, doing, sync_dir},
        identity::{Identity, cluster_of, create_data_dir, hex},
        lock::DirLock,
        log::{
            META_COMMITTED, META_PURGED, META_SNAPSHOT, META_VOTE,
            check::{DB_DIR, Found},
            sink::{BatchSink, Op},
        },
        snapshot::{Kept, SNAP_DIR, name_of, write_file},
        state_digest,
        wire::{encode_log_id, encode_stored_membership, encode_vote, leader},
    },
    types::{LogId, Peer, StoredMembership, Vote},
};

/// Indexes left out between the old cluster's last known entry and the new cluster's first: more
/// than a cluster writes in a hundred days at ten thousand entries a second.
pub const INDEX_DISTANCE: u64 = 100_000_000_000;
/// Terms left out: more than two days of elections that all fail, five a second.
pub const TERM_DISTANCE: u64 = 1_000_000;
/// What may lie in a directory that counts as empty.
const HARMLESS: [&str; 2] = ["LOCK", "lost+found"];

/// What a new cluster is founded with.
#[derive(Clone)]
pub struct Founding {
    /// Where the new disk is written; must be empty or not there.
    pub data_dir: PathBuf,
    /// Names the new cluster; must not be the old one's.
    pub cluster_token: String,
    /// The only replica.
    pub peer: PeerConfig,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// How far the engine's clocks were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// Index of the last entry that the state contains.
    pub from: u64,
    /// Index that the state has from now on; what lies between was never given out by the new
    /// cluster, and may have been by the old one.
    pub to: u64,
    /// The state's time from now on.
    pub time_ms: u64,
}

/// What was founded.
#[derive(Clone, Debug)]
pub struct Founded {
    /// The new cluster.
    pub cluster_id: String,
    /// Its only replica.
    pub replica_id: ReplicaId,
    /// How far the engine's clocks were moved.
    pub jump: Jump,
    /// The position of the new cluster's first state.
    pub position: Position,
    /// Digest of the state that was taken over, before any clock was moved, hexadecimal.
    pub digest_before: String,
    /// Digest of the new cluster's first state, hexadecimal.
    pub digest: String,
}

impl std::fmt::Debug for Founding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Founding").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// Writes the disk of a new cluster's only replica. `old_cluster` is the identity of the cluster
/// that the state is from; `change` moves the machine's own clocks. Blocks on the disk.
///
/// The file that makes the directory a replica's comes last: a directory whose writing was cut off
/// is refused at start.
///
/// # Errors
/// [`StartError`]; the directory is as it was if it was not empty, in use, or the token is the old
/// cluster's.
pub fn found_disk<M: Machine>(
    founding: &Founding,
    old_cluster: &str,
    state: &Published<M>,
    change: impl FnOnce(&mut M, &Jump),
) -> Result<Founded, StartError> {
    let data_dir = founding.data_dir.as_path();
    let cluster = cluster_of(&founding.cluster_token);
    judge(founding, old_cluster, &hex(&cluster))?;
    refuse_used(data_dir)?;
    create_data_dir(data_dir)?;
    let lock = DirLock::take(data_dir)?;
    let identity = Identity::new(cluster, founding.peer.id)?;
    let failed = |source| StartError::Io {
        doing: format!("writing the new disk in {} failed", data_dir.display()),
        source,
    };
    let digest_before = hex(&state_digest(state).map_err(failed)?);
    let position = position_after(state, founding.peer.id);
    let jump = Jump {
        from: state.index(),
        to: position.index(),
        time_ms: state.time_ms().max(founding.now_ms),
    };
    let refounding = Refounding {
        position,
        membership: membership_of(founding, &identity, position)?,
        time_ms: jump.time_ms,
        log_chain: chain_after(state.log_chain(), &identity, position),
    };
    let renewed = state.refounded(refounding, |machine| change(machine, &jump));
    let digest = hex(&state_digest(&renewed).map_err(failed)?);
    write_disk(data_dir, &identity, position, &renewed)?;
    identity.write(data_dir)?;
    drop(lock);
    Ok(Founded {
        cluster_id: identity.cluster_id(),
        replica_id: identity.replica_id,
        jump,
        position: Position::of(&position),
        digest_before,
        digest,
    })
}

fn judge(founding: &Founding, old_cluster: &str, new_cluster: &str) -> Result<(), StartError> {
    if founding.cluster_token.is_empty() {
        return Err(StartError::Config("the cluster token is empty".to_owned()));
    }
    if old_cluster == new_cluster {
        return Err(StartError::Config(
            "the new cluster needs a cluster token of its own, so that replicas of the old one are \
             refused should they come back; choose another token"
                .to_owned(),
        ));
    }
    Ok(())
}

fn refuse_used(data_dir: &Path) -> Result<(), StartError> {
    if !data_dir.exists() {
        return Ok(());
    }
    let listing = doing("listing", data_dir);
    let mut names = std::fs::read_dir(data_dir).map_err(listing)?.filter_map(Result::ok);
    let used = names.find(|file| !HARMLESS.iter().any(|name| file.file_name() == *name));
    match used {
        None => Ok(()),
        Some(file) => Err(StartError::Damaged(format!(
            "{} is not empty (it has `{}`): a new cluster is founded on an empty disk only; choose \
             an empty directory, or move what is in this one away",
            data_dir.display(),
            file.file_name().display()
        ))),
    }
}

/// The first position of the new cluster.
fn position_after<M: Machine>(state: &Published<M>, replica_id: ReplicaId) -> LogId {
    let term = state.term().saturating_add(TERM_DISTANCE);
    let index = state.index().saturating_add(INDEX_DISTANCE);
    LogId::new(leader(term, replica_id), index)
}

fn membership_of(
    founding: &Founding,
    identity: &Identity,
    position: LogId,
) -> Result<StoredMembership, StartError> {
    let peer = Peer {
        peer_addr: founding.peer.peer_addr.clone(),
        client_url: founding.peer.client_url.clone(),
        incarnation: identity.incarnation,
        replaces: None,
    };
    let voters = [[founding.peer.id].into()].into();
    let nodes = std::collections::BTreeMap::from([(founding.peer.id, peer)]);
    let membership = Membership::new(voters, nodes)
        .map_err(|error| StartError::Config(format!("the new membership: {error}")))?;
    Ok(StoredMembership::new(Some(position), membership))
}

/// The chain of the new cluster begins with the old one's end and the new disk's name.
fn chain_after(chain: [u8; 32], identity: &Identity, position: LogId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"quorate recovery\0");
    hash.update(chain);
    hash.update(identity.cluster);
    hash.update(identity.incarnation);
    hash.update(encode_log_id(&position));
    hash.finalize().into()
}

fn write_disk<M: Machine>(
    data_dir: &Path,
    identity: &Identity,
    position: LogId,
    state: &Published<M>,
) -> Result<(), StartError> {
    let failed = doing("writing the new disk in", data_dir);
    let snap_dir = data_dir.join(SNAP_DIR);
    create_dir(&snap_dir).map_err(doing("creating", &snap_dir))?;
    let found = Found::open(data_dir, identity)?;
    let write = || {
        let file = write_file(&snap_dir.join(name_of(Some(position))), state)?;
        let membership = encode_stored_membership(state.membership())?;
        let record = Kept::encode_one(position, &file, membership)?;
        // Not granted by anybody: the first election comes after it, with a higher term.
        let vote = Vote { leader_id: *position.committed_leader_id(), committed: false };
        let at = encode_log_id(&position).to_vec();
        let ops = [
            Op::Meta { key: META_SNAPSHOT, value: record },
            Op::Meta { key: META_VOTE, value: encode_vote(&vote) },
            Op::Meta { key: META_COMMITTED, value: at.clone() },
            Op::Meta { key: META_PURGED, value: at },
        ];
        let mut db = found.db.clone();
        db.write(&ops, true)?;
        sync_dir(&data_dir.join(DB_DIR))?;
        sync_dir(data_dir)
    };
    write().map_err(failed)
}
