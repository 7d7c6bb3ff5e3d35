//! `load`: takes namespaces and clusters over from the store of the original, and says of every key
//! what became of it.
//!
//! `document` reads the forms of an export, `record` every form of a cluster, `remote` a controller
//! that runs. The rules of clusters are the replicas' business.

pub(super) mod document;
mod record;
mod remote;

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use self::document::{Export, Stored};
use super::{
    Done, export,
    session::{Session, SessionError, cell, items, row},
};
use crate::domain::kvrocks::name;

const LOAD: &str = "/quorate/v1/kvrocks/load";

/// Arguments of `load`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What `etcdctl get --prefix /kvrocks -w json` or `consul kv export kvrocks` printed, or a JSON
    /// object of keys and values; `-` for standard input.
    #[arg(required_unless_present = "from_url", conflicts_with = "from_url")]
    file: Option<PathBuf>,
    /// Read from a controller that runs, e.g. `http://10.0.0.9:9379`. Stop it before you load.
    #[arg(long)]
    from_url: Option<String>,
    /// Write what the controller has to a file instead of loading it, so that it can be stopped.
    #[arg(long, requires = "from_url")]
    save: Option<PathBuf>,
    /// Only tell what would become of each key.
    #[arg(long)]
    dry_run: bool,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// New here.
    Loaded,
    /// The same is here already.
    Present,
    /// Would be taken.
    Acceptable,
    /// Nothing that is needed.
    Needless,
    /// Not taken.
    Refused,
}

impl Fate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Present => "present",
            Self::Acceptable => "acceptable",
            Self::Needless => "needless",
            Self::Refused => "refused",
        }
    }
}

/// One key of the report.
#[derive(Debug, Serialize)]
struct Line {
    key: String,
    fate: Fate,
    notes: Vec<String>,
}

impl Line {
    fn new(key: &str, fate: Fate, notes: Vec<String>) -> Self {
        Self { key: key.to_owned(), fate, notes }
    }

    fn refused(key: &str, why: impl ToString) -> Self {
        Self::new(key, Fate::Refused, vec![why.to_string()])
    }
}

/// Some keys were not taken.
#[derive(Debug, thiserror::Error)]
#[error("{refused} of {total} keys not taken")]
pub(in crate::cli) struct NotAllTaken {
    refused: usize,
    total: usize,
    taken: usize,
}

impl NotAllTaken {
    /// Tells scripts whether anything was taken at all.
    pub(in crate::cli) const fn is_partly(&self) -> bool {
        self.taken > 0
    }
}

pub(super) async fn run(arguments: &Arguments, session: &Session) -> Done {
    let export = match (&arguments.file, &arguments.from_url) {
        (_, Some(url)) => {
            let pairs = remote::read(url.trim_end_matches('/')).await?;
            if let Some(path) = &arguments.save {
                let count = pairs.len();
                export::write(path, &Value::Object(pairs))?;
                return session.report(json!(count), &format!("{count} keys saved."));
            }
            document::sort(pairs.into_iter().collect())
        }
        (Some(path), None) => document::parse(&export::read(path)?)?,
        (None, None) => return Err("neither a file nor a url was given".into()),
    };
    let report = carry_over(&export, session, arguments.dry_run).await?;
    say(&report, session)?;
    let count = |fate| report.iter().filter(|line| line.fate == fate).count();
    match count(Fate::Refused) {
        0 => Ok(()),
        refused => {
            let taken = report.len() - refused - count(Fate::Needless);
            Err(NotAllTaken { refused, total: report.len(), taken }.into())
        }
    }
}

/// Takes over one key after the other. Only an unreachable cluster of replicas ends it early.
async fn carry_over(
    export: &Export,
    session: &Session,
    is_rehearsal: bool,
) -> Result<Vec<Line>, SessionError> {
    let mut report = Vec::new();
    for (key, namespace) in &export.namespaces {
        report.push(take_namespace(key, namespace, session, is_rehearsal).await?);
    }
    let mut used = BTreeMap::new();
    for stored in &export.clusters {
        let line = match prepared(stored, export, &mut used) {
            Ok((body, notes)) => take_cluster(stored, body, notes, session, is_rehearsal).await?,
            Err(why) => Line::refused(&stored.key, why),
        };
        report.push(line);
    }
    let needless = export.needless.iter();
    report
        .extend(needless.map(|(key, why)| Line::new(key, Fate::Needless, vec![(*why).to_owned()])));
    let why = "no key of a namespace or a cluster";
    report.extend(export.unknown.iter().map(|key| Line::refused(key, why)));
    Ok(report)
}

async fn take_namespace(
    key: &str,
    namespace: &str,
    session: &Session,
    is_rehearsal: bool,
) -> Result<Line, SessionError> {
    let names = session.get("/api/v1/namespaces").await?;
    let names = items(&names["namespaces"]);
    if names.iter().any(|name| name == namespace) {
        return Ok(Line::new(key, Fate::Present, Vec::new()));
    }
    if is_rehearsal {
        return Ok(match name::is_valid(namespace) {
            true => Line::new(key, Fate::Acceptable, Vec::new()),
            false => Line::refused(key, "invalid argument: name"),
        });
    }
    let body = json!({ "namespace": namespace });
    match session.change(Method::POST, "/api/v1/namespaces", Some(body)).await {
        Ok(_) => Ok(Line::new(key, Fate::Loaded, Vec::new())),
        Err(SessionError::Refused { status: 409, .. }) => {
            Ok(Line::new(key, Fate::Present, Vec::new()))
        }
        Err(error) => refused(key, error),
    }
}

/// What to send for a stored cluster. `used` has the addresses and ids of those before it, which a
/// rehearsal could not know of.
fn prepared(
    stored: &Stored,
    export: &Export,
    used: &mut BTreeMap<String, String>,
) -> Result<(Value, Vec<String>), String> {
    if export.busy.contains(&stored.key) {
        return Err("an earlier program is migrating its slots; let it end, or delete \
                    migrate/doing and check the nodes"
            .to_owned());
    }
    let present = record::present(&stored.name, &stored.value)?;
    let shards = items(&present.record["shards"]).iter();
    let nodes = shards.flat_map(|shard| items(&shard["nodes"]));
    let marks: Vec<String> =
        nodes.flat_map(|node| [cell(&node["addr"]), cell(&node["id"])]).collect();
    if let Some((mark, other)) = marks.iter().find_map(|mark| used.get_key_value(mark)) {
        return Err(format!("{mark} is in {other} too"));
    }
    used.extend(marks.into_iter().map(|mark| (mark, stored.key.clone())));
    Ok((json!({ "namespace": stored.namespace, "cluster": present.record }), present.notes))
}

async fn take_cluster(
    stored: &Stored,
    body: Value,
    notes: Vec<String>,
    session: &Session,
    is_rehearsal: bool,
) -> Result<Line, SessionError> {
    let path = if is_rehearsal { format!("{LOAD}?dry_run=true") } else { LOAD.to_owned() };
    let answer = match session.change(Method::POST, &path, Some(body)).await {
        Ok(answer) => answer,
        Err(error) => return refused(&stored.key, error),
    };
    let fate = match (is_rehearsal, answer["accepted"] == true, answer["loaded"] == true) {
        (true, true, _) => Fate::Acceptable,
        (true, false, _) => return Ok(Line::refused(&stored.key, cell(&answer["error"]))),
        (false, _, true) => Fate::Loaded,
        (false, _, false) => Fate::Present,
    };
    Ok(Line::new(&stored.key, fate, notes))
}

/// A replica's refusal is a line; without any replica there is nothing to report on.
fn refused(key: &str, error: SessionError) -> Result<Line, SessionError> {
    match error {
        SessionError::Refused { message, .. } => Ok(Line::refused(key, message)),
        error => Err(error),
    }
}

fn say(report: &[Line], session: &Session) -> Done {
    session.show(json!(report), |_| {
        let mut rows = vec![row(["KEY", "RESULT", "NOTES"])];
        rows.extend(report.iter().map(|line| {
            vec![line.key.clone(), line.fate.as_str().to_owned(), line.notes.join("; ")]
        }));
        rows
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(text: &str) -> Export {
        document::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn clusters_that_share_a_node_or_are_busy_are_refused() {
        let id = "a".repeat(40);
        let cluster = format!(
            r#"{{"version":1,"shards":[{{"nodes":[{{"id":"{id}","addr":"h:1","role":"master"}}]}}]}}"#
        );
        let metadata = "/kvrocks/metadata/n/cluster";
        let export = export(&format!(
            r#"{{"{metadata}/a":{cluster},"{metadata}/b":{cluster},"{metadata}/c":{cluster},
                "{metadata}/a/migrate/doing":"{{}}"}}"#
        ));
        let mut used = BTreeMap::new();
        let found: Vec<_> =
            export.clusters.iter().map(|stored| prepared(stored, &export, &mut used)).collect();
        assert!(found[0].as_ref().unwrap_err().contains("migrate/doing"));
        assert_eq!(found[1].as_ref().unwrap().0["namespace"], "n");
        assert_eq!(found[2].as_ref().unwrap_err(), &format!("h:1 is in {metadata}/b too"));
    }
}
