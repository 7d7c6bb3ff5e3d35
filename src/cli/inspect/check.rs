//! `quorate inspect check`.

use std::process::ExitCode;

use clap::Args;
use quorate_raft::offline::OfflineDisk;
use serde_json::json;

use super::{DataDir, Shape};
use crate::{
    cli::{Outcome, output},
    domain::kvrocks::reseal,
    replica::Replica,
};

/// Arguments of `quorate inspect check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  $ quorate inspect check --data-dir /var/lib/quorate
  cluster             1f0c8a…
  replica             1
  log                 entries 0 to 48211, every one whole
  snapshots           2, every one whole
  newest snapshot     the log leads to the very same state
  state at            48211
  state digest        77ab02…
  log chain           93c1d4…
  secrets             0 readable, 12 sealed with 2026-11")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: DataDir,
    /// Besides, the digests of the state as of this entry: what every replica has, or had, there.
    #[arg(long)]
    at: Option<u64>,
    /// Shape of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Shape,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let disk = OfflineDisk::open(&arguments.place.data_dir)?;
    let report = disk.check(Replica::default())?;
    let facts = disk.facts();
    let at = match arguments.at {
        Some(index) => Some(disk.digest_at(Replica::default(), index)?),
        None => None,
    };
    let state = disk.state_at(Replica::default(), None)?;
    let secrets = reseal::count(&state.machine().0.kvrocks);
    if arguments.output == Shape::Json {
        let found = json!({ "disk": facts, "check": report, "at": at, "secrets": secrets });
        output::say(&found.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let log = match (report.first_index, &report.last) {
        (Some(first), Some(last)) => {
            format!("entries {first} to {}, every one whole", last.index)
        }
        _ => "no entries".to_owned(),
    };
    let newest = match (report.snapshots, report.is_newest_snapshot_confirmed) {
        (0, _) => "none",
        (_, true) => "the log leads to the very same state",
        (_, false) => "whole; the log begins after it, so nothing leads to it any more",
    };
    let mut rows = vec![
        ("cluster", facts.cluster_id),
        ("replica", facts.replica_id.to_string()),
        ("log", log),
        ("snapshots", format!("{}, every one whole", report.snapshots)),
        ("newest snapshot", newest.to_owned()),
        ("state at", report.index.to_string()),
        ("state digest", report.state),
        ("log chain", report.log_chain),
        ("secrets", secrets.to_string()),
    ];
    if let Some(at) = at {
        rows.push(("state at", at.index.to_string()));
        rows.push(("state digest", at.state));
        rows.push(("log chain", at.log_chain));
    }
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::say_table(&rows);
    Ok(ExitCode::SUCCESS)
}
