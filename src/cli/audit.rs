//! `quorate ctl audit`: who changed what.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{
    Outcome,
    client::{self, Request},
    ctl::{self, Shape},
    output,
    token::FamilyName,
};

/// Arguments of `quorate ctl audit`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// First revision (log index).
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Revision behind the last one.
    #[arg(long)]
    to: Option<u64>,
    /// Only this family.
    #[arg(long, value_enum)]
    family: Option<FamilyName>,
    /// Only this actor: anonymous, token:ID, bootstrap, or one of our loops.
    #[arg(long)]
    actor: Option<String>,
    /// Most records.
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

/// Records as a table, or as JSON lines with `--output json`.
pub(super) async fn run(arguments: &Arguments, endpoints: &[String], shape: Shape) -> Outcome {
    let (endpoint, _) = ctl::any(endpoints).await?;
    let path = path(arguments)?;
    let text = client::send(&endpoint, Request::get(&path)).await?;
    match shape {
        Shape::Json => output::say(text.trim_end()),
        Shape::Table => output::say_table(&table(&text)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn path(arguments: &Arguments) -> Result<String, String> {
    let Arguments { from, to, family, actor, limit } = arguments;
    let mut path = format!("/quorate/v1/audit?from={from}&limit={limit}");
    if let Some(to) = to {
        path.push_str(&format!("&to={to}"));
    }
    if let Some(family) = family {
        path.push_str(&format!("&family={}", format!("{family:?}").to_ascii_lowercase()));
    }
    if let Some(actor) = actor {
        let is_plain =
            actor.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_:.".contains(letter));
        if !is_plain {
            return Err(format!("{actor} is no actor"));
        }
        path.push_str(&format!("&actor={actor}"));
    }
    Ok(path)
}

fn table(lines: &str) -> serde_json::Result<Vec<Vec<String>>> {
    let head = ["REVISION", "TIME_MS", "ACTOR", "SOURCE", "FAMILY", "ACTION", "OUTCOME"];
    let members = ["revision", "time_ms", "actor", "source", "family", "action", "outcome"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line)?;
        let cells = members.iter().map(|member| match &record[*member] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        rows.push(cells.collect());
    }
    Ok(rows)
}
