//! Whether this replica is alive, and whether clients should be sent to it.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::Edge;
use crate::telemetry;

/// Entries a replica may be behind what it knows to be committed.
const LAG_ENTRIES_MAX: u64 = 1_000;

/// One condition of readiness.
struct Check {
    name: &'static str,
    /// What is wrong, if anything.
    fault: Option<String>,
}

/// `GET /livez`: 200 `ok` as long as the process answers at all.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200, or 503 with the checks that fail; `?verbose` lists all of them.
pub(super) async fn ready(State(edge): State<Arc<Edge>>, RawQuery(query): RawQuery) -> Response {
    let checks = checks(&edge);
    let is_ready = checks.iter().all(|check| check.fault.is_none());
    let wants_all = query.is_some_and(|query| query.split('&').any(|part| part == "verbose"));
    let mut body = String::new();
    for Check { name, fault } in checks {
        let written = match fault {
            Some(fault) => writeln!(body, "[-] {name}: {fault}"),
            None if wants_all => writeln!(body, "[+] {name}"),
            None => Ok(()),
        };
        written.expect("writing to a string does not fail");
    }
    // Other families are served all the same, and no other replica may be any better.
    if let Some(fault) = edge.broker.secrets().fault() {
        body.push_str(&format!("[!] secrets: {fault}\n"));
    } else if wants_all {
        body.push_str("[+] secrets\n");
    }
    body.push_str(if is_ready { "ready\n" } else { "not ready\n" });
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

/// `GET /metrics`: all metrics in the text format of Prometheus.
pub(super) async fn metrics() -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry::render_metrics()).into_response()
}

fn checks(edge: &Edge) -> [Check; 7] {
    let status = edge.broker.status();
    let check = |name, is_good: bool, fault: &dyn Fn() -> String| Check {
        name,
        fault: (!is_good).then(fault),
    };
    let lag = status.commit_index.saturating_sub(status.applied_index);
    let age_ms = status.age_ms.unwrap_or(u64::MAX);
    let age_max = edge.settings.read_staleness_max;
    let is_fresh = age_max.is_none_or(|limit| u128::from(age_ms) <= limit.as_millis());
    [
        check("barrier", status.is_ready || edge.broker.is_quarantined(), &|| {
            "not caught up since the start".to_owned()
        }),
        check("founded", edge.broker.is_founded(), &|| "the cluster is not founded".to_owned()),
        check("leader", status.leader.is_some(), &|| "no leader is known".to_owned()),
        check("lag", lag <= LAG_ENTRIES_MAX && is_fresh, &|| match status.age_ms {
            Some(age_ms) => format!("{lag} entries behind, {age_ms} ms old"),
            None => format!("{lag} entries behind, never current"),
        }),
        check("disk", status.disk_stalled_ms.is_none(), &|| {
            let stalled_ms = status.disk_stalled_ms.unwrap_or_default();
            format!("a write has not returned for {stalled_ms} ms")
        }),
        check("agreement", status.agreement.quarantine.is_none(), &|| {
            let index = status.agreement.quarantine.as_ref().map_or(0, |why| why.index);
            format!("in quarantine: at index {index} the state differed from that of the majority")
        }),
        check("stopping", !edge.settings.admin.stopping.get(), &|| "stopping".to_owned()),
    ]
}
