//! `quorate inspect snapshot`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use quorate_raft::offline::{OfflineDisk, scan_snapshot};

use super::{Filter, show};
use crate::cli::Outcome;

/// Arguments of `quorate inspect snapshot`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Data directory of a stopped replica; its newest snapshot is shown.
    #[arg(long, env = "QUORATE_DATA_DIR", required_unless_present = "file")]
    data_dir: Option<PathBuf>,
    /// A snapshot file instead.
    #[arg(long, conflicts_with = "data_dir")]
    file: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    // Kept until the end, so that no replica starts and throws the snapshot away meanwhile.
    let disk = arguments.data_dir.as_deref().map(OfflineDisk::open).transpose()?;
    let newest = || disk.as_ref().and_then(|disk| disk.facts().snapshots.into_iter().next());
    let path = match &arguments.file {
        Some(file) => file.clone(),
        None => newest().ok_or("this replica has not taken a snapshot yet")?.path,
    };
    let mut shower = show::Shower::begin(&arguments.filter, &show::RECORD_HEAD);
    scan_snapshot(&path, |item| {
        shower.show(show::record(&item)?);
        Ok(true)
    })
    .map_err(|error| format!("{}: {error}", path.display()))?;
    shower.end();
    Ok(ExitCode::SUCCESS)
}
