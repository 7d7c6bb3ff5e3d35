//! `status`: what nodes ought to be and what a replica sees of them.

use clap::Args;
use serde_json::Value;

use super::{
    Done, migrations,
    scope::{Scope, segment},
    session::{Session, cell, items, row},
};
use crate::cli::output;

const STATUS: &str = "/quorate/v1/kvrocks/status";
/// Characters of a node id that a table shows.
const ID_SHOWN: usize = 8;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Ask every endpoint, for each sees the nodes with its own eyes; else the first that answers.
    #[arg(long)]
    each: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, scope: &Scope) -> Done {
    let path = path(scope)?;
    let mut answers = Vec::new();
    let mut failures = Vec::new();
    if arguments.each {
        for one in session.each() {
            match one.get_local(&path).await {
                Ok(answer) => answers.push(answer),
                Err(error) => failures.push(error.to_string()),
            }
        }
    } else {
        answers.push(session.get_local(&path).await?);
    }
    if session.is_json() {
        let answer = if arguments.each { Value::Array(answers) } else { answers.remove(0) };
        session.report(answer, "")?;
    } else {
        for (index, answer) in answers.iter().enumerate() {
            if index > 0 {
                output::say("");
            }
            say(answer);
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// All clusters, or the one that is given.
fn path(scope: &Scope) -> Result<String, String> {
    if scope.namespace.is_none() && scope.cluster.is_none() {
        return Ok(STATUS.to_owned());
    }
    let (namespace, cluster) = scope.cluster_names()?;
    Ok(format!("{STATUS}/{}/{}", segment(namespace), segment(cluster)))
}

fn say(answer: &Value) {
    let eyes = format!(
        "seen by replica {}, replica {} leads",
        cell(&answer["replica"]),
        cell(&answer["leader"])
    );
    if answer["clusters"].is_array() {
        output::say(&eyes);
        output::say_table(&clusters(items(&answer["clusters"])));
        return;
    }
    let [namespace, cluster, version] =
        ["namespace", "cluster", "version"].map(|key| cell(&answer[key]));
    output::say(&format!("{namespace}/{cluster} at version {version}, {eyes}"));
    output::say_table(&nodes(items(&answer["nodes"])));
    let jobs: Vec<Value> = items(&answer["migrations"])
        .iter()
        .filter(|job| job["ended_at_ms"] == 0)
        .cloned()
        .collect();
    if !jobs.is_empty() {
        output::say("");
        output::say_table(&running(&jobs));
    }
    let sync = &answer["sync"];
    if sync["finished"] == true {
        for failure in items(&sync["failures"]) {
            output::say(&format!("not pushed: {}: {}", cell(&failure[0]), cell(&failure[1])));
        }
    }
}

fn clusters(clusters: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "NAMESPACE",
        "CLUSTER",
        "VERSION",
        "SHARDS",
        "NODES",
        "WELL",
        "SILENT",
        "MOVING",
    ])];
    let keys = [
        "namespace",
        "cluster",
        "version",
        "shards",
        "nodes",
        "nodes_well",
        "nodes_silent",
        "migrations",
    ];
    rows.extend(clusters.iter().map(|one| keys.map(|key| cell(&one[key])).to_vec()));
    rows
}

fn nodes(nodes: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "SHARD", "NODE", "ADDRESS", "STATE", "VERSION", "ROLE", "LAG", "FAILED", "SEEN",
        "DEAD FOR", "ERROR",
    ])];
    for node in nodes {
        let id: String = cell(&node["id"]).chars().take(ID_SHOWN).collect();
        let dead: Vec<_> = items(&node["found_dead_by"]).iter().map(cell).collect();
        let errors = [&node["error"], &node["trouble"]].map(cell);
        let errors: Vec<_> = errors.into_iter().filter(|error| error != "-").collect();
        let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        rows.push(vec![
            cell(&node["shard"]),
            id,
            cell(&node["addr"]),
            cell(&node["state"]),
            both(&node["observed_version"], &node["wanted_version"]),
            both(&node["observed_role"], &node["wanted_role"]),
            cell(&node["lag_entries"]),
            cell(&node["failures"]),
            node["seen_ago_ms"].as_u64().map_or_else(|| "-".to_owned(), ago),
            dash(dead.join(",")),
            dash(errors.join("; ")),
        ]);
    }
    rows
}

/// What is seen, and what is wanted if that is something else.
fn both(seen: &Value, wanted: &Value) -> String {
    if seen == wanted { cell(seen) } else { format!("{}, not {}", cell(seen), cell(wanted)) }
}

fn ago(ms: u64) -> String {
    format!("{}.{} s ago", ms / 1_000, ms % 1_000 / 100)
}

/// Migrations with what their nodes say of them.
fn running(jobs: &[Value]) -> Vec<Vec<String>> {
    let mut rows = migrations::rows(jobs);
    rows[0].extend(row(["AGE", "SOURCE SAYS", "TARGET SAYS"]));
    for (row, job) in rows.iter_mut().skip(1).zip(jobs) {
        let age_ms = job["age_ms"].as_u64().unwrap_or_default();
        row.push(format!("{}.{} s", age_ms / 1_000, age_ms % 1_000 / 100));
        row.extend([cell(&job["source_state"]), cell(&job["target_state"])]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_from_what_is_wanted_shows_both() {
        let node = json!({
            "shard": 1, "id": "a".repeat(40), "addr": "h:1", "state": "wrong",
            "wanted_version": 7, "observed_version": 6, "wanted_role": "slave",
            "observed_role": "slave", "lag_entries": 12, "failures": 0, "error": "",
            "trouble": "push: no", "seen_ago_ms": 1_234, "found_dead_by": [2, 3],
        });
        let expected = row([
            "1",
            "aaaaaaaa",
            "h:1",
            "wrong",
            "6, not 7",
            "slave",
            "12",
            "0",
            "1.2 s ago",
            "2,3",
            "push: no",
        ]);
        assert_eq!(nodes(&[node])[1], expected);
        let unseen = json!({"id": "b", "state": "unseen", "wanted_role": "master"});
        let cells = &nodes(&[unseen])[1];
        assert_eq!((cells[5].as_str(), cells[8].as_str()), ("-, not master", "-"));
    }
}
