//! The audit trail, as JSON lines.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::{Query, Request, State},
    http::{HeaderName, HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Edge, error::Failure, routes::admit};
use crate::{
    api::auth,
    domain::system::{access::Family, audit::Record},
};

/// Lines of an answer unless it is asked for less or more.
const LINES_DEFAULT: usize = 1_000;
/// Most lines of an answer.
const LINES_MAX: usize = 10_000;
/// Where the next answer begins, if there is more.
const NEXT: HeaderName = HeaderName::from_static("quorate-audit-next");
/// The oldest revision that is kept.
const OLDEST: HeaderName = HeaderName::from_static("quorate-audit-oldest");

/// Query of `GET /quorate/v1/audit`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuditQuery {
    /// First revision.
    from: u64,
    /// Revision behind the last one.
    to: Option<u64>,
    /// Earliest time, milliseconds since the Unix epoch.
    since_ms: Option<u64>,
    /// Time behind the latest one.
    until_ms: Option<u64>,
    /// One family.
    family: Option<Family>,
    /// One actor, without its address.
    actor: Option<String>,
    /// Most lines.
    limit: Option<usize>,
}

impl AuditQuery {
    fn takes(&self, record: &Record) -> bool {
        self.since_ms.is_none_or(|since_ms| record.time_ms >= since_ms)
            && self.until_ms.is_none_or(|until_ms| record.time_ms < until_ms)
            && self.family.is_none_or(|family| record.family == family)
            && self.actor.as_ref().is_none_or(|actor| record.who() == actor)
    }
}

/// `GET /quorate/v1/audit?from=&to=&since_ms=&until_ms=&family=&actor=&limit=`: one JSON object a
/// line, oldest first: `revision`, `time_ms`, `actor`, `source`, `request_id`, `family`, `action`,
/// `outcome` (`done` or `refused`). The header `Quorate-Audit-Next` says where to go on.
pub(super) async fn range(
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, _) = request.into_parts();
    let visit = admit(&edge, &head)?;
    let Query(query) = Query::<AuditQuery>::try_from_uri(&head.uri)
        .map_err(|error| Failure::Malformed(error.body_text()))?;
    let view = edge.view(&visit).await?;
    let limit = query.limit.unwrap_or(LINES_DEFAULT).min(LINES_MAX);
    let records = view.audit.from(query.from);
    let mut records = records
        .take_while(|record| query.to.is_none_or(|to| record.revision < to))
        .filter(|record| query.takes(record));
    let mut lines = String::new();
    for record in records.by_ref().take(limit) {
        writeln!(lines, "{}", line(record)).expect("writing to a string does not fail");
    }
    let next = records.next().map(|record| record.revision);
    let mut response = ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response();
    for (name, revision) in [(NEXT, next), (OLDEST, view.audit.oldest())] {
        if let Some(revision) = revision {
            response.headers_mut().insert(name, HeaderValue::from(revision));
        }
    }
    response.extensions_mut().insert(view.position());
    Ok(response)
}

/// One line.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecordLine<'a> {
    action: &'a str,
    actor: &'a str,
    family: Family,
    /// `done` or `refused`.
    outcome: &'static str,
    request_id: String,
    /// Log index.
    revision: u64,
    /// Address of the client.
    source: &'a str,
    time_ms: u64,
}

fn line(record: &Record) -> String {
    let line = RecordLine {
        action: &record.action,
        actor: record.who(),
        family: record.family,
        outcome: if record.is_refused { "refused" } else { "done" },
        request_id: auth::hex(&record.request_id),
        revision: record.revision,
        source: record.source(),
        time_ms: record.time_ms,
    };
    // Numbers and texts always encode.
    serde_json::to_string(&line).unwrap_or_default()
}
