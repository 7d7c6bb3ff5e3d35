//! What the original does not have: requested pushes, passwords, settings, observers.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Done,
    password::PasswordArguments,
    scope::Scope,
    session::{Session, cell, items, members, row},
};
use crate::cli::ctl::parse_pair;

const SETTINGS: &str = "/quorate/v1/kvrocks/settings";
const OBSERVERS: &str = "/quorate/v1/kvrocks/observers";

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub(super) struct Sync {
    /// Also over higher versions of the nodes.
    #[arg(long)]
    force: bool,
}

/// What can be done with passwords.
#[derive(Debug, Subcommand)]
pub(super) enum Password {
    /// Change what is stored; the nodes must have been told before.
    Change {
        /// Id of one node; all of the cluster if not given.
        #[arg(long)]
        node: Option<String>,
        #[command(flatten)]
        password: PasswordArguments,
    },
}

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Show all settings.
    Get,
    /// Change settings through the log, e.g. `ping_interval_ms=1000`.
    Set {
        /// NAME=VALUE.
        #[arg(required = true)]
        pairs: Vec<String>,
    },
}

pub(super) async fn sync(sync: &Sync, session: &Session, scope: &Scope) -> Done {
    let path = format!("{}/sync", scope.cluster()?);
    let data = session.change(Method::POST, &path, Some(json!({ "force": sync.force }))).await?;
    let version = cell(&data["version"]);
    session.report(data, &format!("all nodes are at version {version}."))
}

pub(super) async fn password(verb: &Password, session: &Session, scope: &Scope) -> Done {
    let Password::Change { node, password } = verb;
    let path = format!("{}/password", scope.cluster()?);
    let missing = "missing password, please specify it via --password-file or --password option";
    let password = password.read()?.ok_or(missing)?;
    let mut body = json!({ "password": password.readable() });
    if let Some(node) = node {
        body["node_id"] = node.as_str().into();
    }
    let data = session.change(Method::POST, &path, Some(body)).await?;
    session.report(data, "change password successfully.")
}

pub(super) async fn settings(verb: &Settings, session: &Session) -> Done {
    let data = match verb {
        Settings::Get => session.get(SETTINGS).await?,
        Settings::Set { pairs } => {
            let body =
                pairs.iter().map(|pair| parse_pair(pair)).collect::<Result<Map<_, _>, _>>()?;
            session.change(Method::PUT, SETTINGS, Some(Value::Object(body))).await?
        }
    };
    session.show(data, members)
}

pub(super) async fn observers(session: &Session) -> Done {
    let mut data = session.get_local(OBSERVERS).await?;
    session.show(data["observers"].take(), |observers| {
        let mut rows = vec![row(["REPLICA", "COUNTS", "PROBED", "FAILED", "DOWN"])];
        for one in items(observers) {
            let counts = if one["sighted"] == true { "yes" } else { "no" };
            let down = one["down"].as_object().map_or(0, Map::len);
            let [id, probed, failed] = ["id", "probed", "failed"].map(|key| cell(&one[key]));
            rows.push(vec![id, counts.to_owned(), probed, failed, down.to_string()]);
        }
        rows
    })
}
