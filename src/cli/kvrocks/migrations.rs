//! `migrations`: the queue of a cluster.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Done,
    migrate::judge_slots,
    rehearsal,
    scope::Scope,
    session::{Session, cell, items, members, row},
};
use crate::cli::output;

/// What can be done with migrations.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List migrations: those to come, those going on, and the last that ended.
    List,
    /// Show one.
    Show {
        /// Its id.
        id: u64,
    },
    /// Queue migrations, one for each range; each begins when its shards are free.
    Queue {
        /// `5` or `5-10`; several, or separated by commas.
        #[arg(required = true, value_delimiter = ',')]
        slots: Vec<String>,
        /// Index of the shard that will have them.
        #[arg(long, allow_negative_numbers = true)]
        target: Option<i64>,
        /// Attempts for each before it is given up; the setting if not given.
        #[arg(long)]
        attempts: Option<u32>,
        /// Only tell what would happen.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a migration out of the queue, or have a running one ended.
    Cancel {
        /// Its id.
        id: u64,
    },
    /// Queue one that ended again, as a new one.
    Retry {
        /// Its id.
        id: u64,
    },
}

pub(super) async fn run(verb: &Verb, session: &Session, scope: &Scope) -> Done {
    let path = format!("{}/migrations", scope.cluster()?);
    match verb {
        Verb::List => {
            let mut data = session.get(&path).await?;
            session.show(data["migrations"].take(), |jobs| rows(items(jobs)))
        }
        Verb::Show { id } => {
            let mut data = session.get(&format!("{path}/{id}")).await?;
            session.show(data["migration"].take(), members)
        }
        Verb::Queue { slots, target, attempts, dry_run } => {
            slots.iter().try_for_each(|slots| judge_slots(slots))?;
            let target = target.ok_or("target is required, please specify with --target")?;
            let attempts_max = attempts.unwrap_or(0);
            let body = json!({ "slots": slots, "target": target, "attempts_max": attempts_max });
            if *dry_run {
                return rehearsal::run(session, Method::POST, &path, Some(body)).await;
            }
            queued(session, &path, Some(body)).await
        }
        Verb::Cancel { id } => {
            let data = session.change(Method::DELETE, &format!("{path}/{id}"), None).await?;
            session.report(data, &format!("migration {id} is being cancelled."))
        }
        Verb::Retry { id } => queued(session, &format!("{path}/{id}/retry"), None).await,
    }
}

async fn queued(session: &Session, path: &str, body: Option<Value>) -> Done {
    let mut data = session.change(Method::POST, path, body).await?;
    let ids = data["migrations"].take();
    if session.is_json() {
        return session.report(ids, "");
    }
    items(&ids).iter().for_each(|id| output::say(&format!("migration {id} is queued.")));
    Ok(())
}

/// Migrations as rows, head first.
pub(super) fn rows(jobs: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["ID", "SLOTS", "SOURCE", "TARGET", "STATE", "ATTEMPT", "ERROR"])];
    for job in jobs {
        let [id, slots, source, target, state, error] =
            ["id", "slot", "source", "target", "state", "error"].map(|key| cell(&job[key]));
        let attempt = format!("{}/{}", cell(&job["attempt"]), cell(&job["attempts_max"]));
        let is_ending = job["cancel_requested"] == true && job["ended_at_ms"] == 0;
        let state = if is_ending { format!("{state}, cancelled") } else { state };
        rows.push(vec![id, slots, source, target, state, attempt, error]);
    }
    rows
}
