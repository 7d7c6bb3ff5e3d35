//! `export`: every key the original would have in its store, with its value, to go back or to keep.

use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Done, load::document, session::Session};
use crate::cli::output;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File to write; only its owner may read it, because it has passwords. `-` for standard output.
    file: PathBuf,
    /// Shape of the file.
    #[arg(long, value_enum, default_value = "map")]
    format: Format,
}

/// The shapes an export may have; `load` reads all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A JSON object of keys and values.
    Map,
    /// As `etcdctl get --prefix -w json` prints it.
    Etcd,
}

pub(super) async fn run(arguments: &Arguments, session: &Session) -> Done {
    let data = session.get("/quorate/v1/kvrocks/export").await?;
    let pairs: &Map<String, Value> = data.as_object().ok_or("the answer is no export")?;
    let value = match arguments.format {
        Format::Map => data.clone(),
        Format::Etcd => document::as_etcd(pairs),
    };
    write(&arguments.file, &value)?;
    if is_stream(&arguments.file) {
        return Ok(());
    }
    let count = pairs.len();
    session.report(json!(count), &format!("{count} keys exported."))
}

fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes an export for its owner's eyes only.
pub(super) fn write(path: &Path, value: &Value) -> Done {
    if is_stream(path) {
        output::say_json(value)?;
        return Ok(());
    }
    let text = serde_json::to_string_pretty(value)?;
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).map_err(told)?;
    writeln!(file, "{text}").map_err(told)?;
    file.sync_all().map_err(told)?;
    Ok(())
}

/// Reads a file or standard input.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = if is_stream(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    bytes.map_err(|error| format!("{}: {error}", path.display()))
}
