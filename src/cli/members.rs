//! `quorate ctl members`: who belongs to the cluster, and how that changes.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{
    Outcome, client,
    consent::Consent,
    ctl::{self, Shape},
    output,
};
use crate::broker::engine::{Health, Member, MemberRole, Members};

const PATH: &str = "/quorate/v1/members";
/// Between two looks while waiting for a vote.
const PAUSE: Duration = Duration::from_millis(250);

/// Arguments of `quorate ctl members`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// Where a new replica will be.
#[derive(Debug, Args)]
struct Place {
    /// Its peer address, HOST:PORT.
    #[arg(long)]
    peer_addr: Option<String>,
    /// Its client port as an URL.
    #[arg(long)]
    client_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show every member's role, health, lag and addresses as the leader sees them.
    List,
    /// Register a new replica as a learner; it gets its vote once it has started and caught up.
    Add {
        /// Its id; the next free one if not given.
        #[arg(long)]
        id: Option<u64>,
        #[command(flatten)]
        place: Place,
        /// Wait that many seconds for its vote.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Give a learner that has caught up its vote at once.
    Promote {
        /// The learner.
        id: u64,
    },
    /// Remove a member for ever; a leader hands over first.
    Remove {
        /// The member.
        id: u64,
        #[command(flatten)]
        consent: Consent,
    },
    /// Put a new replica, or another member, in the place of a member, usually a dead one.
    Replace {
        /// Who leaves.
        id: u64,
        /// A member that takes the place; otherwise say where a new replica will be.
        #[arg(long, conflicts_with_all = ["new_id", "peer_addr", "client_url"])]
        by: Option<u64>,
        /// Id of the new replica; the next free one if not given.
        #[arg(long)]
        new_id: Option<u64>,
        #[command(flatten)]
        place: Place,
        /// Wait that many seconds for the vote of the new one.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Have a replica in quarantine take over the leader's state, and wait until it is found equal.
    Heal {
        /// The replica.
        id: u64,
        /// Wait that many seconds; 0 only asks.
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        wait: u64,
    },
    /// Say where a member is now; the others need no restart.
    Update {
        /// The member.
        id: u64,
        #[command(flatten)]
        place: Place,
    },
}

pub(super) async fn run(arguments: &Arguments, endpoints: &[String], shape: Shape) -> Outcome {
    let (endpoint, _) = ctl::any(endpoints).await?;
    let session = Session { endpoint, shape };
    match &arguments.verb {
        Verb::List => session.list().await,
        Verb::Add { id, place, wait } => {
            let peer_addr = place.peer_addr.as_ref().ok_or("--peer-addr is missing")?;
            let mut body = json!({ "peer_addr": peer_addr });
            set(&mut body, "id", id.map(Value::from));
            set(&mut body, "client_url", place.client_url.clone().map(Value::from));
            let id = session.change(Method::POST, PATH, Some(body)).await?;
            let line = format!("replica {id} is registered; start it with --join");
            session.finish(id, &line, *wait).await
        }
        Verb::Promote { id } => {
            session.change(Method::POST, &format!("{PATH}/{id}/promote"), None).await?;
            session.report(*id, &format!("replica {id} has its vote"))
        }
        Verb::Heal { id, wait } => session.heal(*id, *wait).await,
        Verb::Remove { id, consent } => {
            consent.to(&format!("replica {id} will be removed for ever"))?;
            session.change(Method::DELETE, &format!("{PATH}/{id}"), None).await?;
            session.report(*id, &format!("replica {id} is removed"))
        }
        Verb::Replace { id, by, new_id, place, wait, consent } => {
            let body = successor(*by, *new_id, place)?;
            consent.to(&format!("replica {id} will leave for ever"))?;
            let path = format!("{PATH}/{id}/replace");
            let next = session.change(Method::POST, &path, Some(body)).await?;
            let line = match by {
                Some(_) => format!("replica {next} takes the place of replica {id}"),
                None => {
                    format!("replica {next} takes the place of replica {id}; start it with --join")
                }
            };
            session.finish(next, &line, *wait).await
        }
        Verb::Update { id, place } => {
            let mut body = json!({});
            set(&mut body, "peer_addr", place.peer_addr.clone().map(Value::from));
            set(&mut body, "client_url", place.client_url.clone().map(Value::from));
            session.change(Method::PATCH, &format!("{PATH}/{id}"), Some(body)).await?;
            session.report(*id, &format!("the members know where replica {id} is"))
        }
    }
}

fn set(body: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(members), Some(value)) = (body.as_object_mut(), value) {
        members.insert(key.to_owned(), value);
    }
}

fn successor(by: Option<u64>, id: Option<u64>, place: &Place) -> Result<Value, String> {
    if let Some(by) = by {
        return Ok(json!({ "by": by }));
    }
    let peer_addr = place.peer_addr.as_ref().ok_or("say --by ID, or --peer-addr HOST:PORT")?;
    let mut body = Value::Object(Map::new());
    set(&mut body, "peer_addr", Some(peer_addr.as_str().into()));
    set(&mut body, "client_url", place.client_url.clone().map(Value::from));
    set(&mut body, "id", id.map(Value::from));
    Ok(body)
}

/// A replica that is asked, and how it is told.
struct Session {
    endpoint: String,
    shape: Shape,
}

impl Session {
    async fn members(&self) -> Result<Members, client::ClientError> {
        client::call(&self.endpoint, Method::GET, PATH, None).await
    }

    async fn list(&self) -> Outcome {
        let members = self.members().await?;
        match self.shape {
            Shape::Json => output::say_json(&members)?,
            Shape::Table => output::say_table(&table(&members)),
        }
        if members.leader.is_none() {
            output::complain("no leader answers; this is the view of one replica");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Asks for a change; the member it is about.
    async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<u64, client::ClientError> {
        let answer: Value = client::call(&self.endpoint, method, path, body.as_ref()).await?;
        Ok(answer["id"].as_u64().unwrap_or_default())
    }

    fn report(&self, id: u64, line: &str) -> Outcome {
        match self.shape {
            Shape::Json => output::say_json(&json!({ "id": id }))?,
            Shape::Table => output::say(line),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Has a replica healed, and waits until its state has been found equal.
    async fn heal(&self, id: u64, seconds: u64) -> Outcome {
        let path = format!("{PATH}/{id}/heal");
        let answer: Value = client::call(&self.endpoint, Method::POST, &path, None).await?;
        if answer["changed"] == false {
            return self.report(id, &format!("replica {id} is not in quarantine"));
        }
        if seconds == 0 {
            return self.report(id, &format!("replica {id} takes over the leader's state"));
        }
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            // Asking again changes nothing, and tells whether there is anything left to heal.
            let again: Result<Value, _> =
                client::call(&self.endpoint, Method::POST, &path, None).await;
            if again.is_ok_and(|answer| answer["changed"] == false) {
                return self.report(id, &format!("replica {id} agrees with the majority again"));
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "replica {id} is still in quarantine after {seconds} s; its log says why"
                )
                .into());
            }
            sleep(PAUSE).await;
        }
    }

    /// Reports, and waits for the vote of a new member if that is wanted.
    async fn finish(&self, id: u64, line: &str, wait: Option<u64>) -> Outcome {
        let Some(seconds) = wait else { return self.report(id, line) };
        output::complain(line);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let members = self.members().await.map(|members| members.members).unwrap_or_default();
            let votes = |member: &Member| member.id == id && member.role != MemberRole::Learner;
            if members.iter().any(votes) {
                return self.report(id, &format!("replica {id} has its vote"));
            }
            if Instant::now() >= deadline {
                return Err(format!("replica {id} has no vote after {seconds} s").into());
            }
            sleep(PAUSE).await;
        }
    }
}

/// The members as rows, head first.
fn table(members: &Members) -> Vec<Vec<String>> {
    let head = ["ID", "ROLE", "HEALTH", "LAG", "HEARD MS", "PEER", "CLIENT", "REPLACES"];
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let row = |member: &Member| {
        let role = match member.role {
            MemberRole::Leader => "leader",
            MemberRole::Voter => "voter",
            MemberRole::Learner => "learner",
        };
        let health = match member.health {
            Health::Healthy => "healthy",
            Health::Lagging => "lagging",
            Health::Silent => "silent",
            Health::Awaited => "awaited",
            Health::Unknown => "unknown",
            Health::Quarantined => "quarantined",
        };
        vec![
            member.id.to_string(),
            role.to_owned(),
            health.to_owned(),
            number(member.lag_entries),
            number(member.heard_ms),
            member.peer_addr.clone(),
            member.client_url.clone(),
            member.replaces.map_or_else(String::new, |id| id.to_string()),
        ]
    };
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(members.members.iter().map(row));
    rows
}
