//! `settings`: what the pool goes by.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value};

use super::{
    Done, POOL,
    session::{Session, members},
};
use crate::cli::ctl::parse_pair;

const SET_HELP: &str = "\
Example:
  $ quorate ctl pool settings set probe_interval_ms=10000 bad_probes_max=5
  backoff_first_ms        5000
  backoff_max_ms          300000
  bad_probes_max          5
  ...

A value out of range is refused, and nothing is changed then.";

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show all settings.
    Get,
    /// Change settings through the log.
    #[command(after_help = SET_HELP)]
    Set {
        /// NAME=VALUE.
        #[arg(required = true)]
        pairs: Vec<String>,
    },
}

pub(super) async fn run(verb: &Verb, session: &Session) -> Done {
    let path = format!("{POOL}/settings");
    let data = match verb {
        Verb::Get => session.get(&path).await?,
        Verb::Set { pairs } => {
            let body =
                pairs.iter().map(|pair| parse_pair(pair)).collect::<Result<Map<_, _>, _>>()?;
            session.change(Method::PUT, &path, Some(Value::Object(body))).await?
        }
    };
    session.show(data, members)
}
