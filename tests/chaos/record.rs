//! What trials came to, one line of JSON each, in a file that only grows.
//!
//! Written trial by trial, so that a run that is ended early still counts for what it did, and a
//! trial that broke a promise is on the record like any other.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::trial::{self, Trial};

/// The run that a trial belongs to.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it began, as the system tells it: the name of the run.
    pub began: String,
    /// The commit that was tried.
    pub revision: String,
    /// The command that began it.
    pub command: String,
}

impl Run {
    /// A run that begins now.
    pub fn now(command: &str) -> Self {
        let mut revision = said_by("git", &["rev-parse", "--short", "HEAD"]);
        if !said_by("git", &["status", "--porcelain", "--", "src", "raft"]).is_empty() {
            revision.push_str("+changes");
        }
        let began = said_by("date", &["-u", "+%F %R"]);
        Self { began, revision, command: command.to_owned() }
    }
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// One trial, as it is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Entry {
    /// When the run began.
    pub began: String,
    /// The commit that was tried.
    pub revision: String,
    /// The command that began the run.
    pub command: String,
    /// Seed of the trial.
    pub seed: u64,
    /// Name of the fault.
    pub fault: String,
    /// Replicas of the site.
    pub replicas: u64,
    /// How often the fault was done.
    pub strokes: u32,
    /// How long the trial took, with the start of its replicas.
    pub seconds: u64,
    /// Processes that waited for one of the two cores at the end, over the last minute.
    pub load: String,
    /// Calls altogether.
    pub calls: u64,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Changes of which nobody knows.
    pub unknown: u64,
    /// Acknowledged changes that left no trace.
    pub lost: usize,
    /// Changes that happened more often than they may have.
    pub duplicated: usize,
    /// Other broken promises.
    pub broken: usize,
    /// Milliseconds from each stroke to the first acknowledgement of a change asked for after it.
    pub recoveries_ms: Vec<u64>,
}

impl Entry {
    /// The line for a trial.
    pub fn of(trial: &Trial, run: &Run, elapsed: Duration) -> Self {
        let Trial { plan, verdict, recoveries } = trial;
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            began: run.began.clone(),
            revision: run.revision.clone(),
            command: run.command.clone(),
            seed: plan.seed,
            fault: plan.fault.name().to_owned(),
            replicas: plan.replicas,
            strokes: plan.rounds,
            seconds: elapsed.as_secs(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            calls: verdict.calls,
            acknowledged: verdict.acknowledged,
            unknown: verdict.unknown,
            lost: verdict.lost.len(),
            duplicated: verdict.duplicated.len(),
            broken: verdict.broken.len(),
            recoveries_ms: trial::millis(recoveries),
        }
    }
}

/// The file.
#[derive(Clone, Debug)]
pub struct Record {
    path: PathBuf,
}

impl Record {
    /// The record in a file, which need not be there yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Adds one line, on the disk before it returns.
    pub fn add(&self, entry: &Entry) {
        let mut line = serde_json::to_string(entry).expect("an entry is JSON");
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).expect("a line is written");
    }

    /// Everything that is on record, in the order in which it was tried.
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let entry = |line: &str| serde_json::from_str(line).expect("a line of the record");
        text.lines().map(entry).collect()
    }
}
