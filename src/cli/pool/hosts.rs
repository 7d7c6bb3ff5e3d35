//! `hosts`: the Docker daemons that clusters live on.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Consent, Done, POOL,
    filter::Filter,
    session::{PATIENCE, Session, cell, items, members, row},
};

const LIST_HELP: &str = "\
Example:
  $ quorate ctl pool hosts list
  ID                        NAME      URL                       STATUS    CLUSTERS  SCHEDULABLE  AUTOFILL  ERROR
  1c9f3b7d5e2a48067f9d0c31  compute1  tcp://192.168.7.61:2375   active    6/6       true         true      -
  9d0c6a3e5f7b18d24c60e1f2  compute2  tcp://192.168.7.62:2375   inactive  4/6       true         true      the daemon cannot be reached: no answer within 5000 ms

ERROR is why the host is inactive or, while it is active, why the last thing done there failed.";

const ADD_HELP: &str = "\
Example:
  $ quorate ctl pool hosts add --name compute1 --url tcp://192.168.7.61:2375 --capacity 6
  host compute1 is added with id 1c9f3b7d5e2a48067f9d0c31.

The daemon is asked before; a host that does not answer is not added. With --tls the certificates
come from the configuration of the replicas (pool_docker_tls_ca, _cert, _key).";

/// Time for a reset: the replica waits up to 60 s for the host.
const RESET_PATIENCE: std::time::Duration = std::time::Duration::from_secs(75);

/// What can be done with hosts.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List hosts.
    #[command(after_help = LIST_HELP)]
    List {
        /// Only those whose member equals the value, e.g. `status=inactive`; may be repeated.
        #[arg(long = "filter", value_name = "KEY=VALUE")]
        conditions: Vec<String>,
    },
    /// Show everything about a host: what is to be done on it, ports of strangers, last error.
    Get {
        /// Its id, or its name if no other host has it.
        host: String,
    },
    /// Add a host.
    #[command(after_help = ADD_HELP)]
    Add {
        /// Display name; begins the names of its clusters.
        #[arg(long)]
        name: String,
        /// `tcp://ADDRESS:PORT`, or `unix:///PATH` on the machine of every replica.
        #[arg(long)]
        url: String,
        /// Most clusters, used and free together.
        #[arg(long)]
        capacity: u32,
        /// Whether its clusters are given to users.
        #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
        schedulable: bool,
        /// Whether the pool keeps it full.
        #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
        autofill: bool,
        #[command(flatten)]
        rest: Rest,
    },
    /// Change a host; what is not given stays.
    Set {
        /// Its id, or its name if no other host has it.
        host: String,
        /// Display name.
        #[arg(long)]
        name: Option<String>,
        /// Another address of the same daemon; only while the host has no clusters.
        #[arg(long)]
        url: Option<String>,
        /// Most clusters; not less than there are.
        #[arg(long)]
        capacity: Option<u32>,
        /// Whether its clusters are given to users.
        #[arg(long, value_name = "BOOL")]
        schedulable: Option<bool>,
        /// Whether the pool keeps it full.
        #[arg(long, value_name = "BOOL")]
        autofill: Option<bool>,
        #[command(flatten)]
        rest: Rest,
    },
    /// Remove a host that has no clusters; with --force one that is lost, with its records.
    Remove {
        /// Its id, or its name if no other host has it.
        host: String,
        /// Forget its clusters too, whoever has them: for a machine that will not come back.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Make clusters until the host is full.
    Fill {
        /// Its id, or its name if no other host has it.
        host: String,
    },
    /// Delete the free clusters of a host and switch its autofill off; users keep theirs.
    Clean {
        /// Its id, or its name if no other host has it.
        host: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Remove every container of the pool from a host without clusters, and make its networks anew.
    Reset {
        /// Its id, or its name if no other host has it.
        host: String,
        #[command(flatten)]
        consent: Consent,
    },
}

/// What `add` and `set` may be told besides.
#[derive(Debug, Args)]
pub(super) struct Rest {
    /// Whether the daemon wants TLS.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    tls: Option<bool>,
    /// Address under which users reach the published ports; the one in the URL if not given.
    #[arg(long, value_name = "ADDRESS")]
    service_address: Option<String>,
    /// Log level passed to the containers: DEBUG, INFO, NOTICE, WARNING, ERROR or CRITICAL.
    #[arg(long)]
    log_level: Option<String>,
    /// Where containers write their logs.
    #[arg(long, value_enum)]
    log_type: Option<LogType>,
    /// Syslog server, e.g. `udp://10.0.0.9:514`.
    #[arg(long, value_name = "URL")]
    log_server: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogType {
    Local,
    Syslog,
}

impl Rest {
    fn members(&self) -> Map<String, Value> {
        let log_type = self.log_type.map(|kind| match kind {
            LogType::Local => "local",
            LogType::Syslog => "syslog",
        });
        given([
            ("tls", json!(self.tls)),
            ("service_ip", json!(self.service_address)),
            ("log_level", json!(self.log_level)),
            ("log_type", json!(log_type)),
            ("log_server", json!(self.log_server)),
        ])
    }
}

/// The members that have a value.
fn given<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    members.map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(super) async fn run(verb: &Verb, session: &Session) -> Done {
    match verb {
        Verb::List { conditions } => {
            let filter = Filter::default().with_pairs(conditions)?;
            session.show(session.get(&filter.of(&format!("{POOL}/hosts"))).await?, rows)
        }
        Verb::Get { host } => session.show(find(session, host).await?, members),
        Verb::Add { .. } => add(verb, session).await,
        Verb::Set { .. } => set(verb, session).await,
        Verb::Remove { host, force, consent } => {
            let id = id_of(session, host).await?;
            consent.to(&if *force {
                format!("host {host} and all its clusters will be forgotten")
            } else {
                format!("host {host} will be removed")
            })?;
            let body = json!({ "id": id, "force": force });
            let path = format!("{POOL}/host");
            let data = session.change(Method::DELETE, &path, Some(body)).await?;
            session.report(data, &format!("host {host} is removed."))
        }
        Verb::Fill { host } => {
            let line = format!("host {host} is being filled.");
            operate(session, (host, "fillup"), &line).await
        }
        Verb::Clean { host, consent } => {
            consent.to(&format!("every free cluster of host {host} will be deleted"))?;
            let line = format!("the free clusters of host {host} are being deleted.");
            operate(session, (host, "clean"), &line).await
        }
        Verb::Reset { host, consent } => {
            consent.to(&format!("every container of the pool on host {host} will be removed"))?;
            operate(session, (host, "reset"), &format!("host {host} is reset.")).await
        }
    }
}

async fn add(verb: &Verb, session: &Session) -> Done {
    let Verb::Add { name, url, capacity, schedulable, autofill, rest } = verb else {
        return Ok(());
    };
    let mut body = rest.members();
    body.entry("log_type").or_insert_with(|| "local".into());
    body.extend(given([
        ("name", json!(name)),
        ("daemon_url", json!(url)),
        ("capacity", json!(capacity)),
        ("schedulable", json!(schedulable)),
        ("autofill", json!(autofill)),
    ]));
    let path = format!("{POOL}/host");
    let data = session.change(Method::POST, &path, Some(Value::Object(body))).await?;
    let line = format!("host {name} is added with id {}.", cell(&data["id"]));
    session.report(data, &line)
}

async fn set(verb: &Verb, session: &Session) -> Done {
    let Verb::Set { host, name, url, capacity, schedulable, autofill, rest } = verb else {
        return Ok(());
    };
    let mut body = rest.members();
    body.extend(given([
        ("name", json!(name)),
        ("daemon_url", json!(url)),
        ("capacity", json!(capacity)),
        ("schedulable", json!(schedulable)),
        ("autofill", json!(autofill)),
    ]));
    if body.is_empty() {
        return Err("nothing is to be changed, please say what".into());
    }
    body.insert("id".to_owned(), id_of(session, host).await?.into());
    let path = format!("{POOL}/host");
    let data = session.change(Method::PUT, &path, Some(Value::Object(body))).await?;
    session.report(data, &format!("host {host} is changed."))
}

async fn operate(session: &Session, (host, action): (&str, &str), line: &str) -> Done {
    let body = json!({ "id": id_of(session, host).await?, "action": action });
    let patience = if action == "reset" { RESET_PATIENCE } else { PATIENCE };
    let path = format!("{POOL}/host_op");
    let data = session.change_within(Method::POST, &path, Some(body), patience).await?;
    session.report(data, line)
}

/// The host with an id, or the only one with a name.
async fn find(
    session: &Session,
    host: &str,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let hosts = session.get(&format!("{POOL}/hosts")).await?;
    chosen(items(&hosts), host).cloned().map_err(Into::into)
}

fn chosen<'a>(hosts: &'a [Value], host: &str) -> Result<&'a Value, String> {
    if let Some(found) = hosts.iter().find(|found| found["id"] == host) {
        return Ok(found);
    }
    let mut named = hosts.iter().filter(|found| found["name"] == host);
    match (named.next(), named.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(format!("several hosts are called {host}, please give an id")),
        (None, _) => Err(format!("host not found with id={host}")),
    }
}

/// Id of the host with an id, or of the only one with a name.
pub(super) async fn id_of(
    session: &Session,
    host: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(cell(&find(session, host).await?["id"]))
}

fn rows(hosts: &Value) -> Vec<Vec<String>> {
    let mut rows =
        vec![row(["ID", "NAME", "URL", "STATUS", "CLUSTERS", "SCHEDULABLE", "AUTOFILL", "ERROR"])];
    rows.extend(items(hosts).iter().map(|host| {
        let [id, name, url, status] =
            ["id", "name", "daemon_url", "status"].map(|key| cell(&host[key]));
        let clusters = format!("{}/{}", items(&host["clusters"]).len(), cell(&host["capacity"]));
        let [schedulable, autofill] = ["schedulable", "autofill"].map(|key| cell(&host[key]));
        let error = if status == "active" { "last_error" } else { "status_reason" };
        vec![id, name, url, status, clusters, schedulable, autofill, cell(&host[error])]
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_by_id_first_and_by_name_if_only_one_has_it() {
        let host = |id: &str, name: &str| json!({"id": id, "name": name});
        let hosts = [host("1", "a"), host("2", "b"), host("3", "b"), host("4", "2")];
        let found = |word: &str| chosen(&hosts, word).map(|host| cell(&host["id"]));
        assert_eq!(found("a").unwrap(), "1");
        assert_eq!(found("2").unwrap(), "2");
        assert!(found("b").unwrap_err().starts_with("several"));
        assert_eq!(found("c").unwrap_err(), "host not found with id=c");
    }
}
