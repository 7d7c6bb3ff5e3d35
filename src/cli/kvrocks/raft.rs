//! `raft`: the members of the log, in the words of the original.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Consent, Done,
    session::{Session, cell, row},
    unsupported,
};
use crate::cli::output;

const PATH: &str = "/api/v1/raft/peers";

/// What can be done with members.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List members.
    #[command(subcommand)]
    List(Listed),
    /// Add a member.
    #[command(subcommand)]
    Add(Added),
    /// Remove a member.
    #[command(subcommand)]
    Remove(Removed),
}

/// What can be listed.
#[derive(Debug, Subcommand)]
pub(super) enum Listed {
    /// The members.
    Peers,
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What can be added.
#[derive(Debug, Subcommand)]
pub(super) enum Added {
    /// A member.
    Peer {
        /// Its id.
        id: u64,
        /// Its peer address.
        address: String,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What can be removed.
#[derive(Debug, Subcommand)]
pub(super) enum Removed {
    /// A member.
    Peer {
        /// Its id.
        id: u64,
        #[command(flatten)]
        consent: Consent,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

pub(super) async fn run(verb: &Verb, session: &Session) -> Done {
    let (body, line) = match verb {
        Verb::List(Listed::Peers) => return list(session).await,
        Verb::Add(Added::Peer { id, address }) => (
            json!({ "id": id, "operation": "add", "peer": address }),
            format!("Add node '{id}' with address '{address}' successfully"),
        ),
        Verb::Remove(Removed::Peer { id, consent }) => {
            consent.to(&format!("replica {id} will be removed for ever"))?;
            (json!({ "id": id, "operation": "remove" }), format!("Remove node '{id}' successfully"))
        }
        Verb::List(Listed::Other(words))
        | Verb::Add(Added::Other(words))
        | Verb::Remove(Removed::Other(words)) => return unsupported(words),
    };
    let data = session.change(Method::POST, PATH, Some(body)).await?;
    session.report(data, &line)
}

async fn list(session: &Session) -> Done {
    let data = session.get_local(PATH).await?;
    if session.is_json() {
        return session.report(data, "");
    }
    let leader = cell(&data["leader"]);
    let mut rows = vec![row(["NODE ID", "NODE ADDRESS", "IS LEADER"])];
    let mut peers: Vec<_> = data["peers"].as_object().into_iter().flatten().collect();
    peers.sort_by_key(|(id, _): &(&String, &Value)| id.parse::<u64>().unwrap_or(u64::MAX));
    for (id, address) in peers {
        let is_leader = if *id == leader { "YES" } else { "NO" };
        rows.push(vec![id.clone(), cell(address), is_leader.to_owned()]);
    }
    output::say_barred_table(&rows);
    Ok(())
}
