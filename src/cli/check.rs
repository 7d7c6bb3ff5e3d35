//! `quorate config check`: what holds, and who said so.

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, Subcommand};

use super::{Outcome, output};
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
    #[command(flatten)]
    layer: Layer,
}

pub(super) fn run(arguments: &Arguments, matches: &ArgMatches) -> Outcome {
    let Verb::Check(check) = &arguments.verb;
    let resolved = config::load(check.config.as_deref(), &check.layer, matches)?;
    let mut rows = vec![["OPTION", "VALUE", "FROM"].map(str::to_owned).to_vec()];
    for (key, value, origin) in &resolved.explained {
        rows.push(vec![key.clone(), value.clone(), origin.to_string()]);
    }
    output::say_table(&rows);
    for warning in &resolved.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}
