//! `quorate inspect`: what lies on the disk of a stopped replica and in an archive, for people and
//! programs. Offline, and without changing a byte.

mod archive;
mod check;
mod log;
mod show;
mod snapshot;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

pub(super) use self::{
    archive::{facts, rows},
    show::moment,
};
use super::Outcome;

/// Arguments of `quorate inspect`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the entries of the log.
    Log(log::Arguments),
    /// Show the records of a snapshot; the newest one of a data directory.
    Snapshot(snapshot::Arguments),
    /// Show what a backup says of itself, and its records and entries if wanted.
    Backup(archive::Arguments),
    /// Read everything on the disk and say whether it holds together: the chain and the checksums
    /// of the log, the mark, the vote, the snapshots, and the log applied against the snapshots.
    Check(check::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Log(arguments) => log::run(arguments),
        Verb::Snapshot(arguments) => snapshot::run(arguments),
        Verb::Backup(arguments) => archive::run(arguments),
        Verb::Check(arguments) => check::run(arguments),
    }
}

/// Shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people.
    Table,
    /// One JSON object a line.
    Json,
}

/// Part of the program that a command or a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Family {
    /// The cluster of replicas itself.
    System,
    /// The Redis proxy broker.
    Undermoon,
    /// The Kvrocks controller.
    Kvrocks,
    /// The cluster pool.
    Cello,
    /// Tokens of clients, and the audit trail.
    Access,
}

/// Which entries or records are shown.
#[derive(Debug, Args)]
struct Filter {
    /// Only of this family.
    #[arg(long, value_enum)]
    family: Option<Family>,
    /// Only those that name this text as a whole: an address, the name of a cluster, an id.
    #[arg(long)]
    object: Option<String>,
    /// Shape of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Shape,
}

/// Which entries are shown.
#[derive(Debug, Args)]
struct Range {
    /// Index of the first entry.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Index of the last entry; the last one there is if not given.
    #[arg(long)]
    to: Option<u64>,
}

/// The data directory of a stopped replica.
#[derive(Debug, Args)]
struct DataDir {
    /// Data directory of a stopped replica.
    #[arg(long, env = "QUORATE_DATA_DIR")]
    data_dir: PathBuf,
}
