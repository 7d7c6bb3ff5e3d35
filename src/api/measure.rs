//! Counts, times and tells every request of a client, whatever family it is for.

use std::time::{Duration, Instant};

use axum::{
    extract::Request,
    http::{Method, Uri},
    response::Response,
};

use crate::{
    broker::{RequestId, engine::Throttle},
    telemetry,
};

/// A change that takes longer is worth a warning, and so is a read of a family.
const SLOW: Duration = Duration::from_secs(1);
/// Warnings a second; the rest is told as everything else is, at `debug`.
const WARNINGS_PER_S: u32 = 20;

static WARNINGS: Throttle = Throttle::new(WARNINGS_PER_S);

/// A request that is being answered; counted as one in flight until it is dropped.
pub(super) struct Measured {
    family: &'static str,
    kind: &'static str,
    method: Method,
    uri: Uri,
    begun: Instant,
}

impl Measured {
    pub(super) fn begin(request: &Request) -> Self {
        metrics::gauge!(telemetry::REQUESTS_IN_FLIGHT).increment(1.0);
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        Self {
            family: family_of(request.uri().path()),
            kind: if is_read { "read" } else { "change" },
            method: request.method().clone(),
            uri: request.uri().clone(),
            begun: Instant::now(),
        }
    }

    /// Counts the answer. A request whose client went away has none.
    pub(super) fn end(self, response: &Response, request_id: Option<RequestId>) {
        self.tell(response.status().as_u16(), request_id);
        let status = match response.status().as_u16() {
            500.. => "5xx",
            400.. => "4xx",
            300.. => "3xx",
            _ => "2xx",
        };
        let labels = [("family", self.family), ("kind", self.kind), ("status", status)];
        metrics::counter!(telemetry::REQUESTS_TOTAL, &labels).increment(1);
        metrics::histogram!(telemetry::REQUEST_SECONDS, &labels[..2]).record(self.begun.elapsed());
    }
}

impl Measured {
    fn tell(&self, status: u16, request_id: Option<RequestId>) {
        let Self { family, method, uri, begun, .. } = self;
        let elapsed = begun.elapsed();
        let (path, elapsed_ms) = (uri.path(), telemetry::millis(elapsed));
        let request_id = request_id.map(tracing::field::display);
        // Looks at health and waiting readers of the change feed are no trouble.
        let is_watched = self.kind == "change" || !matches!(*family, "admin" | "none");
        let is_bad = is_watched && (status >= 500 || elapsed >= SLOW);
        if is_bad && WARNINGS.passes() {
            tracing::warn!(family, %method, path, status, elapsed_ms, request_id, "request");
        } else {
            tracing::debug!(family, %method, path, status, elapsed_ms, request_id, "request");
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        metrics::gauge!(telemetry::REQUESTS_IN_FLIGHT).decrement(1.0);
    }
}

/// The family that a path belongs to, whether it has such a route or not.
fn family_of(path: &str) -> &'static str {
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if below("/api/v2") || below("/api/v3") {
        "undermoon"
    } else if below("/api/v1") || below("/quorate/v1/kvrocks") || below("/debug/pprof") {
        "kvrocks"
    } else if below("/v2") || below("/quorate/v1/pool") {
        "cello"
    } else if ["/quorate", "/livez", "/readyz", "/metrics", "/openapi"].into_iter().any(below) {
        "admin"
    } else if below("/api") {
        // The pool's own console.
        "cello"
    } else {
        "none"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_families() {
        for (path, family) in [
            ("/api/v3/metadata", "undermoon"),
            ("/api/v2", "undermoon"),
            ("/api/v1/namespaces", "kvrocks"),
            ("/v2/clusters", "cello"),
            ("/api/host/1", "cello"),
            ("/quorate/v1/pool/hosts", "cello"),
            ("/quorate/v1/kvrocks/settings", "kvrocks"),
            ("/v20", "none"),
            ("/readyz", "admin"),
            ("/quorate/v1/status", "admin"),
            ("/", "none"),
        ] {
            assert_eq!(family_of(path), family, "{path}");
        }
    }
}
