//! `--dry-run`: what would happen, and why it would not.

use reqwest::Method;
use serde_json::Value;

use super::{
    Done, get,
    session::{Session, cell, items, row},
};
use crate::cli::output;

/// Asks what a change would come to and says it; fails if it would be refused.
pub(super) async fn run(
    session: &Session,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Done {
    let answer = session.change(method, &format!("{path}?dry_run=true"), body).await?;
    let is_accepted = answer["accepted"] == true;
    let (status, error) = (cell(&answer["status"]), cell(&answer["error"]));
    if session.is_json() {
        session.report(answer, "")?;
    } else {
        say(&answer, is_accepted);
    }
    if is_accepted {
        return Ok(());
    }
    Err(format!("it would be refused with {status}: {error}").into())
}

fn say(answer: &Value, is_accepted: bool) {
    let candidates = items(&answer["candidates"]);
    if !candidates.is_empty() {
        let mut rows = vec![row(["CANDIDATE", "SEQUENCE", "UNFIT"])];
        rows.extend(
            candidates
                .iter()
                .map(|one| ["id", "sequence", "unfit"].map(|key| cell(&one[key])).to_vec()),
        );
        output::say_table(&rows);
        output::say("");
    }
    if let Some(id) = answer["new_master_id"].as_str() {
        output::say(&format!("the new master would be {id}"));
    }
    if is_accepted {
        output::say("it would be done; the cluster would then be");
        get::say_cluster(&answer["cluster"]);
    }
}
