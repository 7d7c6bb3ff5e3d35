//! Shapes of the answers (spec 1, 2.3, 2.7, 4.1). Keys are sorted, as the original sorts them.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    route::Door,
    time::{duration, rfc1123},
};
use crate::domain::cello::{
    State,
    model::{Cluster, Host, Task},
    query::{self, Effect},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What every answer is wrapped in; `code` is the HTTP status.
#[derive(Serialize, JsonSchema)]
pub(super) struct Envelope<'a, T> {
    code: u16,
    data: T,
    /// What is wrong, empty if nothing.
    error: &'a str,
    /// `OK` or `FAIL`.
    status: &'static str,
}

/// `{"code","data","error","status"}`; the HTTP status is the code.
pub(super) fn envelope(status: StatusCode, data: Value, error: &str) -> Response<Body> {
    let word = if status.is_success() { "OK" } else { "FAIL" };
    bare(status, &json!(Envelope { code: status.as_u16(), data, error, status: word }))
}

/// An answer without envelope.
pub(super) fn bare(status: StatusCode, data: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(data.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    // A GET may change something here; nobody shall keep its answer.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A cluster as users see it.
#[derive(Serialize, JsonSchema)]
pub(super) struct ClusterJson<'a> {
    /// URL of the service that users talk to; empty until it is made.
    api_url: String,
    /// When it was handed out, as in HTTP headers; empty if it is not.
    apply_ts: String,
    consensus_mode: &'a str,
    consensus_plugin: &'a str,
    /// Container ids by container name.
    containers: &'a BTreeMap<String, String>,
    create_ts: String,
    daemon_url: &'a str,
    /// How long it was in use: `[D day[s], ]H:MM:SS[.ffffff]`.
    duration: String,
    health: &'static str,
    host_id: &'a str,
    id: &'a str,
    mapped_ports: BTreeMap<&'a str, u16>,
    name: &'a str,
    release_ts: String,
    service_url: BTreeMap<&'a str, String>,
    size: u32,
    status: &'static str,
    /// Who has it; empty for nobody.
    user_id: String,
}

/// What operators see besides.
#[derive(Serialize, JsonSchema)]
pub(super) struct OperatorCluster<'a> {
    #[serde(flatten)]
    cluster: ClusterJson<'a>,
    last_error: &'a str,
    phase: &'static str,
    /// Resets in a row without a good probe between them.
    resets: u32,
    task: Option<TaskJson<'a>>,
}

/// A cluster: 18 members, and more for operators.
pub(super) fn cluster(cluster: &Cluster, door: Door) -> Value {
    let text = |time_ms: Option<u64>| time_ms.map(rfc1123).unwrap_or_default();
    let lasted = cluster.released_ms.zip(cluster.applied_ms);
    let lasted = lasted.map(|(released, applied)| duration(released.saturating_sub(applied)));
    let shown = ClusterJson {
        api_url: cluster.api_url(),
        apply_ts: text(cluster.applied_ms),
        consensus_mode: &cluster.kind().mode,
        consensus_plugin: &cluster.kind().plugin,
        containers: &cluster.containers,
        create_ts: rfc1123(cluster.created_ms),
        daemon_url: &cluster.daemon_url,
        duration: lasted.unwrap_or_default(),
        health: cluster.health.as_str(),
        host_id: &cluster.host_id,
        id: &cluster.id,
        mapped_ports: cluster.ports().collect(),
        name: &cluster.name,
        release_ts: text(cluster.released_ms),
        service_url: cluster.service_urls().collect(),
        size: cluster.kind().size,
        status: cluster.status(),
        user_id: cluster.owner(),
    };
    if door != Door::Operators {
        return json!(shown);
    }
    json!(OperatorCluster {
        cluster: shown,
        last_error: &cluster.last_error,
        phase: cluster.phase.as_str(),
        resets: cluster.resets,
        task: cluster.task.as_ref().map(TaskJson::from),
    })
}

/// A host as the original shows it.
#[derive(Serialize, JsonSchema)]
pub(super) struct HostJson<'a> {
    /// `true` or `false`, as text.
    autofill: &'static str,
    /// Most clusters.
    capacity: u32,
    /// Ids of its clusters.
    clusters: Vec<String>,
    create_ts: String,
    daemon_url: &'a str,
    id: &'a str,
    log_level: &'a str,
    log_server: &'a str,
    log_type: &'static str,
    name: &'a str,
    /// `true` or `false`, as text.
    schedulable: &'static str,
    /// `active` or `inactive`.
    status: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// What operators see besides.
#[derive(Serialize, JsonSchema)]
pub(super) struct OperatorHost<'a> {
    #[serde(flatten)]
    host: HostJson<'a>,
    /// Ports that a stranger was found to use, by the first of each range.
    blocked_ports: BTreeMap<String, BlockedJson<'a>>,
    creations_given_up: u32,
    fill_not_before_ts: String,
    last_error: &'a str,
    service_ip: &'a str,
    status_reason: &'a str,
    status_since: String,
    task: Option<TaskJson<'a>>,
    tls: bool,
}

/// Ports that are left alone for a while.
#[derive(Serialize, JsonSchema)]
pub(super) struct BlockedJson<'a> {
    count: u16,
    reason: &'a str,
    until: String,
}

/// A host.
pub(super) fn host(state: &State, host: &Host, door: Door) -> Value {
    let flag = |is_set: bool| if is_set { "true" } else { "false" };
    let shown = HostJson {
        autofill: flag(host.is_autofill),
        capacity: host.capacity,
        clusters: query::cluster_ids(state, &host.id),
        create_ts: rfc1123(host.created_ms),
        daemon_url: &host.daemon_url,
        id: &host.id,
        log_level: &host.log_level,
        log_server: &host.log_server,
        log_type: host.log_type.as_str(),
        name: &host.name,
        schedulable: flag(host.is_schedulable),
        status: if host.is_active { "active" } else { "inactive" },
        kind: host.kind.as_str(),
    };
    if door != Door::Operators {
        return json!(shown);
    }
    let blocked = host.blocked.iter().map(|(start, ports)| {
        let until = rfc1123(ports.until_ms);
        (start.to_string(), BlockedJson { count: ports.count, reason: &ports.reason, until })
    });
    json!(OperatorHost {
        host: shown,
        blocked_ports: blocked.collect(),
        creations_given_up: host.creations_given_up,
        fill_not_before_ts: match host.fill_not_before_ms {
            0 => String::new(),
            time_ms => rfc1123(time_ms),
        },
        last_error: &host.last_error,
        service_ip: &host.service_address,
        status_reason: &host.status_reason,
        status_since: rfc1123(host.status_since_ms),
        task: host.task.as_ref().map(TaskJson::from),
        tls: host.is_tls,
    })
}

/// Something to be done on a host.
#[derive(Serialize, JsonSchema)]
pub(super) struct TaskJson<'a> {
    action: &'static str,
    begun_ts: String,
    failures: u32,
    last_error: &'a str,
    not_before_ts: String,
    op: u64,
}

impl<'a> From<&'a Task> for TaskJson<'a> {
    fn from(task: &'a Task) -> Self {
        Self {
            action: task.kind.as_str(),
            begun_ts: rfc1123(task.begun_ms),
            failures: task.failures,
            last_error: &task.last_error,
            not_before_ts: rfc1123(task.not_before_ms),
            op: task.op,
        }
    }
}

/// A task with where it is to be done.
#[derive(Serialize, JsonSchema)]
pub(super) struct EffectJson<'a> {
    #[serde(flatten)]
    task: TaskJson<'a>,
    /// Null for a task of the host itself.
    cluster_id: Option<&'a str>,
    host_id: &'a str,
}

/// One thing to be done on a host.
pub(super) fn effect(effect: &Effect) -> Value {
    json!(EffectJson {
        task: (&effect.task).into(),
        cluster_id: effect.cluster.as_ref().map(|cluster| cluster.id.as_str()),
        host_id: &effect.host.id,
    })
}

/// How many there are of each status and type.
#[derive(Serialize, JsonSchema)]
pub(super) struct StatJson {
    status: Vec<CountJson>,
    #[serde(rename = "type")]
    kinds: Vec<CountJson>,
}

/// A number with its name, as charts take it.
#[derive(Serialize, JsonSchema)]
pub(super) struct CountJson {
    name: String,
    y: u64,
}

/// What `GET stat` answers for an unknown word.
#[derive(Serialize, JsonSchema)]
pub(super) struct StatHint {
    pub(super) example: &'static str,
}

/// What `GET health` answers.
#[derive(Serialize, JsonSchema)]
pub(super) struct HealthJson {
    pub(super) health: &'static str,
    pub(super) version: &'static str,
}

/// How many hosts or clusters there are of which status and type; `None` for another word.
pub(super) fn stat(state: &State, res: &str) -> Option<Value> {
    let counts = query::counts(state);
    let count = |name: &str, y: u64| CountJson { name: name.to_owned(), y };
    match res {
        "host" => {
            let total = counts.hosts_active + counts.hosts_inactive;
            let status = vec![
                count("active", counts.hosts_active),
                count("inactive", counts.hosts_inactive),
            ];
            Some(json!(StatJson { status, kinds: vec![count("docker", total)] }))
        }
        "cluster" => {
            let used = counts.clusters_used + counts.clusters_held();
            let status = vec![count("free", counts.clusters_free), count("used", used)];
            let kinds = types(state).into_iter().map(|(name, y)| CountJson { name, y }).collect();
            Some(json!(StatJson { status, kinds }))
        }
        _ => None,
    }
}

/// Types by plugin and mode: those of the templates first, in their order.
fn types(state: &State) -> Vec<(String, u64)> {
    let mut types: Vec<(String, u64)> = Vec::new();
    let name = |plugin: &str, mode: &str| match mode {
        "" => plugin.to_owned(),
        mode => format!("{plugin}/{mode}"),
    };
    let templates = query::templates(state).map(|template| (&template.kind, 0));
    for (kind, y) in templates.chain(query::clusters(state).map(|cluster| (cluster.kind(), 1))) {
        let name = name(&kind.plugin, &kind.mode);
        match types.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += y,
            None => types.push((name, y)),
        }
    }
    types
}
