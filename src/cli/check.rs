//! `quorate config check`: what holds, and who said so.

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, Subcommand};

use serde_json::json;

use super::{Outcome, ctl::Shape, output};
use crate::config::{self, layer::Layer};

/// Arguments of `quorate config`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show every option's value and origin as `quorate serve` would take them, or what is wrong.
    Check(Box<Check>),
}

#[derive(Debug, Args)]
struct Check {
    /// TOML file.
    #[arg(long, env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,
    /// Shape of the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Shape,
    #[command(flatten)]
    layer: Layer,
}

pub(super) fn run(arguments: &Arguments, matches: &ArgMatches) -> Outcome {
    let Verb::Check(check) = &arguments.verb;
    let resolved = config::load(check.config.as_deref(), &check.layer, matches)?;
    match check.output {
        Shape::Json => {
            let options = resolved.explained.iter().map(|(key, value, origin)| {
                json!({ "option": key, "value": value, "from": origin.to_string() })
            });
            output::say_json(&options.collect::<Vec<_>>())?;
        }
        Shape::Table => {
            let mut rows = vec![["OPTION", "VALUE", "FROM"].map(str::to_owned).to_vec()];
            for (key, value, origin) in &resolved.explained {
                rows.push(vec![key.clone(), value.clone(), origin.to_string()]);
            }
            output::say_table(&rows);
        }
    }
    for warning in &resolved.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}
