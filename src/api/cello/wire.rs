//! Shapes of the answers (spec 1, 2.3, 2.7, 4.1). Keys are sorted, as the original sorts them.

use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
};
use serde_json::{Map, Value, json};

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

/// `{"code","data","error","status"}`; the HTTP status is the code.
pub(super) fn envelope(status: StatusCode, data: Value, error: &str) -> Response<Body> {
    let word = if status.is_success() { "OK" } else { "FAIL" };
    bare(
        status,
        &json!({
            "code": status.as_u16(),
            "data": data,
            "error": error,
            "status": word,
        }),
    )
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

/// A cluster: 18 members, and more for operators.
pub(super) fn cluster(cluster: &Cluster, door: Door) -> Value {
    let text = |time_ms: Option<u64>| time_ms.map(rfc1123).unwrap_or_default();
    let lasted = cluster.released_ms.zip(cluster.applied_ms);
    let lasted = lasted.map(|(released, applied)| duration(released.saturating_sub(applied)));
    let ports: Map<String, Value> =
        cluster.ports().map(|(name, port)| (name.to_owned(), json!(port))).collect();
    let urls: Map<String, Value> =
        cluster.service_urls().map(|(name, url)| (name.to_owned(), json!(url))).collect();
    let mut value = json!({
        "api_url": cluster.api_url(),
        "apply_ts": text(cluster.applied_ms),
        "consensus_mode": cluster.kind().mode,
        "consensus_plugin": cluster.kind().plugin,
        "containers": cluster.containers,
        "create_ts": rfc1123(cluster.created_ms),
        "daemon_url": cluster.daemon_url,
        "duration": lasted.unwrap_or_default(),
        "health": cluster.health.as_str(),
        "host_id": cluster.host_id,
        "id": cluster.id,
        "mapped_ports": ports,
        "name": cluster.name,
        "release_ts": text(cluster.released_ms),
        "service_url": urls,
        "size": cluster.kind().size,
        "status": cluster.status(),
        "user_id": cluster.owner(),
    });
    if door == Door::Operators {
        value["last_error"] = json!(cluster.last_error);
        value["phase"] = json!(cluster.phase.as_str());
        value["resets"] = json!(cluster.resets);
        value["task"] = cluster.task.as_ref().map_or(Value::Null, task);
    }
    value
}

/// A host.
pub(super) fn host(state: &State, host: &Host, door: Door) -> Value {
    let flag = |is_set: bool| if is_set { "true" } else { "false" };
    let mut value = json!({
        "autofill": flag(host.is_autofill),
        "capacity": host.capacity,
        "clusters": query::cluster_ids(state, &host.id),
        "create_ts": rfc1123(host.created_ms),
        "daemon_url": host.daemon_url,
        "id": host.id,
        "log_level": host.log_level,
        "log_server": host.log_server,
        "log_type": host.log_type.as_str(),
        "name": host.name,
        "schedulable": flag(host.is_schedulable),
        "status": if host.is_active { "active" } else { "inactive" },
        "type": host.kind.as_str(),
    });
    if door == Door::Operators {
        let blocked: Map<String, Value> = host
            .blocked
            .iter()
            .map(|(start, ports)| {
                let until = rfc1123(ports.until_ms);
                let value = json!({"count": ports.count, "until": until, "reason": ports.reason});
                (start.to_string(), value)
            })
            .collect();
        value["blocked_ports"] = Value::Object(blocked);
        value["creations_given_up"] = json!(host.creations_given_up);
        value["fill_not_before_ts"] = json!(match host.fill_not_before_ms {
            0 => String::new(),
            time_ms => rfc1123(time_ms),
        });
        value["last_error"] = json!(host.last_error);
        value["service_ip"] = json!(host.service_address);
        value["status_reason"] = json!(host.status_reason);
        value["status_since"] = json!(rfc1123(host.status_since_ms));
        value["task"] = host.task.as_ref().map_or(Value::Null, task);
        value["tls"] = json!(host.is_tls);
    }
    value
}

fn task(task: &Task) -> Value {
    json!({
        "action": task.kind.as_str(),
        "begun_ts": rfc1123(task.begun_ms),
        "failures": task.failures,
        "last_error": task.last_error,
        "not_before_ts": rfc1123(task.not_before_ms),
        "op": task.op,
    })
}

/// One thing to be done on a host.
pub(super) fn effect(effect: &Effect) -> Value {
    let mut value = task(&effect.task);
    value["host_id"] = json!(effect.host.id);
    value["cluster_id"] = effect.cluster.as_ref().map_or(Value::Null, |found| json!(found.id));
    value
}

/// How many hosts or clusters there are of which status and type; `None` for another word.
pub(super) fn stat(state: &State, res: &str) -> Option<Value> {
    let counts = query::counts(state);
    let count = |name: &str, y: u64| json!({"name": name, "y": y});
    match res {
        "host" => {
            let total = counts.hosts_active + counts.hosts_inactive;
            let status =
                [count("active", counts.hosts_active), count("inactive", counts.hosts_inactive)];
            Some(json!({"status": status, "type": [count("docker", total)]}))
        }
        "cluster" => {
            let used = counts.clusters_used + counts.clusters_held();
            let status = [count("free", counts.clusters_free), count("used", used)];
            let types = types(state);
            let types: Vec<_> = types.iter().map(|(name, y)| count(name, *y)).collect();
            Some(json!({"status": status, "type": types}))
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
