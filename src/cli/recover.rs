//! `quorate recover`: founds a new cluster from what a lost one left behind. Offline.
//!
//! The new cluster is another cluster to everybody: another token, another disk, another term, and
//! clocks that are ahead of whatever the lost one can have shown. `docs/operations.md` has the
//! procedures around it.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use quorate_raft::{
    PeerConfig,
    offline::{Archive, Founded, Founding, Jump, OfflineDisk, found_disk, found_in_place},
};

use super::{Outcome, consent::Consent, output};
use crate::{
    clock, config,
    domain::{
        kvrocks::reseal::{self, Secrets},
        recovery::{CLOCK_DISTANCE, Recovery},
    },
    replica::Replica,
};

/// Arguments of `quorate recover`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Everything is lost but a backup: write the disk of a new cluster's first replica.
    FromBackup(FromBackup),
    /// The majority is lost for good but this disk survives: make it the disk of a new cluster's
    /// first replica. The old disk is put aside within the same directory.
    ForceNewCluster(ForceNewCluster),
}

/// Arguments of `quorate recover from-backup`, and of `quorate ctl backup restore`.
#[derive(Debug, Args)]
pub(super) struct FromBackup {
    /// The backup.
    #[arg(long)]
    file: PathBuf,
    /// Where the new disk is written; must be empty or not there.
    #[arg(long, env = "QUORATE_DATA_DIR")]
    data_dir: PathBuf,
    /// The state as of this entry, instead of the last one the backup holds.
    #[arg(long)]
    to_index: Option<u64>,
    /// The new cluster's first replica, as it will be configured: ID=HOST:PORT[/CLIENT-URL].
    #[arg(long, value_parser = peer)]
    peer: PeerConfig,
    /// Token of the new cluster; not the old one's.
    #[arg(long, env = "QUORATE_CLUSTER_TOKEN", hide_env_values = true)]
    cluster_token: String,
    #[command(flatten)]
    clocks: Clocks,
}

#[derive(Debug, Args)]
struct ForceNewCluster {
    /// Data directory of the surviving replica, which must not run.
    #[arg(long, env = "QUORATE_DATA_DIR")]
    data_dir: PathBuf,
    /// Token of the new cluster; not the old one's.
    #[arg(long, env = "QUORATE_CLUSTER_TOKEN", hide_env_values = true)]
    cluster_token: String,
    /// The replica as it will be configured, if that changes: ID=HOST:PORT[/CLIENT-URL].
    #[arg(long, value_parser = peer)]
    peer: Option<PeerConfig>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    clocks: Clocks,
}

/// Which clocks are moved.
#[derive(Clone, Copy, Debug, Args)]
struct Clocks {
    /// Leave the versions of Kvrocks clusters as they are, so that nodes that are ahead of this
    /// state are believed instead of pushed over.
    #[arg(long)]
    adopt_kvrocks: bool,
}

fn peer(text: &str) -> Result<PeerConfig, String> {
    config::peer(text).map_err(|error| error.to_string())
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::FromBackup(arguments) => from_backup(arguments),
        Verb::ForceNewCluster(arguments) => force_new_cluster(arguments),
    }
}

/// Writes the disk of a new cluster's first replica from a backup.
pub(super) fn from_backup(arguments: &FromBackup) -> Outcome {
    let file = arguments.file.display();
    let told = |error: io::Error| format!("{file}: {error}; nothing was changed");
    let recovered =
        Archive::recover::<Replica>(&arguments.file, arguments.to_index).map_err(told)?;
    let founding = Founding {
        data_dir: arguments.data_dir.clone(),
        cluster_token: arguments.cluster_token.clone(),
        peer: arguments.peer.clone(),
        now_ms: clock::now_ms(),
    };
    let old_cluster = &recovered.archive.cluster_id;
    let mut secrets = Secrets::default();
    let change = recover(arguments.clocks, &mut secrets);
    let founded = found_disk(&founding, old_cluster, &recovered.state, change)?;
    say(&founded, &arguments.data_dir, &secrets);
    Ok(ExitCode::SUCCESS)
}

fn force_new_cluster(arguments: &ForceNewCluster) -> Outcome {
    let data_dir = &arguments.data_dir;
    let peer = match &arguments.peer {
        Some(peer) => peer.clone(),
        None => own_peer(data_dir)?,
    };
    arguments.consent.to(&format!(
        "the cluster that {} belongs to ends here: what its other replicas have and this disk has \
         not is given up, and they must never run again",
        data_dir.display()
    ))?;
    let founding = Founding {
        data_dir: data_dir.clone(),
        cluster_token: arguments.cluster_token.clone(),
        peer,
        now_ms: clock::now_ms(),
    };
    let mut secrets = Secrets::default();
    let change = recover(arguments.clocks, &mut secrets);
    let (founded, aside) = found_in_place(&founding, Replica::default(), change)?;
    say(&founded, data_dir, &secrets);
    output::complain(&format!("the old disk lies in {}", aside.display()));
    Ok(ExitCode::SUCCESS)
}

/// The replica as its own membership has it.
fn own_peer(
    data_dir: &std::path::Path,
) -> Result<PeerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let disk = OfflineDisk::open(data_dir)?;
    let id = disk.facts().replica_id;
    let state = disk.state_at(Replica::default(), None)?;
    let here = state.members().into_iter().find(|member| member.id == id);
    let here = here.ok_or(
        "this replica was never a member of a cluster; say its address with --peer ID=HOST:PORT",
    )?;
    Ok(PeerConfig { id, peer_addr: here.peer_addr, client_url: here.client_url })
}

/// What the families do with their clocks; counts on the way what will need keys.
fn recover(clocks: Clocks, secrets: &mut Secrets) -> impl FnOnce(&mut Replica, &Jump) {
    move |replica, jump| {
        *secrets = reseal::count(&replica.0.kvrocks);
        let adopts_kvrocks = clocks.adopt_kvrocks;
        replica.0.recover(Recovery { from: jump.from, to: jump.to, adopts_kvrocks });
    }
}

fn say(founded: &Founded, data_dir: &std::path::Path, secrets: &Secrets) {
    let rows = [
        ("data directory", data_dir.display().to_string()),
        ("cluster", founded.cluster_id.clone()),
        ("replica", founded.replica_id.to_string()),
        ("state taken over", founded.jump.from.to_string()),
        ("its digest", founded.digest_before.clone()),
        ("goes on from", founded.position.index.to_string()),
        ("in term", founded.position.term.to_string()),
        ("clocks moved by", CLOCK_DISTANCE.to_string()),
        ("new digest", founded.digest.clone()),
        ("secrets", secrets.to_string()),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    output::say_table(&rows);
    let needed: Vec<_> = secrets.sealed.keys().map(String::as_str).collect();
    if !needed.is_empty() {
        let keys = needed.join(", ");
        output::complain(&format!("give the new replica a secrets_key_file with the keys {keys}"));
    }
}
