//! `quorate ctl pool`: what an operator asks and tells of the cluster pool. One file a noun.
//!
//! Begin with [`Arguments`]; how replicas are asked is in `session` beside it. What takes something
//! away that cannot be brought back wants `--yes`; what goes on after its answer can be waited for
//! with `--wait`.

mod clusters;
mod filter;
mod hosts;
mod kind;
mod overview;
mod settings;
mod templates;
mod wait;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{
    Outcome,
    consent::Consent,
    ctl::Shape,
    exit::Exit,
    output,
    session::{self, Done, Session},
};

/// Where the interface for operators is.
const POOL: &str = "/quorate/v1/pool";

/// Arguments of `quorate ctl pool`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The Docker daemons that clusters live on.
    #[command(subcommand)]
    Hosts(hosts::Verb),
    /// The clusters: free, used, and those on their way.
    #[command(subcommand)]
    Clusters(clusters::Verb),
    /// What clusters of a plugin, mode and size are made of.
    #[command(subcommand)]
    Templates(templates::Verb),
    /// Replicated settings of the pool.
    #[command(subcommand)]
    Settings(settings::Verb),
    /// What is to be done on hosts, how often it failed, why, and when it is tried again.
    #[command(after_help = overview::TASKS_HELP)]
    Tasks,
    /// How many hosts and clusters there are of which status and type.
    #[command(after_help = overview::STAT_HELP)]
    Stat,
    /// Whether the interface answers, and which version does.
    Health,
}

pub(super) async fn run(arguments: &Arguments, endpoints: Vec<String>, shape: Shape) -> Outcome {
    let session = Session::new(endpoints, shape);
    let Err(error) = carry_out(&arguments.verb, &session).await else {
        return Ok(ExitCode::SUCCESS);
    };
    output::complain(&format!("error: {error}"));
    Ok(Exit::of(&*error).into())
}

async fn carry_out(verb: &Verb, session: &Session) -> Done {
    match verb {
        Verb::Hosts(verb) => hosts::run(verb, session).await,
        Verb::Clusters(verb) => clusters::run(verb, session).await,
        Verb::Templates(verb) => templates::run(verb, session).await,
        Verb::Settings(verb) => settings::run(verb, session).await,
        Verb::Tasks => overview::tasks(session).await,
        Verb::Stat => overview::stat(session).await,
        Verb::Health => overview::health(session).await,
    }
}
