//! `templates`: what clusters of a kind are made of.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use super::{
    Consent, Done, POOL,
    kind::{self, Kind},
    session::{Session, cell, items, row},
};
use crate::cli::output;

const LIST_HELP: &str = "\
Example:
  $ quorate ctl pool templates list
  KIND          IMAGE                           PULL   FILLED  SERVICES  PROBE
  noops/4       hyperledger/fabric-peer:latest  never  true    10        containers
  pbft/batch/4  hyperledger/fabric-peer:latest  never  true    10        containers";

const SET_HELP: &str = "\
Example:
  $ cat web.json
  {\"consensus_plugin\": \"web\", \"size\": 2, \"image\": \"registry.lan/web:1\", \"pull\": \"missing\",
   \"services\": [{\"name\": \"rest\", \"offset\": 0, \"container_port\": 80, \"is_published\": true}],
   \"probe\": \"tcp\"}
  $ quorate ctl pool templates set web.json
  template web/2 is set.

Clusters that are there keep what they were made of; every creation from now on goes by the new
template, also those that replace released clusters. `templates get` prints what `set` reads.";

/// What can be done with templates.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List all, in the order in which ties are broken.
    #[command(after_help = LIST_HELP)]
    List,
    /// Print one as JSON, in the form that `set` reads.
    Get {
        #[command(flatten)]
        kind: Kind,
    },
    /// Add one, or put it in the place of the one of its kind.
    #[command(after_help = SET_HELP)]
    Set {
        /// File with the template in JSON, `-` for standard input.
        file: PathBuf,
    },
    /// Remove one: nothing of its kind is made any more. Clusters of the kind stay as they are.
    Remove {
        #[command(flatten)]
        kind: Kind,
        #[command(flatten)]
        consent: Consent,
    },
}

pub(super) async fn run(verb: &Verb, session: &Session) -> Done {
    match verb {
        Verb::List => session.show(all(session).await?, rows),
        Verb::Get { kind } => {
            let templates = all(session).await?;
            let template = items(&templates).iter().find(|template| kind.is_of(template));
            let missing = || format!("there is no template {}", kind.word());
            output::say_json(template.ok_or_else(missing)?)?;
            Ok(())
        }
        Verb::Set { file } => {
            let template = read(file)?;
            let line = format!("template {} is set.", kind::word(&template));
            let path = format!("{POOL}/template");
            let data = session.change(Method::PUT, &path, Some(template)).await?;
            session.report(data, &line)
        }
        Verb::Remove { kind, consent } => {
            consent.to(&format!("no cluster {} will be made any more", kind.word()))?;
            let path = format!("{POOL}/template");
            let data = session.change(Method::DELETE, &path, Some(kind.members())).await?;
            session.report(data, &format!("template {} is removed.", kind.word()))
        }
    }
}

async fn all(session: &Session) -> Result<Value, super::session::SessionError> {
    session.get(&format!("{POOL}/templates")).await
}

fn read(file: &Path) -> Result<Value, String> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn rows(templates: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![row(["KIND", "IMAGE", "PULL", "FILLED", "SERVICES", "PROBE"])];
    rows.extend(items(templates).iter().map(|template| {
        let [image, pull, filled] = ["image", "pull", "is_filled"].map(|key| cell(&template[key]));
        let services = items(&template["services"]).len().to_string();
        vec![kind::word(template), image, pull, filled, services, probe(&template["probe"])]
    }));
    rows
}

/// A probe is a word, or a word with how it is done.
fn probe(probe: &Value) -> String {
    match probe.as_object().and_then(|members| members.keys().next()) {
        Some(word) => word.clone(),
        None => cell(probe),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_probe_with_details_is_shown_by_its_word() {
        assert_eq!(probe(&json!("tcp")), "tcp");
        assert_eq!(probe(&json!({"http_peers": {"path": "/"}})), "http_peers");
    }
}
