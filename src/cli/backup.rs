//! `quorate ctl backup`: take backups from a running replica, look at them, check them, and found a
//! cluster from one.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Subcommand};
use hyper::Method;
use quorate_raft::offline::Archive;
use serde_json::{Value, json};

use super::{
    Outcome,
    client::{self, Request},
    ctl::{self, Shape},
    inspect::{facts, moment, rows},
    output,
    recover::{self, FromBackup},
    session,
};
use crate::{
    client::backups::{
        Stored,
        dir::{BackupDir, write_file},
        name_of,
    },
    replica::Replica,
};

/// Time for a replica to write a backup into its own directory.
const CREATE_PATIENCE: Duration = Duration::from_secs(600);
/// Time for any other answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Arguments of `quorate ctl backup`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take a backup of what the asked replica has applied, and check it.
    #[command(after_help = "\
Example:
  $ quorate ctl backup create --to /backups
  file          /backups/quorate-48211-1777885964031.qback
  bytes         1830422
  cluster       1f0c8a…
  revisions     40000 to 48211
  state digest  77ab02…")]
    Create {
        /// File or directory on this machine; the replica's own `backup_dir` or `backup_bucket` if
        /// not given.
        #[arg(long)]
        to: Option<PathBuf>,
        /// The present state alone, without the revisions since the oldest snapshot.
        #[arg(long)]
        no_history: bool,
    },
    /// List the backups in the directory or bucket of the asked replica, newest first.
    List {
        /// A directory on this machine instead.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Bring a backup from the directory or bucket of the asked replica to this machine, and check
    /// it.
    Fetch {
        /// Its name, as `list` shows it.
        name: String,
        /// File or directory on this machine.
        #[arg(long, default_value = ".")]
        to: PathBuf,
    },
    /// Read a whole backup, offline: its checksums, and both of its states against their digests.
    Verify {
        /// The backup.
        file: PathBuf,
    },
    /// Write the disk of a new cluster's first replica from a backup, offline; the same as
    /// `quorate recover from-backup`.
    Restore(FromBackup),
}

pub(super) async fn run(arguments: &Arguments, endpoints: &[String], shape: Shape) -> Outcome {
    match &arguments.verb {
        Verb::Create { to: Some(to), no_history } => {
            fetch(endpoints, &format!("/quorate/v1/backup?history={}", !no_history), to, shape)
                .await
        }
        Verb::Fetch { name, to } => {
            let name = session::segment(name);
            fetch(endpoints, &format!("/quorate/v1/backups/{name}"), to, shape).await
        }
        Verb::Create { to: None, no_history } => create(endpoints, !no_history, shape).await,
        Verb::List { dir: Some(dir) } => {
            list(&BackupDir::new(dir.clone()).list().await?, dir, shape)
        }
        Verb::List { dir: None } => list_remote(endpoints, shape).await,
        Verb::Verify { file } => verify(file, shape),
        Verb::Restore(arguments) => recover::from_backup(arguments),
    }
}

/// Has a backup sent, and checks what arrived.
async fn fetch(endpoints: &[String], path: &str, to: &Path, shape: Shape) -> Outcome {
    let (endpoint, _) = ctl::any(endpoints).await?;
    let mut chunks = client::download(&endpoint, path).await?;
    let is_dir = to.is_dir();
    // Its name says its revision, which is known only once it is here.
    let arriving = if is_dir { to.join(".quorate-arriving.qback") } else { to.to_owned() };
    write_file(&arriving, &mut chunks).await.map_err(|error| told(&arriving, &error))?;
    let checked = check(&arriving).inspect_err(|_| drop(std::fs::remove_file(&arriving)))?;
    let file = match is_dir {
        true => to.join(name_of(checked.end.position.index, checked.created_ms)),
        false => arriving.clone(),
    };
    if file != arriving {
        std::fs::rename(&arriving, &file).map_err(|error| told(&file, &error))?;
    }
    say(&file, &checked, shape)
}

/// Has the replica write a backup into its own directory.
async fn create(endpoints: &[String], history: bool, shape: Shape) -> Outcome {
    let (endpoint, _) = ctl::any(endpoints).await?;
    let path = format!("/quorate/v1/backups?history={history}");
    let request = Request {
        method: Method::POST,
        path: &path,
        headers: &[],
        body: None,
        patience: CREATE_PATIENCE,
    };
    let answer: Value = serde_json::from_str(&client::send(&endpoint, request).await?)?;
    if shape == Shape::Json {
        output::say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let end = &answer["backup"]["end"];
    let rows = [
        ("replica", &answer["replica"]),
        ("file", &answer["path"]),
        ("bytes", &answer["bytes"]),
        ("revision", &end["index"]),
        ("state digest", &end["digest"]),
    ];
    output::say_table(&rows.map(|(name, value)| vec![name.to_owned(), text(value)]));
    Ok(ExitCode::SUCCESS)
}

async fn list_remote(endpoints: &[String], shape: Shape) -> Outcome {
    let (endpoint, _) = ctl::any(endpoints).await?;
    let request = Request {
        method: Method::GET,
        path: "/quorate/v1/backups",
        headers: &[],
        body: None,
        patience: PATIENCE,
    };
    let answer: Value = serde_json::from_str(&client::send(&endpoint, request).await?)?;
    if shape == Shape::Json {
        output::say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let stored: Vec<Stored> = serde_json::from_value(answer["backups"].clone())?;
    let dir = answer["directory"].as_str().unwrap_or_default();
    output::complain(&format!("replica {}, {dir}", answer["replica"]));
    list(&stored, Path::new(dir), shape)
}

fn list(stored: &[Stored], dir: &Path, shape: Shape) -> Outcome {
    if shape == Shape::Json {
        output::say_json(&json!({ "directory": dir, "backups": stored }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["REVISION", "TAKEN", "BYTES", "NAME"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(stored.iter().map(|stored| {
        let taken = moment(stored.created_ms);
        vec![stored.index.to_string(), taken, stored.bytes.to_string(), stored.name.clone()]
    }));
    output::say_table(&rows);
    Ok(ExitCode::SUCCESS)
}

fn verify(file: &Path, shape: Shape) -> Outcome {
    let checked = check(file)?;
    say(file, &checked, shape)
}

/// Reads a whole backup, and applies what it holds.
fn check(file: &Path) -> Result<Archive, String> {
    let recovered = Archive::recover::<Replica>(file, None).map_err(|error| told(file, &error))?;
    Ok(recovered.archive)
}

fn say(file: &Path, archive: &Archive, shape: Shape) -> Outcome {
    let bytes = std::fs::metadata(file)?.len();
    if shape == Shape::Json {
        let answer = json!({ "file": file, "bytes": bytes, "backup": facts(archive) });
        output::say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let first = [("file", file.display().to_string()), ("bytes", bytes.to_string())];
    let mut all: Vec<_> =
        first.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    all.extend(rows(archive));
    output::say_table(&all);
    Ok(ExitCode::SUCCESS)
}

fn told(file: &Path, error: &io::Error) -> String {
    format!("{}: {error}", file.display())
}
