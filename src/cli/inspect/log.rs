//! `quorate inspect log`.

use std::process::ExitCode;

use clap::Args;
use quorate_raft::offline::OfflineDisk;

use super::{DataDir, Filter, Range, show};
use crate::cli::Outcome;

/// Arguments of `quorate inspect log`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  $ quorate inspect log --data-dir /var/lib/quorate --family kvrocks --object shop
  INDEX  TERM  TIME                      FAMILY   WHAT           DETAIL
  118    3     2026-05-04T09:12:44.031Z  kvrocks  CreateCluster  {\"cluster\":{\"name\":\"shop\",\"nam…")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: DataDir,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    filter: Filter,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let disk = OfflineDisk::open(&arguments.place.data_dir)?;
    let mut shower = show::Shower::begin(&arguments.filter, &show::ENTRY_HEAD);
    let end = arguments.range.to.map_or(u64::MAX, |to| to.saturating_add(1));
    disk.entries(arguments.range.from, end, |raw| {
        shower.show(show::entry(&raw)?);
        Ok(true)
    })?;
    shower.end();
    Ok(ExitCode::SUCCESS)
}
