//! `clusters`: what is free, used, and on its way.

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Consent, Done, POOL,
    filter::Filter,
    hosts::id_of,
    kind::{self, Kind},
    session::{Session, cell, items, members, row, segment},
    wait::Wait,
};

const LIST_HELP: &str = "\
Example:
  $ quorate ctl pool clusters list --plugin pbft
  ID                        NAME        KIND          PHASE     OWNER  STATUS    HEALTH  FAILED  NEXT TRY  URL                       ERROR
  0b7c1f5e9a3d48260c1e7f93  compute1_0  pbft/batch/4  ready     alice  running   OK      -       -         http://192.168.7.61:7050  -
  6f2d8b0a4c7e19355d8f0b62  compute1_1  pbft/batch/4  creating  -      creating  -       0       now       -                         -

A free cluster has no owner. FAILED and NEXT TRY are of what is being done with the cluster.";

const HISTORY_HELP: &str = "\
Example:
  $ quorate ctl pool clusters history --user alice
  ID                        NAME        KIND     USER   APPLIED                        RELEASED                       DURATION
  3e8a0d6c2b5f4917e0a8c6d4  compute1_0  noops/4  alice  Sat, 21 Nov 2026 09:00:00 GMT  Sat, 21 Nov 2026 10:30:00 GMT  1:30:00";

const APPLY_HELP: &str = "\
Example:
  $ quorate ctl pool clusters apply alice --plugin pbft --size 4
  cluster 0b7c1f5e9a3d48260c1e7f93 (compute1_0) is alice's: http://192.168.7.61:7050

A user who has such a cluster already is given that one again, unless --multiple.";

/// Time for a power action: the replica waits up to 60 s for the host.
const POWER_PATIENCE: Duration = Duration::from_secs(75);

/// What can be done with clusters.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List clusters, oldest first.
    #[command(after_help = LIST_HELP)]
    List {
        #[command(flatten)]
        conditions: Conditions,
    },
    /// List clusters that were released, as they were then, oldest first.
    #[command(after_help = HISTORY_HELP)]
    History {
        #[command(flatten)]
        conditions: Conditions,
    },
    /// Show everything about a cluster: ports, containers, what is being done with it, last error.
    Get {
        /// Its id.
        id: String,
    },
    /// Make a cluster on a host that has room.
    Create {
        /// Id of the host, or its name if no other host has it.
        #[arg(long, value_name = "HOST")]
        on: String,
        /// Display name.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        kind: Kind,
        /// First port; the lowest free ones if not given.
        #[arg(long)]
        port_start: Option<u16>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete a cluster; none takes its place, but autofill may fill the room.
    Delete {
        /// Its id.
        id: String,
        /// Also if a user has it, or something else goes on with it.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take a cluster out of the history.
    Forget {
        /// Its id.
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Give a user a cluster.
    #[command(after_help = APPLY_HELP)]
    Apply {
        /// The user.
        user: String,
        /// Only with this consensus plugin.
        #[arg(long)]
        plugin: Option<String>,
        /// Only with this consensus mode.
        #[arg(long)]
        mode: Option<String>,
        /// Only with so many containers.
        #[arg(long)]
        size: Option<u32>,
        /// Another one, also if the user has such a cluster.
        #[arg(long)]
        multiple: bool,
    },
    /// Take a cluster from its user, or all of a user's. Its containers are removed; a new cluster
    /// takes its place.
    Release {
        /// Id of the cluster.
        #[arg(required_unless_present = "user")]
        id: Option<String>,
        /// All clusters of this user; with an id, only if that cluster is this user's.
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        wait: Wait,
    },
    /// Start the containers of a cluster, and wait for it.
    Start(Power),
    /// Stop the containers of a cluster, and wait for it.
    Stop(Power),
    /// Restart the containers of a cluster, and wait for it.
    Restart(Power),
}

/// Which clusters a list shows; all conditions must hold.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// Of this user.
    #[arg(long)]
    user: Option<String>,
    /// Of nobody, whatever their health.
    #[arg(long, conflicts_with = "user")]
    free: bool,
    /// With this name.
    #[arg(long)]
    name: Option<String>,
    /// On this host: its id, or its name if no other host has it.
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// With this consensus plugin.
    #[arg(long)]
    plugin: Option<String>,
    /// With this consensus mode.
    #[arg(long)]
    mode: Option<String>,
    /// With so many containers.
    #[arg(long)]
    size: Option<u32>,
    /// With this status: running, stopped, creating or deleting.
    #[arg(long)]
    status: Option<String>,
    /// With this health: OK, FAIL, or empty for those not probed yet.
    #[arg(long)]
    health: Option<String>,
    /// Whose member equals the value, e.g. `daemon_url=tcp://10.0.0.1:2375`; may be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pairs: Vec<String>,
}

/// Arguments of `start`, `stop` and `restart`.
#[derive(Debug, Args)]
pub(super) struct Power {
    /// Id of the cluster.
    id: String,
    /// Only if the cluster is this user's.
    #[arg(long)]
    user: Option<String>,
}

pub(super) async fn run(verb: &Verb, session: &Session) -> Done {
    match verb {
        Verb::List { conditions } => session.show(list(conditions, session, "active").await?, rows),
        Verb::History { conditions } => {
            session.show(list(conditions, session, "released").await?, history)
        }
        Verb::Get { id } => session.show(session.get(&path_of(id)).await?, members),
        Verb::Create { .. } => create(verb, session).await,
        Verb::Delete { id, force, consent, wait } => {
            consent.to(&format!("cluster {id} and everything in it will be gone"))?;
            let body = json!({ "id": id, "col_name": "active", "force": force });
            let data = session.change(Method::DELETE, &path("cluster"), Some(body)).await?;
            let ids = std::slice::from_ref(id);
            over(session, wait, ids, data, (id, "is being deleted", "is deleted")).await
        }
        Verb::Forget { id, consent } => {
            consent.to(&format!("the history of cluster {id} will be gone"))?;
            let body = json!({ "id": id, "col_name": "released" });
            let data = session.change(Method::DELETE, &path("cluster"), Some(body)).await?;
            session.report(data, &format!("cluster {id} is out of the history."))
        }
        Verb::Apply { .. } => apply(verb, session).await,
        Verb::Release { id, user, consent, wait } => {
            let wish = Release { id: id.as_deref(), user: user.as_deref(), wait };
            release(&wish, consent, session).await
        }
        Verb::Start(power) => operate(session, power, ("start", "is started")).await,
        Verb::Stop(power) => operate(session, power, ("stop", "is stopped")).await,
        Verb::Restart(power) => operate(session, power, ("restart", "is restarted")).await,
    }
}

fn path(rest: &str) -> String {
    format!("{POOL}/{rest}")
}

fn path_of(id: &str) -> String {
    path(&format!("cluster/{}", segment(id)))
}

async fn list(
    conditions: &Conditions,
    session: &Session,
    state: &str,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let nobody = conditions.free.then(String::new);
    let host = match &conditions.on {
        Some(host) => Some(id_of(session, host).await?),
        None => None,
    };
    let filter = Filter::default()
        .with("state", Some(state))
        .with("user_id", conditions.user.clone().or(nobody))
        .with("name", conditions.name.as_ref())
        .with("host_id", host)
        .with("consensus_plugin", conditions.plugin.as_ref())
        .with("consensus_mode", conditions.mode.as_ref())
        .with("size", conditions.size)
        .with("status", conditions.status.as_ref())
        .with("health", conditions.health.as_ref())
        .with_pairs(&conditions.pairs)?;
    Ok(session.get(&filter.of(&path("clusters"))).await?)
}

async fn create(verb: &Verb, session: &Session) -> Done {
    let Verb::Create { on, name, kind, port_start, wait } = verb else { return Ok(()) };
    let mut body = kind.members();
    body["name"] = name.as_str().into();
    body["host_id"] = id_of(session, on).await?.into();
    if let Some(port) = port_start {
        body["port_start"] = (*port).into();
    }
    let cluster = session.change(Method::POST, &path("cluster"), Some(body)).await?;
    let id = cell(&cluster["id"]);
    if !wait.is_wanted() {
        return session.report(cluster, &format!("cluster {id} ({name}) is being made."));
    }
    let cluster = wait.until_made(session, &id).await?;
    let line = format!("cluster {id} ({name}) is made: {}", cell(&cluster["api_url"]));
    session.report(cluster, &line)
}

async fn apply(verb: &Verb, session: &Session) -> Done {
    let Verb::Apply { user, plugin, mode, size, multiple } = verb else { return Ok(()) };
    let body = json!({
        "action": "apply", "user_id": user, "consensus_plugin": plugin, "consensus_mode": mode,
        "size": size, "allow_multiple": multiple,
    });
    let cluster = session.change(Method::POST, &path("cluster_op"), Some(body)).await?;
    let [id, name, url] = ["id", "name", "api_url"].map(|key| cell(&cluster[key]));
    session.report(cluster, &format!("cluster {id} ({name}) is {user}'s: {url}"))
}

/// Whose clusters are to be released.
struct Release<'a> {
    id: Option<&'a str>,
    user: Option<&'a str>,
    wait: &'a Wait,
}

async fn release(wish: &Release<'_>, consent: &Consent, session: &Session) -> Done {
    let subject = match (wish.id, wish.user) {
        (Some(id), _) => format!("cluster {id}"),
        (None, user) => format!("every cluster of {}", user.unwrap_or_default()),
    };
    consent.to(&format!("{subject} and everything in it will be gone"))?;
    let ids = match (wish.id, wish.user) {
        (Some(id), _) => vec![id.to_owned()],
        (None, user) if wish.wait.is_wanted() => {
            let filter = Filter::default().with("user_id", user);
            let clusters = session.get(&filter.of(&path("clusters"))).await?;
            items(&clusters).iter().map(|cluster| cell(&cluster["id"])).collect()
        }
        (None, _) => Vec::new(),
    };
    let body = json!({ "action": "release", "cluster_id": wish.id, "user_id": wish.user });
    let data = session.change(Method::POST, &path("cluster_op"), Some(body)).await?;
    if !wish.wait.is_wanted() {
        return session.report(data, &format!("{subject} is released."));
    }
    wish.wait.until_gone(session, &ids).await?;
    session.report(data, &format!("{subject} is released, and gone from its host."))
}

/// Says that something has begun or, after waiting for it, that it is over.
async fn over(
    session: &Session,
    wait: &Wait,
    ids: &[String],
    data: Value,
    (id, begun, ended): (&str, &str, &str),
) -> Done {
    if !wait.is_wanted() {
        return session.report(data, &format!("cluster {id} {begun}."));
    }
    wait.until_gone(session, ids).await?;
    session.report(data, &format!("cluster {id} {ended}."))
}

async fn operate(session: &Session, power: &Power, (action, done): (&str, &str)) -> Done {
    let id = &power.id;
    let body = json!({ "action": action, "cluster_id": id, "user_id": power.user });
    let path = path("cluster_op");
    let data = session.change_within(Method::POST, &path, Some(body), POWER_PATIENCE).await?;
    session.report(data, &format!("cluster {id} {done}."))
}

fn rows(clusters: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "ID", "NAME", "KIND", "PHASE", "OWNER", "STATUS", "HEALTH", "FAILED", "NEXT TRY", "URL",
        "ERROR",
    ])];
    rows.extend(items(clusters).iter().map(|cluster| {
        let [id, name, phase, owner, status, health, url, error] =
            ["id", "name", "phase", "user_id", "status", "health", "api_url", "last_error"]
                .map(|key| cell(&cluster[key]));
        let owner = if phase == "ready" { owner } else { former_owner(&owner) };
        let task = &cluster["task"];
        let [failed, next] = ["failures", "not_before_ts"].map(|key| cell(&task[key]));
        let next = if failed == "0" { "now".to_owned() } else { next };
        let kind = kind::word(cluster);
        vec![id, name, kind, phase, owner, status, health, failed, next, url, error]
    }));
    rows
}

/// Who had a cluster that the pool itself holds now.
fn former_owner(owner: &str) -> String {
    match owner.strip_prefix("__SYSTEM__DELETING") {
        Some(user) if !user.is_empty() => user.to_owned(),
        _ => "-".to_owned(),
    }
}

fn history(clusters: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![row(["ID", "NAME", "KIND", "USER", "APPLIED", "RELEASED", "DURATION"])];
    rows.extend(items(clusters).iter().map(|cluster| {
        let [id, name, user, applied, released, duration] =
            ["id", "name", "user_id", "apply_ts", "release_ts", "duration"]
                .map(|key| cell(&cluster[key]));
        vec![id, name, kind::word(cluster), user, applied, released, duration]
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_on_its_way_shows_what_stands_in_the_way() {
        let cluster = json!({
            "id": "1", "name": "n", "consensus_plugin": "noops", "consensus_mode": "", "size": 4,
            "phase": "deleting", "user_id": "__SYSTEM__DELETINGu1", "status": "deleting",
            "health": "", "api_url": "", "last_error": "no answer",
            "task": {"failures": 2, "not_before_ts": "soon"},
        });
        let cells = &rows(&json!([cluster]))[1];
        let expected =
            ["1", "n", "noops/4", "deleting", "u1", "deleting", "-", "2", "soon", "-", "no answer"];
        assert_eq!(*cells, expected);
        assert_eq!(former_owner("__SYSTEM__CREATING"), "-");
    }
}
