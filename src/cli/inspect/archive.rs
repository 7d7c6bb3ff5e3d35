//! `quorate inspect backup`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use quorate_raft::offline::{Archive, ArchiveItem, scan_archive};
use serde_json::{Value, json};

use super::{Filter, Range, Shape, show};
use crate::{
    cli::{Outcome, output},
    domain::kvrocks::reseal::Secrets,
};

/// Arguments of `quorate inspect backup`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The backup.
    #[arg(long)]
    file: PathBuf,
    /// Show the records of the stored state instead.
    #[arg(long)]
    records: bool,
    /// Show the entries after the stored state instead.
    #[arg(long, conflicts_with = "records")]
    entries: bool,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    filter: Filter,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let path = &arguments.file;
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    if !arguments.records && !arguments.entries {
        let archive = Archive::open(path).map_err(told)?;
        say(&archive, arguments.filter.output);
        return Ok(ExitCode::SUCCESS);
    }
    let head: &[&str] = if arguments.entries { &show::ENTRY_HEAD } else { &show::RECORD_HEAD };
    let mut shower = show::Shower::begin(&arguments.filter, head);
    let range = arguments.range.from..=arguments.range.to.unwrap_or(u64::MAX);
    scan_archive(path, |item| {
        match item {
            ArchiveItem::Record(item) if arguments.records => shower.show(show::record(&item)?),
            ArchiveItem::Entry(raw) if arguments.entries && range.contains(&raw.index) => {
                shower.show(show::entry(&raw)?);
            }
            ArchiveItem::Head(_) | ArchiveItem::Record(_) | ArchiveItem::Entry(_) => {}
        }
        Ok(true)
    })
    .map_err(told)?;
    shower.end();
    Ok(ExitCode::SUCCESS)
}

/// What an archive says of itself.
fn say(archive: &Archive, shape: Shape) {
    let json = facts(archive);
    match shape {
        Shape::Json => output::say(&json.to_string()),
        Shape::Table => output::say_table(&rows(archive)),
    }
}

/// What an archive says of itself, for programs.
pub(in crate::cli) fn facts(archive: &Archive) -> Value {
    let about: Value = serde_json::from_str(&archive.about).unwrap_or_default();
    let mut facts = json!(archive);
    facts["about"] = about;
    facts
}

/// What an archive says of itself, for people.
pub(in crate::cli) fn rows(archive: &Archive) -> Vec<Vec<String>> {
    let about: Value = serde_json::from_str(&archive.about).unwrap_or_default();
    let (base, end) = (&archive.base, &archive.end);
    let revisions = match base.position.index == end.position.index {
        true => end.position.index.to_string(),
        false => format!("{} to {}", base.position.index, end.position.index),
    };
    let mut rows = vec![
        ("format", archive.format.to_string()),
        ("cluster", archive.cluster_id.clone()),
        ("replica", archive.replica_id.to_string()),
        ("taken", show::moment(archive.created_ms)),
        ("program", about["program"].as_str().unwrap_or_default().to_owned()),
        ("revisions", revisions),
        ("term", end.position.term.to_string()),
        ("last change", show::moment(end.time_ms)),
        ("state digest", end.digest.clone()),
        ("log chain", end.log_chain.clone()),
    ];
    if let Ok(secrets) = serde_json::from_value::<Secrets>(about["secrets"].clone()) {
        rows.push(("secrets", secrets.to_string()));
    }
    for (family, facts) in about["families"].as_object().into_iter().flatten() {
        rows.push((family, facts.to_string()));
    }
    rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}
