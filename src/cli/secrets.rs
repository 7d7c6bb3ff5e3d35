//! Keys that seal secrets: made offline, looked at and changed on running replicas.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Outcome,
    ctl::Shape,
    output,
    session::{Done, PATIENCE, Session, SessionError},
};
use crate::{clock, seal};

const SECRETS: &str = "/quorate/v1/secrets";
const ROTATE: &str = "/quorate/v1/secrets/rotate";
/// Longest time without an answer, as while another leader is elected.
const LEADERLESS_MAX: Duration = Duration::from_secs(30);
/// Between two tries meanwhile.
const PAUSE: Duration = Duration::from_millis(300);
/// Rounds without any progress before it is given up.
const IDLE_ROUNDS_MAX: u32 = 3;

/// Arguments of `quorate secrets`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Offline,
}

#[derive(Debug, Subcommand)]
enum Offline {
    /// Write a new key to a file that only its owner may read.
    #[command(after_help = "\
Example:
  $ quorate secrets generate-key /etc/quorate/secrets.keys --id 2026-11
  key 2026-11 is in /etc/quorate/secrets.keys, the 1st of 1: it seals
  $ quorate secrets generate-key /etc/quorate/secrets.keys --id 2027-01 --add
  key 2027-01 is in /etc/quorate/secrets.keys, the last of 2: it opens")]
    GenerateKey {
        /// The file, for `secrets_key_file`.
        file: PathBuf,
        /// Name of the key, as it will be shown; a random one if not given.
        #[arg(long)]
        id: Option<String>,
        /// Put the key behind those that the file has already.
        #[arg(long)]
        add: bool,
    },
}

/// What can be asked of running replicas about secrets.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show how many secrets are sealed with which key, and how many are readable.
    #[command(after_help = "\
Example:
  $ quorate ctl secrets status
  sealing key  2027-01
  keys here    2027-01, 2026-11
  readable     0
  2026-11      12
  2027-01      30")]
    Status,
    /// Seal every secret with the first key of the asked replica: those that are readable, and those
    /// sealed with another key. May be repeated.
    Rotate,
}

/// Makes keys; offline.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Offline::GenerateKey { file, id, add } = &arguments.verb;
    let id = match id {
        Some(id) => id.clone(),
        None => {
            let random = clock::random_id();
            format!("k{}", random[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    };
    let count = seal::add_key(file, &id, &clock::random_secret(), *add)?;
    let place = match count {
        1 => "the 1st of 1: it seals".to_owned(),
        _ => format!("the last of {count}: it opens"),
    };
    output::say(&format!("key {id} is in {}, {place}", file.display()));
    Ok(ExitCode::SUCCESS)
}

/// Asks running replicas.
pub(super) async fn ask(verb: &Verb, endpoints: Vec<String>, shape: Shape) -> Outcome {
    let session = Session::new(endpoints, shape);
    match verb {
        Verb::Status => status(&session).await?,
        Verb::Rotate => rotate(&session).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(session: &Session) -> Done {
    session.show(session.get_bare(SECRETS).await?, rows)
}

fn rows(report: &Value) -> Vec<Vec<String>> {
    let list = |name: &str| {
        let items = report[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.collect::<Vec<_>>().join(", ")
    };
    let mut rows = vec![
        ("sealing key", report["sealing_key"].as_str().unwrap_or("none").to_owned()),
        ("keys here", list("keys")),
    ];
    if report["is_allowed"] == json!(false) {
        rows.push(("sealing", "waits for feature level 3".to_owned()));
    }
    if report["missing"].as_array().is_some_and(|missing| !missing.is_empty()) {
        rows.push(("MISSING HERE", list("missing")));
    }
    rows.push(("readable", report["readable"].to_string()));
    for (key_id, count) in report["sealed"].as_object().into_iter().flatten() {
        rows.push((key_id, count.to_string()));
    }
    rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

/// Whether a round that failed may do better soon; it is safe to repeat.
const fn may_pass(error: &SessionError) -> bool {
    match error {
        SessionError::Refused { status, .. } => matches!(*status, 503 | 504),
        SessionError::NotAsked(_) => true,
        SessionError::Strange { .. } => false,
    }
}

/// What one round came to.
#[derive(Debug, Deserialize)]
struct Round {
    sealing_key: String,
    resealed: u64,
    left: u64,
    faults: Vec<String>,
}

/// One bounded round after the other, on whichever replica answers, until nothing is left.
async fn rotate(session: &Session) -> Done {
    let (mut resealed, mut idle_rounds) = (0, 0);
    let mut last_answer = Instant::now();
    loop {
        let round = session.change_bare(Method::POST, ROTATE, Some(json!({})), PATIENCE).await;
        let round: Round = match round {
            Ok(round) => serde_json::from_value(round)?,
            Err(error) if may_pass(&error) && last_answer.elapsed() < LEADERLESS_MAX => {
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        last_answer = Instant::now();
        resealed += round.resealed;
        if round.left == 0 {
            let key = round.sealing_key;
            let data = json!({ "sealing_key": key, "resealed": resealed, "left": 0 });
            return session
                .report(data, &format!("{resealed} secrets sealed with {key}, none left"));
        }
        idle_rounds = if round.resealed > 0 { 0 } else { idle_rounds + 1 };
        if idle_rounds >= IDLE_ROUNDS_MAX {
            let faults: String = round.faults.iter().map(|fault| format!("\n  {fault}")).collect();
            let left = round.left;
            return Err(format!("{resealed} secrets sealed, {left} could not be:{faults}").into());
        }
    }
}
