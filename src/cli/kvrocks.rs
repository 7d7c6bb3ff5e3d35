//! `quorate ctl kvrocks`: every verb of the original's client, with its flags and its lines, and the
//! verbs for what the original does not have. One file a noun or a group of verbs.
//!
//! Begin with [`Arguments`]; how replicas are asked is in `session` beside it, what every verb may be told
//! about its subject in `scope`.

mod create;
mod delete;
mod export;
mod failover;
mod get;
mod import;
mod list;
mod load;
mod migrate;
mod migrations;
mod operate;
mod password;
mod raft;
mod rehearsal;
mod scope;
mod status;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(super) use self::load::NotAllTaken;
use self::scope::Scope;
use super::{
    Outcome,
    consent::Consent,
    ctl::Shape,
    exit::Exit,
    output,
    session::{self, Done, Session},
};

/// Arguments of `quorate ctl kvrocks`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    scope: Scope,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List namespaces, clusters, shards or nodes.
    #[command(subcommand)]
    List(list::Resource),
    /// Create a namespace, a cluster, a shard or a node.
    #[command(subcommand)]
    Create(create::Resource),
    /// Show a cluster.
    #[command(subcommand)]
    Get(get::Resource),
    /// Delete a namespace, a cluster, a shard or a node.
    #[command(subcommand)]
    Delete(delete::Resource),
    /// Take over a cluster from running nodes.
    #[command(subcommand)]
    Import(import::Resource),
    /// Move slots to another shard.
    #[command(subcommand)]
    Migrate(migrate::Resource),
    /// Make a replica the master of its shard.
    #[command(subcommand)]
    Failover(failover::Resource),
    /// Show or change the members of the log.
    #[command(subcommand)]
    Raft(raft::Verb),
    /// The queue of migrations: those to come, going on, and the last that ended.
    #[command(subcommand)]
    Migrations(migrations::Verb),
    /// Show the last failovers of a cluster.
    Failovers,
    /// Push the topology to all nodes of a cluster now.
    Sync(operate::Sync),
    /// Change the stored password of nodes.
    #[command(subcommand)]
    Password(operate::Password),
    /// Show or change replicated settings.
    #[command(subcommand)]
    Settings(operate::Settings),
    /// Show what each replica last reported about the nodes.
    Observers,
    /// Show what nodes ought to be and what a replica sees of them: all clusters, or one of them.
    Status(status::Arguments),
    /// Take namespaces and clusters over from the store of the original, ids, versions and
    /// passwords kept. The original must not run any more.
    Load(load::Arguments),
    /// Write everything in the form of the original's store.
    Export(export::Arguments),
}

pub(super) async fn run(arguments: &Arguments, endpoints: Vec<String>, shape: Shape) -> Outcome {
    let session = Session::new(endpoints, shape).with_profile("program");
    let Err(error) = carry_out(&arguments.verb, &session, &arguments.scope).await else {
        return Ok(ExitCode::SUCCESS);
    };
    output::complain(&format!("error: {error}"));
    Ok(Exit::of(&*error).into())
}

async fn carry_out(verb: &Verb, session: &Session, scope: &Scope) -> Done {
    match verb {
        Verb::List(resource) => list::run(resource, session, scope).await,
        Verb::Create(resource) => create::run(resource, session, scope).await,
        Verb::Get(resource) => get::run(resource, session, scope).await,
        Verb::Delete(resource) => delete::run(resource, session, scope).await,
        Verb::Import(resource) => import::run(resource, session, scope).await,
        Verb::Migrate(resource) => migrate::run(resource, session, scope).await,
        Verb::Failover(resource) => failover::run(resource, session, scope).await,
        Verb::Raft(verb) => raft::run(verb, session).await,
        Verb::Migrations(verb) => migrations::run(verb, session, scope).await,
        Verb::Failovers => failover::list(session, scope).await,
        Verb::Sync(sync) => operate::sync(sync, session, scope).await,
        Verb::Password(verb) => operate::password(verb, session, scope).await,
        Verb::Settings(verb) => operate::settings(verb, session).await,
        Verb::Observers => operate::observers(session).await,
        Verb::Status(status) => status::run(status, session, scope).await,
        Verb::Export(arguments) => export::run(arguments, session).await,
        Verb::Load(load) => load::run(load, session).await,
    }
}

/// The word after a verb that names nothing the verb is for.
fn unsupported(words: &[String]) -> Done {
    let word = words.first().map_or("", String::as_str);
    Err(format!("unsupported resource type {word}").into())
}
