//! `quorate ctl feature-level`: which meanings the log uses, and letting newer ones in.

use std::process::ExitCode;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Outcome, client,
    ctl::{self, Shape},
    output,
};

const PATH: &str = "/quorate/v1/feature-level";

/// Verbs of `quorate ctl feature-level`.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the level in use, and program and highest level of every member.
    Show,
    /// Raise the level for ever; refused unless every member knows it. Afterwards no replica can
    /// go back to a program that does not.
    Raise {
        /// The new level; the highest that all members know if not given.
        #[arg(long)]
        to: Option<u64>,
    },
}

pub(super) async fn run(verb: &Verb, endpoints: &[String], shape: Shape) -> Outcome {
    let (endpoint, _) = ctl::any(endpoints).await?;
    match verb {
        Verb::Show => {
            let found: Value = client::call(&endpoint, Method::GET, PATH, None).await?;
            match shape {
                Shape::Json => output::say_json(&found)?,
                Shape::Table => show(&found),
            }
        }
        Verb::Raise { to } => {
            let body = to.map_or_else(|| json!({}), |to| json!({ "level": to }));
            let answer: Value = client::call(&endpoint, Method::POST, PATH, Some(&body)).await?;
            match shape {
                Shape::Json => output::say_json(&answer)?,
                Shape::Table => {
                    output::say(&format!("the cluster uses feature level {}", answer["level"]));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(found: &Value) {
    let word = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    output::say(&format!("in use            {}", word(&found["level"])));
    output::say(&format!("all members know  {}", word(&found["common"])));
    let mut rows = vec![["ID", "PROGRAM", "KNOWS"].map(str::to_owned).to_vec()];
    for member in found["members"].as_array().into_iter().flatten() {
        rows.push(["id", "program", "feature_level_max"].map(|key| word(&member[key])).to_vec());
    }
    output::say_table(&rows);
}
