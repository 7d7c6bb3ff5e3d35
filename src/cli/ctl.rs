//! `quorate ctl`: what an operator asks of a running replica.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Outcome, access, audit, backup,
    client::{self, RemoteStatus},
    events, feature_level, kvrocks, members, output, pool, secrets, token,
};

const SETTINGS: &str = "/quorate/v1/undermoon/settings";

/// Arguments of `quorate ctl`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Client URLs of replicas; the first that answers is asked. Repeat or separate by commas.
    #[arg(
        short = 'H',
        long,
        visible_alias = "endpoints",
        alias = "host",
        global = true,
        env = "QUORATE_ENDPOINT",
        value_delimiter = ','
    )]
    #[arg(default_value = "http://127.0.0.1:7799")]
    endpoint: Vec<String>,
    #[command(flatten)]
    access: access::Arguments,
    /// Shape of the answer.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    output: Shape,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show every replica's role and position; fails if no leader is known.
    Status,
    /// Tell whether the process behind the first endpoint answers at all; for health checks.
    Alive,
    /// Show or change replicated settings of the undermoon broker.
    Settings {
        #[command(subcommand)]
        verb: SettingsVerb,
    },
    /// Hand leadership to another replica.
    TransferLeader {
        /// Id of the new leader; the most advanced replica if not given.
        #[arg(long)]
        to: Option<u64>,
    },
    /// Take a snapshot on the asked replica now.
    Snapshot,
    /// Make, list or end tokens of clients.
    #[command(subcommand)]
    Token(token::Verb),
    /// Look at how secrets are kept, and seal them with another key.
    #[command(subcommand)]
    Secrets(secrets::Verb),
    /// Show who changed what.
    Audit(audit::Arguments),
    /// Show what happened, and with --follow what happens, in the order of the log.
    Events(events::Arguments),
    /// Take, list, check and restore backups.
    Backup(backup::Arguments),
    /// Who belongs to the cluster: list, add, promote, remove, replace, update.
    Members(members::Arguments),
    /// Show which meanings the log uses and what every replica knows, or raise the level.
    #[command(subcommand)]
    FeatureLevel(feature_level::Verb),
    /// Everything about Kvrocks: namespaces, clusters, shards, nodes, migrations, health.
    Kvrocks(kvrocks::Arguments),
    /// Everything about the cluster pool: hosts, clusters, templates, settings.
    Pool(pool::Arguments),
}

#[derive(Debug, Subcommand)]
enum SettingsVerb {
    /// Show all settings.
    Get,
    /// Change settings through the log, e.g. failure_ttl=30 migration_limit=2.
    Set {
        /// NAME=VALUE.
        #[arg(required = true)]
        pairs: Vec<String>,
    },
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    arguments.access.prepare()?.install();
    let endpoints: Vec<_> = arguments
        .endpoint
        .iter()
        .map(|endpoint| endpoint.trim_end_matches('/'))
        .map(|endpoint| match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false => format!("http://{endpoint}"),
        })
        .collect();
    match &arguments.verb {
        Verb::Status => show_status(&endpoints, arguments.output).await,
        Verb::Alive => alive(&endpoints, arguments.output).await,
        Verb::Settings { verb } => settings(&endpoints, verb, arguments.output).await,
        Verb::TransferLeader { to } => transfer_leader(&endpoints, *to, arguments.output).await,
        Verb::Snapshot => snapshot(&endpoints, arguments.output).await,
        Verb::Token(verb) => token::run(verb, &endpoints, arguments.output).await,
        Verb::Secrets(verb) => secrets::ask(verb, endpoints, arguments.output).await,
        Verb::Audit(verb) => audit::run(verb, &endpoints, arguments.output).await,
        Verb::Events(verb) => events::run(verb, &endpoints, arguments.output).await,
        Verb::Backup(verb) => backup::run(verb, &endpoints, arguments.output).await,
        Verb::Members(verb) => members::run(verb, &endpoints, arguments.output).await,
        Verb::FeatureLevel(verb) => feature_level::run(verb, &endpoints, arguments.output).await,
        Verb::Kvrocks(verb) => kvrocks::run(verb, endpoints, arguments.output).await,
        Verb::Pool(verb) => pool::run(verb, endpoints, arguments.output).await,
    }
}

async fn alive(endpoints: &[String], shape: Shape) -> Outcome {
    let endpoint = endpoints.first().map_or("", String::as_str);
    client::check_alive(endpoint).await?;
    report(shape, &json!({ "endpoint": endpoint, "is_alive": true }), "alive")?;
    Ok(ExitCode::SUCCESS)
}

/// The first replica that says how it is.
pub(super) async fn any(
    endpoints: &[String],
) -> Result<(String, RemoteStatus), client::ClientError> {
    let mut last = None;
    for endpoint in endpoints {
        match client::status(endpoint).await {
            Ok(status) => return Ok((endpoint.clone(), status)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| client::ClientError::Unreachable {
        endpoint: "nobody".to_owned(),
        reason: "no endpoint was given".to_owned(),
    }))
}

/// One replica of the cluster, as it says itself or as it failed to.
pub(super) struct Replica {
    pub(super) url: String,
    pub(super) answer: Result<RemoteStatus, String>,
}

/// Asks every replica that the answering ones know of.
pub(super) async fn survey(endpoints: &[String]) -> BTreeMap<u64, Replica> {
    let mut replicas = BTreeMap::new();
    let mut urls: Vec<String> = endpoints.to_vec();
    let mut known = BTreeMap::new();
    while let Some(url) = urls.pop() {
        let Ok(status) = client::status(&url).await else { continue };
        for peer in &status.status.peers {
            known.entry(peer.id).or_insert_with(|| peer.client_url.clone());
        }
        replicas.insert(status.status.replica_id, Replica { url, answer: Ok(status) });
        let others = known.iter().filter(|(id, url)| !url.is_empty() && !replicas.contains_key(id));
        // Each is asked once here; one that does not answer is listed below as such.
        let others: Vec<_> = others.map(|(&id, url)| (id, url.clone())).collect();
        for (id, url) in others {
            let answer = client::status(&url).await.map_err(|error| error.to_string());
            replicas.insert(id, Replica { url, answer });
        }
    }
    for (id, url) in known {
        let silent = || Replica { url, answer: Err("its client URL is not known".to_owned()) };
        replicas.entry(id).or_insert_with(silent);
    }
    replicas
}

async fn show_status(endpoints: &[String], shape: Shape) -> Outcome {
    let replicas = survey(endpoints).await;
    if replicas.is_empty() {
        any(endpoints).await?;
    }
    let has_leader = replicas
        .values()
        .any(|replica| replica.answer.as_ref().is_ok_and(|answer| answer.role() == "leader"));
    match shape {
        Shape::Table => output::say_table(&table(&replicas)),
        Shape::Json => {
            let entries = replicas.iter().map(|(id, replica)| match &replica.answer {
                Ok(status) => json!({ "id": id, "url": replica.url, "status": status }),
                Err(error) => json!({ "id": id, "url": replica.url, "error": error }),
            });
            output::say_json(&entries.collect::<Vec<_>>())?;
        }
    }
    if !has_leader {
        output::complain("no leader answers");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The replicas as rows, head first.
pub(super) fn table(replicas: &BTreeMap<u64, Replica>) -> Vec<Vec<String>> {
    let head =
        ["ID", "ROLE", "READY", "TERM", "LAST", "COMMIT", "APPLIED", "SNAPSHOT", "AGE MS", "URL"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (id, replica) in replicas {
        let mut row = vec![id.to_string()];
        match &replica.answer {
            Ok(answer) => {
                let status = &answer.status;
                row.push(answer.role().to_owned());
                row.push(
                    match status.agreement.quarantine {
                        Some(_) => "quarantine",
                        None if status.is_ready && answer.is_founded => "yes",
                        None => "no",
                    }
                    .to_owned(),
                );
                row.push(status.term.to_string());
                row.push(status.last_log_index.to_string());
                row.push(status.commit_index.to_string());
                row.push(status.applied_index.to_string());
                row.push(status.snapshot_index.to_string());
                row.push(status.age_ms.map_or_else(|| "-".to_owned(), |age| age.to_string()));
            }
            Err(_) => {
                row.push("no answer".to_owned());
                row.extend(std::iter::repeat_n("-".to_owned(), 7));
            }
        }
        row.push(replica.url.clone());
        rows.push(row);
    }
    rows
}

async fn settings(endpoints: &[String], verb: &SettingsVerb, shape: Shape) -> Outcome {
    let (endpoint, _) = any(endpoints).await?;
    let answer: BTreeMap<String, Value> = match verb {
        SettingsVerb::Get => {
            let path = format!("{SETTINGS}?consistency=linearizable");
            client::call(&endpoint, Method::GET, &path, None).await?
        }
        SettingsVerb::Set { pairs } => {
            let body =
                pairs.iter().map(|pair| parse_pair(pair)).collect::<Result<Map<_, _>, _>>()?;
            client::call(&endpoint, Method::PUT, SETTINGS, Some(&Value::Object(body))).await?
        }
    };
    match shape {
        Shape::Json => output::say_json(&answer)?,
        Shape::Table => {
            let rows = answer.iter().map(|(key, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                vec![key.clone(), value]
            });
            output::say_table(&rows.collect::<Vec<_>>());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads `name=value`; numbers and booleans are what they look like.
pub(super) fn parse_pair(pair: &str) -> Result<(String, Value), String> {
    let (name, value) =
        pair.split_once('=').ok_or_else(|| format!("a setting is NAME=VALUE, not {pair}"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.trim().replace('-', "_"), value))
}

async fn transfer_leader(endpoints: &[String], to: Option<u64>, shape: Shape) -> Outcome {
    let (endpoint, status) = any(endpoints).await?;
    let leader = status.leader_url().unwrap_or(&endpoint);
    let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
    let path = "/quorate/v1/leader/transfer";
    let answer: Value = client::call(leader, Method::POST, path, Some(&body)).await?;
    report(shape, &answer, &format!("replica {} leads now", answer["leader"]))?;
    Ok(ExitCode::SUCCESS)
}

async fn snapshot(endpoints: &[String], shape: Shape) -> Outcome {
    let (endpoint, status) = any(endpoints).await?;
    let answer: Value = client::call(&endpoint, Method::POST, "/quorate/v1/snapshot", None).await?;
    let (id, index) = (status.status.replica_id, &answer["index"]);
    let data = json!({ "replica": id, "index": index });
    report(shape, &data, &format!("replica {id} has a snapshot up to index {index}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what something came to: a line for people, the data for programs.
fn report(shape: Shape, data: &Value, line: &str) -> serde_json::Result<()> {
    match shape {
        Shape::Json => output::say_json(data)?,
        Shape::Table => output::say(line),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_numbers_booleans_or_words() {
        assert_eq!(parse_pair("failure-ttl=5").unwrap(), ("failure_ttl".to_owned(), 5.into()));
        assert_eq!(parse_pair("a=true").unwrap().1, Value::Bool(true));
        assert_eq!(parse_pair("a=allow_all").unwrap().1, Value::from("allow_all"));
        assert!(parse_pair("a").is_err());
    }
}
