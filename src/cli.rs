//! The command line; one file a noun.
//!
//! - `serve`: one replica.
//! - `dev`: a whole cluster on loopback, for trying out.
//! - `gateway`: one address that is always alive, beside a client.
//! - `ctl`: what an operator asks of a running replica, over its client port.
//! - `inspect`: what lies on a stopped replica's disk and in a backup.
//! - `recover`: founds a new cluster from what a lost one left.
//! - `secrets`: makes keys that seal secrets.
//! - `config`: explains a configuration.
//! - `completion`: what makes a shell complete the words.
//!
//! Data goes to standard output and everything else to standard error; [`exit`] has the exit codes.

mod access;
mod audit;
mod backup;
mod check;
mod client;
mod completion;
mod consent;
mod ctl;
mod dev;
mod events;
mod examples;
pub mod exit;
mod feature_level;
mod gateway;
mod gauges;
mod inspect;
mod kvrocks;
mod members;
pub mod output;
mod pool;
mod recover;
mod secrets;
mod serve;
mod session;
mod token;

use std::{error::Error, process::ExitCode};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::exit::Exit;

/// What a command comes to.
type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

/// Three replicas, one log: a highly available broker.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run one replica.
    Serve(Box<serve::Arguments>),
    /// Run a whole cluster on loopback, for trying out.
    Dev(dev::Arguments),
    /// Forward a client's requests to whichever replica serves.
    Gateway(gateway::Arguments),
    /// Ask or tell a running replica something.
    Ctl(ctl::Arguments),
    /// Show what lies on the disk of a stopped replica, or in a backup.
    Inspect(inspect::Arguments),
    /// Found a new cluster from a backup, or from the disk of a lost cluster's replica.
    Recover(recover::Arguments),
    /// Make keys that seal secrets.
    Secrets(secrets::Arguments),
    /// Explain a configuration.
    Config(check::Arguments),
    /// Print what makes a shell complete the words of this program.
    Completion(completion::Arguments),
}

/// The whole command line, with an example for every verb.
#[must_use]
pub fn command() -> Command {
    examples::add(Cli::command().after_help(Exit::help()))
}

/// Parses the command line and carries it out.
///
/// # Errors
/// Whatever the command could not do, for people.
pub async fn run() -> Outcome {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Verb::Serve(arguments) => serve::run(&arguments, innermost(&matches)).await,
        Verb::Dev(arguments) => dev::run(&arguments).await,
        Verb::Gateway(arguments) => gateway::run(&arguments).await,
        Verb::Ctl(arguments) => ctl::run(&arguments).await,
        Verb::Inspect(arguments) => inspect::run(&arguments),
        Verb::Recover(arguments) => recover::run(&arguments),
        Verb::Secrets(arguments) => secrets::run(&arguments),
        Verb::Config(arguments) => check::run(&arguments, innermost(&matches)),
        Verb::Completion(arguments) => completion::run(&arguments),
    }
}

/// The matches of the subcommand that was given last.
fn innermost(mut matches: &ArgMatches) -> &ArgMatches {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn options_of_a_replica_have_one_name_everywhere() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let mut options = 0;
        for option in serve.get_arguments().filter(|option| option.get_env().is_some()) {
            let id = option.get_id().as_str();
            assert_eq!(option.get_long(), Some(id.replace('_', "-").as_str()));
            let variable = option.get_env().and_then(|name| name.to_str());
            assert_eq!(variable, Some(format!("QUORATE_{}", id.to_uppercase()).as_str()));
            options += 1;
        }
        assert!(options > 30, "only {options} options were looked at");
    }
}
